"""The Prefect flow behind `paqa build`: one task per stage and batch of clips. No audio logic lives here.

Without the decorators the code still works: every task calls one function of `paqa.pipeline.steps` or
`paqa.perception.inference` in a worker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
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
from flows.pages import report_link
from flows.server import Server, running
from paqa.audio import fingerprint
from paqa.config.recipe import Recipe
from paqa.curation import contamination, shortcuts
from paqa.curation.answer_balance import Survey, elsewhere, survey
from paqa.dataset import finish, summary
from paqa.dataset import shards as shard_files
from paqa.errors import DamagedObject, MissingObject, PaqaError
from paqa.evaluation import build_audit, tables
from paqa.execution.placement import Places, Wanted
from paqa.execution.progress import Progress
from paqa.perception import engine_runs, inference
from paqa.perception.engine_runs import EngineRun
from paqa.pipeline import fault_isolation, increment
from paqa.pipeline import steps as walk
from paqa.pipeline.rows import sketch
from paqa.report import write as reports
from paqa.splits import leakage
from paqa.splits.leakage import find_leaks, scene_leaks
from paqa.storage import build_folder
from paqa.storage.batching import batches
from paqa.storage.store import Store, is_transient
from paqa.types import Clip, Item, Quarantined

R = TypeVar("R")
FILES_A_TASK = 32
MIXTURES_A_TASK = 16
TASKS_A_WORKER = 4  # batches per worker and stage: enough to balance, few enough to cost nothing
LOOKED_AT = 100  # clips of which the store is asked whether they were heard on another device
HEALS = 5  # times that a build goes over its walk again because of damage to its store
BATCH_S = (30.0, 240.0)  # seconds of audio in a batch, at least and at most


@dataclass
class Run:
    """What the stages of one build share."""

    recipe: Recipe
    out: Path
    store: Store
    places: Places
    progress: Progress
    ward: fault_isolation.Ward = field(default_factory=fault_isolation.Ward)
    lost: list[Quarantined] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stages: dict[str, summary.Stage] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)  # where the store has a clip's rows, by its id
    earlier: increment.Earlier | None = None  # the build that this one goes on with
    survey: Survey = field(default_factory=Survey)

    def spent(self, stage: str, cost: inference.Cost) -> None:
        """Add what a batch cost."""
        self.stages[stage] = self.stages.get(stage, summary.Stage(stage)) + cost


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


def submit(
    run: Run, stage: str, calls: Sequence[Callable[[], R]], after: Sequence[Any] = ()
) -> list[PrefectFuture[R]]:
    """One named task per call, which goes to the workers itself; call i starts when the future `after[i]` is
    done.
    """
    futures: list[PrefectFuture[R]] = []
    for i, call in enumerate(calls):
        named: Any = step.with_options(name=stage, task_run_name=f"{stage} {i + 1}/{len(calls)}")
        before = [future for future in after[i : i + 1] if future is not None]
        futures.append(named.submit(call=call, wait_for=before))
    return futures


def collect(
    run: Run,
    stage: str,
    futures: Sequence[PrefectFuture[R]],
    sizes: Sequence[int],
    unit: str,
    each: Callable[[int], None] | None = None,
) -> list[R]:
    """All results in the order of submission, with progress as they come; the first failure ends the
    build.
    """
    if not futures:
        return []
    run.progress.open(stage, sum(sizes), unit)
    size = dict(zip(futures, sizes, strict=True))
    for future in as_completed(list(futures)):
        future.result()
        run.progress.advance(stage, size[future])
        if each:
            each(size[future])
    run.progress.close(stage, unit)
    return [future.result() for future in futures]


def work(
    run: Run,
    stage: str,
    calls: Sequence[Callable[[], R]],
    sizes: Sequence[int],
    unit: str = "clips",
    limits: Sequence[float | None] = (),
) -> list[R]:
    """Have the workers do all calls, each in at most its limit of seconds where there are any; collect."""
    runners = [partial(run.places.runner(stage), seconds) for seconds in limits or [None] * len(calls)]
    away = [
        partial(fault_isolation.again, runner, stage, call)
        for runner, call in zip(runners, calls, strict=True)
    ]
    return collect(run, stage, submit(run, stage, away), sizes, unit)


def ingest(run: Run) -> tuple[list[Clip], dict[str, list[Clip]]]:
    """Decode all sources: clips to ask about, and material for mixing by source name."""
    found, lost = walk.gather(run.recipe)
    run.lost += lost
    run.warnings += walk.skipped(run.recipe)
    jobs = [(s, b) for s in run.recipe.sources for b in batches(found[s.name], lambda _: 1, FILES_A_TASK)]
    calls = [
        fault_isolation.Ingesting(run.places.runner("ingest"), b, source, run.recipe, run.store, run.ward)
        for source, b in jobs
    ]
    results = collect(run, "ingest", submit(run, "ingest", calls), [len(b) for _, b in jobs], "files")
    asked: list[Clip] = []
    material: dict[str, list[Clip]] = {s.name: [] for s in run.recipe.sources}
    for (source, _), result in zip(jobs, results, strict=True):
        (asked if source.use == "clips" else material[source.name]).extend(result.clips)
        run.lost += result.quarantined
        run.spent("ingest", result.spent)
    run.warnings += walk.noted(note for result in results for note in result.notes)
    return asked, material


def apart(run: Run, asked: list[Clip], material: dict[str, list[Clip]]) -> tuple[list[Clip], dict[str, str]]:
    """Quarantine what would be on two sides of the split or is a benchmark's; returns what is asked about,
    and copies.

    Clips are taken out of `material` in place.
    """
    clips = [*asked, *(clip for own in material.values() for clip in own)]
    recipe, gates = run.recipe, run.recipe.gates
    files = [path for b in gates.benchmarks for path in contamination.recordings(b, Path(recipe.folder))]
    prints = _prints(run, "fingerprint", clips) if gates.near_duplicates or files else []
    lost = contamination.holding_recordings(clips, _overheard(run, prints, files), files)
    staying = {i for i, clip in enumerate(clips) if run.earlier and run.earlier.holds(clip)}
    between: list[fingerprint.Match] = []
    if gates.near_duplicates:
        leaking, between = find_leaks(clips, prints, recipe.split, lost, staying)
    else:
        leaking = leakage.leaks(clips, [], recipe.split, lost, staying)
    lost |= leaking
    run.lost += [lost[i] for i in sorted(lost)]
    if warning := walk.split_warning(len(clips), lost.values(), gates.max_quarantined):
        run.warnings.append(warning)
    gone = {id(clips[i]) for i in lost}
    for name, own in material.items():
        material[name] = [clip for clip in own if id(clip) not in gone]
    return [clip for clip in asked if id(clip) not in gone], leakage.copies(clips, between)


def _prints(run: Run, stage: str, clips: list[Clip]) -> list[np.ndarray]:
    """The fingerprint of each clip."""
    samples = sorted({clip.sha256 for clip in clips})
    parts = batches(samples, lambda _: 1, FILES_A_TASK)
    calls = [partial(walk.prints, part, run.store) for part in parts]
    prints = work(run, stage, calls, [len(part) for part in parts], "sounds")
    by_sample = dict(zip(samples, (one for part in prints for one in part), strict=True))
    return [by_sample[clip.sha256] for clip in clips]


def _overheard(run: Run, prints: list[np.ndarray], files: list[Path]) -> list[fingerprint.Match]:
    """Clips that share sound with the files of benchmarks; these are numbered after the clips."""
    parts = batches(files, lambda _: 1, FILES_A_TASK)
    calls = [partial(walk.file_prints, part, run.recipe.audio, run.store) for part in parts]
    limits = [
        run.ward.limits.reading([path.stat().st_size for path in part], run.recipe.audio) for part in parts
    ]
    read = [
        one
        for part in work(run, "benchmarks", calls, [len(p) for p in parts], "files", limits)
        for one in part
    ]
    run.warnings += contamination.not_compared(files, [why for _, why in read])
    theirs = [words for words, _ in read]
    return (
        fingerprint.matches_between_splits([*prints, *theirs], [1] * len(prints) + [0] * len(theirs))
        if theirs
        else []
    )


def scenes_apart(run: Run, clips: list[Clip]) -> list[Clip]:
    """Finished scenes, and recordings beside them, without those that sound like something of another
    side.
    """
    if not run.recipe.gates.near_duplicates or not any(clip.uri.startswith("mix:") for clip in clips):
        return clips
    earlier_clips = run.earlier.clips if run.earlier else {}
    staying = {i for i, clip in enumerate(clips) if earlier_clips.get(clip.id) == clip.sha256}
    lost = scene_leaks(clips, _prints(run, "fingerprint scenes", clips), staying)
    run.lost += [lost[i] for i in sorted(lost)]
    return [clip for i, clip in enumerate(clips) if i not in lost]


def mix(run: Run, material: dict[str, list[Clip]]) -> list[Clip]:
    """Compose the recipe's scenes from material."""
    planned = walk.mixtures(run.recipe, material, run.lost)
    clips = {
        c.id: c for source in material.values() for c in source
    }  # ids of material carry their source's name
    jobs = batches(planned, lambda _: 1, MIXTURES_A_TASK)
    used = [{p.clip_id: clips[p.clip_id] for m in batch for p in m.placements} for batch in jobs]
    calls = [
        partial(walk.render_mixtures, b, u, run.recipe, run.store) for b, u in zip(jobs, used, strict=True)
    ]
    results = work(run, "mix", calls, [len(b) for b in jobs], "scenes")
    for result in results:
        run.spent("mix", result.spent)
    return [clip for result in results for clip in result.clips]


