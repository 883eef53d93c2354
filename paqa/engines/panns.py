"""Tag with PANNs: 527 AudioSet classes, every 320 ms.

Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition" (IEEE/ACM
TASLP 2020). The networks are those of the package `panns_inference`; Cnn14_DecisionLevelMax says what sounds
when, and Cnn14, if it is asked for, what sounds at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta

from paqa.engines._events import ClassThresholds, Hops, SpanParams, events, level_db, tags
from paqa.engines._panns import RATE, class_mids, open_network
from paqa.engines._signal import fit_length, mono
from paqa.engines.base import EngineOutput, Weights, not_in_key
from paqa.engines.event_scores import event_scores
from paqa.engines.weights import RemoteWeights, locate, resolve_model, revision
from paqa.types import Audio, Stage

BEHAVIOUR = 2  # raise it when the same weights and parameters would give other events
FRAMEWISE, CLIPWISE = "Cnn14_DecisionLevelMax", "Cnn14"
HOP_MS = 320  # five poolings by two of frames of 10 ms; what the network gives every 10 ms are repetitions
HOP = HOP_MS * RATE // 1000  # samples
REPEATED = HOP_MS // 10  # rows of the network's output that are equal
# hops: 30.72 s, and 3.84 s, of which 1.92 s count: the network sees 1.6 s around each hop
WINDOW, OVERLAP = 96, 12
CLIP_WINDOW = 31  # hops: 9.92 s; Cnn14 averages over its whole input, and was trained on 10 s
CALL_S = 90  # seconds of audio in a call


def published_checkpoint(name: str, score: str) -> RemoteWeights:
    """A checkpoint of the authors, at the address that their package has, too."""
    origin = "https://zenodo.org/record/3987831"
    file = f"{name}_mAP={score}.pth"
    url = f"{origin}/files/{file.replace('=', '%3D')}?download=1"
    return RemoteWeights(f"panns/{file}", name, "CC-BY-4.0", origin, url=url)


KNOWN = {
    name: published_checkpoint(name, score) for name, score in ((FRAMEWISE, "0.385"), (CLIPWISE, "0.431"))
}


@dataclass(frozen=True)
class PannsParams(SpanParams):
    """The checkpoints, beside what decides about spans."""

    model: str = not_in_key(FRAMEWISE)  # a checkpoint of Cnn14_DecisionLevelMax: this name, or a path
    sha256: str | None = not_in_key(None)  # refuse other weights than these
    allow_pickle: bool = not_in_key(False)  # open checkpoints that could run code
    clipwise: str | None = None  # a checkpoint of Cnn14 that decides the tags: "Cnn14", or a path
    clipwise_sha256: str | None = not_in_key(None)  # as sha256, for that one
    # windows of one length per call; None: 90 s of audio
    batch_size: Annotated[int, Meta(ge=1)] | None = not_in_key(None)


class ClipWindow(NamedTuple):
    """`hops` of clip number `clip` from hop `start` on, of which those from `keep` to `until` count."""

    clip: int
    start: int
    hops: int
    keep: int
    until: int


class Panns:
    """Events on the 10 ms grid with their peak probability, and the clip-level probability of every class."""

    name: ClassVar[str] = "panns"
    stage: ClassVar[Stage] = "tag"
    package: ClassVar[str] = "panns-inference"
    Params: ClassVar[type] = PannsParams
    gpu_precision: ClassVar[str | None] = "float32"
    weights: ClassVar[tuple[Weights, ...]] = ()

    @classmethod
    def remotes(cls, params: PannsParams) -> tuple[RemoteWeights, ...]:
        """The checkpoint, and that of Cnn14 where it decides the tags."""
        models = [params.model, *([params.clipwise] if params.clipwise else [])]
        return tuple(resolve_model(model, "panns", KNOWN) for model in models)

    @classmethod
    def identify(cls, params: PannsParams = PannsParams()) -> str:
        """Revision from the package's version and the hashes of the checkpoints."""
        pins = (params.sha256, params.clipwise_sha256)
        remotes = zip(cls.remotes(params), pins, strict=False)
        return "+".join(revision(BEHAVIOUR, cls.package, remote, pinned) for remote, pinned in remotes)

    def __init__(self, params: PannsParams = PannsParams(), device: str = "cpu", threads: int = 1):
        """Opens the checkpoints; MissingWeights where there is none."""
        self.params, self.device, self.threads = params, device, threads
        self.revision = self.identify(params)
        self.classes = ClassThresholds.from_rules(
            class_mids(), params, params.excluded, params.class_thresholds
        )
        # by shape of a call: whether windows give the same bits together as alone
        self._batch_is_exact: dict[tuple[int, ...], bool] = {}
        self._networks = [
            open_network(kind, locate(remote), params.allow_pickle).to(device)
            for kind, remote in zip((FRAMEWISE, CLIPWISE), self.remotes(params), strict=False)
        ]

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        """Tag clips; windows of one length share calls, whichever clips they are from."""
        signals = [mono(audio, RATE) for audio in batch]
        rows = self.probabilities(signals)
        peaks = [clip_rows.max(axis=0) for clip_rows in rows]
        if self.params.clipwise:
            peaks = self.clip_probabilities(signals)
        outputs = []
        for audio, signal, clip_rows, clip_peaks in zip(batch, signals, rows, peaks, strict=True):
            audible = np.any(signal)
            outputs.append(self._output(audio, signal, clip_rows, clip_peaks) if audible else EngineOutput())
        return outputs

    def _output(self, audio: Audio, signal: np.ndarray, rows: np.ndarray, peaks: np.ndarray) -> EngineOutput:
        level = level_db(signal, RATE, audio.duration_ms)
        tagged_events = events(rows, level, audio.duration_ms, self.classes, Hops(HOP_MS), self.params)
        return EngineOutput(
            events=tagged_events,
            event_scores=event_scores(tagged_events, rows, self.classes.mids, Hops(HOP_MS)),
            tags=tags(peaks, self.classes.mids, self.params.tag_floor),
        )

    def probabilities(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Class probabilities `(hops, 527)`, one each 320 ms, of signals `(n,)` at 32 kHz; 0 for silence."""
        by_clip = [np.zeros((hops_of(signal), len(self.classes.mids)), np.float32) for signal in signals]
        for window, rows in self._run_windows(0, signals, WINDOW, OVERLAP, "framewise_output"):
            rows = rows[: window.hops * REPEATED : REPEATED]
            kept_rows = rows[window.keep - window.start : window.until - window.start]
            by_clip[window.clip][window.keep : window.until] = kept_rows
        return by_clip

    def clip_probabilities(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Of signals at 32 kHz, the class probabilities `(527,)` of Cnn14: the largest of windows of 10 s."""
        by_clip = [np.zeros(len(self.classes.mids), np.float32) for _ in signals]
        for window, peaks in self._run_windows(1, signals, CLIP_WINDOW, 0, "clipwise_output"):
            by_clip[window.clip] = np.maximum(by_clip[window.clip], peaks)
        return by_clip

    def _run_windows(
        self, network: int, signals: Sequence[np.ndarray], longest: int, overlap: int, output: str
    ) -> Iterator[tuple[ClipWindow, np.ndarray]]:
        """What a network gives for every window of the signals that are not silent."""
        import torch

        torch.set_num_threads(self.threads)
        all_windows: list[ClipWindow] = []
        for i, signal in enumerate(signals):
            if np.any(signal):
                all_windows += windows(i, hops_of(signal), longest, overlap)
        for group in self._groups(all_windows):
            samples = np.stack([window_samples(signals[w.clip], w) for w in group])
            yield from zip(group, self._batch_outputs(network, samples, output), strict=True)

    def _batch_outputs(self, network: int, samples: np.ndarray, output: str) -> np.ndarray:
        """What a network gives for windows `(count, samples)`: each what it gives for that window alone.

        How a CPU adds up depends on the shape of a call, for short windows above all. So the first and the
        last window of the first call of each shape are run alone, too, and where a bit differs, all of that
        shape always are.
        """
        shape = network, *samples.shape
        if self._batch_is_exact.get(shape, True):
            together = self._model_call(network, samples, output)
            if self.device == "cpu" and shape not in self._batch_is_exact and len(samples) > 1:
                alone = [self._model_call(network, samples[[i]], output)[0] for i in (0, -1)]
                self._batch_is_exact[shape] = all(map(np.array_equal, alone, together[[0, -1]]))
            if self._batch_is_exact.get(shape, True):
                return together
        return np.concatenate([self._model_call(network, window[None], output) for window in samples])

    def _model_call(self, network: int, samples: np.ndarray, output: str) -> np.ndarray:
        import torch

        with torch.inference_mode():
            outputs = self._networks[network](torch.from_numpy(samples).to(self.device))
            return outputs[output].cpu().numpy()

    def _groups(self, all_windows: list[ClipWindow]) -> Iterator[list[ClipWindow]]:
        """Windows that share a call: all of one length."""
        for hops in sorted({window.hops for window in all_windows}):
            same = [window for window in all_windows if window.hops == hops]
            size = self.params.batch_size or max(1, CALL_S * 1000 // (hops * HOP_MS))
            yield from (same[i : i + size] for i in range(0, len(same), size))


def hops_of(signal: np.ndarray) -> int:
    """How many times 320 ms cover a signal `(n,)`; at least one."""
    return max(1, -(-len(signal) // HOP))


def window_samples(signal: np.ndarray, window: ClipWindow) -> np.ndarray:
    """The input for a window of a signal `(n,)`: `(hops * 10240,)`, zeros after the end of the signal."""
    return fit_length(signal[window.start * HOP : (window.start + window.hops) * HOP], window.hops * HOP)


def windows(clip: int, hops: int, longest: int, overlap: int) -> list[ClipWindow]:
    """A clip as one window, or as several of the longest length, of which the last ends with the clip.

    Where two overlap, the first counts up to the middle, the second from there on.
    """
    size = min(hops, longest)
    starts = [*range(0, hops - size, max(1, longest - overlap)), hops - size]
    edges = [0, *((b + a + size) // 2 for a, b in pairwise(starts)), hops]
    kept = pairwise(edges)
    return [ClipWindow(clip, start, size, *between) for start, between in zip(starts, kept, strict=True)]
