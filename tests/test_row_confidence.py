"""How sure a row is, and what becomes of rows that are not sure enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenes, spread_words
from test_questions import DIALOGUE, PLAIN

from paqa.config.recipe import GatesConfig, QuestionsConfig
from paqa.curation.gates import uncertain
from paqa.perception.calibration import LogisticModel
from paqa.questions.generate import generate
from paqa.questions.row_confidence import (
    INDICATOR_VALUE,
    line_probability,
    row_probability,
    scene_probability,
)
from paqa.questions.template import Claim
from paqa.types import Question, Scene, Unclear, Word

RELAXED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def with_words(scene: Scene) -> Scene:
    words = sorted((w for t in scene.turns for w in spread_words(t)), key=lambda w: w.start_ms)
    return replace(scene, words=tuple(words))


TRUTH = with_words(DIALOGUE)
CLAIMS: list[Claim] = [
    *("speaker_count", "speaker", "words", "turn_time", "word_time", "sound", "sound_time", "absence"),
]  # fmt: skip
CERTAIN = LogisticModel((), (), 30.0)  # of answers
NOTHING: frozenset[Claim] = frozenset()


def doubtful(scene: Scene) -> Scene:
    """The scene with another probability for everything, all in (0.5, 1)."""
    return replace(
        scene,
        turns=tuple(replace(t, confidence=0.91 + 0.01 * i) for i, t in enumerate(scene.turns)),
        words=tuple(replace(w, confidence=0.85) for w in scene.words),
        events=tuple(
            replace(e, confidence=0.71 + 0.01 * i, span_confidence=0.61 + 0.01 * i)
            for i, e in enumerate(scene.events)
        ),
        speaker_count_confidence=0.6,
        background_confidence=0.55,
    )


SURE_OF_WORDS = replace(doubtful(TRUTH), words=TRUTH.words)


@RELAXED
@given(scenes())
def test_what_is_sure_has_probability_one(scene: Scene) -> None:
    assert scene_probability(with_words(scene)) == pytest.approx(1.0)


def test_a_rationale_states_the_whole_scene() -> None:
    sounds = math.prod((0.71 + 0.01 * i) * (0.61 + 0.01 * i) for i in range(len(TRUTH.events)))
    assert scene_probability(SURE_OF_WORDS) == pytest.approx(0.6 * sounds)


def test_who_speaks_is_one_statement() -> None:
    silent = replace(SURE_OF_WORDS, events=(), unclear=(Unclear(0, 900),))
    assert scene_probability(silent) == pytest.approx(0.6)
    assert scene_probability(replace(silent, speaker_count_confidence=0.99)) == pytest.approx(0.91)


def test_that_nothing_sounds_is_stated_where_nothing_is_unclear() -> None:
    silent = replace(SURE_OF_WORDS, events=())
    assert scene_probability(silent) == pytest.approx(0.6 * 0.55)


def test_absence_rests_on_the_whole_background() -> None:
    answers = LogisticModel(("nothing_missing",), (1.0,), 0.0)
    some = row_probability(SURE_OF_WORDS, NOTHING, "absent_sound", answers)
    assert some == pytest.approx(0.5 * scene_probability(SURE_OF_WORDS))
    absent = row_probability(SURE_OF_WORDS, frozenset({"absence"}), "absent_sound", answers)
    assert absent == pytest.approx(0.55 / 1.55 * scene_probability(SURE_OF_WORDS))
    silent = replace(SURE_OF_WORDS, events=())  # it is stated anyhow
    assert row_probability(silent, frozenset({"absence"}), "absent_sound", answers) == pytest.approx(0.165)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ((), 1.0),
        ((0.5,), 1.0),  # one wrong word is let pass
        ((0.5, 0.6), 1 - 0.5 * 0.4),
        ((0.9,) * 4, 0.9**4 + 4 * 0.1 * 0.9**3),
        ((0.8,) * 10, 0.8**10 + 10 * 0.2 * 0.8**9 + 45 * 0.2**2 * 0.8**8),  # two of ten
    ],
)
def test_a_line_may_have_one_wrong_word_in_five(probabilities: tuple[float, ...], expected: float) -> None:
    words = [Word(100 * i, 100 * i + 90, "word", confidence=p) for i, p in enumerate(probabilities)]
    assert line_probability(words) == pytest.approx(expected)


def test_answers_of_some_templates_follow_less_often() -> None:
    answers = LogisticModel(("is speaking_time",), (-1.0,), 3.0)
    exact = with_words(DIALOGUE)
    other = row_probability(exact, NOTHING, "speaker_count", answers)
    assert other == pytest.approx(1 / (1 + math.exp(-3.0)))
    timed = row_probability(exact, NOTHING, "speaking_time", answers)
    assert timed == pytest.approx(1 / (1 + math.exp(-3.0 + INDICATOR_VALUE)))


def lowered(scene: Scene, data: st.DataObject) -> Scene:
    """The scene with one of its probabilities lower."""
    share = data.draw(st.floats(0, 1))
    kinds = [name for name in ("turns", "words", "events") if getattr(scene, name)]
    kind = data.draw(st.sampled_from([*kinds, "speaker_count_confidence", "background_confidence"]))
    if kind not in kinds:
        return replace(scene, **{kind: share * getattr(scene, kind)})
    rows = list(getattr(scene, kind))
    at = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(("confidence", "span_confidence"))) if kind == "events" else "confidence"
    rows[at] = replace(rows[at], **{name: share * getattr(rows[at], name)})
    changes: dict[str, Any] = {kind: tuple(rows)}
    return replace(scene, **changes)


@RELAXED
@given(scenes(), st.sets(st.sampled_from(CLAIMS)), st.data())
def test_less_sure_predictions_make_no_row_surer(
    scene: Scene, claims: set[Claim], data: st.DataObject
) -> None:
    before = doubtful(with_words(scene))
    first, then = (
        row_probability(s, frozenset(claims), "who_says", CERTAIN) for s in (before, lowered(before, data))
    )
    assert 0 <= then <= first + 1e-12
    assert first <= 1


# --- the gate

QUESTIONS = generate(DIALOGUE, PLAIN, 0)


def test_rows_below_the_limit_are_uncertain() -> None:
    q, config = QUESTIONS[0], GatesConfig(min_confidence=0.9)
    assert uncertain(q, 0.9, config) is None
    assert uncertain(q, 1.0, config) is None
    assert uncertain(q, None, config) is None  # nobody knows
    assert uncertain(q, 0.0, replace(config, min_confidence=0.0)) is None
    rejected = uncertain(q, 0.87, config)
    assert rejected is not None
    assert rejected.reason == "uncertain"
    assert rejected.detail.startswith(f"{q.id}: ")
    assert "0.87" in rejected.detail
    assert "gates.min_confidence 0.9" in rejected.detail


def test_a_row_just_below_the_limit_does_not_read_as_if_it_reached_it() -> None:
    rejected = uncertain(QUESTIONS[0], 0.8996, GatesConfig(min_confidence=0.9))
    assert rejected is not None
    assert "probability 0.8996, below gates.min_confidence 0.9" in rejected.detail


def accepted(accept: Callable[[Question], bool], per_clip: int) -> list[Question]:
    return generate(DIALOGUE, QuestionsConfig(per_clip=per_clip), 0, accept=accept)


def test_other_questions_come_for_those_that_are_not_accepted() -> None:
    first = accepted(lambda q: True, 8)
    assert len(first) == 8
    refused = {q.id for q in first[::2]}
    others = accepted(lambda q: q.id not in refused, 8)
    assert len(others) == 8
    assert not {q.id for q in others} & refused
    assert {q.id for q in first} - refused <= {q.id for q in others}


def test_no_more_questions_are_looked_at_than_needed() -> None:
    asked: list[str] = []
    kept = accepted(lambda q: not asked.append(q.id) and len(asked) % 2 == 0, 5)  # type: ignore[func-returns-value]
    assert len(kept) == 5
    assert len(asked) == len(set(asked)) == 10
    assert accepted(lambda q: False, 5) == []
