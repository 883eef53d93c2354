"""Emotion and translation: every answer is the label of the turn that is asked about, derived a second
time.
"""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenes
from test_questions import ALL, DIALOGUE, PLAIN, asked_speaker, asked_turn

from paqa.config.recipe import GatesConfig, QuestionsConfig
from paqa.curation.gates import judge
from paqa.questions import emotion, translation
from paqa.questions.generate import TEMPLATES, generate
from paqa.questions.scene_parts import OtherClips
from paqa.questions.template import NONE
from paqa.rationale.grammar import render
from paqa.text import normal
from paqa.types import Question, Scene, Turn

RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LABELLED = tuple(name for name, t in TEMPLATES.items() if t.labelled)
MELD = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
MEANINGS = (
    "Have you put the water on?", "No, that was your job today.", "Somebody must do it in the end.",
    "I will do it if you go on arguing.", "How very kind of you, dear Martha.",
    "The train did not come at all.",
    "We met them again last summer.", "Tomorrow it is supposed to rain all day.",
)  # fmt: skip


@st.composite
def labelled_scenes(draw: st.DrawFn) -> Scene:
    """A scene some or all of whose turns have an emotion and a translation."""
    scene = draw(scenes())
    moods = draw(st.lists(st.sampled_from((*MELD, None, "wistful")), min_size=8, max_size=8))
    meanings = draw(st.permutations(MEANINGS))
    sparse = draw(st.booleans())
    turns = tuple(
        replace(
            t,
            emotion=moods[i] or (None if sparse else "joy"),
            translation=meanings[i] if i % 3 or not sparse else None,
        )
        for i, t in enumerate(scene.turns)
    )
    languages = draw(
        st.sampled_from((("de", "en"), ("en", "zh-CN"), (None, "fr"), ("xx", "en"), ("fr", None)))
    )
    return replace(scene, turns=turns, language=languages[0], translated_to=languages[1])


def oracle(scene: Scene, q: Question) -> str:
    """The answer by the labels alone."""
    turns = scene.turns
    match q.template:
        case "emotion_of_line":
            turn = asked_turn(scene, q.text) if '"' in q.text else turns[0]
            return emotion.SOUNDS[str(turn.emotion)].capitalize()
        case "who_sounds":
            mood = next(m for m, sounds in emotion.SOUNDS.items() if re.search(rf"\b{sounds}\b", q.text))
            (speaker,) = {t.speaker for t in turns if t.emotion == mood}
            return f"Speaker {speaker}"
        case "translation_of_line":
            who = asked_speaker(q.text) if "person to speak" in q.text else turns[0].speaker
            return f'"{next(t for t in turns if t.speaker == who).translation}"'
        case "spoken_language":
            return {"de": "German", "en": "English"}[str(scene.language)]
    raise AssertionError(f"no oracle for {q.template}")


@RELAXED
@given(labelled_scenes(), st.integers(2, 6), st.lists(st.sampled_from(MEANINGS), max_size=8, unique=True))
def test_answers_are_the_labels(scene: Scene, choices: int, foreign: list[str]) -> None:
    for q in generate(scene, QuestionsConfig(per_clip=200, choices=choices), 0, OtherClips(tuple(foreign))):
        assert len({normal(c) for c in q.choices}) == len(q.choices) != 1
        if q.template in LABELLED:
            known = oracle(scene, q)
            assert q.answer == (known if known in q.choices or not q.choices else NONE), (q, scene)
            assert q.evidence
            for prose in (q.text, q.plan, q.reasoning):
                assert prose == prose.strip() != ""
                assert "  " not in prose
                assert "None" not in prose.replace("None of the", "")
                assert not re.search(r"\ba [aeio]|\ban [bcdfgjkmpqtvw]", re.sub(r'"[^"]*"', '""', prose)), (
                    prose
                )
            assert q.reasoning[0] in f'"{q.reasoning[0].upper()}'


@RELAXED
@given(labelled_scenes())
def test_what_is_generated_passes_the_gates(scene: Scene) -> None:
    snippets = [t.text for t in scene.turns]
    for n, q in enumerate(generate(scene, ALL, 0, OtherClips(MEANINGS))):
        assert judge(replace(q, margin=1.0), render(scene, q, n), scene, snippets, GatesConfig()) is None


@RELAXED
@given(scenes(), st.integers(1, 9))
def test_clips_without_labels_are_asked_the_same_as_before(scene: Scene, per_clip: int) -> None:
    plain = QuestionsConfig(per_clip=per_clip)
    assert generate(scene, plain, 0, OtherClips(MEANINGS)) == generate(
        scene, replace(plain, skip=LABELLED), 0
    )


def labelled(*moods: str | None) -> Scene:
    turns = tuple(replace(t, emotion=m) for t, m in zip(DIALOGUE.turns, moods, strict=True))
    return replace(DIALOGUE, turns=turns)


def ask(scene: Scene, template: str, foreign: tuple[str, ...] = ()) -> list[Question]:
    """All questions of a template over several seeds, answerable and with choices."""
    return [
        q
        for seed in range(12)
        for q in generate(scene, PLAIN, seed, OtherClips(foreign))
        if q.template == template
    ]


