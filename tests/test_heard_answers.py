"""Truth's questions tried on what was heard: the same scene answers all of them, another one fewer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paqa import audioset
from paqa.config.recipe import QuestionsConfig
from paqa.evaluation import answer_accuracy
from paqa.evaluation.answer_accuracy import TruthRow
from paqa.pipeline.recipe_files import for_folder
from paqa.questions.generate import TEMPLATES, generate
from paqa.types import Event, Question, Scene, Turn

RECIPE = replace(for_folder(Path(".")), questions=QuestionsConfig(per_clip=60))
DOG, BARK, SIREN, BELL = "Dog", "Bark", "Siren", "Church bell"


def event(start: int, end: int, label: str) -> Event:
    return Event(start, end, label, audioset.mid(label))


TRUTH = Scene(
    "c",
    24_000,
    turns=(
        Turn(1000, 4000, 1, "The soup needs a little more salt."),
        Turn(5000, 8000, 2, "Let us take the path along the river."),
        Turn(9500, 12_500, 1, "The next train leaves from the far platform."),
    ),
    events=(event(2000, 3500, DOG), event(14_000, 16_000, SIREN), event(19_000, 21_000, BELL)),
    language="en",
)


def row(question: Question) -> TruthRow:
    answer = question.answer
    return TruthRow(
        question.id,
        "c",
        question.template,
        question.text,
        question.choices,
        answer,
        question.answer_index,
        "truth",
    )


@pytest.fixture(scope="module")
def rows() -> list[TruthRow]:
    asked = [row(q) for q in generate(TRUTH, RECIPE.questions, RECIPE.seed)]
    return [r for r in asked if not TEMPLATES[r.template].labelled]


def accuracy(rows: list[TruthRow], heard: Scene) -> answer_accuracy.TemplateAccuracy:
    return answer_accuracy.measure(rows, {"c": heard}, RECIPE)[0]


def test_what_is_heard_as_it_is_answers_everything(rows: list[TruthRow]) -> None:
    all_rows = accuracy(rows, TRUTH)
    assert all_rows.rows == len(rows) > 20
    wrong = [
        r.question for r in rows if not all(answer_accuracy.answered(r, TEMPLATES[r.template], TRUTH, RECIPE))
    ]
    assert all_rows.asked == all_rows.rows, wrong
    assert all_rows.right >= 0.9 * all_rows.rows, wrong


def test_nothing_heard_answers_nothing(rows: list[TruthRow]) -> None:
    all_rows = accuracy(rows, Scene("c", 24_000))
    assert all_rows.right == 0


def test_a_missed_sound_costs_its_questions_and_no_others(rows: list[TruthRow]) -> None:
    predicted = replace(TRUTH, events=TRUTH.events[1:])
    by_name = {h.template: h for h in answer_accuracy.measure(rows, {"c": predicted}, RECIPE)}
    assert by_name["first_sound"].right == 0
    assert by_name["who_says"].accuracy == 1.0
    assert 0 < by_name["all"].accuracy < 1
    assert next(iter(by_name)) == "all"


def test_a_sound_heard_as_its_kind_is_the_same_sound(rows: list[TruthRow]) -> None:
    predicted = replace(TRUTH, events=(event(2000, 3500, BARK), *TRUTH.events[1:]))
    asked = [r for r in rows if r.template == "first_sound" and r.choices]
    assert asked
    assert all(
        answer_accuracy.answered(r, TEMPLATES[r.template], predicted, RECIPE) == (True, True) for r in asked
    )


def test_a_quotation_may_be_misheard(rows: list[TruthRow]) -> None:
    predicted = replace(
        TRUTH,
        turns=(
            TRUTH.turns[0],
            TRUTH.turns[1],
            replace(TRUTH.turns[2], text="The next train leaves from a far platform."),
        ),
    )
    asked = [r for r in rows if r.template in ("last_words", "who_says") and r.choices]
    assert asked
    assert all(
        answer_accuracy.answered(r, TEMPLATES[r.template], predicted, RECIPE) == (True, True) for r in asked
    )


def test_swapped_speakers_are_another_answer(rows: list[TruthRow]) -> None:
    predicted = replace(TRUTH, turns=(*TRUTH.turns[:2], replace(TRUTH.turns[2], speaker=2)))
    asked = [r for r in rows if r.template == "last_speaker" and r.choices]
    assert asked
    assert all(
        answer_accuracy.answered(r, TEMPLATES[r.template], predicted, RECIPE) == (True, False) for r in asked
    )
