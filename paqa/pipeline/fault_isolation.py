"""Input that crashes, hangs or exhausts the process it is given to: it is found by halving its batch.

The rest goes on. But where one input after another fails, the audio is not to blame: a GPU is lost, or a
package is broken. Then the build ends, before all of the audio is blamed for it.

Rests on nothing but a `run(seconds, step, ...)` that raises WorkerDied where the process under a call has
died, here or on another machine, or was ended. What is complete in the store is not computed again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from paqa.config.recipe import Recipe, SourceConfig
from paqa.errors import PaqaError, Rejected, WorkerDied
from paqa.perception import engine_runs, inference
from paqa.perception.engine_runs import EngineRun
from paqa.perception.inference import Cost
from paqa.pipeline import ingest
from paqa.pipeline.time_limits import Limits
from paqa.sources import paths
from paqa.storage.store import Store, key
from paqa.types import Clip, Quarantined, Recording

U = TypeVar("U")
R = TypeVar("R")
MAX_FAILURES_IN_A_ROW = 8  # of one kind of work, with no success between


class RunCall(Protocol):
    """Calls a step in some process and waits; WorkerDied where that dies, TimedOut after `seconds`."""

    def __call__(self, seconds: float | None, step: Callable[..., R], /, *args: Any, **kwargs: Any) -> R: ...


@dataclass
class CrashTracker:
    """The failures of one build; suspects are tried one at a time, none beside another."""

    limits: Limits = field(default_factory=Limits)
    one_suspect: Lock = field(default_factory=Lock)
    failures: Counter[str] = field(default_factory=Counter)  # in a row, by kind of work
    _counting: Lock = field(default_factory=Lock)

    def success(self, work: str) -> None:
        """Something of this kind of work was done."""
        with self._counting:
            self.failures[work] = 0

    def failure(self, work: str, why: str, still_works: Callable[[], bool] = lambda: False) -> None:
        """Count an input that failed by itself; PaqaError after many in a row.

        Not where `still_works`, which is asked then: it does the same work on what it has been done on
        before.
        """
        with self._counting:
            self.failures[work] += 1
            count = self.failures[work]
        if count % MAX_FAILURES_IN_A_ROW:
            return
        if still_works():
            self.success(work)
            return
        raise PaqaError(
            f"{work}: {count} inputs in a row failed, each tried alone ({why}), so the audio is not to "
            "blame; run "
            "`paqa doctor`, look at the device and the free memory, then run the same command again: what "
            "was finished "
            "is kept"
        )


class Batch(ABC, Generic[U, R]):
    """Units given to a step together; halved where their process dies, down to those that kill it.

    A unit that kills it alone is tried once more with no other suspect beside it; then it is in `crashed`.
    After an error of another kind, call it again: it goes on with what is `left` in the part that failed.
    """

    def __init__(self, units: Sequence[U], work: str, run: RunCall, tracker: CrashTracker):
        self.parts = [list(units)]
        self.work = work
        self.run = run
        self.tracker = tracker
        self.first_was_tried = False  # so the first part may be complete in parts
        self.results: list[R] = []  # in the order of the units
        self.crashed: list[tuple[U, WorkerDied]] = []

    @abstractmethod
    def arguments(self, units: Sequence[U]) -> tuple[Any, ...]:
        """What `run` is given: the limit in seconds, the step, and its arguments."""

    def left(self, units: Sequence[U]) -> Sequence[U]:
        """The units that are not complete."""
        return units

    def succeeded(self, units: Sequence[U], result: R) -> None:
        """Called after the step has returned."""
        self.tracker.success(self.work)

    def still_works(self) -> bool:
        """Whether this work still succeeds where it has before; False where nothing is known."""
        return False

    def outcome(self) -> Any:
        """What a call of the batch returns in the end."""
        return self.results

    def __call__(self) -> Any:
        """Do all parts."""
        while self.parts:
            part = list(self.left(self.parts[0])) if self.first_was_tried else self.parts[0]
            self.first_was_tried = True
            halves: list[list[U]] = []
            if part:
                try:
                    result = self.run(*self.arguments(part))
                except WorkerDied:
                    halves = self._after_crash(part)
                else:
                    self.results.append(result)
                    self.succeeded(part, result)
            self.parts[:1] = halves
            self.first_was_tried = False
        return self.outcome()

    def _after_crash(self, part: list[U]) -> list[list[U]]:
        """What to try next: what is left of the part, in two; a unit that was alone has its last try here."""
        if len(part) > 1:
            units = list(self.left(part))
            middle = (len(units) + 1) // 2
            return [half for half in (units[:middle], units[middle:]) if half]
        with self.tracker.one_suspect:
            try:
                result = self.run(*self.arguments(part))
            except WorkerDied as death:
                self.crashed.append((part[0], death))
                self.tracker.failure(self.work, str(death), self.still_works)
            else:
                self.results.append(result)
                self.succeeded(part, result)
        return []


def with_retry(run: Callable[[Callable[[], R]], R], work: str, call: Callable[[], R]) -> R:
    """Work for which no single unit can be blamed: a second try after a death, then PaqaError."""
    try:
        return run(call)
    except WorkerDied:
        pass
    try:
        return run(call)
    except WorkerDied as death:
        raise PaqaError(
            f"{work}: {death}, and so did the one that took over; what was finished is kept: run the same "
            "command "
            "again, with fewer --workers if memory was short"
        ) from None


def sum_costs(costs: Sequence[Cost]) -> Cost:
    """What all of them cost together."""
    return Cost(*(sum(column) for column in zip(*map(astuple, costs), strict=True)))


@dataclass(frozen=True)
class EnginePlace:
    """How an engine is run: what calls it, on which device, with how many threads."""

    run: RunCall
    device: str = "cpu"
    threads: int = 1


class EngineBatch(Batch[list[Clip], tuple[Cost, list[Quarantined]]]):
    """`inference.run_engine` for a batch of clips, some of which may crash it.

    Units are the clips that the engine is given as one.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        engine_run: EngineRun,
        separation: EngineRun,
        store: Store,
        place: EnginePlace,
        tracker: CrashTracker,
        *,
        all_clips: Sequence[Clip] = (),
    ):
        """`all_clips` may have outputs of this run: whether the engine still runs on those is a test."""
        groups = engine_runs.context_groups(clips, engine_run)
        super().__init__(groups, engine_run.name, place.run, tracker)
        self.engine_run = engine_run
        self.where = (engine_run, separation, store)
        self.engine_on = (place.device, place.threads)
        self.all_clips = all_clips

    def arguments(self, units: Sequence[list[Clip]]) -> tuple[Any, ...]:
        """See `Batch`."""
        clips = [clip for group in units for clip in group]
        return self._seconds(units), inference.run_engine, clips, *self.where, *self.engine_on

    def left(self, units: Sequence[list[Clip]]) -> list[list[Clip]]:
        """See `Batch`."""
        incomplete = [engine_runs.without_output(group, *self.where) for group in units]
        return [group for group in incomplete if group]

    def succeeded(self, units: Sequence[list[Clip]], result: tuple[Cost, list[Quarantined]]) -> None:
        """See `Batch`: the process lives, and yet the engine may have failed on all of it."""
        cost, failures = result
        failed = {row.id for row in failures}
        if len(failed) < cost.clips:
            self.tracker.success(self.work)
            return
        for group in units:
            if group[0].id in failed:
                self.tracker.failure(self.work, failures[-1].detail, self.still_works)

    def outcome(self) -> tuple[Cost, list[Quarantined]]:
        """What the batch cost, and the clips that were lost to errors and crashes."""
        cost = sum_costs([part_cost for part_cost, _ in self.results])
        failures = [row for _, rows in self.results for row in rows]
        crashes = [self._row(clip, death) for group, death in self.crashed for clip in group]
        return cost, failures + crashes

    def still_works(self) -> bool:
        """Whether the engine still runs on clips that have its output; False where there are none."""
        incomplete = {clip.id for clip in engine_runs.without_output(self.all_clips, *self.where)}
        complete = [clip for clip in self.all_clips if clip.id not in incomplete]
        groups = engine_runs.context_groups(complete, self.engine_run)[:1]
        try:
            for group in groups:
                if self.run(self._seconds(groups), inference.still_runs, group, *self.where, *self.engine_on):
                    return True
        except WorkerDied:
            pass
        return False

    def _seconds(self, groups: Sequence[list[Clip]]) -> float | None:
        """The limit for these groups; the rest of a clip's context may be given with it."""
        lengths_s = []
        for group in groups:
            with_context = engine_runs.has_context(group[0], self.engine_run)
            around_s = self.engine_run.context_s if with_context else 0
            lengths_s.append(max(around_s, sum(clip.duration_ms for clip in group) / 1000))
        return self.tracker.limits.for_engine(lengths_s, self.engine_on[0])

    def _row(self, clip: Clip, death: WorkerDied) -> Quarantined:
        stage, engine = self.engine_run.stage, self.engine_run.engine
        advice = f"convert or remove the recording, or name another engine at hear.{stage}.engine"
        reason, detail = blame(death, f"{engine} on {clip.uri}", "engine_crashed", advice)
        return Quarantined(clip.id, stage, reason, detail, clip.sha256)


