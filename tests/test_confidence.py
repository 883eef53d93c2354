"""The features of predictions, and the probabilities that a calibration gives a scene."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import LABELS, scenes, spread_words

from paqa import audioset
from paqa.engines.event_scores import EventScores, KindScores
from paqa.perception.calibration import Calibration, Kind, LogisticModel, is_indicator
from paqa.perception.confidence import (
    Extras,
    background_features,
    count_features,
    event_features,
    span_features,
    turn_features,
    with_confidences,
    word_features,
)
from paqa.perception.event_features import Tagging, logit
from paqa.types import Disagreement, Event, Scene, Tag, Turn, Word

RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EMPTY = Scene("c", 5000)
UNITS = st.floats(0, 1)
MIDS = [audioset.mid(label) for label in (*LABELS, "Silence", "Music")]


@st.composite
def scored_scenes(draw: st.DrawFn) -> tuple[Scene, Extras]:
    """A scene with scores, and what engines say of its clip; words, turns, events and tags may be missing."""
    scene = draw(scenes())
    turns = [replace(turn, score=draw(st.none() | UNITS)) for turn in scene.turns]
    words = [w for turn in scene.turns[: draw(st.integers(0, 8))] for w in spread_words(turn)]
    words = [
        replace(w, score=draw(UNITS), speaker=draw(st.sampled_from((w.speaker, w.speaker, None))))
        for w in sorted(words, key=lambda w: w.start_ms)
    ]
    events = [replace(event, score=draw(UNITS)) for event in scene.events]
    numbers = st.lists(UNITS, min_size=4, max_size=4)
    scores = tuple(
        EventScores(e.start_ms, e.end_ms, *draw(st.tuples(UNITS, UNITS, UNITS)), kinds=tuple(
            KindScores(mid, *draw(numbers)) for mid in (e.mid, *audioset.ancestors_nearest_first(e.mid))
        ))
        for e in events[: draw(st.integers(0, 7))]
    )  # fmt: skip
    tags = st.lists(st.builds(Tag, st.sampled_from(MIDS), UNITS), max_size=8).map(tuple)
    extras = Extras(draw(st.none() | UNITS), draw(st.none() | UNITS), Tagging(scores, draw(tags), draw(tags)))
    return replace(scene, turns=tuple(turns), words=tuple(words), events=tuple(events)), extras


def all_features(scene: Scene, extras: Extras) -> dict[Kind, list[dict[str, float]]]:
    return {
        "word": word_features(scene),
        "turn": turn_features(scene, extras),
        "speaker_count": [count_features(scene, extras)],
        "event": event_features(scene, extras),
        "event_span": span_features(scene, extras),
        "background": [background_features(scene, extras)],
    }


BARKING = Event(1000, 2000, "Bark", audioset.mid("Bark"), 0.7)
FULL = Scene("c", 5000, (Turn(0, 900, 1, "So."),), (Word(0, 400, "So.", 1),), (BARKING,))
NAMES = {
    kind: sorted(name for name in examples[0] if not is_indicator(name))
    for kind, examples in all_features(FULL, Extras()).items()
}


def calibration(**models: LogisticModel) -> Calibration:
    """Models over all features with the weights 1, -1, 1, -1, ..., or those given."""
    alternating: dict[Kind, LogisticModel] = {
        kind: LogisticModel(tuple(names), tuple((-1.0) ** i for i in range(len(names))), 0.0)
        for kind, names in NAMES.items()
    }
    return Calibration((), {**alternating, **models})  # type: ignore[dict-item]


@RELAXED
@given(scored_scenes())
def test_features_are_finite_and_the_same_for_all(sample: tuple[Scene, Extras]) -> None:
    scene, extras = sample
    features = all_features(scene, extras)
    assert len(features["word"]) == len(scene.words)
    assert len(features["turn"]) == len(scene.turns)
    assert len(features["event"]) == len(scene.events)
    for kind, examples in features.items():
        for values in examples:
            assert all(map(math.isfinite, values.values())), (kind, values)
            assert sorted(name for name in values if not is_indicator(name)) == NAMES[kind]


@RELAXED
@given(scored_scenes())
def test_confidences_are_probabilities_and_nothing_else_changes(sample: tuple[Scene, Extras]) -> None:
    scene, extras = sample
    sure = with_confidences(scene, extras, calibration())
    given_ones = [sure.speaker_count_confidence, sure.background_confidence]
    for rows in (sure.words, sure.turns, sure.events):
        given_ones += [row.confidence for row in rows]
    given_ones += [e.span_confidence for e in sure.events]
    assert all(0 <= p <= 1 for p in given_ones)
    without = replace(
        sure,
        words=tuple(replace(w, confidence=1.0) for w in sure.words),
        turns=tuple(replace(t, confidence=1.0) for t in sure.turns),
        events=tuple(replace(e, confidence=1.0, span_confidence=1.0) for e in sure.events),
        speaker_count_confidence=1.0,
        background_confidence=1.0,
    )
    assert without == scene


def test_every_prediction_has_the_probability_of_its_own_model() -> None:
    constants = {kind: LogisticModel((), (), at) for at, kind in enumerate(NAMES)}
    sure = with_confidences(FULL, Extras(), calibration(**constants))
    expected = {kind: model.probability({}) for kind, model in constants.items()}
    assert len(set(expected.values())) == len(NAMES)
    assert {
        "word": sure.words[0].confidence,
        "turn": sure.turns[0].confidence,
        "speaker_count": sure.speaker_count_confidence,
        "event": sure.events[0].confidence,
        "event_span": sure.events[0].span_confidence,
        "background": sure.background_confidence,
    } == expected


def test_a_class_of_its_own_counts_in_the_probability() -> None:
    model = LogisticModel((f"is {BARKING.mid}",), (-2.0,), 1.0)
    rain = replace(BARKING, label="Rain", mid=audioset.mid("Rain"))
    sure = with_confidences(replace(FULL, events=(BARKING, rain)), Extras(), calibration(event=model))
    assert [e.confidence for e in sure.events] == [
        pytest.approx(1 / (1 + math.exp(2.0))),
        pytest.approx(1 / (1 + math.exp(-1.0))),
    ]


def test_features_of_words() -> None:
    words = [
        Word(0, 400, "It's", 1, 0.9), Word(500, 900, "a", 1, 0.6), Word(1000, 1400, "dog.", None, 0.5),
        Word(3000, 4751, "Yes", 1, 0.8), Word(4600, 4700, "!", 1, 0.99),
    ]  # fmt: skip
    differing = (Disagreement("transcribe", 850, 1000, "a", "the"), Disagreement("diarize", 0, 5000, "", ""))
    scene = replace(EMPTY, words=tuple(words), disagreements=differing, snr_db=10.0)
    features = word_features(scene)
    logits = [logit(w.score) for w in words]
    assert [f["score"] for f in features] == logits
    assert features[0]["neighbours"] == pytest.approx((logits[1] + logits[2]) / 2)
    assert features[2]["neighbours"] == pytest.approx((logits[0] + logits[1] + logits[3] + logits[4]) / 4)
    assert [f["disputed"] for f in features] == [0, 1, 0, 0, 0]
    assert [f["at_edge"] for f in features] == [1, 0, 0, 1, 0]
    assert [f["without_speaker"] for f in features] == [0, 0, 1, 0, 0]
    assert [f["letters"] for f in features] == [math.log(n) for n in (3, 1, 3, 3, 1)]
    assert {f["noise"] for f in features} == {0.75}
    (alone,) = word_features(replace(scene, words=(words[0],)))
    assert alone["neighbours"] == alone["score"]


@pytest.mark.parametrize(
    ("snr_db", "noise"), [(None, 0.0), (40.0, 0.0), (90.0, 0.0), (0.0, 1.0), (-10, 1.25)]
)
def test_noise_is_how_near_the_background_comes(snr_db: float | None, noise: float) -> None:
    scene = replace(EMPTY, snr_db=snr_db)
    assert count_features(scene, Extras())["noise"] == noise
    assert background_features(scene, Extras())["noise"] == noise


def test_features_of_turns() -> None:
    turns = (Turn(0, 2000, 1, score=0.9), Turn(1500, 2500, 2), Turn(3500, 3550, 1, score=0.2))
    first, second, third = turn_features(replace(EMPTY, turns=turns), Extras(0.6))
    assert [f["score"] for f in (first, second, third)] == [logit(0.9), 0.0, logit(0.2)]
    assert [f["overlapped"] for f in (first, second, third)] == [0.25, 0.5, 0.0]
    assert (first["near"], second["near"]) == (1.0, 1.0)
    assert third["near"] == pytest.approx(math.exp(-1000 / 500))
    assert first["length"] == pytest.approx(math.log(2))
    assert third["length"] == pytest.approx(math.log(0.1))  # no shorter than that
    assert (first["stability"], first["speakers"]) == (0.6, 2.0)
    (alone,) = turn_features(replace(EMPTY, turns=turns[:1]), Extras())
    assert (alone["near"], alone["overlapped"], alone["stability"]) == (0.0, 0.0, 0.5)


def test_features_of_the_number_of_speakers() -> None:
    turns = (Turn(0, 2000, 1, score=0.9), Turn(1500, 2500, 2), Turn(1000, 3000, 1, score=0.7))
    words = (Word(0, 400, "a", 1), Word(500, 900, "b", None), Word(1600, 1800, "c", 2))
    features = count_features(replace(EMPTY, turns=turns, words=words), Extras(0.8, 0.2))
    assert features == {
        "stability": 0.8,
        "second_speaker": 0.2,
        "speakers": 2.0,
        "several": 1.0,
        "shortest": 0.0,  # one second
        "speech": pytest.approx(math.log(3 + 1)),
        "least_score": logit(0.7),
        "words": pytest.approx(math.log(3)),
        "without_speech": 0.0,
        "speech_share": pytest.approx(3000 / EMPTY.duration_ms),
        "speech_tag": pytest.approx(logit(0.01)),  # not among the tags
        "speech_tag_without_speech": 0.0,
        "noise": 0.0,
    }
    silent = count_features(EMPTY, Extras())
    assert (silent["without_speech"], silent["speakers"], silent["several"]) == (1.0, 0.0, 0.0)
    assert silent["shortest"] == silent["speech"] == pytest.approx(math.log(0.1))


def test_more_of_a_score_is_more_of_a_probability() -> None:
    rising: Mapping[str, LogisticModel] = {"word": LogisticModel(("score",), (1.0,), 0.0)}
    words = tuple(Word(i * 400, i * 400 + 300, "a", 1, score) for i, score in enumerate((0.0, 0.3, 0.9, 1.0)))
    sure = with_confidences(replace(EMPTY, words=words), Extras(), calibration(**rising))
    assert [w.confidence for w in sure.words] == pytest.approx([1e-4, 0.3, 0.9, 1 - 1e-4])
