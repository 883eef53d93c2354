"""The order of a build's stages, once; `stages` has each of them, `worker_steps` what workers do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from paqa.dataset import finish_build
from paqa.dataset.summary import Summary
from paqa.errors import DamagedObject, MissingObject, PaqaError
from paqa.evaluation import audit_folder
from paqa.pipeline import growth, quality_stage, review, row_stages, stages, verification
from paqa.pipeline.stages import BuildState
from paqa.report import write as reports
from paqa.splits import by_class
from paqa.storage import build_folder
from paqa.storage.store import Store
from paqa.types import Clip

MAX_REPAIRS = 5  # times that a build is gone over again because its store has lost an object


@dataclass(frozen=True)
class Built:
    """A finished build."""

    summary: Summary
    clips: list[Clip]


def build(state: BuildState, grow: bool = False) -> Built:
    """All stages, from recordings to shards in `state.out`; `grow` keeps the rows of the build there.

    Raises PaqaError for what a user can mend, and leaves an earlier build as it is then.
    """
    state.earlier = growth.load(state.out, state.recipe) if grow else None
    build_folder.begin(state.out)
    try:
        recordings = stages.gather(state)
        clips, material = stages.decode(state, recordings)
        if (shares := state.recipe.split).classes:
            clips, material = by_class.spread_sources(clips, material, shares, state.recipe.seed)
        clips, material, copies = stages.without_leaks(state, clips, material)
        scenes = stages.mix(state, material)
        clips = stages.without_twins(state, [*clips, *scenes], copies)
        clips = stages.without_leaking_scenes(state, clips)
        clips = stages.run_engines(state, clips)
        clips = quality_stage.measure_quality(state, clips)
        stages.survey_scenes(state, clips)
        composed = verification.verify(state, stages.compose(state, clips), clips)
        composed = row_stages.without_benchmarks(state, composed)
        items = review.without_rejected(state, row_stages.without_shortcuts(state, composed), composed)
        stages.check_losses(state, items, clips, material)
        return Built(stages.write(state, items, clips), clips)
    except Exception:  # not of Ctrl-C, which is to end it at once
        finish_build.abandon(state.recipe, state.out, state.quarantined)  # what fell out is what to look at
        raise


def audit(state: BuildState, clips: list[Clip]) -> audit_folder.Audited | None:
    """Compare predictions with the truth; the figures lie beside the shards. None where no clip has truth."""
    with_truth = sum(clip.truth is not None and clip.listen for clip in clips)
    if not with_truth:
        return None
    return state.run("audit", [partial(audit_folder.measure_and_save, state.out)], [with_truth], "clips")[0]


def report(state: BuildState, clips: list[Clip]) -> reports.Written:
    """Write the report of a finished build into its folder."""
    return state.run("report", [partial(reports.write, state.out)], [len(clips)], "clips")[0]


def with_repairs(build_once: Callable[[], Built], store: Store) -> Built:
    """Build again where the store turns out to have lost or damaged an object, which is made anew then.

    Where one is damaged, all objects of a local store are looked at. PaqaError where that does not help.
    """
    losses: list[str] = []
    while True:
        try:
            return build_once()
        except MissingObject as error:
            losses.append(str(error))
            if len(losses) > MAX_REPAIRS or losses.count(losses[-1]) > 1:
                raise PaqaError(
                    f"{error}; this is loss number {len(losses)} in one build, so the disk may be failing: "
                    "check it, then run the same command again"
                ) from None
            print(f"{error}; it is made again", file=sys.stderr, flush=True)
            if store.local and isinstance(
                error, DamagedObject
            ):  # one is seldom alone, and reading is cheap here
                _remove_damaged(store)


def _remove_damaged(store: Store) -> None:
    for path, whole in store.verified():
        if not whole:
            print(f"{path} was damaged, too, and has been removed", file=sys.stderr, flush=True)
