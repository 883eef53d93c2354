"""This process as a client of a Prefect server."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows import settings

DRAIN_SECONDS = 10


def answers(api: str, seconds: float) -> bool:
    """Whether a Prefect server answers at the URL `api` within `seconds`."""
    import httpx

    try:
        return httpx.get(f"{api}/health", timeout=seconds, trust_env="//127.0.0.1:" not in api).json() is True
    except (httpx.HTTPError, ValueError):
        return False


@contextmanager
def connected(home: Path, api: str, byte: int) -> Iterator[None]:
    """Point this process, its children and `prefect` (imported or not) at the URL `api`.

    Flow runs get a tag that ends in `byte`, by which the server knows whether this process is alive. SIGTERM
    raises SystemExit, so that `finally` blocks run: by default it would end the process at once.
    """
    before = dict(os.environ)
    settings.apply(home)
    os.environ["PREFECT_API_URL"] = api
    _reread_environment()
    import prefect

    try:
        with _sigterm_raises(), prefect.tags(f"{socket.gethostname()}:{os.getpid()}:{byte}"):
            yield
    finally:
        _drain()
        settings.replace_environment(before)
        _reread_environment()


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    free = main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if free:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        if free:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _reread_environment() -> None:
    """Have a `prefect` that is already imported read its settings from the environment again."""
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context
        from prefect.logging.configuration import setup_logging

        refresh_global_settings_context()
        setup_logging()


def _drain() -> None:
    """Send what Prefect's client holds in this process: events (task runs travel as events) and log lines."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=DRAIN_SECONDS)
    APILogWorker.drain_all(timeout=DRAIN_SECONDS)
