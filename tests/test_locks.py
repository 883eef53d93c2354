"""A file system without locks is told apart from a file that another process has locked."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from flows import server
from paqa.errors import PaqaError
from paqa.storage import build_folder, locks


def refusing(number):
    """A `flock` that fails as a file system does that has none."""

    def call(file, how):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_build_goes_on_where_there_are_no_locks(number, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with build_folder.hold_folder(tmp_path / "out"):
        assert build_folder.begin(tmp_path / "out").is_dir()
    assert "the file system has no locks" in capsys.readouterr().err


def test_other_failures_are_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"), build_folder.hold_folder(tmp_path / "out"):
        pass


def test_a_folder_that_another_process_holds(tmp_path):
    with build_folder.hold_folder(tmp_path / "out"):
        code = (
            "import sys; from pathlib import Path; from paqa.storage import build_folder;"
            "build_folder.hold_folder(Path(sys.argv[1])).__enter__()"
        )
        done = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], capture_output=True, text=True)
    assert "another build is writing there" in done.stderr


def test_a_lock_that_is_held_is_false(tmp_path):
    with (tmp_path / "lock").open("a") as one, (tmp_path / "lock").open("a") as two:
        assert locks.lock(one, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.flock)
        assert not locks.lock(two, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.flock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_server_says_that_it_wants_locks(number, tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(fcntl, "lockf", refusing(number))
    with pytest.raises(PaqaError, match=r"start\.lock: its file system has no locks .* set PREFECT_API_URL"):
        server.Server(tmp_path).start()