def listen(run: Run, clips: list[Clip]) -> list[Clip]:
    """Have every clip heard by every engine that has not heard it yet; returns the clips that were."""
    nodes = engine_runs.engine_runs(run.recipe)
    missing = {
        node: {c.id for c in engine_runs.without_output(clips, node, nodes[0], run.store)} for node in nodes
    }
    unheard = [c for c in clips if any(c.id in ids for ids in missing.values())]
    if kind := engine_runs.device_of_outputs(unheard[:LOOKED_AT], run.recipe, run.store):
        run.progress.note(
            f"the store has clips as {kind} heard them, which differs in details: they are heard anew here"
        )
    units = sorted(engine_runs.context_groups(unheard, nodes[0]), key=_seconds)
    groups = batches(units, _seconds, _batch_seconds(unheard, run.places.workers.count))
    parts = [[c for unit in group for c in unit] for group in groups]
    futures: dict[EngineRun, list[PrefectFuture[Any]]] = {}
    sizes: dict[EngineRun, list[int]] = {}
    separated: dict[int, PrefectFuture[Any]] = {}  # by number of the batch
    for node in sorted(nodes, key=lambda n: (n.stage != "separate", n.stem != "mix")):
        jobs = [(i, [c for c in batch if c.id in missing[node]]) for i, batch in enumerate(parts)]
        jobs = [(i, todo) for i, todo in jobs if todo]
        by = (
            node,
            nodes[0],
            run.store,
            run.places.device_of(node.stage),
            run.places.workers.threads,
            run.ward,
            clips,
        )
        calls = [fault_isolation.Listening(run.places.runner(node.stage), todo, *by) for _, todo in jobs]
        after = [separated.get(i) if node.stem != "mix" else None for i, _ in jobs]
        futures[node] = submit(run, node.name, calls, after)
        if node == nodes[0]:
            separated = {i: future for (i, _), future in zip(jobs, futures[node], strict=True)}
        sizes[node] = [len(todo) for _, todo in jobs]
    failed: set[str] = set()
    report = _ui_progress(sum(map(sum, sizes.values())))
    spare = engine_runs.optional_runs(run.recipe)
    for node in futures:
        for cost, lost in collect(run, node.name, futures[node], sizes[node], "clips", report):
            run.spent(node.name, cost)
            run.lost += inference.raw_mix_failures(lost) if node in spare else lost
            failed |= set() if node in spare else {q.id for q in lost}
    if raw := {q.id for q in run.lost if q.reason == inference.RAW_MIX_FAILED} - failed:
        run.warnings.append(
            f"engines failed on the raw mix of {len(raw)} clips: see {inference.RAW_MIX_FAILED} in quarantine"
        )
    return [c for c in clips if c.id not in failed]


