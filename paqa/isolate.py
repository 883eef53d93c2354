"""Poison: a clip or recording that kills the process it is given to. It is found by halving, and the rest goes on.

Rests on nothing but a `run(step, ...)` that raises WorkerDied where the process under a call has died, here or on
another machine. What is complete in the store is not computed again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from paqa import build, hear
from paqa.errors import PaqaError, WorkerDied
from paqa.hear import Hearing, Spent
from paqa.recipe import Recipe, SourceConfig
from paqa.store import Store, key
from paqa.types import Clip, Quarantined, Recording

U = TypeVar("U")
R = TypeVar("R")
HOPELESS = 8  # of one kind of work, so many crashes before anything survives mean that not the audio is to blame


class Run(Protocol):
    """Calls a step in some process and waits; WorkerDied where that process dies."""

    def __call__(self, step: Callable[..., R], /, *args: Any, **kwargs: Any) -> R: ...


@dataclass
class Ward:
    """What one build has seen crash; suspects are tried one at a time, none beside another."""

    alone: Lock = field(default_factory=Lock)
    survived: set[str] = field(default_factory=set)  # kinds of work of which something was done
    crashed: Counter[str] = field(default_factory=Counter)

    def admit(self, work: str, death: WorkerDied) -> None:
        """Count a crash; PaqaError where nothing but crashes was seen of this kind of work."""
        self.crashed[work] += 1
        if self.crashed[work] >= HOPELESS and work not in self.survived:
            raise PaqaError(
                f"{work}: each of the first {HOPELESS} that were tried alone crashed ({death}), so the audio is not to "
                "blame; run `paqa doctor`, look at the free memory, then run the same command again"
            )


class Batch(Generic[U, R]):
    """Units given to `call` together; halved where their process dies, and again, down to the units that kill it.

    A unit that dies alone is tried once more with no other suspect beside it; then it is in `crashed`. Call it again
    after an error of another kind: it goes on with what is `left` in the part that failed.
    """

    def __init__(
        self,
        units: Sequence[U],
        call: Callable[[Sequence[U]], R],
        left: Callable[[Sequence[U]], Sequence[U]],
        work: str,
        ward: Ward,
    ):
        self.parts = [list(units)]
        self.call = call
        self.left = left
        self.work = work
        self.ward = ward
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
                    self._done(self.call(part))
                except WorkerDied:
                    halves = self._halves(part)
            self.parts[:1] = halves
            self.touched = False

    def _halves(self, part: list[U]) -> list[list[U]]:
        """What to try after a death: what is left of the part, in two; a unit that was alone has its last try here."""
        if len(part) > 1:
            units = list(self.left(part))
            half = (len(units) + 1) // 2
            return [own for own in (units[:half], units[half:]) if own]
        with self.ward.alone:
            try:
                self._done(self.call(part))
            except WorkerDied as death:
                self.crashed.append((part[0], death))
                self.ward.admit(self.work, death)
        return []

    def _done(self, result: R) -> None:
        self.done.append(result)
        self.ward.survived.add(self.work)


def again(run: Run, work: str, call: Callable[[], R]) -> R:
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


def _sum(costs: Sequence[Spent]) -> Spent:
    return Spent(*(sum(column) for column in zip(*map(astuple, costs), strict=True)))


class Listening:
    """`hear.listen` for a batch of clips, of which some may be poison; units are the clips that are heard together."""

    def __init__(
        self,
        run: Run,
        clips: Sequence[Clip],
        hearing: Hearing,
        separation: Hearing,
        store: Store,
        device: str,
        threads: int,
        ward: Ward,
    ):
        def listen(groups: Sequence[list[Clip]]) -> tuple[Spent, list[Quarantined]]:
            together = [clip for group in groups for clip in group]
            return run(hear.listen, together, hearing, separation, store, device, threads)

        def left(groups: Sequence[list[Clip]]) -> list[list[Clip]]:
            unheard = [hear.missing(group, hearing, separation, store) for group in groups]
            return [group for group in unheard if group]

        self.hearing = hearing
        self.batch = Batch(hear.together(clips, hearing), listen, left, hearing.name, ward)

    def __call__(self) -> tuple[Spent, list[Quarantined]]:
        """What listening cost, and the clips that were lost to errors and crashes."""
        self.batch.run()
        spent = _sum([cost for cost, _ in self.batch.done])
        lost = [row for _, rows in self.batch.done for row in rows]
        return spent, lost + [self._row(clip, death) for group, death in self.batch.crashed for clip in group]

    def _row(self, clip: Clip, death: WorkerDied) -> Quarantined:
        stage, engine = self.hearing.stage, self.hearing.engine
        detail = (
            f"{engine} crashed on {clip.uri}, twice, the second time alone ({death}); the next build tries it again: "
            f"convert or remove the recording, or name another engine at hear.{stage}.engine"
        )
        return Quarantined(clip.id, stage, "engine_crashed", detail, clip.sha256)


class Ingesting:
    """`build.ingest` for a batch of recordings, of which some may be poison to the decoder."""

    def __init__(
        self,
        run: Run,
        recordings: Sequence[Recording],
        source: SourceConfig,
        recipe: Recipe,
        store: Store,
        ward: Ward,
    ):
        def ingest(part: Sequence[Recording]) -> build.Ingested:
            return run(build.ingest, part, source, recipe, store)

        self.batch = Batch(recordings, ingest, lambda part: part, "ingest", ward)  # known files cost a look-up

    def __call__(self) -> build.Ingested:
        """Clips in the order of the recordings, and the recordings that were lost."""
        self.batch.run()
        parts = self.batch.done
        return build.Ingested(
            tuple(clip for part in parts for clip in part.clips),
            (*(row for part in parts for row in part.quarantined), *(self._row(*one) for one in self.batch.crashed)),
            _sum([part.spent for part in parts]),
            tuple(note for part in parts for note in part.notes),
        )

    @staticmethod
    def _row(recording: Recording, death: WorkerDied) -> Quarantined:
        detail = (
            f"{recording.uri}: reading it crashed, twice, the second time alone ({death}); the next build tries it "
            "again: convert it to plain WAV (ffmpeg -i FILE out.wav) or remove it"
        )
        fingerprint = key("recording", recording.id, recording.uri)
        return Quarantined(recording.id, "ingest", "decoder_crashed", detail, fingerprint)
