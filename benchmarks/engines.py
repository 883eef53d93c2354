"""What an engine of the paper profile costs over its library called bare, on the same audio: one command, one
table.

    PYTHONPATH=benchmarks python -m localmodels DIR
    python benchmarks/engines.py --models DIR [--device cuda] [--json FILE]

Both sides hear the same clips of the packaged telephone call with the same model file, device, threads and
settings, in turns in one process; the table has medians. `ratio` is paqa over bare, in wall time and, on a
CPU, in CPU time, which says more where other work runs beside. Peak memory is that of a process of its own
for each side, libraries and model included. Weights may be random: they decide nothing about the time of a
forward pass, but the words of whisper do, and so its row counts only with real ones.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from paqa.engines._signal import mono
from paqa.engines.base import engine_class
from paqa.engines.weights import locate, model_choices
from paqa.types import Audio

Listen = Callable[[], object]
RATE = 16_000  # Hz of the clips


@dataclass(frozen=True)
class Setting:
    """What both sides share."""

    device: str
    threads: int


@dataclass(frozen=True)
class Row:
    """One comparison. Seconds are per second of audio; hours are of audio per hour of the device."""

    name: str
    clips: int
    audio_s: float
    bare: float
    paqa: float
    ratio: float
    cpu_ratio: float
    hours: float
    bare_gib: float
    paqa_gib: float


def call(start_s: float = 0.0, end_s: float = 30.0) -> Audio:
    """A part of the telephone call that pyannote.audio ships, its 30 s repeated without end."""
    import soundfile

    packaged = importlib.metadata.distribution("pyannote.audio").locate_file(
        "pyannote/audio/sample/sample.wav"
    )
    samples, rate = soundfile.read(str(packaged), dtype="float32")
    assert rate == RATE
    whole = np.tile(samples, 1 + int(end_s / 30))
    return Audio(whole[None, round(start_s * RATE) : round(end_s * RATE)].copy(), RATE)


def clips(count: int, length_s: float) -> list[Audio]:
    """So many different clips of one length."""
    return [call(1.5 * i, 1.5 * i + length_s) for i in range(count)]


def engine(name: str, setting: Setting, **changes: Any) -> Any:
    """The engine with the model that the models folder chooses for it."""
    kind = engine_class(name)
    return kind(
        kind.Params(**{**model_choices(name), **changes}), device=setting.device, threads=setting.threads
    )


def model_path(name: str) -> Path:
    """The file or folder of the model that the engine takes."""
    kind = engine_class(name)
    return locate(kind.remotes(kind.Params(**model_choices(name)))[0])


def bare_demucs(batch: Sequence[Audio], setting: Setting) -> Listen:
    """`demucs.api`'s way: each clip to 44.1 kHz stereo, normalised, through `apply_model`, without random
    shifts.
    """
    import torch
    from demucs.apply import BagOfModels, apply_model
    from demucs.audio import convert_audio
    from demucs.hf import load_safetensors_model

    files = sorted(model_path("demucs").glob("*.safetensors"))
    model = BagOfModels([load_safetensors_model(file) for file in files])

    def listen() -> object:
        torch.set_num_threads(setting.threads)
        for audio in batch:
            mix = convert_audio(
                torch.from_numpy(audio.samples), audio.rate, model.samplerate, model.audio_channels
            )
            reference = mix.mean(0)
            mix = (mix - reference.mean()) / (reference.std() + 1e-8)
            apply_model(model, mix[None], shifts=0, device=setting.device)
        return None

    return listen


def bare_pyannote(batch: Sequence[Audio], setting: Setting) -> Listen:
    """The stock pipeline, file by file in memory, embeddings one by one on a CPU, where that is its
    fastest.
    """
    import torch
    from pyannote.audio import Pipeline

    pipeline = Pipeline.from_pretrained(model_path("pyannote"))
    pipeline.to(torch.device(setting.device))
    pipeline.embedding_batch_size = 1 if setting.device == "cpu" else 32

    def listen() -> object:
        torch.set_num_threads(setting.threads)
        for i, audio in enumerate(batch):
            pipeline({"waveform": torch.from_numpy(audio.samples), "sample_rate": audio.rate, "uri": str(i)})
        return None

    return listen


def bare_panns(batch: Sequence[Audio], setting: Setting) -> Listen:
    """The library's model on the stacked clips at 32 kHz, as its `SoundEventDetection.inference` calls it."""
    import torch

    from paqa.engines._panns import (
        CLASSES,
        FRONT_END,
        networks,
    )  # the package itself would run wget when imported

    model = networks().Cnn14_DecisionLevelMax(**FRONT_END, classes_num=CLASSES)
    model.load_state_dict(torch.load(model_path("panns"), map_location="cpu", weights_only=True)["model"])
    model.to(setting.device).eval()

    def listen() -> object:
        torch.set_num_threads(setting.threads)
        stacked = np.stack([mono(audio, 32_000) for audio in batch])
        with torch.no_grad():
            return model(torch.from_numpy(stacked).to(setting.device), None)["framewise_output"].cpu().numpy()

    return listen