def _ui_progress(total: int) -> Callable[[int], None] | None:
    """A progress artifact in the Prefect UI; call what this returns with each further number of hearings
    done.
    """
    if not total:
        return None
    artifact: Any = create_progress_artifact(
        0.0, key="heard", description=f"{total} hearings (clips times engines)"
    )
    if artifact is None:
        return None
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        update_progress_artifact(artifact, progress=round(100 * done / total, 1))

    return report


def _seconds(clips: Sequence[Clip]) -> float:
    return sum(c.duration_ms for c in clips) / 1000


def _batch_seconds(clips: Sequence[Clip], workers: int) -> float:
    return min(max(_seconds(clips) / (workers * TASKS_A_WORKER), BATCH_S[0]), BATCH_S[1])


def compose(run: Run, clips: list[Clip]) -> list[Item]:
    """Scenes, questions, rationales and gates."""
    jobs = batches(clips, lambda c: c.duration_ms / 1000, _batch_seconds(clips, run.places.workers.count))
    sizes = [len(batch) for batch in jobs]
    if run.earlier:
        run.survey = run.earlier.survey
    else:
        surveys = work(
            run, "survey", [partial(survey, batch, run.recipe, run.store) for batch in jobs], sizes
        )
        run.survey = sum(surveys, Survey())
    others = elsewhere(clips, run.survey, run.earlier.generations if run.earlier else ())
    calls = [
        partial(sketch, batch, run.recipe, run.store, {c.id: others[c.id] for c in batch}) for batch in jobs
    ]
    items: list[Item] = []
    for result in work(run, "compose", calls, sizes):
        items += result.items
        run.made |= result.made
        run.lost += result.quarantined
        run.spent("compose", result.spent)
    return items