class DecodeBatch(Batch[Recording, ingest.DecodedBatch]):
    """`ingest.decode_recordings` for a batch of recordings, some of which may crash the decoder."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        source: SourceConfig,
        recipe: Recipe,
        store: Store,
        run: RunCall,
        tracker: CrashTracker,
    ):
        super().__init__(recordings, "ingest", run, tracker)
        self.inputs = (source, recipe, store)
        self.root = paths.root(source, Path(recipe.folder))
        self.audio = recipe.audio

    def arguments(self, units: Sequence[Recording]) -> tuple[Any, ...]:
        """See `Batch`."""
        sizes = [_file_bytes(recording, self.root) for recording in units]
        seconds = self.tracker.limits.for_decoding(sizes, self.audio)
        return seconds, ingest.decode_recordings, units, *self.inputs

    def outcome(self) -> ingest.DecodedBatch:
        """Clips in the order of the recordings, and the recordings that were lost."""
        parts = self.results
        quarantined = [row for part in parts for row in part.quarantined]
        return ingest.DecodedBatch(
            tuple(clip for part in parts for clip in part.clips),
            (*quarantined, *(self._row(recording, death) for recording, death in self.crashed)),
            sum_costs([part.cost for part in parts]),
            tuple(note for part in parts for note in part.notes),
        )

    @staticmethod
    def _row(recording: Recording, death: WorkerDied) -> Quarantined:
        advice = "convert it to plain WAV (ffmpeg -i FILE out.wav) or remove it"
        reason, detail = blame(death, f"decoding {recording.uri}", "decoder_crashed", advice)
        return Quarantined(
            recording.id, "ingest", reason, detail, key("recording", recording.id, recording.uri)
        )


def _file_bytes(recording: Recording, root: Path) -> int:
    """The size of a recording's file in bytes; 0 where there is none, which decoding it will say."""
    try:
        return paths.locate(recording.uri, root).stat().st_size
    except (Rejected, OSError):
        return 0


# What happened, and what to do besides the advice of the stage; by reason
MISHAPS = {
    "out_of_memory": ("needs more memory than there is", "fewer --workers leave it more"),
    "timed_out": ("did not come to an end in its time", "--timeout 10 gives it ten times as long"),
}


def blame(death: WorkerDied, what: str, crash_reason: str, advice: str) -> tuple[str, str]:
    """Reason and detail for an input that ended its process twice."""
    reason = death.code or crash_reason
    happened, remedy = MISHAPS.get(reason, ("crashed", ""))
    tries = f"tried twice, the second time alone ({death}); the next build tries it again"
    detail = f"{what} {happened}, {tries}: {remedy or advice}"
    return reason, f"{detail}; or {advice}" if remedy else detail
