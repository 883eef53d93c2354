"""Questions that a single sound can be asked about: its kind, and whether anybody speaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenes, unsure_scenes
from test_questions import ALL, PLAIN, event, right

from paqa import audioset
from paqa.evaluation.judge import judge_answer
from paqa.evaluation.known_truth import KnownTruth
from paqa.evaluation.row_question import Asked
from paqa.questions.generate import generate
from paqa.questions.scene_parts import NO_OTHER_CLIPS, OtherClips
from paqa.questions.sound_kinds import NOBODY, SOMEBODY, kinds_of
from paqa.types import Event, HeardBy, Question, Scene, Turn, Unclear

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DOG = Scene("dog", 5000, events=(event(300, 1500, "Dog"),))
TALK = (Turn(2000, 4500, 1, "So it is raining again today."),)


def asked(scene: Scene, template: str, others: OtherClips = NO_OTHER_CLIPS) -> list[Question]:
    return [q for seed in range(6) for q in generate(scene, ALL, seed, others) if q.template == template]


def test_a_sound_alone_gives_rows() -> None:
    found = {q.template for seed in range(6) for q in generate(DOG, PLAIN, seed)}
    assert found >= {"background_sound", "sound_kind", "any_speech", "sound_occasions", "onset_part"}


def test_the_kind_follows_from_the_ontology() -> None:
    assert {q.answer for q in asked(DOG, "sound_kind")} == {"An animal"}
    chainsaw = replace(DOG, events=(event(300, 1500, "Chainsaw"),))
    assert {q.answer for q in asked(chainsaw, "sound_kind")} == {"A vehicle or an engine"}


@pytest.mark.parametrize(
    "scene",
    [
        replace(DOG, events=(event(300, 1500, "Car alarm"),)),  # of a vehicle, and an alarm
        replace(DOG, events=(*DOG.events, event(2000, 3000, "Whoosh, swoosh, swish"))),  # of anything
        replace(DOG, events=(*DOG.events, Event(2000, 3000, "Widget", "/x/1", 0.9))),  # not in AudioSet
        replace(DOG, unclear=(Unclear(3000, 4000),)),
        replace(DOG, events=(event(300, 1500, "Sneeze"),), turns=TALK),  # a person who speaks as well
    ],
)
def test_no_kind_is_asked_that_could_be_another(scene: Scene) -> None:
    assert not asked(scene, "sound_kind")


def test_no_choice_may_be_taken_for_a_sound_that_is_there() -> None:
    """A cat may be taken for a baby, and an animal that engines predicted may be a cat."""
    person = "A person who does not speak"
    cat = replace(DOG, events=(event(300, 1500, "Cat"),))
    animal = replace(DOG, events=(event(300, 1500, "Animal"),))
    engines = (HeardBy("tag", "yamnet", "1", "background"),)
    for scene in (cat, replace(animal, heard_by=engines)):
        assert all(person not in q.choices for q in asked(scene, "sound_kind"))
    assert any(person in q.choices for q in asked(animal, "sound_kind"))


def test_wrong_kinds_are_those_of_other_clips() -> None:
    """Else the one kind that a build has would always be right."""
    others = OtherClips(sounds={(audioset.mid("Train"), "Train"): 50, (audioset.mid("Rain"), "Rain"): 50})
    for q in asked(DOG, "sound_kind", others):
        assert {"A vehicle or an engine", "Wind, water or thunder"} <= {*q.choices}


def test_speech_or_none() -> None:
    assert {q.answer for q in asked(DOG, "any_speech")} == {NOBODY}
    assert {q.answer for q in asked(replace(DOG, turns=TALK), "any_speech")} == {SOMEBODY}
    for q in asked(DOG, "any_speech"):  # as a first response to speech it would be argued from the background
        assert "dog" not in q.reasoning.lower()
    for voice in ("Laughter", "Singing", "Crowd"):  # which may have words
        assert not asked(replace(DOG, events=(event(300, 1500, voice),)), "any_speech")
    assert not asked(replace(DOG, events=()), "any_speech")  # nothing to cite


@RELAXED
@given(scenes() | unsure_scenes(), st.integers(0, 3))
def test_answers_follow_from_the_scene(scene: Scene, seed: int) -> None:
    for q in generate(scene, ALL, seed):
        if q.template in ("sound_kind", "any_speech"):
            assert right(scene, q), q
            for index, choice in enumerate(q.choices):
                assert choice == q.answer or not right(scene, replace(q, answer_index=index)), choice


@pytest.mark.parametrize(
    ("template", "answer", "truth", "outcome"),
    [
        ("sound_kind", "An animal", KnownTruth(DOG), "right"),
        ("sound_kind", "A tool", KnownTruth(DOG), "wrong_answer"),
        ("sound_kind", "An animal", KnownTruth(Scene("x", 5000), events_known=False), "unjudged"),
        ("any_speech", NOBODY, KnownTruth(DOG), "right"),
        ("any_speech", SOMEBODY, KnownTruth(DOG), "wrong_answer"),
        ("any_speech", NOBODY, KnownTruth(replace(DOG, turns=TALK)), "wrong_answer"),
        ("any_speech", NOBODY, KnownTruth(DOG, turns_known=False), "unjudged"),
    ],
)
def test_the_judge(template: str, answer: str, truth: KnownTruth, outcome: str) -> None:
    choices = (SOMEBODY, NOBODY) if template == "any_speech" else ("An animal", "A tool", "A fire")
    assert judge_answer(Asked(template, "?", choices, answer, None), truth).outcome == outcome


def test_every_kind_has_sounds() -> None:
    for kind in audioset.KINDS:
        assert any(kinds_of(mid) == (kind,) for mid in audioset.classes()), kind
