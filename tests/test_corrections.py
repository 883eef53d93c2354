"""A mistaken caption and its corrections: both readings are read, and the corrected one is the scene."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from strategies import nasty_scenes
from test_questions import DIALOGUE, event
from test_rationale import BARE

from paqa.rationale import grammar
from paqa.rationale.corrections import can_be_corrected, corrected, corrections_between
from paqa.rationale.grammar import GrammarError, Reflection, parse, reading_of, render
from paqa.rationale.reflection import compare, is_sure
from paqa.rationale.trace import Reading
from paqa.types import Event, Scene, Turn, Unclear, Word

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LATER = Scene("c", 9000, (Turn(5000, 6000, 1, "Hi."),), (), (Event(100, 900, "Bark", "/m/1"),))


def reflected(first: Scene, right: Scene, mistake: str = "Wait.", argument: str = "So it is.") -> str:
    """A rationale whose caption states `first`, and whose REFLECT corrects it to `right`."""
    return render(right, BARE, 0, Reflection("typed:x", 0, "Hm.", "So.", mistake, argument, first))


@RELAXED
@given(nasty_scenes(), nasty_scenes())
@example(Scene("c", 9, (Turn(0, 1, 1, "ENV: x -> y"),)), Scene("c", 9))
@example(Scene("c", 9, (), (), (Event(0, 1, "nothing", "/m/0"),)), Scene("c", 9))
def test_any_two_scenes(first: Scene, right: Scene) -> None:
    """Whatever lines differ, the first reading is read as it is, and the corrected one has the right
    lines.
    """
    trace = parse(reflected(first, right, "ENV: a -> b", "SPEAKER: c -> d"))
    assert trace.first == reading_of(first)
    assert sorted(map(repr, trace.env)) == sorted(map(repr, reading_of(right).env))
    assert sorted(map(repr, trace.speakers)) == sorted(map(repr, reading_of(right).speakers))
    last = Reading(trace.env, trace.speakers, trace.asr)
    assert last == corrected(trace.first, corrections_between(trace.first, reading_of(right)))
    assert trace.unclear == first.unclear


def test_the_lines() -> None:
    first = replace(
        DIALOGUE,
        events=(event(5000, 5900, "Telephone bell ringing"), *DIALOGUE.events[1:]),
        turns=DIALOGUE.turns[:-1],
    )
    text = reflected(first, DIALOGUE)
    last = DIALOGUE.turns[-1]
    reflect = text.split("<REFLECT>")[1].split("</REFLECT>")[0]
    assert reflect.split("\n") == [
        "Wait.",
        "ENV: Telephone bell ringing [5.00-5.90 s] -> Telephone bell ringing [1.00-1.90 s]",
        f"SPEAKER: nothing -> Speaker {last.speaker} "
        f'[{last.start_ms / 1000:.2f}-{last.end_ms / 1000:.2f} s]: "{last.text}"',
        "So it is.",
    ]
    assert grammar.without_corrections(reflect) == "Wait.\nSo it is."
    trace = parse(text)
    assert grammar.corrected_tags(trace) == ("ENV", "SPEAKER", "ASR")
    assert trace.asr == DIALOGUE.transcript
    assert trace.first.asr == first.transcript


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ENV: Meow [0.10-0.90 s] -> nothing", "<REFLECT>: withdraws a line that CAPTION does not have"),
        ("ENV: a dog -> nothing", "<REFLECT>: <ENV>: expected"),
        ("ENV: (unclear) [0.10-0.90 s] -> nothing", "expected a sound"),
        ("SPEAKER: Speaker 1 [5.00-6.00 s]: Hi. -> nothing", "one JSON string"),
    ],
)
def test_corrections_that_do_not_fit(wrong: str, message: str) -> None:
    right = replace(LATER, events=())
    text = reflected(LATER, right).replace("ENV: Bark [0.10-0.90 s] -> nothing", wrong)
    with pytest.raises(GrammarError) as error:
        parse(text)
    assert message in str(error.value)


def test_prose_that_looks_like_a_tag_is_prose() -> None:
    text = reflected(LATER, replace(LATER, events=()), argument="ENV: all of it was wrong.")
    assert parse(text).env == ()


def test_many_lines_are_too_many() -> None:
    renumbered = replace(DIALOGUE, turns=tuple(replace(t, speaker=t.speaker + 1) for t in DIALOGUE.turns))
    assert len(DIALOGUE.turns) > 4
    assert not can_be_corrected(reading_of(renumbered), reading_of(DIALOGUE))
    assert can_be_corrected(reading_of(replace(DIALOGUE, events=())), reading_of(DIALOGUE))


BARKING = Event(2000, 3000, "Bark", "/m/1", confidence=0.95, span_confidence=0.95)
SURE = Scene(
    "c", 9000, (Turn(0, 1000, 1, "So it is.", confidence=0.95),),
    (Word(0, 500, "So", 1, confidence=0.95), Word(500, 900, "it is.", 1, confidence=0.95)), (BARKING,),
    speaker_count_confidence=0.95, background_confidence=0.95,
)  # fmt: skip
WITHOUT = {"events": (), "turns": ()}
MISHEARD = {"turns": (replace(SURE.turns[0], text="No it is."),)}
TWO = {"turns": (*SURE.turns, Turn(4000, 5000, 2, ""))}
PHANTOM = {"events": (BARKING, Event(6000, 7000, "Bee", "/m/2"))}


@pytest.mark.parametrize(
    ("unsure", "mistaken"),
    [
        ({"events": (replace(BARKING, confidence=0.5),)}, WITHOUT),
        ({"events": (replace(BARKING, span_confidence=0.5),)}, WITHOUT),
        ({"turns": (replace(SURE.turns[0], confidence=0.5),)}, WITHOUT),
        ({"words": (replace(SURE.words[0], confidence=0.5),)}, MISHEARD),
        ({"turns": (replace(SURE.turns[0], text="[unclear] it is."),)}, MISHEARD),
        ({"speaker_count_confidence": 0.5}, TWO),
        ({"background_confidence": 0.5}, PHANTOM),
        ({"unclear": (Unclear(6500, 8000),)}, PHANTOM),
    ],
)
def test_mishearings_only_where_the_right_side_is_sure(unsure: dict, mistaken: dict) -> None:
    assert is_sure(SURE, replace(SURE, **mistaken), 0.9)
    assert not is_sure(SURE, replace(SURE, **mistaken), 0.99)
    doubtful = replace(SURE, **unsure)
    assert not is_sure(doubtful, replace(doubtful, **mistaken), 0.9)
    if mistaken is not PHANTOM:  # what a mistake does not concern may be unsure
        assert is_sure(doubtful, replace(doubtful, events=(*doubtful.events, PHANTOM["events"][1])), 0.9)


def test_unsure_differences_are_left_out() -> None:
    doubtful = replace(DIALOGUE, events=tuple(replace(e, confidence=0.5) for e in DIALOGUE.events))
    missed = replace(DIALOGUE, events=DIALOGUE.events[:-1])
    assert compare(DIALOGUE, [missed], 0.9)[0].differences
    assert compare(doubtful, [missed], 0.4)[0].differences
    assert not compare(doubtful, [missed], 0.9)[0].differences
