"""The stage that measures how clips sound, where the recipe has `quality.measure`, and its thresholds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from functools import partial

from paqa.config.recipe import QualityConfig, Recipe
from paqa.engines import dnsmos
from paqa.engines.base import installed
from paqa.errors import PaqaError
from paqa.perception.inference import Cost
from paqa.perception.quality import Quality, low_quality, measure
from paqa.pipeline.stages import BuildState
from paqa.storage.store import Store
from paqa.types import Clip

STAGE = "quality"
PACKAGES = ("gammatone", "onnxruntime", "scipy", dnsmos.WEIGHTS.package)


def check(recipe: Recipe) -> None:
    """PaqaError for thresholds without measures, a bandwidth that no clip has, or a missing package."""
    config = recipe.quality
    if not config.measure:
        without = QualityConfig()
        for name in (field.name for field in fields(config)):
            if (value := getattr(config, name)) != getattr(without, name):
                raise PaqaError(
                    f"quality.{name} = {value}: nothing is measured; set quality.measure = true as well"
                )
        return
    if config.min_bandwidth_hz > (most := recipe.audio.rate // 2):
        raise PaqaError(
            f"quality.min_bandwidth_hz = {config.min_bandwidth_hz}: expected at most {most}, "
            f"half of audio.rate = {recipe.audio.rate}"
        )
    for package in PACKAGES:
        if not installed(package):
            raise PaqaError(
                f"quality.measure: package {package!r} is not installed; "
                "run: uv pip install 'paqa[quality]', or set quality.measure = false"
            )
    dnsmos.revision()


def measure_quality(state: BuildState, clips: list[Clip]) -> list[Clip]:
    """Measure all clips where the recipe says so; returns those that no threshold keeps out."""
    config = state.recipe.quality
    check(state.recipe)
    if not config.measure:
        return clips
    jobs = state.batches_of(clips)
    threads = state.placement.threads
    calls = [partial(measure_clips, batch, state.recipe, state.store, threads) for batch in jobs]
    kept: list[Clip] = []
    results = state.run(STAGE, calls, [len(batch) for batch in jobs], "clips")
    for batch, (qualities, cost) in zip(jobs, results, strict=True):
        state.add_cost(STAGE, cost)
        for clip, quality in zip(batch, qualities, strict=True):
            if failure := low_quality(clip, quality, config):
                state.quarantined.append(failure)
            else:
                kept.append(clip)
                state.qualities[clip.id] = quality
    return kept


def measure_clips(
    clips: Sequence[Clip], recipe: Recipe, store: Store, threads: int
) -> tuple[list[Quality], Cost]:
    """What a worker does for a batch: the quality of each clip, and what that cost."""
    began = time.perf_counter()
    qualities = [measure(clip, recipe, store, threads) for clip in clips]
    return qualities, Cost.since(began, clips)