def gate(run: Run, items: list[Item]) -> list[Item]:
    """Try what the text alone answers: rows get their dependence on the audio, a build that can be guessed
    fails.
    """
    gates = run.recipe.gates
    if gates.benchmarks:
        known = [k for b in gates.benchmarks for k in contamination.questions(b, Path(run.recipe.folder))]
        copied = contamination.copied(items, known, {b.name: b.similarity for b in gates.benchmarks})
        run.lost += copied
        gone = {q.id for q in copied}
        items = [item for item in items if item.id not in gone]
    if gates.shortcuts == "off":
        return items
    settled = {}
    if run.earlier:
        items, lost = run.earlier.without(items)
        settled = run.earlier.settled(items)
        run.lost += lost
    rows = shortcuts.texts(items)
    thinned = work(run, "shortcuts", [partial(shortcuts.thin, rows, gates, settled)], [len(rows)], "rows")[0]
    kept, lost = shortcuts.mark(items, thinned)
    run.lost += lost
    if warning := shortcuts.enforce(thinned.scored.report, gates, run.out):
        run.warnings.append(warning)
    return kept


def write(run: Run, items: list[Item], clips: list[Clip]) -> summary.Summary:
    """Write shards and tables aside, unchanged shards taken over from the earlier build; then all take its
    place.
    """
    plans = shard_files.plan(items, clips, run.recipe.shard)
    folder, earlier = build_folder.pending(run.out) / build_folder.DATA, run.out / build_folder.DATA
    digests = summary.digests(run.out)
    calls = []
    for plan in plans:
        made = {i.clip_id: run.made[i.clip_id] for i in plan.items}
        sha256 = digests.get(f"{build_folder.DATA}/{plan.name}")
        calls.append(partial(walk.write_shard, plan, made, folder, run.recipe, run.store, earlier, sha256))
    written = work(run, "shard", calls, [len(plan.items) for plan in plans], "rows")
    shards = {plan.name: sha256 for plan, sha256 in zip(plans, written, strict=True)}
    increment.save(build_folder.pending(run.out), run.survey, run.lost, clips, run.earlier)
    stages = list(run.stages.values())
    contents = finish.Contents(clips, items, run.lost, stages, shards, run.warnings)
    return finish.finish(run.recipe, run.out, run.store.url, contents)


def look_back(run: Run, clips: list[Clip]) -> None:
    """Measure what was heard against the truth, where there is truth; the figures lie beside the shards."""
    known = sum(clip.truth is not None for clip in clips)
    if not known:
        run.progress.log("audit: no clip has truth")
        return
    found = work(run, "audit", [partial(build_audit.measure_and_save, run.out)], [known])[0]
    create_markdown_artifact(
        key="audit", markdown=tables.markdown(*found), description=f"{known} clips have truth"
    )


def show(run: Run, clips: list[Clip], link: str) -> None:
    """Write the report, which opens at `link`."""
    done = work(run, "report", [partial(reports.write, run.out)], [len(clips)])[0]
    held = f"{done.items} questions to look at and listen to; on disk: {done.page.resolve()}"
    create_link_artifact(link, "Open the report", key="report", description=held)


def tell(run: Run) -> None:
    """What each stage did and what fell out, for the UI; also of a build that failed."""
    if rows := summary.stage_rows(run.stages, run.progress.walked):
        create_table_artifact(key="stages", table=rows, description="Counts and seconds by stage")
    if lost := set(run.lost):
        fell = f"{len(lost)} rows fell out; all of them: {build_folder.QUARANTINE}, of a build that failed in failed/"
        create_markdown_artifact(summary.quarantine_markdown(run.lost), key="quarantine", description=fell)


