"""What each stage of training changes on held-out scenes: `python benchmarks/ladder.py --out data/ladder`.

From nothing, on CPU cores: synthesised sounds, the scenes of manifests/ladder.toml, and for each seed the
nano base, SFT, and from there more SFT (the control), GRPO without and with PAUSE for the same time. All
answer the same held-out questions with the audio, with silence and with another clip. Prints one table, with
intervals and the differences that count; `--json` keeps it, `--plot` draws it. Stopped and started again it
goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import generated_sounds
import numpy as np
import torch

from paqa.rationale import rewards
from paqa.rationale.answers import accuracies
from paqa.train import evaluate, grpo, model, nano_base_model, sft
from paqa.train.config import OFF, EvalConfig, GrpoConfig, PauseConfig, SftConfig
from paqa.train.data import EncodedClips, Rows
from paqa.train.figures import perception_figures, predicted_scene
from paqa.train.sound_store import sound_store
from paqa.types import Item

RECIPE = Path("manifests/ladder.toml")
HEARINGS = ("audio", "silence", "shuffled")
PAUSE = PauseConfig(tokens=4, runs=2, window=8, warmup=8, cooldown=16, quantile=0.1)
FULL: dict[str, Any] = {
    "train": "full", "checkpointing": False, "validation_rows": 0, "validate_every": 0, "save_every": 50,
    "tensorboard": False, "quiet": True, "pause": PAUSE,
}  # fmt: skip
SFT = SftConfig(
    learning_rate=2e-3, warmup=50, batch=2, tokens=2048, steps=2000, answer_rows=0, pause_share=0.1,
    caption_given=0.4, **FULL
)  # fmt: skip
MORE_SFT = replace(SFT, learning_rate=5e-4)  # for as long as GRPO takes
GRPO = GrpoConfig(learning_rate=1e-4, warmup=2, prompts=24, group=8, tokens=8192, steps=20, **FULL)
EVAL = EvalConfig(rows=300, batch=60, hearing=HEARINGS, quiet=True)
RUNGS = ("base", "sft", "more-sft", "grpo", "grpo-pause")
LABELS = dict(zip(RUNGS, ("base", "SFT", "SFT, longer", "GRPO", "GRPO with PAUSE"), strict=True))
ASKED = {
    "audio": "audio",
    "silence": "silence",
    "shuffled": "another clip",
    "audio+pause": "audio, pausing",
    "silence+pause": "silence, pausing",
    "shuffled+pause": "another clip, pausing",
}
INSTANCES = 24  # of each class of sounds
FIGURES = (
    "accuracy",
    "accuracy_forced",
    "perception",
    "speaker_count",
)
DIFFERENCES = (  # what is compared: a rung, how it is asked, a rung, how it is asked
    ("sft", "audio", "sft", "silence"),
    ("more-sft", "audio", "sft", "audio"),
    ("grpo", "audio", "sft", "audio"),
    ("grpo", "audio", "more-sft", "audio"),
    ("grpo-pause", "audio+pause", "grpo", "audio"),
    ("grpo-pause", "audio+pause", "grpo-pause", "audio"),
)
RESAMPLES = 2000


class Ladder:
    """The folders of one ladder, and how each of their parts is made."""

    def __init__(self, out: Path, seed: int):
        self.data, self.run, self.seed = out / "build", out / f"seed-{seed}", seed

    def folder(self, rung: str) -> Path:
        """What a rung is loaded from."""
        return self.run / "base" if rung == "base" else self.run / rung / "last"

    def same(self, rung: str, before: str) -> dict[str, Any]:
        """What tells the stages of one seed apart."""
        return {
            "model": str(self.folder(before)),
            "data": str(self.data),
            "out": str(self.run / rung),
            "device": "cpu",
            "seed": self.seed,
        }

    def train(self, rung: str, processes: int = 1) -> None:
        """Train a rung; SFT as one of so many processes that share its steps."""
        share = {"batch": SFT.batch // processes}
        steps: dict[str, Callable[[], object]] = {
            "base": lambda: nano_base_model.make(self.folder("base"), self.data, self.seed),
            "sft": lambda: sft.train(replace(SFT, **share, **self.same("sft", "base"))),
            "more-sft": lambda: sft.train(
                replace(
                    MORE_SFT,
                    steps=self.steps_as_long_as("grpo", processes),
                    **share,
                    **self.same("more-sft", "sft"),
                )
            ),
            "grpo": lambda: self.reinforce("grpo", "never"),
            "grpo-pause": lambda: self.reinforce("grpo-pause", "on"),
        }
        steps[rung]()

    def ask(self, rung: str) -> None:
        """Have a rung answer."""
        pause = PauseConfig(mode="on") if rung == "grpo-pause" else OFF
        same: dict[str, Any] = {"model": str(self.folder(rung)), "data": str(self.data), "device": "cpu"}
        evaluate.run(replace(EVAL, pause=pause, out=str(self.answers(rung)), **same))

    def marker(self, job: str) -> Path:
        """What a job makes last."""
        what, rung = job.split(":")
        return self.folder(rung) if what == "train" else self.answers(rung) / evaluate.FILE

    def reinforce(self, rung: str, mode: Any) -> None:
        """GRPO with or without PAUSE."""
        grpo.train(replace(GRPO, pause=replace(PAUSE, mode=mode), **self.same(rung, "sft")))

    def steps_as_long_as(self, rung: str, processes: int) -> int:
        """How many steps of SFT in all these processes cost as much as a rung did in one."""
        return max(1, round(self.seconds(rung) / (self.seconds("sft") * processes) * SFT.steps))

    def seconds(self, rung: str) -> float:
        """The time that a rung's steps took."""
        lines = (self.run / rung / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return sum(float(json.loads(line)["seconds/step"]) for line in lines)

    def answers(self, rung: str) -> Path:
        """Where a rung's answers are."""
        return self.run / f"answers-{rung}"

    def rows(self, rung: str, how: str) -> dict[str, dict[str, Any]]:
        """A rung's answers by the row's id, {} where it was not asked so."""
        path = self.answers(rung) / f"answers-{how}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return {row["id"]: row for row in map(json.loads, lines)}


def once(name: str, marker: Path, call: Callable[[], object]) -> None:
    """Call unless what the call makes last is there."""
    if not marker.exists():
        began = time.time()
        call()
        print(f"{name:<24}{time.time() - began:8.0f} s", file=sys.stderr, flush=True)


def build(out: Path) -> None:
    """The scenes, by the command a user would type."""
    command = [sys.executable, "-m", "paqa", "build", str(RECIPE), "--out", str(out / "build")]
    subprocess.run([*command, "--store", str(out / "store")], check=True, stdout=subprocess.DEVNULL)


def encode(out: Path, seed: int, part: int, parts: int) -> None:
    """Put the encoded clips of every so many-th scene into the store; all seeds have one encoder."""
    ladder = Ladder(out, seed)
    policy = model.load(str(ladder.folder("base")), "cpu", "float32")
    policy.sounds = sound_store("", str(ladder.data), policy.inner)
    rows = Rows(ladder.data)
    clips = EncodedClips(policy, rows)
    by_clip = {row.item.clip_id: row for row in rows.all}
    for row in list(by_clip.values())[part::parts]:
        clips.sound(row)


def run_seed(out: Path, seed: int, workers: int, first: bool) -> None:
    """Make all rungs of a seed: SFT by all processes together, else so many jobs of one process at once."""

    def at_once(*jobs: str) -> None:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda name: job(out, name, seed), jobs))

    at_once("train:base")
    if first:
        at_once(*(f"encode:{part}/{workers}" for part in range(workers)))
    job(out, "train:sft", seed, workers)
    at_once("train:grpo", "train:grpo-pause")
    job(out, "train:more-sft", seed, workers)
    at_once(*(f"ask:{rung}" for rung in RUNGS[::-1]))


