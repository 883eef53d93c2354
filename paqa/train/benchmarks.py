"""Questions of MMAU, MMAR and MMSU, and answers under their own keys, so that their scorers run unchanged.

MMAU (Sakshi et al. 2024) and MMAR (Ma et al. 2025) look for the words of `answer` in what is written, and for
no words of the other choices; MMSU (Wang et al. 2025) compares a letter. Written is the choice that an answer
names by the rule of our own accuracy, so that both agree. A question whose answer names no choice, or
several, still gets its key, empty, which all scorers count as wrong; so does one that could not be asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paqa import audio
from paqa.config.recipe import AudioConfig
from paqa.errors import Rejected
from paqa.rationale import answers
from paqa.rationale.prompt import PromptQuestion
from paqa.sources import json_reading
from paqa.storage.store import write_atomically
from paqa.text import normal
from paqa.train.config import EvalConfig
from paqa.train.model import RATE
from paqa.types import Item

PATHS = ("audio_path", "audio_id", "audio", "path")
KEYS = {"mmau": ("model_output", "model_prediction"), "mmar": ("answer_prediction",), "mmsu": ("response",)}


@dataclass(frozen=True)
class EvalQuestion:
    """A question with its answer, a way to load its audio, and its origin: a benchmark's row, or an item."""

    asked: PromptQuestion
    answer_index: int | None
    answer: str
    listen: Callable[[], np.ndarray]
    raw: dict[str, Any]
    item: Item | None = None
    parts: tuple[str, ...] = ()  # of the questions that it belongs to, each with figures of its own

    @property
    def task(self) -> str:
        return self.item.task if self.item else str(self.raw.get("task") or self.raw.get("category") or "all")

    @property
    def subsets(self) -> tuple[str, ...]:
        return self.item.subsets if self.item else ()

    @property
    def clip(self) -> str:
        return self.item.clip_id if self.item else self.asked.id


@dataclass(frozen=True)
class Unasked:
    """A row that cannot be asked: where it stands, why, and what it holds where it is an object."""

    where: str
    reason: str
    detail: str
    raw: dict[str, Any] | None = None


def read(config: EvalConfig) -> tuple[list[EvalQuestion], list[Unasked]]:
    """A benchmark's questions, from a JSON list or JSONL, and the rows that hold none.

    Raises PaqaError where the file cannot be read. Whether the audio is there `decodable` tells.
    """
    path = Path(config.questions)
    root = Path(config.audio_root) if config.audio_root else path.parent
    expected = f"expected the questions of {config.benchmark}, a JSON list or one JSON object a line"
    asked: list[EvalQuestion] = []
    unasked: list[Unasked] = []
    for number, (where, row) in enumerate(json_reading.objects(path, str(path), expected, json.loads)):
        try:
            if isinstance(row, Rejected):
                raise row
            asked.append(_asking(row, number, root))
        except Rejected as error:
            unasked.append(
                Unasked(where, error.reason, error.detail, None if isinstance(row, Rejected) else row)
            )
    return asked, unasked


def decodable(asked: Iterable[EvalQuestion]) -> tuple[list[EvalQuestion], list[Unasked]]:
    """The questions whose audio decodes, and the others; every file is decoded once for that."""
    kept: list[EvalQuestion] = []
    unasked: list[Unasked] = []
    for a in asked:
        try:
            a.listen()
            kept.append(a)
        except Rejected as error:
            unasked.append(Unasked(a.asked.id, error.reason, error.detail, a.raw))
    return kept, unasked


def _asking(row: dict[str, Any], number: int, root: Path) -> EvalQuestion:
    lettered_choices = [row[k] for k in ("choice_a", "choice_b", "choice_c", "choice_d") if row.get(k)]
    choices_of_row = row.get("choices") or lettered_choices
    choices = tuple(str(c) for c in choices_of_row) if isinstance(choices_of_row, list) else ()
    audio_path = next((str(row[k]) for k in PATHS if row.get(k)), None)
    answer = row.get("answer", row.get("answer_gt"))
    if not (isinstance(row.get("question"), str) and audio_path and len(choices) > 1 and answer is not None):
        needs = (
            "question, choices (or choice_a to choice_d), answer (or answer_gt) and audio_path (or audio_id)"
        )
        raise Rejected("bad_row", f"found {', '.join(row)}; expected {needs}")
    asked = PromptQuestion(str(row.get("id", number)), row["question"], choices)
    path = root / audio_path

    def listen() -> np.ndarray:
        """Mono samples at 16 kHz."""
        return audio.decode(path, AudioConfig(rate=RATE, min_clip_ms=0)).samples.mean(0)

    index = _index(str(answer), choices)
    return EvalQuestion(asked, index, choices[index], listen, row)


def _index(answer: str, choices: tuple[str, ...]) -> int:
    """The choice that an answer names by its text, or by a letter that is no choice's text."""
    matches = [i for i, c in enumerate(choices) if normal(c) == normal(answer)]
    letter = answer.strip(" ().").upper()
    if not matches and len(letter) == 1 and 0 <= ord(letter) - ord("A") < len(choices):
        matches = [ord(letter) - ord("A")]
    if not matches:
        raise Rejected("bad_row", f"the answer {answer!r} is none of {list(choices)}")
    return matches[0]


def write(
    config: EvalConfig,
    path: Path,
    asked: Sequence[EvalQuestion],
    completions: Sequence[str],
    unasked: Sequence[Unasked] = (),
) -> None:
    """The benchmark's rows with the answers under its keys: the chosen text, or its letter (MMSU).

    `completions` are as they were sampled, one a question.
    """
    rows = []
    keys = KEYS[config.benchmark]
    for a, text in zip(asked, completions, strict=True):
        index = answers.chosen(answers.answer_text(text) or "", a.asked.choices)
        written = ""
        if index is not None:
            written = chr(ord("A") + index) if config.benchmark == "mmsu" else a.asked.choices[index]
        extra = {"thinking_prediction": text} if config.benchmark == "mmar" else {}
        rows.append({**a.raw, **extra, **dict.fromkeys(keys, written)})
    rows += [{**u.raw, **dict.fromkeys(keys, "")} for u in unasked if u.raw is not None]
    as_lines = config.benchmark == "mmsu"
    if as_lines:
        path = path.with_suffix(".jsonl")
        body = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    else:
        body = json.dumps(rows, ensure_ascii=False)
    write_atomically(path, body.encode("utf-8", "replace") + b"\n")
