"""Kinds of speech-recognition models of `transformers`, each from a window of audio to words with times.

Whisper gives token times itself, CTC and transducer models the frame of each token. Others give text alone:
its times come from an aligner, a CTC model that the recipe names, else from the lengths of the words.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import numpy as np

from paqa.engines._transformers import on_device
from paqa.errors import PaqaError
from paqa.spans import from_frames

SPACES = ("\u2581", "|", "\u0120")  # how tokenizers write the space before a word
LONGEST_WORD_S = 2.0  # a longer one has taken in the pause beside it
STAMP_S = 0.02  # seconds that a timestamp token of Whisper counts
UNHEARD_S = 1.0  # of a window's end that is transcribed again where Whisper stopped before it
QUIET_DB = 35.0  # below the loudest 20 ms of a window: no speech, where times are estimated


@dataclass(frozen=True)
class Piece:
    """A token's text, with a space before it where a word begins; times in s from the window's start."""

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class Transcript:
    """What a model says of one window.

    `timed` is whether its times are measured rather than estimated, `ends` the second where it stopped of
    itself before the end of the window; None where it did not.
    """

    pieces: tuple[Piece, ...]
    language: str | None = None
    timed: bool = True
    ends: float | None = None


@dataclass(frozen=True)
class Opened:
    """A model with its processor, and what decides how it is asked."""

    model: Any
    processor: Any
    rate: int
    language: str | None
    max_tokens: int

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def extractor(self) -> Any:
        return self.processor.feature_extractor


def kind_of(model_type: str) -> str:
    """`whisper`, `ctc`, `transducer` or `text`; PaqaError for what is no speech recognition."""
    from transformers.models.auto import modeling_auto as auto

    if model_type == "whisper":
        return "whisper"
    if model_type in auto.MODEL_FOR_CTC_MAPPING_NAMES:
        return "ctc"
    if model_type in (*auto.MODEL_FOR_TDT_MAPPING_NAMES, *auto.MODEL_FOR_RNNT_MAPPING_NAMES):
        return "transducer"
    if model_type in (
        *auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
        *auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    ):
        return "text"
    raise PaqaError(
        f"engine transformers_asr: {model_type!r} is no kind of speech recognition of transformers"
    )


def auto_class(kind: str, model_type: str) -> Any:
    """The class that opens a model of this kind."""
    import transformers
    from transformers.models.auto import modeling_auto as auto

    if kind == "ctc":
        return transformers.AutoModelForCTC
    if kind == "transducer":
        tdt = model_type in auto.MODEL_FOR_TDT_MAPPING_NAMES
        return transformers.AutoModelForTDT if tdt else transformers.AutoModelForRNNT
    if model_type in auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES:
        return transformers.AutoModelForSpeechSeq2Seq
    return transformers.AutoModelForMultimodalLM


def recorder() -> Any:
    """A logits processor that keeps the probability of the likeliest token of each step `(batch,)`."""
    from transformers import LogitsProcessor

    class Recorder(LogitsProcessor):
        def __init__(self) -> None:
            self.steps: list[Any] = []

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            self.steps.append(scores.float().softmax(-1).amax(-1).cpu())
            return scores

        def of(self, row: int) -> list[float]:
            return [float(step[row]) for step in self.steps]

    return Recorder()


def features(opened: Opened, windows: Sequence[np.ndarray], **options: Any) -> dict[str, Any]:
    """The front end's tensors of windows of one length."""
    inputs = opened.extractor(
        list(windows), sampling_rate=opened.rate, return_tensors="pt", return_attention_mask=True, **options
    )
    return on_device(inputs, opened.model)


def whisper(opened: Opened, windows: Sequence[np.ndarray]) -> list[Transcript]:
    """Whisper, greedily; its token times are from its cross-attention."""
    inputs, record = features(opened, windows), recorder()
    languages = _languages(opened, inputs)
    output = opened.model.generate(
        **inputs,
        return_timestamps=True,
        return_token_timestamps=True,
        return_dict_in_generate=True,
        force_unique_generate_call=True,
        num_beams=1,
        do_sample=False,
        logits_processor=[record],
        **({"language": languages, "task": "transcribe"} if languages[0] else {}),
    )
    transcripts = []
    for row, language in enumerate(languages):
        tokens = output["sequences"][row].tolist()
        ends = [float(t) for t in output["token_timestamps"][row]]
        scores = [1.0] * (len(tokens) - len(record.steps)) + record.of(row)
        pieces = _text_pieces(opened.tokenizer, tokens, [0.0, *ends[:-1]], ends, scores)
        seconds = len(windows[row]) / opened.rate
        inside = tuple(
            Piece(p.text, p.start, min(p.end, seconds), p.probability) for p in pieces if p.start < seconds
        )
        stop = _last_stamp(opened, tokens)
        ends_at = stop if 0 < stop < seconds - UNHEARD_S else None
        transcripts.append(Transcript(inside, language or "en", ends=ends_at))
    return transcripts


