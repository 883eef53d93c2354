"""Worker processes that keep their engines loaded. Imports nothing heavy: threads are limited before numpy
loads.

Each process has a pipe of its own, so that one that dies takes only the call along that ran in it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from paqa.errors import OutOfMemory, PaqaError, Stopped, TimedOut, WorkerDied

P = ParamSpec("P")
R = TypeVar("R")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
END_SECONDS = 5  # for a process that is asked to end, before it is killed


class Workers:
    """N processes, started when first needed; `run` may be called from any number of threads.

    A process that dies is replaced, and only the call in it fails. Nothing survives the process that made
    them, even where it is killed.
    """

    def __init__(self, count: int, threads: int = 1):
        self.count = count
        self.threads = threads
        self._free: queue.LifoQueue[_Worker | None] = (
            queue.LifoQueue()
        )  # slots; None is one without a process yet
        for _ in range(count):
            self._free.put(None)
        self._living: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._before: Any = None  # what a Ctrl-C did before

    def run(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `step` in a worker and wait for what it returns or raises; WorkerDied where its process
        dies.
        """
        return self.run_within(None, step, *args, **kwargs)

    def run_within(self, seconds: float | None, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `run`; TimedOut, and the process ended, where the call runs longer than `seconds` in its
        worker.
        """
        worker = self._free.get()
        try:
            worker = self._ready(worker)
            answer = worker.call(step, args, kwargs, seconds)
        except (_Gone, WorkerDied) as error:
            assert worker is not None
            died, worker = worker, None
            death = self._buried(died, error)
            self._refuse_if_closed()
            raise death from None
        finally:
            self._free.put(worker)
        return answer

    def warm(self, step: Callable[[], object]) -> None:
        """Start all processes now and have each call `step`, which may import what later calls need; does not
        wait.
        """
        for _ in range(self.count):
            threading.Thread(target=self._warmed, args=(step,), daemon=True).start()

    def _warmed(self, step: Callable[[], object]) -> None:
        with suppress(PaqaError):  # a call that matters will say it
            self.run(step)

    def _ready(self, worker: _Worker | None) -> _Worker:
        """The slot's process, or a fresh one where it has none or died between two calls."""
        with self._lock:
            self._refuse_if_closed()
            if worker is not None and worker.process.is_alive():
                return worker
            if worker is not None:
                self._living.discard(worker)
            _count_quietly()
            fresh = _Worker(self.threads)
            self._living.add(fresh)
            return fresh

    def _buried(self, worker: _Worker, error: Exception) -> WorkerDied:
        """What to raise for a call whose process has died, or is of no use any more: it has ended then."""
        with self._lock:
            self._living.discard(worker)
            if isinstance(error, WorkerDied):
                worker.process.kill()
            how = worker.end()
        if isinstance(error, WorkerDied):
            return error
        kind = OutOfMemory if worker.process.exitcode == -signal.SIGKILL else WorkerDied
        return kind(f"a worker process died: {how}")

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Stopped("stopped: the work that this belongs to has ended")

    def __enter__(self) -> Workers:
        here = threading.current_thread() is threading.main_thread()
        if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def _interrupted(self, number: int, frame: Any) -> None:
        """Ctrl-C: Python drops a KeyboardInterrupt that falls into a callback of its own, but no call
        outlives this.
        """
        self._closed = True
        for worker in list(self._living):
            worker.process.kill()
        raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes: at once after an error (the store knows no half objects), else once they are
        idle.
        """
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        with self._lock:
            self._closed = True
            living = list(self._living)
        for worker in living:
            worker.leave(at_once=kind is not None)
        for worker in living:
            with self._lock:
                worker.end(END_SECONDS)


class _Gone(Exception):
    """The process at the other end of the pipe has ended."""


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, threads: int):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, threads, os.getpid()))
        masked = signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT}
        )  # inherited: Ctrl-C is the parent's
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        theirs.close()

    def call(self, step: Callable[..., Any], args: Any, kwargs: Any, seconds: float | None) -> Any:
        """What the call returns or raises; _Gone where the process ends before it answers, TimedOut after
        `seconds`.

        WorkerDied of any kind means that the process is of no use any more.
        """
        data = pickle.dumps((step, args, kwargs))  # an error in here is the caller's, not the process's
        latest = float("inf") if seconds is None else time.monotonic() + seconds
        try:
            self.pipe.send_bytes(data)
            while not self.pipe.poll(max(0.0, min(1.0, latest - time.monotonic()))):
                if not self.process.is_alive() and not self.pipe.poll(
                    0
                ):  # its children may hold the pipe open
                    raise _Gone
                if time.monotonic() >= latest:
                    raise TimedOut(f"a worker process was ended: no answer in {seconds:.0f} s")
            reply = self.pipe.recv_bytes()
        except (EOFError, OSError):
            raise _Gone from None
        fine, value = pickle.loads(reply)
        if fine:
            return value
        raise (
            OutOfMemory(f"a worker process ran out of memory: {value}")
            if isinstance(value, MemoryError)
            else value
        )

    def leave(self, at_once: bool) -> None:
        """Have the process end: at once, or after the call that it is in."""
        if at_once:
            self.process.kill()
        else:
            self.pipe.close()

    def end(self, seconds: float = 0.5) -> str:
        """Wait until the process has ended, killing it after `seconds`; says how it ended."""
        self.process.join(seconds)  # a pipe closes a moment before its process is gone
        if self.process.is_alive():
            self.process.kill()
            self.process.join(END_SECONDS)  # one that waits for a broken device or disk cannot be killed
        self.pipe.close()
        return ended(self.process.exitcode)


def _count_quietly() -> None:
    """Start the process in which Python counts semaphores such that it does not complain of what killed
    workers had.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (before, "ignore:resource_tracker:UserWarning")))
    try:
        resource_tracker.ensure_running()
    finally:
        os.environ.pop("PYTHONWARNINGS")
        if before is not None:
            os.environ["PYTHONWARNINGS"] = before


