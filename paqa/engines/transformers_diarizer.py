"""Diarize with any audio-frame classification model of `transformers`: who speaks when, also at once.

Of such models, Nemotron 3 Diarization tells up to 8 speakers apart over a whole recording, in chunks of its
own (the library's `nemotron3_diarization`); WavLM and wav2vec2 heads (Chen et al., "WavLM", 2022) have an
output for each of two speakers. Outputs are independent probabilities of speakers, or, with `powerset`, of
sets of speakers (Plaquet & Bredin, Interspeech 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from paqa.engines._signal import mono
from paqa.engines._silero_vad import hysteresis
from paqa.engines._transformers import (
    Dtype,
    TransformersEngine,
    at_least,
    config_of,
    on_device,
    open_model,
    open_processor,
)
from paqa.engines.base import EngineOutput, Millis, not_in_key
from paqa.engines.weights import locate
from paqa.errors import PaqaError
from paqa.spans import Interval, from_frames, merge
from paqa.types import Audio, Stage, Turn, Unit

STEP_MS = 10
PROBE_S = 10  # seconds of silence from which the length of a frame is measured
SHORTEST_S = 1  # shorter clips are padded to this length


@dataclass(frozen=True)
class TransformersDiarizerParams:
    """Which model, and from which probability on a speaker speaks. Usual thresholds, not tuned."""

    # a folder, or a Hub id ORG/NAME, with @COMMIT where it is to be pinned
    model: str = not_in_key("nvidia/Nemotron-3-Diarization")
    sha256: str | None = not_in_key(None)  # of the folder, as in the engine's revision
    dtype: Dtype = "float32"  # of the model's numbers
    on_threshold: Unit = 0.5  # a turn must reach this probability
    off_threshold: Unit = 0.4  # and lasts while the probability is at least this
    min_turn_ms: Millis = 100  # shorter turns are dropped
    join_ms: Millis = 200  # turns of one speaker at most this far apart become one
    # speakers of a model whose outputs are sets of them; None: an output a speaker
    powerset: Annotated[int, Meta(ge=1, le=16)] | None = None
    powerset_at_once: Annotated[int, Meta(ge=1, le=4)] = 2  # the largest of these sets


class TransformersDiarizer(TransformersEngine):
    """Turns without text on the 10 ms grid: overlapping ones, and exclusive ones of the same speakers."""

    name: ClassVar[str] = "transformers_diarizer"
    stage: ClassVar[Stage] = "diarize"
    Params: ClassVar[type] = TransformersDiarizerParams
    behaviour: ClassVar[int] = 1

    def __init__(
        self,
        params: TransformersDiarizerParams = TransformersDiarizerParams(),
        device: str = "cpu",
        threads: int = 1,
    ):
        self.params, self.threads = params, threads
        self.revision = self.identify(params)
        folder = locate(self.remotes(params)[0])
        config_of(folder)
        from transformers import AutoFeatureExtractor, AutoModelForAudioFrameClassification

        self._extractor = open_processor(AutoFeatureExtractor, folder)
        self._model = open_model(AutoModelForAudioFrameClassification, folder, params.dtype, device)
        self._rate = int(self._extractor.sampling_rate)
        probed = self._outputs(np.zeros(PROBE_S * self._rate, np.float32))
        self._frame_ms = max(1, round(PROBE_S * 1000 / len(probed)))
        self._sets = self._speaker_sets(probed.shape[1], str(folder))

    def _speaker_sets(self, outputs: int, folder: str) -> np.ndarray | None:
        """Which speakers each output stands for `(outputs, speakers)`; None where an output is a speaker."""
        if self.params.powerset is None:
            return None
        sets = powerset(self.params.powerset, self.params.powerset_at_once)
        if len(sets) != outputs:
            raise PaqaError(
                f"{folder}: the model has {outputs} outputs, but there are {len(sets)} sets of at most "
                f"{self.params.powerset_at_once} of {self.params.powerset} speakers; correct `powerset`, or "
                "leave it out where each output is a speaker"
            )
        return sets

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        """Diarize each clip as a whole, one after the other: so none depends on its batch."""
        import torch

        torch.set_num_threads(self.threads)
        return [self._output(audio) for audio in batch]

    def _output(self, audio: Audio) -> EngineOutput:
        signal = mono(audio, self._rate)
        if not np.any(signal):
            return EngineOutput()
        frames = self._probabilities(at_least(signal, SHORTEST_S * self._rate))
        steps = audio.duration_ms // STEP_MS
        nearest = np.minimum(np.arange(steps) * STEP_MS // self._frame_ms, len(frames) - 1)
        return turns_of(frames[nearest], self.params)

    def _probabilities(self, signal: np.ndarray) -> np.ndarray:
        """How likely each speaker speaks `(frames, speakers)`."""
        logits = self._outputs(signal).astype(np.float64)
        if self._sets is None:
            return 1 / (1 + np.exp(-logits))
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponents / exponents.sum(axis=1, keepdims=True) @ self._sets

    def _outputs(self, signal: np.ndarray) -> np.ndarray:
        import torch

        inputs = self._extractor(signal, sampling_rate=self._rate, return_tensors="pt")
        with torch.inference_mode():
            logits: Any = self._model(**on_device(inputs, self._model)).logits
        return np.asarray(logits[0].float().cpu())


def powerset(speakers: int, at_once: int) -> np.ndarray:
    """The sets of at most `at_once` speakers `(sets, speakers)`: nobody, each alone, each two, ..."""
    sets = [c for size in range(at_once + 1) for c in combinations(range(speakers), size)]
    return np.array([[float(k in members) for k in range(speakers)] for members in sets])


def turns_of(probability: np.ndarray, params: TransformersDiarizerParams) -> EngineOutput:
    """Turns from how likely each speaker speaks every 10 ms `(steps, speakers)`."""
    on = [hysteresis(track, params.on_threshold, params.off_threshold) for track in probability.T]
    spans = [_spans(track, params.join_ms, params.min_turn_ms) for track in on]
    active = np.zeros(probability.shape, bool)
    for speaker, speaker_spans in enumerate(spans):
        for start, end in speaker_spans:
            active[start // STEP_MS : end // STEP_MS, speaker] = True
    loudest = np.where(active, probability, -1).argmax(axis=1) if active.size else np.zeros(0, int)
    alone = [active[:, k] & (loudest == k) for k in range(len(spans))]
    order = sorted((k for k, intervals in enumerate(spans) if intervals), key=lambda k: spans[k][0])
    number = {speaker: n for n, speaker in enumerate(order, start=1)}
    turns = sorted((a, b, number[k]) for k in order for a, b in spans[k])
    exclusive = sorted((a, b, number[k]) for k in order for a, b in from_frames(alone[k].tolist(), STEP_MS))
    return EngineOutput(
        turns=tuple(Turn(*turn) for turn in turns), exclusive=tuple(Turn(*turn) for turn in exclusive)
    )


def _spans(on: np.ndarray, join_ms: int, min_turn_ms: int) -> list[Interval]:
    runs = merge(from_frames(on.tolist(), STEP_MS), join_ms)
    return [(start, end) for start, end in runs if end - start >= min_turn_ms]
