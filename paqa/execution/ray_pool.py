"""Calls that run in Ray actors, here or on a cluster, each a process that keeps its engines loaded.

Why Ray: docs/scale.md. Ray is imported only where it is used. A call goes to a free actor as bytes and its
answer comes back as bytes, so nothing stays in Ray's object store, and an engine that an actor has loaded is
there for its next call.
"""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from paqa.errors import OutOfMemory, PaqaError, TimedOut, WorkerDied
from paqa.execution.processes import THREAD_VARIABLES, cores
from paqa.execution.ray_actor import Actor, ActorLocation, probe
from paqa.execution.ray_connection import RayConnection

P = ParamSpec("P")
R = TypeVar("R")

START_SECONDS = 180  # until the first actor is up: on a busy machine importing Ray alone takes long
STOP_SECONDS = 10
STOPPED = "stopped: the work that this belongs to has ended"
GPU_UNITS = 10_000  # of one GPU, in which Ray counts shares


class RayWorkers:
    """Actors on Ray with the interface of `processes.Workers`, for calls from any number of threads.

    `pools` are further actors with a share of a GPU each, by stage. An actor that dies fails the call that
    ran in it (WorkerDied) and no other, and another one is started in its place.
    """

    def __init__(
        self,
        address: str = "",
        count: int | None = None,
        threads: int = 1,
        gpus: Mapping[str, float] | None = None,
        check: Callable[[], None] | None = None,
    ):
        """Connect, and start `count` actors, by default as many as there are free CPUs for.

        Does not wait until they are up. `address` is that of a cluster (`auto`, `HOST:6379`,
        `ray://HOST:10001`); "" starts a Ray on this machine, for as long as this object is open. `gpus` are
        shares of a GPU by stage. Every actor first calls `check`, which raises PaqaError if it cannot work.
        """
        self.threads = threads
        self.pools: dict[str, Pool] = {}
        self._open = True
        self._connection = RayConnection(address, (count or cores()) * threads)
        ray = self._connection.ray
        try:
            self.count = count or self._connection.room(threads)
            variables = {name: str(threads) for name in THREAD_VARIABLES} | self._connection.actor_variables()
            self._cpu_pool = Pool(ray, self.count, threads, variables, check)
            shares = sorted((gpus or {}).items(), key=lambda stage_share: -stage_share[1])
            if shares:
                gpu_count = int(ray.cluster_resources().get("GPU", 0))
                per_pool = actors_per_pool(gpu_count, [share for _, share in shares])
                for stage, share in shares:
                    self.pools[stage] = Pool(ray, per_pool, threads, variables, check, share)
        except BaseException:
            self._connection.close()
            raise

    def run(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `step` in a free actor and return what it returns, or raise what it raises."""
        return self._cpu_pool.run(step, *args, **kwargs)

    def run_within(self, seconds: float | None, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `run`; a call that runs longer than `seconds` raises TimedOut, and its actor is ended."""
        return self._cpu_pool.run_within(seconds, step, *args, **kwargs)

    def calls_by_process(self) -> list[str]:
        """A line for each process that ran calls: where it runs or ran, and how many calls."""
        counts: Counter[ActorLocation] = Counter()
        for pool in (self._cpu_pool, *self.pools.values()):
            counts += pool.ran
        rows = sorted((at.node, at.pid, at.gpus, calls) for at, calls in counts.items())
        lines = []
        for node, pid, gpus, calls in rows:
            gpu = f" GPU {gpus}" if gpus else ""
            lines.append(f"{node} process {pid}{gpu}: {calls} calls")
        return lines

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all actors, and with them the calls that run, and disconnect."""
        if self._open:
            self._open = False
            pools = (self._cpu_pool, *self.pools.values())
            for pool in pools:
                pool.close()
            for pool in pools:
                pool.wait(STOP_SECONDS)
            self._connection.close()


class Pool:
    """Actors of one kind, and the queue of those that are free."""

    def __init__(
        self,
        ray: Any,
        count: int,
        threads: int,
        variables: Mapping[str, str],
        check: Callable[[], None] | None,
        gpus: float = 0,
    ):
        """`gpus` is the share of a GPU that each actor has; its CPU is then not counted."""
        self.count = count
        self.threads = threads
        self._ray = ray
        self._check = check
        self._actor_class = ray.remote(Actor).options(
            num_cpus=0 if gpus else threads,
            num_gpus=gpus,
            max_restarts=0,
            scheduling_strategy="DEFAULT" if gpus else "SPREAD",
            runtime_env={"env_vars": dict(variables)},
        )
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Condition()
        self._locations: dict[Any, ActorLocation | None] = {}  # None: not up yet
        self.ran: Counter[ActorLocation] = Counter()  # calls that came back, by where they ran
        self._failed: Exception | None = None
        self._closed = False
        self._restarts_left = count + 2  # of actors that die before they are up
        self._busy = 0
        self._none_up_since = time.monotonic()
        for _ in range(count):
            self._start_actor()

    def run(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `step` in a free actor; WorkerDied where the actor dies in the call."""
        return self.run_within(None, step, *args, **kwargs)

    def run_within(self, seconds: float | None, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `run`; a call that runs longer than `seconds` raises TimedOut, and its actor is ended."""
        payload = pickle.dumps((step, args, kwargs))
        actor = self._acquire()
        try:
            reply = self._ray.get(actor.call.remote(payload), timeout=seconds)
        except self._ray.exceptions.RayTaskError:  # the answer cannot be pickled, or the call not unpickled
            self._release(actor)
            raise
        except self._ray.exceptions.RayError as error:
            raise self._reap(actor, error, seconds) from None
        except BaseException:
            self._ray.kill(actor)
            self._remove(actor)
            raise
        returned, answer = pickle.loads(reply)
        if isinstance(answer, MemoryError):
            answer = OutOfMemory(f"a Ray actor ran out of memory: {answer}")
        if isinstance(answer, WorkerDied):  # its process cannot be used any more
            raise self._reap(actor, answer, seconds)
        self._release(actor)
        if not returned:
            raise answer
        return answer

    def close(self) -> None:
        """End all actors; calls that run in them end with WorkerDied."""
        with self._lock:
            self._closed = True
            actors = list(self._locations)
        for actor in actors:
            self._ray.kill(actor)

    def wait(self, seconds: float) -> None:
        """Wait until no call runs any more, at most so many seconds."""
        with self._lock:
            self._lock.wait_for(lambda: self._busy == 0, seconds)

    def _start_actor(self) -> None:
        with self._lock:
            if self._closed:
                return
            actor = self._actor_class.remote()
            self._locations[actor] = None
        probed = actor.call.remote(pickle.dumps((probe, (self._check,), {})))
        probed.future().add_done_callback(lambda future: self._on_probed(actor, future))

    def _on_probed(self, actor: Any, future: Future[bytes]) -> None:
        """Add an actor to the free ones once it has answered its probe, or note why it cannot work."""
        try:
            returned, answer = pickle.loads(future.result())
        except Exception as error:  # noqa: BLE001 - whatever Ray raises where an actor dies
            returned, answer = False, PaqaError(_not_up(error))
            if "No module named" not in str(error) and self._start_another(actor):
                return
        with self._lock:
            if not returned:
                self._locations.pop(actor, None)
                self._failed = self._failed or answer
                return
            self._locations[actor] = answer
        self._free.put(actor)

    def _start_another(self, actor: Any) -> bool:
        """Start another actor for one that died before it was up; False after too many such deaths."""
        with self._lock:
            self._restarts_left -= 1
            if self._closed or self._restarts_left < 0:
                return False
            self._locations.pop(actor, None)
        threading.Thread(target=self._start_actor, daemon=True).start()  # not in the thread of callbacks
        return True

    def _acquire(self) -> Any:
        while True:
            if self._closed:
                raise PaqaError(STOPPED)
            if self._failed is not None:
                raise self._failed
            try:
                actor = self._free.get(timeout=0.5)
            except queue.Empty:
                self._check_that_one_is_up()
                continue
            with self._lock:
                self._busy += 1
            return actor

    def _check_that_one_is_up(self) -> None:
        """PaqaError where no actor has been up for START_SECONDS."""
        with self._lock:
            if any(self._locations.values()):
                self._none_up_since = time.monotonic()
        if time.monotonic() - self._none_up_since > START_SECONDS:
            free = self._ray.available_resources()
            raise PaqaError(
                f"no Ray actor has come up in {START_SECONDS} s: {self.count} were asked for with "
                f"{self.threads} CPUs each, and the cluster has {free.get('CPU', 0):g} CPUs and "
                f"{free.get('GPU', 0):g} GPUs free; "
                "wait for what else runs there, or lower --workers, --threads or --gpus"
            )

    def _release(self, actor: Any) -> None:
        with self._lock:
            self._busy -= 1
            self._lock.notify_all()
            if location := self._locations.get(actor):
                self.ran[location] += 1
        self._free.put(actor)

    def _remove(self, actor: Any) -> ActorLocation | None:
        with self._lock:
            self._busy -= 1
            self._lock.notify_all()
            return self._locations.pop(actor, None)

    def _reap(self, actor: Any, error: Exception, seconds: float | None) -> PaqaError:
        """Replace an actor that has died or cannot go on; the error to raise for the call that ran in it."""
        location = self._remove(actor)
        if self._closed:
            return PaqaError(STOPPED)
        self._ray.kill(actor)  # where only the connection to it was lost, it must not go on
        self._start_actor()
        where = f"process {location.pid} on {location.node}" if location else "an actor"
        if isinstance(error, WorkerDied):
            return error
        if isinstance(error, self._ray.exceptions.GetTimeoutError):
            return TimedOut(f"{where} was ended: no answer in {seconds:.0f} s")
        kind = OutOfMemory if _short_of_memory(error) else WorkerDied
        return kind(f"{where} has died: {_cause(error)}")


def actors_per_pool(gpus: int, shares: Sequence[float]) -> int:
    """How many actors with each of these shares of a GPU (at most 1) fit on so many GPUs together.

    PaqaError where not one of each fits. No actor is on two GPUs, so shares are packed: first fit, the
    largest first.
    """
    units = sorted((round(share * GPU_UNITS) for share in shares), reverse=True)
    for count in range(gpus * GPU_UNITS // sum(units), 0, -1):
        if _fit(gpus, [unit for unit in units for _ in range(count)]):
            return count
    raise PaqaError(
        f"--gpus: one set of actors wants {sum(units) / GPU_UNITS:g} GPUs, and Ray has {gpus}; "
        "lower the shares"
    )


def _fit(gpus: int, units: Sequence[int]) -> bool:
    """Whether shares, each on the first GPU with room for it, all find one."""
    free = [GPU_UNITS] * gpus
    for unit in units:
        first = next((gpu for gpu, room in enumerate(free) if room >= unit), None)
        if first is None:
            return False
        free[first] -= unit
    return True


def _not_up(error: Exception) -> str:
    """One line for an actor that did not come up."""
    text = " ".join(str(error).split())
    if "No module named" in text:
        missing = text.partition("No module named ")[2].split()[0].strip("'\".,")
        return f"a node of the Ray cluster has no Python module {missing}; install the same paqa on all nodes"
    return f"a Ray actor did not come up: {_cause(error)}"


def _cause(error: Exception) -> str:
    """Why an actor died, from the text of Ray's error."""
    text = " ".join(str(error).split())
    if _short_of_memory(error):
        return "Ray ended it because its node ran out of memory; fewer --workers need less"
    if "its node has died" in text or "unavailable" in text:
        return "its node has gone, or does not answer"
    detail = (
        text.partition("Worker exit detail: ")[2] or text.partition("The actor is dead because ")[2] or text
    )
    return f"killed, often out of memory, or crashed ({detail.split('. ')[0]})"


def _short_of_memory(error: Exception) -> bool:
    """Whether Ray ended an actor because memory ran out."""
    text = " ".join(str(error).split()).lower()
    return "low on memory" in text or "memory monitor" in text or type(error).__name__ == "OutOfMemoryError"
