"""Transcribe with openai-whisper: any of its models, with word timestamps, many clips at a time.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022). The library's
`transcribe` takes one file after another and encodes every window twice, for the words and for their times.
Here each window is encoded once and windows of several clips are decoded together; the words are the same.
Batches always have the same shape, so a clip's words do not depend on the others of its batch.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta

from paqa.engines._signal import mono
from paqa.engines._whisper import Aligner, batched_decoding_task, beam_sharing_attention
from paqa.engines._words import is_loop, on_grid
from paqa.engines.base import (
    Amount,
    AtLeastOne,
    EngineOutput,
    LogProb,
    Temperature,
    Weights,
    Width,
    not_in_key,
)
from paqa.engines.weights import RemoteWeights, locate, resolve_model, revision, torch_load, trusted
from paqa.errors import PaqaError
from paqa.types import Audio, Disagreement, Stage, Unit

BEHAVIOUR = 1  # raise it when the same weights and parameters would give other words
RATE, HOP, WINDOW = 16_000, 160, 3000  # Hz; samples a frame; frames that the model takes at a time (30 s)
STEP_S = 0.02  # seconds that a timestamp token counts: two frames
LEAST_STEP = 100  # frames that a window moves on at least
CPU_BATCH, GPU_BATCH = 4, 16  # windows decoded together


@dataclass(frozen=True)
class WhisperParams:
    """Decoding is at temperature 0 and without the previous text: reproducible, and loops do not go on."""

    model: str = not_in_key("large-v3-turbo")  # a name of the library's, or a path to its kind of checkpoint
    sha256: str | None = not_in_key(None)  # refuse other weights
    allow_pickle: bool = not_in_key(False)  # open checkpoints that hold more than tensors
    # windows at once; None: 4 on a CPU, 16 on a GPU
    batch_size: Annotated[int, Meta(ge=1)] | None = not_in_key(None)
    language: str | None = None  # "en"; None: detected clip by clip
    beam_size: AtLeastOne = 5  # hypotheses kept; 1 is greedy
    # temperatures tried where the limits below are passed, seeded by the clip
    fallback: tuple[Temperature, ...] = ()
    # windows with a higher no-speech probability and a low log-probability are silent
    no_speech_threshold: Unit = 0.6
    log_prob_threshold: LogProb = -1.0  # mean log-probability of tokens below which words are in doubt
    # gzip ratio of a window's text above which it is taken for a loop
    compression_ratio_threshold: Amount = 2.4
    most_repeats: AtLeastOne = 5  # the same words so often in a row are taken for a loop
    shortest_word_ms: Width = 60  # whisper leaves many words without width


class Segment(NamedTuple):
    """A piece of a window between two timestamps, in seconds from the start of the clip."""

    start: float
    end: float
    tokens: list[int]


@dataclass
class _Clip:
    """How far one clip has been transcribed."""

    mel: Any  # torch (mels, frames + 3000)
    seed: int
    language: str | None
    seek: int = 0
    last_speech: float = 0.0
    timed: list[Any] = field(default_factory=list)
    doubts: list[Disagreement] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return int(self.mel.shape[-1]) - WINDOW

    @property
    def size(self) -> int:
        """Frames of the clip in the current window."""
        return min(WINDOW, self.frames - self.seek)

    def doubt(self, start_s: float, end_s: float, text: str, why: str) -> None:
        """Record words that are not trusted."""
        span = round(start_s * 100) * 10, max(round(start_s * 100) * 10 + 10, round(end_s * 100) * 10)
        self.doubts.append(Disagreement("transcribe", *span, text, why))


class Whisper:
    """Words with start, end (10 ms grid, in order, not empty) and probability; `speaker` stays None.

    What looks like a hallucination is left out and reported in `doubts` with its text; unsure words are
    reported, too, but stay.
    """

    name: ClassVar[str] = "whisper"
    stage: ClassVar[Stage] = "transcribe"
    package: ClassVar[str] = "openai-whisper"
    Params: ClassVar[type] = WhisperParams
    gpu_precision: ClassVar[str | None] = "float16"
    weights: ClassVar[tuple[Weights, ...]] = ()

    @classmethod
    def remotes(cls, params: WhisperParams) -> tuple[RemoteWeights, ...]:
        """The checkpoint, below the models folder as `whisper/NAME.pt`."""
        return (resolve_model(params.model, cls.name, published_models()),)

    @classmethod
    def identify(cls, params: WhisperParams = WhisperParams()) -> str:
        """Revision from the version of the library and the SHA-256 of the checkpoint."""
        return revision(BEHAVIOUR, cls.package, cls.remotes(params)[0], params.sha256)

    def __init__(self, params: WhisperParams = WhisperParams(), device: str = "cpu", threads: int = 1):
        self.params = params
        self.threads = threads
        self.revision = self.identify(params)
        (remote,) = self.remotes(params)
        path = locate(remote)
        self._model = load_model(path, device, trusted(params))
        self._half = device != "cpu"
        self._batch = params.batch_size or (CPU_BATCH if device == "cpu" else GPU_BATCH)

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        """Transcribe the clips window by window, several at a time."""
        import torch

        torch.set_num_threads(self.threads)  # of the whole process: another engine may have changed it
        with torch.inference_mode():
            clips = [self._start(audio) for audio in batch]
            while waiting := [clip for clip in clips if clip and clip.seek < clip.frames]:
                for language in sorted({str(clip.language) for clip in waiting}):
                    same = [clip for clip in waiting if str(clip.language) == language]
                    for i in range(0, len(same), self._batch):
                        self._run_window(same[i : i + self._batch])
        return [self._output(clip, audio) for clip, audio in zip(clips, batch, strict=True)]

    def _start(self, audio: Audio) -> _Clip | None:
        """The clip's log-mel spectrogram and its language; None for digital silence."""
        from whisper.audio import N_SAMPLES, log_mel_spectrogram

        signal = mono(audio, RATE)
        if not np.any(signal):
            return None
        mel = log_mel_spectrogram(signal, self._model.dims.n_mels, padding=N_SAMPLES)
        clip = _Clip(mel, int(hashlib.sha256(signal.tobytes()).hexdigest()[:15], 16), self.params.language)
        if clip.language is None and clip.frames > 0:
            clip.language = self._language(clip)
        return clip

    def _language(self, clip: _Clip) -> str:
        if not self._model.is_multilingual:
            return "en"
        _, (probabilities,) = self._model.detect_language(self._encode(clip))
        return str(max(probabilities, key=probabilities.get))

    def _encode(self, clip: _Clip) -> Any:
        """Features `(1, 1500, d)` of the current window; one clip at a time: they depend on no batch."""
        from whisper.audio import pad_or_trim

        window = pad_or_trim(clip.mel[:, clip.seek : clip.seek + clip.size], WINDOW).to(self._model.device)
        return self._model.encoder(window[None].half() if self._half else window[None])

    def _run_window(self, clips: list[_Clip]) -> None:
        """The next window of each clip."""
        features = [self._encode(clip) for clip in clips]
        for clip, feature, result in zip(
            clips, features, self._decode(features, clips[0].language), strict=False
        ):
            self._add_window(clip, feature, self._with_fallback(clip, feature, result))

    def _decode(self, features: list[Any], language: str | None, temperature: float = 0.0) -> list[Any]:
        """One `whisper.DecodingResult` a window, and more for the copies of the last that fill the batch."""
        import torch
        from whisper.decoding import DecodingOptions

        beams = self.params.beam_size if self.params.beam_size > 1 and temperature == 0 else None
        options = DecodingOptions(
            language=language, beam_size=beams, temperature=temperature, fp16=self._half
        )
        filled = [*features, *[features[-1]] * (self._batch - len(features))]
        return list(batched_decoding_task()(self._model, options).run(torch.cat(filled)))

    def _with_fallback(self, clip: _Clip, feature: Any, result: Any) -> Any:
        """The result, or the first one at a higher temperature that keeps the limits."""
        import torch

        for temperature in self.params.fallback:
            if not (self._repeats(result) or self._unsure(result)) or self._silent(result):
                break
            torch.manual_seed(clip.seed + clip.seek)
            result = self._decode([feature], clip.language, temperature)[0]
        return result

    def _silent(self, result: Any) -> bool:
        return bool(result.no_speech_prob > self.params.no_speech_threshold) and self._unsure(result)

    def _unsure(self, result: Any) -> bool:
        return bool(result.avg_logprob < self.params.log_prob_threshold)

    def _repeats(self, result: Any) -> bool:
        p = self.params
        return is_loop(
            result.text, float(result.compression_ratio), p.compression_ratio_threshold, p.most_repeats
        )

    def _add_window(self, clip: _Clip, feature: Any, result: Any) -> None:
        """Add the words of a window to its clip, or the reason why they are left out, and move on."""
        start, end = clip.seek * HOP / RATE, (clip.seek + clip.size) * HOP / RATE
        if self._silent(result):
            if result.text:
                clip.doubt(start, end, result.text, f"no speech (probability {result.no_speech_prob:.2f})")
            clip.seek += clip.size
            return
        tokenizer = self._tokenizer(clip.language)
        segments, whole = split_segments(result.tokens, tokenizer.timestamp_begin, start, end)
        timed = self._align(clip, feature, tokenizer, segments)
        if self._repeats(result):
            clip.doubt(start, end, result.text, f"a loop (compression ratio {result.compression_ratio:.1f})")
        else:
            clip.timed += timed
            if self._unsure(result) and timed:
                why = f"unsure (mean log-probability {result.avg_logprob:.2f})"
                clip.doubt(timed[0].start, timed[-1].end, result.text, why)
        speech_end = timed[-1].end if timed else 0.0
        step = round(speech_end * RATE / HOP) - clip.seek
        clip.seek += clip.size if whole or step < LEAST_STEP else step
        clip.last_speech = max(clip.last_speech, speech_end)

    def _tokenizer(self, language: str | None) -> Any:
        from whisper.tokenizer import get_tokenizer

        model = self._model
        return get_tokenizer(model.is_multilingual, num_languages=model.num_languages, language=language)

    def _align(self, clip: _Clip, feature: Any, tokenizer: Any, segments: list[Segment]) -> list[Any]:
        """The segments' words with their times in seconds, by the library's alignment of cross-attention."""
        from whisper.timing import add_word_timestamps

        model = self._model
        aligner = Aligner(model.decoder, model.device, model.dims, model.alignment_heads)
        aligned = [{"seek": clip.seek, **segment._asdict()} for segment in segments]
        add_word_timestamps(
            segments=aligned,
            model=aligner,
            tokenizer=tokenizer,
            mel=feature[0],
            num_frames=clip.size,
            last_speech_timestamp=clip.last_speech,
        )
        return [SimpleNamespace(**word) for segment in aligned for word in segment.get("words", ())]

    def _output(self, clip: _Clip | None, audio: Audio) -> EngineOutput:
        if clip is None:
            return EngineOutput(language=self.params.language)
        words = on_grid(clip.timed, audio.duration_ms, self.params.shortest_word_ms)
        last = audio.duration_ms // 10 * 10
        doubts = tuple(d for d in clip.doubts if d.start_ms < d.end_ms <= last)
        return EngineOutput(words=words, language=clip.language, doubts=doubts)


