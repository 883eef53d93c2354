"""Items to Parquet that the Hub viewer and `datasets` read, and back.

The columns are the fields of `Item`, with `audio {bytes (FLAC), path}` after the id. Rows are ordered by id,
a file is named after its content, and a clip asked about n times is stored once a row group (dictionary
encoding).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from paqa.config.recipe import ShardConfig
from paqa.errors import PaqaError
from paqa.storage.build_folder import QUARANTINE, finish_commit
from paqa.storage.store import atomic_file, digest, key, write_atomically
from paqa.types import Clip, Item, Quarantined, Split

T = TypeVar("T")
ROW_BYTES = 7_000  # roughly, of a row without its audio
FORMAT = 3  # changes the names of all shards: raise it when the bytes written for the same items change
PRIMITIVE = {
    str: (pa.string(), "string"),
    int: (pa.int64(), "int64"),
    float: (pa.float64(), "float64"),
    bool: (pa.bool_(), "bool"),
}
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def _column(hint: Any) -> tuple[pa.DataType, Any]:
    """The Arrow type of a type hint, and its Hugging Face feature."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _column(arguments[0])
    if origin is typing.Literal:
        return _column(str)
    if origin in (typing.Union, types.UnionType):
        return _column(next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        arrow, feature = _column(arguments[0])
        # a list of one feature: datasets before version 4 know no "List"
        return pa.list_(arrow), [feature]
    if dataclasses.is_dataclass(hint):
        columns = {name: _column(h) for name, h in _hints(hint).items()}
        return pa.struct([(n, a) for n, (a, _) in columns.items()]), {n: f for n, (_, f) in columns.items()}
    arrow, dtype = PRIMITIVE[hint]
    return arrow, {"dtype": dtype, "_type": "Value"}


def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def item_schema(rate: int) -> pa.Schema:
    """The Parquet schema of items."""
    return row_schema(Item, rate)


def row_schema(kind: type, rate: int) -> pa.Schema:
    """The schema of a dataclass with an `id`, and audio after that; Hugging Face features as metadata.

    `rate` in Hz is that of all audio.
    """
    columns = {name: _column(hint) for name, hint in _hints(kind).items()}
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [(n, a) for n, (a, _) in columns.items()]
    features = {n: f for n, (_, f) in columns.items()}
    features = {"id": features.pop("id"), "audio": {"sampling_rate": rate, "_type": "Audio"}, **features}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([fields[0], ("audio", audio), *fields[1:]], metadata=metadata)


def table_schema(kind: type) -> pa.Schema:
    """The Parquet schema of a plain dataclass (quarantine rows, clips)."""
    return pa.schema([(name, _column(hint)[0]) for name, hint in _hints(kind).items()])


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """One file to be written: its name says which content."""

    split: Split
    name: str
    items: tuple[Item, ...]
    clips: dict[str, str]  # clip id -> sha256 of its audio


def plan(items: Sequence[Item], clips: Sequence[Clip], config: ShardConfig) -> list[ShardPlan]:
    """Cut each split's items, in order of id, into files.

    Cuts fall after clips whose own digest says so, or where a file is full, so that adding a clip changes the
    file it falls into and leaves the others, and their names, alone.
    """
    audio = {c.id: c for c in clips}
    plans = []
    for split in SPLITS:
        chosen = sorted((i for i in items if i.split == split), key=lambda i: i.id)
        for part in _cut(chosen, audio, config.max_mb * 1_000_000):
            used = {i.clip_id: audio[i.clip_id].sha256 for i in part}
            versions = {(i.paqa_version, i.seed) for i in part}
            name = file_name(split, [i.key for i in part], versions, config.row_group_mb)
            plans.append(ShardPlan(split, name, tuple(part), used))
    return plans


def file_name(split: str, keys: Sequence[str], versions: Iterable[tuple[str, int]], row_group_mb: int) -> str:
    """The name of a shard with rows of these keys, in order; `versions` are those of paqa, with the seeds.

    The latter are in a shard's bytes, but in no row's key.
    """
    return f"{split}-{key(FORMAT, row_group_mb, sorted(versions), keys)[:16]}.parquet"


def _cut(items: Sequence[Item], clips: dict[str, Clip], limit: int) -> Iterator[list[Item]]:
    """Files of at most `limit` estimated bytes; half of the limit is where cuts by digest begin."""
    part: list[Item] = []
    size = 0
    seen: set[str] = set()
    for item in items:
        clip = clips[item.clip_id]
        audio = clip.duration_ms * clip.rate * 2 // 1000
        cost = ROW_BYTES + audio * (clip.id not in seen)
        number = int(hashlib.sha256(clip.id.encode()).hexdigest(), 16)
        boundary = clip.id not in seen and size > limit // 2 and number % 16 == 0
        if part and (boundary or size + cost > limit):
            yield part
            part, size, seen = [], 0, set()
        part.append(item)
        size += cost
        seen.add(clip.id)
    if part:
        yield part


def write(
    plan: ShardPlan,
    folder: Path,
    config: ShardConfig,
    load: Callable[[str], bytes],
    rate: int,
    fill: Callable[[Sequence[Item]], Iterable[Item]] = iter,
) -> str:
    """Write one shard; returns the SHA-256 of its bytes.

    `load` gives a clip's FLAC by sha256; `fill` gives items back what a plan need not hold.
    """
    path = folder / plan.name
    with atomic_file(path) as temporary:
        _encode(plan, temporary, config, load, rate, fill)
    return digest(path)


def take_over(earlier: Path, folder: Path, sha256: str) -> bool:
    """Link a shard of an earlier build into `folder`; False where its bytes have another digest by now."""
    try:
        if digest(earlier) != sha256:
            return False
        os.link(earlier, folder / earlier.name)
    except OSError:  # it is gone or unreadable, or the file system has no links: it is written anew
        return False
    return True


def _encode(
    plan: ShardPlan,
    path: Path,
    config: ShardConfig,
    load: Callable[[str], bytes],
    rate: int,
    fill: Callable[[Sequence[Item]], Iterable[Item]],
) -> None:
    """One row group at a time, so that a shard of any size takes the memory of one group."""
    schema = item_schema(rate)
    options = parquet_options(schema, config.row_group_mb * 1_000_000)
    with pq.ParquetWriter(path, schema, **options) as writer:
        for rows in _row_groups(fill(plan.items), plan.clips, config.row_group_mb * 1_000_000, load):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _row_groups(
    items: Iterable[Item], clips: Mapping[str, str], limit: int, load: Callable[[str], bytes]
) -> Iterator[list[dict[str, Any]]]:
    """Rows in groups of at most `limit` bytes as a reader unpacks them."""
    rows: list[dict[str, Any]] = []
    size = 0
    flac: dict[str, bytes] = {}
    for item in items:
        if item.clip_id not in flac:
            flac = {item.clip_id: load(clips[item.clip_id])}
        audio = {"bytes": flac[item.clip_id], "path": f"{_safe(item.clip_id)}.flac"}
        row = {**msgspec.to_builtins(item), "audio": audio}
        cost = len(audio["bytes"]) + len(item.rationale) + 4000
        if rows and size + cost > limit:
            yield rows
            rows, size = [], 0
        rows.append(row)
        size += cost
    if rows:
        yield rows


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-@" else "_" for c in name)


def parquet_options(schema: pa.Schema, dictionary_bytes: int) -> dict[str, Any]:
    """Audio uncompressed (FLAC does not shrink, the Hub deduplicates its bytes), the rest zstd."""
    return {
        "compression": {leaf: "NONE" if leaf == "audio.bytes" else "ZSTD" for leaf in _leaves(schema)},
        "use_dictionary": True,
        "dictionary_pagesize_limit": dictionary_bytes,
        "write_page_index": True,
    }


def _leaves(schema: pa.Schema) -> list[str]:
    """The dotted paths of all Parquet columns of a schema."""
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    columns = pq.ParquetFile(sink).schema
    return [columns.column(i).path for i in range(len(columns))]


def write_table(path: Path, kind: type, rows: Sequence[Any]) -> None:
    """Write dataclass rows (quarantine, clips) as one Parquet file, whole or not at all."""
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(msgspec.to_builtins(list(rows)), schema=table_schema(kind)),
        sink,
        compression="zstd",
    )
    write_atomically(path, sink.getvalue())


