"""Worker processes: results, errors, thread limits, and death with the parent."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from paqa.errors import PaqaError, Rejected
from paqa.workers import Workers


def environment(name):
    return os.environ.get(name)


def refuse():
    raise Rejected("silent", "x.wav is silent")


def crash():
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_errors_and_thread_limits():
    with Workers(1, threads=1) as workers:
        assert workers.run(pow, 2, 5) == 32
        assert workers.run(environment, "OMP_NUM_THREADS") == "1"
        with pytest.raises(Rejected) as error:
            workers.run(refuse)
        assert (error.value.reason, error.value.detail) == ("silent", "x.wav is silent")


def test_a_dead_worker_is_said_in_one_line():
    with Workers(1) as workers, pytest.raises(PaqaError, match="worker process died"):
        workers.run(crash)


def test_workers_die_with_a_killed_parent():
    code = (
        "import os, time\nfrom paqa.workers import Workers\n"
        "if __name__ == '__main__':\n    w = Workers(2)\n    print(w.run(os.getpid), flush=True)\n    time.sleep(60)"
    )
    script = ["-c", code]
    parent = subprocess.Popen([sys.executable, *script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{worker}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{worker}")
