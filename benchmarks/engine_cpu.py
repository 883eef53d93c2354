"""CPU seconds per second of audio of the embedded engines, beside those of version 0.1, on one thread.

    python benchmarks/engine_cpu.py [RECORDING ...]

Engines take turns, so that a machine that slows down slows all of them; the least of two rounds counts.
Version 0.1 diarized and tagged a stem and the mix. Now the mix is diarized, a stem and the mix are tagged.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from paqa.engines.base import engine_class
from paqa.types import Audio

REAL = Path(__file__).parents[1] / "manifests" / "real"
DEFAULT = (*sorted((REAL / "speech").glob("*.flac"))[::5], *sorted((REAL / "meetings").glob("*.flac"))[2:4])
ROUNDS = 2
ENGLISH = "transcribe in English"
BEFORE = ("separate", "diarize 0.1", "diarize 0.1", "tag", "tag", ENGLISH, ENGLISH)
NOW = ("separate", "diarize", "tag", "tag", "transcribe", "transcribe")


def read(path: Path) -> Audio:
    """A recording as Audio."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return Audio(np.ascontiguousarray(samples.T), rate)


def cpu_s() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def engines() -> dict[str, Any]:
    """The engines by what they do, loaded."""
    whisper = engine_class("faster_whisper")
    return {
        "separate": engine_class("deepfilternet")(),
        "diarize 0.1": engine_class("silero_dvector")(),
        "diarize": engine_class("segmentation_campplus")(),
        "tag": engine_class("yamnet")(),
        ENGLISH: whisper(whisper.Params(language="en")),
        "transcribe": whisper(),
    }


def main() -> None:
    """Measure, and print each engine and both sums."""
    clips = [read(Path(name)) for name in sys.argv[1:] or map(str, DEFAULT)]
    audio_s = sum(clip.duration_ms for clip in clips) / 1000
    least: dict[str, float] = {}
    loaded = engines()
    for engine in loaded.values():
        engine([clips[0]])
    for _ in range(ROUNDS):
        for name, engine in loaded.items():
            began = cpu_s()
            for clip in clips:
                engine([clip])
            cost = (cpu_s() - began) / audio_s
            least[name] = min(least.get(name, cost), cost)
    print(f"{len(clips)} recordings, {audio_s:.0f} s; CPU seconds per second of audio")
    for name, cost in least.items():
        print(f"{name:<24}{cost:8.4f}")
    before, now = (sum(least[name] for name in names) for names in (BEFORE, NOW))
    for name, value in (("all of version 0.1", before), ("all now", now), ("ratio", now / before)):
        print(f"{name:<24}{value:8.4f}")


if __name__ == "__main__":
    main()
