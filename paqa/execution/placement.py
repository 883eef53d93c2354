"""Where the calls of a build run: in worker processes here, in Ray actors, or one at a time on a GPU that is
shared.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from paqa.config.recipe import Recipe
from paqa.errors import PaqaError
from paqa.execution.processes import Workers, cores
from paqa.execution.ray_actor import forget, reach, same
from paqa.execution.ray_pool import RayWorkers, reachable
from paqa.perception.engine_runs import STAGES
from paqa.pipeline import steps as walk
from paqa.pipeline.time_limits import Limits
from paqa.storage.store import Store, key
from paqa.types import Device, Stage

R = TypeVar("R")
LOCAL = "local"
RAY = "ray"
NEAR = {
    "ingest",
    "benchmarks",
    "shortcuts",
    "shard",
    "audit",
    "report",
}  # they read the user's files or write `out`
LIMIT = "paqa-gpu"  # the name under which the Prefect UI shows the GPU's slots (Concurrency)
LEASE_SECONDS = 60  # after which the slot of a build that was killed is free again


@dataclass(frozen=True)
class Wanted:
    """What the command line says about where calls run."""

    runner: str = LOCAL  # local, ray or ray:ADDRESS
    workers: int | None = None  # None: all cores that this process may use here, all free CPUs of a cluster
    threads: int = 1
    device: str = "cpu"
    gpus: Mapping[str, float] = field(default_factory=dict)  # shares of a GPU by stage, on Ray
    gpu_slots: int | None = (
        None  # hearings at once on the GPU of this machine; None: as the Prefect server has it, or 1
    )
    limits: Limits = field(default_factory=Limits)  # of the time that calls may take

    def __post_init__(self) -> None:
        known = self.runner == LOCAL or self.runner.partition(":")[0] == RAY
        if not known or self.runner.endswith(":"):
            raise PaqaError(
                f"--runner {self.runner}: expected local, ray or ray:ADDRESS (auto, HOST:6379, ray://HOST:10001)"
            )
        for flag, number in (
            ("--workers", self.workers),
            ("--threads", self.threads),
            ("--gpu-slots", self.gpu_slots),
        ):
            if number is not None and number < 1:
                raise PaqaError(f"{flag} {number}: expected at least 1")
        if not 0 <= self.limits.factor < float("inf"):
            raise PaqaError(f"--timeout {self.limits.factor:g}: expected 0 (no limit) or a positive factor")
        if self.gpus and not self.on_ray:
            raise PaqaError("--gpus is for --runner ray; here --device cuda and --gpu-slots N share a GPU")
        if self.gpu_slots is not None and (self.on_ray or self.device == "cpu"):
            raise PaqaError(
                "--gpu-slots is for --device cuda with local workers; on Ray, --gpus says who has how much of one"
            )

    def check(self) -> None:
        """PaqaError where nobody answers at the cluster's address: known at once, before anything is
        started.
        """
        if self.address:
            reachable(self.address)

    @property
    def on_ray(self) -> bool:
        """Whether calls run in Ray actors."""
        return self.runner != LOCAL

    @property
    def address(self) -> str:
        """Of the Ray cluster; "" for one of our own."""
        return self.runner if self.runner.startswith("ray://") else self.runner.partition(":")[2]

    @property
    def shares(self) -> Mapping[str, float]:
        """Shares of a GPU by stage on Ray: with no more than --device cuda, a quarter for each hearing."""
        return self.gpus or (dict.fromkeys(STAGES, 0.25) if self.device != "cpu" else {})

    @property
    def devices(self) -> dict[Stage, Device]:
        """The kind of device of each stage whose engine does not run on CPUs."""
        stages = self.shares if self.on_ray else STAGES if self.device != "cpu" else ()
        return {stage: "cuda" for stage in STAGES if stage in stages}


def shares(text: str) -> dict[str, float]:
    """`separate=0.5,tag=0.1` as a dict; PaqaError where it is none."""
    found: dict[str, float] = {}
    for part in text.split(","):
        stage, _, share = part.partition("=")
        try:
            found[stage.strip()] = float(share)
        except ValueError:
            raise PaqaError(
                f"--gpus {text}: {part!r} is not STAGE=SHARE, e.g. separate=0.5,tag=0.1"
            ) from None
        if stage.strip() not in STAGES:
            raise PaqaError(f"--gpus {text}: no stage {stage.strip()!r}; expected {', '.join(STAGES)}")
        if not 0.0001 <= found[stage.strip()] <= 1:
            raise PaqaError(f"--gpus {text}: {part} is no share of one GPU; expected above 0 and at most 1")
    return found


class Places:
    """The workers of one build: `near` for what needs this machine's files, `workers` for all else.

    `__slots__`, since it is a parameter of the flow, and Prefect would else try to write its inside as JSON.
    """

    __slots__ = ("_around", "_limited", "_made", "_recipe", "_store", "near", "wanted", "workers")

    def __init__(self, wanted: Wanted, recipe: Recipe, store: Store):
        """Nothing is started or connected to before the object is entered, which may be done again after its
        end.
        """
        self.wanted = wanted
        self._recipe = recipe
        self._store = store
        self._made = False
        self._limited = wanted.device != "cpu" and not wanted.on_ray

    def _make(self) -> None:
        """Connect to the cluster where one is wanted; PaqaError where that cannot be or its nodes are not
        fit.
        """
        wanted, store = self.wanted, self._store
        self._around = ExitStack()
        if not store.local:
            reach(store, key("probe", secrets.token_hex(8)))
        here = wanted.workers or cores()
        self.near = Workers(cores() if wanted.address else here, wanted.threads)
        self.near.warm(walk.ready)
        self.workers: Workers | RayWorkers = self.near
        if wanted.on_ray:
            first = same(self._recipe, store)
            self._around.callback(forget, first)
            try:
                count = wanted.workers if wanted.address else here
                self.workers = RayWorkers(wanted.address, count, wanted.threads, wanted.shares, first)
            except BaseException:
                self._around.close()
                raise
        self._made = True

    def runner(self, stage: str) -> Callable[..., Any]:
        """What runs a call of a stage where it belongs, and waits for it.

        It takes the seconds that the call may run (None: any), not counting the wait for a free worker or a
        slot of the GPU; the function; and its arguments.
        """
        if stage in NEAR:
            return self.near.run_within
        kind = stage.partition(" ")[0]
        if self._limited and kind in STAGES:
            return partial(_within, LIMIT, self.workers.run_within)
        pools = self.workers.pools if isinstance(self.workers, RayWorkers) else {}
        return pools.get(kind, self.workers).run_within

    def device_of(self, stage: str) -> str:
        """The device of a stage's engine."""
        if not isinstance(self.workers, RayWorkers):
            return self.wanted.device
        return "cuda" if stage in self.workers.pools else "cpu"

    @property
    def at_once(self) -> int:
        """How many calls may run at once, over all places."""
        more = (
            [pool.count for pool in self.workers.pools.values()]
            if isinstance(self.workers, RayWorkers)
            else []
        )
        return max(self.near.count, self.workers.count + sum(more))

    def told(self) -> list[str]:
        """A line for each process of a cluster that ran calls."""
        return self.workers.told() if isinstance(self.workers, RayWorkers) else []

    def ready(self) -> None:
        """Have the Prefect server know the GPU's slots, where they are wanted; needs a running server."""
        if self._limited:
            limit(LIMIT, self.wanted.gpu_slots)

    def __enter__(self) -> Places:
        if not self._made:
            self._make()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._made:
            self._made = False
            self.workers.__exit__(kind, error, trace)
            self.near.__exit__(kind, error, trace)
            self._around.close()


def _within(name: str, run: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    with slot(name):
        return run(*args, **kwargs)


def limit(name: str, slots: int | None) -> int:
    """Create the named limit on the Prefect server (one slot by default), or change it to `slots`; returns
    its slots.

    One that is there already stays as somebody set it in the UI, where `slots` is None.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            found = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots or 1))
            return slots or 1
        if slots is not None and found.limit != slots:
            client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=slots))
        return slots or found.limit


@contextmanager
def slot(name: str) -> Iterator[None]:
    """Hold one slot of a named limit of the Prefect server, waiting for it."""
    from prefect.concurrency.sync import concurrency

    with concurrency(name, strict=True, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False):
        yield
