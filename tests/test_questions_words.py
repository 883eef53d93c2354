"""Questions about the words of a single voice: which are said, in which order, when, with which pauses."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenes, spread_words, unsure_scenes
from test_questions import ALL, PLAIN, event, right

from paqa.curation.answer_balance import Survey, common_elsewhere, count
from paqa.questions import drawn_words
from paqa.questions.context import context
from paqa.questions.english import opening
from paqa.questions.generate import generate, rests_on
from paqa.questions.scene_parts import OtherClips
from paqa.questions.spoken_words import turn_words
from paqa.rationale.answerer import answer_from_scene
from paqa.text import UNCLEAR_WORD, normal
from paqa.types import Evidence, HeardBy, Question, Scene, Turn, Unclear, Word

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = (
    "He should make inquiries as to symptoms and the time at which food or medicine was last taken before"
    " anybody noticed."
)
TURN = Turn(400, 8400, 1, TEXT)
SENTENCE = Scene("sentence", 9000, (TURN,), tuple(spread_words(TURN)), language="en")
UNTIMED = replace(SENTENCE, words=())
WORDS = OtherClips(
    words={("en", w): 3 for w in ("symptoms", "train", "castle", "window", "medicine", "river")}
)


def quotes(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def asked(scene: Scene, others: OtherClips = WORDS, seeds: int = 8) -> list[Question]:
    return [q for seed in range(seeds) for q in generate(scene, PLAIN, seed, others)]


def templates(scene: Scene, others: OtherClips = WORDS) -> set[str]:
    return {q.template for q in asked(scene, others)}


def test_a_clean_sentence_gives_rows() -> None:
    by_text = {"earliest_words", "latest_words", "words_after", "words_before", "word_said"}
    always = {
        "any_speech",
        "speaker_count",
        "speaking_time",
        "any_background",
        "speech_begins",
        "speech_ends",
    }
    assert templates(UNTIMED) == by_text | always
    assert templates(SENTENCE) == by_text | always | {"word_part", "word_at_second"}
    for seed in range(4):
        assert len(generate(SENTENCE, ALL, seed, WORDS)) >= 8


@RELAXED
@given(scenes(), st.integers(0, 3))
def test_answers_follow_from_words_and_their_times(scene: Scene, seed: int) -> None:
    spoken = [w for t in scene.turns for w in spread_words(t)]
    gaps = [replace(w, end_ms=w.start_ms + (w.end_ms - w.start_ms) // 20 * 10) for w in spoken]
    timed = replace(scene, words=tuple(sorted(gaps, key=lambda w: w.start_ms)))
    for q in generate(timed, ALL, seed, WORDS):
        assert right(timed, q), (q, timed)
        for index, choice in enumerate(q.choices):
            assert choice == q.answer or not right(timed, replace(q, answer_index=index)), (choice, q, timed)


@RELAXED
@given(unsure_scenes(), st.integers(0, 3))
def test_words_are_only_quoted_where_they_are_sure(scene: Scene, seed: int) -> None:
    text = f" {' '.join(normal(t.text) for t in scene.turns)} "
    for q in generate(scene, PLAIN, seed, WORDS):
        assert right(scene, q), q
        if q.template in ("earliest_words", "latest_words", "words_after", "words_before"):
            for choice in (*q.choices, *quotes(q.text)):
                assert f" {normal(choice)} " in text


def test_the_evidence_is_the_words_where_their_times_are_known() -> None:
    for q in asked(SENTENCE):
        if "words" in rests_on(q):
            assert {e.kind for e in q.evidence} == {"word"}
            said = [normal(SENTENCE.words[e.index].text) for e in q.evidence]
            assert all(w in said for w in normal(" ".join(quotes(f"{q.text} {q.answer}"))).split())
    for q in asked(UNTIMED):
        assert q.evidence == (Evidence("turn", 0),)


def test_words_that_are_not_sure_are_unknown() -> None:
    lost = replace(SENTENCE, words=tuple(w for w in SENTENCE.words if w.text != "symptoms"))
    assert not any("symptoms" in q.text for q in asked(lost) if q.template in ("word_part", "word_at_second"))
    unclear = replace(TURN, text=TEXT.replace("inquiries", UNCLEAR_WORD))
    scene = replace(UNTIMED, turns=(unclear,))
    assert "word_said" not in templates(scene)  # the word that is not known may be any
    assert [w and w.text for w in turn_words(scene, 0)][:5] == ["he", "should", "make", None, "as"]
    assert not any("make as" in c for q in asked(scene) for c in (q.text, *q.choices))


def test_margins_fall_with_the_scores_of_the_words() -> None:
    unsure = replace(SENTENCE, words=tuple(replace(w, score=0.4) for w in SENTENCE.words))
    assert all(q.margin <= 0.4 for q in asked(unsure) if "words" in rests_on(q))


def test_the_longest_pause_between_words() -> None:
    words = list(SENTENCE.words)
    words[6] = replace(words[6], end_ms=words[6].start_ms + 20)
    at = words[6].end_ms
    moved = (*words[:7], *(shifted(w, at + 1000 - words[7].start_ms) for w in words[7:]))
    scene = replace(SENTENCE, words=moved, turns=(replace(TURN, end_ms=9900),), duration_ms=10_500)
    (longest,) = {q.answer for q in asked(scene) if q.template == "pause_after_words"}
    assert longest == '"to symptoms"'
    (length,) = {q.answer for q in asked(scene) if q.template == "pause_length" and longest in q.text}
    assert length == "About one second"
    missing = replace(scene, words=(*moved[:9], *moved[10:]))
    assert not templates(missing) & {"pause_after_words", "pause_length"}


@RELAXED
@given(scenes(), st.integers(0, 3))
def test_drawn_words_are_answered_again_from_the_scene(scene: Scene, seed: int) -> None:
    spoken = sorted((w for t in scene.turns for w in spread_words(t)), key=lambda w: w.start_ms)
    timed = replace(scene, words=tuple(spoken))
    config = replace(ALL, none_rate=0.2, open_rate=0.0)
    for q in generate(timed, config, seed, WORDS):
        if q.template in drawn_words.TEMPLATES:
            again = answer_from_scene(timed, q, config, seed, WORDS)
            assert again is not None
            assert again.index == q.answer_index
            assert not again.guessed


def test_another_order_of_words_leads_to_another_answer() -> None:
    first, second = "The medical man has two duties to perform.", "Nobody knew what the patient had eaten."
    turns = (Turn(0, 3000, 1, first), Turn(3500, 6500, 2, second))
    scene = Scene("order", 9000, turns, language="en")
    swapped = replace(scene, turns=(replace(turns[0], text=second), replace(turns[1], text=first)))
    rows = [q for q in asked(scene) if q.template == "earliest_words"]
    answers = [answer_from_scene(swapped, q, PLAIN, 0) for q in rows]
    assert any(a is not None and a.index != q.answer_index for a, q in zip(answers, rows, strict=True))
    assert answer_from_scene(replace(scene, turns=()), rows[0], PLAIN, 0) is None


def shifted(word: Word, ms: int) -> Word:
    return replace(word, start_ms=word.start_ms + ms, end_ms=word.end_ms + ms)


def test_whether_anything_sounds_in_the_background() -> None:
    def answers(scene: Scene) -> set[str]:
        return {q.answer.split(",")[0] for q in asked(scene) if q.template == "any_background"}

    barking = replace(SENTENCE, events=(event(1000, 2000, "Bark"),))
    assert answers(SENTENCE) == {"No"}
    assert answers(barking) == {"Yes"}
    assert answers(replace(SENTENCE, events=(event(0, 9000, "Speech"),))) == {"No"}
    assert answers(replace(SENTENCE, events=(event(0, 9000, "Noise"),))) == set()
    assert answers(replace(SENTENCE, unclear=(Unclear(100, 900),))) == set()
    assert answers(replace(barking, unclear=(Unclear(100, 900),))) == {"Yes"}
    claims = {
        q.answer[0]: rests_on(q)
        for s in (SENTENCE, barking)
        for q in asked(s)
        if q.template == "any_background"
    }
    assert claims == {"N": {"absence"}, "Y": {"sound"}}
    heard = replace(SENTENCE, heard_by=(HeardBy("tag", "yamnet", "1"),))
    assert {q.margin for q in asked(heard) if q.template == "any_background"} == {0.8}


def test_words_of_other_clips_are_offered_as_often_as_they_are_said() -> None:
    pool = [
        "castle",
        "window",
        "river",
        "garden",
        "letter",
        "morning",
        "captain",
        "silver",
        "shadow",
        "thunder",
    ]
    clips = []
    for n in range(120):
        chosen = random.Random(n).sample(pool, 3)
        text = f"I saw the {chosen[0]} and a {chosen[1]} by the {chosen[2]}."
        clips.append(Scene(f"c{n}", 6000, (Turn(500, 5000, 1, text),), language="en"))
    others = common_elsewhere(sum((count(s, ALL, 0) for s in clips), Survey()))
    rows = [q for s in clips for q in generate(s, PLAIN, 0, others) if q.template == "word_said"]
    assert len(rows) > 150
    right_words = Counter(q.answer for q in rows)
    offered = Counter(c for q in rows for c in q.choices)
    shares = {w: right_words[w] / offered[w] for w in offered if offered[w] >= 20}
    assert len(shares) == len(pool)
    assert all(0.12 < share < 0.45 for share in shares.values()), shares


def test_no_words_of_another_language_are_offered() -> None:
    german = replace(UNTIMED, language="de")
    assert "word_said" not in templates(german)
    assert turn_words(german, 0)[0].text == "He"  # type: ignore[union-attr]


def test_a_script_without_spaces_has_no_words_to_quote() -> None:
    turn = replace(TURN, text="今天天气很好，我们去公园散步，然后在咖啡馆里喝咖啡。")
    scene = Scene("zh", 9000, (turn,), language="zh")
    assert turn_words(scene, 0) == []
    assert opening(turn.text)[0]


@RELAXED
@given(scenes())
def test_offered_phrases_have_no_word_in_common(scene: Scene) -> None:
    from paqa.questions.spoken_words import phrases

    groups = sorted(phrases(context(scene, ALL, 0, "x")), key=lambda g: (g[0].turn, g[0].place))
    for a, b in pairwise(groups):
        assert not set(a) & set(b)
        assert a[0].turn < b[0].turn or a[-1].place < b[0].place
