"""The stages of a build: what each has the workers do, and what the driver keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from paqa.audio import fingerprint
from paqa.config.recipe import Recipe, SourceConfig
from paqa.curation import contamination
from paqa.curation.answer_balance import Survey, elsewhere, survey
from paqa.dataset import finish_build, shards, summary
from paqa.dataset.verifier_table import VerifierFigures
from paqa.perception import calibration, engine_runs, inference
from paqa.perception.engine_runs import EngineRun
from paqa.perception.quality import Quality
from paqa.pipeline import growth, ingest, quarantine_limit, worker_steps
from paqa.pipeline.clip_kinds import by_kind
from paqa.pipeline.fault_isolation import CrashTracker, DecodeBatch, EngineBatch, EnginePlace, with_retry
from paqa.pipeline.protocols import Executor, Future, Placement, Submitted
from paqa.pipeline.rows import sketch
from paqa.splits import leakage
from paqa.storage import build_folder
from paqa.storage.batching import batches
from paqa.storage.store import Store
from paqa.types import Clip, Item, Quarantined, Recording

R = TypeVar("R")
FILES_A_CALL = 32
MIXTURES_A_CALL = 16
CALLS_A_WORKER = 4  # batches per worker and stage: enough to balance, few enough to cost nothing
BATCH_S = (30.0, 240.0)  # seconds of audio in a batch, at least and at most
CLIPS_ASKED_FOR = 100  # clips of which the store is asked whether it has outputs of another device

Material = dict[str, list[Clip]]  # clips for mixing, by name of their source


@dataclass
class BuildState:
    """What the stages of one build share."""

    recipe: Recipe
    out: Path
    store: Store
    placement: Placement
    executor: Executor
    note: Callable[[str], None]  # a line for the user
    crashes: CrashTracker = field(default_factory=CrashTracker)
    quarantined: list[Quarantined] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    costs: dict[str, summary.Stage] = field(default_factory=dict)
    row_keys: dict[str, str] = field(default_factory=dict)  # where the store has a clip's rows, by its id
    kinds: dict[str, str] = field(default_factory=dict)  # what is heard in each clip, by its id
    qualities: dict[str, Quality] = field(default_factory=dict)  # where they are measured, by id of the clip
    earlier: growth.Earlier | None = None  # the build that this one goes on with
    survey: Survey = field(default_factory=Survey)
    reviewed: summary.Reviewed | None = None  # what the verdicts of people say, where there are any
    verified: VerifierFigures | None = None
    text_answers: dict[str, tuple[int, int]] = field(default_factory=dict)  # right of all replies, by row

    def run(
        self,
        stage: str,
        calls: Sequence[Callable[[], R]],
        sizes: Sequence[int],
        unit: str,
        limits_s: Sequence[float | None] = (),
    ) -> list[R]:
        """Have the workers do all calls, each within its limit, and tried twice if its process dies."""
        runner = self.placement.runner(stage)
        runners = [partial(runner, seconds) for seconds in limits_s or [None] * len(calls)]
        tried = [partial(with_retry, run, stage, call) for run, call in zip(runners, calls, strict=True)]
        return self.executor.results(self.executor.submit(stage, tried, sizes, unit))

    def add_cost(self, stage: str, cost: inference.Cost) -> None:
        """Add what a batch cost."""
        self.costs[stage] = self.costs.get(stage, summary.Stage(stage)) + cost

    def batches_of(self, clips: Sequence[Clip]) -> list[list[Clip]]:
        """Clips in batches of about equal length, some for each worker."""
        return batches(clips, lambda clip: clip.duration_ms / 1000, self.batch_seconds(clips))

    def batch_seconds(self, clips: Sequence[Clip]) -> float:
        """Seconds of audio in a batch of these clips."""
        share = _seconds(clips) / (self.placement.worker_count * CALLS_A_WORKER)
        return min(max(share, BATCH_S[0]), BATCH_S[1])


def _seconds(clips: Sequence[Clip]) -> float:
    return sum(clip.duration_ms for clip in clips) / 1000


# --- recordings to clips


def gather(state: BuildState) -> dict[str, list[Recording]]:
    """The recordings of every source, by its name."""
    recordings, unusable = ingest.gather(state.recipe)
    state.quarantined += unusable
    state.warnings += ingest.skipped(state.recipe)
    return recordings


def decode(state: BuildState, recordings: dict[str, list[Recording]]) -> tuple[list[Clip], Material]:
    """Decode all sources: clips to ask about, and material for mixing."""
    jobs: list[tuple[SourceConfig, list[Recording]]] = []
    for source in state.recipe.sources:
        jobs += [(source, batch) for batch in batches(recordings[source.name], lambda _: 1, FILES_A_CALL)]
    runner = state.placement.runner("ingest")
    calls = [
        DecodeBatch(batch, source, state.recipe, state.store, runner, state.crashes) for source, batch in jobs
    ]
    submitted = state.executor.submit("ingest", calls, [len(batch) for _, batch in jobs], "files")
    clips: list[Clip] = []
    material: Material = {source.name: [] for source in state.recipe.sources}
    notes: list[tuple[str, str]] = []
    for (source, _), decoded in zip(jobs, state.executor.results(submitted), strict=True):
        (clips if source.use == "clips" else material[source.name]).extend(decoded.clips)
        state.quarantined += decoded.quarantined
        state.add_cost("ingest", decoded.cost)
        notes += decoded.notes
    state.warnings += ingest.note_warnings(notes)
    return clips, material


def without_leaks(
    state: BuildState, clips: list[Clip], material: Material
) -> tuple[list[Clip], Material, dict[str, str]]:
    """Quarantine what would leak between splits, and what benchmarks hold.

    Returns what stays, and the near-duplicates among it: what they have in common, by digest.
    """
    recipe, gates = state.recipe, state.recipe.gates
    everything = [*clips, *(clip for source_clips in material.values() for clip in source_clips)]
    files = [path for b in gates.benchmarks for path in contamination.recordings(b, Path(recipe.folder))]
    prints = _fingerprints(state, "fingerprint", everything) if gates.near_duplicates or files else []
    rows = contamination.clips_with_recordings(
        everything, _shared_with_benchmarks(state, prints, files), files
    )
    staying = {i for i, clip in enumerate(everything) if state.earlier and state.earlier.holds(clip)}
    matches: list[fingerprint.Match] = []
    if gates.near_duplicates:
        leaking, matches = leakage.find_leaks(everything, prints, recipe.split, rows, staying)
    else:
        leaking = leakage.leaks(everything, [], recipe.split, rows, staying)
    rows |= leaking
    state.quarantined += [rows[i] for i in sorted(rows)]
    if warning := quarantine_limit.split_warning(len(everything), rows.values(), gates.max_quarantined):
        state.warnings.append(warning)
    gone = {id(everything[i]) for i in rows}
    kept = {name: [c for c in source if id(c) not in gone] for name, source in material.items()}
    return [c for c in clips if id(c) not in gone], kept, leakage.copies(everything, matches)


def _fingerprints(state: BuildState, stage: str, clips: list[Clip]) -> list[np.ndarray]:
    """The fingerprint of each clip."""
    digests = sorted({clip.sha256 for clip in clips})
    parts = batches(digests, lambda _: 1, FILES_A_CALL)
    calls = [partial(worker_steps.prints, part, state.store) for part in parts]
    prints = state.run(stage, calls, [len(part) for part in parts], "sounds")
    by_digest = dict(zip(digests, (one for part in prints for one in part), strict=True))
    return [by_digest[clip.sha256] for clip in clips]


def _shared_with_benchmarks(
    state: BuildState, prints: list[np.ndarray], files: list[Path]
) -> list[fingerprint.Match]:
    """Clips that share sound with the files of benchmarks, which are numbered after the clips."""
    parts = batches(files, lambda _: 1, FILES_A_CALL)
    audio = state.recipe.audio
    calls = [partial(worker_steps.file_prints, part, audio, state.store) for part in parts]
    sizes = [[path.stat().st_size for path in part] for part in parts]
    limits_s = [state.crashes.limits.for_decoding(part_sizes, audio) for part_sizes in sizes]
    results = state.run("benchmarks", calls, [len(part) for part in parts], "files", limits_s)
    read = [one for part in results for one in part]
    state.warnings += contamination.not_compared(files, [problem for _, problem in read])
    theirs = [words for words, _ in read]
    if not theirs:
        return []
    return fingerprint.matches_between_splits([*prints, *theirs], [1] * len(prints) + [0] * len(theirs))


def mix(state: BuildState, material: Material) -> list[Clip]:
    """Compose the recipe's scenes from material."""
    mixtures = worker_steps.mixtures(state.recipe, material, state.quarantined)
    by_id = {
        clip.id: clip for source in material.values() for clip in source
    }  # such ids hold their source's name
    jobs = batches(mixtures, lambda _: 1, MIXTURES_A_CALL)
    calls = []
    for batch in jobs:
        used = {p.clip_id: by_id[p.clip_id] for mixture in batch for p in mixture.placements}
        calls.append(partial(worker_steps.render_mixtures, batch, used, state.recipe, state.store))
    clips: list[Clip] = []
    for rendered in state.run("mix", calls, [len(batch) for batch in jobs], "scenes"):
        clips += rendered.clips
        state.add_cost("mix", rendered.cost)
    return clips


