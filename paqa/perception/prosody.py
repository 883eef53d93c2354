"""Levels and pitches of a scene: of voices on the speech alone, of sounds on the background alone.

Pitch is the median over voiced frames of the lag at which the normalised autocorrelation peaks (Boersma,
"Accurate short-term analysis of the fundamental frequency", 1993, without its path search). Where several
people talk at once the voice of one cannot be measured: such stretches are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from paqa.audio import rms
from paqa.spans import Interval, interval, merge
from paqa.storage.store import Store, key
from paqa.types import Audio, Scene, Turn

VERSION = 1  # raise when what is measured changes
SHORTEST_MS = 300  # less than this says nothing about a voice
FRAME_MS, HOP_MS = 40, 30
LOWEST_HZ, HIGHEST_HZ = 65.0, 400.0
RATE = 8000  # Hz, about; pitch is measured at this rate
VOICED = 0.55  # autocorrelation from which a frame counts as voiced
# A peak at a shorter lag, of at least this share of the highest peak, is the period itself: the highest one
# is then a multiple of it.
OCTAVE = 0.85
QUIET = 0.1  # frames below this share of the loudest frame's RMS do not count
MIN_VOICED_FRAMES = 8  # fewer give no pitch


@dataclass(frozen=True)
class Prosody:
    """What the store keeps: for each turn its level in dBFS and its pitch in Hz, for each event its level."""

    turns: tuple[tuple[float | None, float | None], ...]
    events: tuple[float | None, ...]


def with_prosody(scene: Scene, where: str, stems: Callable[[], tuple[Audio, Audio]], store: Store) -> Scene:
    """The scene with levels and pitches, from the store or else from the audio.

    `stems` returns the speech and the background, `(channels, n)` each; `where` names what determines them in
    the store's key. Levels are in dBFS, pitches in Hz.
    """
    spans = [(t.start_ms, t.end_ms, t.speaker) for t in scene.turns]
    prosody_key = key("prosody", VERSION, where, spans, [interval(e) for e in scene.events])
    if not store.has(prosody_key, ".json"):
        store.put_json(prosody_key, measure(scene, *stems()))
    prosody: Prosody = store.get_json(prosody_key, Prosody)
    turns = zip(scene.turns, prosody.turns, strict=True)
    events = zip(scene.events, prosody.events, strict=True)
    return replace(
        scene,
        turns=tuple(replace(t, level_db=level, pitch_hz=hz) for t, (level, hz) in turns),
        events=tuple(replace(e, level_db=level) for e, level in events),
    )


def measure(scene: Scene, speech: Audio, background: Audio) -> Prosody:
    """Levels in dBFS and pitches in Hz of a scene, from its speech and background, `(channels, n)` each."""
    turns: list[tuple[float | None, float | None]] = []
    for turn in scene.turns:
        voice = cut(speech, alone(turn, scene.turns))
        long_enough = voice.duration_ms >= SHORTEST_MS
        turns.append((level_db(voice), pitch_hz(voice)) if long_enough else (None, None))
    events = [level_db(cut(background, [interval(event)])) for event in scene.events]
    return Prosody(tuple(turns), tuple(events))


def alone(turn: Turn, turns: Sequence[Turn]) -> list[Interval]:
    """The stretches of a turn in which nobody else talks."""
    stretches = [interval(turn)]
    for start, end in merge(interval(t) for t in turns if t.speaker != turn.speaker):
        remaining = []
        for first, last in stretches:
            remaining += [(first, min(last, start)), (max(first, end), last)]
        stretches = [(first, last) for first, last in remaining if first < last]
    return stretches


def cut(audio: Audio, spans: Sequence[Interval]) -> Audio:
    """The samples of some spans, one after another."""
    parts = [audio.samples[:, start * audio.rate // 1000 : end * audio.rate // 1000] for start, end in spans]
    return Audio(np.concatenate(parts, axis=1) if parts else audio.samples[:, :0], audio.rate)


def level_db(audio: Audio) -> float | None:
    """The RMS of samples `(channels, n)` in dBFS, one decimal; None for silence."""
    level = rms(audio.samples) if audio.samples.size else 0.0
    return round(20 * float(np.log10(level)), 1) if level > 1e-6 else None


def pitch_hz(audio: Audio) -> float | None:
    """The median F0 of samples `(channels, n)` in Hz, one decimal; None where too few frames are voiced."""
    frames, rate = _frames(audio)
    if len(frames) < MIN_VOICED_FRAMES:
        return None
    energy = np.square(frames).mean(axis=1)
    frames = frames[energy >= QUIET**2 * energy.max()]
    periods = _periods(frames, int(rate / HIGHEST_HZ), int(rate / LOWEST_HZ) + 1)
    return round(float(np.median(rate / periods)), 1) if len(periods) >= MIN_VOICED_FRAMES else None


def _frames(audio: Audio) -> tuple[np.ndarray, float]:
    """Overlapping frames `(n, size)` of the mean of the channels at about 8 kHz, and the rate in Hz."""
    factor = max(1, audio.rate // RATE)
    mono = audio.samples.mean(axis=0)
    mono = mono[: len(mono) // factor * factor].reshape(-1, factor).mean(axis=1)
    rate = audio.rate / factor
    size, hop = int(rate * FRAME_MS / 1000), int(rate * HOP_MS / 1000)
    if len(mono) < size:
        return np.zeros((0, size), np.float32), rate
    return np.lib.stride_tricks.sliding_window_view(mono, size)[::hop], rate


def _periods(frames: np.ndarray, shortest: int, longest: int) -> np.ndarray:
    """The period in samples of each voiced frame, `(m,)`, refined by a parabola through the peak."""
    window = np.hanning(frames.shape[1]).astype(np.float32)
    size = 1 << (2 * frames.shape[1] - 1).bit_length()
    shaped = (frames - frames.mean(axis=1, keepdims=True)) * window
    correlation = _autocorrelation(shaped, size)[:, : longest + 2]
    correlation /= np.maximum(correlation[:, :1], 1e-12)
    of_window = _autocorrelation(window[None], size)[:, : longest + 2]
    correlation /= np.maximum(of_window / of_window[:, :1], 0.05)
    inner = correlation[:, shortest : longest + 1]
    left, right = correlation[:, shortest - 1 : longest], correlation[:, shortest + 1 : longest + 2]
    peaks = np.where((inner >= left) & (inner > right), inner, 0.0)
    highest = peaks.max(axis=1)
    first_peak = np.argmax(peaks >= OCTAVE * np.maximum(highest, 1e-9)[:, None], axis=1)
    voiced = np.flatnonzero(highest >= VOICED)
    lag = first_peak[voiced]
    a, b, c = left[voiced, lag], inner[voiced, lag], right[voiced, lag]
    shift = 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-9)
    periods: np.ndarray = lag + shortest + np.clip(shift, -0.5, 0.5)
    return periods


def _autocorrelation(frames: np.ndarray, size: int) -> np.ndarray:
    """The circular autocorrelation of each frame, `(n, size)`."""
    power = np.square(np.abs(np.fft.rfft(frames, size)))
    correlation: np.ndarray = np.fft.irfft(power, size)
    return correlation
