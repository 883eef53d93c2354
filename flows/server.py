"""The Prefect server of a build: one per home folder, alive for exactly as long as a process uses it.

Prefect's own ways do not do. Its temporary server loses most task runs and outlives a build that is killed.
`prefect server start --background` never ends by itself, refuses to start after it was killed, and answers
any web page. So Prefect's application runs in a process of ours: flows/server_app.py.

Three files in `home/prefect` decide who starts and ends it. The kernel drops their locks (POSIX locks) when a
process dies, however it dies; forked workers do not inherit them.

- `users.lock`: each process that uses the server locks one byte. The server ends once it can lock all of it.
- `server.json`: pid, port and host names of the server, locked for its whole life. Not locked: none runs.
- `start.lock`: locked while a process looks for a server and starts one, so that two builds start only one.

Call order in a process: `flows.settings.apply(home)`, then import `prefect`, which reads its settings then.
"""

import fcntl
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from flows import client, pages, settings
from paqa.errors import PaqaError
from paqa.storage import locks

START_SECONDS = 90  # a first start creates the database: 8 s on two cores, several times that on busy ones
STOP_SECONDS = 60  # in flows/server_app.py it writes for 30 s at most, and ends in 10 more
EXTERNAL_SECONDS = 5
HIGHEST_PORT = 65_535


