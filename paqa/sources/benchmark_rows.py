"""Rows of the question files that benchmarks publish, and where the question and its choices stand in a row.

MMAU, MMAU-Pro, MMAR, MMSU and AVQA name these columns differently. Files are JSON, JSON lines or Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from paqa.errors import PaqaError, Rejected
from paqa.sources import json_reading

TEXTS = ("question", "question_text")
CHOICES = ("choices", "multi_choice", "options")
LETTERED = "choice_"  # begins the names of columns of one choice each: choice_a to choice_d


def rows(path: Path, label: str, expected: str) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """Where each row stands, and the row, or why it is none; PaqaError where the file cannot be read.

    `label` is what messages call the file, `expected` what they say it should be.
    """
    if path.suffix == ".parquet":
        return _table_rows(path, label)
    return json_reading.objects(path, label, expected, json.loads)


def _table_rows(path: Path, label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        problem = str(error).splitlines()[0]
        raise PaqaError(f"{label} cannot be read ({problem}); expected Parquet") from None
    for number, row in enumerate(table.to_pylist()):
        yield f"{path.name}[{number}]", row


def first(row: dict[str, Any], names: Sequence[str]) -> Any:
    """The value of the first of several columns that has one."""
    return next((row[name] for name in names if row.get(name) not in (None, "", [])), None)


def question(row: dict[str, Any]) -> Any:
    """The question as it stands in the row; None where there is none."""
    return first(row, TEXTS)


def choices(row: dict[str, Any]) -> Any:
    """The choices as they stand in the row; [] where there are none."""
    if together := first(row, CHOICES):
        return together
    return [row[name] for name in sorted(row) if name.startswith(LETTERED) and row[name]]
