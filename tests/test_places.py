"""Where calls of a build run: what the flags may say, how GPUs are shared out, and the named limit on a real
server.
"""

import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from flows.server import Server
from paqa.cli import build_commands, main
from paqa.errors import PaqaError
from paqa.execution import placement
from paqa.execution.placement import PlacementOptions, gpu_shares
from paqa.execution.ray_pool import actors_per_pool

pytest.importorskip("prefect")

WRONG = [
    (["--runner", "dask"], "expected local, ray or ray:ADDRESS"),
    (["--runner", "ray:"], "expected local, ray or ray:ADDRESS"),
    (["--runner", "ray:host"], r"expected ray:auto, ray:HOST:6379 or ray:ray://HOST:10001"),
    (["--runner", "ray:127.0.0.1:1"], r"nobody answers at 127\.0\.0\.1 port 1 .*ray start --head"),
    (["--runner", "ray", "--gpus", "tag"], "'tag' is not STAGE=SHARE"),
    (["--runner", "ray", "--gpus", "hear=1"], "no stage 'hear'; expected separate, diarize, tag, transcribe"),
    (["--runner", "ray", "--gpus", "tag=1.5"], "tag=1.5 is no share of one GPU"),
    (["--gpus", "tag=0.5"], "--gpus is for --runner ray"),
    (["--gpu-slots", "2"], "--gpu-slots is for --device cuda with local workers"),
    (["--workers", "0"], "--workers 0: expected at least 1"),
    (["--store", "foo://x"], "Protocol not known: foo"),
]


@pytest.mark.parametrize(
    ("flags", "said"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_flags_are_one_line(flags, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = main.parser().parse_args(["build", str(ROOT / "manifests" / "demo.toml"), *flags])
    with pytest.raises(PaqaError, match=said) as error:
        build_commands.placement_of(args)
    assert "\n" not in str(error.value)


def test_what_the_flags_say():
    wanted = PlacementOptions("ray:ray://host:10001", gpus=gpu_shares("separate=0.5, tag=0.1"))
    assert (wanted.address, dict(wanted.gpu_shares)) == ("ray://host:10001", {"separate": 0.5, "tag": 0.1})
    assert PlacementOptions("ray://host:10001").address == "ray://host:10001"
    assert PlacementOptions("ray").address == ""
    assert PlacementOptions("ray", device="cuda").gpu_shares == dict.fromkeys(placement.STAGES, 0.25)
    assert not PlacementOptions("ray").gpu_shares


@pytest.mark.parametrize(
    ("gpus", "wanted", "fits"),
    [
        (1, [0.5, 0.1], 1),
        (4, [0.5, 0.25], 5),
        (2, [0.25] * 4, 2),
        (3, [0.1], 30),
        (3, [1, 0.5], 2),
        (3, [0.9, 0.6], 1),
    ],
)
def test_shares_are_packed(gpus, wanted, fits):
    assert actors_per_pool(gpus, wanted) == fits


def test_shares_that_do_not_fit_once():
    with pytest.raises(PaqaError, match=r"one set of actors wants 1\.2 GPUs, and Ray has 1"):
        actors_per_pool(1, [0.6, 0.6])


FLOW = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from flows.gpu_slots import LIMIT, limit, slot
from flows.server import running

most, held, lock = 0, 0, threading.Lock()

def hearing():
    global most, held
    with slot(LIMIT):
        with lock:
            held += 1
            most = max(most, held)
        time.sleep(float(sys.argv[4]))
        with lock:
            held -= 1

with running(Path(sys.argv[1])):
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner

    step = task(hearing, cache_policy=NO_CACHE)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=6))
    def build():
        print("slots", limit(LIMIT, int(sys.argv[2]) or None), flush=True)
        began = time.monotonic()
        futures = [step.submit() for _ in range(int(sys.argv[3]))]
        for future in futures:
            future.result()
        print("most", most, "seconds", round(time.monotonic() - began, 1), flush=True)

    build()
"""


def run(home, slots, hearings, seconds):
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
    arguments = [str(home), str(slots), str(hearings), str(seconds)]
    return subprocess.Popen(
        [sys.executable, "-c", FLOW, *arguments],
        env=variables | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home with a server that lives as long as the tests: what a build leaves there, the next one
    finds.
    """
    folder = tmp_path_factory.mktemp("home")
    server = Server(folder)
    try:
        server.start().wait()
        yield folder
    finally:
        server.stop()


def test_hearings_share_the_named_slots(home):
    with run(home, 0, 6, 0.3) as first:
        assert first.stdout.read().startswith("slots 1\nmost 1 ")
    with run(home, 2, 6, 0.3) as changed:
        assert changed.stdout.read().startswith("slots 2\nmost 2 ")
    with run(home, 0, 6, 0.3) as kept:  # as somebody set it
        said = kept.stdout.read()
    assert said.startswith("slots 2\nmost 2 ")
    assert float(said.split()[-1]) < 15  # of 0.9 s of work; a waiting hearing asks twice a second


@pytest.mark.slow
def test_the_slot_of_a_killed_build_is_free_again(home):
    from flows.gpu_slots import LEASE_SECONDS  # which imports Prefect

    with run(home, 1, 1, 600) as dies:
        assert dies.stdout.readline() == "slots 1\n"
        time.sleep(3)
        dies.kill()
    began = time.monotonic()
    with run(home, 0, 1, 0.1) as next_one:
        assert "most 1" in next_one.stdout.read()
    assert time.monotonic() - began < 2 * LEASE_SECONDS
