"""The end of a build: the files beside the shards, and the commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from paqa.config.recipe import Recipe
from paqa.dataset import card, clip_quality, shards
from paqa.dataset.summary import (
    ClipKind,
    Reviewed,
    Stage,
    Summary,
    counts,
    predicted_figures,
    row_figures,
)
from paqa.dataset.verifier_table import VerifierFigures
from paqa.licensing import compatibility
from paqa.perception.quality import Quality
from paqa.splits.leakage import speakers_unknown
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
    VERIFIER,
)
from paqa.storage.store import digest, write_atomically
from paqa.types import Clip, Item, Quarantined

# tables whose digests build.json has; texts may be edited
SEALED = (QUARANTINE, CLIPS, SURVEY, VERIFIER, SHORTCUTS, RECIPE)


@dataclass(frozen=True)
class Contents:
    """What a build made; `shard_digests` are SHA-256s by name of the shard."""

    clips: Sequence[Clip]
    items: Sequence[Item]
    quarantined: Sequence[Quarantined]
    stages: Sequence[Stage]
    shard_digests: Mapping[str, str]
    warnings: Sequence[str] = ()
    by_kind: tuple[ClipKind, ...] = ()
    reviewed: Reviewed | None = None
    qualities: Mapping[str, Quality] = field(default_factory=dict)  # where they are measured, by clip
    verified: VerifierFigures | None = None


def write_quarantine(folder: Path, recipe: Recipe, quarantined: Sequence[Quarantined]) -> None:
    """Write quarantine.parquet, each row once, and recipe.json: what a build that fails leaves, too."""
    rows = sorted(dict.fromkeys(quarantined), key=lambda q: (q.stage, q.id, q.reason))
    shards.write_table(folder / QUARANTINE, Quarantined, rows)
    write_atomically(folder / RECIPE, msgspec.json.format(msgspec.json.encode(recipe)))


def abandon(recipe: Recipe, out: Path, quarantined: Sequence[Quarantined]) -> None:
    """Keep the quarantine and the recipe of a build that failed, in `failed/` of the earlier build."""
    if build_folder.pending(out).is_dir():  # else it failed after its commit
        write_quarantine(build_folder.pending(out), recipe, quarantined)
        build_folder.abandon(out)


def finish(recipe: Recipe, out: Path, store: str, contents: Contents) -> Summary:
    """Write the files beside the shards, which lie in the build's pending folder, and commit it."""
    folder = build_folder.pending(out)
    write_quarantine(folder, recipe, contents.quarantined)
    clip_quality.write_clips(folder / CLIPS, contents.clips, contents.qualities)
    summary = _summary(recipe, out, store, contents)
    clips, items = contents.clips, contents.items
    write_atomically(folder / CARD, card.render(recipe, summary, clips, items).encode())
    write_atomically(folder / LICENSES, card.licenses(recipe, summary, clips, items).encode())
    write_atomically(folder / BUILD, msgspec.json.format(msgspec.json.encode(summary)))
    build_folder.commit(out)
    return summary


def _summary(recipe: Recipe, out: Path, store: str, contents: Contents) -> Summary:
    """The figures of a build whose tables and shards lie in its pending folder."""
    folder = build_folder.pending(out)
    clips, items = contents.clips, contents.items
    tables = {name: digest(folder / name) for name in SEALED if (folder / name).exists()}
    asked_clips = {item.clip_id for item in items}
    unnamed = speakers_unknown(clip for clip in clips if clip.id in asked_clips)
    return Summary(
        name=recipe.name,
        out=str(out),
        store=store,
        clips=len(clips),
        composed=sum(c.uri.startswith("mix:") for c in clips),
        audio_s=round(sum(c.duration_ms for c in clips) / 1000, 1),
        **row_figures(items),
        **predicted_figures(items),
        by_kind=contents.by_kind,
        reviewed=contents.reviewed,
        quality=clip_quality.figures(contents.qualities.values()),
        quarantined=counts(q.reason for q in dict.fromkeys(contents.quarantined)),
        stages=tuple(contents.stages),
        shards=tuple(contents.shard_digests),
        shard_bytes=sum((folder / DATA / name).stat().st_size for name in contents.shard_digests),
        warnings=(*contents.warnings, *card.unknown_speakers(unnamed)),
        license=compatibility.of_dataset(items, recipe.license),
        by_license={share.license: share.rows for share in compatibility.shares_by_license(items, clips)},
        files=tables | {f"{DATA}/{name}": sha256 for name, sha256 in contents.shard_digests.items()},
        speakers_unknown=unnamed,
        verifier=contents.verified,
    )
