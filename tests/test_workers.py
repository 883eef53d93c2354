"""Worker processes: results, errors, thread limits, a death that is one call's alone, and death with the
parent.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from conftest import ROOT

from paqa.errors import Rejected, Stopped, WorkerDied
from paqa.execution.processes import Workers, cores, quota


def environment(name):
    return os.environ.get(name)


def refuse():
    raise Rejected("silent", "x.wav is silent")


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def segfault():
    ctypes.string_at(0)


def leave():
    os._exit(3)


def slow(seconds, value):
    time.sleep(seconds)
    return value


class StubbornError(Exception):
    """An error that no pickle brings back."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def stubborn():
    raise StubbornError("this", "that")


def unpicklable():
    return threading.Lock()


def fork_and_die():
    """A child of the worker's own holds the pipe open after it."""
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_errors_and_thread_limits():
    with Workers(1, threads=1) as workers:
        assert workers.run(pow, 2, 5) == 32
        assert workers.run(environment, "OMP_NUM_THREADS") == "1"
        with pytest.raises(Rejected) as error:
            workers.run(refuse)
        assert (error.value.reason, error.value.detail) == ("silent", "x.wav is silent")
        with pytest.raises(ValueError, match="invalid literal") as error:
            workers.run(int, "x")
        assert "in a worker process" in error.value.__notes__[0]
        with pytest.raises(RuntimeError, match="StubbornError: this and that"):
            workers.run(stubborn)
        with pytest.raises(TypeError, match="pickle"):
            workers.run(unpicklable)
        assert workers.run(slow, 0, b"x" * 10**7) == b"x" * 10**7


@pytest.mark.parametrize(
    ("step", "how"),
    [
        (kill, r"SIGKILL \(often out of memory\)"),
        (segfault, "SIGSEGV"),
        (leave, "exit code 3"),
        (fork_and_die, "KILL"),
    ],
)
def test_a_death_is_said_and_the_next_call_has_a_fresh_process(step, how):
    with Workers(1) as workers:
        before = workers.run(os.getpid)
        with pytest.raises(WorkerDied, match=f"a worker process died: .*{how}"):
            workers.run(step)
        assert workers.run(os.getpid) != before


def test_a_death_fails_its_own_call_only():
    with Workers(2) as workers, ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(workers.run, slow, 0.5, n) for n in range(4)]
        time.sleep(0.1)
        dying = [threads.submit(workers.run, kill) for _ in range(3)]
        assert [call.result() for call in calls] == [0, 1, 2, 3]
        assert all(isinstance(call.exception(), WorkerDied) for call in dying)
        assert workers.run(pow, 2, 3) == 8


def test_a_process_that_died_between_calls_costs_none():
    with Workers(1) as workers:
        os.kill(workers.run(os.getpid), signal.SIGKILL)
        time.sleep(0.2)
        assert workers.run(pow, 2, 3) == 8


def test_a_process_keeps_what_it_has_loaded():
    with Workers(3) as workers:
        assert len({workers.run(os.getpid) for _ in range(5)}) == 1


def _interrupted(threads, calls):
    with Workers(2) as workers:
        workers.run(pow, 2, 3)
        calls += [threads.submit(workers.run, slow, 60, n) for n in range(4)]
        time.sleep(1)
        raise KeyboardInterrupt


def test_an_error_ends_everything_at_once():
    before = set(psutil.Process().children())
    began = time.monotonic()
    calls = []
    with ThreadPoolExecutor(4) as threads:
        with pytest.raises(KeyboardInterrupt):
            _interrupted(threads, calls)
        found = [call.exception() for call in calls]
    assert time.monotonic() - began < 20
    assert all(isinstance(error, Stopped) for error in found)
    left = set(psutil.Process().children()) - before
    assert [p for p in left if p.is_running() and "spawn_main" in " ".join(p.cmdline())] == []


def test_an_interrupt_that_python_drops_ends_the_work_all_the_same():
    """Python only prints an exception that is raised while it collects garbage."""
    with ThreadPoolExecutor(1) as threads, Workers(1) as workers:
        workers.run(pow, 2, 3)
        call = threads.submit(workers.run, slow, 60, 1)
        time.sleep(0.5)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert isinstance(call.exception(timeout=60), Stopped)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_workers_die_with_a_killed_parent():
    code = (
        "import os, time\nfrom paqa.execution.processes import Workers, cores, quota\n"
        "if __name__ == '__main__':\n    w = Workers(2)\n    print(w.run(os.getpid), flush=True)\n"
        "    time.sleep(60)"
    )
    script = ["-c", code]
    parent = subprocess.Popen([sys.executable, *script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while _lives(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _lives(worker)


def _lives(pid):
    """Whether a process runs; one that waits for its parent to take note of its end does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_cores_are_those_that_this_process_may_use():
    may = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(may)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, may)


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        ("0::/a/b", {"a/b/cpu.max": "150000 100000", "cpu.max": "max 100000"}, 1.5),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4),  # of the group around it
        ("0::/", {"cpu.max": "200000 100000"}, 2),  # in a container
        ("0::/../..", {"cpu.max": "200000 100000"}, 2),
        ("0::/gone", {}, 1024),
        (
            "4:memory:/x\n3:cpu,cpuacct:/job",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "250000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        ("3:cpu:/job", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ("3:cpu:/job", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, 1024),
    ],
)
def test_a_control_group_limits_the_cores(tmp_path, groups, files, cpus):
    (tmp_path / "groups").write_text(groups + "\n")
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert quota(tmp_path / "root", tmp_path / "groups") == cpus


def test_without_control_groups_nothing_limits_the_cores(tmp_path):
    assert quota(tmp_path, tmp_path / "none") == 1024
