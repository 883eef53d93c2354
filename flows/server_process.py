"""The process of a Prefect server: `python -m flows.server_process FOLDER PORT`, which flows/server.py starts.

It serves Prefect's application, and a thread watches the processes that use it: what a killed one left open is set to
Crashed (it cannot do so itself, and Prefect would show it as running for ever), and the last one's end ends the server.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flows import pages
from paqa import locks

if TYPE_CHECKING:
    import httpx
    import uvicorn

HIGHEST_PORT = 65_535
PORTS_TRIED = 50
LOOK_SECONDS = 5
WRITE_SECONDS = 10
FLUSH_SECONDS = 1.3  # a little over the second between two flushes of Prefect's services
OPEN = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]}}}
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
        from prefect.server.api.server import create_app

        gc.enable()
        app = create_app()
        routes: list[Any] = app.router.routes
        prefects = next(route.app for route in routes if getattr(route, "name", "") == "ui")
        routes[:0] = [pages.reports(folder.parents[1], pages.token(folder)), pages.settings(prefects)]
        guarded = pages.OwnPages(app, hosts)
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="error", lifespan="on"))
        api = f"http://127.0.0.1:{port}/api"
        threading.Thread(target=_watch, args=(folder / "users.lock", server, api), daemon=True).start()
        server.run(sockets=[listener])


def _bind(port: int) -> socket.socket:
    for candidate in range(port, min(port + PORTS_TRIED, HIGHEST_PORT + 1)) if port else [0]:
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", candidate), backlog=128)
    sys.exit(f"no free port on 127.0.0.1 from {port} to {port + PORTS_TRIED - 1}: name another one")


def _watch(path: Path, server: uvicorn.Server, api: str) -> None:
    """Look after the processes that use the server; end it once there are none, keeping new ones waiting meanwhile."""
    import httpx

    with path.open("r+") as users, httpx.Client(base_url=api, timeout=10, trust_env=False) as client:
        next_look = 0.0
        while not locks.lock(users, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if server.started and time.monotonic() > next_look:
                _mark_crashed(client, "flow_runs", lambda tags: _is_dead(tags, users))
                next_look = time.monotonic() + LOOK_SECONDS
            time.sleep(0.25)
        if server.started:
            _await_writes()
            _mark_crashed(client, "flow_runs", lambda tags: True)
            _mark_crashed(client, "task_runs", lambda tags: True)
        server.should_exit = True
        time.sleep(WRITE_SECONDS)
        os._exit(1)


def _await_writes() -> None:
    """Wait until Prefect's services have written all task runs and events, for `WRITE_SECONDS` at most.

    Clients send them through queues in memory, of which the server would lose all but the last hundred on SIGTERM.
    """
    from prefect.server.utilities.messaging.memory import METRICS

    before: dict[str, int] = {}
    deadline = time.monotonic() + WRITE_SECONDS
    while time.monotonic() < deadline:
        now = dict(METRICS["events"])
        if now == before and now["consumed"] >= now["published"]:
            return
        before = now
        time.sleep(FLUSH_SECONDS)


def _mark_crashed(client: httpx.Client, kind: str, is_dead: Callable[[list[str]], bool]) -> None:
    """Set dead flow runs that are open (`kind` "flow_runs") or have open task runs ("task_runs") to Crashed.

    While processes use the server only "flow_runs" is safe: task runs of a flow run that has ended may still be on
    their way to the database.
    """
    import httpx

    body = {"state": {"type": "CRASHED", "message": "The process that ran this was killed."}, "force": True}
    try:
        for run in _post(client, "/flow_runs/filter", {kind: OPEN}):
            if not is_dead(run["tags"]):
                continue
            for task in _post(
                client, "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}, "task_runs": OPEN}
            ):
                _post(client, f"/task_runs/{task['id']}/set_state", body)
            if kind == "flow_runs":
                _post(client, f"/flow_runs/{run['id']}/set_state", body)
    except httpx.HTTPError as error:
        print(f"cannot set the runs of killed processes to Crashed: {error!r}", file=sys.stderr, flush=True)


def _is_dead(tags: list[str], users: IO[str]) -> bool:
    """Whether tags name a process of paqa, and none that is alive: each locks the byte at the number in its tag."""
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
    serve(Path(sys.argv[1]), int(sys.argv[2]))
