"""What of a predicted scene is sure enough to be stated."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenes, spread_words
from test_questions import ALL
from test_scene import fused, turns, words

from paqa import audioset
from paqa.perception.sure_part import LIMITS, UNCLEAR_WORDS, sure_part
from paqa.questions.generate import generate
from paqa.rationale import grammar
from paqa.text import UNCLEAR_WORD
from paqa.types import Event, Scene, Turn, Unclear, Word

RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PROBABILITIES = st.sampled_from((0.0, 0.04, 0.05, 0.5, 0.79, 0.8, 0.89, 0.9, 0.95, 1.0)) | st.floats(0, 1)


def spoken_turn(texts: str, *probabilities: float) -> Scene:
    """One turn with a probability for each of its words."""
    turn = Turn(0, 3000, 1, texts)
    sure = [replace(w, confidence=p) for w, p in zip(spread_words(turn), probabilities, strict=True)]
    return Scene("c", 5000, (turn, Turn(3500, 4000, 2, "Yes.")), (*sure, Word(3500, 3900, "Yes.", 2)))


@pytest.mark.parametrize(
    ("probabilities", "text"),
    [
        ((0.97, 0.97, 0.97, 1.0), "One two three four."),
        ((0.98, 0.969, 0.98, 0.98), "One [unclear] three four."),
        ((0.98, 0.969, 0.1, 0.98), "One [unclear] four."),
        ((0.1, 0.98, 0.98, 0.1), "[unclear] two three [unclear]"),
        ((0.1, 0.1, 0.1, 0.1), "[unclear]"),
    ],
)
def test_runs_of_words_that_are_not_sure_become_unclear(probabilities: tuple[float, ...], text: str) -> None:
    scene = spoken_turn("One two three four.", *probabilities)
    part = sure_part(scene, LIMITS)
    assert [t.text for t in part.turns] == [text, "Yes."]
    kept = [w for w, p in zip(scene.words, (*probabilities, 1.0), strict=True) if p >= LIMITS.word]
    assert list(part.words) == kept
    assert UNCLEAR_WORDS == UNCLEAR_WORD
    assert replace(part, turns=scene.turns, words=scene.words) == scene


def test_words_between_two_turns_of_a_speaker_stay_in_their_turn() -> None:
    turns = (Turn(0, 1000, 1, "One two."), Turn(500, 1500, 2, "Six."), Turn(1500, 2500, 1, "Three four."))
    words = (
        Word(0, 400, "One", 1), Word(500, 900, "Six.", 2, confidence=0.1), Word(600, 1600, "two.", 1),
        Word(1500, 1900, "Three", 1, confidence=0.2), Word(2000, 2400, "four.", 1),
    )  # fmt: skip
    part = sure_part(Scene("c", 3000, turns, words), LIMITS)
    assert [t.text for t in part.turns] == ["One two.", "[unclear]", "[unclear] four."]


def test_scripts_without_spaces_have_none_beside_words_that_are_sure() -> None:
    turn = Turn(0, 1000, 1, "我想喝茶")
    words = tuple(
        Word(200 * i, 200 * i + 200, text, 1, confidence=p)
        for i, (text, p) in enumerate((("我", 1.0), ("想", 1.0), ("喝", 0.1), ("茶", 1.0)))
    )
    (part,) = sure_part(Scene("c", 3000, (turn,), words), LIMITS).turns
    assert part.text == "我想 [unclear] 茶"


def sounding(confidence: float, span_confidence: float = 1.0) -> Scene:
    bark = Event(1000, 2000, "Bark", audioset.mid("Bark"), 0.7, None, confidence, span_confidence)
    rain = Event(3000, 9000, "Rain", audioset.mid("Rain"))
    return Scene("c", 10_000, events=(bark, rain))


@pytest.mark.parametrize(
    ("confidences", "stated", "unclear"),
    [
        ((0.95, 0.92), True, False),
        ((0.949, 0.92), False, True),
        ((0.95, 0.919), False, True),
        ((0.05, 1.0), False, True),
        ((0.049, 1.0), False, False),  # improbable: leaves no trace
        ((0.0, 0.0), False, False),
    ],
)
def test_a_sound_is_stated_or_its_span_unclear_or_neither(
    confidences: tuple[float, float], stated: bool, unclear: bool
) -> None:
    scene = sounding(*confidences)
    part = sure_part(scene, LIMITS)
    assert part.events == (scene.events if stated else scene.events[1:])
    assert part.unclear == ((Unclear(1000, 2000),) if unclear else ())


def test_unclear_spans_that_overlap_or_touch_are_one() -> None:
    mid = audioset.mid("Bark")
    spans = [(4000, 5000), (1000, 2000), (1500, 3000), (3000, 3500)]
    events = tuple(Event(s, e, "Bark", mid, confidence=0.5) for s, e in spans)
    part = sure_part(Scene("c", 10_000, events=events), LIMITS)
    assert part.unclear == (Unclear(1000, 3500), Unclear(4000, 5000))
    assert part.events == ()


@RELAXED
@given(scenes())
def test_truth_comes_back_as_it_is(scene: Scene) -> None:
    words = tuple(w for turn in scene.turns for w in spread_words(turn))
    truth = replace(scene, words=tuple(sorted(words, key=lambda w: w.start_ms)))
    assert sure_part(truth, LIMITS) == truth


@RELAXED
@given(scenes(), st.data())
def test_texts_change_only_where_a_word_is_not_sure(scene: Scene, data: st.DataObject) -> None:
    grouped = [
        [replace(w, confidence=data.draw(PROBABILITIES)) for w in spread_words(turn)] for turn in scene.turns
    ]
    # as words of one speaker come: turn by turn, whatever others say meanwhile
    predicted = replace(
        scene,
        words=tuple(w for turn_words in grouped for w in turn_words),
        events=tuple(
            replace(e, confidence=data.draw(PROBABILITIES), span_confidence=data.draw(PROBABILITIES))
            for e in scene.events
        ),
    )
    part = sure_part(predicted, LIMITS)
    for turn, before, turn_words in zip(part.turns, scene.turns, grouped, strict=True):
        sure = [w.text for w in turn_words if w.confidence >= LIMITS.word]
        if len(sure) == len(turn_words):
            assert turn == before
        assert [t for t in turn.text.split() if t != UNCLEAR_WORDS] == sure
        assert f"{UNCLEAR_WORDS} {UNCLEAR_WORDS}" not in turn.text
        assert replace(turn, text=before.text) == before
    assert all(e.confidence >= LIMITS.event and e.span_confidence >= LIMITS.event_span for e in part.events)
    for n, question in enumerate(generate(part, ALL, 0)):
        trace = grammar.parse(grammar.render(part, question, n), question.answer_index is not None)
        assert grammar.perceived(trace) == grammar.perceive(part)


@RELAXED
@given(turns, words, words, st.integers(0, 11))
def test_of_a_fused_scene_the_unsure_word_is_lost_where_it_was_said(
    given_turns: list[Turn], first: list[Word], second: list[Word], unsure: int
) -> None:
    first, second = sorted(first, key=lambda w: w.start_ms), sorted(second, key=lambda w: w.start_ms)
    named = [replace(w, text=f"{w.text}{i:02}") for i, w in enumerate(first)]
    scene = fused(30_000, given_turns, named, second, [], "en")
    predicted = replace(
        scene,
        words=tuple(replace(w, confidence=0.1) if i == unsure else w for i, w in enumerate(scene.words)),
    )
    lost = [w.text for w in predicted.words if w.confidence < LIMITS.word]
    for turn, before in zip(sure_part(predicted, LIMITS).turns, scene.turns, strict=True):
        expected = [UNCLEAR_WORDS if text in lost else text for text in before.text.split()]
        assert turn.text.split() == expected
