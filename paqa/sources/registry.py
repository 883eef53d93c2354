"""The types of source, and reading one: a file of this package for each layout.

A source of another package is an entry point of the group `paqa.sources` (`paqa.plugins`).

A source is a function `(config, path) -> Recordings`; where it has parameters, `PARAMS` of its module is
their dataclass. The recipe's author names the root, `path` (absolute, or a link, if they like); uris are
relative to the folder itself, or to the folder of the list. A source file imports nothing heavy at its top.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from paqa import plugins
from paqa.config.recipe import SourceConfig, converted
from paqa.errors import PaqaError, Rejected
from paqa.sources.paths import root
from paqa.types import Quarantined, Recording

SOURCES: dict[str, str] = {
    "folder": "paqa.sources.folder:recordings",
    "jsonl": "paqa.sources.jsonl:recordings",
    "references": "paqa.sources.references:recordings",
    "questions": "paqa.sources.questions:recordings",
    "lhotse": "paqa.sources.lhotse:recordings",
    "hub": "paqa.sources.hub:recordings",
    "meld": "paqa.sources.meld:recordings",
    "covost2": "paqa.sources.covost2:recordings",
    "musan": "paqa.sources.musan:recordings",
    "fsd50k": "paqa.sources.fsd50k:recordings",
}

Recordings = Iterator[Recording | Quarantined]
T = TypeVar("T")


@dataclass(frozen=True)
class NoParams:
    """Nothing to choose."""


def recordings(config: SourceConfig, folder: Path) -> Recordings:
    """Everything that a source holds, in a stable order, broken rows included as `Quarantined`.

    `folder` is the recipe's. Of two recordings with one id the second is quarantined. With a `limit`, the
    rows whose ids have the smallest digests are left, broken ones among them. Raises PaqaError where the
    whole source is missing or of an unknown type.
    """
    module, name = _module(config)
    source: Callable[[SourceConfig, Path], Recordings] = getattr(module, name)
    rows = _unique(config, _below_root(source(config, folder / config.path), root(config, folder)))
    return rows if config.limit is None else _drawn(list(rows), config.limit)


def skipped(config: SourceConfig, folder: Path) -> str:
    """One line about files in a source's folder that are not read; empty where there are none."""
    module, _ = _module(config)
    line: str = module.skipped(config, folder / config.path) if hasattr(module, "skipped") else ""
    return line


def _module(config: SourceConfig) -> tuple[ModuleType, str]:
    if config.type in SOURCES:
        module, name = SOURCES[config.type].split(":")
        return import_module(module), name
    plugin = plugins.find("paqa.sources", config.type)
    if plugin is None:
        types = ", ".join((*SOURCES, *plugins.named("paqa.sources")))
        raise PaqaError(
            f"source {config.name!r} has type {config.type!r}; expected one of {types}; one of a "
            "plug-in wants its package (paqa doctor lists what is installed)"
        )
    plugin.load()
    return import_module(plugin.entry_point.module), plugin.entry_point.attr


def _unique(config: SourceConfig, rows: Recordings) -> Recordings:
    seen: dict[str, str] = {}
    for row in rows:
        if isinstance(row, Recording) and row.id in seen:
            detail = (
                f"{config.name}: id {row.id!r} of {row.uri} already names {seen[row.id]}; ids must differ"
            )
            row = quarantined(row.id, Rejected("duplicate_id", detail), f"{row.id} {row.uri}")
        elif isinstance(row, Recording):
            seen[row.id] = row.uri
        yield row


def _below_root(rows: Recordings, base: Path) -> Recordings:
    """Rows whose list gives absolute paths, with paths below the source's folder instead.

    Nothing that is published names a folder of this machine.
    """
    for row in rows:
        if isinstance(row, Recording) and Path(row.uri).is_absolute():
            row = replace(row, uri=Path(row.uri).resolve().relative_to(base.resolve()).as_posix())
        yield row


def _drawn(rows: list[Recording | Quarantined], limit: int) -> Recordings:
    """`limit` rows in their order, chosen by their ids alone, so that a new row displaces one at most."""
    digests = [hashlib.sha256(row.id.encode("utf-8", "surrogateescape")).digest() for row in rows]
    kept = set(sorted(range(len(rows)), key=lambda i: (digests[i], i))[:limit])
    yield from (row for i, row in enumerate(rows) if i in kept)


def check(config: SourceConfig) -> None:
    """PaqaError where the type is unknown, or params do not fit its parameters; looks at no file.

    And where `group = "folder"` is asked of a type that has groups of its own.
    """
    plugins.refuse_clash("paqa.sources", config.type, SOURCES)
    if config.group == "folder" and config.type != "folder":
        problem = f'group = "folder" is for type "folder", found "{config.type}"'
        raise PaqaError(
            f"source {config.name!r}: {problem}; leave it out: its list or layout names the groups"
        )
    parameters(config, getattr(_module(config)[0], "PARAMS", NoParams))


def parameters(config: SourceConfig, kind: type[T]) -> T:
    """A source's own parameters from the recipe; PaqaError for unknown keys and wrong types."""
    params: T = converted(kind, config.params, f"source {config.name!r}: params: type {config.type}")
    return params


def quarantined(name: str, error: Rejected, content: str) -> Quarantined:
    """The quarantine row of something a source cannot use; the fingerprint is that of its content."""
    fingerprint = hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()
    return Quarantined(name, "source", error.reason, error.detail, fingerprint)
