"""Verdicts of people: JSON lines as a report saves them, and the rows that they are about.

A verdict holds for a row as it was when the reviewer saw it. What the text alone answers of a row is measured
over the whole build and is part of a row's key; a row of which only that has changed is still the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from paqa.curation.shortcuts import dependent_key
from paqa.dataset.summary import REJECTED_BY_REVIEW
from paqa.errors import PaqaError, Rejected
from paqa.sources import json_reading
from paqa.types import Identifier, Quarantined, Sha256

EXPECTED = "expected lines as the button Save of `paqa report DIR --review 100` writes them"
Decision = Literal["right", "wrong", "unsure"]
Part = Literal["answer", "question", "rationale", "audio"]


@dataclass(frozen=True)
class Verdict:
    """One reviewer on one row.

    `key` and `audio_dependence` are the row's columns of that name, `parts` what is wrong with it, where the
    reviewer says so. `sample` names the draw that the row comes from, "" where it was picked by hand:
    `stratum`, `stratum_rows` and `weight` are those of `paqa.review.sample.Drawn`.
    """

    id: Identifier
    key: Sha256
    verdict: Decision
    reviewer: Annotated[str, Meta(min_length=1, max_length=200)]
    time: Annotated[datetime, Meta(tz=True)]
    clip_id: Identifier
    template: str
    audio_dependence: float | None = None
    parts: tuple[Part, ...] = ()
    note: Annotated[str, Meta(max_length=10_000)] = ""
    build: str = ""
    sample: str = ""
    stratum: str = ""
    stratum_rows: Annotated[int, Meta(ge=0)] = 0
    weight: Annotated[float, Meta(ge=0)] = 0.0


@dataclass(frozen=True)
class RowKeys:
    """The key of a row now, and before the dependence on the audio became part of it."""

    key: str
    base: str | None


@dataclass(frozen=True)
class Matched:
    """Verdicts on rows as they are; on rows that have changed since; and on rows that are not there."""

    current: tuple[Verdict, ...]
    stale: tuple[Verdict, ...]
    missing: tuple[Verdict, ...]


def read(path: Path) -> list[Verdict]:
    """The verdicts of a file, in its order.

    PaqaError that names the file and line where it cannot be read, or a line is no verdict.
    """
    verdicts = []
    for number, line in json_reading.rows(path, str(path), EXPECTED):
        if isinstance(line, Rejected):
            raise PaqaError(f"{path}: line {number}: {line.detail}")
        verdicts.append(_verdict(line, f"{path}: line {number}"))
    if not verdicts:
        raise PaqaError(f"{path}: found no line, {EXPECTED}")
    return verdicts


def _verdict(line: bytes, where: str) -> Verdict:
    try:
        return msgspec.json.decode(line, type=Verdict)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        shown = line[:60].decode(errors="replace") + "…" * (len(line) > 60)
        raise PaqaError(f"{where}: {error}; found {shown}, {EXPECTED}") from None


def load(paths: Iterable[Path]) -> list[Verdict]:
    """The verdicts of all files: of each reviewer on each row the latest, in order of row and reviewer."""
    latest: dict[tuple[str, str], Verdict] = {}
    for path in paths:
        for verdict in read(path):
            pair = (verdict.id, verdict.reviewer)
            if pair not in latest or latest[pair].time <= verdict.time:
                latest[pair] = verdict
    return [latest[pair] for pair in sorted(latest)]


def match(verdicts: Iterable[Verdict], rows: Mapping[str, RowKeys]) -> Matched:
    """Which verdicts hold for these rows, by their ids."""
    current: list[Verdict] = []
    stale: list[Verdict] = []
    missing: list[Verdict] = []
    for verdict in verdicts:
        row = rows.get(verdict.id)
        if row is None:
            missing.append(verdict)
        else:
            (current if _is_about(verdict, row) else stale).append(verdict)
    return Matched(tuple(current), tuple(stale), tuple(missing))


def _is_about(verdict: Verdict, row: RowKeys) -> bool:
    """Whether a row is as the reviewer saw it, its dependence on the audio apart."""
    if verdict.key == row.key:
        return True
    if row.base is None:
        return False
    dependence = verdict.audio_dependence
    return verdict.key == (row.base if dependence is None else dependent_key(row.base, dependence))


def by_row(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Verdicts by the id of their row."""
    rows: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        rows[verdict.id].append(verdict)
    return dict(rows)


def outcome(verdicts: Sequence[Verdict]) -> Decision:
    """What the majority says of a row; right against wrong in equal number is wrong, all unsure is unsure."""
    right, wrong = (sum(v.verdict == name for v in verdicts) for name in ("right", "wrong"))
    if not right and not wrong:
        return "unsure"
    return "right" if right > wrong else "wrong"


def rejections(matched: Matched, rows: Mapping[str, RowKeys]) -> list[Quarantined]:
    """The rows that reviewers reject, as rows of quarantine; names of reviewers stay out of it."""
    return [
        Quarantined(name, "review", REJECTED_BY_REVIEW, _reason(verdicts), rows[name].base or rows[name].key)
        for name, verdicts in by_row(matched.current).items()
        if outcome(verdicts) == "wrong"
    ]


def _reason(verdicts: Sequence[Verdict]) -> str:
    """How many say wrong, of what, and their notes."""
    wrong = [verdict for verdict in verdicts if verdict.verdict == "wrong"]
    parts = ", ".join(dict.fromkeys(part for verdict in wrong for part in verdict.parts))
    notes = "; ".join(filter(None, (verdict.note for verdict in wrong)))
    count = f"{verdicts[0].id}: wrong by {len(wrong)} of {len(verdicts)} reviewers"
    return f"{count}{f': {parts}' if parts else ''}{f' ({notes})' if notes else ''}"
