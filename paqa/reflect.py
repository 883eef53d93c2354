"""A wrong first response and the reflection that corrects it: from a real mishearing where there is one.

The same question is asked again of the scene with one mistake in it. Where the argument of its own template then leads
to another of its choices, that is the first response; the reflection names the mistake, cites what is really there and
argues anew. Mistakes are taken from what the engines heard in the raw mix; only where none of these leads astray, a
plausible one is made up. One round: more of them make a model doubt what is right.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from paqa import invent, mishear
from paqa.mishear import Mishearing
from paqa.questions import TEMPLATES, given, narrate
from paqa.questions.context import Context, alike, same
from paqa.questions.draft import NONE
from paqa.questions.prose import excerpt, lower, normal, quoted, rng_for, span, spans, tidy, upper
from paqa.rationale import Reflection, letter
from paqa.recipe import QuestionsConfig
from paqa.spans import interval
from paqa.types import Question, Scene, Spanned
from paqa.wordings import CAUSES, CORRECTIONS, FIRST, HASTY, PLACES, RECONSIDERED, SEEMING

TRIES = 14  # mistakes tried, of the real ones and of the invented ones each; then it is a mere slip
MISMATCH = "option_mismatch"


@dataclass(frozen=True)
class Misheard:
    """One hearing of the raw mix, and how it differs from the scene that questions are asked about."""

    scene: Scene
    differences: tuple[Mishearing, ...]


@dataclass(frozen=True)
class Belief:
    """What a listener makes of a question: a choice, by its index, and the argument for it."""

    index: int
    reasoning: str


class Careless(Context):
    """A context in which a template asks whatever it can: nothing is left out for being too common."""

    def passed_over(self, common: bool) -> bool:
        """Never."""
        return False


def compare(scene: Scene, heard: Sequence[Scene]) -> tuple[Misheard, ...]:
    """Hearings of the raw mix with their differences from the scene."""
    return tuple(Misheard(other, tuple(mishear.differences(scene, other))) for other in heard)


def wanted(question: Question, config: QuestionsConfig, seed: int) -> bool:
    """Whether this question is one of the share to be reflected upon: drawn by its id; only with choices."""
    fit = len(question.choices) > 1 and question.answer_index is not None and bool(question.evidence)
    return fit and rng_for(seed, "reflect", question.id).random() < config.reflect


def reflect(
    scene: Scene,
    question: Question,
    misheard: Sequence[Misheard],
    config: QuestionsConfig,
    seed: int,
    foreign: Sequence[str] = (),
) -> Reflection | None:
    """A wrong response to a question, with the reflection that corrects it; None where it is not to have one.

    `foreign` are translations of what is said in other clips, as for `questions.generate`.
    """
    if not wanted(question, config, seed):
        return None
    rng = rng_for(seed, "mistake", question.id)
    ask = partial(believe, question=question, config=config, seed=seed, foreign=foreign)
    made_up = islice(invent.mistakes(scene, question, rng), TRIES)
    for source, leading in (("heard", _misled(question, misheard, ask)), ("typed", _astray(question, made_up, ask))):
        if found := next(leading, None):
            return _told(scene, question, *found, source, rng)
    return _slip(scene, question, rng)


def _misled(
    question: Question, misheard: Sequence[Misheard], ask: Callable[[Scene], Belief | None]
) -> Iterator[tuple[Mishearing, Belief]]:
    """Real mistakes that lead astray, and to the choice that the whole hearing supports where it supports one.

    A hearing that gives the right answer misleads nobody, whatever else is wrong with it.
    """
    for one in misheard:
        whole = ask(one.scene) if one.differences else None
        if one.differences and (whole is None or whole.index != question.answer_index):
            for mistake, belief in _astray(question, one.differences[:TRIES], ask):
                if whole is None or belief.index == whole.index:
                    yield mistake, belief


def _astray(
    question: Question, mistakes: Iterable[Mishearing], ask: Callable[[Scene], Belief | None]
) -> Iterator[tuple[Mishearing, Belief]]:
    """Mistakes that lead to a wrong choice, each alone."""
    for mistake in mistakes:
        belief = ask(mistake.scene)
        if belief and belief.index != question.answer_index:
            yield mistake, belief


def believe(
    scene: Scene, question: Question, config: QuestionsConfig, seed: int, foreign: Sequence[str] = ()
) -> Belief | None:
    """What a listener to whom the scene is like this makes of a question; None where none of the choices follows."""
    if question.template == given.NAME:
        return _given(scene, question, config, seed)
    if question.template == "absent_sound":
        return _absent(scene, question)
    ctx = Careless(scene, config, rng_for(seed, scene.clip_id, question.template), foreign)
    found = [d for d in TEMPLATES[question.template].drafts(ctx) if _asks(d.texts, question.text)]
    named = {question.choices.index(d.answer): d for d in found if d.answer in question.choices}
    if found and NONE in question.choices and not named:
        return Belief(question.choices.index(NONE), tidy(found[0].reasoning))
    index = question.answer_index if question.answer_index in named else min(named, default=None)
    return None if index is None else Belief(index, tidy(named[index].reasoning))


def _asks(texts: Iterable[str], asked: str) -> bool:
    """Whether one of the wordings is this question: but for how it explains numbers, and for words heard otherwise."""
    wanted_ = _pieces(asked)
    for text in texts:
        pieces = _pieces(text)
        if len(pieces) == len(wanted_) and pieces[::2] == wanted_[::2]:
            quotes = zip(pieces[1::2], wanted_[1::2], strict=True)
            if all(a == b or same(normal(a), normal(b)) for a, b in quotes):
                return True
    return False


def _pieces(text: str) -> list[str]:
    """A wording cut at its quotation marks, without a remark in brackets at its end."""
    text = tidy(text)
    return (text[: text.rindex(" (")] if text.endswith(")") and " (" in text else text).split('"')


def _given(scene: Scene, question: Question, config: QuestionsConfig, seed: int) -> Belief | None:
    """The choice of a question that a source brought along which something in the scene supports."""
    ctx = Careless(scene, config, rng_for(seed, scene.clip_id, question.id))
    for index, choice in enumerate(question.choices):
        wrong = [c for c in question.choices if c != choice]
        if found := given.support(ctx, question.text, choice, wrong):
            return Belief(index, tidy(found.because))
    return None


def _absent(scene: Scene, question: Question) -> Belief | None:
    """The one choice that is not among the sounds of the scene; NONE is not a sound."""
    missing = [i for i, c in enumerate(question.choices) if c != NONE and not _sounds(scene, c)]
    if len(missing) != 1:
        return None
    return Belief(missing[0], f"At no point can {lower(question.choices[missing[0]])} be heard.")


def _sounds(scene: Scene, choice: str) -> bool:
    known = invent.sound(scene, choice)
    return known is not None and any(alike(*known, e.mid, e.label) for e in scene.events)


def _told(
    scene: Scene, question: Question, mistake: Mishearing, belief: Belief, source: str, rng: random.Random
) -> Reflection:
    cause = upper(rng.choice(CAUSES[mistake.cause]).format_map(mistake.told))
    return _reflection(scene, question, belief, cause, f"{source}:{mistake.cause}", rng)


def _slip(scene: Scene, question: Question, rng: random.Random) -> Reflection:
    """A choice made without holding it against the recording."""
    index = rng.choice([i for i in range(len(question.choices)) if i != question.answer_index])
    belief = Belief(index, rng.choice(HASTY))
    cause = rng.choice(CAUSES[MISMATCH]).format(choice=_cited(question.choices[index]))
    return _reflection(scene, question, belief, cause, f"typed:{MISMATCH}", rng)


def _reflection(
    scene: Scene, question: Question, belief: Belief, cause: str, origin: str, rng: random.Random
) -> Reflection:
    assert question.answer_index is not None
    wrong, right = (f"{letter(i)}, {_cited(question.choices[i])}" for i in (belief.index, question.answer_index))
    argued = f"{cause} {question.reasoning}"
    if not cites(argued, scene):
        argued += f" {rng.choice(PLACES).format(_evidence(scene, question))}"
    end = rng.choice(CORRECTIONS).format(wrong=wrong, right=right)
    first = narrate.reasoning(replace(question, answer_index=belief.index, reasoning=belief.reasoning))
    return Reflection(
        origin=origin,
        index=belief.index,
        reasoning=" ".join(f"{rng.choice(FIRST)} {first}".split()),
        summary=_summary(question, belief.index, rng),
        text=" ".join(tidy(f"{rng.choice(RECONSIDERED)} {argued} {end}").split()),
    )


def _summary(question: Question, index: int, rng: random.Random) -> str:
    """The first impression in one sentence, without any claim to evidence."""
    choice = question.choices[index]
    kept = choice.startswith('"') or question.template in narrate.AS_WRITTEN
    frames = narrate.NO_CHOICE if choice == NONE else narrate.SUMMARIES.get(question.template, ("the answer is {}",))
    said = rng.choice(frames).format(choice if kept else lower(choice))
    return upper(tidy(rng.choice(SEEMING).format(said)))


def _cited(choice: str) -> str:
    return excerpt(choice, 12) if choice.startswith('"') else quoted(choice)


def _evidence(scene: Scene, question: Question) -> str:
    rows: dict[str, Sequence[Spanned]] = {"turn": scene.turns, "word": scene.words, "event": scene.events}
    return spans([interval(rows[e.kind][e.index]) for e in question.evidence[:3]])


def cites(text: str, scene: Scene) -> bool:
    """Whether a text names the span, to a tenth of a second, of a turn or a sound of the scene."""
    rows: tuple[Spanned, ...] = (*scene.turns, *scene.events, *scene.words)
    return any(span(interval(row)) in text for row in rows)