class Server:
    """This process's use of the Prefect server over `home`: `start` is quick, `wait` blocks until it answers.

    With PREFECT_API_URL set that server is used and nothing is started. The locks belong to the process: one
    `Server` per home.
    """

    def __init__(self, home: Path, port: int = 0):
        """Port 0 takes any free port, another one that port or the next free one; PaqaError if it is none."""
        if not 0 <= port <= HIGHEST_PORT:
            raise PaqaError(f"--port {port}: expected a number from 0 to {HIGHEST_PORT}")
        self.folder = settings.folder(home)
        self.log = self.folder / "server.log"
        self.environment = settings.applied(home)
        self.port = port
        self.url = ""
        self.external = bool(os.environ.get("PREFECT_API_URL"))
        self.byte = secrets.randbelow(10**18)
        self._users: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None  # where this object started the server

    def start(self) -> "Server":
        """Find the running server or start one in the background; `url` is set from here on.

        Raises PaqaError where the server ends at once, or where the file system has no locks.
        """
        if self.url:
            return self
        if self.external:
            self.url = os.environ["PREFECT_API_URL"].rstrip("/")
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        with _starting(self.folder):
            self._users = (self.folder / "users.lock").open("a+")
            fcntl.lockf(self._users, fcntl.LOCK_EX, 1, self.byte)  # waits while a server is ending
            pages.token(self.folder)
            if not _record(self.folder) and self._used_by_others():  # it was killed; they need it at its port
                self.port = _record(self.folder, running=False).get("port", self.port)
            self.port = _record(self.folder).get("port") or self._spawn()
        self.url = f"http://127.0.0.1:{self.port}/api"
        return self

    def _used_by_others(self) -> bool:
        """Whether the whole of users.lock cannot be locked; leaves this process with the lock on its byte."""
        assert self._users is not None
        if not locks.lock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return True
        fcntl.lockf(self._users, fcntl.LOCK_UN)
        fcntl.lockf(self._users, fcntl.LOCK_EX, 1, self.byte)
        return False

    def _spawn(self) -> int:
        """Start the server process; returns its port once it is known.

        Its working folder is its own: a .env or prefect.toml where the build was called is not meant for it.
        """
        python_path = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        paths = [str(Path(__file__).parents[1]), *map(os.path.abspath, python_path)]
        variables = {key: value for key, value in self.environment.items() if key != "PYTHONWARNINGS"}
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.server_app", str(self.folder), str(self.port)],
                cwd=self.folder,
                env=variables | {"PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not (record := _record(self.folder)):  # which it writes before its slow imports
            if self._process.poll() is not None:
                raise PaqaError(self._ended_early())
            time.sleep(0.01)
        return int(record["port"])

    def wait(self) -> str:
        """Block until the server answers; returns the API URL. PaqaError says what to do when it does not."""
        deadline = time.monotonic() + (EXTERNAL_SECONDS if self.external else START_SECONDS)
        while not client.answers(self.url, seconds=EXTERNAL_SECONDS):
            if not self.external and not self._runs():
                raise PaqaError(self._ended_early())
            if time.monotonic() > deadline:
                raise PaqaError(
                    f"PREFECT_API_URL is {self.url}, and no Prefect server answers there: start that server, "
                    "correct the variable, or unset it and paqa starts a server of its own"
                    if self.external
                    else f"Prefect server did not answer in {START_SECONDS} s: see {self.log}"
                )
            time.sleep(0.05)
        return self.url

    def _runs(self) -> bool:
        return _record(self.folder).get("port") == self.port

    def _ended_early(self) -> str:
        text = self.log.read_text(errors="replace")
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        first = next((i for i, line in enumerate(lines) if "validation error" in line), len(lines) - 1)
        reason = " ".join(lines[max(0, first) : first + 3])  # of wrong settings the first, or the last line
        return f"Prefect server ended before it answered ({reason or 'no output'}): see {self.log}"

    def keep(self, leaving: threading.Event) -> None:
        """Until `leaving`, start the server again, at its port, whenever it was killed; says so on stderr."""
        while not leaving.wait(0.5):
            if self._runs():
                continue
            with _starting(self.folder):
                if _record(self.folder) or leaving.is_set():
                    continue
                if self._process is not None:
                    self._process.wait()
                try:
                    self._spawn()
                except PaqaError as error:
                    print(error, file=sys.stderr, flush=True)
                    return
                print("the Prefect server was killed: it was started again", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """End this process's use; where no other process uses the server, wait until it has ended."""
        if self._users is None:
            return
        last = not self._used_by_others()
        self._users.close()
        self._users = None
        deadline = time.monotonic() + STOP_SECONDS
        while last and (self._runs() or (self._process and self._process.poll() is None)):
            if time.monotonic() > deadline:
                print(f"the Prefect server still runs: it is in use, or see {self.log}", file=sys.stderr)
                return
            time.sleep(0.02)


@contextmanager
def running(home: Path, server: Server | None = None) -> Iterator[str]:
    """Yield the API URL of a server over `home`, with this process connected to it; leaves it in every case.

    A `server` that was started earlier comes up during other work (importing Prefect takes 1.5 s).
    """
    server = server or Server(home)
    leaving = threading.Event()
    keeper = threading.Thread(target=server.keep, args=(leaving,), daemon=True)
    try:
        url = server.start().wait()
        if not server.external:
            keeper.start()
        with client.connected(home, url, server.byte):
            yield url
    finally:
        leaving.set()
        if keeper.ident:
            keeper.join()
        server.stop()


def ui(home: Path, port: int = 4200) -> None:
    """Serve Prefect's pages over the history in `home` until Ctrl-C (`paqa ui`)."""
    server = Server(home, port)
    try:
        pages.hosts(port, pages.named_hosts())  # PaqaError where one is wrong, before a server starts
        url = server.start().wait().removesuffix("/api")
        _need_hosts(server)
        if server._process is None:
            print(f"Prefect UI: {url} (another process serves it, for as long as that runs)", flush=True)
            return
        print(f"Prefect UI: {url} (Ctrl-C ends it)", flush=True)
        while server._runs():
            time.sleep(0.5)
        raise PaqaError(f"Prefect server has ended: see {server.log}")
    except KeyboardInterrupt:
        print()
    finally:
        server.stop()


def _need_hosts(server: Server) -> None:
    """PaqaError where a server that another process started does not answer to a name that is asked for."""
    missing = pages.hosts(server.port, pages.named_hosts()) - {*_record(server.folder).get("hosts", ())}
    if missing and not server.external:
        raise PaqaError(
            f"{', '.join(sorted(missing))}: the server that runs over {server.folder} was started without "
            f"it; end what uses it (a build or paqa ui), or set {pages.HOSTS} before that starts"
        )


@contextmanager
def _starting(folder: Path) -> Iterator[None]:
    """Hold start.lock; PaqaError where the file system has no locks."""
    with (folder / "start.lock").open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in locks.NONE:
                raise
            raise PaqaError(
                f"{file.name}: its file system has no locks ({error.strerror}), which the Prefect server "
                "wants: name an --out on another one, or run prefect server start and set PREFECT_API_URL"
            ) from None
        yield


def _record(folder: Path, running: bool = True) -> dict[str, Any]:
    """Pid, port and hosts of the server over `folder`; without `running`, of the last one. May be empty."""
    try:
        with (folder / "server.json").open() as file:
            if running and locks.lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB):
                return {}
            return dict(json.load(file))
    except (FileNotFoundError, ValueError):
        return {}