def job(out: Path, name: str, seed: int, processes: int = 1) -> None:
    """One part in processes of their own, of one thread each, unless it is there."""
    if not name.startswith("encode") and Ladder(out, seed).marker(name).exists():
        return
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    command += [__file__, "--out", str(out), "--job", name, "--seeds", str(seed), "--workers", str(processes)]
    began = time.time()
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    print(f"seed {seed} {name:<17}{time.time() - began:8.0f} s", file=sys.stderr, flush=True)


def run_job(out: Path, name: str, seed: int, processes: int) -> None:
    """What one process does for a job."""
    torch.set_num_threads(1)
    what, rung = name.split(":")
    if what == "encode":
        part, parts = map(int, rung.split("/"))
        encode(out, seed, part, parts)
    elif what == "train":
        Ladder(out, seed).train(rung, processes)
    else:
        Ladder(out, seed).ask(rung)


class Scores:
    """Figures of the same held-out rows, by clip: what intervals are drawn from."""

    def __init__(self, out: Path, seeds: Sequence[int]):
        rows, _ = evaluate.questions(replace(EVAL, data=str(out / "build")))
        self.items = [row.item for row in rows if row.item]
        clips = sorted({item.clip_id for item in self.items})
        self.clip = np.array([clips.index(item.clip_id) for item in self.items])
        self.ladders = [Ladder(out, seed) for seed in seeds]
        random = np.random.default_rng(0)
        drawn = random.integers(0, len(clips), (RESAMPLES, len(clips)))
        counts = np.stack([np.bincount(d, minlength=len(clips)) for d in drawn])
        self.weights = counts[:, self.clip]  # [resamples, rows]: how often each row was drawn

    def of(self, rung: str, how: str) -> dict[str, np.ndarray] | None:
        """Each figure of each row, shape `[seeds, rows]`; None where the rung was not asked so."""
        columns: dict[str, list[list[float]]] = {}
        for ladder in self.ladders:
            answers = ladder.rows(rung, how)
            if not answers:
                return None
            scored = [score(item, answers[item.id]) for item in self.items]
            for name in scored[0]:
                columns.setdefault(name, []).append([row[name] for row in scored])
        return {name: np.array(values) for name, values in columns.items()}

    def event_f1(self, rung: str, how: str) -> list[float]:
        """F1 of the classes of sounds in ENV, pooled over rows, of each seed."""
        answers = [ladder.rows(rung, how) for ladder in self.ladders]
        rows = [[(item, rows[item.id]["completion"]) for item in self.items] for rows in answers]
        return [round(perception_figures(pairs)["event_f1"], 4) for pairs in rows]

    def seconds(self, rung: str) -> float:
        """The time of a rung's training, the mean of its seeds."""
        return float(np.mean([ladder.seconds(rung) for ladder in self.ladders]))

    def interval(self, values: np.ndarray) -> dict[str, Any]:
        """The mean of `[seeds, rows]`, that of each seed, and 95 % of the resamples of clips."""
        by_row = values.mean(0)
        means = self.weights @ by_row / self.weights.sum(1)
        low, high = np.quantile(means, (0.025, 0.975))
        return {
            "mean": round(float(by_row.mean()), 4),
            "low": round(float(low), 4),
            "high": round(float(high), 4),
            "seeds": [round(float(x), 4) for x in values.mean(1)],
        }


