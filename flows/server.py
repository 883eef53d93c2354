"""The Prefect server of a build: one per home folder, alive for exactly as long as somebody uses it.

Prefect's own "ephemeral" server loses most of a flow's history when the process ends, so a build gets a real
one. Three files in `home/prefect` decide who starts and who stops it; the kernel drops every lock when its
process dies, however it dies:

- `users.lock`: every process that uses the server holds it shared. The server looks twice a second whether it can have
  it alone; if so nobody is left, and it goes.
- `server.json`: pid and port of the server, locked by the server for its whole life. Not locked means stale.
- `start.lock`: held while a process looks for a server and starts or ends one, so that two builds start only one.

Call order in a process: `flows.settings.apply(home)`, then import `prefect`: it reads its settings and
reports its first import (unless told not to) at that moment.
"""

import fcntl
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from flows import pages, settings
from paqa.errors import PaqaError
from paqa.storage import locks

START_SECONDS = (
    90  # a first start creates the database: 8 s alone on two cores, several times that on a busy machine
)
EXTERNAL_SECONDS = 5
FLUSH_SECONDS = 10
HIGHEST_PORT = 65_535
OPEN = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]}}}


# --- this process
# -----------------------------------------------------------------------------------------------------


def tag() -> str:
    """A tag for this process's flow runs, `host:pid:start`, by which `mark_crashed` knows whether it still
    lives.
    """
    return _process(os.getpid())


@contextmanager
def connected(home: Path, url: str) -> Iterator[None]:
    """Point this process, its children and `prefect` (imported or not) at the API at `url`, and tag its
    runs.
    """
    before = dict(os.environ)
    settings.apply(home)
    os.environ["PREFECT_API_URL"] = url
    _refresh()
    import prefect

    try:
        with prefect.tags(tag()):
            yield
    finally:
        _drain()
        for key in settings.changed(before):
            os.environ.pop(key, None)
            if key in before:
                os.environ[key] = before[key]
        _refresh()


def _refresh() -> None:
    """Let a `prefect` that is already imported read the environment again."""
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context
        from prefect.logging.configuration import setup_logging

        refresh_global_settings_context()
        setup_logging()


