"""Ray as the place where calls run: actors here or on a cluster, each a process of its own that keeps its
engines.

Why Ray: docs/scale.md. Ray is imported only where it is wanted. A call goes to a free actor as bytes and
comes back as bytes, so nothing stays in Ray's object store, and whatever an actor has loaded (`hear._engine`)
it has for the next.
"""

from __future__ import annotations

import os
import pickle
import queue
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from paqa.errors import OutOfMemory, PaqaError, TimedOut, WorkerDied
from paqa.execution.processes import THREAD_VARIABLES, cores
from paqa.execution.ray_actor import Actor, Home, arrive
from paqa.storage.filesystems import first_line

P = ParamSpec("P")
R = TypeVar("R")

REACH_SECONDS = 5  # to open a connection to a cluster
START_SECONDS = (
    180  # until the first actor is up: on a machine that is busy, importing Ray alone takes its time
)
STOP_SECONDS = 10
STOPPED = "stopped: the work that this belongs to has ended"
OBJECT_STORE = 256 * 2**20  # bytes, of a Ray of our own: calls and results pass through, nothing stays
HANDED_ON = (
    "PAQA_MODELS",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
)
SETTINGS = {  # read by Ray when it is imported or started
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a late call would start a second Ray
    # what a raylet has to say is in its log; a dead actor is said by WorkerDied
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_worker_niceness": "0",  # else 15: local workers have none, and machines are shared
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning for every actor without a GPU
}


class RayWorkers:
    """Actors on Ray with the interface of `processes.Workers`; `run` may be called from any number of
    threads.

    `pools` are further actors with a share of a GPU each, by stage. An actor that dies takes its own call
    with it (WorkerDied) and nothing else, and a fresh one comes in its place.
    """

    def __init__(
        self,
        address: str = "",
        count: int | None = None,
        threads: int = 1,
        gpus: Mapping[str, float] | None = None,
        first: Callable[[], None] | None = None,
    ):
        """Connect, and start `count` actors (default: as many as there are free CPUs for), which come up by
        and by.

        `address` is that of a cluster (`auto`, `HOST:6379`, `ray://HOST:10001`); "" starts a Ray on this
        machine, for as long as this object is open. Every actor calls `first` before anything else.
        """
        self.threads = threads
        self.pools: dict[str, Pool] = {}
        self._local = not address
        self._session = ""
        self._open = True
        self._environment: dict[str, str | None] = {}
        ray = self._connect(address, count)
        try:
            self.count = count or _room(ray, threads)
            variables = {name: str(threads) for name in THREAD_VARIABLES} | _handed_on(self._local)
            self._all = Pool(ray, self.count, threads, variables, first)
            shares = dict(sorted((gpus or {}).items(), key=lambda one: -one[1]))
            n = sets(int(ray.cluster_resources().get("GPU", 0)), list(shares.values())) if shares else 0
            self.pools |= {
                stage: Pool(ray, n, threads, variables, first, share) for stage, share in shares.items()
            }
        except BaseException:
            self._leave()
            raise

    def run(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `step` in a free actor and wait for what it returns or raises."""
        return self._all.run(step, *args, **kwargs)

    def run_within(self, seconds: float | None, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `run`; TimedOut, and the actor ended, where the call runs longer than `seconds` in it."""
        return self._all.run_within(seconds, step, *args, **kwargs)

    def told(self) -> list[str]:
        """A line for each process that ran calls: where it is or was, and how many."""
        ran = sum((pool.ran for pool in (self._all, *self.pools.values())), Counter())
        lines = sorted((home.node, home.pid, home.gpus, n) for home, n in ran.items())
        return [
            f"{node} process {pid}{' GPU ' + gpus if gpus else ''}: {n} calls" for node, pid, gpus, n in lines
        ]

    def _connect(self, address: str, count: int | None) -> Any:
        wanted = dict(SETTINGS)
        if self._local:  # nobody else may talk to a Ray of ours, and no token is kept in the home folder
            wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}
        else:
            reachable(address)
        self._environment = {name: os.environ.get(name) for name in wanted}
        os.environ.update(
            {
                name: os.environ.get(name, value) if name in SETTINGS else value
                for name, value in wanted.items()
            }
        )
        try:
            import ray
        except ModuleNotFoundError:
            self._restore()
            raise PaqaError(
                "--runner ray: ray is not installed; run: uv pip install 'paqa[cluster]'"
            ) from None
        options: dict[str, Any] = {"logging_level": "critical", "log_to_driver": False, "namespace": "paqa"}
        if self._local:
            self._session = _session()
            options |= {
                "address": "local",  # whatever RAY_ADDRESS says
                "num_cpus": (count or cores()) * self.threads,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": self._session,
            }
        else:
            options["address"] = address
        try:
            ray.init(**options)
        except Exception as error:  # noqa: BLE001 - Ray raises a dozen kinds; all end here
            self._leave()
            raise PaqaError(_refused(address, error)) from None
        except BaseException:
            self._leave()
            raise
        return ray

    def _leave(self) -> None:
        import ray

        ray.shutdown()
        self._restore()
        if self._session:
            shutil.rmtree(self._session, ignore_errors=True)

    def _restore(self) -> None:
        for name, value in self._environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self._open = False
            pools = (self._all, *self.pools.values())
            for pool in pools:
                pool.close()
            for pool in pools:
                pool.wait(STOP_SECONDS)
            self._leave()


