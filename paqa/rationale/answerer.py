"""Answers a question again from another scene, by the argument of its own template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from paqa.config.recipe import QuestionsConfig
from paqa.questions import drawn_words, source_questions, text_matching
from paqa.questions.context import Context, alike, says_same
from paqa.questions.english import NUMBERS, lower, tidy
from paqa.questions.generate import template_named
from paqa.questions.scene_parts import NO_OTHER_CLIPS, OtherClips
from paqa.questions.template import NONE, Draft
from paqa.rationale import synthetic_errors
from paqa.text import normal, rng_for
from paqa.types import Question, Scene


@dataclass(frozen=True)
class ChosenAnswer:
    """The choice that follows from a scene, by its index, with the argument for it or (`guessed`) a guess.

    `template` is that of the question which is answered, where it is another one than the one asked.
    """

    index: int
    reasoning: str
    guessed: bool = False
    template: str = ""


class LenientContext(Context):
    """A context in which an amount is answered with the nearest choice."""

    lenient = True


def answer_from_scene(
    scene: Scene,
    question: Question,
    config: QuestionsConfig,
    seed: int,
    other_clips: OtherClips = NO_OTHER_CLIPS,
) -> ChosenAnswer | None:
    """The choice that follows from a scene; None where none of the choices does."""
    if question.template == source_questions.NAME:
        return _source_answer(scene, question, config, seed)
    if question.template == "absent_sound":
        return _absent_answer(scene, question)
    if question.template in drawn_words.TEMPLATES:
        return _drawn_answer(scene, question)
    template = template_named(question.template)
    if template is None:
        return None
    ctx = LenientContext(scene, config, rng_for(seed, scene.clip_id, question.template), other_clips)
    drafts = [draft for draft in template.drafts(ctx) if _same_question(draft.texts, question.text)]
    if question.template == "earliest_line":  # other lines may be drawn from another scene
        drafts = [d for d in drafts if _said_first(scene, question.choices, d.answer)]
    by_choice = {index: d for d in drafts if (index := _choice_index(question.choices, d)) is not None}
    if drafts and NONE in question.choices and not by_choice:
        return ChosenAnswer(question.choices.index(NONE), tidy(drafts[0].reasoning))
    index = question.answer_index if question.answer_index in by_choice else min(by_choice, default=None)
    return None if index is None else ChosenAnswer(index, tidy(by_choice[index].reasoning))


def _said_first(scene: Scene, choices: Sequence[str], answer: str) -> bool:
    """Whether no other choice is said before an answer."""
    starts = {normal(t.text): t.start_ms for t in reversed(scene.turns)}
    offered = [starts[normal(choice)] for choice in choices if normal(choice) in starts]
    return starts.get(normal(answer)) == min(offered, default=None)


def _choice_index(choices: Sequence[str], draft: Draft) -> int | None:
    """The index of the choice that a draft answers; of amounts the nearest one, where that is clear."""
    if draft.answer in choices or NONE in choices:
        return choices.index(draft.answer) if draft.answer in choices else None
    stated = normal(draft.answer.removeprefix("About "))
    return None if f" {stated} " in f" {normal(draft.reasoning)} " else nearest(choices, draft.answer)


def nearest(choices: Sequence[str], answer: str) -> int | None:
    """Of choices that are amounts, the one nearest to an amount; None where two are, or any is none."""
    value, offered = amount(answer), [amount(c) for c in choices]
    distances = [abs(n - value) for n in offered if n is not None and value is not None]
    clear = len(distances) == len(choices) and distances.count(min(distances)) == 1
    return distances.index(min(distances)) if clear else None


def amount(text: str) -> int | None:
    """The one number that a choice names, None where it names none."""
    return text_matching.number_in(text, NUMBERS)


def _same_question(texts: Iterable[str], asked: str) -> bool:
    """Whether one of the wordings is this question, but for remarks on numbering and near-equal quotes."""
    asked_pieces = _pieces(asked)
    for text in texts:
        pieces = _pieces(text)
        if len(pieces) == len(asked_pieces) and pieces[::2] == asked_pieces[::2]:
            quotes = zip(pieces[1::2], asked_pieces[1::2], strict=True)
            if all(a == b or says_same(normal(a), normal(b)) for a, b in quotes):
                return True
    return False


@lru_cache(maxsize=16384)
def _pieces(text: str) -> list[str]:
    """A wording cut at its quotation marks, without a remark in brackets at its end."""
    text = tidy(text)
    if text.endswith(")") and " (" in text:
        text = text[: text.rindex(" (")]
    return text.split('"')


def _source_answer(
    scene: Scene, question: Question, config: QuestionsConfig, seed: int
) -> ChosenAnswer | None:
    """The choice of a question of a source that something in the scene supports."""
    ctx = Context(scene, config, rng_for(seed, scene.clip_id, question.id))
    for index, choice in enumerate(question.choices):
        wrong = [c for c in question.choices if c != choice]
        if argument := source_questions.support(ctx, question.text, choice, wrong):
            return ChosenAnswer(index, tidy(argument.because))
    return None


def _absent_answer(scene: Scene, question: Question) -> ChosenAnswer | None:
    """The choice that is not among the sounds of the scene, preferably a wrong one."""
    missing = [i for i, c in enumerate(question.choices) if c != NONE and not names_present_sound(scene, c)]
    index = min(missing, key=lambda i: i == question.answer_index, default=None)
    if index is None:
        return None
    return ChosenAnswer(index, f"At no point can {lower(question.choices[index])} be heard.")


def _drawn_answer(scene: Scene, question: Question) -> ChosenAnswer | None:
    """The choice of a question that offers words of the talk, by where these are in the scene."""
    index = drawn_words.choice_from(scene, question.template, question.text, question.choices)
    if index is None:
        return None
    choice = question.choices[index]
    reasons = {
        "earliest_words": f"Of what is offered, {choice} is the first that I hear.",
        "latest_words": f"Of what is offered, {choice} is the last that I hear.",
        "word_said": f"Of the words on offer, {choice} is the one that I hear.",
        "word_at_second": f"At that moment I hear {choice}.",
    }
    if choice == NONE:
        return ChosenAnswer(index, "At that moment I hear none of the words that are offered.")
    return ChosenAnswer(index, reasons[question.template])


def names_present_sound(scene: Scene, choice: str) -> bool:
    """Whether a choice names a sound that the scene has, or one that may be taken for it."""
    named_sound = synthetic_errors.sound_of_choice(scene, choice)
    return named_sound is not None and any(alike(*named_sound, e.mid, e.label) for e in scene.events)
