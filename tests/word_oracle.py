"""Answers about single words and about the bounds of the speech, derived by brute force from the scene."""

from __future__ import annotations

import re

from paqa.questions.template import NONE
from paqa.text import normal
from paqa.types import Question, Scene, Word

VOICES = {"Speech", "Conversation", "Male speech, man speaking", "Female speech, woman speaking"}


def words_oracle(scene: Scene, q: Question) -> str | bool:
    """The answer, or whether the given one holds."""
    text = f" {' '.join(normal(t.text) for t in scene.turns)} "
    offered = [c for c in q.choices if c != NONE]
    match q.template:
        case "any_background":
            quiet = all(e.label in VOICES for e in scene.events)
            return "No, there is nothing but speech" if quiet else "Yes, there is another sound"
        case "speech_begins":
            return third(scene, min(t.start_ms for t in scene.turns))
        case "speech_ends":
            return third(scene, max(t.end_ms for t in scene.turns))
        case "earliest_words" | "latest_words":
            places = {c: text.index(f" {normal(c)} ") for c in q.choices}
            return (min if q.template == "earliest_words" else max)(places, key=lambda c: places[c])
        case "words_after" | "words_before":
            cue = normal(quotes(q.text)[0])
            ends = (
                (f" {cue} {normal(c)} ", c) if q.template == "words_after" else (f" {normal(c)} {cue} ", c)
                for c in offered
            )
            return ([c for phrase, c in ends if phrase in text] or [NONE]) == [q.answer]
        case "word_said":
            return [c for c in q.choices if f" {normal(c)} " in text] == [q.answer]
    return times_oracle(scene, q, offered)


def times_oracle(scene: Scene, q: Question, offered: list[str]) -> str | bool:
    """The same where the times of words decide."""
    match q.template:
        case "word_part":
            (word,) = [w for w in scene.words if normal(w.text) == normal(quotes(q.text)[0])]
            assert third(scene, word.start_ms) == third(scene, word.end_ms)
            return third(scene, word.start_ms)
        case "word_at_second":
            at = 1000 * int(re.search(r"about (\d+)|About (\d+)", q.text)[0].split()[1])  # type: ignore[index]
            middles = {c: middle(scene, normal(c)) for c in offered}
            near = [c for c in offered if abs(middles[c] - at) <= 310]
            assert all(abs(middles[c] - at) > 1000 for c in offered if c not in near)
            return (near or [NONE]) == [q.answer]
        case "pause_after_words" | "pause_length":
            silences = {}
            ordered = sorted(scene.words, key=lambda w: w.start_ms)
            for n in range(1, len(ordered) - 1):
                before = " ".join(normal(w.text) for w in ordered[n - 1 : n + 1])
                silences[before] = ordered[n + 1].start_ms - ordered[n].end_ms
            if q.template == "pause_length":
                asked = silences[normal(quotes(q.text)[0])]
                sizes = {"half": 500, "one": 1000, "2": 2000, "4": 4000}
                return min(q.choices, key=lambda c: abs(next(v for k, v in sizes.items() if k in c) - asked))
            longest = max(silences, key=lambda phrase: silences[phrase])
            return ([c for c in offered if normal(c) == longest] or [NONE]) == [q.answer]
    raise AssertionError(f"no oracle for {q.template}")


def third(scene: Scene, at_ms: int) -> str:
    share = at_ms / scene.duration_ms
    return f"In the {'first' if share < 1 / 3 else 'middle' if share < 2 / 3 else 'last'} third"


def middle(scene: Scene, word: str) -> float:
    (row,) = [w for w in scene.words if normal(w.text) == word]
    return (row.start_ms + row.end_ms) / 2


def quotes(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def known(words: tuple[Word, ...]) -> set[str]:
    return {normal(w.text) for w in words}
