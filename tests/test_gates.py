"""Each gate closes for its own reason, and the first in the fixed order is reported."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import scenes
from test_questions import DIALOGUE

from paqa.gates import judge, quote_presence
from paqa.questions import generate
from paqa.rationale import render
from paqa.recipe import GatesConfig, QuestionsConfig
from paqa.types import Question, Scene

CONFIG = GatesConfig()
SNIPPETS = [t.text for t in DIALOGUE.turns]
QUESTIONS = {q.template: q for q in generate(DIALOGUE, QuestionsConfig(per_clip=99), 0)}


def reason(
    question: Question, text: str | None = None, snippets: list[str] = SNIPPETS, scene: Scene = DIALOGUE
) -> str | None:
    found = judge(question, render(scene, question) if text is None else text, scene, snippets, CONFIG)
    assert found is None or found.detail.startswith(question.id)
    return found.reason if found else None


def swap(question: Question, wrong: str) -> Question:
    """The question with its first wrong choice replaced."""
    at = 0 if question.answer_index else 1
    return replace(question, choices=tuple(wrong if i == at else c for i, c in enumerate(question.choices)))


def test_each_reason() -> None:
    q = QUESTIONS["background_sound"]
    line = QUESTIONS["first_words"]
    good = render(DIALOGUE, q)
    assert reason(q) is None
    assert reason(q, "") == reason(replace(q, text=" ")) == reason(swap(q, "...")) == "empty"
    assert reason(replace(q, margin=0.1)) == "low_margin"
    assert reason(swap(q, q.answer.upper() + "!")) == "duplicate_choices"
    assert reason(swap(q, "A dog" if q.answer == "A dog barking" else "A telephone")) == "ambiguous_choices"
    assert reason(swap(line, f'"{line.answer[1:12]}"')) == "ambiguous_choices"
    assert reason(q, good.replace("Bark", "Cat")) == reason(q, good[:-3]) == "rationale_round_trip"
    assert reason(q, good.replace("<RESPONSE>(", "<RESPONSE>(H) (")) == "answer_mismatch"
    assert reason(q, snippets=["nothing of the kind"]) == reason(q, snippets=[]) == "quote_presence"


def test_the_order_is_fixed() -> None:
    q = replace(QUESTIONS["background_sound"], margin=0.0)
    assert reason(q, "", []) == "empty"
    assert reason(q, "x", []) == "low_margin"
    assert reason(replace(q, margin=1.0), "x", []) == "rationale_round_trip"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenes())
def test_what_is_generated_passes_but_for_its_margin(scene: Scene) -> None:
    for q in generate(scene, QuestionsConfig(), 0):
        assert reason(replace(q, margin=1.0), snippets=[t.text for t in scene.turns], scene=scene) is None


@pytest.mark.parametrize(
    ("quotes", "snippets", "low", "high"),
    [
        ([], [], 1, 1),
        (["..."], [], 1, 1),
        (["Hello there."], [], 0, 0),
        (["Hello, THERE!"], ["hello there"], 1, 1),
        (["We had no choice"], ["the train we", "had no choice at all"], 1, 1),
        (["We had no choice today"], ["well we", "had no joys to day at all"], 0.6, 0.9),
        (["We had no choice"], ["I walked all the way"], 0, 0.6),
        (["one two three", "never said anywhere"], ["one two three"], 0.5, 0.8),
    ],
)
def test_quote_presence(quotes: list[str], snippets: list[str], low: float, high: float) -> None:
    assert low <= quote_presence(quotes, snippets) <= high


def test_quote_presence_is_fast() -> None:
    words = [f"word{n * 7 % 61}" for n in range(100)]
    quotes = [" ".join(words[i * 10 : i * 10 + 10]).replace("word1", "wort1") for i in range(10)]
    snippets = [" ".join(words[i : i + 13]) for i in range(0, 100, 13)]
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        assert quote_presence(quotes, snippets) > 0.9
        spent.append(time.perf_counter() - began)
    assert min(spent) < 0.05
