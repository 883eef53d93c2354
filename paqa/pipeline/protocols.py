"""What the driver needs to have work done: an executor of two methods, and where calls run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Future(Protocol[R_co]):
    """A call that has been submitted."""

    def result(self) -> R_co:
        """What the call returned; raises what it raised."""


@dataclass(frozen=True)
class Submitted(Generic[R]):
    """The calls of one stage; `sizes` are numbers of `unit` in each, which progress counts."""

    stage: str
    futures: Sequence[Future[R]]
    sizes: Sequence[int]
    unit: str


class Executor(Protocol):
    """Runs the calls of stages side by side: as Prefect tasks, or in threads (`paqa.build`)."""

    def submit(
        self,
        stage: str,
        calls: Sequence[Callable[[], R]],
        sizes: Sequence[int],
        unit: str,
        after: Sequence[Future[Any] | None] = (),
    ) -> Submitted[R]:
        """Begin the calls; call i waits for `after[i]`, where there is one."""

    def results(self, submitted: Submitted[R]) -> list[R]:
        """All results in the order of the calls, with progress as they come; the first failure is raised."""


class Placement(Protocol):
    """Where calls run: in worker processes here, or on a cluster."""

    @property
    def worker_count(self) -> int:
        """How many calls the workers take at once."""

    @property
    def threads(self) -> int:
        """Threads of an engine."""

    def runner(self, stage: str) -> Callable[..., Any]:
        """What runs a call of a stage in a worker and waits for it: `runner(seconds, step, *arguments)`."""

    def device_of(self, stage: str) -> str:
        """The device of a stage's engine: cpu or cuda."""