def without_twins(state: BuildState, clips: list[Clip], copies: dict[str, str]) -> list[Clip]:
    """Clips without a second one of the same sound, in order of id."""
    earlier_clips = state.earlier.clips if state.earlier else None
    kept, twins = ingest.unique(clips, copies, earlier_clips)
    state.quarantined += twins
    return kept


def without_leaking_scenes(state: BuildState, clips: list[Clip]) -> list[Clip]:
    """Scenes, and recordings beside them, without those that sound like something of another split."""
    composed = any(clip.uri.startswith("mix:") for clip in clips)
    if not (composed and state.recipe.gates.near_duplicates):
        return clips
    earlier_clips = state.earlier.clips if state.earlier else {}
    staying = {i for i, clip in enumerate(clips) if earlier_clips.get(clip.id) == clip.sha256}
    rows = leakage.scene_leaks(clips, _fingerprints(state, "fingerprint scenes", clips), staying)
    state.quarantined += [rows[i] for i in sorted(rows)]
    return [clip for i, clip in enumerate(clips) if i not in rows]


# --- engines


def run_engines(state: BuildState, clips: list[Clip]) -> list[Clip]:
    """Run every engine on clips to `listen` to that lack its output; returns all on which none failed."""
    all_clips, clips = clips, [clip for clip in clips if clip.listen]
    runs = engine_runs.engine_runs(state.recipe)
    optional = engine_runs.optional_runs(state.recipe)
    on_raw_mix = [clip for clip in clips if engine_runs.raw_mix_chosen(clip, state.recipe)]
    missing: dict[EngineRun, set[str]] = {}
    for run in runs:
        its_clips = on_raw_mix if run in optional else clips
        missing[run] = {c.id for c in engine_runs.without_output(its_clips, run, runs[0], state.store)}
    incomplete = [clip for clip in clips if any(clip.id in ids for ids in missing.values())]
    _note_other_device(state, incomplete)
    submitted = _submit_engines(state, runs, missing, incomplete, clips)
    failed: set[str] = set()
    raw_mix_failed: set[str] = set()
    for run, calls in submitted.items():
        for cost, failures in state.executor.results(calls):
            state.add_cost(run.name, cost)
            if run in optional:
                state.quarantined += inference.raw_mix_failures(failures)
                raw_mix_failed |= {row.id for row in failures}
            else:
                state.quarantined += failures
                failed |= {row.id for row in failures}
    if only_raw := raw_mix_failed - failed:
        reason = inference.RAW_MIX_FAILED
        state.warnings.append(
            f"engines failed on the raw mix of {len(only_raw)} clips: see {reason} in quarantine"
        )
    return [clip for clip in all_clips if clip.id not in failed]


