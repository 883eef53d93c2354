"""Worker processes that keep their engines loaded. Imports nothing heavy: threads are limited before numpy loads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import ParamSpec, TypeVar

from paqa.errors import PaqaError

P = ParamSpec("P")
R = TypeVar("R")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Workers:
    """N processes, started when first needed; `run` may be called from any number of threads.

    Nothing survives the process that made them, even where it is killed.
    """

    def __init__(self, count: int, threads: int = 1):
        self.count = count
        self.threads = threads
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    def run(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `step` in a worker and wait for what it returns or raises."""
        with self._lock:
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self.count, context, _begin, (self.threads, os.getpid()))
        try:
            return self._pool.submit(step, *args, **kwargs).result()
        except BrokenProcessPool:
            raise PaqaError(
                "a worker process died (out of memory, or a crash in an engine); what was finished is kept: "
                "run the same command again, with fewer --workers if memory was short"
            ) from None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)


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