class Pool:
    """Actors of one kind, and the queue of those that are free."""

    def __init__(
        self,
        ray: Any,
        count: int,
        threads: int,
        variables: Mapping[str, str],
        first: Callable[[], None] | None,
        gpus: float = 0,
    ):
        """`gpus` is the share of a GPU that each actor has; its CPU is then not counted."""
        self.count = count
        self.threads = threads
        self._ray = ray
        self._first = first
        self._kind = ray.remote(Actor).options(
            num_cpus=0 if gpus else threads,
            num_gpus=gpus,
            max_restarts=0,
            scheduling_strategy="DEFAULT" if gpus else "SPREAD",
            runtime_env={"env_vars": dict(variables)},
        )
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Condition()
        self._homes: dict[Any, Home | None] = {}  # None: on its way
        self.ran: Counter[Home] = Counter()  # calls that came back, by where they ran
        self._failed: Exception | None = None
        self._closed = False
        self._chances = count + 2
        self._busy = 0
        self._began = time.monotonic()
        for _ in range(count):
            self._hire()

    def run(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `step` in a free actor; WorkerDied where the actor dies under it."""
        return self.run_within(None, step, *args, **kwargs)

    def run_within(self, seconds: float | None, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `run`; TimedOut, and the actor ended, where the call runs longer than `seconds` in it."""
        payload = pickle.dumps((step, args, kwargs))
        actor = self._take()
        try:
            answer = self._ray.get(actor.call.remote(payload), timeout=seconds)
        except self._ray.exceptions.RayTaskError:  # the answer cannot be pickled, or the call not unpickled
            self._give(actor)
            raise
        except self._ray.exceptions.RayError as error:
            raise self._lost(actor, error, seconds) from None
        except BaseException:
            self._ray.kill(actor)
            self._drop(actor)
            raise
        returned, value = pickle.loads(answer)
        if isinstance(value, MemoryError):
            value = OutOfMemory(f"a Ray actor ran out of memory: {value}")
        if isinstance(value, WorkerDied):  # its process is of no use any more
            raise self._lost(actor, value, seconds)
        self._give(actor)
        if not returned:
            raise value
        return value

    def close(self) -> None:
        """End all actors; calls that run in them end with WorkerDied."""
        with self._lock:
            self._closed = True
            actors = list(self._homes)
        for actor in actors:
            self._ray.kill(actor)

    def wait(self, seconds: float) -> None:
        """Until no call runs any more."""
        with self._lock:
            self._lock.wait_for(lambda: self._busy == 0, seconds)

    def _hire(self) -> None:
        with self._lock:
            if self._closed:
                return
            actor = self._kind.remote()
            self._homes[actor] = None
        asked = actor.call.remote(pickle.dumps((arrive, (self._first,), {})))
        asked.future().add_done_callback(lambda future: self._arrived(actor, future))

    def _arrived(self, actor: Any, future: Future[bytes]) -> None:
        """An actor is up and has made its first call, or it will never be."""
        try:
            fine, found = pickle.loads(future.result())
        except Exception as error:  # noqa: BLE001 - whatever Ray says of it
            fine, found = False, PaqaError(_not_up(error))
            if "No module named" not in str(error) and self._once_more(actor):
                return
        with self._lock:
            if not fine:
                self._homes.pop(actor, None)
                self._failed = self._failed or found
                return
            self._homes[actor] = found
        self._free.put(actor)

    def _once_more(self, actor: Any) -> bool:
        """Have another actor started for one that died on its way, as with its node; False after some of
        these.
        """
        with self._lock:
            self._chances -= 1
            if self._closed or self._chances < 0:
                return False
            self._homes.pop(actor, None)
        threading.Thread(target=self._hire, daemon=True).start()  # not in the thread in which Ray tells of it
        return True

    def _take(self) -> Any:
        while True:
            if self._closed:
                raise PaqaError(STOPPED)
            if self._failed is not None:
                raise self._failed
            try:
                actor = self._free.get(timeout=0.5)
            except queue.Empty:
                self._waited()
                continue
            with self._lock:
                self._busy += 1
            return actor

    def _waited(self) -> None:
        """PaqaError where no actor has come up for too long."""
        with self._lock:
            up = any(self._homes.values())
            if up:
                self._began = time.monotonic()
        if time.monotonic() - self._began > START_SECONDS:
            free = self._ray.available_resources()
            raise PaqaError(
                f"no Ray actor has come up in {START_SECONDS} s: {self.count} were asked for with {self.threads} CPUs "
                f"each, and the cluster has {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs free; "
                "wait for what else runs there, or lower --workers, --threads or --gpus"
            )

    def _give(self, actor: Any) -> None:
        with self._lock:
            self._busy -= 1
            self._lock.notify_all()
            if home := self._homes.get(actor):
                self.ran[home] += 1
        self._free.put(actor)

    def _drop(self, actor: Any) -> Home | None:
        with self._lock:
            self._busy -= 1
            self._lock.notify_all()
            return self._homes.pop(actor, None)

    def _lost(self, actor: Any, error: Exception, seconds: float | None) -> PaqaError:
        """What to raise for a call whose actor has died or had to be ended; a fresh actor is on its way."""
        home = self._drop(actor)
        if self._closed:
            return PaqaError(STOPPED)
        self._ray.kill(actor)  # where only the connection to it was lost, it must not go on
        self._hire()
        where = f"process {home.pid} on {home.node}" if home else "an actor"
        if isinstance(error, WorkerDied):
            return error
        if isinstance(error, self._ray.exceptions.GetTimeoutError):
            return TimedOut(f"{where} was ended: no answer in {seconds:.0f} s")
        kind = OutOfMemory if _short_of_memory(error) else WorkerDied
        return kind(f"{where} has died: {_cause(error)}")


# --- the cluster
# ------------------------------------------------------------------------------------------------------


@cache
def _token() -> str:
    return secrets.token_hex(32)  # one a process: Ray reads it once


def _session() -> str:
    """A folder for a Ray of our own; those of processes that were killed are removed."""
    root = Path(tempfile.gettempdir())  # sockets lie in it, whose paths must be short
    for old in root.glob("paqa-ray-*-*"):
        if not Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"paqa-ray-{os.getpid()}-", dir=root)


