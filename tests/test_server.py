"""A real Prefect server: history is complete, nothing stays behind, and a killed build is not shown as
running.

The tests build on each other in this order: a server takes five seconds to start.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import client, server, server_app, settings
from paqa.errors import PaqaError

pytest.importorskip("prefect")

ROOT = Path(server.__file__).parents[1]
BUILD = """
import sys, time
from pathlib import Path
from flows.server import running

with running(Path(sys.argv[1])) as url:
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    @task(cache_policy=NO_CACHE)
    def step(number):
        time.sleep(float(sys.argv[3]))

    @flow(name="build", flow_run_name=sys.argv[4])
    def build():
        for number in range(int(sys.argv[2])):
            print("step", url, flush=True)
            step(number)

    build()
    if sys.argv[4] == "raises":
        raise ValueError("the body raises")
"""


def build(home: Path, steps: int, seconds: float, name: str) -> subprocess.Popen[str]:
    """A process that runs a flow of `steps` tasks of `seconds` each and prints a line before each."""
    command = [sys.executable, "-c", BUILD, str(home), str(steps), str(seconds), name]
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
    variables["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def runs(home: Path, name: str) -> tuple[list[str], list[str]]:
    """The states of the flow runs of that name and of their task runs, read from the database file."""
    with sqlite3.connect(home / "prefect" / "prefect.db") as database:
        flow_runs = "select id, state_type from flow_run where name = ?"
        task_runs = "select state_type from task_run where flow_run_id = ?"
        found = database.execute(flow_runs, [name]).fetchall()
        return [state for _, state in found], [
            row[0] for key, _ in found for row in database.execute(task_runs, [key])
        ]


def become(home: Path, name: str, states: tuple[list[str], list[str]]) -> bool:
    """Whether the states of `runs` are these, within 20 s: a server that goes on looks every 5 s."""
    deadline = time.monotonic() + 20
    while runs(home, name) != states and time.monotonic() < deadline:
        time.sleep(0.1)
    return runs(home, name) == states


def gone(home: Path, seconds: float = 10) -> bool:
    """Whether no server runs over `home`, within `seconds`."""
    deadline = time.monotonic() + seconds
    while server._record(home / "prefect") and time.monotonic() < deadline:
        time.sleep(0.05)
    return not server._record(home / "prefect")


@pytest.fixture(autouse=True)
def _own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith("PREFECT")]:
        monkeypatch.delenv(key)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home, so that its database is created once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def used(home: Path) -> Iterator[server.Server]:
    """A server that this process uses, on another port than the one that it wants."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = server.Server(home, taken.getsockname()[1])
        try:
            found.start().wait()
            assert found._process
            assert found.port != taken.getsockname()[1]
            yield found
        finally:
            found.stop()
    assert gone(home, seconds=0)


def test_history_is_complete_and_the_server_gone(home: Path) -> None:
    """Of 190 tasks: their events fill no whole number of the batches of 100 in which Prefect writes them."""
    with build(home, 190, 0, "raises") as process:
        out, err = process.communicate(timeout=300)
    assert out.count("step http://127.0.0.1:") == 190
    assert process.returncode == 1
    assert err.endswith("ValueError: the body raises\n")
    assert err.count("\n") < 12  # our traceback, and not a word from Prefect
    assert gone(home, seconds=0)
    assert runs(home, "raises") == (["COMPLETED"], ["COMPLETED"] * 190)


def test_a_killed_build_leaves_no_server(home: Path) -> None:
    with build(home, 9, 60, "killed") as process:
        process.stdout.readline()
        assert become(home, "killed", (["RUNNING"], ["RUNNING"]))
        process.kill()
    assert gone(home)
    assert runs(home, "killed") == (["CRASHED"], ["CRASHED"])


def test_a_build_killed_with_its_server(home: Path) -> None:
    with build(home, 9, 60, "both") as process:
        process.stdout.readline()
        assert become(home, "both", (["RUNNING"], ["RUNNING"]))
        process.kill()
        os.kill(server._record(home / "prefect")["pid"], signal.SIGKILL)
    assert gone(home)
    assert runs(home, "both") == (["RUNNING"], ["RUNNING"])