def quarantined(folder: Path) -> list[Quarantined]:
    """The rows of `quarantine.parquet` of a build."""
    finish_commit(folder)
    return [msgspec.convert(r, Quarantined) for r in pq.read_table(folder / QUARANTINE).to_pylist()]


def files(folder: Path) -> list[Path]:
    """The shards of a build, by name, once a commit that was cut is finished; PaqaError without any."""
    finish_commit(folder)
    paths = sorted((folder / "data").glob("*.parquet"))
    if not paths:
        raise PaqaError(
            f"{folder}: no shards (expected {folder}/data/*.parquet); "
            f"run: paqa build RECIPE.toml --out {folder}"
        )
    return paths


def with_scenes(folder: Path) -> list[Path]:
    """The shards of a build; PaqaError also where they hold no scenes, as those of `paqa import` do."""
    paths = files(folder)
    columns = open_shard(paths[0]).schema_arrow.names
    if "scene" not in columns:
        raise PaqaError(
            f"{folder}: its rows have no scene (paqa import made them), so nothing says when what is heard; "
            "to ask their questions of what is heard, name the JSONL in a source of type questions "
            "(paqa init writes a recipe) and run: paqa build RECIPE.toml"
        )
    if "groups" not in columns:
        raise PaqaError(
            f"{folder}: has no column `groups`, so an earlier paqa made it; run: paqa build again"
        )
    return paths


def rows(folder: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """All rows of a build as dicts, a row group at a time; without `audio` in `columns`, no audio is read."""
    for path in files(folder):
        yield from rows_of(path, columns)


def rows_of(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one shard, likewise."""
    file = open_shard(path)
    for group in range(file.num_row_groups):
        yield from file.read_row_group(group, columns=list(columns) if columns else None).to_pylist()


def open_shard(path: Path) -> pq.ParquetFile:
    """The Parquet file; PaqaError where it is none."""
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise PaqaError(
            f"{path}: is gone: a build has replaced it meanwhile; run the same command again"
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise PaqaError(
            f"{path}: not a readable Parquet file ({error}); delete it and run: paqa build again"
        ) from None


def table_rows(path: Path, kind: type[T]) -> list[T]:
    """The rows of a table beside the shards, [] where there is none; PaqaError for another version's."""
    if not path.exists():
        return []
    try:
        return [msgspec.convert(row, kind) for row in open_shard(path).read().to_pylist()]
    except msgspec.ValidationError as error:
        raise PaqaError(f"{path}: made by another version of paqa ({error}); run the build again") from None


def item(row: dict[str, Any]) -> Item:
    """A row as an Item, checked against the types."""
    try:
        return msgspec.convert({k: v for k, v in row.items() if k != "audio"}, Item)
    except msgspec.ValidationError as error:
        raise PaqaError(
            f"row {row.get('id')!r}: {error}; expected the columns of schemas/item.schema.json"
        ) from None