def _drain() -> None:
    """Send what Prefect's client still holds in this process: events (task runs travel as events) and log
    lines.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=FLUSH_SECONDS)
    APILogWorker.drain_all(timeout=FLUSH_SECONDS)


# --- using a server
# ---------------------------------------------------------------------------------------------------


class Server:
    """This process's use of the Prefect server over `home`: `start` is quick, `wait` blocks until it answers.

    With PREFECT_API_URL set that server is used and nothing is started. One `Server` per home in a process:
    the locks are POSIX locks, which belong to the process (and are not inherited by forked workers).
    """

    def __init__(self, home: Path, port: int = 0):
        """Port 0 takes any free port; another one is tried first, then the next free ones."""
        self.folder = settings.folder(home)
        self.environment = settings.applied(home)
        self.port = port
        self.url = ""
        self.external = bool(os.environ.get("PREFECT_API_URL"))
        self._users: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._spawned: datetime | None = None

    @property
    def started(self) -> bool:
        """Whether this object started the server process, rather than found one."""
        return self._process is not None

    def start(self) -> "Server":
        """Find the running server or start one in the background; `url` is known from here on."""
        if self.url:
            return self
        if self.external:
            self.url = os.environ["PREFECT_API_URL"].rstrip("/")
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "start.lock").open("a") as alone:
            _need_lock(alone)
            self._users = (self.folder / "users.lock").open("a+")
            fcntl.lockf(
                self._users, fcntl.LOCK_SH
            )  # a server that is just going holds it: this waits until it is gone
            pages.token(self.folder)
            self.port = _port(self.folder) or self._first(self._users)
        self.url = f"http://127.0.0.1:{self.port}/api"
        return self

    def _first(self, users: IO[str]) -> int:
        """Start the server, at the port of one that was killed while others use it still; returns its
        port.
        """
        if _alone(users):
            self._spawned = datetime.now(UTC)
        else:
            self.port = _written(self.folder).get("port", self.port)
        fcntl.lockf(users, fcntl.LOCK_SH)
        return self._spawn()

    def _spawn(self) -> int:
        """Start the server process on a socket that is bound here, so that nobody can take its port
        meanwhile.
        """
        given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        path = [str(Path(__file__).parents[1]), *map(os.path.abspath, given)]
        with _bind(self.port) as listener, (self.folder / "server.log").open("w") as log:
            port = int(listener.getsockname()[1])
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.server", str(self.folder), str(listener.fileno())],
                # a .env or prefect.toml of the folder that a build is called in is not meant for it
                cwd=self.folder,
                env={key: value for key, value in self.environment.items() if key != "PYTHONWARNINGS"}
                | {"PYTHONPATH": os.pathsep.join(path)}
                | {
                    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}"
                },  # any, unless it is set
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[listener.fileno()],
            )
        while _port(self.folder) != port:  # writing that is its first act, before the slow imports
            if self._process.poll() is not None:
                raise PaqaError(self._died())
            time.sleep(0.01)
        return port

    def wait(self) -> str:
        """Block until the server answers; returns the API URL. PaqaError says what to do when it does not."""
        if self.external:
            return self._wait_external()
        deadline = time.monotonic() + START_SECONDS
        while not _healthy(self.url, seconds=2):
            if _port(self.folder) != self.port:
                raise PaqaError(self._died())
            if time.monotonic() > deadline:
                raise PaqaError(
                    f"Prefect server did not answer in {START_SECONDS} s: see {self.folder / 'server.log'}"
                )
            time.sleep(0.05)
        mark_crashed(self.url, self._spawned)
        return self.url

    def _wait_external(self) -> str:
        deadline = time.monotonic() + EXTERNAL_SECONDS
        while not _healthy(self.url, seconds=EXTERNAL_SECONDS):
            if time.monotonic() > deadline:
                raise PaqaError(
                    f"PREFECT_API_URL is {self.url}, and no Prefect server answers there: start that server, correct "
                    "the variable, or unset it and paqa starts a server of its own"
                )
            time.sleep(0.2)
        return self.url

    def _died(self) -> str:
        log = self.folder / "server.log"
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        lines = [line.strip() for line in lines if line.strip()]
        first = next((i for i, line in enumerate(lines) if "validation error" in line), len(lines) - 1)
        reason = " ".join(lines[max(0, first) : first + 3])  # of wrong settings the first, or the last line
        return f"Prefect server ended before it answered ({reason or 'no output'}): see {log}"

    def keep(self, done: threading.Event) -> None:
        """Start the server again, at its port, whenever it has been killed, until `done`; says so on
        stderr.
        """
        while not done.wait(0.5):
            if _port(self.folder) == self.port:
                continue
            with (self.folder / "start.lock").open("a") as alone:
                fcntl.lockf(alone, fcntl.LOCK_EX)
                if _port(self.folder) is None and not done.is_set():
                    if self._process is not None:
                        self._process.wait()
                    try:
                        self._spawn()
                    except PaqaError as error:
                        print(error, file=sys.stderr, flush=True)
                        return
                    print("the Prefect server was killed: it was started again", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Leave; the last user's leaving ends the server, once everything is in its database."""
        if self._users is None:
            return
        try:
            with (self.folder / "start.lock").open("a") as alone:
                fcntl.lockf(alone, fcntl.LOCK_EX)
                if _alone(self._users):
                    self._end()
        finally:
            self._users.close()
            self._users = None

    def _end(self) -> None:
        """End the server process, which nobody else uses: asked first, then killed."""
        try:
            if "prefect" in sys.modules:  # otherwise nothing has run here
                _drain()
                _settle(self.url)
        finally:
            for order, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
                if record := _record(self.folder):
                    with suppress(ProcessLookupError):
                        os.kill(record["pid"], order)
                deadline = time.monotonic() + seconds
                while _record(self.folder) and time.monotonic() < deadline:
                    time.sleep(0.02)
        if self._process is not None:
            self._process.wait()


