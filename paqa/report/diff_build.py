"""One side of a comparison: a build as ids and digests of its rows, with its figures; no audio is read."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from paqa.config.recipe import Recipe
from paqa.dataset import shards, summary
from paqa.errors import PaqaError
from paqa.evaluation.audit_report import AuditReport
from paqa.evaluation.plots import figure_of
from paqa.report.overview import FIGURES
from paqa.storage.build_folder import AUDIT, BUILD, CLIPS, QUARANTINE, RECIPE

BATCH = 4096  # rows of a table in memory at a time
NEEDED = ("id", "clip_id", "key")
COLUMNS = (
    *NEEDED,
    *("task", "template", "split", "answers_from", "confidence", "reflected"),
    *("heard_by", "origins", "paqa_version", "seed", "scene.duration_ms"),
)
NO_KEYS = {"id", "clip_id", "key", "audio", "seed", "paqa_version"}  # columns that change no row
FREE = ("name", "description", "folder")  # of a recipe: they change no row
NAMED = ("sources", "mix", "benchmarks")  # lists of tables with names


class Mark(NamedTuple):
    """What is kept of a row besides its id: a digest of its key, and what made it."""

    clip_id: str
    digest: bytes
    template: str
    engines: tuple[tuple[str, str, str], ...]  # stage, engine, revision
    version: str
    seed: int


@dataclass(frozen=True)
class Side:
    """A build: its rows by id, the SHA-256 of its clips by id where that is known, and its figures.

    `figures` are lists of (label, number or None) by their heading. `recordings` are those of each clip with
    rows.
    """

    folder: Path
    rows: dict[str, Mark]
    clips: dict[str, str | None]
    recordings: dict[str, tuple[str, ...]]
    figures: dict[str, list[tuple[str, float | None]]]
    recipe: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(sorted({mark.version for mark in self.rows.values()}))

    @property
    def engines(self) -> dict[str, tuple[str, ...]]:
        """Engines with their revisions by stage."""
        used: dict[str, set[str]] = defaultdict(set)
        for engines in {mark.engines for mark in self.rows.values()}:
            for stage, engine, revision in engines:
                used[stage].add(f"{engine} {revision}")
        return {stage: tuple(sorted(names)) for stage, names in used.items()}


def read(folder: Path) -> Side:
    """A build as one side; PaqaError where the folder has no shards, or rows without keys."""
    names = shards.open_shard(shards.files(folder)[0]).schema_arrow.names
    if lacking := [name for name in NEEDED if name not in names]:
        raise PaqaError(
            f"{folder}: its rows have no column `{lacking[0]}`, so paqa import or an earlier paqa made them; "
            "expected a build: run paqa build, then compare"
        )
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    rows: dict[str, Mark] = {}
    recordings: dict[str, tuple[str, ...]] = {}
    lengths: dict[str, int] = {}
    confidences: list[float] = []
    shared: dict[Any, Any] = {}
    for row in shards.rows(folder, [name for name in COLUMNS if name.partition(".")[0] in names]):
        rows[row["id"]] = _mark(row, shared)
        for heading in ("split", "task", "template"):
            counts[heading][row.get(heading) or "none"] += 1
        counts["answers"][row.get("answers_from") or "none"] += 1
        counts["reflected"]["reflected"] += bool(row.get("reflected"))
        if row.get("confidence") is not None and row["answers_from"] == "heard":
            confidences.append(row["confidence"])
        if row["clip_id"] not in recordings:
            recordings[row["clip_id"]] = tuple(o["recording"] for o in row.get("origins") or ())
            lengths[row["clip_id"]] = (row.get("scene") or {}).get("duration_ms", 0)
    clips, notes = _clips(folder, recordings)
    figures: dict[str, list[tuple[str, float | None]]] = {
        "size": [
            ("rows", len(rows)),
            ("clips with rows", len(recordings)),
            ("hours with rows", round(sum(lengths.values()) / 3_600_000, 4)),
            ("reflected rows", counts.pop("reflected")["reflected"]),
        ],
        **{name: _counted(count) for name, count in counts.items()},
        "confidence": _spread(confidences),
        "quarantined": _counted(Counter(q["reason"] for q in quarantine(folder))),
        "audit": _audit(folder),
        "quality": _quality(folder),
    }
    return Side(folder, rows, clips, recordings, figures, _recipe(folder), notes)


def _counted(counts: Counter[str]) -> list[tuple[str, float | None]]:
    return [*sorted(counts.items())]


def _mark(row: dict[str, Any], shared: dict[Any, Any]) -> Mark:
    """The mark of a row; values that many rows have are held once, in `shared`."""

    def one(value: Any) -> Any:
        return shared.setdefault(value, value)

    engines = tuple((h["stage"], h["engine"], h["revision"]) for h in row.get("heard_by") or ())
    version, seed = row.get("paqa_version") or "", row.get("seed") or 0
    digest = hashlib.blake2b(row["key"].encode(), digest_size=16).digest()
    return Mark(one(row["clip_id"]), digest, one(row.get("template")), one(engines), one(version), seed)


def _clips(folder: Path, with_rows: Iterable[str]) -> tuple[dict[str, str | None], list[str]]:
    """The SHA-256 of each clip, None where there is no table of clips, which a note says."""
    if not (folder / CLIPS).exists():
        note = f"{folder}: has no {CLIPS}, so clips without rows and changes of audio are not seen"
        return dict.fromkeys(with_rows), [note]
    return {row["id"]: row["sha256"] for row in _table(folder / CLIPS, ["id", "sha256"])}, []


def quarantine(folder: Path) -> Iterator[dict[str, str]]:
    """The rows of the quarantine, a batch at a time; none where there is no table."""
    if (folder / QUARANTINE).exists():
        yield from _table(folder / QUARANTINE, ["id", "stage", "reason", "detail", "fingerprint"])


def _table(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    for batch in shards.open_shard(path).iter_batches(BATCH, columns=columns):
        yield from batch.to_pylist()


def _spread(confidences: list[float]) -> list[tuple[str, float | None]]:
    """The mean and percentiles of the confidences of rows from predictions."""
    if not confidences:
        return []
    low, median = np.percentile(confidences, (10, 50))
    mean = sum(confidences) / len(confidences)
    shares = (("mean", mean), ("median", median), ("10th percentile", low))
    return [
        ("rows with a confidence", len(confidences)),
        *((name, round(float(share), 4)) for name, share in shares),
    ]


def _audit(folder: Path) -> list[tuple[str, float | None]]:
    """The figures of a saved audit over all clips, and of the rows that it judged."""
    report = _json(folder / AUDIT, AuditReport)
    if report is None:
        return []
    overall = report.overall
    shown = [(name, unit, figure_of(overall, name)) for name, _, unit in FIGURES]
    figures: list[tuple[str, float | None]] = [("audited clips", overall.clips)]
    for name, unit, value in shown:
        if value is not None:
            figures.append((f"{name}, {unit}", round(value * (100 if unit == "%" else 1), 2)))
    right = (_json(folder / BUILD, summary.Summary) or _NO_SUMMARY).right
    if right and right.judged:
        figures.append(("rows right, %", round(100 * right.right / right.judged, 2)))
        figures.append(
            ("rows right with nothing false, %", round(100 * right.nothing_false / right.judged, 2))
        )
    return figures


def _quality(folder: Path) -> list[tuple[str, float | None]]:
    built = _json(folder / BUILD, summary.Summary) or _NO_SUMMARY
    return [(f"{f.label}, median{f',{f.unit}' if f.unit else ''}", f.median) for f in built.quality]


class _NoSummary:
    right: summary.Right | None = None
    quality: tuple[Any, ...] = ()


_NO_SUMMARY = _NoSummary()


def _json(path: Path, kind: Any) -> Any:
    """A file beside the shards, None where there is none; PaqaError where it is of another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise PaqaError(
            f"{path}: made by another version of paqa, or damaged ({error}); delete it, or build again"
        ) from None


