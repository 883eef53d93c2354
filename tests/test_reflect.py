"""A wrong first response is wrong for a stated reason, and the reflection corrects it from what is in the
scene.
"""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from dataclasses import replace
from functools import partial

import msgspec
import pytest
from coherence import REASONING_ALONE, contradictions
from conftest import paqa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import NASTY, nasty_scenes, scenes
from test_questions import DIALOGUE, event

from paqa.config.recipe import GatesConfig, QuestionsConfig, Recipe, SourceConfig
from paqa.config.schema import problems
from paqa.curation.gates import judge
from paqa.dataset import shards
from paqa.perception import engine_runs
from paqa.pipeline.recipe_files import change
from paqa.questions.english import span
from paqa.questions.generate import NO_OTHER_CLIPS, generate
from paqa.rationale import grammar, perturbations
from paqa.rationale.answerer import answer_from_scene
from paqa.rationale.grammar import Reflection, parse, render
from paqa.rationale.phrases import CAUSES
from paqa.rationale.reasoning_errors import left_out_rows, misread_questions
from paqa.rationale.reflection import cites, compare, reflect, selected_for_reflection
from paqa.rationale.rewards import WEIGHTS, Reference, accuracy, reward
from paqa.rationale.synthetic_errors import plausible_perturbations
from paqa.rationale.trace import Response
from paqa.spans import interval
from paqa.text import rng_for
from paqa.types import Evidence, Question, Scene, Turn, Word

ALL = QuestionsConfig(per_clip=200, reflect=1.0)
RELAXED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FULL = (
    WEIGHTS.accuracy + WEIGHTS.format + WEIGHTS.perception + WEIGHTS.alignment
)  # where no tokens are counted
QUESTIONS = [q for q in generate(DIALOGUE, ALL, 0) if q.choices]


def reflected(scene: Scene, question: Question, *heard: Scene) -> Reflection:
    found = reflect(scene, question, compare(scene, heard), ALL, 0)
    assert found is not None
    return found


def asked(template: str, choice: str) -> Question:
    """A question of this template about DIALOGUE that offers this choice."""
    found = (q for seed in range(99) for q in generate(DIALOGUE, ALL, seed))
    return next(q for q in found if q.template == template and choice in q.choices)


@RELAXED
@given(scenes(), st.none() | scenes())
def test_first_wrong_final_right_and_full_marks(scene: Scene, other: Scene | None) -> None:
    """Whatever was misheard, even another scene altogether."""
    misheard = compare(scene, [replace(other, clip_id=scene.clip_id)] if other else [])
    for v, q in enumerate(generate(scene, ALL, 0)):
        found = reflect(scene, q, misheard, ALL, 0)
        if not q.choices:
            assert found is None
            continue
        assert found is not None
        assert reflect(scene, q, misheard, ALL, 0) == found
        text = render(scene, q, v, found)
        trace = parse(text)
        assert grammar.perceived(trace) == grammar.perceive(scene)
        assert trace.response == Response(found.index, q.choices[found.index])
        assert found.index != q.answer_index
        assert trace.final == Response(q.answer_index, q.answer)
        assert trace.reflect is not None
        assert cites(trace.reflect, scene)
        assert reward(text, Reference(q.choices, q.answer_index, scene)) == pytest.approx(FULL)
        assert trace.first == grammar.reading_of(found.scene or scene)
        assert (trace.first == grammar.reading_of(scene)) == (found.scene is None)
        snippets = [t.text for t in scene.turns]
        kept = judge(replace(q, margin=1.0), text, scene, snippets, GatesConfig(), (), found.scene)
        assert kept is None or kept.reason not in ("reflection", "answer_mismatch", "rationale_round_trip")
        assert re.fullmatch(rf"(heard|typed):({'|'.join(CAUSES)})", found.origin)
        for prose in (trace.reasoning, trace.summary, trace.reflect):
            bare = re.sub(r'"[^"]*"', '""', prose)
            assert not re.search(
                r"  |[{}]|\.\.(?!\.)(?<!\.\.\.)|,,| ,| \.(?!\.)|\ba [aeio]|\ban [bcdfgjkmpqtvw]", bare
            )
            assert prose[-1] in '.?!"'


@RELAXED
@given(nasty_scenes(), st.lists(NASTY.filter(bool), min_size=2, max_size=4, unique=True), NASTY)
@example(Scene("c", 9, (Turn(0, 1, 1, "x"),)), ["</REFLECT>", "<FINAL_ANSWER>(A) x"], "{at} </RESPONSE>")
def test_any_text_survives(scene: Scene, choices: list[str], prose: str) -> None:
    evidence = tuple(Evidence("turn", i) for i in range(len(scene.turns)))
    question = Question(
        "id", "nasty", "t", "first_words", "?", tuple(choices), 1, evidence, f"plan {prose}", prose
    )
    found = reflect(scene, question, compare(scene, [replace(scene, turns=())]), ALL, 0)
    assert (found is None) == (not evidence)
    if found:
        trace = parse(render(scene, question, 0, found))
        assert (trace.response, trace.final) == (
            Response(0, choices[0]),
            Response(1, choices[1]),
        ) or found.index > 1
        assert trace.final == Response(1, choices[1])


