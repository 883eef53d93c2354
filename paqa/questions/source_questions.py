"""Questions that a source brings along: kept where something that was heard supports the answer, argued from
that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from paqa.config.recipe import QuestionsConfig
from paqa.errors import Rejected
from paqa.questions import text_matching
from paqa.questions.context import Context, alike, context
from paqa.questions.counting import voices_told
from paqa.questions.english import (
    NUMBERS,
    excerpt,
    listing,
    number,
    quoted,
    span,
    spans,
    spoken,
    the_sound,
    tidy,
    times,
    upper,
)
from paqa.questions.generate import position
from paqa.spans import interval, merge
from paqa.text import normal
from paqa.types import Evidence, GivenQuestion, Question, Scene

NAME = "given"  # its template
SURE = {
    text_matching.EXACT: 1.0,
    text_matching.NAMED: 0.9,
    text_matching.KIND: 0.6,
}  # how much a match is worth
ABSENT = 0.8  # that something is not heard is never quite certain
ASIDE = frozenset(  # what questions about the number of people say besides
    text_matching.stem(word)
    for word in """many number total different distinct unique various separate conversation dialogue dialog discussion
    involved participate participating take part taking engaged engage group exchange identify identified distinguish
    told tell apart count included include scene all only""".split()  # noqa: SIM905
)
REPEATS = frozenset(text_matching.stem(w) for w in "many times time often number total".split())  # noqa: SIM905
ABOUT_SOUND = re.compile(r"\b(sounds?|noises?|hear|heard|audible|instruments?|music)\b", re.IGNORECASE)
IN_ORDER = re.compile(
    r"\b(above|below|former|latter|both|neither|all of|none of|options?|choices?)\b|^\W?[a-h][).:]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Support:
    """Why an answer holds: what was heard, and the argument from it. `sure` in [0, 1]."""

    evidence: tuple[Evidence, ...]
    plan: str
    because: str
    others: str
    sure: float = 1.0
    words: bool = False


def ask(
    scene: Scene, given: GivenQuestion, name: str, config: QuestionsConfig, seed: int
) -> Question | Rejected:
    """A given question under the id `name`, with the evidence for its answer; `answer_not_heard` where there
    is none.

    Texts stay as they are but for the space around them. The answer moves to a position that depends on the
    id alone, unless the choices speak of their order.
    """
    choices = tuple(c.strip() for c in given.choices)
    if len(choices) < 2 or not 0 <= given.answer_index < len(choices) or not given.text.strip():
        broken = f"found {len(choices)} choices, answer {given.answer_index} and the text {given.text[:40]!r}"
        wanted = "expected a text and two choices or more, one of them the answer; correct the source"
        return Rejected("empty", f"{name} ({given.id}): {broken}; {wanted}")
    ctx = context(scene, config, seed, name)
    answer = choices[given.answer_index]
    wrong = [c for i, c in enumerate(choices) if i != given.answer_index]
    found = support(ctx, given.text, answer, wrong)
    if found is None:
        heard = f"found {_heard(ctx)}; expected what {answer!r} alone names"
        return Rejected("answer_not_heard", f"{name} ({given.id}): {given.text.strip()!r}: {heard}")
    at = given.answer_index
    if not any(IN_ORDER.search(c) for c in choices):
        at = position(name, seed, len(choices))
    return Question(
        id=name,
        clip_id=scene.clip_id,
        task=given.task,
        template=NAME,
        text=given.text.strip(),
        choices=(*wrong[:at], answer, *wrong[at:]),
        answer_index=at,
        evidence=found.evidence,
        plan=found.plan,
        reasoning=tidy(f"{found.because} {found.others}"),
        margin=ctx.margin(found.evidence, found.sure, words=found.words),
    )


def support(ctx: Context, text: str, answer: str, wrong: Sequence[str]) -> Support | None:
    """What of the scene supports an answer, and no other choice as well; None where nothing does."""
    said = normal(answer).split()
    if said and said[0] in ("yes", "no", "true", "false"):
        subject = text_matching.words(f"{text} {' '.join(said[1:])}")
        return _present(ctx, subject) if said[0] in ("yes", "true") else _absent(ctx, subject)
    asked = normal(text)
    if re.search(r"\b(how many|how often|number of)\b", asked):
        return _counted(ctx, asked, text_matching.number_in(answer, NUMBERS))
    if "not" in said or "none" in said:
        return None
    by_sound = _sounding(ctx, answer, wrong)
    return by_sound if by_sound or ABOUT_SOUND.search(text) else _saying(ctx, answer, wrong)


def _kinds(ctx: Context) -> dict[str, list[int]]:
    """The events of the scene by label."""
    found: dict[str, list[int]] = {}
    for i, event in enumerate(ctx.scene.events):
        found.setdefault(event.label, []).append(i)
    return found


def _events(indices: Sequence[int]) -> tuple[Evidence, ...]:
    return tuple(Evidence("event", i) for i in indices)


def _at(ctx: Context, indices: Sequence[int]) -> str:
    return spans(merge(interval(ctx.scene.events[i]) for i in indices))


def _present(ctx: Context, subject: text_matching.Words) -> Support | None:
    """That what a question asks about is there: a sound of which all its words may be said, or somebody
    speaking.
    """
    plan = ctx.pick(
        "find out whether what is asked about can be heard", "listen for what the question asks about"
    )
    others = ctx.pick("So it is there.", "That settles it.")
    if not subject:
        return None
    if subject <= text_matching.SPEECH_WORDS:
        return _somebody(ctx, plan, others)
    for label, events in _kinds(ctx).items():
        if subject <= text_matching.described(ctx.scene.events[events[0]].mid, label):
            because = f"{upper(the_sound(label))} can be heard at {_at(ctx, events)}."
            return Support(_events(events), plan, because, others, SURE[text_matching.NAMED])
    return None


def _somebody(ctx: Context, plan: str, others: str) -> Support | None:
    turns = ctx.turn_evidence(range(len(ctx.scene.turns)))
    because = f"Somebody can be heard speaking at {spans(ctx.speech)}."
    return Support(turns, plan, because, others) if turns else None


def _absent(ctx: Context, subject: text_matching.Words) -> Support | None:
    """That a sound is not there: one that has a name, where others are heard that nobody would take for
    it.
    """
    heard = [(e.mid, e.label) for e in ctx.scene.events]
    meant = text_matching.meant(subject)
    silent = subject and subject <= text_matching.SPEECH_WORDS and not ctx.scene.turns
    if not heard or not (silent or meant) or any(alike(*a, *b) for a in meant for b in heard):
        return None
    told = listing([f"{spoken(label)} ({_at(ctx, events)})" for label, events in _kinds(ctx).items()][:4])
    return Support(
        _events(range(len(heard))),
        ctx.pick(
            "find out whether what is asked about can be heard", "listen for what the question asks about"
        ),
        f"What I hear is {told}.",
        ctx.pick(
            "Nothing of what the question asks about is among it.",
            "There is no trace of what is asked about.",
        ),
        ABSENT,
    )


def _counted(ctx: Context, asked: str, count: int | None) -> Support | None:
    """A number of voices, or of the times that a sound comes, that is the number heard."""
    subject = text_matching.words(asked)
    if count is None:
        return None
    others = ctx.pick("No other number fits.", "Any other number would be wrong.")
    if subject <= text_matching.SPEECH_WORDS | ASIDE and subject & text_matching.SPEECH_WORDS:
        if count != len(ctx.speakers) or not count:
            return None
        evidence = ctx.turn_evidence(min(ctx.turns_of(s)) for s in ctx.speakers)
        because = f"{voices_told(ctx)} That makes {number(count)}."
        return Support(evidence, "tell the voices apart and count them", because, others)
    if not re.search(r"\b(times|often)\b", asked):
        return None
    for sound in ctx.safe_backgrounds:
        named = subject - REPEATS
        if (
            named
            and named <= text_matching.described(sound.mid, sound.label)
            and len(sound.occasions) == count
        ):
            because = f"{upper(the_sound(sound.label))} is heard {times(count)}, at {spans(sound.occasions, most=8)}."
            return Support(ctx.sound_evidence(sound), "count how often the sound comes", because, others)
    return None


def _sounding(ctx: Context, answer: str, wrong: Sequence[str]) -> Support | None:
    """Sounds that an answer names, all that it lists, and better than any wrong choice is named by one."""
    if (wanted := text_matching.words(answer)) and wanted <= text_matching.SPEECH_WORDS and ctx.scene.turns:
        clear = not any(
            _best(ctx, w)[0] or (text_matching.words(w) & text_matching.SPEECH_WORDS) for w in wrong
        )
        plan, others = "recognise what there is to hear", "Nothing heard fits another choice."
        return _somebody(ctx, plan, others) if clear else None
    level, labels = _best(ctx, answer)
    if not level or any(_best(ctx, w)[0] >= level for w in wrong):
        return None
    kinds = _kinds(ctx)
    told = listing([f"{the_sound(label)} ({_at(ctx, kinds[label])})" for label in labels])
    fits = ctx.pick(f"which fits {quoted(answer)}", f"and {quoted(answer)} names it")
    if len(labels) > 1:
        fits = f"which together make {quoted(answer)}"
    return Support(
        _events(sorted(i for label in labels for i in kinds[label])),
        ctx.pick(
            "recognise the sounds and see which choice they fit", "name the sounds that settle the question"
        ),
        f"I hear {told}, {fits}.",
        _rest(ctx, wrong, "Nothing that sounds here fits {} as well.", "For {} there is no such sign."),
        SURE[level],
    )


def _best(ctx: Context, text: str) -> tuple[int, list[str]]:
    """How well the sounds of the scene match a text, and which do: each thing that it lists, or a name that
    lists.
    """
    whole = _match(ctx, [text_matching.words(text)])
    return whole if whole[0] == text_matching.EXACT else _match(ctx, text_matching.parts(text))


def _match(ctx: Context, wanted: Sequence[text_matching.Words]) -> tuple[int, list[str]]:
    levels: list[int] = []
    labels: list[str] = []
    for part in wanted:
        known = {
            label: text_matching.strength(part, ctx.scene.events[e[0]].mid, label)
            for label, e in _kinds(ctx).items()
        }
        levels.append(max(known.values(), default=0))
        labels += [label for label, level in known.items() if level == levels[-1]][:1]
    least = min(levels, default=0)
    return least, list(dict.fromkeys(labels)) if least else []


def _saying(ctx: Context, answer: str, wrong: Sequence[str]) -> Support | None:
    """A turn that says the answer, better than any turn says a wrong choice."""
    turns = ctx.scene.turns
    level = max((text_matching.said_in(answer, t) for t in turns), default=0)
    if not level or any(text_matching.said_in(w, t) >= level for w in wrong for t in turns):
        return None
    found = [i for i, t in enumerate(turns) if text_matching.said_in(answer, t) == level]
    turn = turns[found[0]]
    return Support(
        ctx.turn_evidence(found),
        ctx.pick(
            "follow the words and find the place that settles the question", "catch the words that decide it"
        ),
        f"At {span(interval(turn))} speaker {turn.speaker} says {quoted(text_matching.place(answer, turn))}.",
        _rest(ctx, wrong, "Nothing that is said fits {} as well.", "For {} there are no such words."),
        SURE[level],
        words=True,
    )


def _rest(ctx: Context, wrong: Sequence[str], *frames: str) -> str:
    return ctx.pick(*frames).format(listing([excerpt(w) for w in wrong], "or"))


def _heard(ctx: Context) -> str:
    """What there is to hear, for the quarantine."""
    kinds = [spoken(label) for label in _kinds(ctx)]
    more = f" and {len(kinds) - 5} more sounds" * (len(kinds) > 5)
    said = (
        f"{number(len(ctx.speakers))} voices saying {excerpt(ctx.scene.transcript, 12)}"
        if ctx.speech
        else "no speech"
    )
    return f"{', '.join(kinds[:5]) or 'no sounds'}{more}; {said}"
