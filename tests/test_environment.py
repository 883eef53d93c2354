"""Nothing in the environment ends in a traceback: streams that are closed, full or read no more, proxies,
folders.
"""

import os
import sqlite3
import subprocess
import sys

import httpx
import pytest
from builds import make
from conftest import ROOT

from flows import settings
from paqa.cli import exit_status
from paqa.errors import PaqaError

SHOW = [sys.executable, "-m", "paqa", "show"]
SCORE = [sys.executable, "-m", "paqa.cli.train", "score"]
JUNK = {  # of another installation of Prefect, and of proxies
    "PREFECT_SERVER_API_AUTH_STRING": "somebody:secret",
    "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://nobody@127.0.0.1:9/none",
    "PREFECT_SERVER_API_BASE_PATH": "/other",
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_CLIENT_CUSTOM_HEADERS": "{not JSON",
    "PREFECT_UI_SERVE_BASE": "/prefect",
    "PREFECT_PROFILE": "nobody",
    "no_proxy": "example.com",
    "http_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "what:is:this",
    "ALL_PROXY": "socks4://127.0.0.1:9",
    "HOME": "/nonexistent",
    "TMPDIR": "/nonexistent",
    "COLUMNS": "0",
    "NO_COLOR": "1",
    "PYTHONWARNINGS": "default",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("builds") / "señas", clips=1)


def shell(line, *words, **variables):
    """Run a line of bash; "$@" in it are `words`."""
    command = ["bash", "-o", "pipefail", "-c", line, "bash", *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("command", [SHOW, SCORE], ids=["paqa", "paqa-train"])
@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ('"$@" | true', 141, ""),
        ('"$@" 2>&1 | true', 141, ""),
        ('"$@" >/dev/full', 2, "No space left on device"),
        ('"$@" >&-', 0, ""),
        ('"$@" <&- >&- 2>&-', 0, ""),
        ('"$@"/nowhere 2>&-', 2, ""),
        ('"$@"/nowhere 2>/dev/full', 2, ""),
    ],
)
def test_streams(command, line, status, words, folder):
    done = shell(line, *command, folder)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == bool(words)


def test_a_closed_stream_gets_no_other_file(folder, tmp_path):
    """The first file that is opened would be number 2, which libraries in C write to."""
    code = (
        "import os, sys; from paqa.cli import exit_status; exit_status.open_streams();"
        "file = open(sys.argv[1], 'w'); os.write(2, b'noise'); file.close()"
    )
    done = shell('"$@" 2>&-', sys.executable, "-c", code, tmp_path / "file")
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_texts_that_the_terminal_cannot_show(folder, variables):
    done = shell('"$@"', *SHOW, folder / "où", **variables)
    assert done.returncode == 2
    assert "no shards" in done.stderr
    done = shell(
        '"$@"',
        sys.executable,
        "-c",
        "from paqa.cli import exit_status; exit_status.open_streams(); print(chr(0xf9) + 'a')",
        **variables,
    )
    assert done.stdout == "\\xf9a\n"


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "/nonexistent"},
        {"TMPDIR": "/nonexistent"},
        {"COLUMNS": "0"},
        {"COLUMNS": "x"},
        {"PYTHONPATH": "/dev/null"},
        JUNK,
    ],
    ids=lambda v: next(iter(v)),
)
def test_a_cheap_command_works_anywhere(folder, variables):
    assert shell('"$@"', *SHOW, folder, **variables).returncode == 0


def test_an_account_without_a_home_has_a_models_folder(monkeypatch):
    from paqa.engines.weights import models_folder

    for name in ("HOME", "XDG_CACHE_HOME", "PAQA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))  # as in a container
    assert models_folder().parts[-2:] == ("paqa", "models")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (PaqaError("what\nnow"), 2, "paqa x: what"),
        (ModuleNotFoundError("", name="av"), 2,
         "paqa x: av is not installed; run: uv pip install 'paqa[audio]'"),
        (ImportError("Using SOCKS proxy, but"), 2, "paqa x: Using SOCKS proxy, but"),
        (PermissionError(13, "Permission denied", "/out/a"), 2, "paqa x: /out/a: Permission denied"),
        (BrokenPipeError(32, "Broken pipe"), 2, "paqa x: disk or network: Broken pipe"),  # not of stdout
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("of nobody's\nmaking"), 70, "paqa x: RuntimeError: of nobody's making ("),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_every_error_is_a_line(error, status, line, capsys):
    import argparse

    parser = argparse.ArgumentParser("paqa")
    parser.add_argument("command")

    def command(_):
        raise error

    assert exit_status.run(parser, ["x"], command, "stopped", {"x": "audio"}) == status
    said = capsys.readouterr().err
    assert said.startswith(line or "\nstopped")


def test_errors_of_http_clients_are_the_networks(capsys):
    import argparse

    parser = argparse.ArgumentParser("paqa")
    parser.add_argument("command")
    ask = lambda _: httpx.get("http://127.0.0.1:9/", trust_env=False)  # noqa: E731
    assert exit_status.run(parser, ["x"], ask, "stopped", {}) == 2
    assert capsys.readouterr().err.startswith("paqa x: disk or network: ")


def test_nothing_of_another_installation_is_taken(tmp_path, monkeypatch):
    for name, value in JUNK.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    here = settings.applied(tmp_path)
    ours = {name for name in here if name.startswith("PREFECT_")} - {"PREFECT_LOGGING_LEVEL"}
    assert not ours & set(JUNK)
    assert here["PREFECT_LOGGING_LEVEL"] == "DEBUG"
    assert here["no_proxy"] == here["NO_PROXY"] == "example.com,127.0.0.1,localhost"
    assert here["http_proxy"] == "http://127.0.0.1:9"
    assert here["ALL_PROXY"] == here["HTTPS_PROXY"] == ""
    monkeypatch.setenv("PREFECT_API_URL", "http://server:4200/api")
    assert settings.applied(tmp_path)["PREFECT_SERVER_API_AUTH_STRING"] == "somebody:secret"


def test_proxies_that_are_left_out_are_named(tmp_path, monkeypatch, capsys):
    before = dict(os.environ)
    monkeypatch.setenv("all_proxy", "socks4://127.0.0.1:9")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    settings.apply(tmp_path)
    httpx.Client().close()
    assert capsys.readouterr().err.startswith("all_proxy is left out, connections go without it: ")
    monkeypatch.undo()
    assert before == dict(os.environ)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(PaqaError, match=r"SSL_CERT_FILE is .*none\.pem, which cannot be read"):
        settings.apply(tmp_path)


RUN = """
import sys
from pathlib import Path
from flows import settings
from flows.server import Server, running
home = Path(sys.argv[1])
settings.apply(home)
with running(home, Server(home).start()):
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    @task(cache_policy=NO_CACHE)
    def step(): return 1
    @flow(name="build")
    def build(): step()
    build()
"""


@pytest.mark.slow
def test_a_flow_runs_amid_all_of_it(tmp_path):
    """The real server and its clients, called where another project has a prefect.toml."""
    (tmp_path / "prefect.toml").write_text('[server.api]\nauth_string = "somebody:secret"\n')
    environment = os.environ | JUNK | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN, str(tmp_path / "home")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "home" / "prefect" / "prefect.db") as database:
        assert database.execute("select state_type from flow_run").fetchall() == [("COMPLETED",)]
        assert database.execute("select state_type from task_run").fetchall() == [("COMPLETED",)]