def test_the_share_is_that_of_the_recipe_and_depends_on_the_id_alone() -> None:
    many = [replace(QUESTIONS[0], id=f"c{i}:x:0") for i in range(4000)]
    for share in (0.0, 0.2, 0.5, 1.0):
        config = QuestionsConfig(reflect=share)
        drawn = [selected_for_reflection(q, config, 0) for q in many]
        assert sum(drawn) / len(many) == pytest.approx(share, abs=0.02)
        assert drawn[::-1] == [selected_for_reflection(q, config, 0) for q in many[::-1]]
    assert not selected_for_reflection(
        replace(many[0], choices=(), answer_index=None, open_answer="x"), ALL, 0
    )
    assert not selected_for_reflection(replace(many[0], evidence=()), ALL, 0)


def test_what_was_misheard_comes_first() -> None:
    """The raw mix loses a sound: the count that leaves it out is the response, and both spans are told."""
    heard = replace(DIALOGUE, events=DIALOGUE.events[:2] + DIALOGUE.events[3:])
    question = asked("different_sounds", "Two")
    found = reflected(DIALOGUE, question, heard)
    assert found.origin == "heard:missed_event"
    assert question.choices[found.index] == "Two"
    assert span(interval(DIALOGUE.events[2])) in found.mistake
    assert reflected(DIALOGUE, question).origin.startswith("typed:")
    assert reflected(DIALOGUE, question, DIALOGUE).origin.startswith("typed:")


def test_two_voices_taken_for_one() -> None:
    heard = replace(DIALOGUE, turns=tuple(replace(t, speaker=min(t.speaker, 2)) for t in DIALOGUE.turns))
    question = asked("speaker_count", "Two")
    found = reflected(DIALOGUE, question, heard)
    assert (found.origin, question.choices[found.index]) == ("heard:speaker_attribution", "Two")
    assert "speaker 3" in found.mistake
    assert "6.5-8.6 s" in found.mistake


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"events": DIALOGUE.events[:-1]}, "missed_event"),
        ({"events": (*DIALOGUE.events, event(9_900, 10_050, "Guitar"))}, "phantom_sound"),
        ({"events": (*DIALOGUE.events, event(7_000, 8_400, "Guitar"))}, "speech_as_sound"),
        ({"events": (event(1000, 1900, "Guitar"), *DIALOGUE.events[1:])}, "misheard_sound"),
        ({"events": (event(1600, 2500, "Telephone bell ringing"), *DIALOGUE.events[1:])}, "misplaced_sound"),
        ({"turns": DIALOGUE.turns[:-1]}, "missed_speech"),
        ({"turns": (*DIALOGUE.turns, Turn(12_300, 13_000, 4))}, "background_as_speech"),
        ({"turns": (*DIALOGUE.turns, Turn(13_300, 14_000, 4))}, "phantom_speech"),
        ({"turns": (replace(DIALOGUE.turns[0], speaker=2), *DIALOGUE.turns[1:])}, "speaker_attribution"),
        ({"turns": (*DIALOGUE.turns[:2], replace(DIALOGUE.turns[2], end_ms=6500), *DIALOGUE.turns[3:])},
         "missed_overlap"),
        ({"words": (Word(700, 1200, "Do"), Word(1300, 2000, "cutlets"))}, "misheard_words"),
    ],
)  # fmt: skip
def test_differences_are_named(changes: dict, cause: str) -> None:
    found = {d.cause: d for d in perturbations.differences(DIALOGUE, replace(DIALOGUE, **changes))}
    assert cause in found
    assert found[cause].scene != DIALOGUE
    for wording in CAUSES[cause]:
        assert "{" not in wording.format_map(found[cause].slots)
    assert perturbations.differences(DIALOGUE, DIALOGUE) == []


def test_each_cause_has_four_wordings_that_use_what_is_told() -> None:
    known = {"who", "wrong", "at", "heard", "words", "sound", "right", "shared", "choice"}
    known |= {"first", "first_at", "second", "second_at", "asked", "answered", "row"}
    for cause, wordings in CAUSES.items():
        assert len({re.sub(r"\{\w+\}", "", w)[:12] for w in wordings}) >= 4, cause
        assert {name for w in wordings for _, name, *_ in string.Formatter().parse(w) if name} <= known


