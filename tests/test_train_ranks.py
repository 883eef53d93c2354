"""Two processes under torchrun learn what one learns from twice the batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import train_tiny as tiny
from closeness import steps

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from paqa.train.config import OFF, EvalConfig, GrpoConfig, PauseConfig, SftConfig  # noqa: E402

HERE = Path(__file__).parent


COMMON = {
    "device": "cpu",
    "quiet": True,
    "rank": 4,
    "alpha": 8,
    "steps": 3,
    "warmup": 0,
    "tensorboard": False,
}
COMMON |= {"learning_rate": 1e-2, "validation": 0.0}
PAUSE = PauseConfig(tokens=2, runs=2, window=4, top=8, warmup=3, cooldown=4, quantile=0.4)
STAGES = {  # alone, and each of two processes
    "sft": (
        SftConfig(batch=2, tokens=800, pause=OFF, **COMMON),
        {"batch": 1},
        ("learnt", "tokens"),
    ),
    "grpo": (
        GrpoConfig(prompts=2, group=4, max_new=16, tokens=4000, pause=PAUSE, **COMMON),
        {"prompts": 1},
        ("learnt", "length", "pauses", "dropped"),
    ),
}


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def run(stage: str, config: Any, *start: str) -> None:
    env = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE}", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        *start,
        str(HERE / "train_rank.py"),
        stage,
        msgspec.json.encode(config).decode(),
    ]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_are_one_with_twice_the_batch(tmp_path, stage):
    """Also of GRPO: the same completions, since a row's randomness is its own, and the same bounds of
    confidence.
    """
    tiny.folder(tmp_path / "base", head=2.0)
    tiny.build(tmp_path / "build", [tiny.item(label, "train", n) for label in tiny.HEARD for n in range(3)])
    plain, halved, counts = STAGES[stage]
    one = replace(
        plain, model=str(tmp_path / "base"), data=str(tmp_path / "build"), out=str(tmp_path / "one")
    )
    two = replace(one, out=str(tmp_path / "two"), **halved)
    run(stage, one)
    run(stage, two, *TORCHRUN)
    told = [
        [json.loads(line) for line in (tmp_path / n / "metrics.jsonl").read_text().splitlines()]
        for n in ("one", "two")
    ]
    for a, b in zip(*told, strict=True):
        assert {k: a[k] for k in counts} == {k: b[k] for k in counts}
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
        assert a["gradient"] == pytest.approx(b["gradient"], rel=1e-3)
    assert told[0][-1]["gradient"] > 0
    weights = [load_file(tmp_path / n / "checkpoint-000003" / "trained.safetensors") for n in ("one", "two")]
    for name, p in weights[0].items():
        assert steps(p, weights[1][name]) < 12_000, name  # seen: 1,200, since Adam divides by small gradients


def test_two_processes_answer_what_one_does(tmp_path):
    """Each a share of the rows; figures, answers and the likelihoods of labels are those of one process."""
    tiny.folder(tmp_path / "base", head=2.0)
    tiny.build(tmp_path / "build", [tiny.item(label, "test", n) for label in tiny.HEARD for n in range(3)])
    same: dict[str, Any] = {"model": str(tmp_path / "base"), "data": str(tmp_path / "build"), "device": "cpu"}
    config = EvalConfig(
        hearing=("audio", "shuffled"), batch=2, max_new=16, labels=True, quiet=True, pause=PAUSE, **same
    )
    run("eval", replace(config, out=str(tmp_path / "one")))
    run("eval", replace(config, out=str(tmp_path / "two")), *TORCHRUN)
    answers = [
        {path.name: path.read_text() for path in (tmp_path / name).glob("answers-*.jsonl")}
        for name in ("one", "two")
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 4
    one, two = (json.loads((tmp_path / name / "eval.json").read_text()) for name in ("one", "two"))
    assert one.keys() == two.keys() == {"audio", "audio+pause", "shuffled", "shuffled+pause", "labels"}
    for name, column in one.items():
        timeless = {key: x for key, x in column.items() if not key.startswith(("seconds", "tokens_per_s"))}
        assert {key: two[name][key] for key in timeless} == pytest.approx(timeless)