def _note_other_device(state: BuildState, clips: list[Clip]) -> None:
    if device := engine_runs.device_of_outputs(clips[:CLIPS_ASKED_FOR], state.recipe, state.store):
        state.note(
            f"the store has clips as {device} heard them, which differs in details: they are heard anew here"
        )


def _submit_engines(
    state: BuildState,
    runs: Sequence[EngineRun],
    missing: dict[EngineRun, set[str]],
    incomplete: list[Clip],
    clips: list[Clip],
) -> dict[EngineRun, Submitted[tuple[inference.Cost, list[Quarantined]]]]:
    """Submit a call for each run and batch; one on a stem waits for the separation of its own batch alone."""
    separation = runs[0]
    groups = sorted(engine_runs.context_groups(incomplete, separation), key=_seconds)
    batch_groups = batches(groups, _seconds, state.batch_seconds(incomplete))
    batch_clips = [[clip for group in batch for clip in group] for batch in batch_groups]
    submitted: dict[EngineRun, Submitted[tuple[inference.Cost, list[Quarantined]]]] = {}
    separated: dict[int, Future[Any]] = {}  # by number of the batch
    for run in sorted(runs, key=lambda r: (r.stage != "separate", r.stem != "mix")):
        todo = {i: [c for c in batch if c.id in missing[run]] for i, batch in enumerate(batch_clips)}
        todo = {i: batch for i, batch in todo.items() if batch}
        device = state.placement.device_of(run.stage)
        place = EnginePlace(state.placement.runner(run.stage), device, state.placement.threads)
        calls = [
            EngineBatch(batch, run, separation, state.store, place, state.crashes, all_clips=clips)
            for batch in todo.values()
        ]
        after = [separated.get(i) if run.stem != "mix" else None for i in todo]
        sizes = [len(batch) for batch in todo.values()]
        submitted[run] = state.executor.submit(run.name, calls, sizes, "clips", after)
        if run == separation:
            separated = dict(zip(todo, submitted[run].futures, strict=True))
    return submitted


