"""A wrong first response and the reflection that corrects it, from a real mistake where there is one.

The same question is asked again of the scene with one mistake in it. Where the argument of its own template
then leads to another of its choices, that is the first response; the reflection names the mistake, cites what
is really there and argues anew. The caption states the scene with the mistake in it, and the reflection
corrects its lines: only mistakes that change few of them are taken. Mistakes are differences between the
scene and what the engines predicted from the raw mix (and, where the truth is known, after decoupling); only
where none of these leads to a wrong choice, a plausible one is made up. There is one round: more of them make
a model doubt what is right.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

from paqa.config.recipe import QuestionsConfig
from paqa.perception.sure_part import UNCLEAR_WORDS
from paqa.questions.context import says_same
from paqa.questions.english import excerpt, lower, quoted, span, spans, spoken, tidy, upper
from paqa.questions.scene_parts import NO_OTHER_CLIPS, OtherClips
from paqa.questions.template import NONE
from paqa.rationale import grammar, narration, perturbations, reasoning_errors, synthetic_errors
from paqa.rationale.answerer import ChosenAnswer, amount, answer_from_scene, names_present_sound
from paqa.rationale.corrections import can_be_corrected
from paqa.rationale.grammar import Reflection, letter
from paqa.rationale.perturbations import Perturbation
from paqa.rationale.phrases import (
    CAUSES,
    COMPARED,
    CORRECTIONS,
    FIRST,
    GUESSED,
    GUESSES,
    HASTY,
    HASTY_SUMMARIES,
    NOTHING_FITS,
    NOTICED,
    PLACES,
    RECONSIDERED,
    RENUMBERED,
    SEEMING,
    UNPLACED,
    UNSETTLED,
)
from paqa.spans import interval, overlap
from paqa.text import normal, rng_for
from paqa.types import Event, Question, Scene, Spanned, Turn

TRIES = 14  # mistakes tried, of the real ones and of the made-up ones each; then an unchecked choice is taken
# Mistakes that may leave nothing to answer from.
CAUSES_OF_LOSS = ("missed_event", "misheard_sound", "missed_speech", "missed_overlap")
MISMATCH = "option_mismatch"
REASONING_SHARE = 1 / 3  # of made-up mistakes, that are ones of reasoning where the question permits one


AnswerFrom = Callable[[Scene], ChosenAnswer | None]  # the question, asked again of another scene


@dataclass(frozen=True)
class RawMixPrediction:
    """A scene predicted from the raw mix, and how it differs from the scene that questions are about."""

    scene: Scene
    differences: tuple[Perturbation, ...]


def compare(
    scene: Scene, predictions: Sequence[Scene], min_confidence: float = 0.0
) -> tuple[RawMixPrediction, ...]:
    """Scenes predicted from the raw mix with their differences from the scene.

    Left out are differences that too many lines of a caption would have to be corrected for, and those of
    whose right side the scene itself is not sure: with less than `min_confidence`.
    """
    compared = []
    for prediction in predictions:
        differences = perturbations.differences(scene, prediction)
        kept = [d for d in differences if _can_be_followed(scene, d)]
        kept = [d for d in kept if is_sure(scene, d.scene, min_confidence)]
        compared.append(RawMixPrediction(prediction, tuple(kept)))
    return tuple(compared)


def _can_be_followed(scene: Scene, perturbation: Perturbation) -> bool:
    """Whether a few corrections lead from the mistaken caption to the right one."""
    return can_be_corrected(grammar.reading_of(perturbation.scene), grammar.reading_of(scene))


def is_sure(scene: Scene, mistaken: Scene, min_confidence: float) -> bool:
    """Whether a scene has enough confidence in what it states otherwise than a mistaken one.

    That is in the sounds and turns that the mistaken one has not, in their words where these differ, in the
    number of speakers where it differs, and in nothing being there that the mistaken one adds.
    """
    confidences = [min(e.confidence, e.span_confidence) for e in scene.events if e not in mistaken.events]
    mistaken_words = {(*interval(t), t.text) for t in mistaken.turns}
    for turn in (t for t in scene.turns if t not in mistaken.turns):
        confidences.append(turn.confidence)
        if (*interval(turn), turn.text) not in mistaken_words:
            confidences += _word_confidences(scene, turn)
    if scene.speakers != mistaken.speakers:
        confidences.append(scene.speaker_count_confidence)
    added = [e for e in mistaken.events if e not in scene.events]
    if len(mistaken.events) > len(scene.events):
        confidences.append(scene.background_confidence)
    if any(overlap(interval(e), interval(span)) for e in added for span in scene.unclear):
        return False
    return min(confidences, default=1.0) >= min_confidence


def _word_confidences(scene: Scene, turn: Turn) -> list[float]:
    """How sure the words of a turn are; 0 for those that its text calls unclear."""
    within = [w for w in scene.words if turn.start_ms <= (w.start_ms + w.end_ms) / 2 < turn.end_ms]
    confidences = [w.confidence for w in within if w.speaker in (None, turn.speaker)]
    return [0.0] if UNCLEAR_WORDS in turn.text else confidences


def selected_for_reflection(question: Question, config: QuestionsConfig, seed: int) -> bool:
    """Whether this question is one of the share to be reflected upon: drawn by its id; only with choices."""
    fit = len(question.choices) > 1 and question.answer_index is not None and bool(question.evidence)
    return fit and rng_for(seed, "reflect", question.id).random() < config.reflect


def reflect(
    scene: Scene,
    question: Question,
    predictions: Sequence[RawMixPrediction],
    config: QuestionsConfig,
    seed: int,
    other_clips: OtherClips = NO_OTHER_CLIPS,
) -> Reflection | None:
    """A wrong response to a question, with the reflection that corrects it; None where it is not to have one.

    `other_clips` is what `questions.generate` takes.
    """
    if not selected_for_reflection(question, config, seed):
        return None
    rng = rng_for(seed, "mistake", question.id)
    answer = partial(answer_from_scene, question=question, config=config, seed=seed, other_clips=other_clips)
    plausible = synthetic_errors.plausible_perturbations(scene, question, rng)
    synthetic = islice((p for p in plausible if _can_be_followed(scene, p)), TRIES)
    made_up = [
        _leading_to_wrong_choice(question, synthetic, answer),
        reasoning_errors.misread_questions(scene, question, config, seed, other_clips),
        reasoning_errors.left_out_rows(scene, question, answer, rng),
    ]
    if rng.random() < REASONING_SHARE:
        made_up.append(made_up.pop(0))
    for source, candidates in (
        ("heard", _misleading_differences(question, predictions, answer)),
        ("heard", _guesses_without_evidence(scene, question, predictions, answer, rng)),
        ("typed", chain.from_iterable(made_up)),
    ):
        if perturbation_and_answer := next(candidates, None):
            return _reflection_on(scene, question, *perturbation_and_answer, source, rng, config.letters)
    return _unchecked_choice(scene, question, rng, config.letters)


def _misleading_differences(
    question: Question,
    predictions: Sequence[RawMixPrediction],
    answer: AnswerFrom,
) -> Iterator[tuple[Perturbation, ChosenAnswer]]:
    """Real mistakes that lead to a wrong choice: to that of the whole prediction, where it supports one.

    A prediction that gives the right answer is no reason for a wrong one, whatever else is wrong with it.
    """
    for prediction in predictions:
        if not prediction.differences:
            continue
        full_answer = answer(prediction.scene)
        if full_answer and full_answer.index == question.answer_index:
            continue
        tried = prediction.differences[:TRIES]
        for perturbation, chosen in _leading_to_wrong_choice(question, tried, answer):
            if full_answer is None or chosen.index == full_answer.index:
                yield perturbation, chosen


def _guesses_without_evidence(
    scene: Scene,
    question: Question,
    predictions: Sequence[RawMixPrediction],
    answer: AnswerFrom,
    rng: random.Random,
) -> Iterator[tuple[Perturbation, ChosenAnswer]]:
    """Real mistakes about the evidence without which nothing settles the question, each with a guess.

    A wrong choice that names a predicted sound comes first, then NONE, then one that names a predicted
    speaker or line. Amounts are not guessed: what is missed makes them smaller, not any other.
    """
    if amount(question.answer) is not None and not question.answer.startswith("Speaker"):
        return
    rows: dict[str, Sequence[Turn | Event]] = {"turn": scene.turns, "event": scene.events}
    cited = {_row(rows[e.kind][e.index]) for e in question.evidence if e.kind in rows}
    for prediction in predictions:
        if answer(prediction.scene):
            continue
        losses = [d for d in prediction.differences if d.cause in CAUSES_OF_LOSS]
        losses = [d for d in losses if not cited <= _rows(d.scene)]
        losses.sort(key=lambda d: names_present_sound(d.scene, question.answer))
        for perturbation in losses[:TRIES]:
            if answer(perturbation.scene) is None:
                yield perturbation, _guess_for(perturbation.scene, question, rng)


def _guess_for(predicted: Scene, question: Question, rng: random.Random) -> ChosenAnswer:
    """A wrong choice that fits a predicted scene, or at least might."""
    wrong = [i for i in range(len(question.choices)) if i != question.answer_index]
    rng.shuffle(wrong)
    index = max(wrong, key=lambda i: _plausibility(predicted, question.choices[i]))
    choice = question.choices[index]
    frames: tuple[str, ...] = NOTHING_FITS
    if choice != NONE:
        frames = NOTICED if names_present_sound(predicted, choice) else _unsettled(predicted, question)
    return ChosenAnswer(index, rng.choice(frames).format(lower(choice)), guessed=True)


def _unsettled(predicted: Scene, question: Question) -> tuple[str, ...]:
    """How to say that nothing settles a question; what it names may be missing, if it is not perceived."""
    asked = f" {normal(question.text)} "
    perceived = (f" {normal(text)} " for e in predicted.events for text in (e.label, spoken(e.label)))
    return UNSETTLED if any(text in asked for text in perceived) else (*UNSETTLED, *UNPLACED)


def _row(row: Turn | Event) -> tuple[int, int, str]:
    return (*interval(row), row.text if isinstance(row, Turn) else row.mid)


def _rows(scene: Scene) -> set[tuple[int, int, str]]:
    rows: tuple[Turn | Event, ...] = (*scene.turns, *scene.events)
    return {_row(row) for row in rows}


def _plausibility(scene: Scene, choice: str) -> int:
    """How well a choice fits a predicted scene, from 0 to 3."""
    if choice == NONE:
        return 2
    if names_present_sound(scene, choice):
        return 3
    for turn in scene.turns:
        if choice == f"Speaker {turn.speaker}" or says_same(normal(choice), normal(turn.text)):
            return 1
    return 0


def _leading_to_wrong_choice(
    question: Question, candidates: Iterable[Perturbation], answer: AnswerFrom
) -> Iterator[tuple[Perturbation, ChosenAnswer]]:
    """Mistakes that lead to a wrong choice, each alone."""
    for perturbation in candidates:
        chosen = answer(perturbation.scene)
        if chosen and chosen.index != question.answer_index:
            yield perturbation, chosen


def _reflection_on(
    scene: Scene,
    question: Question,
    perturbation: Perturbation,
    chosen: ChosenAnswer,
    source: str,
    rng: random.Random,
    letters: bool,
) -> Reflection:
    mistake = upper(rng.choice(CAUSES[perturbation.cause]).format_map(perturbation.slots))
    if _renumbers_voices(scene, perturbation):
        mistake += f" {rng.choice(RENUMBERED)}"
    # A mistake of reasoning, or about a tone or a meaning, which no line of the caption states.
    right = grammar.reading_of(perturbation.scene) == grammar.reading_of(scene)
    first_scene = None if right else perturbation.scene
    origin = f"{source}:{perturbation.cause}"
    return _reflection(scene, question, chosen, mistake, origin, rng, letters, first_scene)


def _renumbers_voices(scene: Scene, perturbation: Perturbation) -> bool:
    """Whether voices that the mistake does not mention got other numbers because of it."""
    speaker_of_span = {interval(t): t.speaker for t in scene.turns}
    mentioned = " ".join(perturbation.slots.values())
    unmentioned = [t for t in perturbation.scene.turns if span(interval(t)) not in mentioned]
    return any(speaker_of_span.get(interval(t), t.speaker) != t.speaker for t in unmentioned)


def _unchecked_choice(scene: Scene, question: Question, rng: random.Random, letters: bool) -> Reflection:
    """A wrong choice that was not checked against the recording."""
    index = rng.choice([i for i in range(len(question.choices)) if i != question.answer_index])
    chosen = ChosenAnswer(index, rng.choice(HASTY), guessed=True)
    cause = rng.choice(CAUSES[MISMATCH]).format(choice=_quoted_choice(question.choices[index]))
    reflection = _reflection(scene, question, chosen, cause, f"typed:{MISMATCH}", rng, letters)
    summary = rng.choice(HASTY_SUMMARIES).format(_quoted_choice(question.choices[index]))
    return replace(reflection, summary=summary)


def _reflection(
    scene: Scene,
    question: Question,
    chosen: ChosenAnswer,
    mistake: str,
    origin: str,
    rng: random.Random,
    letters: bool,
    first_scene: Scene | None = None,
) -> Reflection:
    """`first_scene` is what the caption states, None where that is the scene; `letters` name the choices."""
    assert question.answer_index is not None
    wrong, right = (
        f"{letter(i) if letters else ''} {_quoted_choice(question.choices[i])}".strip()
        for i in (chosen.index, question.answer_index)
    )
    argument = question.reasoning
    if not cites(f"{mistake} {argument}", scene):
        argument += f" {rng.choice(PLACES).format(_evidence_spans(scene, question))}"
    reconsidered = RECONSIDERED if first_scene else (*RECONSIDERED, *COMPARED)
    end = rng.choice(CORRECTIONS).format(wrong=wrong, right=right)
    if chosen.guessed:
        first = f"{chosen.reasoning} {rng.choice(GUESSES).format(wrong)}"
        summary = rng.choice(GUESSED).format(_quoted_choice(question.choices[chosen.index]))
    else:
        answered = replace(question, template=chosen.template) if chosen.template else question
        summary = _summary(answered, chosen.index, rng)
        first_question = replace(question, answer_index=chosen.index, reasoning=chosen.reasoning)
        first = f"{rng.choice(FIRST)} {narration.reasoning(first_question, letters)}"
    return Reflection(
        origin=origin,
        index=chosen.index,
        reasoning=_on_one_line(first),
        summary=_on_one_line(summary),
        mistake=_on_one_line(f"{rng.choice(reconsidered)} {mistake}"),
        argument=_on_one_line(f"{argument} {end}"),
        scene=first_scene,
    )


def _on_one_line(prose: str) -> str:
    return " ".join(tidy(prose).split())


def _summary(question: Question, index: int, rng: random.Random) -> str:
    """The first impression in one sentence, without any claim to evidence."""
    choice = question.choices[index]
    unchanged = choice.startswith('"') or question.template in narration.AS_WRITTEN
    frames = narration.summary_frames(question.template, choice)
    statement = rng.choice(frames).format(choice if unchanged else lower(choice))
    return upper(tidy(rng.choice(SEEMING).format(statement)))


def _quoted_choice(choice: str) -> str:
    return excerpt(choice.strip('"'), 12) if choice.startswith('"') else quoted(choice)


def _evidence_spans(scene: Scene, question: Question) -> str:
    rows: dict[str, Sequence[Spanned]] = {"turn": scene.turns, "word": scene.words, "event": scene.events}
    return spans([interval(rows[e.kind][e.index]) for e in question.evidence[:3]])


def cites(text: str, scene: Scene) -> bool:
    """Whether a text names the span, to a tenth of a second, of a turn or a sound of the scene."""
    rows: tuple[Spanned, ...] = (*scene.turns, *scene.events, *scene.words)
    return any(span(interval(row)) in text for row in rows)
