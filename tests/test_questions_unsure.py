"""Scenes of which not all is sure: no unclear words are quoted, no unclear background is asked about."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import unsure_scenes
from test_questions import ALL, DIALOGUE, PLAIN, event, right

from paqa import audioset
from paqa.questions.context import alike, context
from paqa.questions.english import excerpt, opening
from paqa.questions.generate import generate
from paqa.questions.scene_parts import OtherClips
from paqa.rationale import perturbations
from paqa.rationale.grammar import parse, perceive, perceived, render
from paqa.rationale.reflection import compare, reflect
from paqa.text import UNCLEAR_WORD
from paqa.types import HeardBy, Scene, Turn, Unclear, Word

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HEARD = (HeardBy("tag", "yamnet", "1"),)


@RELAXED
@given(unsure_scenes(), st.integers(0, 3))
def test_no_question_quotes_what_is_unclear(scene: Scene, seed: int) -> None:
    for n, q in enumerate(generate(scene, ALL, seed)):
        trace = parse(render(scene, q, n), q.answer_index is not None)
        assert perceived(trace) == perceive(scene)
        prose = (trace.planning, trace.description, trace.reasoning, trace.summary)
        for text in (q.text, *q.choices, q.open_answer, q.plan, q.reasoning, *prose):
            assert UNCLEAR_WORD not in text
            assert "unclear]" not in text


@RELAXED
@given(unsure_scenes(), st.integers(2, 6))
def test_answers_follow_from_what_is_sure(scene: Scene, choices: int) -> None:
    for q in generate(scene, replace(PLAIN, choices=choices, none_rate=0.2), 0):
        assert right(scene, q), (q, scene)


ABSENCE = {
    "background_sound", "absent_sound", "sound_occasions", "different_sounds", "sound_duration",
    "longest_sound", "sound_at_once", "sound_and_speech", "said_during_sound", "who_during_sound",
}  # fmt: skip
FROM_BEFORE = {
    "first_sound", "sound_after", "onset_part", "onset_second", "said_before_sound", "who_after_sound",
}  # fmt: skip


def templates(scene: Scene) -> set[str]:
    return {q.template for seed in range(8) for q in generate(scene, PLAIN, seed)}


def test_an_unclear_background_is_not_counted_on() -> None:
    asked = templates(DIALOGUE)
    assert asked >= {*FROM_BEFORE, *ABSENCE - {"longest_sound", "sound_at_once"}, "last_sound"}
    early = templates(replace(DIALOGUE, unclear=(Unclear(0, 900),)))
    late = templates(replace(DIALOGUE, unclear=(Unclear(13_200, 14_000),)))
    assert not early & (ABSENCE | FROM_BEFORE)
    assert not late & ABSENCE
    assert late & FROM_BEFORE
    assert "last_sound" in early
    assert "last_sound" not in late
    assert {"who_says", "said_after"} <= early & late
    assert "sound_during_line" in late


@RELAXED
@given(unsure_scenes())
def test_nothing_is_called_absent_where_something_is_unclear(scene: Scene) -> None:
    ctx = context(scene, ALL, 0, "x")
    assert bool(ctx.absent_labels(3)) == (not scene.unclear)


@pytest.mark.parametrize("label", ["Animal", "Musical instrument", "Vehicle", "Bird", "Bell"])
def test_choices_beside_a_general_class_are_of_other_branches(label: str) -> None:
    scene = Scene("c", 9000, events=(event(1000, 3000, label),), heard_by=HEARD)
    mid = audioset.mid(label)
    kinds = [m for m in audioset.classes() if m == mid or mid in audioset.ancestors(m)]
    counted = {(m, audioset.label(m)): 1 for m in audioset.classes()}
    for seed in range(40):
        offered = context(scene, ALL, seed, "x", OtherClips(sounds=counted)).absent_labels(3)
        assert len(offered) == 3
        for other in offered:
            assert not any(alike(audioset.mid(other), other, m, audioset.label(m)) for m in kinds), other
    assert any(q.answer.lower().endswith(label.split()[-1].lower()) for q in generate(scene, PLAIN, 0))


@RELAXED
@given(unsure_scenes(), st.integers(0, 3))
def test_no_reflection_quotes_what_is_unclear(scene: Scene, seed: int) -> None:
    config = replace(PLAIN, reflect=1.0)
    for q in generate(scene, config, seed):
        reflection = reflect(scene, q, compare(scene, []), config, seed)
        if reflection:
            for text in (reflection.reasoning, reflection.summary, reflection.mistake, reflection.argument):
                assert UNCLEAR_WORD not in text


def test_what_may_be_right_is_no_mishearing() -> None:
    turn = Turn(0, 2000, 1, f"One two {UNCLEAR_WORD} four.")
    scene = Scene("c", 9000, (turn,), unclear=(Unclear(3000, 5000),))
    words = tuple(Word(i * 500, i * 500 + 400, w, 1) for i, w in enumerate(("won", "too", "three", "for")))
    predicted = replace(scene, words=words, events=(event(3500, 4500, "Bark"), event(6000, 7000, "Rain")))
    causes = [(d.cause, d.slots.get("sound", "")) for d in perturbations.differences(scene, predicted)]
    assert [cause for cause, _ in causes] == ["phantom_sound"]
    sure = replace(scene, turns=(replace(turn, text="One two three four."),), unclear=())
    assert [d.cause for d in perturbations.differences(sure, predicted)] == [
        "phantom_sound",
        "phantom_sound",
        "misheard_words",
    ]


def test_quotes_end_before_what_is_unclear() -> None:
    text = f"The medical man has two duties, {UNCLEAR_WORD} the patient and {UNCLEAR_WORD}."
    assert opening(text) == ("The medical man has two duties", False)
    assert opening(f"To save {UNCLEAR_WORD} the life of the patient today.") == ("", False)
    assert opening(UNCLEAR_WORD) == ("", False)
    assert excerpt(text, 4) == '"The medical man has ..."'
    assert excerpt(f"{UNCLEAR_WORD} to save the patient.") == '"... to save the patient ..."'
    assert excerpt(UNCLEAR_WORD) == '"..."'


def test_a_pace_is_not_taken_from_unclear_words() -> None:
    turns = (
        Turn(0, 4000, 1, "One two three four five six seven eight nine ten eleven."),
        Turn(5000, 9000, 2, "One slow and long sentence here now."),
    )
    scene = Scene("pace", 10_000, turns)
    assert "fastest_speaker" in templates(scene)
    unsure = replace(turns[1], text=f"One {UNCLEAR_WORD} slow and long sentence here now.")
    assert "fastest_speaker" not in templates(replace(scene, turns=(turns[0], unsure)))
