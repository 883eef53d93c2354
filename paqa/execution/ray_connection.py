"""Connecting to Ray: to a cluster that runs, or by starting a Ray of our own on this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from paqa.errors import PaqaError
from paqa.storage.filesystems import first_line

CONNECT_SECONDS = 5  # to open a connection to a cluster
OBJECT_STORE = 256 * 2**20  # bytes, of a Ray of our own: calls and results pass through, nothing stays
PASSED_VARIABLES = (
    "PAQA_MODELS",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
)
SETTINGS = {  # read by Ray when it is imported or started
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a late call would start a second Ray
    # a raylet's messages are in its log; a dead actor raises WorkerDied
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_worker_niceness": "0",  # else 15, as no local worker has: slow on a shared machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning for every actor without a GPU
}


class RayConnection:
    """Ray, connected to a cluster or started on this machine, until `close`."""

    def __init__(self, address: str, cpus: int):
        """Connect to the cluster at `address`, or where that is "" start a Ray with so many CPUs here.

        PaqaError where that fails, ray is not installed, or nobody answers at the address.
        """
        self.local = not address
        self._session_folder = ""
        self._previous_environment: dict[str, str | None] = {}
        if not self.local:
            check_reachable(address)
        self._set_environment()
        try:
            import ray
        except ModuleNotFoundError:
            self._restore_environment()
            raise PaqaError(
                "--runner ray: ray is not installed; run: uv pip install 'paqa[cluster]'"
            ) from None
        self.ray: Any = ray
        options: dict[str, Any] = {"logging_level": "critical", "log_to_driver": False, "namespace": "paqa"}
        if self.local:
            self._session_folder = _session_folder()
            options |= {
                "address": "local",  # whatever RAY_ADDRESS says
                "num_cpus": cpus,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": self._session_folder,
            }
        else:
            options["address"] = address
        try:
            ray.init(**options)
        except Exception as error:  # noqa: BLE001 - Ray raises a dozen kinds; all end here
            self.close()
            raise PaqaError(_not_connected(address, error)) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect, or end the Ray that was started here, and restore the environment variables."""
        self.ray.shutdown()
        self._restore_environment()
        if self._session_folder:
            shutil.rmtree(self._session_folder, ignore_errors=True)

    def actor_variables(self) -> dict[str, str]:
        """Environment variables that actors get from this process.

        On this machine they also say from where paqa is imported.
        """
        variables = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
        if self.local:
            paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
            variables["PYTHONPATH"] = os.pathsep.join(paths)
        return variables

    def room(self, threads: int) -> int:
        """How many actors with so many threads the cluster has room for now; PaqaError where for none."""
        nodes = [node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"]]
        free = self.ray.available_resources().get("CPU", 0)
        room = min(sum(int(cpus // threads) for cpus in nodes), int(free // threads))
        if room < 1:
            raise PaqaError(
                f"--threads {threads}: the Ray cluster has no room for an actor ({len(nodes)} nodes with "
                f"{sum(nodes):g} CPUs, {free:g} of them free); wait for what else runs there, "
                "or lower --threads"
            )
        return room

    def _set_environment(self) -> None:
        """Set what Ray reads; a user's own settings stay, except the token of a Ray of our own."""
        variables = {name: os.environ.get(name, default) for name, default in SETTINGS.items()}
        if self.local:  # nobody else may talk to a Ray of ours, and no token is kept in the home folder
            variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}
        self._previous_environment = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)

    def _restore_environment(self) -> None:
        for name, previous in self._previous_environment.items():
            os.environ.pop(name, None)
            if previous is not None:
                os.environ[name] = previous


@cache
def _token() -> str:
    return secrets.token_hex(32)  # one a process: Ray reads it once


def _session_folder() -> str:
    """A new folder for a Ray of our own; the folders of processes that were killed are removed."""
    root = Path(tempfile.gettempdir())  # sockets lie in it, whose paths must be short
    for old in root.glob("paqa-ray-*-*"):
        if not Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"paqa-ray-{os.getpid()}-", dir=root)


def check_reachable(address: str) -> None:
    """PaqaError where nobody listens at the address; Ray would try for a minute, then end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit():
        raise PaqaError(f"--runner ray:{address}: expected ray:auto, ray:HOST:6379 or ray:ray://HOST:10001")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise PaqaError(
            f"--runner ray:{address}: nobody answers at {host} port {port} ({first_line(error)}); "
            "start a cluster there (ray start --head --port=6379), or correct the address"
        ) from None


def _not_connected(address: str, error: Exception) -> str:
    """One line for an error of Ray when it cannot start or connect."""
    if not address:
        return f"Ray did not start on this machine ({first_line(error)})"
    text = str(error)
    runner = f"--runner ray:{address}"
    if "different versions" in text or "Version mismatch" in text:
        return f"{runner}: Ray or Python there is of another version ({' '.join(text.split())[:200]})"
    if "authent" in text.lower() or "token" in text.lower():
        return (
            f"{runner}: the cluster wants another token; set RAY_AUTH_MODE=token and its nodes' "
            "RAY_AUTH_TOKEN"
        )
    if address == "auto":
        return (
            f"{runner}: no Ray runs on this machine ({first_line(error)}); name its address, or start one: "
            "ray start --head"
        )
    if "raylet" in text or "node_ip_address" in text or "Can't find" in text:
        return (
            f"{runner}: this machine is no node of that cluster ({first_line(error)}); run paqa on one of "
            f"its nodes, join it (ray start --address={address}), or use ray:ray://HOST:10001"
        )
    return (
        f"{runner}: {first_line(error)}; if its nodes have a token, set RAY_AUTH_MODE=token and "
        "RAY_AUTH_TOKEN here too"
    )
