"""Questions of published benchmarks, and answers under their own keys, so that their scorers run unchanged.

MMAU (Sakshi et al. 2024) and MMAR (Ma et al. 2025) look for the words of `answer` in what is written, and for
no words of the other choices; MMSU (Wang et al. 2025) and MSU-Bench compare a letter. Written is the choice
that an answer names by the rule of our own accuracy, so that both agree. A question whose answer names no
choice, or several, still gets its key, empty, which all scorers count as wrong; so does one that could not be
asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from paqa import audio
from paqa.config.recipe import AudioConfig
from paqa.errors import Rejected
from paqa.evaluation import msu_bench
from paqa.rationale import answers
from paqa.rationale.prompt import PromptQuestion
from paqa.sources import benchmark_rows
from paqa.sources.answer_choices import listed
from paqa.sources.benchmark_rows import first
from paqa.storage.store import write_atomically
from paqa.text import normal
from paqa.types import Item

PATHS = ("audio_path", "audio_id", "audio", "path")
ANSWERS = ("answer", "answer_gt")


@dataclass(frozen=True)
class Benchmark:
    """How a benchmark's scorer reads answers: from which keys, as a letter or as words, from which file.

    `release` is the one that its rows and scorer were read of.
    """

    release: str
    keys: tuple[str, ...]
    letter: bool = False
    form: Literal["json", "jsonl", "parquet", "folder"] = "json"


BENCHMARKS = {
    "mmau": Benchmark("MMAU v05.15.25", ("model_output", "model_prediction")),
    "mmau_pro": Benchmark("MMAU-Pro, test.parquet of August 2025", ("model_output",), form="parquet"),
    "mmar": Benchmark("MMAR, with the rubrics of 2026", ("answer_prediction",)),
    "mmsu": Benchmark("MMSU", ("response",), letter=True, form="jsonl"),
    "adqa": Benchmark("DCASE 2026 Task 5 (ADQA)", ("answer_prediction",), form="jsonl"),
    "msu_bench": Benchmark("MSU-Bench of 2026", ("reference_result",), letter=True, form="folder"),
}


@dataclass(frozen=True)
class EvalQuestion:
    """A question with its answer, a way to load its audio, and its origin: a benchmark's row, or an item.

    A benchmark may keep its answers: then `answer_index` is None, though there are choices. `order` counts
    the orders of choices in which one question is asked, from 0, its own.
    """

    asked: PromptQuestion
    answer_index: int | None
    answer: str
    listen: Callable[[], np.ndarray]
    raw: dict[str, Any]
    item: Item | None = None
    parts: tuple[str, ...] = ()  # of the questions that it belongs to, each with figures of its own
    order: int = 0

    @property
    def task(self) -> str:
        return self.item.task if self.item else str(self.raw.get("task") or self.raw.get("category") or "all")

    @property
    def subsets(self) -> tuple[str, ...]:
        return self.item.subsets if self.item else ()

    @property
    def clip(self) -> str:
        return self.item.clip_id if self.item else self.asked.id

    @property
    def scored(self) -> bool:
        """Whether its answer is known."""
        return self.answer_index is not None or not self.asked.choices


@dataclass(frozen=True)
class Unasked:
    """A row that cannot be asked: where it stands, why, and what it holds where it is an object."""

    where: str
    reason: str
    detail: str
    raw: dict[str, Any] | None = None


def read(name: str, path: Path, root: Path, rate: int) -> tuple[list[EvalQuestion], list[Unasked]]:
    """A benchmark's questions and the rows that hold none; audio is below `root`, and listened to at `rate`.

    Raises PaqaError where the file cannot be read. Whether the audio is there `decodable` tells.
    """
    asked: list[EvalQuestion] = []
    unasked: list[Unasked] = []
    for number, (where, row) in enumerate(_rows(name, path)):
        try:
            if isinstance(row, Rejected):
                raise row
            asked.append(_question(row, number, root, rate))
        except Rejected as error:
            unasked.append(
                Unasked(where, error.reason, error.detail, None if isinstance(row, Rejected) else row)
            )
    return asked, unasked


def origin(name: str, path: Path, rows: int) -> dict[str, str | int]:
    """What figures of a benchmark are of: its release as paqa knows it, the file and its SHA-256."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    sha256 = hashlib.sha256()
    for file in files:
        sha256.update(file.read_bytes())
    release = BENCHMARKS[name].release
    return {
        "benchmark": name,
        "release": release,
        "file": path.name,
        "sha256": sha256.hexdigest(),
        "rows": rows,
    }