def _recipe(folder: Path) -> dict[str, Any]:
    """The values of the recipe by dotted key, without what changes no row; {} where there is none.

    Keys that it leaves out have their defaults, as far as this version of paqa knows the recipe.
    """
    try:
        data = msgspec.json.decode((folder / RECIPE).read_bytes())
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise PaqaError(f"{folder / RECIPE}: not readable as JSON ({error}); build again") from None
    with suppress(msgspec.ValidationError):  # of another version: its keys are compared as they are
        data = asdict(msgspec.convert(data, Recipe))
    return {name: value for name, value in _flat(data) if name not in FREE}


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, list | tuple) and at.rpartition(".")[2] in NAMED:
        value = {table["name"]: {k: v for k, v in table.items() if k != "name"} for table in value}
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{at}.{name}" if at else name)
    else:
        yield at, list(value) if isinstance(value, tuple) else value


def field_digests(folder: Path, ids: set[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Id and a digest of each column, for the rows with these ids; parts of the scene are apart."""
    names = [n for n in shards.open_shard(shards.files(folder)[0]).schema_arrow.names if n not in NO_KEYS]
    for path in shards.files(folder):
        file = shards.open_shard(path)
        for group in range(file.num_row_groups):
            here = file.read_row_group(group, columns=["id"])["id"].to_pylist()
            places = [i for i, name in enumerate(here) if name in ids]
            if not places:
                continue
            for row in file.read_row_group(group, columns=["id", *names]).take(places).to_pylist():
                scene = row.pop("scene", None) or {}
                parts = {name: row[name] for name in names if name in row}
                parts |= {f"scene.{name}": value for name, value in scene.items()}
                yield row["id"], {name: _digest(value) for name, value in parts.items()}


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value), digest_size=8).digest()
