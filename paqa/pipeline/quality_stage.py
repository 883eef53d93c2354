"""The stage that measures how clips sound, where the recipe has `quality.measure`, and its thresholds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paqa.config.recipe import Recipe
from paqa.engines import dnsmos
from paqa.engines.base import installed
from paqa.errors import PaqaError, Rejected, WorkerDied
from paqa.perception.inference import Cost
from paqa.perception.quality import (
    NOT_MEASURED,
    Measurement,
    low_quality,
    measure,
    not_measured,
    set_thresholds,
    unmeasured_row,
)
from paqa.pipeline.fault_isolation import Batch, CrashTracker, RunCall, blame, sum_costs
from paqa.pipeline.stages import BuildState
from paqa.storage.store import Store
from paqa.types import Clip, Quarantined

STAGE = "quality"
PACKAGES = ("gammatone", "onnxruntime", "scipy", dnsmos.WEIGHTS.package)


def check(recipe: Recipe) -> None:
    """PaqaError for thresholds without measures, a bandwidth that no clip has, or a missing package."""
    config = recipe.quality
    if not config.measure:
        for name in sorted(set_thresholds(config)):
            raise PaqaError(
                f"quality.{name} = {getattr(config, name)}: nothing is measured; "
                "set quality.measure = true as well"
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


@dataclass(frozen=True)
class MeasuredBatch:
    """What was measured of clips by their ids, and the rows of those of which something was not."""

    measurements: dict[str, Measurement]
    rows: tuple[Quarantined, ...]
    cost: Cost


def measure_quality(state: BuildState, clips: list[Clip]) -> list[Clip]:
    """Measure all clips where the recipe says so; returns those that no threshold keeps out.

    A clip on which a measure fails is kept without it, unless a threshold needs it.
    """
    config = state.recipe.quality
    check(state.recipe)
    if not config.measure:
        return clips
    jobs = state.batches_of(clips)
    runner, threads = state.placement.runner(STAGE), state.placement.threads
    calls = [QualityBatch(batch, state.recipe, state.store, threads, runner, state.crashes) for batch in jobs]
    sizes = [len(batch) for batch in jobs]
    measurements: dict[str, Measurement] = {}
    rows: list[Quarantined] = []
    for batch in state.executor.results(state.executor.submit(STAGE, calls, sizes, "clips")):
        state.add_cost(STAGE, batch.cost)
        measurements |= batch.measurements
        rows += batch.rows
    lost = {row.id for row in rows if row.reason != NOT_MEASURED}
    for clip in clips:
        if clip.id in measurements and clip.id not in lost:
            if low := low_quality(clip, measurements[clip.id].quality, config):
                rows.append(low)
                lost.add(clip.id)
            else:
                state.qualities[clip.id] = measurements[clip.id].quality
    state.quarantined += rows
    if kept := {row.id for row in rows} - lost:
        state.warnings.append(
            f"the quality of {len(kept)} clips could not be measured in full, and they are kept: see "
            f"{NOT_MEASURED} in quarantine"
        )
    return [clip for clip in clips if clip.id not in lost]


class QualityBatch(Batch[Clip, MeasuredBatch]):
    """`measure_clips` for a batch of clips, some of which may crash it."""

    def __init__(
        self,
        clips: Sequence[Clip],
        recipe: Recipe,
        store: Store,
        threads: int,
        run: RunCall,
        tracker: CrashTracker,
    ):
        super().__init__(clips, STAGE, run, tracker)
        self.inputs = (recipe, store, threads)
        self.thresholds = sorted(set_thresholds(recipe.quality))

    def arguments(self, units: Sequence[Clip]) -> tuple[Any, ...]:
        """See `Batch`."""
        seconds = self.tracker.limits.for_engine([clip.duration_ms / 1000 for clip in units], "cpu")
        return seconds, measure_clips, units, *self.inputs

    def succeeded(self, units: Sequence[Clip], result: MeasuredBatch) -> None:
        """See `Batch`: the process lives, and yet a measure may have failed on all of it."""
        if len(result.rows) < len(units):
            self.tracker.success(self.work)
            return
        for row in result.rows:
            self.tracker.failure(self.work, row.detail)

    def outcome(self) -> MeasuredBatch:
        """See `MeasuredBatch`."""
        measurements = {name: one for part in self.results for name, one in part.measurements.items()}
        rows = [row for part in self.results for row in part.rows]
        rows += [self._row(clip, death) for clip, death in self.crashed]
        return MeasuredBatch(measurements, tuple(rows), sum_costs([part.cost for part in self.results]))

    def _row(self, clip: Clip, death: WorkerDied) -> Quarantined:
        advice = "remove the recording, or set quality.measure = false"
        reason, detail = blame(death, f"measuring {clip.uri}", "quality_failed", advice)
        return unmeasured_row(clip, detail, self.thresholds, reason)


def measure_clips(clips: Sequence[Clip], recipe: Recipe, store: Store, threads: int) -> MeasuredBatch:
    """What a worker does for a batch."""
    began = time.perf_counter()
    measurements: dict[str, Measurement] = {}
    rows = []
    for clip in clips:
        try:
            measurements[clip.id] = measure(clip, recipe, store, threads)
        except Rejected as error:
            rows.append(Quarantined(clip.id, STAGE, error.reason, f"{clip.uri}: {error.detail}", clip.sha256))
        else:
            failed = not_measured(clip, measurements[clip.id].failures, recipe.quality)
            rows += [failed] if failed else []
    return MeasuredBatch(measurements, tuple(rows), Cost.since(began, clips))