def test_emotions_of_a_dialogue() -> None:
    scene = labelled("neutral", "anger", "neutral", "joy", "anger")
    said = {(q.answer, asked_turn(scene, q.text).speaker) for q in ask(scene, "emotion_of_line")}
    assert said == {("Neutral", 1), ("Angry", 2), ("Happy", 3)}
    assert {q.answer for q in ask(scene, "who_sounds")} == {"Speaker 2", "Speaker 3"}
    assert all(len(q.choices) == 4 for q in ask(scene, "emotion_of_line"))
    wordings = {re.sub(r'"[^"]*"[?.]?', '"X"', q.text) for q in ask(scene, "emotion_of_line")}
    assert len(wordings) == 4


def test_who_sounds_needs_every_label_and_nobody_alike() -> None:
    assert not ask(labelled("neutral", "anger", "neutral", "joy", None), "who_sounds")
    assert not ask(labelled("frustration", "anger", "neutral", "neutral", "neutral"), "who_sounds")
    assert not ask(labelled("neutral", "neutral", "neutral", "neutral", "neutral"), "who_sounds")
    assert not ask(labelled("joy", "joy", "joy", "joy", "joy"), "who_sounds")


def test_a_single_voice_is_asked_about_as_a_whole() -> None:
    turns = tuple(replace(t, speaker=1, emotion="sadness") for t in DIALOGUE.turns)
    asked = ask(replace(DIALOGUE, turns=turns), "emotion_of_line")
    assert {q.answer for q in asked} == {"Sad"}
    assert len(asked) == 12  # one per seed, though five lines could be quoted
    assert len({q.text for q in asked}) == 4
    assert not any('"' in q.text for q in asked)
    assert all(len(q.evidence) == 5 for q in asked)


def test_labels_of_other_corpora() -> None:
    found = [emotion.emotion(label) for label in ("Joy ", "hap", "angry", "x", None)]
    assert found == ["joy", "joy", "anger", None, None]


ONE = Scene(
    "one", 3000, turns=(Turn(200, 2600, 1, "Hast du schon Wasser aufgesetzt?", translation=MEANINGS[0]),),
    language="de", translated_to="en",
)  # fmt: skip


def test_a_single_line_needs_translations_of_other_clips() -> None:
    assert not ask(ONE, "translation_of_line")
    asked = ask(ONE, "translation_of_line", MEANINGS)
    assert {q.answer for q in asked} == {f'"{MEANINGS[0]}"'}
    assert all(set(q.choices) <= {f'"{m}"' for m in MEANINGS} for q in asked)
    assert len({q.text for q in asked}) == 4
    assert not any(
        "Wasser" in q.text for q in asked
    )  # the words themselves would make it a question about a text
    assert all("English" in q.text for q in asked)


def test_choices_that_may_say_the_same_are_left_out() -> None:
    near = ("Have you put the water on yet?", "have you put the water on", "The train did not come at all.")
    assert not ask(ONE, "translation_of_line", near)  # one wrong choice is too few
    asked = ask(ONE, "translation_of_line", (*near, *MEANINGS[1:4]))
    assert asked
    assert not any("water on yet" in c for q in asked for c in q.choices)


def test_wrong_choices_are_as_long_as_the_answer() -> None:
    pool = tuple(
        f"{word} {'and so on ' * (n * 4)}in the end."
        for n, word in enumerate(("Rain", "Snow", "Wind", "Fog"))
    )
    short = (
        "Everybody left the house at nine.",
        "Nobody has seen my keys.",
        "Give me back the book, please.",
    )
    for q in ask(ONE, "translation_of_line", (*pool, *short)):
        assert max(map(len, q.choices)) < 2 * min(map(len, q.choices))


def test_other_lines_of_the_scene_come_first() -> None:
    turns = tuple(replace(t, translation=m) for t, m in zip(DIALOGUE.turns, MEANINGS, strict=False))
    scene = replace(DIALOGUE, turns=turns, language="de", translated_to="fr")
    asked = ask(scene, "translation_of_line", MEANINGS[5:])
    assert {q.answer for q in asked} == {f'"{MEANINGS[n]}"' for n in (0, 1, 3)}  # how each speaker begins
    assert all(set(q.choices) <= {f'"{m}"' for m in MEANINGS[:5]} for q in asked)
    assert all("French" in q.text for q in asked)


def test_a_language_without_a_name_is_not_asked_about() -> None:
    assert not ask(replace(ONE, translated_to="xx"), "translation_of_line", MEANINGS)
    assert [translation.language(c) for c in ("zh-CN", "sv_SE", "EN", None)] == [
        "Chinese",
        "Swedish",
        "English",
        None,
    ]


def test_the_language_that_is_spoken() -> None:
    asked = ask(ONE, "spoken_language")
    assert {q.answer for q in asked} == {"German"}
    assert not any("Dutch" in q.choices for q in asked)
    assert not ask(replace(ONE, translated_to=None), "spoken_language")
    english = replace(ONE, language="en", translated_to="de")
    assert {q.answer for q in ask(english, "spoken_language")} == {"English"}
    assert "German" in render(ONE, asked[0]).split("<SUMMARY>")[1]  # not "german"
