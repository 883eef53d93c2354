"""Two builds compared: rows that are added, removed or changed and why, and their figures side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paqa.dataset.summary import CLIP_KEPT
from paqa.report import diff_build
from paqa.report.diff_build import Mark, Side

UNRECORDED = "neither recipe, engines nor version differ: other clips of the build, or code of one version"
MEASURED = ("confidence", "audit", "quality")  # headings of figures that a build may lack
DETAIL = 300  # characters of a quarantine row's detail that are kept


@dataclass(frozen=True)
class Absent:
    """A row that one build has and the other lacks, with the reason in words and its detail.

    `reason` is e.g. "quarantined: low_margin", "clip quarantined: low_quality", "clip is not in the build" or
    "not asked", whose detail is what differs between the builds.
    """

    id: str
    clip_id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Changed:
    """A row that both have: the columns that differ ("audio" for the sound), and what may have changed it."""

    id: str
    clip_id: str
    fields: tuple[str, ...]
    causes: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """All of a comparison; `recipe` and `engines` are (name, in A, in B) where they differ.

    `figures` are (label, in A, in B) by heading, None where a build has no such figure.
    """

    a: str
    b: str
    same: int
    added: tuple[Absent, ...]
    removed: tuple[Absent, ...]
    changed: tuple[Changed, ...]
    recipe: tuple[tuple[str, Any, Any], ...]
    engines: tuple[tuple[str, str, str], ...]
    versions: tuple[tuple[str, ...], tuple[str, ...]]
    figures: dict[str, tuple[tuple[str, float | None, float | None], ...]]
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both have the same rows, by their keys."""
        return not (self.added or self.removed or self.changed)


def compare(first: Path, second: Path) -> Difference:
    """What differs between two builds; PaqaError where a folder is none. Holds ids and digests of rows."""
    a, b = diff_build.read(first), diff_build.read(second)
    both = a.rows.keys() & b.rows.keys()
    differing = {name for name in both if a.rows[name].digest != b.rows[name].digest}
    recipe = tuple(_recipe(a.recipe, b.recipe))
    keys = [name for name, _, _ in recipe if name != "seed"]
    return Difference(
        a=str(first),
        b=str(second),
        same=len(both) - len(differing),
        added=tuple(_absent(b, a, keys)),
        removed=tuple(_absent(a, b, keys)),
        changed=tuple(_changed(a, b, differing, keys)),
        recipe=recipe,
        engines=tuple(_engines(a, b)),
        versions=(a.versions, b.versions),
        figures={heading: _beside(a, b, heading) for heading in a.figures | b.figures},
        notes=(*a.notes, *b.notes),
    )


def _absent(having: Side, lacking: Side, recipe: list[str]) -> Iterator[Absent]:
    """The rows that one side has and the other lacks, and why, as far as the other's tables say."""
    ids = sorted(having.rows.keys() - lacking.rows.keys())
    clips = {having.rows[name].clip_id for name in ids}
    names = {name: _names(name, having) for name in clips}
    sought = {*ids, *(other for clip in names.values() for other in clip)}
    lost: dict[str, tuple[str, str]] = {}
    for left_out in diff_build.quarantine(lacking.folder):
        if left_out["reason"] in CLIP_KEPT:
            continue
        for name in {left_out["id"], left_out["fingerprint"]} & sought:
            lost.setdefault(name, (left_out["reason"], left_out["detail"][:DETAIL]))
    marks = {mark.clip_id: mark for mark in lacking.rows.values()}
    for name in ids:
        mark = having.rows[name]
        clip_id = mark.clip_id
        row = Absent(name, clip_id, "clip is not in the build")
        if name in lost or clip_id in lost:
            reason, detail = lost.get(name) or lost[clip_id]
            row = replace(
                row, reason=f"{'' if name in lost else 'clip '}quarantined: {reason}", detail=detail
            )
        elif clip_id in lacking.clips and mark.template in (lacking.recipe.get("questions.skip") or ()):
            row = replace(row, reason="left out by questions.skip")
        elif clip_id in lacking.clips:
            sounds = having.clips.get(clip_id), lacking.clips[clip_id]
            other_sound = all(sounds) and sounds[0] != sounds[1]
            why = _causes(mark, marks.get(clip_id, mark), other_sound, recipe)
            row = replace(row, reason="not asked", detail=f"may be due to: {', '.join(why)}")
        elif clip := next((lost[n] for n in names[clip_id] if n in lost), None):
            row = replace(row, reason=f"clip quarantined: {clip[0]}", detail=clip[1])
        yield row


