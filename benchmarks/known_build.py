"""What a build costs whose clips the store has: its start and end (`python benchmarks/known_build.py`).

Three clips of the demo are built once, then again by `paqa build` and by `paqa.build`, each some times.
Seconds on the clock, and CPU seconds of each process, are medians over the repetitions.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

DEMO = Path(__file__).parents[1] / "manifests" / "demo"
FILES = ("speech/allison-01.flac", "speech/awb-02.flac", "sounds/bell-01.flac")
SCRIPT = """
import paqa
if __name__ == "__main__":
    paqa.build("recordings", "out", store="store", quiet=True)
"""
FLAGS = ["--audio", "recordings", "--out", "out", "--store", "store", "--quiet"]
WAYS = {
    "paqa build": [sys.executable, "-m", "paqa", "build", *FLAGS],
    "paqa.build": [sys.executable, "known.py"],
}
KINDS = {"flows.server_app": "Prefect server", "spawn_main": "workers", "resource_tracker": "workers"}


def kind(process: psutil.Process) -> str:
    """What a process of a build is for."""
    line = " ".join(process.cmdline())
    return next((name for part, name in KINDS.items() if part in line), "driver")


def costs(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds on the clock, and CPU seconds by what processes are for."""
    began = time.perf_counter()
    build = psutil.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cpu_s: dict[int, tuple[str, float]] = {}
    while build.poll() is None:
        for process in (build, *_children(build)):
            try:
                used = process.cpu_times()
                name = cpu_s[process.pid][0] if process.pid in cpu_s else kind(process)
            except psutil.Error:
                continue
            cpu_s[process.pid] = name, used.user + used.system
        time.sleep(0.02)
    seconds = {"seconds": time.perf_counter() - began}
    assert build.returncode == 0, f"{command} ended with exit code {build.returncode}"
    for name, used_s in cpu_s.values():
        seconds[name] = seconds.get(name, 0.0) + used_s
    return seconds


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def main() -> None:
    """Build, measure, and print a line for each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recordings").mkdir()
        for file in FILES:
            shutil.copy(DEMO / file, folder / "recordings")
        (folder / "known.py").write_text(SCRIPT)
        costs(WAYS["paqa build"], folder)
        for way, command in WAYS.items():
            runs = [costs(command, folder) for _ in range(times)]
            medians = {part: statistics.median(run.get(part, 0.0) for run in runs) for part in runs[0]}
            print(way, ", ".join(f"{part} {value:.1f}" for part, value in medians.items()), flush=True)


if __name__ == "__main__":
    main()
