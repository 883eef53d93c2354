"""The forms of questions: "None of these", without choices, positions of answers, difficulty and named
subsets.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenes
from test_questions import ALL, DIALOGUE, PLAIN, build, right

from paqa.config.recipe import QuestionsConfig
from paqa.errors import PaqaError
from paqa.questions.difficulty import ENVQA_HARD, MSQA_HARD, difficulty, overlap_share, subsets
from paqa.questions.generate import TEMPLATES, generate, level, rests_on
from paqa.questions.template import NONE
from paqa.rationale.grammar import parse, render
from paqa.rationale.rewards import accuracy
from paqa.types import Evidence, HeardBy, Question, Scene, Turn

RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIT = tuple(name for name, t in TEMPLATES.items() if t.none)


def many(config: QuestionsConfig, clips: int = 150) -> list[Question]:
    return [q for n in range(clips) for q in generate(replace(DIALOGUE, clip_id=f"c{n}"), config, 0)]


def test_none_is_right_as_often_as_chance_says() -> None:
    asked = [q for q in many(replace(ALL, open_rate=0.0)) if q.template in FIT and len(q.choices) >= 3]
    offered = [q for q in asked if NONE in q.choices]
    correct = sum(q.answer == NONE for q in offered)
    assert 0.08 < correct / len(asked) < 0.12
    chance = sum(1 / len(q.choices) for q in offered)
    assert abs(correct - chance) < 0.1 * chance
    assert not any(NONE in q.choices for q in many(PLAIN, 10))


@RELAXED
@given(scenes(), st.sampled_from((0.5, 1.0)), st.integers(3, 6))
def test_none_holds_where_nothing_else_does(scene: Scene, rate: float, choices: int) -> None:
    plain = {q.id: q for q in generate(scene, replace(PLAIN, choices=choices), 0)}
    for q in generate(scene, replace(PLAIN, choices=choices, none_rate=rate), 0):
        assert right(scene, q), (q, scene)
        assert len(q.choices) == len(plain[q.id].choices)
        assert q.evidence == plain[q.id].evidence
        if NONE in q.choices:
            assert q.template in FIT
            assert len(q.choices) >= 3
        if q.answer == NONE:
            assert plain[q.id].answer not in q.choices
            assert any(c.isdigit() for c in q.reasoning) or q.template == "two_at_once"  # it cites when
            assert parse(render(scene, q)).response.text == NONE


def test_what_was_only_heard_is_less_certainly_absent() -> None:
    heard = replace(DIALOGUE, heard_by=(HeardBy("tag", "yamnet", "1"),))
    margins = {q.margin for q in generate(heard, ALL, 0) if q.answer == NONE}
    assert margins
    assert max(margins) <= 0.8


@RELAXED
@given(scenes())
def test_open_questions_have_a_short_answer_and_say_its_form(scene: Scene) -> None:
    config = replace(ALL, open_rate=1.0)
    plain = {q.id: q for q in generate(scene, PLAIN, 0)}
    for n, q in enumerate(generate(scene, config, 0)):
        assert bool(TEMPLATES[q.template].open) == (q.answer_index is None) == (not q.choices)
        if q.answer_index is None:
            assert q.answer == plain[q.id].answer
            assert q.text.endswith(TEMPLATES[q.template].open)
            assert right(scene, q)
            text = render(scene, q, n)
            trace = parse(text, letters=False)
            assert (trace.response.index, trace.response.text) == (None, q.answer)
            told = f"{trace.reasoning} {trace.summary} {trace.planning}"
            assert "choice" not in re.sub(r'"[^"]*"', "", told)
            assert accuracy(text, (), None, q.answer.upper()) == 1.0
            assert accuracy(text, (), None, "Something else") == accuracy(text, (), None, "") == 0.0
            with pytest.raises(PaqaError):
                parse(text)


def test_the_share_of_open_questions() -> None:
    fit = [q for q in many(ALL) if TEMPLATES[q.template].open]
    assert 0.08 < sum(not q.choices for q in fit) / len(fit) < 0.12


def test_positions_are_even_in_every_clip() -> None:
    for n in range(30):
        asked = generate(replace(DIALOGUE, clip_id=f"c{n}"), PLAIN, 0)
        for size in {len(q.choices) for q in asked}:
            counts = Counter(q.answer_index for q in asked if len(q.choices) == size)
            assert max(counts[i] for i in range(size)) - min(counts[i] for i in range(size)) <= 1


def test_positions_say_nothing_about_the_template() -> None:
    asked = [q for q in many(QuestionsConfig(), 600) if len(q.choices) == 4]
    for task in {q.task for q in asked}:
        counts = Counter(q.answer_index for q in asked if q.task == task)
        expected = counts.total() / 4
        assert sum((counts[i] - expected) ** 2 / expected for i in range(4)) < 25, task


def test_positions_do_not_move_when_clips_are_added() -> None:
    assert build(20) == build(40)[: len(build(20))]


def test_difficulty_grows_with_what_makes_it_hard() -> None:
    q = next(q for q in generate(DIALOGUE, PLAIN, 0) if q.template == "first_sound")
    clear = replace(DIALOGUE, snr_db=20.0)
    easy = difficulty(clear, q)
    assert easy == difficulty(DIALOGUE, q)  # an unknown SNR counts as a good one
    assert difficulty(replace(DIALOGUE, snr_db=0.0), q) == pytest.approx(easy + 0.2)
    two = replace(clear, turns=tuple(replace(t, speaker=min(2, t.speaker)) for t in clear.turns))
    assert difficulty(two, q) < easy
    assert difficulty(clear, replace(q, evidence=q.evidence[:1])) < easy
    assert difficulty(replace(clear, events=(*clear.events, clear.events[0])), q) > easy
    over = replace(clear, turns=(*clear.turns, Turn(600, 3600, 2, "At the same time.")))
    assert overlap_share(over) > overlap_share(clear) > 0
    assert difficulty(over, q) > easy


@RELAXED
@given(scenes())
def test_difficulty_is_a_share_and_subsets_follow_the_paper(scene: Scene) -> None:
    for q in generate(scene, ALL, 0):
        assert 0.0 <= difficulty(scene, q) <= 1.0
        named = subsets(scene, level(q))
        voices = {t.speaker for t in scene.turns}
        assert (MSQA_HARD in named) == (len(voices) > 3 and TEMPLATES[q.template].level == "speaker")
        noisy = scene.snr_db is not None and scene.snr_db <= 5
        assert (ENVQA_HARD in named) == (noisy and TEMPLATES[q.template].level == "environment")


@RELAXED
@given(scenes())
def test_what_a_question_rests_on_is_in_its_evidence(scene: Scene) -> None:
    kinds_by_claim = {"sound": "event", "sound_time": "event", "speaker": "turn", "turn_time": "turn"}
    for q in generate(scene, ALL, 0):
        claims = rests_on(q)
        cited = {e.kind for e in q.evidence}
        assert claims or q.template == "spoken_language"  # which the source says
        assert {kinds_by_claim[c] for c in claims if c in kinds_by_claim} <= cited
        assert "words" not in claims or cited & {"turn", "word"}
        assert "sound" in claims or "event" not in cited
        if any(c.startswith('"') for c in q.choices) or '"' in q.text:
            assert "words" in claims, q.template
        if q.answer.startswith("Speaker"):
            assert "speaker" in claims, q.template


def test_questions_of_a_source_rest_on_all_that_their_evidence_tells() -> None:
    asked = generate(DIALOGUE, ALL, 0)[0]
    given_question = replace(asked, template="given", evidence=(Evidence("event", 0), Evidence("turn", 0)))
    assert rests_on(given_question) == {"sound", "absence", "speaker_count", "words"}
