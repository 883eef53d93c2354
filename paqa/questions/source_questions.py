"""Questions that come with a source: kept where the scene supports the answer, and argued from that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from paqa.config.recipe import QuestionsConfig
from paqa.errors import Rejected
from paqa.questions import text_matching
from paqa.questions.answer_positions import position_of_answer
from paqa.questions.context import Context, alike, context
from paqa.questions.counting import voice_onsets
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
from paqa.spans import interval, merge
from paqa.text import normal
from paqa.types import Evidence, GivenQuestion, Question, Scene

NAME = "given"  # its template
# How certain an answer is by how well its words match.
SURE = {text_matching.EXACT: 1.0, text_matching.NAMED: 0.9, text_matching.KIND: 0.6}
ABSENT = 0.8  # how certain it is that something is not there
COUNTING_WORDS = frozenset(  # what else questions about the number of people say
    text_matching.stem(word)
    for word in """many number total different distinct unique various separate conversation dialogue dialog
    discussion involved participate participating take part taking engaged engage group exchange identify
    identified distinguish told tell apart count included include scene all only""".split()  # noqa: SIM905
)
REPETITION_WORDS = frozenset(map(text_matching.stem, ("many", "times", "time", "often", "number", "total")))
ABOUT_SOUND = re.compile(r"\b(sounds?|noises?|hear|heard|audible|instruments?|music)\b", re.IGNORECASE)
SPEAKS_OF_ORDER = re.compile(
    r"\b(above|below|former|latter|both|neither|all of|none of|options?|choices?)\b|^\W?[a-h][).:]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Support:
    """Why an answer holds: the evidence and the argument from it, how certain (`sure`, in [0, 1]).

    `because` argues for the answer, `others` against the other choices; `words` says that the very words
    matter.
    """

    evidence: tuple[Evidence, ...]
    plan: str
    because: str
    others: str
    sure: float = 1.0
    words: bool = False


def ask(
    scene: Scene, source_question: GivenQuestion, name: str, config: QuestionsConfig, seed: int
) -> Question | Rejected:
    """A question of a source under the id `name`, with the evidence for its answer.

    Rejected with `empty` where it is incomplete, and with `answer_not_heard` where nothing in the scene
    supports the answer. Texts stay as they are but for the space around them. The answer moves to a position
    that depends on the id alone, unless the choices speak of their order.
    """
    choices = tuple(c.strip() for c in source_question.choices)
    index, text = source_question.answer_index, source_question.text
    if len(choices) < 2 or not 0 <= index < len(choices) or not text.strip():
        problem = f"found {len(choices)} choices, answer {index} and the text {text[:40]!r}"
        remedy = "expected a text and two choices or more, one of them the answer; correct the source"
        return Rejected("empty", f"{name} ({source_question.id}): {problem}; {remedy}")
    ctx = context(scene, config, seed, name)
    answer = choices[index]
    wrong = [c for i, c in enumerate(choices) if i != index]
    argument = support(ctx, text, answer, wrong)
    if argument is None:
        finding = f"found {_audible_summary(ctx)}; expected what {answer!r} alone names"
        return Rejected("answer_not_heard", f"{name} ({source_question.id}): {text.strip()!r}: {finding}")
    if not any(SPEAKS_OF_ORDER.search(c) for c in choices):
        index = position_of_answer(name, seed, len(choices))
    return Question(
        id=name,
        clip_id=scene.clip_id,
        task=source_question.task,
        template=NAME,
        text=text.strip(),
        choices=(*wrong[:index], answer, *wrong[index:]),
        answer_index=index,
        evidence=argument.evidence,
        plan=argument.plan,
        reasoning=tidy(f"{argument.because} {argument.others}"),
        margin=ctx.margin(argument.evidence, argument.sure, words=argument.words),
    )


def support(ctx: Context, text: str, answer: str, wrong: Sequence[str]) -> Support | None:
    """What of the scene supports an answer, and no other choice as well; None where nothing does."""
    answer_words = normal(answer).split()
    if answer_words and answer_words[0] in ("yes", "no", "true", "false"):
        subject = text_matching.words(f"{text} {' '.join(answer_words[1:])}")
        affirmed = answer_words[0] in ("yes", "true")
        return _support_present(ctx, subject) if affirmed else _support_absent(ctx, subject)
    asked = normal(text)
    if re.search(r"\b(how many|how often|number of)\b", asked):
        return _support_count(ctx, asked, text_matching.number_in(answer, NUMBERS))
    if "not" in answer_words or "none" in answer_words:
        return None
    by_sound = _support_by_sounds(ctx, answer, wrong)
    return by_sound if by_sound or ABOUT_SOUND.search(text) else _support_by_words(ctx, answer, wrong)


def _events_by_label(ctx: Context) -> dict[str, list[int]]:
    """The events of the scene by label."""
    by_label: dict[str, list[int]] = {}
    for i, event in enumerate(ctx.scene.events):
        by_label.setdefault(event.label, []).append(i)
    return by_label


def _event_evidence(indices: Sequence[int]) -> tuple[Evidence, ...]:
    return tuple(Evidence("event", i) for i in indices)


def _spans_of(ctx: Context, indices: Sequence[int]) -> str:
    return spans(merge(interval(ctx.scene.events[i]) for i in indices))


def _support_present(ctx: Context, subject: text_matching.Words) -> Support | None:
    """That what a question asks about is there: somebody speaking, or a sound that all its words may name."""
    plan = ctx.pick(
        "find out whether what is asked about can be heard", "listen for what the question asks about"
    )
    others = ctx.pick("So it is there.", "That settles it.")
    if not subject:
        return None
    if subject <= text_matching.SPEECH_WORDS:
        return _support_speech(ctx, plan, others)
    for label, events in _events_by_label(ctx).items():
        if subject <= text_matching.words_for_sound(ctx.scene.events[events[0]].mid, label):
            because = f"{upper(the_sound(label))} can be heard at {_spans_of(ctx, events)}."
            return Support(_event_evidence(events), plan, because, others, SURE[text_matching.NAMED])
    return None


def _support_speech(ctx: Context, plan: str, others: str) -> Support | None:
    turns = ctx.turn_evidence(range(len(ctx.scene.turns)))
    because = f"Somebody can be heard speaking at {spans(ctx.speech)}."
    return Support(turns, plan, because, others) if turns else None


def _support_absent(ctx: Context, subject: text_matching.Words) -> Support | None:
    """That a sound is not there: its name is known, and no sound of the scene may be taken for it."""
    present = [(e.mid, e.label) for e in ctx.scene.events]
    meant = text_matching.sounds_named(subject)
    silent = subject and subject <= text_matching.SPEECH_WORDS and not ctx.scene.turns
    if not (silent or meant) or any(alike(*a, *b) for a in meant for b in present):
        return None
    if not present or not ctx.background_clear():
        return None
    listed = listing(
        [f"{spoken(label)} ({_spans_of(ctx, events)})" for label, events in _events_by_label(ctx).items()][:4]
    )
    return Support(
        _event_evidence(range(len(present))),
        ctx.pick(
            "find out whether what is asked about can be heard", "listen for what the question asks about"
        ),
        f"What I hear is {listed}.",
        ctx.pick(
            "Nothing of what the question asks about is among it.",
            "There is no trace of what is asked about.",
        ),
        ABSENT,
    )


def _support_count(ctx: Context, asked: str, count: int | None) -> Support | None:
    """That a number is that of the voices, or of the times that a sound comes."""
    subject = text_matching.words(asked)
    if count is None:
        return None
    others = ctx.pick("No other number fits.", "Any other number would be wrong.")
    if subject <= text_matching.SPEECH_WORDS | COUNTING_WORDS and subject & text_matching.SPEECH_WORDS:
        if count != len(ctx.speakers) or not count:
            return None
        evidence = ctx.turn_evidence(min(ctx.turns_of(s)) for s in ctx.speakers)
        because = f"{voice_onsets(ctx)} That makes {number(count)}."
        return Support(evidence, "tell the voices apart and count them", because, others)
    if not re.search(r"\b(times|often)\b", asked) or not ctx.background_clear():
        return None
    for sound in ctx.safe_backgrounds:
        named = subject - REPETITION_WORDS
        if (
            named
            and named <= text_matching.words_for_sound(sound.mid, sound.label)
            and len(sound.occasions) == count
        ):
            because = (
                f"{upper(the_sound(sound.label))} is heard {times(count)}, at"
                f" {spans(sound.occasions, most=8)}."
            )
            return Support(ctx.sound_evidence(sound), "count how often the sound comes", because, others)
    return None


def _support_by_sounds(ctx: Context, answer: str, wrong: Sequence[str]) -> Support | None:
    """Sounds that an answer names, all that it lists, and better than any wrong choice names one."""
    if (
        (answer_words := text_matching.words(answer))
        and answer_words <= text_matching.SPEECH_WORDS
        and ctx.scene.turns
    ):
        clear = not any(
            _best_match(ctx, w)[0] or (text_matching.words(w) & text_matching.SPEECH_WORDS) for w in wrong
        )
        plan, others = "recognise what there is to hear", "Nothing heard fits another choice."
        return _support_speech(ctx, plan, others) if clear else None
    level, labels = _best_match(ctx, answer)
    if not level or any(_best_match(ctx, w)[0] >= level for w in wrong):
        return None
    kinds = _events_by_label(ctx)
    listed = listing([f"{the_sound(label)} ({_spans_of(ctx, kinds[label])})" for label in labels])
    fits = ctx.pick(f"which fits {quoted(answer)}", f"and {quoted(answer)} names it")
    if len(labels) > 1:
        fits = f"which together make {quoted(answer)}"
    return Support(
        _event_evidence(sorted(i for label in labels for i in kinds[label])),
        ctx.pick(
            "recognise the sounds and see which choice they fit", "name the sounds that settle the question"
        ),
        f"I hear {listed}, {fits}.",
        _why_others_wrong(
            ctx, wrong, "Nothing that sounds here fits {} as well.", "For {} there is no such sign."
        ),
        SURE[level],
    )


def _best_match(ctx: Context, text: str) -> tuple[int, list[str]]:
    """How well the sounds of the scene match a text, and which: as one name, or part by part of a list."""
    whole = _match_all(ctx, [text_matching.words(text)])
    return whole if whole[0] == text_matching.EXACT else _match_all(ctx, text_matching.listed_words(text))


def _match_all(ctx: Context, name_parts: Sequence[text_matching.Words]) -> tuple[int, list[str]]:
    levels: list[int] = []
    labels: list[str] = []
    for part in name_parts:
        label_levels = {
            label: text_matching.name_match(part, ctx.scene.events[e[0]].mid, label)
            for label, e in _events_by_label(ctx).items()
        }
        levels.append(max(label_levels.values(), default=0))
        labels += [label for label, level in label_levels.items() if level == levels[-1]][:1]
    least = min(levels, default=0)
    return least, list(dict.fromkeys(labels)) if least else []


def _support_by_words(ctx: Context, answer: str, wrong: Sequence[str]) -> Support | None:
    """A turn that says the answer, better than any turn says a wrong choice."""
    turns = ctx.scene.turns
    level = max((text_matching.match_in_turn(answer, t) for t in turns), default=0)
    if not level or any(text_matching.match_in_turn(w, t) >= level for w in wrong for t in turns):
        return None
    indices = [i for i, t in enumerate(turns) if text_matching.match_in_turn(answer, t) == level]
    turn = turns[indices[0]]
    return Support(
        ctx.turn_evidence(indices),
        ctx.pick(
            "follow the words and find the place that settles the question", "catch the words that decide it"
        ),
        f"At {span(interval(turn))} speaker {turn.speaker} says"
        f" {quoted(text_matching.quote_around(answer, turn))}.",
        _why_others_wrong(
            ctx, wrong, "Nothing that is said fits {} as well.", "For {} there are no such words."
        ),
        SURE[level],
        words=True,
    )


def _why_others_wrong(ctx: Context, wrong: Sequence[str], *frames: str) -> str:
    return ctx.pick(*frames).format(listing([excerpt(w) for w in wrong], "or"))


def _audible_summary(ctx: Context) -> str:
    """The sounds and the speech of the scene in a few words, for the quarantine."""
    kinds = [spoken(label) for label in _events_by_label(ctx)]
    more = f" and {len(kinds) - 5} more sounds" * (len(kinds) > 5)
    speech = (
        f"{number(len(ctx.speakers))} voices saying {excerpt(ctx.scene.transcript, 12)}"
        if ctx.speech
        else "no speech"
    )
    return f"{', '.join(kinds[:5]) or 'no sounds'}{more}; {speech}"
