"""Figures of completions: means of what each row earns, and what was perceived, pooled over rows."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from paqa.evaluation import metrics
from paqa.rationale import grammar, rewards
from paqa.rationale.trace import Trace
from paqa.text import normal
from paqa.types import Event, Item, Scene, Word


def means(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every figure over the rows that have it."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            values[name].append(value)
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()}


def perception_figures(rows: Sequence[tuple[Item, str]]) -> dict[str, float]:
    """Perceptual fields against scenes, pooled: WER and CER of ASR, F1 of ENV's classes, speaker counts."""
    scenes = [(_events_by_label(item.scene), predicted_scene(item.scene, text)) for item, text in rows]
    words = metrics.pooled(metrics.WordErrors, (metrics.word_errors(t, h) for t, h in scenes))
    letters = metrics.pooled(metrics.WordErrors, (metrics.letter_errors(t, h) for t, h in scenes))
    events = metrics.f1(metrics.pooled(metrics.Hits, (metrics.class_hits(t, h) for t, h in scenes)))
    counted = [_speaker_count(text) == item.scene.speakers for item, text in rows]
    score = [
        rewards.perception(text, item.scene, not item.choices, item.evidence, item.question)
        for item, text in rows
    ]
    rates = {
        "wer": metrics.ratio(words.errors, words.words),
        "cer": metrics.ratio(letters.errors, letters.words),
    }
    shares = {"speaker_count": sum(counted) / len(rows), "perception": sum(score) / len(rows)}
    return {k: v for k, v in (rates | {"event_f1": events}).items() if v is not None} | shares


def predicted_scene(scene: Scene, text: str) -> Scene:
    """The scene of a completion's ASR and ENV, as its REFLECT corrects them.

    They are read tag by tag, without corrections, where the whole breaks the grammar.
    """
    if trace := _trace(text):
        words, sounds = trace.asr, {normal(sound.label) for sound in trace.env}
    else:
        words = grammar.unescape(_field(text, "ASR"))
        words = "" if words == grammar.NO_WORDS else words
        lines = [line.rsplit(" [", 1)[0].strip() for line in _field(text, "ENV").split("\n")]
        no_sound = ("", grammar.NO_SOUND, grammar.UNCLEAR_SOUND)
        sounds = {normal(grammar.unescape(line)) for line in lines if line not in no_sound}
    events = tuple(Event(0, scene.duration_ms, name, name) for name in sorted(sounds))
    transcript = (Word(0, scene.duration_ms, words),) if words else ()
    return Scene(scene.clip_id, scene.duration_ms, words=transcript, events=events, language=scene.language)


def _events_by_label(scene: Scene) -> Scene:
    """The scene with its events told apart by their labels alone."""
    return replace(scene, events=tuple(replace(e, mid=normal(e.label)) for e in scene.events))


def _trace(text: str) -> Trace | None:
    """A completion that keeps to the grammar, to a question with or without choices."""
    for open_ended in (False, True):
        try:
            return grammar.parse(text, open_ended)
        except grammar.GrammarError:
            continue
    return None


def _field(text: str, tag: str) -> str:
    match = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return match[1].strip() if match else ""


def _speaker_count(text: str) -> int | None:
    """The number of different speakers in SPEAKER, as REFLECT corrects it; None where it is missing."""
    if trace := _trace(text):
        return len({quote.speaker for quote in trace.speakers})
    if "<SPEAKER>" not in text:
        return None
    return len(set(re.findall(r"^Speaker ([0-9]+) ", _field(text, "SPEAKER"), re.MULTILINE)))