def score(item: Item, answer: dict[str, Any]) -> dict[str, float]:
    """The figures of one answer."""
    text = answer["completion"]
    figures = accuracies(text, item.choices, item.answer_index, item.answer)
    figures["accuracy_forced"] = float(answer["likeliest"] == item.answer_index)
    figures["perception"] = rewards.terms(text, rewards.Reference.of(item))["perception"]
    figures["speaker_count"] = float(
        len({turn.speaker for turn in predicted_scene(item.scene, text).turns}) == item.scene.speakers
    )
    return {name: figures[name] for name in FIGURES} | {
        "tokens": answer["tokens"],
        "pauses": answer["pauses"],
    }


def table(scores: Scores) -> dict[str, Any]:
    """All figures by rung and by how it was asked, and the differences that count."""
    asked = {(rung, how): scores.of(rung, how) for rung in RUNGS for how in ASKED}
    figures = {}
    for (rung, how), found in asked.items():
        if found is not None:
            column = {name: scores.interval(values) for name, values in found.items()}
            figures[f"{rung} {how}"] = column | {"event_f1": scores.event_f1(rung, how)}
    differences = []
    for rung, how, other, other_how in DIFFERENCES:
        ours, theirs = asked[rung, how], asked[other, other_how]
        if ours is not None and theirs is not None:
            names = ("accuracy", "accuracy_forced", "perception")
            found = {name: scores.interval(ours[name] - theirs[name]) for name in names}
            differences.append({"of": f"{rung} {how}", "less": f"{other} {other_how}", **found})
    return {"figures": figures, "differences": differences}


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report as tables of Markdown."""
    shown = ("accuracy", "accuracy_forced", "perception", "speaker_count")
    yield "| | right | likeliest choice right | perception | speakers counted right | event F1 | tokens |"
    yield "|---|---|---|---|---|---|---|"
    for name, column in report["figures"].items():
        rung, how = name.split(" ")
        cells = [interval_text(column[key]) for key in shown]
        cells += [f"{np.mean(column['event_f1']):.2f}", f"{column['tokens']['mean']:.0f}"]
        yield f"| {LABELS[rung]}, {ASKED[how]} | " + " | ".join(cells) + " |"
    yield ""
    yield "| difference | right | likeliest choice right | perception |"
    yield "|---|---|---|---|"
    for row in report["differences"]:
        names = [f"{LABELS[rung]}, {ASKED[how]}" for rung, how in (row[k].split(" ") for k in ("of", "less"))]
        yield (
            f"| {names[0]} - {names[1]} | " + " | ".join(interval_text(row[key]) for key in shown[:3]) + " |"
        )


def interval_text(value: dict[str, Any]) -> str:
    """A mean and its interval."""
    return f"{value['mean']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def plot(report: dict[str, Any], path: Path) -> None:
    """Right answers and perception of every rung, by what it heard."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    bars = (("audio", "#1f6f8b"), ("shuffled", "#c8a15a"), ("silence", "#b9b9b9"))
    for axis, (key, title) in zip(
        axes, (("accuracy_forced", "likeliest choice right"), ("perception", "perception")), strict=True
    ):
        for k, (how, colour) in enumerate(bars):
            for i, rung in enumerate(RUNGS):
                column = report["figures"].get(f"{rung} {how}+pause") or report["figures"][f"{rung} {how}"]
                value = column[key]
                error = [[value["mean"] - value["low"]], [value["high"] - value["mean"]]]
                label = ASKED[how] if i == 0 else None
                axis.bar(i + 0.27 * (k - 1), value["mean"], 0.25, yerr=error, color=colour, label=label)
        axis.set_xticks(range(len(RUNGS)), [LABELS[r].replace(" with", "\nwith") for r in RUNGS], fontsize=8)
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    chance = report["about"]["chance"]
    axes[0].axhline(chance, color="black", linestyle=":", linewidth=1, label="chance")
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    axes[0].set_ylim(0, 1)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Make, ask, print, keep."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=Path, default=Path("data/ladder"))
    flags.add_argument("--seeds", type=int, nargs="+", default=[0])
    flags.add_argument("--workers", type=int, default=2, help="processes at once, of one thread each: 1 or 2")
    flags.add_argument("--json", type=Path)
    flags.add_argument("--plot", type=Path, help=".svg or .png")
    flags.add_argument("--job", help=argparse.SUPPRESS)  # one part of the whole, in a process of its own
    args = flags.parse_args()
    if args.job:
        run_job(args.out, args.job, args.seeds[0], args.workers)
        return
    once("sounds", args.out / "sounds.jsonl", lambda: generated_sounds.write(args.out, INSTANCES, 0))
    once("scenes", args.out / "build" / "build.json", lambda: build(args.out))
    for seed in args.seeds:
        run_seed(args.out, seed, args.workers, first=seed == args.seeds[0])
    scores = Scores(args.out, args.seeds)
    about = {
        "seeds": args.seeds,
        "questions": len(scores.items),
        "clips": len(set(scores.clip)),
        "chance": round(float(np.mean([1 / len(item.choices) for item in scores.items])), 4),
        "core_seconds": {
            rung: round(scores.seconds(rung) * (args.workers if rung in ("sft", "more-sft") else 1))
            for rung in RUNGS[1:]
        },
        "torch": torch.__version__,
    }
    report = {"about": about, **table(scores)}
    print("\n".join([json.dumps(about), "", *lines(report)]))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        plot(report, args.plot)


if __name__ == "__main__":
    main()