@contextmanager
def running(home: Path, server: Server | None = None) -> Iterator[str]:
    """Yield the API URL of a server over `home`, with this process connected to it; its end is clean in every
    case.

    Hand over a `server` that was started earlier to have it come up behind other work (importing Prefect: 1.5
    s).
    """
    server = server or Server(home)
    done = threading.Event()
    keeper = threading.Thread(target=server.keep, args=(done,), daemon=True)
    try:
        with _sigterm_unwinds():
            url = server.start().wait()
            if not server.external:
                keeper.start()
            with connected(home, url):
                yield url
    finally:
        done.set()
        if keeper.ident:
            keeper.join()
        server.stop()


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM end this process as SystemExit does, so that `finally` blocks run: Prefect would just
    die.
    """
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    )
    if not ours:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def ui(home: Path, port: int = 4200) -> None:
    """What `make ui` runs: Prefect's pages over the history in `home`, until Ctrl-C."""
    server = Server(home, port)
    try:
        pages.hosts(port, pages.named_hosts())  # PaqaError where one is wrong, before a server starts
        url = server.start().wait().removesuffix("/api")
        _need_hosts(server)
        if not server.started:
            print(f"Prefect UI: {url} (another process serves it, for as long as that runs)", flush=True)
            return
        print(f"Prefect UI: {url} (Ctrl-C ends it)", flush=True)
        while _port(server.folder) == server.port:
            time.sleep(0.5)
        raise PaqaError(f"Prefect server has ended: see {server.folder / 'server.log'}")
    except KeyboardInterrupt:
        print()
    finally:
        server.stop()


def _need_hosts(server: Server) -> None:
    """PaqaError where a server that another process started does not answer to a name that is asked for."""
    missing = pages.hosts(server.port, pages.named_hosts()) - {*_record(server.folder).get("hosts", ())}
    if missing and not server.external:
        raise PaqaError(
            f"{', '.join(sorted(missing))}: the server that runs over {server.folder} was started without it; end what "
            f"uses it (a build or paqa ui), or set {pages.HOSTS} before that starts"
        )


# --- asking the server
# ------------------------------------------------------------------------------------------------


def mark_crashed(api: str, before: datetime | None = None) -> int:
    """Set what killed processes left open to Crashed; returns how many flow runs that were.

    A build that was killed cannot say so itself, and Prefect would show it as running for ever. Dead are the
    runs whose tag names a process of this machine that has gone and, where the server was started at
    `before`, all older ones: nobody used the database then.
    """
    listed = f"{api}/flow_runs/filter"
    runs = {run["id"]: run for open_ in ("flow_runs", "task_runs") for run in _call(listed, {open_: OPEN})}
    dead = [
        run for run in runs.values() if any(map(_is_dead, run["tags"])) or (before and _created(run) < before)
    ]
    body = {"state": {"type": "CRASHED", "message": "The process that ran this was killed."}, "force": True}
    for run in dead:
        open_tasks = {"flow_runs": {"id": {"any_": [run["id"]]}}, "task_runs": OPEN}
        for task in _call(f"{api}/task_runs/filter", open_tasks):
            _call(f"{api}/task_runs/{task['id']}/set_state", body)
        if run["state_type"] in OPEN["state"]["type"]["any_"]:
            _call(f"{api}/flow_runs/{run['id']}/set_state", body)
    return len(dead)


def _created(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["created"])


def _settle(api: str) -> None:
    """Wait until every task run that the server knows of is in the database, for `FLUSH_SECONDS` at most.

    Task runs arrive through a queue in the server, in order. Settled means that the numbers of all and of
    open task runs have not moved for a little longer than the interval at which the server writes them (1 s).
    The last hundred or fewer it would also write on SIGTERM.
    """
    seen, since, deadline = (-1, -1), time.monotonic(), time.monotonic() + FLUSH_SECONDS
    while time.monotonic() < deadline and time.monotonic() - since < 1.3:
        try:
            counted = (
                _call(f"{api}/task_runs/count", {}),
                _call(f"{api}/task_runs/count", {"task_runs": OPEN}),
            )
        except OSError:  # the server has gone: there is nothing left to wait for
            return
        if counted != seen:
            seen, since = counted, time.monotonic()
        time.sleep(0.1)