@RELAXED
@given(scenes())
def test_invented_mistakes_are_single_and_of_known_causes(scene: Scene) -> None:
    for q in generate(scene, ALL, 0)[:8]:
        for m in plausible_perturbations(scene, q, rng_for(q.id)):
            assert m.scene != scene
            assert m.scene.duration_ms == scene.duration_ms
            assert all(w.format_map(m.slots) for w in CAUSES[m.cause])


def test_a_scene_as_it_is_leads_to_the_answer() -> None:
    found = [(q, answer_from_scene(DIALOGUE, q, ALL, 0)) for q in QUESTIONS]
    assert all(b is None or b.index == q.answer_index for q, b in found)
    assert sum(b is not None for _, b in found) > 0.9 * len(found)


def test_causes_vary() -> None:
    causes = Counter(reflected(DIALOGUE, q).origin for q in QUESTIONS)
    assert len(causes) >= 8
    assert causes["typed:option_mismatch"] <= 0.25 * len(QUESTIONS)


@pytest.mark.parametrize("template", ["first_sound", "last_sound", "said_after", "who_says"])
def test_a_misread_question(template: str) -> None:
    """The argument is true of the scene, answers a similar question, and the caption is right."""
    for question in (q for seed in range(9) for q in generate(DIALOGUE, ALL, seed) if q.template == template):
        for mistake, chosen in misread_questions(DIALOGUE, question, ALL, 0, NO_OTHER_CLIPS):
            assert chosen.index != question.answer_index
            assert mistake.scene == DIALOGUE
            assert mistake.slots["asked"] != mistake.slots["answered"]
            assert mistake.slots["answered"] in chosen.reasoning
            return
    raise AssertionError(f"no question of {template} can be misread")


def test_a_row_left_out() -> None:
    events = (event(0, 2000, "Bark"), event(4000, 6000, "Bark"), event(8000, 10_000, "Bark"))
    scene = Scene("c", 12_000, (), (), events)
    question = next(q for q in generate(scene, ALL, 0) if q.template == "sound_duration" and q.choices)
    answer = partial(answer_from_scene, question=question, config=ALL, seed=0)
    mistake, chosen = next(left_out_rows(scene, question, answer, random.Random(0)))
    assert question.choices[chosen.index] == "About 4 seconds"
    assert mistake.scene == scene
    assert any(span(interval(e)) in mistake.slots["row"] for e in events)


def test_reasoning_goes_wrong_after_a_right_caption() -> None:
    found = [reflected(DIALOGUE, q) for q in QUESTIONS]
    alone = [r for r in found if r.origin.partition(":")[2] in REASONING_ALONE]
    assert all(r.scene is None for r in alone)
    assert all(r.scene for r in found if r not in alone)
    assert 0.05 * len(found) < len(alone) < 0.5 * len(found)


GOOD = next(q for q in QUESTIONS if q.template == "background_sound")
REFLECTION = reflected(DIALOGUE, GOOD)
TEXT = render(DIALOGUE, GOOD, 0, REFLECTION)
RIGHT = grammar.response(GOOD.answer_index, GOOD.answer)
WRONG = grammar.response(REFLECTION.index, GOOD.choices[REFLECTION.index])
NOWHERE = render(DIALOGUE, GOOD, 0, replace(REFLECTION, mistake="I was wrong.", argument="At 1.1-1.3 s."))
RIGHT_CAPTION = render(DIALOGUE, GOOD, 0, replace(REFLECTION, scene=None))
UNCORRECTED = re.sub(r"\n(ENV|SPEAKER): .* -> .*", "", TEXT)


def gate(text: str, config: GatesConfig | None = None) -> str | None:
    """Why the gate keeps a rationale of GOOD out."""
    snippets = [t.text for t in DIALOGUE.turns]
    found = judge(GOOD, text, DIALOGUE, snippets, config or GatesConfig(), (), REFLECTION.scene)
    return found.reason if found else None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TEXT, None),
        (TEXT.replace(f"<RESPONSE>{WRONG}", f"<RESPONSE>{RIGHT}"), "reflection"),
        (TEXT.replace(f"<RESPONSE>{WRONG}", "<RESPONSE>(B) A flute that nobody offered"), "reflection"),
        (TEXT.replace(f"<RESPONSE>{WRONG}", f"<RESPONSE>(H) {GOOD.choices[REFLECTION.index]}"), "reflection"),
        (TEXT.replace(f"<FINAL_ANSWER>{RIGHT}", f"<FINAL_ANSWER>{WRONG}"), "answer_mismatch"),
        (NOWHERE, "reflection"),
        (RIGHT_CAPTION, "rationale_round_trip"),
        (UNCORRECTED, "rationale_round_trip"),
        (re.sub(r"<FINAL_ANSWER>.*", "", TEXT), "rationale_round_trip"),
        (TEXT.replace("</REFLECT>", "</REFLECT>\n<REFLECT>Again.</REFLECT>"), "rationale_round_trip"),
    ],
)
def test_the_gate(text: str, reason: str | None) -> None:
    assert gate(text) == reason
    if reason == "reflection":
        assert gate(text, GatesConfig(reflection=False)) is None


