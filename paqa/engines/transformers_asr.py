"""Transcribe with any speech-recognition model of `transformers`: Whisper, Parakeet, Qwen3-ASR and others.

How a kind of model gives words their times: `_transformers_asr`. Decoding is greedy, and clips are cut at
their quietest moments into windows that a model takes.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from paqa.engines._forced_alignment import aligned
from paqa.engines._signal import fit_length, mono
from paqa.engines._transformers import (
    Dtype,
    TransformersEngine,
    at_least,
    config_of,
    open_model,
    open_processor,
    remote_of,
    revision_of,
)
from paqa.engines._transformers_asr import KINDS, Opened, Transcript, auto_class, kind_of, words_of
from paqa.engines._words import is_loop, on_grid
from paqa.engines.base import Amount, AtLeastOne, EngineOutput, Width, not_in_key
from paqa.engines.weights import RemoteWeights, locate
from paqa.types import Audio, Disagreement, Stage, Unit, Word

SHORTEST_MS = 500  # shorter windows are padded to this length
SEARCHED = 0.4  # of a window, at its end, where the quietest moment is looked for


@dataclass(frozen=True)
class TransformersAsrParams:
    """Which model, and what is taken for a loop or for unsure. Usual limits, not tuned."""

    # a folder, or a Hub id ORG/NAME, with @COMMIT where it is to be pinned
    model: str = not_in_key("openai/whisper-large-v3-turbo")
    sha256: str | None = not_in_key(None)  # of the folder, as in the engine's revision
    # a CTC model with letters as tokens, as `model`, that gives times to words of a model without any
    aligner: str | None = not_in_key(None)  # its hash is in the revision
    dtype: Dtype = "float32"  # of the models' numbers
    # windows a call, on a GPU; above 1 each is padded to window_s and calls are filled up, so that all have
    # one shape. On a CPU the last bits of a window then depend on its place in the call
    batch_size: Annotated[int, Meta(ge=1, le=256)] = 1
    window_s: Annotated[int, Meta(ge=1, le=30)] = 30  # the longest piece that is transcribed at once
    language: Annotated[str, Meta(pattern="^[a-z]{2,3}$")] | None = None  # None: the model's own choice
    max_tokens: Annotated[int, Meta(ge=1, le=4096)] = 440  # of a window, for models that write freely
    unsure_below: Unit = 0.4  # the mean probability of a window's words below which these are in doubt
    # gzip ratio of a window's text above which it is taken for a loop
    compression_ratio_threshold: Amount = 2.4
    most_repeats: AtLeastOne = 5  # the same words so often in a row are taken for a loop
    shortest_word_ms: Width = 60  # some words come without width


@dataclass(frozen=True)
class _Window:
    """A piece of a clip: which clip, from when in s, and its samples `(n,)`."""

    clip: int
    start_s: float
    samples: np.ndarray


class TransformersAsr(TransformersEngine):
    """Words with start, end (10 ms grid, in order, not empty) and probability; `speaker` stays None.

    A window that looks like a loop is left out and reported in `doubts` with its text. Unsure words, and
    words whose times are only estimated, are reported, too, but stay.
    """

    name: ClassVar[str] = "transformers_asr"
    stage: ClassVar[Stage] = "transcribe"
    Params: ClassVar[type] = TransformersAsrParams
    behaviour: ClassVar[int] = 1

    @classmethod
    def remotes(cls, params: TransformersAsrParams) -> tuple[RemoteWeights, ...]:
        """The folder of the model, and that of the aligner where there is one."""
        models = [params.model, *([params.aligner] if params.aligner else [])]
        return tuple(remote_of(model, cls.name) for model in models)

    @classmethod
    def identify(cls, params: TransformersAsrParams = TransformersAsrParams()) -> str:
        """Revision from the library's version and the hashes of the models' folders."""
        model, *aligner = cls.remotes(params)
        parts = [revision_of(cls.behaviour, model, params.sha256)]
        return "+".join([*parts, *(revision_of(cls.behaviour, remote, None) for remote in aligner)])

    def __init__(
        self, params: TransformersAsrParams = TransformersAsrParams(), device: str = "cpu", threads: int = 1
    ):
        self.params, self.threads = params, threads
        self.revision = self.identify(params)
        model, *aligner = (locate(remote) for remote in self.remotes(params))
        kind = kind_of(config_of(model).model_type)
        self._opened = self._open(model, kind, device)
        self._transcribe = partial(KINDS[kind], self._opened)
        self._aligner = self._open(aligner[0], "ctc", device) if aligner else None
        self._fixed = kind == "whisper"  # its front end pads every window to 30 s

    def _open(self, folder: Path, kind: str, device: str) -> Opened:
        from transformers import AutoProcessor

        model = open_model(auto_class(kind, config_of(folder).model_type), folder, self.params.dtype, device)
        processor = open_processor(AutoProcessor, folder)
        rate = int(processor.feature_extractor.sampling_rate)
        return Opened(model, processor, rate, self.params.language, self.params.max_tokens)

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        """Transcribe the clips window by window, several at a time."""
        import torch

        torch.set_num_threads(self.threads)
        signals = [mono(audio, self._opened.rate) for audio in batch]
        windows = [w for clip, signal in enumerate(signals) for w in self._windows(clip, signal)]
        by_clip: list[list[tuple[_Window, Transcript]]] = [[] for _ in batch]
        with torch.inference_mode():
            while windows:
                transcripts = self._transcripts(windows)
                for window, transcript in zip(windows, transcripts, strict=True):
                    by_clip[window.clip].append((window, transcript))
                windows = self._rests(windows, transcripts)
            return [self._output(audio, parts) for audio, parts in zip(batch, by_clip, strict=True)]

    def _windows(self, clip: int, signal: np.ndarray) -> list[_Window]:
        """A clip in windows that a model takes; those of digital silence are left out."""
        rate, windows, start = self._opened.rate, [], 0
        for end in cuts(signal, self.params.window_s * rate, rate):
            samples = signal[start:end]
            if np.any(samples):
                samples = at_least(samples, SHORTEST_MS * rate // 1000)
                windows.append(_Window(clip, start / rate, samples))
            start = end
        return windows

    def _rests(self, windows: Sequence[_Window], transcripts: Sequence[Transcript]) -> list[_Window]:
        """What follows where a model stopped of itself within a window."""
        rests = []
        for window, transcript in zip(windows, transcripts, strict=True):
            if transcript.ends is not None:
                samples = window.samples[round(transcript.ends * self._opened.rate) :]
                if np.any(samples):
                    rests.append(_Window(window.clip, window.start_s + transcript.ends, samples))
        return rests

    def _transcripts(self, windows: Sequence[_Window]) -> list[Transcript]:
        """What the model says of each window; calls are filled up, so that all have one shape."""
        size, transcripts = self.params.batch_size, []
        for i in range(0, len(windows), size):
            samples = [window.samples for window in windows[i : i + size]]
            count = len(samples)
            if size > 1 and not self._fixed:
                samples = [fit_length(s, self.params.window_s * self._opened.rate) for s in samples]
            transcripts += self._transcribe([*samples, *[samples[-1]] * (size - count)])[:count]
        return transcripts

    def _output(self, audio: Audio, parts: Sequence[tuple[_Window, Transcript]]) -> EngineOutput:
        words: list[Word] = []
        doubts: list[Disagreement] = []
        for window, transcript in sorted(parts, key=lambda part: part[0].start_s):
            timed = self._timed_words(window, transcript)
            grid = on_grid(timed, audio.duration_ms, self.params.shortest_word_ms)
            grid = tuple(w for w in grid if not words or w.start_ms >= words[-1].end_ms)
            if not grid:
                continue
            reasons, loops = self._reasons(grid, transcript)
            text = " ".join(word.text for word in grid)
            doubts += [
                Disagreement("transcribe", grid[0].start_ms, grid[-1].end_ms, text, r) for r in reasons
            ]
            words += () if loops else grid
        languages = [t.language for _, t in parts if t.language]
        language = max(languages, key=languages.count) if languages else self.params.language
        return EngineOutput(words=tuple(words), language=language, doubts=tuple(doubts))

    def _timed_words(self, window: _Window, transcript: Transcript) -> list[Any]:
        """The words of a window with their times in the clip."""
        pieces = transcript.pieces
        if not transcript.timed and self._aligner:
            samples = window.samples
            if self._aligner.rate != self._opened.rate:
                samples = mono(Audio(samples[None], self._opened.rate), self._aligner.rate)
            pieces = tuple(aligned(self._aligner, pieces, samples)) or pieces
        words = words_of(pieces)
        for word in words:
            word.start, word.end = word.start + window.start_s, word.end + window.start_s
        return words

    def _reasons(self, words: Sequence[Word], transcript: Transcript) -> tuple[list[str], bool]:
        """Why the words of a window are in doubt, and whether they are left out as a loop."""
        params, text = self.params, " ".join(word.text for word in words)
        ratio = len(text.encode()) / len(zlib.compress(text.encode()))
        mean = sum(word.score for word in words) / len(words)
        loops = is_loop(text, ratio, params.compression_ratio_threshold, params.most_repeats)
        reasons = [f"a loop (compression ratio {ratio:.1f})"] if loops else []
        if mean < params.unsure_below and not loops:
            reasons.append(f"unsure (mean probability {mean:.2f})")
        if not transcript.timed and not self._aligner and not loops:
            reasons.append("times estimated from the lengths of words; name an `aligner`")
        return reasons, loops


def cuts(signal: np.ndarray, longest: int, rate: int) -> list[int]:
    """Where pieces of a signal `(n,)` end, at most `longest` samples each: at the quietest 100 ms near."""
    ends, start, step = [], 0, rate // 10
    while len(signal) - start > longest:
        first = start + int(longest * (1 - SEARCHED))
        searched = signal[first : start + longest]
        power = np.square(searched[: len(searched) // step * step]).reshape(-1, step).mean(axis=1)
        start = first + int(power.argmin()) * step + step // 2
        ends.append(start)
    return [*ends, len(signal)]