def bare_whisper(batch: Sequence[Audio], setting: Setting) -> Listen:
    """`whisper.transcribe`, clip by clip, with beams and word times, at temperature 0."""
    import torch
    import whisper

    path = model_path("whisper")
    model = whisper.load_model(str(path), device=setting.device)
    if heads := whisper._ALIGNMENT_HEADS.get(path.stem):
        model.set_alignment_heads(heads)
    options = {
        "temperature": 0.0,
        "beam_size": 5,
        "word_timestamps": True,
        "condition_on_previous_text": False,
    }

    def listen() -> object:
        torch.set_num_threads(setting.threads)
        return [
            model.transcribe(mono(audio, RATE), fp16=setting.device != "cpu", **options)["text"]
            for audio in batch
        ]

    return listen


def ours(name: str, batch: Sequence[Audio], setting: Setting) -> Listen:
    """The engine on the whole batch."""
    return partial(engine(name, setting), batch)


def whole(batch: Sequence[Audio], setting: Setting) -> Listen:
    """Demucs as paqa runs it on clips cut from one recording: on all of it, to be cut afterwards."""
    joined = Audio(np.concatenate([audio.samples for audio in batch], axis=1), batch[0].rate)
    return partial(engine("demucs", setting), [joined])


CASES: dict[str, tuple[Callable[[], list[Audio]], Callable[..., Listen], Callable[..., Listen]]] = {
    "demucs, 4 clips of 10 s": (lambda: clips(4, 10), bare_demucs, partial(ours, "demucs")),
    "demucs, 10 clips of 2 s of one recording": (
        lambda: [call(2 * i, 2 * i + 2) for i in range(10)],
        bare_demucs,
        whole,
    ),
    "pyannote, 30 s": (lambda: [call()], bare_pyannote, partial(ours, "pyannote")),
    "panns, 8 clips of 10 s": (lambda: clips(8, 10), bare_panns, partial(ours, "panns")),
    "whisper, 8 clips of 10 s": (lambda: clips(8, 10), bare_whisper, partial(ours, "whisper")),
    "whisper, 30 s": (lambda: [call()], bare_whisper, partial(ours, "whisper")),
}


def timed(listen: Listen, device: str) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    began = time.perf_counter(), time.process_time()
    listen()
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def compare(name: str, setting: Setting, repeats: int) -> Row:
    """Both sides in turns, after one call each to warm up; then each in a process of its own for its
    memory.
    """
    audio, bare, paqa = CASES[name]
    batch = audio()
    sides = [bare(batch, setting), paqa(batch=batch, setting=setting)]
    for side in sides:
        side()
    seconds = [[timed(side, setting.device) for side in sides] for _ in range(repeats)]
    audio_s = sum(a.duration_ms for a in batch) / 1000
    (before, cpu_before), (after, cpu_after) = (
        [statistics.median(kind) for kind in zip(*side, strict=True)] for side in zip(*seconds, strict=True)
    )
    gib = [memory(name, side, setting) for side in ("bare", "paqa")]
    per_second = (before / audio_s, after / audio_s)
    return Row(
        name, len(batch), audio_s, *per_second, after / before, cpu_after / cpu_before, audio_s / after, *gib
    )


def memory(name: str, side: str, setting: Setting) -> float:
    """Peak GiB of a process that does one side only: of the device where it is a GPU, else its resident
    set.
    """
    command = [sys.executable, __file__, "--peak", name, side, "--device", setting.device]
    done = subprocess.run(
        [*command, "--threads", str(setting.threads)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    return float(done.stdout.split()[-1])


def peak(name: str, side: str, setting: Setting) -> float:
    """What `memory` runs."""
    audio, bare, paqa = CASES[name]
    (bare if side == "bare" else paqa)(batch=audio(), setting=setting)()
    if setting.device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated() / 2**30
    status = Path(
        "/proc/self/status"
    ).read_text()  # getrusage would count what the parent held when it forked
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20


def table(rows: Sequence[Row]) -> str:
    """The figures as Markdown."""
    head = (
        "",
        "clips",
        "audio s",
        "bare s/s",
        "paqa s/s",
        "ratio",
        "CPU",
        "times real time",
        "bare GiB",
        "paqa GiB",
    )
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for r in rows:
        speed = f"{r.bare:.4f} | {r.paqa:.4f} | {r.ratio:.2f} | {r.cpu_ratio:.2f} | {r.hours:.1f}"
        lines.append(
            f"| {r.name} | {r.clips} | {r.audio_s:.0f} | {speed} | {r.bare_gib:.2f} | {r.paqa_gib:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, help="a models folder (default: PAQA_MODELS)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose names start so")
    parser.add_argument("--json", type=Path, help="write the figures to a file as well")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "false")
    if args.models:
        os.environ["PAQA_MODELS"] = str(args.models.resolve())
    setting = Setting(args.device, args.threads)
    if args.peak:
        print(peak(*args.peak, setting))
        return
    rows = []
    for name in (name for name in CASES if name.startswith(args.only)):
        rows.append(compare(name, setting, args.repeats))
        print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