def test_the_next_server_marks_it(home: Path, used: server.Server) -> None:
    assert become(home, "both", (["CRASHED"], ["CRASHED"]))
    assert runs(home, "raises")[0] == ["COMPLETED"]


def test_the_pages_know_their_port(used: server.Server) -> None:
    pages = used.url.removesuffix("/api")
    with urllib.request.urlopen(f"{pages}/ui-settings") as answer:
        assert json.load(answer)["api_url"] == used.url
    with urllib.request.urlopen(f"{pages}/") as answer:
        assert "<html" in answer.read().decode().lower()


def test_builds_share_the_server_that_runs(home: Path, used: server.Server) -> None:
    with build(home, 2, 0.1, "borrows") as first, build(home, 9, 60, "dies") as second:
        assert first.communicate(timeout=300)[0].count(f"step {used.url}\n") == 2
        assert become(home, "dies", (["RUNNING"], ["RUNNING"]))  # killed before, its task leaves no record
        second.kill()
    assert become(home, "borrows", (["COMPLETED"], ["COMPLETED"] * 2))
    assert become(home, "dies", (["CRASHED"], ["CRASHED"]))
    assert client.answers(used.url, seconds=2)


def test_ctrl_c(home: Path, used: server.Server) -> None:
    with build(home, 9, 60, "interrupted") as process:
        process.stdout.readline()
        time.sleep(1)  # an interrupt inside a weak reference's callback would be ignored, by Python
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert process.returncode != 0
    assert runs(home, "interrupted")[0] == ["CRASHED"]
    assert client.answers(used.url, seconds=2)


def test_prefect_api_url_is_used(
    used: server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", used.url + "/")
    with server.running(tmp_path) as url:
        assert url == used.url == os.environ["PREFECT_API_URL"]
    assert os.environ["PREFECT_API_URL"] == used.url + "/"
    assert not (tmp_path / "prefect").exists()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setattr(server, "EXTERNAL_SECONDS", 0.5)
    with pytest.raises(
        PaqaError, match=r"PREFECT_API_URL is http://127\.0\.0\.1:9/api, and no Prefect server answers"
    ):
        server.Server(tmp_path).start().wait()


def test_a_killed_server_is_started_again_at_its_port(home: Path, used: server.Server, capfd) -> None:
    done = threading.Event()
    keeper = threading.Thread(target=used.keep, args=(done,))
    keeper.start()
    try:
        before = server._record(used.folder)
        os.kill(before["pid"], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while (server._record(used.folder) in ({}, before) or not client.answers(used.url, 2)) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.1)
    finally:
        done.set()
        keeper.join()
    after = server._record(used.folder)
    assert after["port"] == before["port"]
    assert after["pid"] != before["pid"]
    assert client.answers(used.url, seconds=2)
    assert runs(home, "borrows")[0] == ["COMPLETED"]
    assert "was killed: it was started again" in capfd.readouterr().err


def test_the_ui_says_where_it_is(home: Path, used: server.Server) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys, flows.server as s, pathlib; s.ui(pathlib.Path(sys.argv[1]))",
        home,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.startswith(f"Prefect UI: {used.url.removesuffix('/api')} (another process")


def test_stale_record_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "server.json").write_text(json.dumps({"pid": os.getpid(), "port": 4200}))
    assert server._record(tmp_path / "prefect") == {}


LOCK = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.lockf(file, fcntl.LOCK_EX, 1, 42)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_tag_names_a_living_process(tmp_path: Path) -> None:
    path = tmp_path / "users.lock"
    command = [sys.executable, "-c", LOCK, str(path)]
    piped = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with piped as process, path.open("a+") as users:
        process.stdout.readline()
        assert not server_app._is_dead(["a tag", "host:1:42"], users)
        assert server_app._is_dead(["host:1:43", "a tag"], users)
        assert not server_app._is_dead(["a tag", "other:x:43", "host:1:9999999999999999999"], users)
        process.kill()
        time.sleep(0.2)
        assert server_app._is_dead(["host:1:42"], users)  # a zombie until it is waited for


def test_environment_lets_the_user_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    found = settings.environment(tmp_path)
    assert found["PREFECT_LOGGING_LEVEL"] == "DEBUG"
    assert found["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert found["DO_NOT_TRACK"] == "1"
    assert found["NO_PROXY"].endswith("127.0.0.1,localhost")