# --- questions


def survey_scenes(state: BuildState, clips: list[Clip]) -> None:
    """Count sounds and answers over all clips: what is asked about one depends on the others."""
    if state.earlier:
        state.survey = state.earlier.survey
        return
    jobs = state.batches_of(clips)
    calls = [partial(survey, batch, state.recipe, state.store) for batch in jobs]
    surveys = state.run("survey", calls, [len(batch) for batch in jobs], "clips")
    state.survey = sum(surveys, Survey())


def compose(state: BuildState, clips: list[Clip]) -> list[Item]:
    """Scenes, questions, rationales, and the gates that look at one row alone."""
    gated = state.recipe.gates.min_confidence > 0 and any(clip.answers == "heard" for clip in clips)
    if gated and calibration.for_recipe(state.recipe, state.store) is None:
        state.warnings.append(calibration.NOT_CALIBRATED)
    generations = state.earlier.generations if state.earlier else ()
    others = elsewhere(clips, state.survey, generations)
    jobs = state.batches_of(clips)
    calls = []
    for batch in jobs:
        calls.append(partial(sketch, batch, state.recipe, state.store, {c.id: others[c.id] for c in batch}))
    items: list[Item] = []
    for composed in state.run("compose", calls, [len(batch) for batch in jobs], "clips"):
        items += composed.items
        state.row_keys |= composed.row_keys
        state.kinds |= composed.kinds
        state.quarantined += composed.quarantined
        state.add_cost("compose", composed.cost)
    return items


# --- the end


def check_losses(state: BuildState, items: list[Item], clips: list[Clip], material: Material) -> None:
    """PaqaError where earlier rows are lost, none is left, or too much of the input was unusable."""
    if state.earlier:
        state.earlier.stays(items, state.quarantined, state.out)
    usable = quarantine_limit.given([*clips, *(clip for source in material.values() for clip in source)])
    limit = state.recipe.gates.max_quarantined
    quarantine_limit.enforce(len(items), usable, state.quarantined, limit, build_folder.failed(state.out))


def write(state: BuildState, items: list[Item], clips: list[Clip]) -> summary.Summary:
    """Write shards and tables aside, or take over unchanged shards; then all take their place."""
    plans = shards.plan(items, clips, state.recipe.shard)
    pending = build_folder.pending(state.out)
    target = worker_steps.ShardTarget(pending / build_folder.DATA, state.out / build_folder.DATA)
    digests = summary.digests(state.out)
    calls = []
    for plan in plans:
        row_keys = {item.clip_id: state.row_keys[item.clip_id] for item in plan.items}
        earlier = digests.get(f"{build_folder.DATA}/{plan.name}")
        calls.append(
            partial(worker_steps.write_shard, plan, row_keys, target, earlier, state.recipe, state.store)
        )
    written = state.run("shard", calls, [len(plan.items) for plan in plans], "rows")
    shard_digests = {plan.name: sha256 for plan, sha256 in zip(plans, written, strict=True)}
    growth.save(pending, state.survey, state.quarantined, clips, state.earlier)
    costs, kinds = list(state.costs.values()), by_kind(clips, state.kinds, items)
    contents = finish_build.Contents(
        *(clips, items, state.quarantined, costs, shard_digests, state.warnings, kinds),
        state.reviewed,
        state.qualities,
        state.verified,
    )
    return finish_build.finish(state.recipe, state.out, state.store.url, contents)
