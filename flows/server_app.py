"""The process of a Prefect server; flows/server.py starts it: `python -m flows.server_app FOLDER PORT`.

It serves Prefect's application. A thread watches the processes that use it. Runs that a killed process left
open are set to Crashed: Prefect would show them as running for ever. It ends once no process uses it.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flows import pages
from paqa.storage import locks

if TYPE_CHECKING:
    import httpx
    import uvicorn

PORTS_TRIED = 50
LOOK_SECONDS = 5  # between two looks for killed processes
WRITE_SECONDS = 30
END_SECONDS = 10
OPEN = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]}}}
ASKED_BY_BUILDS = (
    *("/flows", "/flow_runs", "/task_runs", "/logs", "/artifacts", "/events"),
    *("/csrf-token", "/admin", "/v2/concurrency_limits"),
)  # prefixes of their routers
TAG = re.compile(r"[^:]+:\d+:(\d{1,18})")  # of flows/client.py


def serve(folder: Path, port: int) -> None:
    """Serve until no process uses the server, or until SIGTERM; first write down where it is.

    Port 0 takes any free port; another one is tried first, then the next ones.
    """
    listener = _bind(port)
    port = int(listener.getsockname()[1])
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = f"http://127.0.0.1:{port}"  # any, unless it is set
    hosts = pages.hosts(port, pages.named_hosts())
    with (folder / "server.json").open("a") as record:
        fcntl.lockf(record, fcntl.LOCK_EX)
        record.truncate(0)
        json.dump({"pid": os.getpid(), "port": port, "hosts": sorted(hosts)}, record)
        record.flush()
        gc.disable()  # saves half a second of the 4.5 that the imports take
        import uvicorn
        from prefect.server.api import server as prefect_server

        gc.enable()
        prefect_server.API_ROUTERS = _builds_first(prefect_server.API_ROUTERS)
        app = prefect_server.create_app()
        routes: list[Any] = app.router.routes
        prefects = next(route.app for route in routes if getattr(route, "name", "") == "ui")
        routes[:0] = [pages.reports(folder.parents[1], pages.token(folder)), pages.settings(prefects)]
        guarded = pages.OwnPages(app, hosts)
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="error", lifespan="on"))
        api = f"http://127.0.0.1:{port}/api"
        threading.Thread(target=_watch, args=(folder / "users.lock", server, api), daemon=True).start()
        server.run(sockets=[listener])


def _builds_first(routers: Sequence[Any]) -> tuple[Any, ...]:
    """Prefect's routers, in front those that a build asks; they have no path in common.

    FastAPI looks for a path in one router after another, and prepares the routes of each that it comes to:
    half a second of a build for those that it need not come to.
    """
    return tuple(sorted(routers, key=lambda router: router.prefix not in ASKED_BY_BUILDS))


def _bind(port: int) -> socket.socket:
    for candidate in range(port, port + PORTS_TRIED) if port else [0]:
        with suppress(OSError, OverflowError):  # taken, not allowed, beyond the last port
            return socket.create_server(("127.0.0.1", candidate), backlog=128)
    sys.exit(f"no free port on 127.0.0.1 from {port} to {port + PORTS_TRIED - 1}: name another one")


def _watch(path: Path, server: uvicorn.Server, api: str) -> None:
    """Mark what killed processes left open; end the server once no process uses it.

    While it ends, new processes wait for the lock on `path`, and then start another one.
    """
    import httpx

    with path.open("r+") as users, httpx.Client(base_url=api, timeout=10, trust_env=False) as client:
        next_look = 0.0
        crashed: list[str] = []  # flow runs that were marked
        while not locks.lock(users, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if server.started and time.monotonic() > next_look:
                crashed += _mark_crashed(client, "flow_runs", lambda tags: _is_dead(tags, users), crashed)
                next_look = time.monotonic() + LOOK_SECONDS
            time.sleep(0.25)
        if server.started:
            _await_writes()
            _mark_crashed(client, "flow_runs", lambda tags: True)
            _mark_crashed(client, "task_runs", lambda tags: True)
        server.should_exit = True
        time.sleep(END_SECONDS)
        os._exit(1)  # it hangs


def _await_writes() -> None:
    """Wait until Prefect's services have written all task runs, for `WRITE_SECONDS` at most.

    Task runs reach them as events, through a queue in memory that Prefect drops when it ends. Written is what
    left the queue longer ago than the interval at which the services write.
    """
    from prefect.server.utilities.messaging.memory import METRICS
    from prefect.settings import get_current_settings

    interval = get_current_settings().server.services.task_run_recorder.flush_interval + 0.3
    before: dict[str, int] = {}
    began = quiet_since = time.monotonic()
    while time.monotonic() < min(began + WRITE_SECONDS, quiet_since + interval):
        now = dict(METRICS["events"])
        if now != before or now["consumed"] < now["published"]:
            before, quiet_since = now, time.monotonic()
        time.sleep(0.1)


def _mark_crashed(
    client: httpx.Client, kind: str, is_dead: Callable[[list[str]], bool], earlier: Sequence[str] = ()
) -> list[str]:
    """Set dead flow runs that are open (`kind` "flow_runs") or have open task runs ("task_runs") to Crashed.

    Returns their ids. While processes use the server only "flow_runs" is safe: task runs of a flow run that
    has ended may not be in the database yet. For the same reason those of `earlier` ones are looked at again.
    """
    import httpx

    dead: list[str] = []
    body = {"state": {"type": "CRASHED", "message": "The process that ran this was killed."}, "force": True}
    try:
        for run in _post(client, "/flow_runs/filter", {kind: OPEN}):
            if is_dead(run["tags"]):
                dead.append(run["id"])
        for run_id in (*dead, *earlier):
            open_tasks = {"flow_runs": {"id": {"any_": [run_id]}}, "task_runs": OPEN}
            for task in _post(client, "/task_runs/filter", open_tasks):
                _post(client, f"/task_runs/{task['id']}/set_state", body)
        if kind == "flow_runs":
            for run_id in dead:
                _post(client, f"/flow_runs/{run_id}/set_state", body)
    except httpx.HTTPError as error:
        print(f"cannot set the runs of killed processes to Crashed: {error!r}", file=sys.stderr, flush=True)
    return dead


def _is_dead(tags: list[str], users: IO[str]) -> bool:
    """Whether tags name processes of paqa, all of them dead; one that lives locks the byte in its tag."""
    numbers = [int(match[1]) for tag in tags if (match := TAG.fullmatch(tag))]
    for number in numbers:
        try:
            fcntl.lockf(users, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        fcntl.lockf(users, fcntl.LOCK_UN, 1, number)
    return bool(numbers)


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    return client.post(path, json=body).raise_for_status().json()


if __name__ == "__main__":
    atexit.register(gc.freeze)  # as in paqa.cli.exit_status
    serve(Path(sys.argv[1]), int(sys.argv[2]))
