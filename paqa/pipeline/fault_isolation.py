"""Poison: a clip or recording that kills, stops or exhausts the process it is given to. It is found by
halving.

The rest goes on. But where one input after another fails, the audio is not to blame: a GPU is lost, or a
package is broken. Then the build ends, before all of the audio is blamed for it.

Rests on nothing but a `run(seconds, step, ...)` that raises WorkerDied where the process under a call has
died, here or on another machine, or was ended. What is complete in the store is not computed again.
"""

from __future__ import annotations

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
from paqa.pipeline import steps
from paqa.pipeline.time_limits import Limits
from paqa.sources import paths
from paqa.storage.store import Store, key
from paqa.types import Clip, Quarantined, Recording

U = TypeVar("U")
R = TypeVar("R")
IN_A_ROW = (
    8  # inputs of one kind of work that fail, and none that does not between: not the audio is to blame
)


class Run(Protocol):
    """Calls a step in some process and waits; WorkerDied where that process dies, TimedOut after so many
    seconds.
    """

    def __call__(self, seconds: float | None, step: Callable[..., R], /, *args: Any, **kwargs: Any) -> R: ...


def never() -> bool:
    """Where nothing is known that the work can be tried on."""
    return False


@dataclass
class Ward:
    """What one build has seen fail; suspects are tried one at a time, none beside another."""

    limits: Limits = field(default_factory=Limits)
    alone: Lock = field(default_factory=Lock)
    failures: Counter[str] = field(default_factory=Counter)  # in a row, by kind of work
    _counting: Lock = field(default_factory=Lock)

    def fine(self, work: str) -> None:
        """Something of this kind of work was done."""
        with self._counting:
            self.failures[work] = 0

    def failed(self, work: str, why: str, still_works: Callable[[], bool] = never) -> None:
        """Count an input that failed by itself; PaqaError after many in a row.

        Not where `still_works`, which is asked then: it does the same work on what it has been done on
        before.
        """
        with self._counting:
            self.failures[work] += 1
            count = self.failures[work]
        if count % IN_A_ROW:
            return
        if still_works():
            self.fine(work)
            return
        raise PaqaError(
            f"{work}: {count} inputs in a row failed, each tried alone ({why}), so the audio is not to blame; run "
            "`paqa doctor`, look at the device and the free memory, then run the same command again: what was finished "
            "is kept"
        )


class Batch(Generic[U, R]):
    """Units given to `call` together; halved where their process dies, and again, down to the units that kill
    it.

    A unit that kills it alone is tried once more with no other suspect beside it; then it is in `crashed`.
    After an error of another kind, call it again: it goes on with what is `left` in the part that failed.
    """

    def __init__(
        self,
        units: Sequence[U],
        call: Callable[[Sequence[U]], R],
        left: Callable[[Sequence[U]], Sequence[U]],
        work: str,
        ward: Ward,
        still_works: Callable[[], bool] = never,
    ):
        self.parts = [list(units)]
        self.call = call
        self.left = left
        self.work = work
        self.ward = ward
        self.still_works = still_works
        self.touched = False  # whether the first part was tried, and so may be complete in parts
        self.done: list[R] = []  # in the order of the units
        self.crashed: list[tuple[U, WorkerDied]] = []

    def run(self) -> None:
        """Try all parts."""
        while self.parts:
            part = list(self.left(self.parts[0])) if self.touched else self.parts[0]
            self.touched = True
            halves: list[list[U]] = []
            if part:
                try:
                    self.done.append(self.call(part))
                except WorkerDied:
                    halves = self._halves(part)
            self.parts[:1] = halves
            self.touched = False

    def _halves(self, part: list[U]) -> list[list[U]]:
        """What to try after a death: what is left of the part, in two; a unit that was alone has its last try
        here.
        """
        if len(part) > 1:
            units = list(self.left(part))
            half = (len(units) + 1) // 2
            return [own for own in (units[:half], units[half:]) if own]
        with self.ward.alone:
            try:
                self.done.append(self.call(part))
            except WorkerDied as death:
                self.crashed.append((part[0], death))
                self.ward.failed(self.work, str(death), self.still_works)
        return []


def again(run: Callable[[Callable[[], R]], R], work: str, call: Callable[[], R]) -> R:
    """Work that no single unit can be blamed for: a second try after a death, then PaqaError."""
    try:
        return run(call)
    except WorkerDied:
        pass
    try:
        return run(call)
    except WorkerDied as death:
        raise PaqaError(
            f"{work}: {death}, and so did the one that took over; what was finished is kept: run the same command "
            "again, with fewer --workers if memory was short"
        ) from None


def _sum(costs: Sequence[Cost]) -> Cost:
    return Cost(*(sum(column) for column in zip(*map(astuple, costs), strict=True)))


