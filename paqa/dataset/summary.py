"""What a build came to: the files beside the shards, and the short table at its end."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from paqa.config.recipe import Recipe
from paqa.dataset import card, shards
from paqa.licensing import compatibility
from paqa.perception.inference import Cost
from paqa.splits.assign import speakers_unknown
from paqa.storage import build_folder
from paqa.storage.build_folder import (
    BUILD,
    CARD,
    CLIPS,
    DATA,
    LICENSES,
    QUARANTINE,
    RECIPE,
    SHORTCUTS,
    SURVEY,
)
from paqa.storage.store import digest, write_atomically
from paqa.types import Clip, Item, Quarantined

EXAMPLES = 3  # of what fell out for a reason, in the UI
SEALED = (
    QUARANTINE,
    CLIPS,
    SURVEY,
    SHORTCUTS,
    RECIPE,
)  # tables whose digests build.json has; texts may be edited


@dataclass(frozen=True)
class Stage:
    """What one stage did in this run; a hearing found in the store costs nothing and does not count."""

    name: str
    clips: int = 0
    audio_s: float = 0.0
    model_s: float = 0.0  # inside engines, over all workers
    total_s: float = 0.0  # with reading and writing, over all workers

    def __add__(self, spent: Cost) -> Stage:
        return dataclasses.replace(
            self,
            clips=self.clips + spent.clips,
            audio_s=self.audio_s + spent.audio_s,
            model_s=self.model_s + spent.model_s,
            total_s=self.total_s + spent.total_s,
        )

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work per second of audio; below 1 is faster than real time."""
        return self.total_s / self.audio_s if self.audio_s else None


@dataclass(frozen=True)
class Summary:
    """The figures of a build (`build.json`)."""

    name: str
    out: str
    store: str
    clips: int
    composed: int
    audio_s: float
    items: int
    by_split: dict[str, int]
    by_task: dict[str, int]
    by_answer: dict[str, int]
    by_subset: dict[str, int]
    by_reflection: dict[str, int]  # the origins of wrong first responses, e.g. "heard:missed_event"
    difficulty: float  # the mean
    quarantined: dict[str, int]
    stages: tuple[Stage, ...]
    shards: tuple[str, ...]
    shard_bytes: int
    warnings: tuple[str, ...] = ()
    license: str | None = None  # that all of it comes under; None where no one licence covers all
    by_license: dict[str, int] = dataclasses.field(default_factory=dict)  # rows by their material's
    files: dict[str, str] = dataclasses.field(
        default_factory=dict
    )  # SHA-256 by path: shards, and tables beside them
    speakers_unknown: dict[str, int] = dataclasses.field(default_factory=dict)  # clips by source, see split


def write_quarantine(folder: Path, recipe: Recipe, lost: Sequence[Quarantined]) -> None:
    """Write quarantine.parquet, each row once, and recipe.json: what a build that fails leaves, too."""
    rows = sorted(dict.fromkeys(lost), key=lambda q: (q.stage, q.id, q.reason))
    shards.write_table(folder / QUARANTINE, Quarantined, rows)
    write_atomically(folder / RECIPE, msgspec.json.format(msgspec.json.encode(recipe)))


def abandon(recipe: Recipe, out: Path, lost: Sequence[Quarantined]) -> None:
    """Keep what fell out of a build that failed, and its recipe, in the folder `failed` of the earlier
    build.
    """
    if build_folder.pending(out).is_dir():  # else it failed after its commit
        write_quarantine(build_folder.pending(out), recipe, lost)
        build_folder.abandon(out)