def _rows(name: str, path: Path) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    expected = f"expected the questions of {name}, a JSON list or one JSON object a line"
    if BENCHMARKS[name].form == "folder":
        return msu_bench.rows(path)
    return benchmark_rows.rows(path, str(path), expected)


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


def _question(row: dict[str, Any], number: int, root: Path, rate: int) -> EvalQuestion:
    text, path = benchmark_rows.question(row), first(row, PATHS)
    recordings = path if isinstance(path, list) else [path]
    if not isinstance(text, str) or not isinstance(recordings[0], str):
        needs = "question, choices (or choice_a to choice_d), answer (or answer_gt) and audio_path"
        raise Rejected("bad_row", f"found {', '.join(row)}; expected {needs} (or audio_id)")
    if len(recordings) > 1:
        raise Rejected("several_recordings", f"asks about {len(recordings)} recordings; expected one")
    offered = benchmark_rows.choices(row)
    if not offered:
        raise Rejected("no_choices", "has no choices; only a judge could say whether free text is right")
    choices = tuple(listed(offered))
    if len(choices) < 2:
        raise Rejected("bad_row", f"found choices {offered!r}; expected a list of at least two")
    answer = first(row, ANSWERS)
    index = None if answer is None else _index(str(answer), choices)
    file, span = root / recordings[0], row.get(msu_bench.SPAN)

    def listen() -> np.ndarray:
        """Mono samples at `rate`."""
        samples = audio.decode(file, AudioConfig(rate=rate, min_clip_ms=0)).samples.mean(0)
        return samples[round(span[0] * rate) : round(span[1] * rate)] if span else samples

    asked = PromptQuestion(str(row.get("id", row.get("unique_id", number))), text, choices)
    return EvalQuestion(asked, index, "" if index is None else choices[index], listen, row)


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
    name: str,
    path: Path,
    asked: Sequence[EvalQuestion],
    completions: Sequence[str],
    unasked: Sequence[Unasked] = (),
) -> None:
    """The benchmark's rows with the answers under its keys: the chosen text as the row has it, or its letter.

    `completions` are as they were sampled, one a question. `path` ends as the benchmark's files do.
    """
    benchmark = BENCHMARKS[name]
    rows = []
    for a, text in zip(asked, completions, strict=True):
        index = answers.chosen(answers.answer_text(text) or "", a.asked.choices)
        written = "" if index is None else _written(a, index, benchmark.letter)
        extra = {"thinking_prediction": text} if name == "mmar" else {}
        rows.append({**a.raw, **extra, **dict.fromkeys(benchmark.keys, written)})
    rows += [{**u.raw, **dict.fromkeys(benchmark.keys, "")} for u in unasked if u.raw is not None]
    if benchmark.form == "folder":
        msu_bench.write(path.with_suffix(""), rows, benchmark.keys[0])
    elif benchmark.form == "parquet":
        _write_table(path.with_suffix(".parquet"), rows)
    elif benchmark.form == "jsonl":
        body = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        write_atomically(path.with_suffix(".jsonl"), body.encode("utf-8", "replace") + b"\n")
    else:
        body = json.dumps(rows, ensure_ascii=False)
        write_atomically(path, body.encode("utf-8", "replace") + b"\n")


def _written(a: EvalQuestion, index: int, letter: bool) -> str:
    offered = benchmark_rows.choices(a.raw)
    if letter:
        return chr(ord("A") + index)
    return str(offered[index]) if isinstance(offered, list) else a.asked.choices[index]


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