class Listening:
    """`inference.run_engine` for a batch of clips, of which some may be poison; units are the clips heard
    together.
    """

    def __init__(
        self,
        run: Run,
        clips: Sequence[Clip],
        hearing: EngineRun,
        separation: EngineRun,
        store: Store,
        device: str,
        threads: int,
        ward: Ward,
        earlier: Sequence[Clip] = (),
    ):
        """`earlier` are clips of which some may have been heard this way: whether they still can be is a
        test.
        """
        self.run = run
        self.hearing = hearing
        self.where = (hearing, separation, store)
        self.engine_on = (device, threads)
        self.ward = ward
        self.earlier = earlier
        units = engine_runs.context_groups(clips, hearing)
        self.batch = Batch(units, self._listen, self._left, hearing.name, ward, self._still_works)

    def __call__(self) -> tuple[Cost, list[Quarantined]]:
        """What listening cost, and the clips that were lost to errors and crashes."""
        self.batch.run()
        spent = _sum([cost for cost, _ in self.batch.done])
        lost = [row for _, rows in self.batch.done for row in rows]
        return spent, lost + [self._row(clip, death) for group, death in self.batch.crashed for clip in group]

    def _listen(self, groups: Sequence[list[Clip]]) -> tuple[Cost, list[Quarantined]]:
        together = [clip for group in groups for clip in group]
        spent, lost = self.run(
            self._seconds(groups), inference.run_engine, together, *self.where, *self.engine_on
        )
        failed = {row.id for row in lost}
        if len(failed) < spent.clips:
            self.ward.fine(self.hearing.name)
            return spent, lost
        for group in groups:
            if group[0].id in failed:
                self.ward.failed(self.hearing.name, lost[-1].detail, self._still_works)
        return spent, lost

    def _left(self, groups: Sequence[list[Clip]]) -> list[list[Clip]]:
        unheard = [engine_runs.without_output(group, *self.where) for group in groups]
        return [group for group in unheard if group]

    def _seconds(self, groups: Sequence[list[Clip]]) -> float | None:
        """The limit for hearing these; the rest of a clip's context may be heard with it."""
        around = [
            self.hearing.context_s if engine_runs.has_context(group[0], self.hearing) else 0
            for group in groups
        ]
        lengths = [sum(clip.duration_ms for clip in group) / 1000 for group in groups]
        return self.ward.limits.listening(list(map(max, around, lengths)), self.engine_on[0])

    def _still_works(self) -> bool:
        """Whether clips that were heard this way before still can be; False where there are none."""
        unheard = {clip.id for clip in engine_runs.without_output(self.earlier, *self.where)}
        groups = engine_runs.context_groups(
            [clip for clip in self.earlier if clip.id not in unheard], self.hearing
        )[:1]
        try:
            where = (*self.where, *self.engine_on)
            return any(
                self.run(self._seconds(groups), inference.still_runs, group, *where) for group in groups
            )
        except WorkerDied:
            return False

    def _row(self, clip: Clip, death: WorkerDied) -> Quarantined:
        stage, engine = self.hearing.stage, self.hearing.engine
        advice = f"convert or remove the recording, or name another engine at hear.{stage}.engine"
        reason, detail = _blame(death, f"{engine} on {clip.uri}", "engine_crashed", advice)
        return Quarantined(clip.id, stage, reason, detail, clip.sha256)


class Ingesting:
    """`steps.ingest` for a batch of recordings, of which some may be poison to the decoder."""

    def __init__(
        self,
        run: Run,
        recordings: Sequence[Recording],
        source: SourceConfig,
        recipe: Recipe,
        store: Store,
        ward: Ward,
    ):
        root = paths.root(source, Path(recipe.folder))

        def ingest(part: Sequence[Recording]) -> steps.Ingested:
            seconds = ward.limits.reading([_size(recording, root) for recording in part], recipe.audio)
            done = run(seconds, steps.ingest, part, source, recipe, store)
            ward.fine("ingest")
            return done

        self.batch = Batch(
            recordings, ingest, lambda part: part, "ingest", ward
        )  # known files cost a look-up

    def __call__(self) -> steps.Ingested:
        """Clips in the order of the recordings, and the recordings that were lost."""
        self.batch.run()
        parts = self.batch.done
        return steps.Ingested(
            tuple(clip for part in parts for clip in part.clips),
            (
                *(row for part in parts for row in part.quarantined),
                *(self._row(*one) for one in self.batch.crashed),
            ),
            _sum([part.spent for part in parts]),
            tuple(note for part in parts for note in part.notes),
        )

    @staticmethod
    def _row(recording: Recording, death: WorkerDied) -> Quarantined:
        advice = "convert it to plain WAV (ffmpeg -i FILE out.wav) or remove it"
        reason, detail = _blame(death, f"decoding {recording.uri}", "decoder_crashed", advice)
        return Quarantined(
            recording.id, "ingest", reason, detail, key("recording", recording.id, recording.uri)
        )


def _size(recording: Recording, root: Path) -> int:
    """The bytes of a recording's file; 0 where there is none, which reading it will say."""
    try:
        return paths.locate(recording.uri, root).stat().st_size
    except (Rejected, OSError):
        return 0


FAILED = {  # what is said of it, and what to do besides the advice of the stage; by reason
    "out_of_memory": ("needs more memory than there is", "fewer --workers leave it more"),
    "timed_out": ("did not come to an end in its time", "--timeout 10 gives it ten times as long"),
}


def _blame(death: WorkerDied, what: str, crashed: str, advice: str) -> tuple[str, str]:
    """Reason and detail for an input that ended its process twice."""
    reason = death.code or crashed
    happened, more = FAILED.get(reason, ("crashed", ""))
    again = "the next build tries it again"
    detail = f"{what} {happened}, tried twice, the second time alone ({death}); {again}: {more or advice}"
    return reason, f"{detail}; or {advice}" if more else detail
