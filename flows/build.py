"""`paqa build` as a Prefect flow: one task per stage and batch of clips, with artifacts to look at.

The order of the stages is `paqa.pipeline.driver`'s; here are its executor over Prefect, and what the UI
shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TagsContext
from prefect.futures import PrefectFuture, as_completed
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from flows.gpu_slots import LIMIT, limit, slot
from flows.pages import report_link
from flows.server import Server, running
from paqa.config.recipe import Recipe
from paqa.dataset import summary
from paqa.errors import PaqaError
from paqa.evaluation import tables
from paqa.execution.placement import BuildPlacement, PlacementOptions
from paqa.execution.progress import Progress, collect
from paqa.perception.engine_runs import STAGES
from paqa.pipeline import driver
from paqa.pipeline.fault_isolation import CrashTracker
from paqa.pipeline.protocols import Future, Submitted
from paqa.pipeline.stages import BuildState
from paqa.storage import build_folder
from paqa.storage.store import Store, is_transient
from paqa.types import Clip

R = TypeVar("R")


def transient(_task: Any, _run: Any, state: Any) -> bool:
    """Only failures of disk and network are worth another try; wrong input never is."""
    return is_transient(state.result(raise_on_failure=False))


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=2,
    retry_condition_fn=transient,
)
def step(call: Callable[[], R]) -> R:
    """One stage over one batch."""
    return call()


class PrefectExecutor:
    """Runs each call as a named task; see `paqa.pipeline.protocols.Executor`."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self._engines = EngineProgress()

    def submit(
        self,
        stage: str,
        calls: Sequence[Callable[[], R]],
        sizes: Sequence[int],
        unit: str,
        after: Sequence[Future[Any] | None] = (),
    ) -> Submitted[R]:
        """One task per call, which goes to the workers itself."""
        futures: list[PrefectFuture[R]] = []
        for i, call in enumerate(calls):
            named: Any = step.with_options(name=stage, task_run_name=f"{stage} {i + 1}/{len(calls)}")
            before = [future for future in after[i : i + 1] if future is not None]
            with TagsContext(current_tags=set()):  # with a tag each task asks the server for a limit on it
                futures.append(named.submit(call=call, wait_for=before))
        if _runs_engines(stage):
            self._engines.total += sum(sizes)
        return Submitted(stage, futures, sizes, unit)

    def results(self, submitted: Submitted[R]) -> list[R]:
        """All results in the order of submission, with progress as they come; the first failure is raised."""
        if not _runs_engines(submitted.stage):
            return collect(submitted, as_completed, self.progress)
        return collect(submitted, as_completed, self.progress, self._engines.advance)


def _runs_engines(stage: str) -> bool:
    return stage.partition(" ")[0] in STAGES


