"""What a report shows, from the folder of a build and, where it can be reached, its store.

A folder with nothing but shards (downloaded, moved) is enough; `Build.notes` say what else is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import msgspec

from paqa.config.recipe import Recipe
from paqa.curation.shortcuts import ShortcutReport
from paqa.curation.verifier import VerifiedRow
from paqa.dataset import clip_quality, shards, verifier_table
from paqa.dataset.summary import Summary
from paqa.errors import MissingObject, PaqaError
from paqa.evaluation.audit_report import AuditReport
from paqa.evaluation.row_audit import RowAudit
from paqa.perception import engine_runs, scenes
from paqa.perception.quality import Quality
from paqa.storage import redact
from paqa.storage.build_folder import AUDIT, BUILD, CLIPS, QUARANTINE, RECIPE, SHORTCUTS
from paqa.storage.store import Store
from paqa.types import Clip, Item, Quarantined, Scene

T = TypeVar("T")


@dataclass(frozen=True)
class JudgedPart:
    """The part of a saved audit that is about rows; None where it was made before rows were judged."""

    judged: RowAudit | None = None


@dataclass(frozen=True)
class Build:
    """An opened build; `items` are by clip, both in order of id."""

    folder: Path
    items: dict[str, list[Item]]
    clips: dict[str, Clip]
    quarantined: list[Quarantined]
    summary: Summary | None
    recipe: Recipe | None
    audit: AuditReport | None
    judged: RowAudit | None
    shortcuts: ShortcutReport | None
    store: Store | None
    notes: list[str]
    qualities: dict[str, Quality] = field(default_factory=dict)  # of clips, where they were measured
    verified: dict[str, VerifiedRow] = field(default_factory=dict)  # of rows, where a verifier was asked

    @property
    def name(self) -> str:
        return self.recipe.name if self.recipe else self.folder.resolve().name

    @cached_property
    def separation(self) -> engine_runs.EngineRun | None:
        """The separation that made the stems, None without a recipe."""
        return engine_runs.engine_run(self.recipe, "separate") if self.recipe else None

    def speech(self, clip_id: str) -> bytes | None:
        """The FLAC of a clip's speech stem; None where the store does not have it."""
        clip = self.clips.get(clip_id)
        if clip is None or self.store is None or self.separation is None:
            return None
        try:
            return self.store.get(engine_runs.output_key(clip, self.separation, self.separation), ".flac")
        except MissingObject:
            return None

    def prediction(self, clip_id: str) -> Scene | None:
        """The predicted scene of a clip: that of its rows where it gives the answers, else the store's."""
        row = self.items[clip_id][0]
        clip = self.clips.get(clip_id)
        answers = clip.answers if clip else row.answers_from
        if answers == "heard":
            return row.scene
        if clip is None or self.store is None or self.recipe is None:
            return None
        try:
            return scenes.predicted_scene(clip, self.recipe, self.store)
        except MissingObject:
            return None

    def truth(self, clip_id: str) -> Scene | None:
        """The true scene of a clip, None where there is no truth."""
        row = self.items[clip_id][0]
        clip = self.clips.get(clip_id)
        if (clip.answers if clip else row.answers_from) == "truth":
            return row.scene
        return clip.truth if clip else None


def open_build(folder: Path, store: str | None = None) -> Build:
    """The build in `folder`; `store` says where its store lies now. PaqaError where there are no shards."""
    shards.with_scenes(folder)
    items = _items(folder)
    summary, recipe = _json(folder, BUILD, Summary), _json(folder, RECIPE, Recipe)
    clips = {c.id: c for c in shards.table_rows(folder / CLIPS, Clip)}
    here = [
        str(folder.resolve()),
        *([summary.out, summary.store] if summary else []),
        *([recipe.folder] if recipe else []),
    ]
    lost = shards.table_rows(folder / QUARANTINE, Quarantined)
    notes: list[str] = []
    opened_store = _store(recipe if clips else None, store or (summary.store if summary else None), notes)
    return Build(
        folder=folder,
        items=items,
        clips=clips,
        quarantined=[replace(q, detail=redact.shorten_paths_in_text(q.detail, *here)) for q in lost],
        summary=summary,
        recipe=recipe,
        audit=_json(folder, AUDIT, AuditReport),
        judged=(_json(folder, AUDIT, JudgedPart) or JudgedPart()).judged,
        shortcuts=_json(folder, SHORTCUTS, ShortcutReport),
        store=opened_store,
        notes=[
            redact.shorten_paths_in_text(note, *here)
            for note in (*notes, *(summary.warnings if summary else ()))
        ],
        qualities=clip_quality.read(folder / CLIPS),
        verified=verifier_table.load(folder),
    )


def _items(folder: Path) -> dict[str, list[Item]]:
    """All rows by clip; rows of one clip share one scene."""
    items: dict[str, list[Item]] = defaultdict(list)
    rows = map(shards.item, shards.rows(folder, [f.name for f in fields(Item)]))
    for row in sorted(rows, key=lambda item: item.id):
        first = next(iter(items[row.clip_id]), row)
        items[row.clip_id].append(replace(row, scene=first.scene) if row.scene == first.scene else row)
    return dict(sorted(items.items()))


def _json(folder: Path, name: str, kind: type[T]) -> T | None:
    """A file beside the shards, or None; PaqaError where it is of another version, or damaged."""
    try:
        return msgspec.json.decode((folder / name).read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise PaqaError(
            f"{folder / name}: made by another version of paqa, or damaged ({error}); "
            "delete it, or build again"
        ) from None


def _store(recipe: Recipe | None, url: str | None, notes: list[str]) -> Store | None:
    """The store, if stems can be found in it; a note says why not."""
    limits = (
        "clips are played without their stems, and predictions are shown only where they give the answers"
    )
    if recipe is None or url is None:
        notes.append(f"Only the shards are here: {limits}.")
        return None
    if "://" not in url and not Path(url).is_dir():
        notes.append(f"The store of this build is not where it was: {limits}. Name it with --store.")
        return None
    try:
        engine_runs.engines_used(recipe)
    except (PaqaError, ImportError) as error:
        notes.append(
            f"The engines of this build are not installed here ({error}), "
            f"so the store has no names: {limits}."
        )
        return None
    return Store(url)


def sounds(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each clip's id and FLAC, once, row group by row group."""
    seen: set[str] = set()
    for path in shards.files(folder):
        file = shards.open_shard(path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["clip_id", "audio"])
            for i, name in enumerate(table["clip_id"].to_pylist()):
                if name not in seen:
                    seen.add(name)
                    yield name, table["audio"][i].as_py()["bytes"]
