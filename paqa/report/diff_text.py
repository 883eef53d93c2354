"""A comparison of two builds as text for the terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from paqa.report.diff import Absent, Changed, Difference, causes, fields, reasons
from paqa.storage.store import write_atomically

WIDEST = 100  # characters of a value or detail that are shown


def text(difference: Difference, listed: int = 10) -> str:
    """What `paqa diff` prints; `listed` is how many rows of each kind are named."""
    d = difference
    lines = [f"A            {d.a}", f"B            {d.b}"]
    lines += [f"note         {note}" for note in d.notes]
    lines += [
        f"rows         {d.same} the same, {len(d.changed)} changed, {len(d.added)} added in B, "
        f"{len(d.removed)} only in A"
    ]
    if d.equal:
        lines += ["", "the rows of both are the same"]
    lines += [*_builds(d), *_rows(d, listed), *_figures(d)]
    return "\n".join(lines)


def _builds(d: Difference) -> Iterator[str]:
    """What differs between the builds themselves."""
    if d.versions[0] != d.versions[1]:
        yield from ("", f"paqa         {', '.join(d.versions[0])}, then {', '.join(d.versions[1])}")
    if d.recipe:
        yield from ("", "recipe")
        yield from (f"  {name}: {shown(a)}, then {shown(b)}" for name, a, b in d.recipe)
    if d.engines:
        yield from ("", "engines")
        for stage, a, b in d.engines:
            yield from (f"  {stage}", f"    A {a}", f"    B {b}")


def _rows(d: Difference, listed: int) -> Iterator[str]:
    for title, rows in (
        ("only in A, why B lacks them", d.removed),
        ("added in B, why A lacks them", d.added),
    ):
        if rows:
            yield from ("", f"{title}: {len(rows)}", *_counts(reasons(rows)))
            yield from _some(rows, listed)
    if d.changed:
        yield from ("", f"changed: {len(d.changed)}", "  columns", *_counts(fields(d.changed), 4))
        yield from ("  may be due to", *_counts(causes(d.changed), 4))
        yield from _some(d.changed, listed)


def _counts(pairs: Sequence[tuple[str, int]], indent: int = 2) -> Iterator[str]:
    yield from (f"{' ' * indent}{n:>7}  {name}" for name, n in pairs)


def _some(rows: Sequence[Absent | Changed], listed: int) -> Iterator[str]:
    for row in rows[:listed]:
        about = ", ".join(row.fields) if isinstance(row, Changed) else row.reason
        yield f"    {row.id}: {about}"
        if isinstance(row, Absent) and row.detail:
            yield f"        {short(row.detail)}"
    if listed and len(rows) > listed:
        yield f"    and {len(rows) - listed} more (--rows N, --json FILE)"


def _figures(d: Difference) -> Iterator[str]:
    width = max((len(label) for rows in d.figures.values() for label, _, _ in rows), default=0)
    yield from ("", f"{'':<{width + 2}}  {'A':>12}  {'B':>12}  {'B - A':>12}")
    for heading, rows in d.figures.items():
        if rows:
            yield heading
        for label, a, b in rows:
            change = "" if a is None or b is None else number(round(b - a, 4), "+")
            yield f"  {label:<{width}}  {number(a):>12}  {number(b):>12}  {change:>12}"


def number(value: float | None, sign: str = "") -> str:
    """A figure for a table, `-` where there is none; a change of nothing is empty."""
    if value is None:
        return "-"
    if sign and not value:
        return ""
    return f"{int(value) if value == int(value) else value:{sign},}"


def shown(value: Any) -> str:
    """A value of a recipe on one line."""
    if value in (None, "there"):
        return value or "not there"
    return short(json.dumps(value, ensure_ascii=False))


def short(value: str) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(value.split())
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 3]}..."


def save(difference: Difference, path: Path) -> None:
    """Write everything, every row with its reason, as JSON."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(difference)) + b"\n")