def finish(
    recipe: Recipe,
    out: Path,
    store: str,
    clips: Sequence[Clip],
    items: Sequence[Item],
    lost: Sequence[Quarantined],
    stages: Sequence[Stage],
    shard_digests: Mapping[str, str],
    warnings: Sequence[str] = (),
) -> Summary:
    """Write the tables beside the shards, which lie in the build's pending folder, and commit; returns the
    summary.

    `shard_digests` are SHA-256s by name of the shard.
    """
    folder = build_folder.pending(out)
    write_quarantine(folder, recipe, lost)
    shards.write_table(folder / CLIPS, Clip, sorted(clips, key=lambda c: c.id))
    tables = {name: digest(folder / name) for name in SEALED if (folder / name).exists()}
    about = {item.clip_id for item in items}
    unnamed = speakers_unknown(clip for clip in clips if clip.id in about)
    done = Summary(
        name=recipe.name,
        out=str(out),
        store=store,
        clips=len(clips),
        composed=sum(c.uri.startswith("mix:") for c in clips),
        audio_s=round(sum(c.duration_ms for c in clips) / 1000, 1),
        **counted(items),
        quarantined=_counts(q.reason for q in dict.fromkeys(lost)),
        stages=tuple(stages),
        shards=tuple(shard_digests),
        shard_bytes=sum((folder / DATA / name).stat().st_size for name in shard_digests),
        warnings=(*warnings, *card.unknown(unnamed)),
        license=compatibility.of_dataset(items, recipe.license),
        by_license={share.license: share.rows for share in compatibility.roll_up(items, clips)},
        files=tables | {f"{DATA}/{name}": sha256 for name, sha256 in shard_digests.items()},
        speakers_unknown=unnamed,
    )
    write_atomically(folder / CARD, card.render(recipe, done, clips, items).encode())
    write_atomically(folder / LICENSES, card.licenses(recipe, done, clips, items).encode())
    write_atomically(folder / BUILD, msgspec.json.format(msgspec.json.encode(done)))
    build_folder.commit(out)
    return done


def counted(items: Sequence[Item]) -> dict[str, Any]:
    """The figures of a Summary that its rows alone decide, by field."""
    return {
        "items": len(items),
        "by_split": _counts(i.split for i in items),
        "by_task": _counts(i.task for i in items),
        "by_answer": _counts("open" if i.answer_index is None else "ABCDEFGH"[i.answer_index] for i in items),
        "by_reflection": _counts(i.reflection for i in items if i.reflection),
        "by_subset": _counts(name for i in items for name in i.subsets),
        "difficulty": round(sum(i.difficulty for i in items) / max(1, len(items)), 3),
    }