def _handed_on(local: bool) -> dict[str, str]:
    """Environment variables that actors get from this process; on this machine also where paqa is imported
    from.
    """
    found = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    if local:
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        found["PYTHONPATH"] = os.pathsep.join(paths)
    return found


def _room(ray: Any, threads: int) -> int:
    """How many actors of so many threads the cluster has room for now; PaqaError where there is none."""
    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    free = ray.available_resources().get("CPU", 0)
    room = min(sum(int(cpus // threads) for cpus in nodes), int(free // threads))
    if room < 1:
        raise PaqaError(
            f"--threads {threads}: the Ray cluster has no room for an actor ({len(nodes)} nodes with "
            f"{sum(nodes):g} CPUs, {free:g} of them free); wait for what else runs there, or lower --threads"
        )
    return room


def sets(gpus: int, shares: Sequence[float]) -> int:
    """How many times actors with these shares of a GPU (each at most 1) fit on so many GPUs; PaqaError where
    not once.

    No actor is on two GPUs, so shares are packed: first fit, the largest first.
    """
    units = sorted((round(share * 10_000) for share in shares), reverse=True)  # Ray counts in these
    for n in range(gpus * 10_000 // sum(units), 0, -1):
        left = [10_000] * gpus
        for unit in (unit for unit in units for _ in range(n)):
            where = next((i for i, room in enumerate(left) if room >= unit), None)
            if where is None:
                break
            left[where] -= unit
        else:
            return n
    raise PaqaError(
        f"--gpus: one set of actors wants {sum(units) / 10_000:g} GPUs, and Ray has {gpus}; lower the shares"
    )


def reachable(address: str) -> None:
    """PaqaError where nobody listens at the address: Ray itself would try for a minute and then end the
    process.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit():
        raise PaqaError(f"--runner ray:{address}: expected ray:auto, ray:HOST:6379 or ray:ray://HOST:10001")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise PaqaError(
            f"--runner ray:{address}: nobody answers at {host} port {port} ({first_line(error)}); start a cluster there "
            "(ray start --head --port=6379), or correct the address"
        ) from None


def _refused(address: str, error: Exception) -> str:
    """One line for what Ray says when it cannot start or connect."""
    if not address:
        return f"Ray did not start on this machine ({first_line(error)})"
    text = str(error)
    named = f"--runner ray:{address}"
    if "different versions" in text or "Version mismatch" in text:
        return f"{named}: Ray or Python there is of another version ({' '.join(text.split())[:200]})"
    if "authent" in text.lower() or "token" in text.lower():
        return (
            f"{named}: the cluster wants another token; set RAY_AUTH_MODE=token and its nodes' RAY_AUTH_TOKEN"
        )
    if address == "auto":
        return f"{named}: no Ray runs on this machine ({first_line(error)}); name its address, or start one: ray start --head"
    if "raylet" in text or "node_ip_address" in text or "Can't find" in text:
        return (
            f"{named}: this machine is no node of that cluster ({first_line(error)}); run paqa on one of its nodes, join it "
            f"(ray start --address={address}), or use ray:ray://HOST:10001"
        )
    return f"{named}: {first_line(error)}; if its nodes have a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here too"


def _not_up(error: Exception) -> str:
    """One line for an actor that did not come up."""
    text = " ".join(str(error).split())
    if "No module named" in text:
        missing = text.partition("No module named ")[2].split()[0].strip("'\".,")
        return f"a node of the Ray cluster has no Python module {missing}; install the same paqa on all nodes"
    return f"a Ray actor did not come up: {_cause(error)}"


def _cause(error: Exception) -> str:
    """How an actor died, from what Ray says of it."""
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
    """Whether Ray ended an actor for want of memory."""
    text = " ".join(str(error).split()).lower()
    return "low on memory" in text or "memory monitor" in text or type(error).__name__ == "OutOfMemoryError"
