"""What a worker does for a batch besides decoding and running engines.

Every step reads and writes the store and returns small results, so a batch can run in any process on any
machine.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from paqa.audio import decode, fingerprint, read_flac
from paqa.config.recipe import AudioConfig, Recipe
from paqa.dataset import shards
from paqa.dataset.shards import ShardPlan
from paqa.errors import PaqaError, Rejected
from paqa.mixing import plan
from paqa.mixing.render import render
from paqa.perception.inference import Cost
from paqa.pipeline.ingest import INGEST, DecodedBatch, put_samples, readable_digest
from paqa.pipeline.rows import whole
from paqa.storage.store import Store, key
from paqa.types import Clip, Origin, Quarantined, Scene

MIXING = 1  # raise when rendering a mixture changes what comes out


@dataclass(frozen=True)
class Mixed:
    """A rendered mixture: digests of the mix and of its clean speech, and the truth."""

    sha256: str
    reference_sha256: str
    truth: Scene


def ready() -> None:
    """Called in a fresh worker: what the walk needs, but for engines, is imported by then."""


def mixtures(
    recipe: Recipe, material: Mapping[str, Sequence[Clip]], lost: Sequence[Quarantined]
) -> list[plan.Mixture]:
    """All scenes to compose, from clips by name of their source; `lost` explains a lack of them."""
    planned: list[plan.Mixture] = []
    for config in recipe.mix:
        speech = [clip for name in config.sources("speech") for clip in material[name]]
        sounds = [clip for name in config.sources("background") for clip in material[name]]
        try:
            planned += plan.plan(config, recipe.seed, recipe.audio, speech, sounds, recipe.split)
        except PaqaError as error:
            why = f" ({len(lost)} recordings fell out before, e.g. {lost[0].detail})" if lost else ""
            raise PaqaError(f"{error}{why}") from None
    return planned


def render_mixtures(
    batch: Sequence[plan.Mixture], clips: Mapping[str, Clip], recipe: Recipe, store: Store
) -> DecodedBatch:
    """Compose scenes into clips with exact truth; those that the store has are not rendered again."""
    began = time.perf_counter()
    rendered = [_mixed_clip(mixture, clips, recipe, store) for mixture in batch]
    return DecodedBatch(tuple(rendered), (), Cost.since(began, rendered))


def _mixed_clip(mixture: plan.Mixture, clips: Mapping[str, Clip], recipe: Recipe, store: Store) -> Clip:
    material = [clips[placement.clip_id] for placement in mixture.placements]
    decisive = [(clip.sha256, clip.truth, clip.corpus, clip.voice, clip.groups) for clip in material]
    where = key("mix", MIXING, mixture, decisive)
    stored: Mixed | None = store.get_json(where, Mixed) if store.has(where, ".json") else None
    if stored and all(store.has(sha, ".flac") for sha in (stored.sha256, stored.reference_sha256)):
        mixed = stored
    else:
        audio, reference, truth = render(mixture, lambda sha: read_flac(store.get(sha, ".flac")), clips)
        mixed = Mixed(put_samples(audio, store), put_samples(reference, store), truth)
        if stored is None:
            store.put_json(where, mixed)
    return Clip(
        id=mixture.id,
        uri=f"mix:{mixture.id}",
        sha256=mixed.sha256,
        duration_ms=mixed.truth.duration_ms,
        rate=recipe.audio.rate,
        corpus=mixture.id.rpartition("-")[0],
        source=mixture.source,
        license=mixture.license,
        groups=mixture.groups,
        split=mixture.split,
        answers=mixture.answers,
        listen=mixture.listen,
        truth=mixed.truth,
        reference_sha256=mixed.reference_sha256,
        origins=_mixed_in(mixture, clips),
        truth_covers=("turns", "events") if all(clip.truth for clip in material) else ("turns",),
    )


def _mixed_in(mixture: plan.Mixture, clips: Mapping[str, Clip]) -> tuple[Origin, ...]:
    """Every voice and sound of a mixture, once each, in order of first appearance."""
    origins: dict[Origin, None] = {}
    for placement in mixture.placements:
        role: Literal["voice", "sound"] = "voice" if placement.kind == "speech" else "sound"
        for origin in clips[placement.clip_id].origins:
            origins.setdefault(replace(origin, role=role))
    return tuple(origins)


def prints(samples: Sequence[str], store: Store) -> list[np.ndarray]:
    """The fingerprints of stored samples, by their digests, each `(n,)` uint32; known ones are looked up."""
    fingerprints = []
    for sha in samples:
        where = key("fingerprint", fingerprint.VERSION, sha)
        if not store.has(where, ".bin"):
            words = fingerprint.fingerprint(read_flac(store.get(sha, ".flac")))
            store.put(where, ".bin", words.astype("<u4").tobytes())
        fingerprints.append(np.frombuffer(store.get(where, ".bin"), "<u4"))
    return fingerprints


def file_prints(paths: Sequence[Path], config: AudioConfig, store: Store) -> list[tuple[np.ndarray, str]]:
    """The fingerprints of a benchmark's files, each `(n,)` uint32, with the reason where it is empty."""
    fingerprints: list[tuple[np.ndarray, str]] = []
    for path in paths:
        try:
            sha256 = readable_digest(path, store)
            where = key("fingerprint of file", fingerprint.VERSION, INGEST, config, sha256)
            if not store.has(where, ".bin"):
                words = fingerprint.fingerprint(decode(path, config))
                store.put(where, ".bin", words.astype("<u4").tobytes())
            fingerprints.append((np.frombuffer(store.get(where, ".bin"), "<u4"), ""))
        except Rejected as error:
            fingerprints.append((np.zeros(0, "<u4"), error.detail))
    return fingerprints


@dataclass(frozen=True)
class ShardTarget:
    """The folder that a shard is written into, and the one in which an earlier build has its shards."""

    folder: Path
    earlier: Path


def write_shard(
    plan: ShardPlan,
    row_keys: Mapping[str, str],
    target: ShardTarget,
    earlier_sha256: str | None,
    recipe: Recipe,
    store: Store,
) -> str:
    """Write one Parquet file of items, whose rows the store has under `row_keys`; its SHA-256.

    A file of that name is taken over from an earlier build where its bytes still have `earlier_sha256`.
    """
    if earlier_sha256 and shards.take_over(target.earlier / plan.name, target.folder, earlier_sha256):
        return earlier_sha256
    load_audio = partial(store.get, suffix=".flac")
    load_rows = partial(whole, row_keys=row_keys, store=store)
    return shards.write(plan, target.folder, recipe.shard, load_audio, recipe.audio.rate, load_rows)