def _counts(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def load(out: Path) -> Summary:
    """The summary of a finished build."""
    build_folder.settle(out)
    found: Summary = msgspec.json.decode((out / BUILD).read_bytes(), type=Summary)
    return found


def digests(out: Path) -> dict[str, str]:
    """The SHA-256s of a build's files, by path; none where there is no build, or one that cannot be read."""
    try:
        return load(out).files
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def mismatches(out: Path) -> Iterator[str]:
    """Where the files of a build are not those that its build.json tells of, in one line each.

    Nothing is said about shards without a build.json and a recipe beside them: downloaded ones, say.
    """
    again = f"run: paqa build RECIPE.toml --out {out}"
    build_folder.settle(out)
    if not (out / BUILD).exists():
        if (out / RECIPE).exists():
            yield f"{BUILD} is missing beside {RECIPE}: no build was finished here; {again}"
        return
    try:
        done = load(out)
    except msgspec.DecodeError as error:
        yield f"{BUILD} cannot be read ({error}); {again}"
        return
    expected, present = (
        {f"{DATA}/{n}" for n in done.shards},
        {f"{DATA}/{p.name}" for p in shards.files(out)},
    )
    foreign = sorted(present - expected)
    yield from (f"{name} is not of this build: {BUILD} does not list it; remove it" for name in foreign)
    missing = sorted(name for name in expected | set(done.files) if not (out / name).exists())
    yield from (f"{name} is missing, {BUILD} lists it; {again}" for name in missing)
    current = {name: digest(out / name) for name in done.files if name not in missing}
    changed = sorted(name for name in current if current[name] != done.files[name])
    for name in changed:
        yield f"{name} has changed: its SHA-256 is {current[name][:16]}, {BUILD} has {done.files[name][:16]}; {again}"
    if not (foreign or missing or changed):
        rows = sum(shards.open_shard(path).metadata.num_rows for path in shards.files(out))
        if rows != done.items:
            yield f"{DATA} has {rows} rows, {BUILD} counts {done.items}; {again}"


def stage_rows(
    stages: Mapping[str, Stage], walked: Sequence[tuple[str, int, str, float]]
) -> list[dict[str, Any]]:
    """One dict per stage in order, for tables; `walked` has name, number and unit of what was done, and
    seconds.
    """
    return [_stage_row(stages.get(name, Stage(name)), n, unit, seconds) for name, n, unit, seconds in walked]


def _stage_row(stage: Stage, done: int, unit: str, seconds: float) -> dict[str, Any]:
    factor = stage.real_time_factor if stage.model_s else None
    return {
        "stage": stage.name,
        "done": f"{done} {unit}",
        "seconds": round(seconds, 1),
        "audio s": round(stage.audio_s, 1) or "",
        "engine s": round(stage.model_s, 1) or "",
        "real-time factor": "" if factor is None else round(factor, 4),
    }


def quarantine_markdown(lost: Sequence[Quarantined]) -> str:
    """What fell out as a Prefect artifact: counts by stage and reason, the most frequent first, then some
    examples.
    """
    table: dict[tuple[str, str], list[Quarantined]] = defaultdict(list)
    for row in sorted(dict.fromkeys(lost), key=lambda q: q.id):
        table[row.stage, row.reason].append(row)
    ordered = sorted(table.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    lines = ["# What fell out", "", "| stage | reason | rows |", "|---|---|---|"]
    lines += [f"| {stage} | {reason} | {len(own)} |" for (stage, reason), own in ordered]
    for (_, reason), own in ordered:
        lines += ["", f"**{reason}**, for example", ""]
        lines += [f"- `{row.id}`: {_plain(row.detail.removeprefix(f'{row.id}: '))}" for row in own[:EXAMPLES]]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text of others, with nothing in it that Markdown would take for its own."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def facts(done: Summary) -> list[tuple[str, str]]:
    """The figures worth reading first, label and value."""
    total = done.items + sum(done.quarantined.values())
    reasons = ", ".join(
        f"{reason} {n}" for reason, n in sorted(done.quarantined.items(), key=lambda r: -r[1])
    )
    return [
        ("clips", f"{done.clips} ({done.composed} composed scenes), {done.audio_s:,.0f} s of audio"),
        ("questions", f"{done.items} ({_listed(done.by_split)})"),
        ("tasks", _listed(done.by_task)),
        ("answers", _listed(done.by_answer)),
        (
            "difficulty",
            ", ".join(filter(None, (f"{done.difficulty:.2f} on average", _listed(done.by_subset)))),
        ),
        ("reflected", _reflected(done)),
        ("licence", done.license or f"no one covers all ({', '.join(done.by_license)})"),
        ("quarantined", f"{total - done.items} of {total}" + (f": {reasons}" if reasons else "")),
        ("shards", f"{len(done.shards)} in {done.out}/data, {done.shard_bytes / 1e6:.1f} MB"),
    ]


def _reflected(done: Summary) -> str:
    """How many questions are answered wrong at first, and how many of these answers come from a real
    mishearing.
    """
    heard = sum(n for name, n in done.by_reflection.items() if name.startswith("heard:"))
    return f"{sum(done.by_reflection.values())} of {done.items}, {heard} of them after a real mishearing"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def text(done: Summary) -> str:
    """The short table at the end of a build."""
    lines = [f"{label:<12} {value}" for label, value in facts(done)]
    heard = [s for s in done.stages if s.model_s]
    if heard:
        lines += ["", f"{'stage':<22} {'clips':>6} {'audio s':>9} {'engine s':>9} {'real-time factor':>17}"]
        lines += [
            f"{s.name:<22} {s.clips:>6} {s.audio_s:>9.0f} {s.model_s:>9.1f} {s.real_time_factor or 0:>17.4f}"
            for s in heard
        ]
        factor = sum(s.real_time_factor or 0 for s in heard)
        lines += [
            f"{'all engines':<22} {'':>6} {'':>9} {sum(s.model_s for s in heard):>9.1f} {factor:>17.4f}"
        ]
    else:
        lines += ["", "heard        everything was in the store already: no engine was loaded"]
    lines += [f"\nwarning      {warning}" for warning in done.warnings]
    return "\n".join(lines)


def markdown(done: Summary) -> str:
    """The summary as a Prefect artifact; a list, since the UI does not break lines in tables."""
    rows = "\n".join(f"- **{label}** {_plain(value)}" for label, value in facts(done))
    warned = "".join(f"\n> **Warning:** {_plain(warning)}\n" for warning in done.warnings)
    return f"# {done.name}\n{warned}\n{rows}\n"
