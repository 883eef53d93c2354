"""What a build costs beside its bare models, a plain script, and itself on more workers: one command (`make
bench`).

    python benchmarks/scale.py [--files 60] [--repeats 1] [--only bare,local,ray,plain] [--json FILE]

Every row hears the same folder of recordings in the same seven ways, with one thread an engine, in a process
of its own that is timed from its start to its end, imports and models included:

bare models   paqa's engines called file by file on decoded audio, nothing kept 1 worker      `paqa build
--audio FOLDER --workers 1` into an empty store: questions, gates and shards included 2 workers     `paqa
build --workers 2`, likewise 2 on ray      `paqa build --runner ray --workers 2`, likewise: Ray is started and
stopped inside the time plain script  benchmarks/plain.py: each library's own API, one file after the other

With --repeats the rows take turns, and the median counts. Memory is the peak of the largest process of a row.
The recordings are dialogues of the demo corpus over backgrounds, composed beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from compose import composed

from paqa.audio import read_flac
from paqa.engines.base import engine_class
from paqa.perception import engine_runs
from paqa.perception.engine_runs import engine_params
from paqa.pipeline import recipe_files
from paqa.storage.store import Store
from paqa.types import Audio

ROOT = Path(__file__).parents[1]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
BUILD = ("--set", "gates.max_quarantined=0.95", "--set", 'gates.shortcuts="warn"', "--quiet")
KINDS = {
    "bare": ("bare models",),
    "local": ("1 worker", "2 workers"),
    "ray": ("2 on ray",),
    "plain": ("plain script",),
}


@dataclass(frozen=True)
class Row:
    """One way to hear the folder: wall seconds of the whole process, and GiB of its largest process."""

    name: str
    wall_s: float
    peak_gib: float


def corpus(folder: Path, files: int) -> float:
    """Write dialogues of the demo's voices over its sounds as FLAC; returns their seconds."""
    demo = recipe_files.load(ROOT / "manifests" / "demo-large.toml")
    chosen = replace(demo, mix=(replace(demo.mix[0], scenes=files),))
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(Path(temporary) / "store")
        clips = composed(chosen, store)
        for clip in clips:
            (folder / f"{clip.id}.flac").write_bytes(store.get(clip.sha256, ".flac"))
    return sum(clip.duration_ms for clip in clips) / 1000


def bare(folder: Path) -> None:
    """All hearings of every file in a plain loop over loaded engines; what they hear is thrown away."""
    chosen = recipe_files.for_folder(folder)
    separation, *nodes = engine_runs.engine_runs(chosen)
    engines = {
        n.stage: engine_class(n.engine)(engine_params(chosen, n.stage), threads=1)
        for n in (separation, *nodes)
    }
    for path in sorted(folder.iterdir()):
        mix = read_flac(path.read_bytes())
        speech = engines["separate"]([mix])[0].stems["speech"]
        stems = {"mix": mix, "speech": speech, "background": Audio(mix.samples - speech.samples, mix.rate)}
        for node in nodes:
            engines[node.stage]([stems[node.stem]])


def command(name: str, folder: Path, out: Path) -> list[str]:
    """The command line of a row."""
    if name == "bare models":
        return [sys.executable, __file__, "--bare", str(folder)]
    if name == "plain script":
        return [sys.executable, str(ROOT / "benchmarks" / "plain.py"), str(folder)]
    count, *on_ray = name.split()[0], *(["--runner", "ray"] if "ray" in name else [])
    build = [sys.executable, "-m", "paqa", "build", "--audio", str(folder), "--out", str(out / "build")]
    return [*build, "--workers", count, *on_ray, *BUILD]


def run(name: str, folder: Path) -> Row:
    """Run a row in an empty place."""
    with tempfile.TemporaryDirectory() as temporary:
        began = time.perf_counter()
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"}
        process = subprocess.Popen(
            command(name, folder, Path(temporary)), cwd=temporary, env=environment, stdout=subprocess.DEVNULL
        )
        peak = [0.0]
        watch = threading.Thread(target=_watch, args=(process, peak))
        watch.start()
        if process.wait():
            raise SystemExit(f"{name}: exit code {process.returncode}")
        wall = time.perf_counter() - began
        watch.join()
    return Row(name, round(wall, 1), round(peak[0], 2))


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    while process.poll() is None:
        try:
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            peak[0] = max([peak[0], *(p.memory_info().rss / 2**30 for p in tree)])
        except psutil.Error:
            pass
        time.sleep(0.2)


def medians(rows: Sequence[Row]) -> list[Row]:
    """One row for each name: median time, largest peak."""
    own: dict[str, list[Row]] = {}
    for row in rows:
        own.setdefault(row.name, []).append(row)
    return [
        Row(name, statistics.median(r.wall_s for r in found), max(r.peak_gib for r in found))
        for name, found in own.items()
    ]


def table(rows: Sequence[Row], audio_s: float) -> str:
    """Wall time, speed, and ratios to the bare models, one worker and the plain script where these ran."""
    walls = {row.name: row.wall_s for row in rows}
    lines = [
        f"{'':<13} {'wall s':>8} {'x real time':>12} {'over bare':>10} "
        f"{'x 1 worker':>11} {'x plain':>8} {'GiB':>6}"
    ]
    for row in rows:
        bare_, one, plain = walls.get("bare models"), walls.get("1 worker"), walls.get("plain script")
        cells = [
            f"{row.wall_s / bare_:>10.3f}" if bare_ else " " * 10,
            f"{one / row.wall_s:>11.2f}" if one else " " * 11,
            f"{plain / row.wall_s:>8.2f}" if plain else " " * 8,
        ]
        speed = audio_s / row.wall_s
        lines.append(
            f"{row.name:<13} {row.wall_s:>8.1f} {speed:>12.1f} {' '.join(cells)} {row.peak_gib:>6.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=60, help="recordings, about 17 s each (default: 60)")
    parser.add_argument("--repeats", type=int, default=1, help="of all rows, in turns (default: 1)")
    parser.add_argument("--only", default=",".join(KINDS), help=f"kinds of rows (default: {','.join(KINDS)})")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        bare(args.bare)
        return
    names = [name for kind in args.only.split(",") for name in KINDS[kind]]
    with tempfile.TemporaryDirectory() as temporary:
        audio_s = corpus(Path(temporary), args.files)
        rows = medians([run(name, Path(temporary)) for _ in range(args.repeats) for name in names])
    print(
        f"{args.files} recordings, {audio_s:.0f} s of audio, "
        f"{psutil.cpu_count()} cores, one thread an engine\n"
    )
    print(table(rows, audio_s))
    if args.json:
        machine = {"cores": psutil.cpu_count(), "python": platform.python_version(), "repeats": args.repeats}
        figures = {"files": args.files, "audio_s": audio_s, **machine, "rows": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