def _names(clip_id: str, side: Side) -> tuple[str, ...]:
    """What a quarantine may call a clip: its id, its SHA-256, its recordings."""
    sha256 = side.clips.get(clip_id)
    return (clip_id, *([sha256] if sha256 else []), *side.recordings[clip_id])


def _changed(a: Side, b: Side, ids: set[str], recipe: list[str]) -> Iterator[Changed]:
    """The rows whose keys differ, with the columns that do. Holds the digests of the columns of one side."""
    before = dict(diff_build.field_digests(a.folder, ids)) if ids else {}
    rows = {}
    for name, now in diff_build.field_digests(b.folder, ids) if ids else ():
        then = before.pop(name)
        rows[name] = tuple(sorted(n for n in then | now if then.get(n) != now.get(n)))
    for name in sorted(rows):
        old, new = a.rows[name], b.rows[name]
        sounds = a.clips.get(old.clip_id), b.clips.get(new.clip_id)
        other_sound = sounds[0] != sounds[1] if all(sounds) else not rows[name]
        fields = (*rows[name], *(["audio"] if other_sound else []))
        yield Changed(name, new.clip_id, fields, tuple(_causes(old, new, other_sound, recipe)))


def _causes(one: Mark, other: Mark, other_sound: bool, recipe: list[str]) -> list[str]:
    """What differs between the builds that may have changed a row, or what a clip is asked."""
    causes = ["audio of the clip"] if other_sound else []
    causes += [f"engine of {stage}" for stage in sorted({e[0] for e in {*one.engines} ^ {*other.engines}})]
    causes += ["seed"] if one.seed != other.seed else []
    causes += ["version of paqa"] if one.version != other.version else []
    causes += ["recipe"] if recipe else []
    return causes or [UNRECORDED]


def _recipe(a: dict[str, Any], b: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The keys that differ, with both values; a source or mix that only one has is one key."""
    if not (a and b):
        return
    tables = [{name.rpartition(".")[0] for name in side if name.count(".") > 1} for side in (a, b)]
    alone = tables[0] ^ tables[1]
    for table in sorted(alone):
        before, now = ("there" if table in side else None for side in tables)
        yield table, before, now
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name) and not any(name.startswith(f"{table}.") for table in alone):
            yield name, a.get(name), b.get(name)


def _engines(a: Side, b: Side) -> Iterator[tuple[str, str, str]]:
    for stage in sorted(a.engines | b.engines):
        before, now = (", ".join(side.engines.get(stage, ())) or "none" for side in (a, b))
        if before != now:
            yield stage, before, now


def _beside(a: Side, b: Side, heading: str) -> tuple[tuple[str, float | None, float | None], ...]:
    before, now = dict(a.figures.get(heading, ())), dict(b.figures.get(heading, ()))
    absent = None if heading in MEASURED else 0  # a count that is not there is none; a measure was not made
    names = {**before, **now} if heading in ("size", *MEASURED) else sorted(before | now)
    return tuple((name, before.get(name, absent), now.get(name, absent)) for name in names)


def reasons(rows: tuple[Absent, ...]) -> list[tuple[str, int]]:
    """Rows by reason, frequent first."""
    return sorted(Counter(row.reason for row in rows).items(), key=lambda pair: (-pair[1], pair[0]))


def causes(rows: tuple[Changed, ...]) -> list[tuple[str, int]]:
    """Changed rows by cause, frequent first; a row may have several."""
    counts = Counter(cause for row in rows for cause in row.causes)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def fields(rows: tuple[Changed, ...]) -> list[tuple[str, int]]:
    """Changed rows by column, frequent first."""
    counts = Counter(field for row in rows for field in row.fields)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
