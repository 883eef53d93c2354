"""Where the calls of a build run: in worker processes here, in Ray actors, or on a shared GPU."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from paqa.config.recipe import Recipe
from paqa.errors import PaqaError
from paqa.execution.processes import Workers, cores
from paqa.execution.ray_actor import check_store, node_check, remove_probe
from paqa.execution.ray_connection import check_reachable
from paqa.execution.ray_pool import RayWorkers
from paqa.perception.engine_runs import STAGES
from paqa.pipeline import worker_steps
from paqa.pipeline.time_limits import Limits
from paqa.storage.store import Store, key
from paqa.types import Device, Stage

R = TypeVar("R")
LOCAL = "local"
RAY = "ray"
# These read the user's files or write the build's folder.
STAGES_ON_THIS_MACHINE = {"ingest", "benchmarks", "shortcuts", "shard", "audit", "report"}


@dataclass(frozen=True)
class PlacementOptions:
    """What the user says about where calls run."""

    runner: str = LOCAL  # local, ray or ray:ADDRESS
    workers: int | None = None  # None: all cores that this process may use here, all free CPUs of a cluster
    threads: int = 1
    device: str = "cpu"
    gpus: Mapping[str, float] = field(default_factory=dict)  # shares of a GPU by stage, on Ray
    gpu_slots: int | None = None  # engine calls at once on this machine's GPU; None: as Prefect has it, or 1
    limits: Limits = field(default_factory=Limits)  # of the time that calls may take

    def __post_init__(self) -> None:
        expected = self.runner == LOCAL or self.runner.partition(":")[0] == RAY
        if not expected or self.runner.endswith(":"):
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
                "--gpu-slots is for --device cuda with local workers; on Ray, --gpus says who has how much "
                "of one"
            )

    def check(self) -> None:
        """PaqaError where nobody answers at the cluster's address, before anything is started."""
        if self.address:
            check_reachable(self.address)

    @property
    def on_ray(self) -> bool:
        """Whether calls run in Ray actors."""
        return self.runner != LOCAL

    @property
    def address(self) -> str:
        """Of the Ray cluster; "" for one of our own."""
        return self.runner if self.runner.startswith("ray://") else self.runner.partition(":")[2]

    @property
    def shares_gpu(self) -> bool:
        """Whether workers here share one GPU."""
        return self.device != "cpu" and not self.on_ray

    @property
    def gpu_shares(self) -> Mapping[str, float]:
        """Shares of a GPU by stage on Ray: with no more than --device cuda, a quarter for each engine."""
        return self.gpus or (dict.fromkeys(STAGES, 0.25) if self.device != "cpu" else {})

    @property
    def devices(self) -> dict[Stage, Device]:
        """The kind of device of each stage whose engine does not run on CPUs."""
        stages = self.gpu_shares if self.on_ray else STAGES if self.device != "cpu" else ()
        return {stage: "cuda" for stage in STAGES if stage in stages}


def gpu_shares(text: str) -> dict[str, float]:
    """`separate=0.5,tag=0.1` as a dict; PaqaError where it is none."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        stage = name.strip()
        try:
            share = float(number)
        except ValueError:
            raise PaqaError(
                f"--gpus {text}: {part!r} is not STAGE=SHARE, e.g. separate=0.5,tag=0.1"
            ) from None
        if stage not in STAGES:
            raise PaqaError(f"--gpus {text}: no stage {stage!r}; expected {', '.join(STAGES)}")
        if not 0.0001 <= share <= 1:
            raise PaqaError(f"--gpus {text}: {part} is no share of one GPU; expected above 0 and at most 1")
        shares[stage] = share
    return shares


class BuildPlacement:
    """The workers of one build: `local` for what needs this machine's files, `workers` for all else.

    `__slots__`, since it is a parameter of a flow, and Prefect would else try to write its inside as JSON.
    """

    __slots__ = ("_around", "_recipe", "_started", "_store", "gpu_slot", "local", "options", "workers")

    def __init__(self, options: PlacementOptions, recipe: Recipe, store: Store):
        """Nothing is started before the object is entered, which may be done again after its end."""
        self.options = options
        self._recipe = recipe
        self._store = store
        self._started = False
        slots = threading.BoundedSemaphore(options.gpu_slots or 1)
        # Where workers share a GPU: what a call of an engine holds meanwhile. The Prefect flow puts its own
        # here.
        self.gpu_slot: Callable[[], AbstractContextManager[Any]] = lambda: slots

    def _start(self) -> None:
        """Connect to a cluster where one is wanted; PaqaError where that fails or its nodes are not fit."""
        options, store = self.options, self._store
        self._around = ExitStack()
        if not store.local:
            check_store(store, key("probe", secrets.token_hex(8)))
        count = options.workers or cores()
        self.local = Workers(cores() if options.address else count, options.threads)
        self.local.warm(worker_steps.ready)
        threading.Thread(target=_import_pandas, daemon=True).start()
        self.workers: Workers | RayWorkers = self.local
        if options.on_ray:
            check = node_check(self._recipe, store)
            self._around.callback(remove_probe, check)
            try:
                actors = options.workers if options.address else count
                self.workers = RayWorkers(options.address, actors, options.threads, options.gpu_shares, check)
            except BaseException:
                self._around.close()
                raise
        self._started = True

    @property
    def _pools(self) -> dict[str, Any]:
        """Further workers with a share of a GPU, by stage."""
        return dict(self.workers.pools) if isinstance(self.workers, RayWorkers) else {}

    def runner(self, stage: str) -> Callable[..., Any]:
        """What runs a call of a stage where it belongs, and waits for it.

        It takes the seconds that the call may run (None: any), not counting the wait for a free worker or a
        slot of the GPU; the function; and its arguments.
        """
        if stage in STAGES_ON_THIS_MACHINE:
            return self.local.run_within
        engine_stage = stage.partition(" ")[0]
        if self.options.shares_gpu and engine_stage in STAGES:
            return self._run_in_gpu_slot
        runner: Callable[..., Any] = self._pools.get(engine_stage, self.workers).run_within
        return runner

    def _run_in_gpu_slot(self, seconds: float | None, step: Callable[..., R], *args: Any) -> R:
        with self.gpu_slot():
            return self.workers.run_within(seconds, step, *args)

    def device_of(self, stage: str) -> str:
        """The device of a stage's engine."""
        if self.options.on_ray:
            return "cuda" if stage in self._pools else "cpu"
        return self.options.device

    @property
    def worker_count(self) -> int:
        """How many calls `workers` takes at once, those with a GPU not counted."""
        return self.workers.count

    @property
    def threads(self) -> int:
        """Threads of an engine."""
        return self.workers.threads

    @property
    def max_calls(self) -> int:
        """How many calls may run at once, over all places."""
        on_gpus = sum(pool.count for pool in self._pools.values())
        return max(self.local.count, self.workers.count + on_gpus)

    def usage(self) -> list[str]:
        """A line for each process of a cluster that ran calls."""
        return self.workers.calls_by_process() if isinstance(self.workers, RayWorkers) else []

    def __enter__(self) -> BuildPlacement:
        if not self._started:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            self._started = False
            self.workers.__exit__(kind, error, trace)
            self.local.__exit__(kind, error, trace)
            self._around.close()


def _import_pandas() -> None:
    """What pyarrow does, where it is installed, when the first table is written: here nobody waits for it."""
    with suppress(ModuleNotFoundError):
        import pandas  # noqa: F401