def _call(url: str, body: dict[str, Any] | None = None, seconds: float = 10) -> Any:
    """GET, or POST `body` as JSON; returns the parsed answer. OSError when there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    proxies = urllib.request.ProxyHandler({} if "//127.0.0.1:" in url else None)
    with urllib.request.build_opener(proxies).open(request, timeout=seconds) as answer:
        return json.load(answer)


def _healthy(api: str, seconds: float) -> bool:
    try:
        return _call(f"{api}/health", seconds=seconds) is True
    except (OSError, ValueError):
        return False


# --- processes, files, sockets
# ----------------------------------------------------------------------------------------


def _process(pid: int) -> str:
    """`host:pid:start` of a process; start (clock ticks since boot) is what a reused pid does not share."""
    return f"{socket.gethostname()}:{pid}:{_started(pid)}"


def _started(pid: int) -> str:
    """When a process started: "" when it is dead or a zombie, "0" where there is no /proc and it lives."""
    try:
        if not Path("/proc/self/stat").exists():
            os.kill(pid, 0)
            return "0"
        fields = (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        )  # the name before may hold blanks
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _is_dead(name: str) -> bool:
    """Whether `name` is the tag of a process of this machine that no longer runs."""
    host, _, rest = name.partition(":")
    pid = rest.partition(":")[0]
    return host == socket.gethostname() and pid.isdigit() and _process(int(pid)) != name


def _bind(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1 at `port` or one of the next 50; at any port for 0."""
    if not 0 <= port <= HIGHEST_PORT:
        raise PaqaError(f"--port {port}: expected a number from 0 to {HIGHEST_PORT}")
    for candidate in range(port, min(port + 50, HIGHEST_PORT + 1)) if port else [0]:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
            listener.listen(128)
            return listener
        except OSError:
            listener.close()
    raise PaqaError(f"no free port on 127.0.0.1 from {port} to {port + 49}: name another one")


def _need_lock(alone: IO[str]) -> None:
    """Lock start.lock; PaqaError where the file system has no locks, by which alone a server knows who uses
    it.
    """
    try:
        fcntl.lockf(alone, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in locks.NONE:
            raise
        raise PaqaError(
            f"{alone.name}: its file system has no locks ({error.strerror}), which the Prefect server wants: name an "
            "--out on another one, or start a server (prefect server start) and set PREFECT_API_URL"
        ) from None


def _alone(users: IO[str]) -> bool:
    """Lock `users` alone if nobody else uses the server; says whether that was so."""
    try:
        fcntl.lockf(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _record(folder: Path) -> dict[str, Any]:
    """What the server that runs over `folder` says of itself (pid, port, hosts); empty when none runs."""
    try:
        with (folder / "server.json").open() as record:
            try:
                fcntl.lockf(record, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in locks.HELD:
                    return dict(json.load(record))
                raise
    except (FileNotFoundError, ValueError):
        pass
    return {}


def _written(folder: Path) -> dict[str, Any]:
    """What the last server over `folder` said of itself, whether it runs or not."""
    try:
        return dict(json.loads((folder / "server.json").read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _port(folder: Path) -> int | None:
    return _record(folder).get("port")


# --- the server process
# -----------------------------------------------------------------------------------------------


def _serve(folder: Path, listener: socket.socket) -> None:
    """Say where the server is, watch for its last user, and serve until SIGTERM."""
    port = int(listener.getsockname()[1])
    hosts = pages.hosts(port, pages.named_hosts())
    with (folder / "server.json").open("a") as record:
        fcntl.lockf(record, fcntl.LOCK_EX)
        record.truncate(0)
        json.dump({"pid": os.getpid(), "port": port, "hosts": sorted(hosts)}, record)
        record.flush()
        threading.Thread(target=_leave_when_unused, args=(folder,), daemon=True).start()
        gc.disable()  # saves half a second of the 4.5 that the imports take
        import uvicorn
        from prefect.server.api.server import create_app

        gc.enable()
        app = create_app()
        routes: list[Any] = app.router.routes
        prefects = next(route.app for route in routes if getattr(route, "name", "") == "ui")
        routes[:0] = [pages.reports(folder.parents[1], pages.token(folder)), pages.settings(prefects)]
        guarded = pages.OwnPages(app, hosts)
        uvicorn.Server(uvicorn.Config(guarded, log_level="error", lifespan="on")).run(sockets=[listener])


def _leave_when_unused(folder: Path) -> None:
    """End this process once no process uses the server, keeping newcomers waiting until it has ended."""
    with (folder / "users.lock").open("r+") as users:
        while not _alone(users):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(1)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
