"""What training changes on held-out clips, and what did not help: `python benchmarks/trained.py --out
data/trained`.

Makes what is not in --out yet - the embedded base, the short scenes of manifests/demo-short.toml, SFT on
their train split, GRPO on that twice (PAUSE never, PAUSE by confidence), the answers of all to the same test
rows - and prints one table. Stopped and started again it goes on where it was. The size `cpu` fits a busy CPU
core: it shows that every stage runs and what it does to the figures, not how good the model could become.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from paqa.train import evaluate, grpo, sft, small_base_model
from paqa.train.benchmarks import EvalQuestion
from paqa.train.config import OFF, EvalConfig, GrpoConfig, ModelConfig, PauseConfig, SftConfig
from paqa.train.data import Rows, draw
from paqa.train.evaluate import Answer

RECIPE = Path("manifests/demo-short.toml")
PAUSE = PauseConfig(tokens=4, runs=2, warmup=16, cooldown=32, quantile=0.1)
COMMON = {
    "dtype": "bfloat16",
    "rank": 16,
    "alpha": 32,
    "checkpointing": False,
    "validate_every": 0,
    "pause": PAUSE,
    "tensorboard": False,
}


@dataclass(frozen=True)
class Size:
    """How much is trained and asked."""

    device: str
    sft: SftConfig
    grpo: GrpoConfig
    eval: EvalConfig


SIZES = {
    "cpu": Size(
        "cpu",
        SftConfig(
            learning_rate=1e-3, warmup=10, steps=240, batch=1, tokens=1400, save_every=10,
            validation_rows=0, answer_rows=0, **COMMON,
        ),
        GrpoConfig(
            learning_rate=2e-4, warmup=1, steps=12, prompts=2, group=4, max_new=384, tokens=2048,
            save_every=1, validation_rows=0, **COMMON,
        ),
        EvalConfig(dtype="bfloat16", rows=48, batch=48, max_new=384),
    ),
    "gpu": Size(
        "cuda",
        SftConfig(learning_rate=5e-4, warmup=20, epochs=6, batch=4, tokens=8192, save_every=100, **COMMON),
        GrpoConfig(
            learning_rate=5e-5, warmup=5, steps=60, prompts=16, group=8, max_new=384, tokens=16384,
            save_every=20, **COMMON,
        ),
        EvalConfig(dtype="bfloat16", batch=64, max_new=384),
    ),
}  # fmt: skip
KEYS = ("accuracy", "format", "event_f1", "speaker_count", "wer", "tokens", "pauses", "cut")
RESAMPLES = 300


def once(marker: Path, call: Callable[[], Any]) -> None:
    """Call unless what the call makes last is there."""
    if not marker.exists():
        print(f"making {marker}", file=sys.stderr, flush=True)
        call()


def build(out: Path) -> None:
    """The shards, by the command a user would type."""
    command = [sys.executable, "-m", "paqa", "build", str(RECIPE), "--out", str(out), "--workers", "1"]
    subprocess.run(command, check=True)


def answers(out: Path, data: Path, size: Size) -> Iterator[tuple[str, Path]]:
    """Every stage and, behind it, its answers: the name of a column and its file of answers, as they come."""
    same = {"data": str(data), "device": size.device}
    once(out / "base" / "model.safetensors", lambda: small_base_model.make(out / "base"))
    yield from ask("base", out / "base", out, size, same)
    learnt = out / "sft" / "last"
    once(learnt, partial(sft.train, replace(size.sft, model=str(out / "base"), out=str(out / "sft"), **same)))
    yield from ask("sft", learnt, out, size, same)
    for name, mode in (("grpo-never", "never"), ("grpo-pause", "on")):
        pause = replace(PAUSE, mode=mode)
        config = replace(size.grpo, pause=pause, model=str(learnt), out=str(out / name), **same)
        once(out / name / "last", partial(grpo.train, config))
        yield from ask(name, out / name / "last", out, size, same, pause=pause if mode == "on" else OFF)
    yield from ask("sft", learnt, out, size, same, hearing=("silence", "shuffled"))


def ask(
    name: str, model: Path, out: Path, size: Size, same: dict[str, str], **how: Any
) -> Iterator[tuple[str, Path]]:
    """A model's answers under every condition, `how` being fields of EvalConfig."""
    config = replace(size.eval, model=str(model), **same, **how)
    folder = out / f"eval-{name}-{'-'.join(config.hearing)}"
    config = replace(config, out=str(folder))
    once(folder / evaluate.FILE, partial(evaluate.run, config))
    told = json.loads((folder / evaluate.FILE).read_text(encoding="utf-8"))
    yield from ((f"{name} {condition}", folder / f"answers-{condition}.jsonl") for condition in told)


