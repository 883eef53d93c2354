"""Worker processes that keep their engines loaded.

Imports nothing heavy: the number of threads is limited before numpy loads. Each process has a pipe of its
own, so that one that dies fails the call that ran in it and no other.
"""

from __future__ import annotations

import atexit
import gc
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
    """Some processes, started when first needed; `run` may be called from any number of threads.

    A process that dies is replaced, and only the call in it fails. None outlives the process that started it,
    even where that one is killed.
    """

    def __init__(self, count: int, threads: int = 1):
        self.count = count
        self.threads = threads
        self._free: queue.LifoQueue[_Worker | None] = queue.LifoQueue()  # None: no process started yet
        for _ in range(count):
            self._free.put(None)
        self._running: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._previous_handler: Any = None  # of Ctrl-C, before this object was entered

    def run(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `step` in a worker and return what it returns, or raise what it raises.

        WorkerDied where the worker's process dies.
        """
        return self.run_within(None, step, *args, **kwargs)

    def run_within(self, seconds: float | None, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `run`; a call that runs longer than `seconds` raises TimedOut, and its process is ended."""
        worker = self._free.get()
        try:
            worker = self._with_process(worker)
            answer = worker.call(step, args, kwargs, seconds)
        except (_ProcessEnded, WorkerDied) as error:
            assert worker is not None
            dead, worker = worker, None
            death = self._reap(dead, error)
            self._refuse_if_closed()
            raise death from None
        finally:
            self._free.put(worker)
        return answer

    def warm(self, step: Callable[[], object]) -> None:
        """Start all processes and call `step` in each, e.g. to import what calls need; does not wait."""
        for _ in range(self.count):
            threading.Thread(target=self._run_quietly, args=(step,), daemon=True).start()

    def _run_quietly(self, step: Callable[[], object]) -> None:
        with suppress(PaqaError):  # the next call in that process raises it again
            self.run(step)

    def _with_process(self, worker: _Worker | None) -> _Worker:
        """The same worker; a new one where there was none, or its process died between two calls."""
        with self._lock:
            self._refuse_if_closed()
            if worker is not None and worker.process.is_alive():
                return worker
            if worker is not None:
                self._running.discard(worker)
            _start_resource_tracker()
            started = _Worker(self.threads)
            self._running.add(started)
            return started

    def _reap(self, worker: _Worker, error: Exception) -> WorkerDied:
        """End a worker that has died or cannot go on; the error to raise for the call that ran in it."""
        with self._lock:
            self._running.discard(worker)
            if isinstance(error, WorkerDied):
                worker.process.kill()
            how_it_ended = worker.wait()
        if isinstance(error, WorkerDied):
            return error
        kind = OutOfMemory if worker.process.exitcode == -signal.SIGKILL else WorkerDied
        return kind(f"a worker process died: {how_it_ended}")

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Stopped("stopped: the work that this belongs to has ended")

    def __enter__(self) -> Workers:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous_handler = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def _on_interrupt(self, number: int, frame: Any) -> None:
        """Ctrl-C: end all calls here, since Python drops a KeyboardInterrupt raised in its own callbacks."""
        self._closed = True
        for worker in list(self._running):
            worker.process.kill()
        raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes: at once after an error, else once they are idle.

        Killing them leaves no half-written objects: the store writes each of them whole.
        """
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
        with self._lock:
            self._closed = True
            running = list(self._running)
        for worker in running:
            worker.stop(at_once=kind is not None)
        for worker in running:
            with self._lock:
                worker.wait(END_SECONDS)


class _ProcessEnded(Exception):
    """The process at the other end of the pipe has ended."""


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, threads: int):
        context = multiprocessing.get_context("spawn")
        self.pipe, worker_end = context.Pipe()
        self.process = context.Process(target=_answer_calls, args=(worker_end, threads, os.getpid()))
        # The new process inherits the mask: only the parent handles Ctrl-C.
        previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
        worker_end.close()

    def call(self, step: Callable[..., Any], args: Any, kwargs: Any, seconds: float | None) -> Any:
        """What the call returns or raises; _ProcessEnded where the process ends before it answers.

        TimedOut after `seconds`. After a WorkerDied of any kind the process cannot be used any more.
        """
        payload = pickle.dumps((step, args, kwargs))  # an error in here is the caller's, not the process's
        deadline = float("inf") if seconds is None else time.monotonic() + seconds
        try:
            self.pipe.send_bytes(payload)
            while not self.pipe.poll(max(0.0, min(1.0, deadline - time.monotonic()))):
                # children of a dead process may hold its pipe open, so that it never reads as closed
                if not self.process.is_alive() and not self.pipe.poll(0):
                    raise _ProcessEnded
                if time.monotonic() >= deadline:
                    raise TimedOut(f"a worker process was ended: no answer in {seconds:.0f} s")
            reply = self.pipe.recv_bytes()
        except (EOFError, OSError):
            raise _ProcessEnded from None
        returned, answer = pickle.loads(reply)
        if returned:
            return answer
        if isinstance(answer, MemoryError):
            raise OutOfMemory(f"a worker process ran out of memory: {answer}")
        raise answer

    def stop(self, at_once: bool) -> None:
        """Make the process end: at once, or after the call that runs in it."""
        if at_once:
            self.process.kill()
        else:
            self.pipe.close()

    def wait(self, seconds: float = 0.5) -> str:
        """Wait until the process has ended, killing it after `seconds`; returns how it ended, in words."""
        self.process.join(seconds)  # a pipe closes a moment before its process is gone
        if self.process.is_alive():
            self.process.kill()
            self.process.join(END_SECONDS)  # longer only where a broken device or disk blocks it
        self.pipe.close()
        return exit_text(self.process.exitcode)


def _start_resource_tracker() -> None:
    """Start Python's process that counts semaphores, without its warnings about those of killed workers."""
    warnings = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (warnings, "ignore:resource_tracker:UserWarning")))
    try:
        resource_tracker.ensure_running()
    finally:
        os.environ.pop("PYTHONWARNINGS")
        if warnings is not None:
            os.environ["PYTHONWARNINGS"] = warnings


