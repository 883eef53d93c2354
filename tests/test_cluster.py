"""A real Ray cluster of two nodes and an S3 server, both on this machine: same bytes as a build on local
workers.
"""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, Built, build, command, environment, paqa

pytest.importorskip("prefect")
server = pytest.importorskip("moto.server")

from paqa.errors import OutOfMemory, PaqaError, Rejected, TimedOut, WorkerDied  # noqa: E402
from paqa.execution.ray_actor import node_check, remove_probe  # noqa: E402
from paqa.execution.ray_pool import RayWorkers  # noqa: E402
from paqa.pipeline import recipe_files  # noqa: E402
from paqa.storage.store import Store  # noqa: E402

if importlib.util.find_spec("ray") is None:  # not imported yet: it takes the token when it is
    pytest.skip("ray is not installed", allow_module_level=True)

RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "5" * 64,
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def bucket():
    """Environment variables with which `s3://paqa` is a bucket of an S3 server here."""
    import boto3

    with pytest.MonkeyPatch.context() as patch:
        moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        url = "http://{}:{}".format(*moto.get_host_and_port())
        variables = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="paqa")
        yield variables
        moto.stop()


def node(*flags, log):
    """`ray start` in the foreground and in a process group of its own: no other Ray of this machine is
    touched.
    """
    start = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
    sizes = [
        "--num-cpus",
        "1",
        "--num-gpus",
        "1",
        "--object-store-memory",
        "100000000",
    ]  # no GPU is looked for
    variables = os.environ | RAY | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [*start, *sizes, *flags],
        env=variables,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_for(log, words, process):
    deadline = time.monotonic() + 90
    while words not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(bucket, tmp_path_factory):
    """The address of a cluster of two nodes with one CPU (and one GPU, so it is told) each."""
    logs = tmp_path_factory.mktemp("nodes")
    port = free_port()
    session = Path("/tmp") / f"paqa-test-{os.getpid()}"  # short, since sockets lie in it
    nodes = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in RAY.items():
            patch.setenv(name, value)
        try:
            head = [f"--port={port}", "--head", "--include-dashboard=false", f"--temp-dir={session}"]
            nodes.append(node(*head, f"--ray-client-server-port={free_port()}", log=logs / "head"))
            wait_for(logs / "head", "Ray runtime started", nodes[0])
            nodes.append(
                node(f"--address=127.0.0.1:{port}", "--node-ip-address=127.0.0.2", log=logs / "second")
            )
            wait_for(logs / "second", "Ray runtime started", nodes[1])
            yield f"127.0.0.1:{port}"
        finally:
            for process in reversed(nodes):
                process.terminate()
                process.wait(30)
            shutil.rmtree(session, ignore_errors=True)


def hosts(output):
    return set(re.findall(r"^\S+ \((\S+)\) process \d+: \d+ calls$", output, re.MULTILINE))


def test_same_bytes_as_local_workers(cluster, built, corpus, tmp_path):
    first = build(
        corpus / "small.toml", tmp_path / "first", "--runner", f"ray:{cluster}", "--store", "s3://paqa/one"
    )
    assert first.shards == built.shards
    assert first.heard == dict.fromkeys(first.heard, built.summary["clips"])
    assert len(first.heard) == 6
    assert len(hosts(first.output)) == 2  # both nodes worked
    again = build(
        corpus / "small.toml", tmp_path / "again", "--runner", f"ray:{cluster}", "--store", "s3://paqa/one"
    )
    assert again.shards == built.shards
    assert not again.heard  # no engine was loaded
    for subcommand in ("audit", "report"):  # both read the store; `build` has checked the rest
        said = paqa(subcommand, first.out).stdout
    count = built.summary["items"]
    # stems from the bucket
    assert re.search(rf"holds +{count} questions about 9 clips, 9 of them with stems", said)


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


def refuse():
    raise Rejected("silent", "x.wav is silent")


@pytest.mark.slow
def test_a_dead_actor_fails_its_own_call_only(cluster):
    with RayWorkers(cluster) as workers, ThreadPoolExecutor(2) as threads:
        assert workers.count == 2
        assert workers.run(os.getenv, "OMP_NUM_THREADS") == "1"
        pids = set(threads.map(lambda _: workers.run(nap, 1), range(2)))
        assert len(pids) == 2
        with pytest.raises(Rejected) as error:
            workers.run(refuse)
        assert (error.value.reason, error.value.detail) == ("silent", "x.wav is silent")
        other = threads.submit(workers.run, nap, 5)
        time.sleep(0.5)
        with pytest.raises(WorkerDied, match=r"process \d+ on .* has died: killed"):
            workers.run(os._exit, 1)
        assert other.result() in pids
        later = {workers.run(os.getpid)}
        while later <= pids:  # the fresh one comes up
            later |= set(threads.map(lambda _: workers.run(nap, 1), range(2)))
        assert len(later | pids) == 3
        assert len(hosts("\n".join(workers.calls_by_process()))) == 2