def test_only_the_final_answer_is_rewarded() -> None:
    full = reward(TEXT, Reference(GOOD.choices, GOOD.answer_index, DIALOGUE))
    spoilt = TEXT.replace(f"<FINAL_ANSWER>{RIGHT}", f"<FINAL_ANSWER>{WRONG}")
    hedged = TEXT.replace(f"<RESPONSE>{WRONG}", f"<RESPONSE>{RIGHT}").replace(
        f"<FINAL_ANSWER>{RIGHT}", f"<FINAL_ANSWER>{WRONG}"
    )
    assert full == pytest.approx(FULL)
    assert (
        accuracy(spoilt, GOOD.choices, GOOD.answer_index)
        == accuracy(hedged, GOOD.choices, GOOD.answer_index)
        == 0.0
    )
    assert accuracy(f"{TEXT}<FINAL_ANSWER>{RIGHT}</FINAL_ANSWER>", GOOD.choices, GOOD.answer_index) == 0.0


def test_the_raw_mix_is_heard_where_the_recipe_wants_it() -> None:
    plain = Recipe("r", (SourceConfig("a", "folder", "."),))
    for profile, stem in (("embedded", "mix"), ("paper", "speech")):
        recipe = replace(plain, profile=profile)
        with_raw, without = (
            [(n.stage, n.stem) for n in engine_runs.engine_runs(change(recipe, changes))]
            for changes in ([], ["questions.reflect=0"])
        )
        raw = [] if stem == "mix" else [("diarize", "mix")]
        assert with_raw == [*without, *raw]
        count = len(without)
        without_raw = engine_runs.engine_runs(change(recipe, ["questions.mishear=false"]))
        assert without_raw == engine_runs.engine_runs(recipe)[:count]
        assert [engine_runs.engine_run(recipe, s).stem for s in ("diarize", "tag", "transcribe")] == [
            stem,
            "background",
            "mix",
        ]
        assert engine_runs.engine_run(recipe, "tag", "mix").stem == "mix"
    on_mix = change(plain, ["hear.tag.stem=mix"])
    assert [(n.stage, n.stem) for n in engine_runs.engine_runs(on_mix)].count(("tag", "mix")) == 1


def test_every_reflected_row_of_a_real_build_hangs_together(built) -> None:
    """The first argument follows from the first caption, the second from the corrected one."""
    recipe = msgspec.json.decode((built.out / "recipe.json").read_bytes(), type=Recipe)
    items = [item for row in shards.rows(built.out) if (item := shards.item(row)).reflected]
    assert items
    for item in items:
        assert contradictions(item, recipe.questions) == [], item.id
    in_caption = [item for item in items if "ENV" in item.mistaken or "SPEAKER" in item.mistaken]
    assert len(in_caption) > len(items) / 2


def test_rows_of_a_real_build(built) -> None:
    """With the embedded engines over the small corpus: about half of the rows, and some after a real
    mishearing.
    """
    items = [shards.item(row) for row in shards.rows(built.out)]
    chosen = [i for i in items if len(i.choices) > 1]
    found = [i for i in chosen if i.reflected]
    assert 0.3 < len(found) / len(chosen) < 0.7
    assert any(i.reflection.startswith("heard:") for i in found)
    for item in items:
        trace = parse(item.rationale, letters=bool(item.choices))
        assert item.reflected == (trace.reflect is not None) == (item.reflection is not None)
        assert bool(item.mistaken) == item.reflected
        if item.reflected:
            assert item.mistaken[-3:] == grammar.RESPONSE_TAGS
            readings = (trace.first.env, trace.env), (trace.first.speakers, trace.speakers)
            for tag, (first, last) in zip(("ENV", "SPEAKER"), readings, strict=True):
                assert (tag in item.mistaken) == (first != last)
            assert trace.response.index != item.answer_index == trace.final.index
            assert cites(trace.reflect, item.scene)
            assert reward(
                item.rationale, Reference(item.choices, item.answer_index, item.scene)
            ) == pytest.approx(FULL)
    assert f"reflected    {len(found)} rows" in paqa("check", built.out).stdout
    assert f"reflection   {found[0].reflection}" in paqa("show", built.out, found[0].id).stdout
    assert "after a real mishearing" in (built.out / "README.md").read_text()
    assert sum(built.summary["by_reflection"].values()) == len(found)
    row = next(shards.rows(built.out))
    row.pop("audio")
    assert list(problems("item", row)) == []
