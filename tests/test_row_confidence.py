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
from paqa.questions.generate import generate, rests_on
from paqa.questions.row_confidence import LEAST, row_features
from paqa.questions.template import Claim
from paqa.types import Evidence, Question, Scene, Turn, Unclear

RELAXED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def with_words(scene: Scene) -> Scene:
    words = sorted((w for t in scene.turns for w in spread_words(t)), key=lambda w: w.start_ms)
    return replace(scene, words=tuple(words))


TRUTH = with_words(DIALOGUE)
FLAGS = {"answer_turn_time", "answer_word_time"}
SHARES = {"words", "unclear_words"}  # of what is wrong: the larger, the worse
NAMES = sorted(row_features(TRUTH, frozenset(), ()))
CLAIMS: list[Claim] = [
    *("speaker_count", "speaker", "words", "turn_time", "word_time", "sound", "sound_time", "absence"),
]  # fmt: skip
ANSWERS = [name for name in NAMES if name.startswith("answer_")]


@RELAXED
@given(scenes(), st.integers(0, 3))
def test_what_is_sure_costs_nothing(scene: Scene, seed: int) -> None:
    sure = with_words(scene)
    for q in generate(sure, replace(PLAIN, per_clip=12), seed):
        features = row_features(sure, rests_on(q), q.evidence)
        assert {name for name, value in features.items() if value} <= FLAGS
        claims = rests_on(q)
        assert [features[f"answer_{claim}"] for claim in ("turn_time", "word_time")] == [
            "turn_time" in claims,
            "word_time" in claims,
        ]


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


DOUBTFUL = doubtful(TRUTH)
EVIDENCE = (Evidence("turn", 0), Evidence("turn", 2), Evidence("event", 1))


@pytest.mark.parametrize(
    ("claim", "name", "value"),
    [
        ("speaker_count", "answer_count", math.log(0.6)),
        ("speaker", "answer_speaker", math.log(0.91) + math.log(0.93)),
        ("words", "answer_words", 2 * math.log(0.85)),
        ("sound", "answer_sound", math.log(0.72)),
        ("sound_time", "answer_sound_time", math.log(0.62)),
        ("absence", "answer_absence", math.log(0.55)),
        ("word_time", "answer_word_time", 1.0),
    ],
)
def test_an_answer_rests_on_what_it_claims_alone(claim: Claim, name: str, value: float) -> None:
    features = row_features(DOUBTFUL, frozenset({claim}), EVIDENCE)
    assert {n: features[n] for n in ANSWERS if features[n]} == {name: pytest.approx(value)}


def test_times_of_turns_rest_on_their_speakers() -> None:
    features = row_features(DOUBTFUL, frozenset({"turn_time"}), EVIDENCE)
    assert {n for n in ANSWERS if features[n]} == {"answer_speaker", "answer_turn_time"}


def test_cited_words_count_one_by_one() -> None:
    words = (replace(TRUTH.words[0], confidence=0.9), replace(TRUTH.words[1], confidence=0.8))
    scene = replace(TRUTH, words=(*words, *TRUTH.words[2:]))
    cited = (Evidence("word", 1),)
    assert row_features(scene, frozenset({"words"}), cited)["answer_words"] == pytest.approx(math.log(0.8))


def test_a_rationale_states_the_whole_scene() -> None:
    features = row_features(DOUBTFUL, frozenset(), ())
    assert features["count"] == pytest.approx(math.log(0.6))
    assert features["turns"] == pytest.approx(sum(math.log(0.91 + 0.01 * i) for i in range(5)))
    assert features["least_turn"] == pytest.approx(math.log(0.91))
    assert features["words"] == pytest.approx(0.15)
    assert features["events"] == pytest.approx(sum(math.log(0.71 + 0.01 * i) for i in range(4)))
    assert features["spans"] == pytest.approx(sum(math.log(0.61 + 0.01 * i) for i in range(4)))
    assert features["nothing"] == 0.0  # it says that there are sounds
    assert not any(features[name] for name in ANSWERS)
    impossible = replace(DOUBTFUL, speaker_count_confidence=0.0)
    assert row_features(impossible, frozenset(), ())["count"] == math.log(LEAST)


def test_that_nothing_sounds_is_stated_where_nothing_is_unclear() -> None:
    silent = replace(DOUBTFUL, events=())
    assert row_features(silent, frozenset(), ())["nothing"] == pytest.approx(math.log(0.55))
    unclear = replace(silent, unclear=(Unclear(0, 900),))
    assert row_features(unclear, frozenset(), ())["nothing"] == 0.0


def test_unclear_words_count_by_turn() -> None:
    texts = ("One [unclear] three.", "[unclear]", "Six.", "Seven [unclear] and [unclear].")
    turns = tuple(Turn(1000 * i, 1000 * i + 900, 1, text) for i, text in enumerate(texts))
    assert row_features(Scene("c", 9000, turns), frozenset(), ())["unclear_words"] == 0.75
    assert not any(row_features(Scene("c", 9000), frozenset(), ()).values())


MODEL = LogisticModel(
    tuple(NAMES), tuple(-0.7 if name in SHARES else 0.0 if name in FLAGS else 0.7 for name in NAMES), 3.0
)


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
    kinds = {"turn": before.turns, "word": before.words, "event": before.events}
    evidence = [Evidence(kind, i) for kind, rows in kinds.items() for i in range(0, len(rows), 2)]  # type: ignore[arg-type]
    first, then = (
        MODEL.probability(row_features(s, frozenset(claims), evidence))
        for s in (before, lowered(before, data))
    )
    assert then <= first + 1e-12


@RELAXED
@given(scenes())
def test_features_of_any_question_are_finite(scene: Scene) -> None:
    hopeless = replace(
        scene,
        turns=tuple(replace(t, confidence=0.0) for t in scene.turns),
        events=tuple(replace(e, confidence=0.0, span_confidence=0.0) for e in scene.events),
        words=tuple(replace(w, confidence=0.0) for w in with_words(scene).words),
        speaker_count_confidence=0.0,
        background_confidence=0.0,
    )
    for q in generate(scene, replace(PLAIN, per_clip=20), 0):
        features = row_features(hopeless, rests_on(q), q.evidence)
        assert sorted(features) == NAMES
        assert all(map(math.isfinite, features.values()))


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
