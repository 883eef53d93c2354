"""`paqa.build`: a build in plain Python, without Prefect and without a server."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from paqa.config.recipe import Recipe
from paqa.dataset.summary import Summary
from paqa.errors import PaqaError
from paqa.execution.placement import BuildPlacement, PlacementOptions
from paqa.execution.progress import Progress, collect
from paqa.pipeline import driver, precheck, recipe_files
from paqa.pipeline.fault_isolation import CrashTracker
from paqa.pipeline.protocols import Future as SubmittedCall
from paqa.pipeline.protocols import Submitted
from paqa.pipeline.stages import BuildState
from paqa.storage import build_folder
from paqa.storage.store import Store, is_transient

R = TypeVar("R")
TRIES = 3  # of a call that fails with what may pass, like a network that is away


class ThreadExecutor:
    """Runs calls in threads, which wait for workers; see `paqa.pipeline.protocols.Executor`."""

    def __init__(self, threads: int, progress: Progress):
        self._pool = ThreadPoolExecutor(threads)
        self._progress = progress

    def submit(
        self,
        stage: str,
        calls: Sequence[Callable[[], R]],
        sizes: Sequence[int],
        unit: str,
        after: Sequence[SubmittedCall[Any] | None] = (),
    ) -> Submitted[R]:
        """Begin the calls; call i waits for `after[i]`, which was submitted before it."""
        before = [*after, *[None] * (len(calls) - len(after))]
        futures = [self._pool.submit(_call, call, first) for call, first in zip(calls, before, strict=True)]
        return Submitted(stage, futures, sizes, unit)

    def results(self, submitted: Submitted[R]) -> list[R]:
        """All results in the order of the calls; the first failure is raised, and the rest given up."""
        return collect(submitted, as_completed, self._progress)

    def close(self) -> None:
        """Give up what has not begun; what runs ends with its worker."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _call(call: Callable[[], R], first: SubmittedCall[Any] | None) -> R:
    if first is not None:
        first.result()
    for _ in range(TRIES - 1):
        try:
            return call()
        except Exception as error:
            if not is_transient(error):
                raise
    return call()


def build(
    recipe: Recipe | Path | str,
    out: Path | str,
    *,
    workers: int | None = None,
    store: Path | str | None = None,
    grow: bool = False,
    audit: bool = False,
    report: bool = False,
    quiet: bool = False,
    options: PlacementOptions | None = None,
) -> Summary:
    """Build a dataset into the folder `out`, as the command `paqa build` does, but without Prefect.

    `recipe` is a recipe, the path of one (`.toml`), or a folder of recordings. `workers` is the number of
    processes (all cores by default), `store` the folder or URL of the store (by default `.paqa/store` beside
    `out`); `options` has all that `paqa build` can say about where calls run. With `grow`, the rows of the
    build in `out` stay; `audit` and `report` add these. Raises PaqaError for what can be mended; an earlier
    build in `out` is left as it is then.

    In a script, call it under `if __name__ == "__main__":`, since worker processes import the script.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise PaqaError(
            'paqa.build: the script runs it when a worker imports it; put it under if __name__ == "__main__":'
        )
    out = Path(out)
    chosen = options or PlacementOptions(workers=workers)
    recipe = replace(_recipe(recipe), devices=chosen.devices)
    precheck.check(recipe, out, grow)
    objects = Store(str(store or build_folder.home(out) / "store"))
    with build_folder.hold_folder(out), BuildPlacement(chosen, recipe, objects) as placement:
        objects.remove_stale()
        progress = Progress(quiet)
        executor = ThreadExecutor(placement.max_calls + 1, progress)

        def build_once() -> driver.Built:
            crashes = CrashTracker(chosen.limits)
            state = BuildState(recipe, out, objects, placement, executor, progress.note, crashes)
            built = driver.build(state, grow)
            if audit:
                driver.audit(state, built.clips)
            if report:
                driver.report(state, built.clips)
            return built

        try:
            return driver.with_repairs(build_once, objects).summary
        finally:
            executor.close()


def _recipe(source: Recipe | Path | str) -> Recipe:
    if isinstance(source, Recipe):
        return source
    path = Path(source)
    return recipe_files.for_folder(path) if path.is_dir() else recipe_files.load(path)
