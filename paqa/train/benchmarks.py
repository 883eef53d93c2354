"""MMAU, MMAR and MMSU: their own questions in, their own answer keys out, so that their scorers run
unchanged.

MMAU (Sakshi et al. 2024) and MMAR (Ma et al. 2025) compare words with `answer`; MMSU (Wang et al. 2025) reads
a letter. A question whose answer cannot be parsed still gets its key, empty, so that no scorer leaves it out
of the denominator; so does one that could not be asked.
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
from paqa.rationale import rewards
from paqa.rationale.prompt import PromptQuestion
from paqa.sources import json_lines
from paqa.storage.store import write_atomically
from paqa.text import normal
from paqa.train.config import EvalConfig
from paqa.train.model import RATE
from paqa.types import Item

PATHS = ("audio_path", "audio_id", "audio", "path")
KEYS = {"mmau": ("model_output", "model_prediction"), "mmar": ("answer_prediction",), "mmsu": ("response",)}


@dataclass(frozen=True)
class Asking:
    """A question with its answer, a way to hear it, and where it comes from: a benchmark's row, or an
    item.
    """

    asked: PromptQuestion
    answer_index: int | None
    answer: str
    listen: Callable[[], np.ndarray]
    raw: dict[str, Any]
    item: Item | None = None

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


def read(config: EvalConfig) -> tuple[list[Asking], list[Unasked]]:
    """A benchmark's questions, from a JSON list or JSONL, and the rows that hold none.

    Raises PaqaError where the file cannot be read. Whether the audio is there `decodable` tells.
    """
    path = Path(config.questions)
    root = Path(config.audio_root) if config.audio_root else path.parent
    wanted = f"expected the questions of {config.benchmark}, a JSON list or one JSON object a line"
    asked: list[Asking] = []
    unasked: list[Unasked] = []
    for number, (where, row) in enumerate(json_lines.objects(path, str(path), wanted, json.loads)):
        try:
            if isinstance(row, Rejected):
                raise row
            asked.append(_asking(row, number, root))
        except Rejected as error:
            unasked.append(
                Unasked(where, error.reason, error.detail, None if isinstance(row, Rejected) else row)
            )
    return asked, unasked


def decodable(asked: Iterable[Asking]) -> tuple[list[Asking], list[Unasked]]:
    """The questions whose audio decodes, and the others; every file is decoded once for that."""
    kept: list[Asking] = []
    unasked: list[Unasked] = []
    for a in asked:
        try:
            a.listen()
            kept.append(a)
        except Rejected as error:
            unasked.append(Unasked(a.asked.id, error.reason, error.detail, a.raw))
    return kept, unasked


def _asking(row: dict[str, Any], number: int, root: Path) -> Asking:
    lettered = [row[k] for k in ("choice_a", "choice_b", "choice_c", "choice_d") if row.get(k)]
    given_choices = row.get("choices") or lettered
    choices = tuple(str(c) for c in given_choices) if isinstance(given_choices, list) else ()
    place = next((str(row[k]) for k in PATHS if row.get(k)), None)
    given = row.get("answer", row.get("answer_gt"))
    if not (isinstance(row.get("question"), str) and place and len(choices) > 1 and given is not None):
        needs = (
            "question, choices (or choice_a to choice_d), answer (or answer_gt) and audio_path (or audio_id)"
        )
        raise Rejected("bad_row", f"found {', '.join(row)}; expected {needs}")
    asked = PromptQuestion(str(row.get("id", number)), row["question"], choices)
    file = root / place

    def listen() -> np.ndarray:
        return audio.decode(file, AudioConfig(rate=RATE, min_clip_ms=0)).samples.mean(0)

    index = _index(str(given), choices)
    return Asking(asked, index, choices[index], listen, row)


def _index(given: str, choices: tuple[str, ...]) -> int:
    """The choice that an answer names by its text, or by a letter that is no choice's text."""
    same = [i for i, c in enumerate(choices) if normal(c) == normal(given)]
    letter = given.strip(" ().").upper()
    if not same and len(letter) == 1 and 0 <= ord(letter) - ord("A") < len(choices):
        same = [ord(letter) - ord("A")]
    if not same:
        raise Rejected("bad_row", f"the answer {given!r} is none of {list(choices)}")
    return same[0]


def write(
    config: EvalConfig,
    path: Path,
    asked: Sequence[Asking],
    said: Sequence[str],
    unasked: Sequence[Unasked] = (),
) -> None:
    """The benchmark's rows with the answers under its own keys: the choice's exact text, or the letter
    (MMSU).
    """
    rows = []
    keys = KEYS[config.benchmark]
    for a, text in zip(asked, said, strict=True):
        given = rewards.answer_of(text)
        ok = given is not None and given.index is not None and given.index < len(a.asked.choices)
        index = given.index if ok and given is not None else None
        plain = (
            "" if index is None else chr(65 + index) if config.benchmark == "mmsu" else a.asked.choices[index]
        )
        extra = {"thinking_prediction": text} if config.benchmark == "mmar" else {}
        rows.append({**a.raw, **extra, **dict.fromkeys(keys, plain)})
    rows += [{**u.raw, **dict.fromkeys(keys, "")} for u in unasked if u.raw is not None]
    lined = config.benchmark == "mmsu"
    body = (
        "\n".join(json.dumps(r, ensure_ascii=False) for r in rows)
        if lined
        else json.dumps(rows, ensure_ascii=False)
    )
    write_atomically(path.with_suffix(".jsonl") if lined else path, body.encode("utf-8", "replace") + b"\n")
