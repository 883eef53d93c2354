"""Silero VAD: how likely speech is every 32 ms, and the stretches of it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from paqa.engines._onnx import open_session
from paqa.engines.base import Weights, package_file
from paqa.spans import Interval, from_frames, merge

RATE = 16_000  # Hz
VAD_FRAME, VAD_CONTEXT = 512, 64  # samples: Silero takes 32 ms at a time, and the last 4 ms before
SILERO_VAD = Weights(
    package="faster-whisper",
    file="faster_whisper/assets/silero_vad_v6.onnx",
    model="Silero VAD v6",
    origin="https://github.com/snakers4/silero-vad",
    license="MIT",
)


class SpeechLimits(Protocol):
    """What counts as speech: probabilities, and ms."""

    @property
    def vad_on(self) -> float: ...
    @property
    def vad_off(self) -> float: ...
    @property
    def min_speech_ms(self) -> int: ...
    @property
    def min_silence_ms(self) -> int: ...
    @property
    def pad_ms(self) -> int: ...


class SileroVad:
    """The network, opened once."""

    def __init__(self, device: str, threads: int):
        self._session = open_session(package_file(SILERO_VAD), device, threads)

    def speech_probability(self, signal: np.ndarray) -> np.ndarray:
        """The probability of speech `(ceil(n / 512),)`, every 32 ms, from a fresh state."""
        blocks = np.pad(signal, (0, -len(signal) % VAD_FRAME)).reshape(-1, VAD_FRAME)
        before = np.vstack([np.zeros((1, VAD_CONTEXT), np.float32), blocks[:-1, -VAD_CONTEXT:]])
        state = np.zeros((1, 1, 128), np.float32)
        inputs = {"input": np.hstack([before, blocks]), "h": state, "c": state}
        return self._session.run(["speech_probs"], inputs)[0].ravel()


def speech_spans(probability: np.ndarray, duration_ms: int, limits: SpeechLimits) -> list[Interval]:
    """Stretches of speech in ms, disjoint and in order, from its probability every 32 ms."""
    active = hysteresis(probability, limits.vad_on, limits.vad_off)
    padded = []
    for start, end in merge(from_frames(active.tolist(), VAD_FRAME * 1000 / RATE), limits.min_silence_ms):
        if end - start >= limits.min_speech_ms:
            first, last = max(0, start - limits.pad_ms), min(duration_ms, end + limits.pad_ms)
            padded.append((round_10(first), min(duration_ms, round_10(last))))
    return merge(padded)


def hysteresis(probability: np.ndarray, on: float, off: float) -> np.ndarray:
    """True `(frames,)` in runs of probabilities `(frames,)` of at least `off` that reach `on` somewhere."""
    active, above = np.zeros(len(probability), dtype=bool), probability >= off
    for start, end in from_frames(above.tolist(), 1):
        active[start:end] = probability[start:end].max() >= on
    return active


def round_10(ms: float) -> int:
    """To the 10 ms grid."""
    return round(ms / 10) * 10
