"""Mistakes of reasoning: the caption is right, and the argument from it goes wrong.

Either another question is answered than the one that is asked, or a line of the caption is left out of a sum
or a count. What the argument does say is true of the scene.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from paqa.config.recipe import QuestionsConfig
from paqa.questions.english import quoted, span, speakers, tidy
from paqa.questions.generate import TEMPLATES
from paqa.questions.scene_parts import OtherClips
from paqa.rationale import perturbations
from paqa.rationale.answerer import ChosenAnswer, LenientContext
from paqa.rationale.perturbations import Perturbation
from paqa.spans import interval
from paqa.text import normal, rng_for
from paqa.types import Question, Scene

# Kinds of questions that are taken for one another; a kind with two directions also for itself.
ALIKE = (
    ("first_sound", "last_sound", "longest_sound"),
    ("said_after", "said_before"),
    ("words_before", "words_after"),
    ("who_says", "who_answers"),
    ("longest_speaker", "loudest_speaker", "fastest_speaker", "highest_voice"),
)
# How questions that quote a line are named; others are quoted themselves.
QUOTING = {
    "said_after": "what is said next",
    "said_before": "what is said just before",
    "words_before": "which words come right before",
    "words_after": "which words come right after",
    "who_says": "who says these words",
    "who_answers": "who speaks after them",
}
ADDING = ("sound_duration", "speaking_time", "sound_occasions", "turn_count")

AnswerFrom = Callable[[Scene], ChosenAnswer | None]


def misread_questions(
    scene: Scene, question: Question, config: QuestionsConfig, seed: int, other_clips: OtherClips
) -> Iterator[tuple[Perturbation, ChosenAnswer]]:
    """Answers to a similar question, where they are among the choices and wrong."""
    names = [name for group in ALIKE if question.template in group for name in group]
    right = normal(question.answer)
    for name in names:
        ctx = LenientContext(scene, config, rng_for(seed, scene.clip_id, name), other_clips)
        for draft in TEMPLATES[name].drafts(ctx):
            similar = _quotes(draft.texts[0]) == _quotes(question.text)
            if similar and draft.answer in question.choices and normal(draft.answer) != right:
                answered = _named(name, draft.texts[0])
                slots = {"asked": _named(question.template, question.text), "answered": answered}
                argument = f"As I read the question, it is {answered}. {draft.reasoning}"
                chosen = ChosenAnswer(question.choices.index(draft.answer), tidy(argument), template=name)
                yield Perturbation("misread_question", scene, slots), chosen


def _quotes(text: str) -> list[str]:
    """The lines that a question quotes, without case and punctuation."""
    return [normal(piece) for piece in text.split('"')[1::2]]


def _named(template: str, text: str) -> str:
    """A question in a sentence: between quotation marks without its remark in brackets, or by its kind."""
    if template in QUOTING:
        return QUOTING[template]
    text = text[: text.rindex(" (")] if text.endswith(")") and " (" in text else text
    return quoted(text)


def left_out_rows(
    scene: Scene, question: Question, answer: AnswerFrom, rng: random.Random
) -> Iterator[tuple[Perturbation, ChosenAnswer]]:
    """Sums and counts of the evidence without one of its rows, where they lead to a wrong choice."""
    if question.template not in ADDING:
        return
    rows = [e for e in question.evidence if e.kind in ("event", "turn")]
    rng.shuffle(rows)
    for row in rows:
        if row.kind == "event":
            event = scene.events[row.index]
            without = perturbations.remove_sounds(scene, [event]).scene
            name = f"the stretch at {span(interval(event))}"
        else:
            turn = scene.turns[row.index]
            without = perturbations.remove_turns(scene, [row.index]).scene
            name = f"the turn of {speakers([turn.speaker])} at {span(interval(turn))}"
        if set(without.turns) - set(scene.turns):
            continue  # voices after it would have other numbers
        chosen = answer(without)
        if chosen and chosen.index != question.answer_index:
            yield Perturbation("left_out", scene, {"row": name}), chosen
