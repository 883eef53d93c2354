"""What a build knows of itself keeps its questions fair: answers are evened, and wrong sounds are its own."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from operator import add

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenes
from test_questions import DIALOGUE, PLAIN, event

from paqa import audioset
from paqa.config.recipe import QuestionsConfig
from paqa.curation.answer_balance import Survey, common_elsewhere, count
from paqa.questions.english import number, spoken, upper
from paqa.questions.generate import NO_OTHER_CLIPS, TEMPLATES, OtherClips, generate
from paqa.types import Question, Scene, Turn

RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def talk(n: int, speakers: int) -> Scene:
    """A clip of so many voices that speak twice each, in turns."""
    turns = tuple(
        Turn(
            1500 * i, 1500 * i + 1000, i % speakers + 1, f"This is the {number(i)} line of clip {number(n)}."
        )
        for i in range(2 * speakers)
    )
    return Scene(f"talk{n}", 1500 * len(turns), turns)


def surveyed(clips: list[Scene], config: QuestionsConfig = PLAIN) -> Survey:
    return reduce(add, (count(scene, config, 0) for scene in clips), Survey())


def asked(
    clips: list[Scene], elsewhere: OtherClips, template: str, config: QuestionsConfig = PLAIN
) -> list[Question]:
    return [q for scene in clips for q in generate(scene, config, 0, elsewhere) if q.template == template]


SKEWED = [
    talk(n, {10: 1, 11: 3, 12: 4}.get(n % 13, 2)) for n in range(390)
]  # ten of two voices to one of each other


def test_answers_are_evened_over_a_build() -> None:
    before = Counter(q.answer for q in asked(SKEWED, NO_OTHER_CLIPS, "speaker_count"))
    after = Counter(q.answer for q in asked(SKEWED, common_elsewhere(surveyed(SKEWED)), "speaker_count"))
    assert before["Two"] == 10 * before["One"]
    assert set(after) == {"One", "Two", "Three", "Four"}
    assert max(after.values()) < 1.6 * min(after.values())


def test_rare_answers_are_all_asked() -> None:
    after = Counter(q.answer for q in asked(SKEWED, common_elsewhere(surveyed(SKEWED)), "speaker_count"))
    assert {name: after[name] for name in ("One", "Three", "Four")} == {"One": 30, "Three": 30, "Four": 30}


@pytest.mark.parametrize(
    ("counts", "share"), [({"a": 3}, 1 / 3), ({"a": 400, "b": 100}, 106 / 400), ({"b": 7}, 1.0), ({}, 1.0)]
)
def test_odds(counts: dict[str, int], share: float) -> None:
    assert OtherClips(answers={("t", ("a", "b")): counts}).odds("t", ("b", "a"), "a") == pytest.approx(share)


@RELAXED
@given(st.integers(1, 30), st.integers(2, 6))
def test_choices_of_counts_do_not_tell_which_is_right(n: int, choices: int) -> None:
    config = QuestionsConfig(per_clip=200, choices=choices, none_rate=0.0, open_rate=0.0)
    counts = {}
    for value in (n, n + 1):
        dogs = tuple(event(2000 * i, 2000 * i + 500, "Bark") for i in range(value))
        (q,) = asked(
            [Scene("dogs", 2000 * value + 1, events=dogs)], NO_OTHER_CLIPS, "sound_occasions", config
        )
        counts[q.answer] = set(q.choices)
    first, second = counts.values()
    assert first == second or not first & second


def test_wrong_sounds_are_those_of_the_build_in_its_proportions() -> None:
    sounds = {"Rain": 60, "Bark": 25, "Church bell": 10, "Thunder": 5, "Siren": 40}
    others = OtherClips(sounds={(audioset.mid(label), label): n for label, n in sounds.items()})
    clips = [Scene(f"c{n}", 4000, events=(event(500, 3000, "Siren"),)) for n in range(400)]
    offered = Counter(c for q in asked(clips, others, "background_sound") for c in q.choices)
    names = {label: upper(spoken(label)) for label in sounds}
    assert set(offered) == set(names.values())
    assert (
        offered[names["Rain"]]
        > offered[names["Bark"]]
        > offered[names["Church bell"]]
        > offered[names["Thunder"]]
    )
    few = OtherClips(sounds={(audioset.mid("Rain"), "Rain"): 3})
    assert all(len(q.choices) == 4 for q in asked(clips, few, "background_sound"))  # everyday sounds fill up


@RELAXED
@given(st.lists(scenes(), max_size=4), st.lists(scenes(), max_size=4))
def test_surveys_of_parts_add_up(one: list[Scene], other: list[Scene]) -> None:
    assert surveyed(one) + surveyed(other) == surveyed([*one, *other])


def test_few_questions_change_when_clips_are_added() -> None:
    grown = [*SKEWED, *(talk(1000 + n, 2 + n % 2) for n in range(4))]
    before, after = (
        {q.id: q for scene in SKEWED for q in generate(scene, QuestionsConfig(), 0, others)}
        for others in (common_elsewhere(surveyed(SKEWED)), common_elsewhere(surveyed(grown)))
    )
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    assert len(changed) < 0.05 * len(before)


def test_closed_templates_offer_the_same_choices_whatever_is_right() -> None:
    assert {"speaker_count", "onset_part", "who_says"} <= {t.name for t in TEMPLATES.values() if t.closed}
    of_sounds = {t.name for t in TEMPLATES.values() if t.closed and t.task in ("sounds", "sound_order")}
    assert of_sounds == {"any_background"}  # yes or no
    assert {len(q.choices) for q in generate(DIALOGUE, PLAIN, 0) if q.template == "onset_part"} == {3}
