"""Time and memory of `paqa push` of a large build to the tests' Hub on loopback: python benchmarks/push.py
[--gb 1]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SECONDS = 300.0  # a clip, of noise
CLIP_MB = 8.3  # of it as FLAC


def measured(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Wall seconds and peak memory of a command; its own process, so that nothing else counts."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return {"wall_s": round(time.perf_counter() - began, 1), "peak_mb": round(usage.ru_maxrss / 1000)}


def main() -> None:
    """Push a small build, the large one, and the large one again."""
    from builds import make
    from fakehub import Hub, free_port

    top = argparse.ArgumentParser()
    top.add_argument("--gb", type=float, default=1.0)
    top.add_argument("--json", type=Path)
    args = top.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clips = round(args.gb * 1000 / CLIP_MB)
        with ProcessPoolExecutor(1) as apart:  # a child's peak begins with what its parent holds
            small = apart.submit(make, root / "small", clips=3).result()
            large = apart.submit(make, root / "large", clips, 1, SECONDS, max_mb=100).result()
        server = Hub(root / "hub", free_port()).start()
        try:
            found = {}
            for name, build in {"small": small, "large": large, "large again": large}.items():
                command = [sys.executable, "-m", "paqa", "push", str(build), f"me/{build.name}", "--yes"]
                size = sum(path.stat().st_size for path in (build / "data").iterdir())
                found[name] = {
                    "mb": round(size / 1e6, 1),
                    **measured(command, os.environ | server.environment()),
                }
                print(f"{name:<12} {found[name]}", flush=True)
        finally:
            server.stop()
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
