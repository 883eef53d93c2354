"""Does the cost of a build stay linear in its audio? 100, 1,000 and 10,000 short clips, and 1 % more of each.

    python benchmarks/growth.py [--sizes 100,1000,10000] [--workers 2] [--folder DIR] [--json FILE]

Clips of 2.5 s, sounds of the demo corpus over one another at places drawn by number, are heard by the
embedded engines and asked about, all gates on; whisper listens only where its voice detector is sure, since
each stretch that it takes for a voice costs it as much as 30 s. Per size, of a build into an empty store and
of one with 1 % more clips (`--grow`):

wall          seconds of the whole command engines       seconds inside engines, over all workers overhead
ms a clip that a worker is not in an engine: (wall x workers - engines) / clips flow CPU      ms of processor
time a clip in the flow's process and in Prefect's server, which other work on the machine
              does not change
flow, worker  peak memory of the process of the flow, and of the largest worker, in GiB
database      MB of Prefect's SQLite, and how often it was "locked" in any log
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import soundfile

ROOT = Path(__file__).parents[1]
RATE = 16_000
SAMPLES = 40_000  # of a clip
RECIPE = """
name = "growth"
[[sources]]
name = "clips"
type = "folder"
path = "clips"
[hear.transcribe.params]
vad_threshold = 0.95
[gates]
max_quarantined = 0.99
shortcuts = "warn"
"""


@dataclass(frozen=True)
class Row:
    """One build; see the module."""

    clips: int
    grown: bool
    wall_s: float
    engines_s: float
    overhead_ms: float
    flow_cpu_ms: float
    flow_gib: float
    worker_gib: float
    database_mb: float
    locked: int


def write(folder: Path, first: int, last: int) -> None:
    """Clips number `first` to `last - 1`: two sounds over one another, each at a place and level of its
    own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    read = (
        soundfile.read(path, dtype="float32")
        for path in sorted((ROOT / "manifests/demo/sounds").glob("*.flac"))
    )
    sounds = [samples if samples.ndim == 1 else samples.mean(axis=1) for samples, _ in read]
    for n in range(first, last):
        rng = random.Random(n)
        mixed = np.zeros(SAMPLES, np.float32)
        for samples in rng.sample(sounds, 2):
            at = rng.randrange(max(1, len(samples) - SAMPLES))
            part = samples[at : at + SAMPLES]
            start = rng.randrange(SAMPLES - len(part) + 1)
            mixed[start : start + len(part)] += rng.uniform(0.3, 1.0) * part
        soundfile.write(folder / f"{n:06d}.flac", 0.5 * mixed / max(0.5, float(np.abs(mixed).max())), RATE)


def build(folder: Path, workers: int, clips: int, grown: bool) -> Row:
    """Build and measure."""
    command = ["build", folder / "growth.toml", "--out", folder / "build", "--workers", workers, "--quiet"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "paqa", *map(str, command), *(["--grow"] if grown else [])],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    peaks = {"flow": 0.0, "worker": 0.0, "cpu": 0.0}
    watch = threading.Thread(target=_watch, args=(process, peaks))
    watch.start()
    said = process.communicate()[1].decode()
    wall = time.perf_counter() - began
    watch.join()
    if process.returncode:
        raise SystemExit(
            f"the build of {clips} clips failed with exit code {process.returncode}: {said[-2000:]}"
        )
    engines = sum(s["model_s"] for s in json.loads((folder / "build" / "build.json").read_text())["stages"])
    home = folder / ".paqa" / "prefect"
    logs = said + "".join(path.read_text(errors="replace") for path in home.rglob("*.log"))
    size = sum(path.stat().st_size for path in home.glob("prefect.db*"))
    overhead = 1000 * (wall * workers - engines) / clips
    gib = (peaks["flow"], peaks["worker"])
    return Row(
        clips,
        grown,
        wall,
        engines,
        overhead,
        1000 * peaks["cpu"] / clips,
        *gib,
        size / 1e6,
        logs.count("database is locked"),
    )


def _watch(process: subprocess.Popen[bytes], peaks: dict[str, float]) -> None:
    while process.poll() is None:
        try:
            flow = psutil.Process(process.pid)
            named = [(c, " ".join(c.cmdline())) for c in flow.children()]
            workers = [c for c, name in named if "multiprocessing" in name]
            spent = [p.cpu_times() for p in (flow, *(c for c, name in named if "flows.server" in name))]
            peaks["cpu"] = max(peaks["cpu"], sum(times.user + times.system for times in spent))
            sizes = {"flow": [flow.memory_info().rss], "worker": [c.memory_info().rss for c in workers]}
            for name, found in sizes.items():
                peaks[name] = max([peaks[name], *(n / 2**30 for n in found)])
        except psutil.Error:
            pass
        time.sleep(0.2)


def grow(folder: Path, workers: int, clips: int) -> list[Row]:
    """A build of so many clips, and one of 1 % more."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "growth.toml").write_text(RECIPE)
    write(folder / "clips", 0, clips)
    rows = [build(folder, workers, clips, grown=False)]
    more = clips + max(1, clips // 100)
    write(folder / "clips", clips, more)
    return [*rows, build(folder, workers, more, grown=True)]


def line(row: Row) -> str:
    """One line of the table."""
    name = f"{row.clips} clips" if not row.grown else "  1 % more"
    return (
        f"{name:<13} {row.wall_s:>8.1f} {row.engines_s:>9.1f} {row.overhead_ms:>9.0f} "
        f"{row.flow_cpu_ms:>9.1f} {row.flow_gib:>6.2f} {row.worker_gib:>7.2f} "
        f"{row.database_mb:>12.1f} {row.locked:>7}"
    )


def main() -> None:
    """Print a line as each build ends."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="100,1000,10000", help="clips (default: 100,1000,10000)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="build there (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    args = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        print(
            f"{'':<13} {'wall s':>8} {'engines s':>9} {'overhead':>9} "
            f"{'flow CPU':>9} {'flow':>6} {'worker':>7} "
            f"{'database MB':>12} {'locked':>7}",
            flush=True,
        )
        for size in map(int, args.sizes.split(",")):
            for row in grow((args.folder or Path(temporary)) / str(size), args.workers, size):
                print(line(row), flush=True)
                rows.append(row)
    if args.json:
        figures = {
            "workers": args.workers,
            "cores": psutil.cpu_count(),
            "rows": [asdict(row) for row in rows],
        }
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
