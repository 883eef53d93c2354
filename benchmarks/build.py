"""What a build costs over its bare models: one command, one table (`make bench`).

bare      the same engines called directly, clip by clip, in one process, on decoded audio: engine seconds only
1 worker  `paqa build --workers 1` into an empty store: wall time of the whole command
2 workers `paqa build --workers 2`, likewise

All engines use one thread, so that the rows compare. Memory is the peak of the largest worker process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import psutil
import pyarrow.parquet as pq

from paqa import hear, recipe
from paqa.audio import read_flac
from paqa.engines.base import engine_class
from paqa.store import Store
from paqa.types import Clip

ROOT = Path(__file__).parents[1]
RECIPE = """
name = "bench"
seed = 1
[[sources]]
name = "voices"
type = "jsonl"
path = "demo/speech.jsonl"
use = "material"
[[sources]]
name = "backgrounds"
type = "jsonl"
path = "demo/sounds.jsonl"
use = "material"
[[mix]]
name = "dialogue"
scenes = {scenes}
speech = "voices"
background = "backgrounds"
speakers = [1, 5]
turns = [4, 8]
[gates]
max_quarantined = 0.95
"""


def build(config: Path, folder: Path, workers: int) -> tuple[float, float]:
    """Wall seconds of a whole build, and the peak RSS in GiB of its largest worker."""
    command = [sys.executable, "-m", "paqa.cli", "build", config, "--out", folder / "bench", "--workers", workers]
    began = time.perf_counter()
    process = subprocess.Popen([str(c) for c in (*command, "--quiet")], cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = [0.0]
    watch = threading.Thread(target=_watch, args=(process, peak))
    watch.start()
    if process.wait():
        raise SystemExit(f"the build failed with exit code {process.returncode}")
    wall = time.perf_counter() - began
    watch.join()
    return wall, peak[0]


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    while process.poll() is None:
        try:
            children = psutil.Process(process.pid).children(recursive=True)
            workers = [c for c in children if "multiprocessing" in " ".join(c.cmdline())]
            peak[0] = max([peak[0], *(c.memory_info().rss / 2**30 for c in workers)])
        except psutil.Error:
            pass
        time.sleep(0.1)


def bare(config: Path, folder: Path) -> tuple[float, float]:
    """Engine seconds of the same hearings in a plain loop, and the seconds of audio; models are loaded beforehand."""
    chosen, store = recipe.load(config), Store(folder / ".paqa" / "store")
    clips = [msgspec.convert(row, Clip) for row in pq.read_table(folder / "bench" / "clips.parquet").to_pylist()]
    nodes = hear.hearings(chosen)
    engines = {n.stage: engine_class(n.engine)(chosen.parameters(n.stage), threads=1) for n in nodes}
    for engine in engines.values():
        engine([read_flac(store.get(clips[0].sha256, ".flac"))])
    seconds = 0.0
    for clip in clips:
        for node in nodes:
            audio = hear.stem(clip, node.stem, nodes[0], store)
            began = time.perf_counter()
            engines[node.stage]([audio])
            seconds += time.perf_counter() - began
    return seconds, sum(c.duration_ms for c in clips) / 1000


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--scenes", type=int, default=100, help="composed scenes, about 17 s each (default: 100)")
    scenes = arguments.parse_args().scenes
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "demo").symlink_to(ROOT / "manifests" / "demo")
        config = folder / "bench.toml"
        config.write_text(RECIPE.format(scenes=scenes))
        one, one_gib = build(config, folder / "one", 1)
        two, two_gib = build(config, folder / "two", 2)
        models, audio = bare(config, folder / "one")
    print(f"{scenes} scenes, {audio:.0f} s of audio, {psutil.cpu_count()} cores, one thread an engine\n")
    print(f"{'':<12} {'wall s':>8} {'x real time':>12} {'over bare':>10} {'speed-up':>9} {'peak GiB a worker':>18}")
    print(f"{'bare models':<12} {models:>8.1f} {audio / models:>12.1f} {1:>10.3f} {'':>9} {'':>18}")
    print(f"{'1 worker':<12} {one:>8.1f} {audio / one:>12.1f} {one / models:>10.3f} {1:>9.2f} {one_gib:>18.2f}")
    print(
        f"{'2 workers':<12} {two:>8.1f} {audio / two:>12.1f} {two / models:>10.3f} {one / two:>9.2f} {two_gib:>18.2f}"
    )


if __name__ == "__main__":
    main()