def _last_stamp(opened: Opened, tokens: Sequence[int]) -> float:
    """The second of Whisper's last timestamp token, 0 where there is none."""
    first = int(opened.model.generation_config.no_timestamps_token_id) + 1
    return max((token - first for token in tokens if token >= first), default=0) * STAMP_S


def _languages(opened: Opened, inputs: dict[str, Any]) -> list[str | None]:
    """The code of each window's language; None where the model has English alone."""
    count = len(inputs["input_features"])
    if not getattr(opened.model.generation_config, "is_multilingual", False):
        return [None] * count
    if opened.language:
        return [opened.language] * count
    tokens = opened.model.detect_language(inputs["input_features"])
    return [opened.tokenizer.decode([int(t)]).strip("<|>") for t in tokens.reshape(-1)]


def ctc(opened: Opened, windows: Sequence[np.ndarray]) -> list[Transcript]:
    """The likeliest token of each frame; a run of one token is one token."""
    probabilities, frame_s = ctc_probabilities(opened, windows)
    blank = opened.model.config.pad_token_id
    transcripts = []
    for rows, seconds in zip(probabilities, (len(w) / opened.rate for w in windows), strict=True):
        best, pieces, at = rows.argmax(axis=1), [], 0
        for token, group in groupby(best.tolist()):
            length = len(list(group))
            if token != blank:
                score = float(rows[at : at + length, token].max())
                text = _spaced(opened.tokenizer.convert_ids_to_tokens(token))
                pieces.append(Piece(text, at * frame_s, (at + length) * frame_s, score))
            at += length
        transcripts.append(Transcript(tuple(p for p in pieces if p.start < seconds), opened.language))
    return transcripts


