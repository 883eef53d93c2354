"""CSV and TSV files as rows by column, with the numbers of their lines."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from paqa.errors import PaqaError, Rejected
from paqa.storage import text_files

LONGEST = 1_000_000  # characters of one field; csv's own limit is 131072


@dataclass(frozen=True)
class TableRow:
    """One row: `where` is "FILE:LINE", an id for its quarantine row; `problem` says why it cannot be read."""

    where: str
    fields: dict[str, str]
    problem: str | None = None

    def __getitem__(self, column: str) -> str:
        """The field; Rejected with `bad_row` where it is empty or the row was unreadable."""
        if self.problem:
            raise Rejected("bad_row", f"{self.where}: {self.problem}")
        value = self.fields.get(column, "").strip()
        if not value:
            raise Rejected(
                "bad_row", f"{self.where}: column {column!r} is empty; fill it in or remove the row"
            )
        return value

    @property
    def content(self) -> str:
        """All of it, for a fingerprint."""
        return "\t".join(self.fields.values())


def rows(path: Path, source: str, columns: Sequence[str], tabs: bool = False) -> Iterator[TableRow]:
    """The rows of a UTF-8 table with a header; blank lines are skipped, short rows have a `problem`.

    With `tabs`, fields are divided by tabs and quotes mean nothing (Common Voice, CoVoST). Raises PaqaError
    where the file cannot be read or lacks one of `columns`.
    """
    csv.field_size_limit(LONGEST)
    form = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "escapechar": "\\"} if tabs else {}
    try:
        with text_files.open_text(path, newline="") as file:
            lines = csv.reader(file, **form)  # type: ignore[arg-type]
            header = next(lines, [])
            if missing := [name for name in columns if name not in header]:
                columns_found = ", ".join(header[:12]) or "nothing"
                raise PaqaError(
                    f"source {source!r}: {path} has no column {missing[0]!r}; found {columns_found}"
                )
            yield from (
                _row(path, lines.line_num, header, fields) for fields in lines if any(map(str.strip, fields))
            )
    except (OSError, ValueError, csv.Error) as error:
        expected = f"expected UTF-8 with the columns {', '.join(columns)}"
        raise PaqaError(f"source {source!r}: {path} cannot be read ({error}); {expected}") from None


def _row(path: Path, line: int, header: Sequence[str], fields: Sequence[str]) -> TableRow:
    short = len(fields) < len(header)
    problem = f"found {len(fields)} fields, expected {len(header)}; correct the row" if short else None
    return TableRow(f"{path.name}:{line}", dict(zip(header, fields, strict=False)), problem)
