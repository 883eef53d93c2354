"""Figures of completions: means of what each row earns, and what was perceived, pooled over rows."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from paqa.evaluation import metrics
from paqa.rationale import grammar, rewards
from paqa.rationale.escaping import unescape
from paqa.rationale.time_overlap import speaker_overlap
from paqa.rationale.trace import Quote, Reading, Sound, Trace
from paqa.text import normal
from paqa.types import Event, Item, Scene, Turn, Word


def means(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every figure over the rows that have it."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            values[name].append(value)
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()}


def perception_figures(rows: Sequence[tuple[Item, str]]) -> dict[str, float]:
    """Perceptual fields against scenes, pooled: WER and CER of ASR, F1 of ENV, speaker counts and times.

    `event_f1` is of the classes of each clip, at any time; for the times see `time_figures`.
    """
    scenes = _true_and_predicted(rows)
    words = metrics.pooled(metrics.WordErrors, (metrics.word_errors(t, h) for t, h in scenes))
    letters = metrics.pooled(metrics.WordErrors, (metrics.letter_errors(t, h) for t, h in scenes))
    events = metrics.f1(metrics.pooled(metrics.Hits, (metrics.class_hits(t, h) for t, h in scenes)))
    counted = [_speaker_count(text) == item.scene.speakers for item, text in rows]
    score = [
        rewards.perception(
            text,
            item.scene,
            grammar.by_letter(item.choices, item.rationale),
            item.evidence,
            item.question,
        )
        for item, text in rows
    ]
    rates = {
        "wer": metrics.ratio(words.errors, words.words),
        "cer": metrics.ratio(letters.errors, letters.words),
    }
    shares = {"speaker_count": sum(counted) / len(rows), "perception": sum(score) / len(rows)}
    rates |= {"event_f1": events}
    return {k: v for k, v in rates.items() if v is not None} | shares | time_figures(rows)


def time_figures(rows: Sequence[tuple[Item, str]]) -> dict[str, float]:
    """How well the times of sounds and speakers are perceived, by name; without figures of nothing.

    `event_f1_timed`: F1 over all rows of sounds matched one to one by label, onset (within 200 ms) and
    offset (within 200 ms, or a fifth of the event). `speaker_overlap`: its mean over rows in which someone
    speaks, or is said to.
    """
    scenes = _true_and_predicted(rows)
    events = metrics.f1(metrics.pooled(metrics.Hits, (metrics.event_hits(t, h) for t, h in scenes)))
    overlaps = [speaker_overlap(h.turns, t.turns) for t, h in scenes if t.turns or h.turns]
    figures = {"event_f1_timed": events, "speaker_overlap": metrics.ratio(sum(overlaps), len(overlaps))}
    return {name: value for name, value in figures.items() if value is not None}


def _true_and_predicted(rows: Sequence[tuple[Item, str]]) -> list[tuple[Scene, Scene]]:
    return [(_events_by_label(item.scene), predicted_scene(item.scene, text)) for item, text in rows]


def predicted_scene(scene: Scene, text: str) -> Scene:
    """The scene that a completion states, as its REFLECT corrects it; labels are as they are compared.

    It is read tag by tag, without corrections, where the whole breaks the grammar.
    """
    trace = _trace(text)
    reading = Reading(trace.env, trace.speakers, trace.asr) if trace else _reading(text)
    labels = [(sound, normal(sound.label)) for sound in reading.env]
    return Scene(
        scene.clip_id,
        scene.duration_ms,
        turns=tuple(Turn(q.start_ms, q.end_ms, q.speaker, q.text) for q in reading.speakers),
        words=(Word(0, scene.duration_ms, reading.asr),) if reading.asr else (),
        events=tuple(Event(sound.start_ms, sound.end_ms, label, label) for sound, label in labels),
        language=scene.language,
    )


def _reading(text: str) -> Reading:
    """What the lines of ENV, SPEAKER and ASR say one by one; a sound without readable times is at 0 ms."""
    sounds: list[Sound] = []
    quotes: list[Quote] = []
    for line in _lines(text, "ENV"):
        try:
            sound = grammar.parse_sound(line)
        except grammar.GrammarError:
            sound = Sound(0, 0, unescape(line.rsplit(" [", 1)[0].strip()))
        if isinstance(sound, Sound) and line != grammar.NO_SOUND:
            sounds.append(sound)
    for line in _lines(text, "SPEAKER"):
        with contextlib.suppress(grammar.GrammarError):
            quotes.append(grammar.parse_quote(line))
    words = unescape(_field(text, "ASR"))
    return Reading(tuple(sounds), tuple(quotes), "" if words == grammar.NO_WORDS else words)


def _events_by_label(scene: Scene) -> Scene:
    """The scene with its events told apart by their labels alone."""
    return replace(scene, events=tuple(replace(e, mid=normal(e.label)) for e in scene.events))


def _trace(text: str) -> Trace | None:
    """A completion that keeps to the grammar, whether its answers have letters or not."""
    for letters in (True, False):
        try:
            return grammar.parse(text, letters)
        except grammar.GrammarError:
            continue
    return None


def _lines(text: str, tag: str) -> list[str]:
    return [line.strip() for line in _field(text, tag).split("\n") if line.strip()]


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