def ctc_probabilities(opened: Opened, windows: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Of each frame the probability of each token `(windows, frames, tokens)`, and a frame's length in s."""
    logits = opened.model(**features(opened, windows)).logits.float().softmax(-1).cpu().numpy()
    return logits, len(windows[0]) / opened.rate / logits.shape[1]


def transducer(opened: Opened, windows: Sequence[np.ndarray]) -> list[Transcript]:
    """Parakeet's kinds: each token with the frame at which it is emitted, and how many it lasts."""
    record = recorder()
    output = opened.model.generate(**features(opened, windows), logits_processor=[record])
    frame_s = (
        opened.extractor.hop_length * opened.model.config.encoder_config.subsampling_factor / opened.rate
    )
    transcripts = []
    for row, window in enumerate(windows):
        tokens, steps = output.sequences[row].tolist(), output.durations[row].tolist()
        starts = [float(t) * frame_s for t in np.cumsum([0, *steps[:-1]])]
        ends = [start + max(1, n) * frame_s for start, n in zip(starts, steps, strict=True)]
        scores = [1.0] * (len(tokens) - len(record.steps)) + record.of(row)
        seconds = len(window) / opened.rate
        pieces = _text_pieces(
            opened.tokenizer, tokens, starts, ends, scores, opened.model.config.blank_token_id
        )
        inside = (
            Piece(p.text, p.start, min(p.end, seconds), p.probability) for p in pieces if p.start < seconds
        )
        transcripts.append(Transcript(tuple(inside), opened.language))
    return transcripts


def text_alone(opened: Opened, windows: Sequence[np.ndarray]) -> list[Transcript]:
    """Models that are asked for a transcription: Qwen3-ASR, Canary, Cohere, Voxtral, Moonshine and others."""
    inputs, record = _request(opened, windows), recorder()
    tokens = opened.model.generate(
        **inputs, max_new_tokens=opened.max_tokens, do_sample=False, num_beams=1, logits_processor=[record]
    )
    tokens = getattr(tokens, "sequences", tokens)
    if not opened.model.config.is_encoder_decoder and "input_ids" in inputs:
        tokens = tokens[:, inputs["input_ids"].shape[1] :]
    transcripts = []
    for row, window in enumerate(windows):
        text, language = _decoded(opened, tokens[row])
        mean = float(np.mean(record.of(row) or [0.0]))
        transcripts.append(Transcript(_estimated(text, window, opened.rate, mean), language, timed=False))
    return transcripts


def _request(opened: Opened, windows: Sequence[np.ndarray]) -> dict[str, Any]:
    """What a model is given: its processor's own request for a transcription, where it has one."""
    ask = getattr(opened.processor, "apply_transcription_request", None)
    call = ask or opened.processor
    takes = inspect.signature(call).parameters
    options: dict[str, Any] = (
        {"audio": list(windows)} if ask or "audio" in takes else {"raw_speech": list(windows)}
    )
    if opened.language:
        names = [n for n in ("language", "source_language") if n in takes]
        options |= dict.fromkeys(names, opened.language)
    elif "language" in takes and takes["language"].default is inspect.Parameter.empty:
        raise PaqaError(
            f"engine transformers_asr: {opened.model.config.model_type} wants a language; say "
            '`language = "en"` (or another code) in hear.transcribe.params'
        )
    if "model_id" in takes:
        options["model_id"] = opened.model.config.name_or_path
    if not ask:
        options |= {"sampling_rate": opened.rate, "return_tensors": "pt"}
    return on_device(call(**options), opened.model)


def _decoded(opened: Opened, tokens: Any) -> tuple[str, str | None]:
    """The text of tokens and the language, where the model states it."""
    if hasattr(opened.processor, "parse_output"):
        parsed = opened.processor.decode(tokens, return_format="parsed")
        return str(parsed["transcription"]).strip(), opened.language
    return str(opened.tokenizer.decode(tokens, skip_special_tokens=True)).strip(), opened.language


def _estimated(text: str, window: np.ndarray, rate: int, probability: float) -> tuple[Piece, ...]:
    """The words spread over what is loud of a window, each as long as its letters."""
    words, step = text.split(), rate // 50
    if not words:
        return ()
    power = (
        np.square(window[: max(1, len(window) // step) * step])
        .reshape(-1, min(step, len(window)))
        .mean(axis=1)
    )
    loud = from_frames((power > power.max() * 10 ** (-QUIET_DB / 10)).tolist(), 20)
    start, end = (loud[0][0] / 1000, loud[-1][1] / 1000) if loud else (0.0, len(window) / rate)
    edges = np.cumsum([0, *(len(word) + 1 for word in words)], dtype=float)
    times = start + edges / edges[-1] * (end - start)
    return tuple(
        Piece(f" {word}", float(a), float(b), probability)
        for word, a, b in zip(words, times[:-1], times[1:], strict=True)
    )


def _text_pieces(
    tokenizer: Any,
    tokens: Sequence[int],
    starts: Sequence[float],
    ends: Sequence[float],
    scores: Sequence[float],
    blank: int | None = None,
) -> list[Piece]:
    """The tokens that are text; bytes of one letter that are several tokens become one piece."""
    special, pieces, held = {*tokenizer.all_special_ids, blank}, [], []
    for token, start, end, score in zip(tokens, starts, ends, scores, strict=False):
        name = str(tokenizer.convert_ids_to_tokens(token))
        if token in special or (name.startswith("<|") and name.endswith("|>")):
            continue
        held.append((token, start, end, score))
        text = tokenizer.decode([t for t, *_ in held])
        if "\ufffd" in text and len(held) < 4:
            continue
        begins = str(tokenizer.convert_ids_to_tokens(held[0][0])).startswith(SPACES)
        text = f" {text.strip()}" if begins else text.strip()
        pieces.append(Piece(text, held[0][1], end, min(p for *_, p in held)))
        held = []
    return pieces


def _spaced(token: str) -> str:
    """A token's text with a space where its tokenizer means one."""
    for mark in SPACES:
        token = token.replace(mark, " ")
    return "" if token.startswith("<") and token.endswith(">") else token


def words_of(pieces: Iterable[Piece]) -> list[SimpleNamespace]:
    """Pieces as words with `word`, `start`, `end` in s and `probability`, the mean of their pieces.

    A word that has taken in a pause is cut: its end where a sentence ends there, else its start.
    """
    words: list[SimpleNamespace] = []
    opens = True
    for piece in pieces:
        if not piece.text.strip():
            opens = opens or bool(piece.text)
            continue
        if opens or piece.text.startswith(" ") or not words:
            words.append(SimpleNamespace(word=" ", start=piece.start, end=piece.end, scores=[]))
        last = words[-1]
        last.word += piece.text.strip()
        last.end = piece.end
        last.scores.append(piece.probability)
        opens = piece.text.endswith(" ")
    for word in words:
        if word.end - word.start > LONGEST_WORD_S and word.word.endswith((".", "?", "!")):
            word.end = word.start + LONGEST_WORD_S
        word.start = max(word.start, word.end - LONGEST_WORD_S)
        word.probability = sum(word.scores) / len(word.scores)
    return words


KINDS: dict[str, Callable[[Opened, Sequence[np.ndarray]], list[Transcript]]] = {
    "whisper": whisper,
    "ctc": ctc,
    "transducer": transducer,
    "text": text_alone,
}