def flow_run_name() -> str:
    """E.g. `demo -> data/demo (2 workers)`."""
    given = flow_run.parameters
    return f"{given['recipe'].name} -> {given['out']} ({given['workers']} workers)"


@flow(name="paqa build", flow_run_name=flow_run_name, persist_result=False, validate_parameters=False)
def build(
    recipe: Recipe,
    out: Path,
    store: str,
    workers: int,
    places: Places,
    quiet: bool = False,
    audit: bool = False,
    report: str = "",
    growing: bool = False,
) -> summary.Summary:
    """The whole walk: recipe to shards in `out`, then an audit if wanted, and a report that opens at
    `report`.

    `workers` is their number in `places`, for Prefect's pages. `growing`, the rows of the build that `out`
    holds stay as they are (`paqa.pipeline.increment`). Raises PaqaError past the recipe's limit of
    quarantined rows.
    """
    with places, ExitStack() as last:
        earlier = increment.load(out, recipe) if growing else None
        build_folder.begin(out)
        ward = fault_isolation.Ward(places.wanted.limits)
        run = Run(
            recipe, out, Store(store), places, Progress(quiet, get_run_logger().info), ward, earlier=earlier
        )
        last.callback(tell, run)
        try:
            asked, material = ingest(run)
            asked, copies = apart(run, asked, material)
            clips, twins = walk.unique(
                [*asked, *mix(run, material)], copies, earlier.clips if earlier else None
            )
            run.lost += twins
            clips = listen(run, scenes_apart(run, clips))
            items = gate(run, compose(run, clips))
            if earlier:
                earlier.stays(items, run.lost, out)
            kept = walk.given([*clips, *(clip for own in material.values() for clip in own)])
            walk.enforce(len(items), kept, run.lost, recipe.gates.max_quarantined, build_folder.failed(out))
            done = write(run, items, clips)
        except Exception:  # not of Ctrl-C, which is to end it at once
            finish.abandon(recipe, out, run.lost)  # what fell out is what to look at
            raise
        for line in places.told():
            run.progress.note(line)
        create_markdown_artifact(
            key="summary", markdown=summary.markdown(done), description=f"paqa build {recipe.name}"
        )
        if audit:
            look_back(run, clips)
        if report:
            show(run, clips, report)
    return done


def launch(
    recipe: Recipe,
    out: Path,
    home: Path,
    server: Server,
    store: str,
    wanted: Wanted,
    quiet: bool,
    audit: bool = False,
    report: bool = False,
    growing: bool = False,
) -> summary.Summary:
    """Run the flow against the Prefect server over `home` (see flows/server.py); returns its summary."""
    recipe = replace(recipe, devices=wanted.devices)
    with build_folder.hold_folder(out), Places(wanted, recipe, Store(store)) as places, running(home, server):
        places.ready()
        runner: Any = ThreadPoolTaskRunner(max_workers=places.at_once + 1)
        named = build.with_options(task_runner=runner)
        link = report_link(out, server.folder, server.external) if report else ""
        objects = Store(store)
        objects.remove_stale()
        walk_once = partial(
            named, recipe, out, store, places.workers.count, places, quiet, audit, link, growing
        )
        return healed(walk_once, objects)


def healed(walk_once: Callable[[], summary.Summary], store: Store) -> summary.Summary:
    """Go over the walk again where the store turns out to have lost or damaged an object: it is made anew.

    Where one is damaged, all objects of a local store are looked at. PaqaError where that does not help, or
    where the Prefect server is lost.
    """
    found: list[str] = []
    while True:
        try:
            return walk_once()
        except MissingObject as error:
            found.append(str(error))
            if len(found) > HEALS or found.count(found[-1]) > 1:
                raise PaqaError(
                    f"{error}; this is loss number {len(found)} in one build, so the disk may be failing: check it, "
                    "then run the same command again"
                ) from None
            print(f"{error}; it is made again", file=sys.stderr, flush=True)
            if store.local and isinstance(
                error, DamagedObject
            ):  # one is seldom alone, and reading is cheap here
                for path in [path for path, whole in store.verified() if not whole]:
                    print(f"{path} was damaged, too, and has been removed", file=sys.stderr, flush=True)
        except httpx.HTTPError as error:
            raise PaqaError(
                f"the Prefect server was lost ({type(error).__name__}: {error}); what was finished is kept: run the "
                "same command again"
            ) from None