def cores() -> int:
    """How many CPUs this process may use: those of its affinity, fewer where its control group limits it."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(count, int(quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")))))


def quota(root: Path, groups_file: Path) -> float:
    """The CPUs that a process's control groups allow; 1024 where there is no limit.

    `groups_file` lists the groups of the process, and the limits are in files below `root`, in version 1 or 2
    of control groups. A group's limit holds for all groups in it.
    """
    limits = [1024.0]
    lines = groups_file.read_text().splitlines() if groups_file.exists() else []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in ("cpu", "cpu,cpuacct") if controllers else ("",):
            group = root / mount / name.strip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(root):
                    limits += _limits(folder)
    return min(limits)


def _limits(folder: Path) -> list[float]:
    """The CPUs that one control group allows, as a list of one; [] where it has no limit."""
    names = ("cpu.max",) if (folder / "cpu.max").exists() else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        allowed, period = " ".join((folder / name).read_text() for name in names).split()
    except OSError:
        return []
    return [] if allowed in ("max", "-1") else [int(allowed) / int(period)]


def exit_text(code: int | None) -> str:
    """An exit code of `multiprocessing` in words."""
    if code is None:
        return "it cannot even be killed"
    if code >= 0:
        return f"it ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"killed by {name}{' (often out of memory)' if -code == signal.SIGKILL else ''}"


def _answer_calls(pipe: Connection, threads: int, parent: int) -> None:
    """What a worker process runs: it answers calls until the pipe closes."""
    _set_up(threads, parent)
    while True:
        try:
            payload = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send_bytes(_answer(payload))


def _answer(payload: bytes) -> bytes:
    """Run a pickled call; (True, what it returned) or (False, the error), pickled."""
    try:
        step, args, kwargs = pickle.loads(payload)
        return pickle.dumps((True, step(*args, **kwargs)))
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        try:
            reply = pickle.dumps((False, error))
            pickle.loads(reply)
            return reply
        except Exception:  # noqa: BLE001 - an error of another library that cannot be pickled
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _set_up(threads: int, parent: int) -> None:
    """Set up a new worker process: limit its threads, ignore Ctrl-C, end when the parent ends."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    atexit.register(gc.freeze)  # as in paqa.cli.exit_status
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once its parent has ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
