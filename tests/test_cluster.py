"""A real Ray cluster of two nodes and an S3 server, both on this machine: same bytes as a build on local workers."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, build, paqa

pytest.importorskip("ray")
pytest.importorskip("prefect")
server = pytest.importorskip("moto.server")

from paqa import recipe as recipes  # noqa: E402
from paqa.cluster import RayWorkers, forget, same  # noqa: E402
from paqa.errors import PaqaError, Rejected, WorkerDied  # noqa: E402
from paqa.store import Store, key  # noqa: E402

RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}


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
    """`ray start` in the foreground and in a process group of its own: no other Ray of this machine is touched."""
    command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
    sizes = ["--num-cpus", "1", "--num-gpus", "1", "--object-store-memory", "100000000"]  # no GPU is looked for
    variables = os.environ | RAY | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [*command, *sizes, *flags], env=variables, stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True
    )


def wait_for(log, words, process):
    deadline = time.monotonic() + 90
    while words not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(bucket, tmp_path_factory):
    """The address of a cluster of two nodes with one CPU (and one GPU, so it is told) each, and the nodes' processes."""
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
            nodes.append(node(f"--address=127.0.0.1:{port}", "--node-ip-address=127.0.0.2", log=logs / "second"))
            wait_for(logs / "second", "Ray runtime started", nodes[1])
            yield f"127.0.0.1:{port}"
        finally:
            for process in reversed(nodes):
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(20)
                finally:
                    for left in (signal.SIGKILL,):
                        try:
                            os.killpg(process.pid, left)
                        except ProcessLookupError:
                            continue
            subprocess.run(["rm", "-rf", str(session)], check=True)


def hosts(output):
    return set(re.findall(r"^\S+ \((\S+)\) process \d+: \d+ calls$", output, re.MULTILINE))


def test_same_bytes_as_local_workers(cluster, built, corpus, tmp_path):
    first = build(corpus / "small.toml", tmp_path / "first", "--runner", f"ray:{cluster}", "--store", "s3://paqa/one")
    assert first.shards == built.shards
    assert first.heard == built.heard
    assert len(hosts(first.output)) == 2  # both nodes worked
    again = build(corpus / "small.toml", tmp_path / "again", "--runner", f"ray:{cluster}", "--store", "s3://paqa/one")
    assert again.shards == built.shards
    assert not again.heard  # no engine was loaded
    for command in (["check"], ["report", "--store", "s3://paqa/one"]):
        paqa(command[0], first.out, *command[1:])


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


def refuse():
    raise Rejected("silent", "x.wav is silent")


def test_a_dead_actor_fails_its_own_call_only(cluster):
    with RayWorkers(cluster) as workers, ThreadPoolExecutor(2) as threads:
        assert workers.count == 2
        assert workers.run(os.getenv, "OMP_NUM_THREADS") == "1"
        pids = set(threads.map(lambda _: workers.run(nap, 1), range(2)))
        assert len(pids) == 2
        with pytest.raises(Rejected) as error:
            workers.run(refuse)
        assert (error.value.reason, error.value.detail) == ("silent", "x.wav is silent")
        other = threads.submit(workers.run, nap, 3)
        time.sleep(0.5)
        with pytest.raises(WorkerDied, match=r"process \d+ on .* has died: killed"):
            workers.run(os.kill, (pids - {_busy(other, pids)}).pop(), signal.SIGKILL)
        assert other.result() in pids
        time.sleep(8)
        assert len(set(threads.map(lambda _: workers.run(nap, 1), range(2))) - pids) == 1  # one is fresh
        assert len(hosts("\n".join(workers.told()))) == 2