@dataclass
class EngineProgress:
    """The share of engine runs that are done, as an artifact of the flow run."""

    total: int = 0  # clips times engines, all of which are submitted before the first results are awaited
    done: int = 0
    artifact: Any = None

    def advance(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        if self.artifact is None:
            description = f"{self.total} hearings (clips times engines)"
            self.artifact = create_progress_artifact(0.0, key="heard", description=description)
        if self.artifact is not None:
            update_progress_artifact(self.artifact, progress=round(100 * self.done / self.total, 1))


@dataclass(frozen=True)
class After:
    """What is made of a finished build."""

    audit: bool = False
    report_link: str = ""  # where the report opens that is written; "" for none


class Session:
    """What a flow run needs besides parameters; `__slots__` keep Prefect from writing it as JSON."""

    __slots__ = ("after", "grow", "placement", "quiet", "store")

    def __init__(self, placement: BuildPlacement, store: Store, after: After, grow: bool, quiet: bool):
        self.placement = placement
        self.store = store
        self.after = after
        self.grow = grow
        self.quiet = quiet


def flow_run_name() -> str:
    """E.g. `demo -> data/demo (2 workers)`."""
    parameters = flow_run.parameters
    return f"{parameters['recipe'].name} -> {parameters['out']} ({parameters['workers']} workers)"


@flow(name="paqa build", flow_run_name=flow_run_name, persist_result=False, validate_parameters=False)
def build(recipe: Recipe, out: Path, workers: int, session: Session) -> driver.Built:
    """From recipe to shards in `out`, and what is wanted after; `workers` is for Prefect's pages.

    Raises PaqaError for what a user can mend.
    """
    progress = Progress(session.quiet, get_run_logger().info)
    with session.placement as placement, ExitStack() as last:
        crashes = CrashTracker(placement.options.limits)
        executor = PrefectExecutor(progress)
        state = BuildState(recipe, out, session.store, placement, executor, progress.note, crashes)
        last.callback(show_stages, state, progress)
        built = driver.build(state, session.grow)
        for line in placement.usage():
            progress.note(line)
        markdown, description = summary.markdown(built.summary), f"paqa build {recipe.name}"
        create_markdown_artifact(key="summary", markdown=markdown, description=description)
        if session.after.audit:
            show_audit(state, built.clips, progress)
        if session.after.report_link:
            show_report(state, built.clips, session.after.report_link)
    return built


def show_stages(state: BuildState, progress: Progress) -> None:
    """What each stage did and what fell out, as artifacts; also of a build that failed."""
    if rows := summary.stage_rows(state.costs, progress.finished):
        create_table_artifact(key="stages", table=rows, description="Counts and seconds by stage")
    if state.quarantined:
        description = (
            f"{len(set(state.quarantined))} rows fell out; all of them: {build_folder.QUARANTINE}, of a "
            "build that "
            "failed in failed/"
        )
        markdown = summary.quarantine_markdown(state.quarantined)
        create_markdown_artifact(markdown, key="quarantine", description=description)


def show_audit(state: BuildState, clips: list[Clip], progress: Progress) -> None:
    """Audit the build; its tables are an artifact."""
    audited = driver.audit(state, clips)
    if audited is None:
        progress.log("audit: no clip has truth")
        return
    with_truth = sum(clip.truth is not None for clip in clips)
    description = f"{with_truth} clips have truth"
    create_markdown_artifact(key="audit", markdown=tables.markdown(*audited), description=description)


def show_report(state: BuildState, clips: list[Clip], link: str) -> None:
    """Write the report; a link to it is an artifact."""
    written = driver.report(state, clips)
    description = f"{written.items} questions to look at and listen to; on disk: {written.page.resolve()}"
    create_link_artifact(link, "Open the report", key="report", description=description)


@dataclass(frozen=True)
class BuildOptions:
    """What a build is asked for besides its recipe."""

    placement: PlacementOptions
    grow: bool = False
    audit: bool = False
    report: bool = False
    quiet: bool = False


def launch(
    recipe: Recipe, out: Path, home: Path, server: Server, store: str, options: BuildOptions
) -> summary.Summary:
    """Run the flow against the Prefect server over `home`; returns the build's summary."""
    recipe = replace(recipe, devices=options.placement.devices)
    objects = Store(store)
    with (
        build_folder.hold_folder(out),
        BuildPlacement(options.placement, recipe, objects) as placement,
        running(home, server),
    ):
        if options.placement.shares_gpu:
            limit(LIMIT, options.placement.gpu_slots)
            placement.gpu_slot = partial(slot, LIMIT)
        objects.remove_stale()
        link = report_link(out, server.folder, server.external) if options.report else ""
        session = Session(placement, objects, After(options.audit, link), options.grow, options.quiet)
        runner: Any = ThreadPoolTaskRunner(max_workers=placement.max_calls + 1)
        named = build.with_options(task_runner=runner)
        try:
            return driver.with_repairs(
                lambda: named(recipe, out, placement.worker_count, session), objects
            ).summary
        except httpx.HTTPError as error:
            raise PaqaError(
                f"the Prefect server was lost ({type(error).__name__}: {error}); what was finished is "
                "kept: run the "
                "same command again"
            ) from None