def split_segments(tokens: Sequence[int], first: int, start: float, end: float) -> tuple[list[Segment], bool]:
    """The segments of a window `[start, end)` in s, and whether they reach to its end.

    Timestamp tokens count from `first` in steps of 20 ms. Two in a row end a segment and begin the next; what
    follows the last pair is unfinished and is left to the next window, unless the window ends with a single
    timestamp.
    """
    stamps = [token >= first for token in tokens]
    pairs = [i for i in range(1, len(tokens)) if stamps[i - 1] and stamps[i]]
    single = stamps[-2:] == [False, True]

    def at(token: int) -> float:
        return start + (token - first) * STEP_S

    if not pairs:
        if not tokens:
            return [], True
        timestamps = [token for token in tokens if token > first]
        return [Segment(start, at(timestamps[-1]) if timestamps else end, list(tokens))], True
    edges = [0, *pairs, *[len(tokens)] * single]
    parts = [tokens[a:b] for a, b in pairwise(edges)]
    return [Segment(at(part[0]), at(part[-1]), list(part)) for part in parts], single


@cache
def _library() -> dict[str, Any]:
    """The tables of published models in the installed library, read without importing it (and so torch)."""
    try:
        source = importlib.metadata.distribution("openai-whisper").locate_file("whisper/__init__.py")
    except importlib.metadata.PackageNotFoundError:
        raise PaqaError(
            "package 'openai-whisper' is not installed; run: uv pip install 'paqa[paper]'"
        ) from None
    tree = ast.parse(Path(str(source)).read_text(encoding="utf-8"))
    tables = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("_MODELS", "_ALIGNMENT_HEADS"):
                tables[name] = ast.literal_eval(node.value)
    return tables


def published_models() -> dict[str, RemoteWeights]:
    """The library's models by name; each address holds the SHA-256 of its file."""
    models = {}
    for name, url in _library().get("_MODELS", {}).items():
        sha256, file = url.split("/")[-2:]
        page = "https://github.com/openai/whisper"
        models[name] = RemoteWeights(
            f"whisper/{file}", f"whisper {name}", "MIT", page, url=url, sha256=sha256
        )
    return models


def load_model(path: Path, device: str, allow_pickle: bool) -> Any:
    """The model of a checkpoint `{dims, model_state_dict}` whose beams share keys and values of the audio."""
    from whisper.model import ModelDimensions
    from whisper.model import Whisper as Model

    checkpoint = torch_load(path, (), allow_pickle)
    model = Model(ModelDimensions(**checkpoint["dims"]))
    model.load_state_dict(checkpoint["model_state_dict"])
    if heads := _library()["_ALIGNMENT_HEADS"].get(path.stem):
        model.set_alignment_heads(heads)
    for block in model.decoder.blocks:
        block.cross_attn = beam_sharing_attention()(block.cross_attn)
    return model.to(device).half().eval() if device != "cpu" else model.eval()
