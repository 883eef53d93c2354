"""A wrong first response and the reflection that corrects it: from a real mishearing where there is one.

The same question is asked again of the scene with one mistake in it. Where the argument of its own template
then leads to another of its choices, that is the first response; the reflection names the mistake, cites what
is really there and argues anew. Mistakes are taken from what the engines heard in the raw mix (and, where the
truth is known, after decoupling); only where none of these leads astray, a plausible one is made up. One
round: more of them make a model doubt what is right.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from paqa.config.recipe import QuestionsConfig
from paqa.questions.context import same
from paqa.questions.english import excerpt, lower, quoted, span, spans, tidy, upper
from paqa.questions.template import NO_OTHER_CLIPS, NONE, OtherClips
from paqa.rationale import narration, perturbations, synthetic_errors
from paqa.rationale.answerer import ChosenAnswer, amount, answer_from_scene, offered_sound
from paqa.rationale.grammar import Reflection, letter
from paqa.rationale.perturbations import Mishearing
from paqa.rationale.phrases import (
    CAUSES,
    CORRECTIONS,
    FIRST,
    GUESSES,
    HASTY,
    NOTHING_FITS,
    NOTICED,
    PLACES,
    RECONSIDERED,
    RENUMBERED,
    SEEMING,
    UNSETTLED,
)
from paqa.spans import interval
from paqa.text import normal, rng_for
from paqa.types import Event, Question, Scene, Spanned, Turn

TRIES = 14  # mistakes tried, of the real ones and of the invented ones each; then it is a mere slip
LOSSES = (
    "missed_event",
    "misheard_sound",
    "missed_speech",
    "missed_overlap",
)  # they may leave nothing to answer from
MISMATCH = "option_mismatch"


@dataclass(frozen=True)
class Misheard:
    """One hearing of the raw mix, and how it differs from the scene that questions are asked about."""

    scene: Scene
    differences: tuple[Mishearing, ...]


def compare(scene: Scene, heard: Sequence[Scene]) -> tuple[Misheard, ...]:
    """Hearings of the raw mix with their differences from the scene."""
    return tuple(Misheard(other, tuple(perturbations.differences(scene, other))) for other in heard)


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
    other_clips: OtherClips = NO_OTHER_CLIPS,
) -> Reflection | None:
    """A wrong response to a question, with the reflection that corrects it; None where it is not to have one.

    `other_clips` is what `questions.generate` takes.
    """
    if not wanted(question, config, seed):
        return None
    rng = rng_for(seed, "mistake", question.id)
    ask = partial(answer_from_scene, question=question, config=config, seed=seed, other_clips=other_clips)
    made_up = islice(synthetic_errors.mistakes(scene, question, rng), TRIES)
    for source, leading in (
        ("heard", _misled(question, misheard, ask)),
        ("heard", _guessed(scene, question, misheard, ask, rng)),
        ("typed", _astray(question, made_up, ask)),
    ):
        if found := next(leading, None):
            return _told(scene, question, *found, source, rng)
    return _slip(scene, question, rng)


def _misled(
    question: Question, misheard: Sequence[Misheard], ask: Callable[[Scene], ChosenAnswer | None]
) -> Iterator[tuple[Mishearing, ChosenAnswer]]:
    """Real mistakes that lead astray, and to the choice that the whole hearing supports where it supports
    one.

    A hearing that gives the right answer misleads nobody, whatever else is wrong with it.
    """
    for one in misheard:
        whole = ask(one.scene) if one.differences else None
        if one.differences and (whole is None or whole.index != question.answer_index):
            for mistake, chosen in _astray(question, one.differences[:TRIES], ask):
                if whole is None or chosen.index == whole.index:
                    yield mistake, chosen


def _guessed(
    scene: Scene,
    question: Question,
    misheard: Sequence[Misheard],
    ask: Callable[[Scene], ChosenAnswer | None],
    rng: random.Random,
) -> Iterator[tuple[Mishearing, ChosenAnswer]]:
    """Real mistakes about the evidence itself, without which nothing settles the question: a guess that fits
    the rest.

    Among the wrong choices, those come first that name a sound which was heard, then NONE, then what was
    heard at all. Amounts are not guessed: what is passed over makes them smaller, not any other.
    """
    if amount(question.answer) is not None and not question.answer.startswith("Speaker"):
        return
    rows: dict[str, Sequence[Turn | Event]] = {"turn": scene.turns, "event": scene.events}
    cited = {_row(rows[e.kind][e.index]) for e in question.evidence if e.kind in rows}
    for one in misheard:
        if ask(one.scene):
            continue
        lost = [d for d in one.differences if d.cause in LOSSES and not cited <= _rows(d.scene)]
        for mistake in sorted(lost, key=lambda d: offered_sound(d.scene, question.answer))[:TRIES]:
            if ask(mistake.scene) is None:
                yield mistake, _guess(one.scene, question, rng)


def _guess(heard: Scene, question: Question, rng: random.Random) -> ChosenAnswer:
    """A wrong choice that fits what was heard, or at least might."""
    wrong = [i for i in range(len(question.choices)) if i != question.answer_index]
    rng.shuffle(wrong)
    index = max(wrong, key=lambda i: _likely(heard, question.choices[i]))
    choice = question.choices[index]
    frames = NOTHING_FITS if choice == NONE else NOTICED if offered_sound(heard, choice) else UNSETTLED
    return ChosenAnswer(index, rng.choice(frames).format(lower(choice)), guessed=True)


def _row(row: Turn | Event) -> tuple[int, int, str]:
    return (*interval(row), row.text if isinstance(row, Turn) else row.mid)


def _rows(scene: Scene) -> set[tuple[int, int, str]]:
    rows: tuple[Turn | Event, ...] = (*scene.turns, *scene.events)
    return {_row(row) for row in rows}


def _likely(scene: Scene, choice: str) -> int:
    """How well a choice fits what was heard, from 0 to 3."""
    if choice == NONE:
        return 2
    if offered_sound(scene, choice):
        return 3
    return int(
        any(f"Speaker {t.speaker}" == choice or same(normal(choice), normal(t.text)) for t in scene.turns)
    )


def _astray(
    question: Question, mistakes: Iterable[Mishearing], ask: Callable[[Scene], ChosenAnswer | None]
) -> Iterator[tuple[Mishearing, ChosenAnswer]]:
    """Mistakes that lead to a wrong choice, each alone."""
    for mistake in mistakes:
        chosen = ask(mistake.scene)
        if chosen and chosen.index != question.answer_index:
            yield mistake, chosen


def _told(
    scene: Scene,
    question: Question,
    mistake: Mishearing,
    chosen: ChosenAnswer,
    source: str,
    rng: random.Random,
) -> Reflection:
    cause = upper(rng.choice(CAUSES[mistake.cause]).format_map(mistake.told))
    if (
        _renumbered(scene, mistake)
        and not chosen.guessed
        and re.search(r"\bspeaker|\bperson\b", question.text.lower())
    ):
        cause += f" {rng.choice(RENUMBERED)}"
    return _reflection(scene, question, chosen, cause, f"{source}:{mistake.cause}", rng)


def _renumbered(scene: Scene, mistake: Mishearing) -> bool:
    """Whether voices that the mistake says nothing about got other numbers because of it."""
    known = {interval(t): t.speaker for t in scene.turns}
    told = " ".join(mistake.told.values())
    other = [t for t in mistake.scene.turns if span(interval(t)) not in told]
    return any(known.get(interval(t), t.speaker) != t.speaker for t in other)


def _slip(scene: Scene, question: Question, rng: random.Random) -> Reflection:
    """A choice made without holding it against the recording."""
    index = rng.choice([i for i in range(len(question.choices)) if i != question.answer_index])
    chosen = ChosenAnswer(index, rng.choice(HASTY), guessed=True)
    cause = rng.choice(CAUSES[MISMATCH]).format(choice=_cited(question.choices[index]))
    return _reflection(scene, question, chosen, cause, f"typed:{MISMATCH}", rng)


def _reflection(
    scene: Scene, question: Question, chosen: ChosenAnswer, cause: str, origin: str, rng: random.Random
) -> Reflection:
    assert question.answer_index is not None
    wrong, right = (
        f"{letter(i)} {_cited(question.choices[i])}" for i in (chosen.index, question.answer_index)
    )
    argued = f"{cause} {question.reasoning}"
    if not cites(argued, scene):
        argued += f" {rng.choice(PLACES).format(_evidence(scene, question))}"
    end = rng.choice(CORRECTIONS).format(wrong=wrong, right=right)
    if chosen.guessed:
        first = f"{chosen.reasoning} {rng.choice(GUESSES).format(wrong)}"
    else:
        argued_ = replace(question, answer_index=chosen.index, reasoning=chosen.reasoning)
        first = f"{rng.choice(FIRST)} {narration.reasoning(argued_)}"
    return Reflection(
        origin=origin,
        index=chosen.index,
        reasoning=" ".join(tidy(first).split()),
        summary=_summary(question, chosen.index, rng),
        text=" ".join(tidy(f"{rng.choice(RECONSIDERED)} {argued} {end}").split()),
    )


def _summary(question: Question, index: int, rng: random.Random) -> str:
    """The first impression in one sentence, without any claim to evidence."""
    choice = question.choices[index]
    kept = choice.startswith('"') or question.template in narration.AS_WRITTEN
    frames = (
        narration.NO_CHOICE
        if choice == NONE
        else narration.SUMMARIES.get(question.template, ("the answer is {}",))
    )
    said = rng.choice(frames).format(choice if kept else lower(choice))
    return upper(tidy(rng.choice(SEEMING).format(said)))


def _cited(choice: str) -> str:
    return excerpt(choice.strip('"'), 12) if choice.startswith('"') else quoted(choice)


def _evidence(scene: Scene, question: Question) -> str:
    rows: dict[str, Sequence[Spanned]] = {"turn": scene.turns, "word": scene.words, "event": scene.events}
    return spans([interval(rows[e.kind][e.index]) for e in question.evidence[:3]])


def cites(text: str, scene: Scene) -> bool:
    """Whether a text names the span, to a tenth of a second, of a turn or a sound of the scene."""
    rows: tuple[Spanned, ...] = (*scene.turns, *scene.events, *scene.words)
    return any(span(interval(row)) in text for row in rows)