def said(path: Path, asked: Sequence[EvalQuestion], most: int) -> list[Answer]:
    """The stored answers in the order of the questions."""
    rows = {r["id"]: r for r in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    found = [rows[a.asked.id] for a in asked]
    return [Answer(r["completion"], r["tokens"], r["pauses"], r["tokens"] >= most) for r in found]


def interval(asked: Sequence[EvalQuestion], given: Sequence[Answer]) -> dict[str, tuple[float, float]]:
    """95 % of bootstrap resamples of whole clips, whose questions are alike."""
    clips: dict[str, list[int]] = {}
    for i, a in enumerate(asked):
        clips.setdefault(a.clip, []).append(i)
    rng, drawn = random.Random(0), []
    for _ in range(RESAMPLES):
        rows = [i for clip in rng.choices(sorted(clips), k=len(clips)) for i in clips[clip]]
        drawn.append(evaluate.figures([asked[i] for i in rows], [given[i] for i in rows]))
    found = {}
    for key in KEYS:
        values = sorted(d.get(key, 0.0) for d in drawn)
        found[key] = (values[int(0.025 * RESAMPLES)], values[int(0.975 * RESAMPLES) - 1])
    return found


def without_hearing(asked: Sequence[EvalQuestion], data: Path) -> dict[str, float]:
    """What guessing gives: a choice by lot, the train split's commonest number of speakers, no words at
    all.
    """
    counts = [row.item.scene.speakers for row in Rows(data).split("train")]
    common = max(set(counts), key=counts.count)
    lot = sum(1 / len(a.asked.choices) if a.asked.choices else 0.0 for a in asked) / len(asked)
    alike = sum(a.item is not None and a.item.scene.speakers == common for a in asked) / len(asked)
    return {"accuracy": lot, "speaker_count": alike, "wer": 1.0}


def main() -> None:
    """Make, ask, print, and keep as JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=Path, default=Path("data/trained"))
    flags.add_argument(
        "--data", type=Path, help="a finished build (default: made in --out from the short scenes)"
    )
    flags.add_argument("--json", type=Path)
    flags.add_argument("--size", choices=SIZES, default="cpu", help="how much is trained and asked")
    args = flags.parse_args()
    size = SIZES[args.size]
    data = args.data or args.out / "short"
    once(data / "build.json", lambda: build(data))
    asked = evaluate.build_questions(replace(size.eval, data=str(data)))
    asked = sorted(asked, key=lambda a: draw("eval", a.asked.id))[: size.eval.rows or None]
    about = {"rows": len(asked), "clips": len({a.clip for a in asked}), "torch": torch.__version__}
    about |= {name: _chosen(getattr(size, name)) for name in ("sft", "grpo", "eval")}
    table: dict[str, Any] = {"guessing": {"figures": without_hearing(asked, data)}}
    print(f"{'':<24}" + "".join(f"{key:>24}" for key in KEYS))
    print(line("guessing", table["guessing"]))
    for name, path in answers(args.out, data, size):
        given = said(path, asked, size.eval.max_new)
        figures = evaluate.figures(asked, given)
        table[name] = {
            "figures": {k: figures[k] for k in KEYS if k in figures},
            "interval": interval(asked, given),
        }
        print(line(name, table[name]), flush=True)
        if args.json:
            args.json.write_text(
                json.dumps({"about": about, "table": table}, indent=1) + "\n", encoding="utf-8"
            )


def _chosen(config: ModelConfig) -> dict[str, Any]:
    """What differs from the stage's defaults."""
    plain = asdict(type(config)())
    return {k: v for k, v in asdict(config).items() if v != plain[k]}


def line(name: str, column: dict[str, Any]) -> str:
    """A model's figures, each with its interval."""
    found = []
    for key in KEYS:
        value, (low, high) = column["figures"].get(key), column.get("interval", {}).get(key, (None, None))
        bounds = "" if low is None else f" [{low:.2f}, {high:.2f}]"
        found.append("" if value is None else f"{value:.2f}{bounds}")
    return f"{name:<24}" + "".join(f"{text:>24}" for text in found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