def cores() -> int:
    """How many CPUs this process may use: those of its affinity, or fewer where its control group has a
    quota.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(count, int(quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")))))


def quota(root: Path, own: Path) -> float:
    """CPUs that the control groups of a process allow: of the files below `root`, for the groups that `own`
    lists.

    1024 where there is no limit. Both versions of control groups; a group's limit holds for all groups in it.
    """
    allowed = [1024.0]
    for line in own.read_text().splitlines() if own.exists() else ():
        _, kinds, name = line.split(":", 2)
        if kinds and "cpu" not in kinds.split(","):
            continue
        for mount in ("",) if not kinds else ("cpu", "cpu,cpuacct"):
            group = root / mount / name.strip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(root):
                    allowed += _allowed(folder)
    return min(allowed)


def _allowed(folder: Path) -> list[float]:
    """The CPUs of one control group, [] where it has no limit."""
    names = ("cpu.max",) if (folder / "cpu.max").exists() else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        spent, period = " ".join((folder / name).read_text() for name in names).split()
    except OSError:
        return []
    return [] if spent in ("max", "-1") else [int(spent) / int(period)]


def ended(code: int | None) -> str:
    """An exit code of `multiprocessing` in words."""
    if code is None:
        return "it cannot even be killed"
    if code >= 0:
        return f"it ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"killed by {name}{' (often out of memory)' if -code == signal.SIGKILL else ''}"


def _serve(pipe: Connection, threads: int, parent: int) -> None:
    """A worker's whole life: answer calls until the pipe closes."""
    _begin(threads, parent)
    while True:
        try:
            call = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send_bytes(_answer(call))


def _answer(call: bytes) -> bytes:
    """What a pickled call comes to, pickled: (True, result) or (False, error)."""
    try:
        step, args, kwargs = pickle.loads(call)
        return pickle.dumps((True, step(*args, **kwargs)))
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        try:
            reply = pickle.dumps((False, error))
            pickle.loads(reply)
            return reply
        except Exception:  # noqa: BLE001 - an error of foreign code that no pickle carries
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _begin(threads: int, parent: int) -> None:
    """Set a fresh worker up: thread limits, Ctrl-C left to the parent, death with the parent."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
