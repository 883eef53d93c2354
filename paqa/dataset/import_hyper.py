"""`paqa import`: the PAQA rows that the authors of HyPeR released (JSONL), cleaned, as Parquet shards.

They cannot become `Item`s: they hold no scene (nothing says when anything is heard), their rationales were
written from descriptions, and the released multi-speaker file has no ENV, SPEAKER, ASR or DESCRIPTION in any
row. So they have their own table, `Released`, in which each row names what it lacks. To ask the same
questions about the audio itself, build them instead: `type = "questions"` in a recipe.

Rows are cleaned in `paqa.dataset.hyper_rows`; what cannot be mended there is quarantined with a reason.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from paqa.config.recipe import AudioConfig, ShardConfig
from paqa.dataset import shards
from paqa.dataset.hyper_rows import LETTERS, Released, clean, parsed
from paqa.errors import PaqaError, Rejected
from paqa.sources import json_reading, paths
from paqa.types import Quarantined

CONFIG = ShardConfig()
START = shards.FORMAT.to_bytes(4)  # of the digests that name files


@dataclass
class Imported:
    """Counts of the imported rows, and those that cannot be used."""

    rows: int = 0
    with_audio: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    lost: list[Quarantined] = field(default_factory=list)


def load(path: Path, out: Path, audio: Path | None = None) -> Imported:
    """Clean a JSONL file into `out`: `data/train-*.parquet`, `quarantine.parquet` and a card.

    With a folder `audio`, each row's file is looked up there by the longest end of its path that fits,
    decoded as a build decodes it and embedded; rows whose file is missing or broken are quarantined.
    PaqaError where none is left.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PaqaError(f"{out}: is not empty; name a new folder")
    if audio is not None and not audio.is_dir():
        raise PaqaError(f"--audio {audio}: no such folder")
    imported = Imported()
    writer = _Writer(out / "data")
    for row in _rows(path, imported):
        try:
            data = embedded(row.audio_path, audio) if audio else None
        except Rejected as error:
            imported.lost.append(Quarantined(row.id, "import", error.reason, error.detail, _digest(row)))
            continue
        imported.rows += 1
        imported.with_audio += data is not None
        imported.answers[LETTERS[row.answer_index]] += 1
        imported.missing.update(row.missing)
        imported.repairs.update(row.repairs)
        writer.add(row, data)
    writer.close()
    shards.write_table(out / "quarantine.parquet", Quarantined, imported.lost)
    if not imported.rows:
        frequent = Counter(q.reason for q in imported.lost).most_common(4)
        reasons = ", ".join(f"{reason} {n}" for reason, n in frequent)
        raise PaqaError(
            f"{path}: no row can be used ({reasons or 'the file is empty'}); "
            f"look into {out}/quarantine.parquet"
        )
    (out / "README.md").write_text(card(path, imported), encoding="utf-8")
    return imported


def _rows(path: Path, imported: Imported) -> Iterator[Released]:
    """The rows that can be used, in order; the others go to `imported.lost`."""
    ids: set[str] = set()
    questions: set[tuple[str, ...]] = set()
    for number, line in json_reading.rows(path, str(path), "expected a file with one JSON object a line"):
        where = f"{path.name}:{number}"
        try:
            if isinstance(line, Rejected):
                raise line
            row = clean(parsed(line), f"{path.stem}:{number}", path.stem)
            same = (row.audio_path, row.question, *sorted(row.choices))
            if same in questions or row.id in ids:
                repeated = "question about this audio" if same in questions else f"id {row.id!r}"
                raise Rejected("duplicate", f"this {repeated} was there before; remove one of the two")
        except Rejected as error:
            content = where.encode() if isinstance(line, Rejected) else line.strip()
            digest = hashlib.sha256(content).hexdigest()
            imported.lost.append(
                Quarantined(where, "import", error.reason, f"{where}: {error.detail}", digest)
            )
            continue
        ids.add(row.id)
        questions.add(same)
        yield row


def embedded(named: str, folder: Path) -> bytes:
    """The named audio as FLAC, as a build decodes it; Rejected where it is missing or does not decode."""
    from paqa.audio import decode, flac

    parts = [part for part in PurePosixPath(named).parts if part not in ("/", "..")]
    for first in range(len(parts)):
        if folder.joinpath(*parts[first:]).is_file():
            return flac(decode(paths.locate("/".join(parts[first:]), folder), AudioConfig()))
    raise Rejected(
        "missing_file", f"{named!r} is not below {folder}; put it there, or import without --audio"
    )


def _digest(row: Released) -> str:
    return hashlib.sha256(msgspec.json.encode(row)).hexdigest()


class _Writer:
    """Rows into Parquet files named after their content, a row group in memory at a time."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.schema = shards.row_schema(Released, AudioConfig().rate)
        self.rows: list[dict[str, Any]] = []
        self.waiting = self.written = 0
        self.digest = hashlib.sha256(START)
        self.file: pq.ParquetWriter | None = None

    def add(self, row: Released, data: bytes | None) -> None:
        audio = {
            "bytes": data,
            "path": f"{PurePosixPath(row.audio_path).stem}.flac" if data else row.audio_path,
        }
        self.rows.append({**msgspec.to_builtins(row), "audio": audio})
        self.digest.update(msgspec.json.encode([row, hashlib.sha256(data or b"").hexdigest()]))
        self.waiting += len(data or b"") + 3 * len(row.rationale)
        if self.waiting > CONFIG.row_group_mb * 1_000_000:
            self._flush()
        if self.written > CONFIG.max_mb * 1_000_000:
            self.close()

    def _flush(self) -> None:
        if self.rows:
            if self.file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                options = shards.parquet_options(self.schema, CONFIG.row_group_mb * 1_000_000)
                self.file = pq.ParquetWriter(self.folder / ".part", self.schema, **options)
            self.file.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
            self.written += self.waiting
            self.rows, self.waiting = [], 0

    def close(self) -> None:
        """Finish a file under its name; further rows begin another one."""
        self._flush()
        if self.file is not None:
            self.file.close()
            (self.folder / ".part").replace(self.folder / f"train-{self.digest.hexdigest()[:16]}.parquet")
            self.file, self.written, self.digest = None, 0, hashlib.sha256(START)


def facts(imported: Imported) -> list[tuple[str, str]]:
    """The figures worth reading, label and value."""
    lost = Counter(q.reason for q in imported.lost)
    return [
        (
            "rows",
            f"{imported.rows} of {imported.rows + len(imported.lost)}, {imported.with_audio} with audio",
        ),
        ("answers", _listed(dict(sorted(imported.answers.items())))),
        ("mended", _listed(imported.repairs) or "nothing"),
        ("lacking", _listed(imported.missing) or "nothing"),
        ("quarantined", _listed(dict(lost.most_common())) or "none"),
    ]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def card(path: Path, imported: Imported) -> str:
    """The README.md, with the header by which `datasets` finds the files."""
    header = json.dumps(
        [{"config_name": "released", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}]
    )
    table = "\n".join(f"| {label} | {value} |" for label, value in facts(imported))
    return (
        f"---\nconfigs: {header}\n---\n\n# {path.stem}, cleaned\n\nRows that the authors of HyPeR released "
        "(arXiv 2604.14806), cleaned by `paqa import`. They have no scene, and their rationales were written "
        f"from descriptions: this is not a build of paqa.\n\n| | |\n|---|---|\n{table}\n"
    )


def text(imported: Imported) -> str:
    """The table that the command prints."""
    return "\n".join(f"{label:<12} {value}" for label, value in facts(imported))
