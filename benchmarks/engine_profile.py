"""Where the time of the embedded engines goes: each network, the decoding of words, and the rest.

    python benchmarks/engine_profile.py [--json FILE] [RECORDING ...]

One process, one thread an engine. Separation and the stages on its stems run as in a build of the default
profile. A network is named by its file; what no network does is "numpy and Python".
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faster_whisper
import onnxruntime
from engine_cpu import DEFAULT, read

from paqa.engines.base import engine_class
from paqa.types import Audio

SPEECH, BACKGROUND, MIX = "speech", "background", "mix"
RUNS = (
    ("deepfilternet", MIX),
    ("segmentation_campplus", MIX),
    ("yamnet", MIX),
    ("yamnet", BACKGROUND),
    ("faster_whisper", MIX),
    ("faster_whisper", SPEECH),
)
WHISPER = {"encode": "encoder", "generate": "decoder", "align": "alignment"}


class Clock:
    """Seconds by part, of the run that is under way."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, which adds its seconds to a part."""

        def measured(*args: Any, **settings: Any) -> Any:
            began = time.perf_counter()
            result = call(*args, **settings)
            self.seconds[part] += time.perf_counter() - began
            return result

        return measured


class TimedModel:
    """A CTranslate2 model whose calls are timed; everything else is the model's."""

    def __init__(self, model: Any, clock: Clock):
        self._model = model
        for name, part in WHISPER.items():
            setattr(self, name, clock.timed(f"whisper {part}", getattr(model, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def watch(clock: Clock) -> None:
    """Time every network that is opened from now on."""
    session = onnxruntime.InferenceSession
    open_session, open_whisper = session.__init__, faster_whisper.WhisperModel.__init__

    def open_timed(self: Any, path: Any, *args: Any, **settings: Any) -> None:
        open_session(self, path, *args, **settings)
        self.run = clock.timed(Path(str(path)).name, self.run)

    def whisper_timed(self: Any, *args: Any, **settings: Any) -> None:
        open_whisper(self, *args, **settings)
        self.model = TimedModel(self.model, clock)

    session.__init__, faster_whisper.WhisperModel.__init__ = open_timed, whisper_timed


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path, default=DEFAULT)
    parser.add_argument("--json", type=Path, help="write the seconds here")
    options = parser.parse_args()
    clips = [read(path) for path in options.recordings]
    audio_s = sum(clip.duration_ms for clip in clips) / 1000
    clock = Clock()
    watch(clock)
    table = {}
    inputs: dict[str, list[Audio]] = {MIX: clips}
    for name, stem in RUNS:
        engine = engine_class(name)()
        engine(inputs[stem][:1])
        clock.seconds.clear()
        began = time.perf_counter()
        outputs = engine(inputs[stem])
        total = time.perf_counter() - began
        parts = dict(clock.seconds.most_common())
        table[f"{name}, {stem}"] = {"all": total, **parts, "numpy and Python": total - sum(parts.values())}
        if name == "deepfilternet":
            inputs |= {key: [output.stems[key] for output in outputs] for key in (SPEECH, BACKGROUND)}
    print(f"{len(clips)} recordings, {audio_s:.0f} s; seconds per second of audio\n")
    for run, costs in table.items():
        for part, seconds in costs.items():
            print(f"{run if part == 'all' else '':<30}{part:<28}{seconds / audio_s:8.4f}")
    print(f"{'all engines':<58}{sum(costs['all'] for costs in table.values()) / audio_s:8.4f}")
    if options.json:
        per_second = {
            run: {part: round(s / audio_s, 5) for part, s in costs.items()} for run, costs in table.items()
        }
        options.json.write_text(json.dumps({"audio_s": round(audio_s), "parts": per_second}, indent=1) + "\n")


if __name__ == "__main__":
    main()