def lose_device():
    raise WorkerDied("CUDA error: unspecified launch failure")


def exhaust():
    raise MemoryError("12 GiB")


@pytest.mark.slow
def test_an_actor_that_hangs_or_is_of_no_use_any_more_is_replaced(cluster):
    with RayWorkers(cluster, 1) as workers:
        pids = [workers.run_within(60, os.getpid)]
        for seconds, step, kind, said in (
            (1, nap, TimedOut, r"process \d+ on .* was ended: no answer in 1 s"),
            (60, lose_device, WorkerDied, "CUDA error"),
            (60, exhaust, OutOfMemory, "12 GiB"),
        ):
            with pytest.raises(kind, match=said):
                workers.run_within(seconds, step, *([600] if step is nap else []))
            pids.append(workers.run(os.getpid))
        assert len(set(pids)) == 4


@pytest.mark.slow
def test_shares_of_gpus(cluster):
    """The nodes say that they have a GPU each; nothing here uses one."""
    with RayWorkers(cluster, 1, gpus={"tag": 0.25, "separate": 0.5}) as workers:
        assert {stage: pool.count for stage, pool in workers.pools.items()} == {"separate": 2, "tag": 2}
        for pool in workers.pools.values():
            assert pool.run(os.getenv, "CUDA_VISIBLE_DEVICES") == "0"


def test_a_killed_actor_does_not_end_a_build(cluster, built, corpus, tmp_path):
    placed = ["--runner", f"ray:{cluster}", "--store", "s3://paqa/killed"]
    arguments = command("build", corpus / "small.toml", "--out", tmp_path / "killed", *placed)
    with subprocess.Popen(
        arguments, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        said = ""
        while not said.startswith("mix "):
            said = process.stderr.readline()
            assert said, "the build ended"
        victim = next(
            p for p in psutil.process_iter() if p.name().startswith("ray::Actor") and _ours(p, cluster)
        )
        time.sleep(3)
        victim.kill()
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert Built(tmp_path / "killed", said).shards == built.shards
    assert f"process {victim.pid}:" in said or len(re.findall(r" process \d+: ", said)) >= 2


def _ours(process, address):
    return any(address.rpartition(":")[2] in part for p in process.parents() for part in p.cmdline())


@pytest.mark.slow
def test_an_actor_that_is_not_fit_is_named(cluster, corpus, bucket):
    recipe = recipe_files.load(corpus / "small.toml")
    unshared = node_check(recipe, Store("memory://mine"))
    with (
        RayWorkers(cluster, check=unshared) as workers,
        pytest.raises(
            PaqaError, match=r"node \S+ \(\S+\): store memory://mine is not there; name one that all"
        ),
    ):
        workers.run(os.getpid)
    shared = node_check(recipe, Store("s3://paqa/fit"))
    older = replace(shared, version="0.0.1")
    with (
        RayWorkers(cluster, check=older) as workers,
        pytest.raises(PaqaError, match=r"node .*: paqa .* is installed there, 0\.0\.1 \(code \w+\) here"),
    ):
        workers.run(os.getpid)
    other = replace(shared, engines=(*shared.engines[:-1], (*shared.engines[-1][:2], "another")))
    with (
        RayWorkers(cluster, check=other) as workers,
        pytest.raises(PaqaError, match=r"has revision .* there and another"),
    ):
        workers.run(os.getpid)
    with RayWorkers(cluster, check=shared) as workers:
        assert workers.run(os.getpid)
    remove_probe(shared)
    assert not Store("s3://paqa/fit").has(shared.probe, ".probe")


def test_a_wrong_address_is_one_line_and_quick(corpus, tmp_path):
    began = time.monotonic()
    done = paqa(
        "build", corpus / "small.toml", "--out", tmp_path / "x", "--runner", "ray:127.0.0.1:9", check=False
    )
    assert done.returncode == 2
    assert re.fullmatch(
        r"paqa build: --runner ray:127\.0\.0\.1:9: nobody answers at .*ray start --head.*\n", done.stderr
    )
    assert time.monotonic() - began < 30
    assert not (tmp_path / "x").exists()
