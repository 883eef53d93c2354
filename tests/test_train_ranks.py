"""Two processes under torchrun learn what one learns from twice the batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from paqa.train.config import OFF, SftConfig  # noqa: E402

HERE = Path(__file__).parent


def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    tiny.folder(tmp_path / "base", head=2.0)
    tiny.build(tmp_path / "build", [tiny.item(label, "train", n) for label in tiny.HEARD for n in range(3)])
    one = SftConfig(
        model=str(tmp_path / "base"), data=str(tmp_path / "build"), out=str(tmp_path / "one"), device="cpu", quiet=True,
        rank=4, alpha=8, batch=2, tokens=800, steps=3, warmup=0, learning_rate=1e-2, validation=0.0, pause=OFF,
        tensorboard=False,
    )  # fmt: skip
    two = replace(one, out=str(tmp_path / "two"), batch=1)
    env = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE}", "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for config, start in ((one, [sys.executable]), (two, torchrun)):
        command = [*start, str(HERE / "train_rank.py"), msgspec.json.encode(config).decode()]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    told = [
        [json.loads(line) for line in (tmp_path / n / "metrics.jsonl").read_text().splitlines()] for n in ("one", "two")
    ]
    for a, b in zip(*told, strict=True):
        assert a["learnt"] == b["learnt"]
        assert a["tokens"] == b["tokens"]
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
        assert a["gradient"] == pytest.approx(b["gradient"], rel=1e-3)
    weights = [load_file(tmp_path / n / "checkpoint-000003" / "trained.safetensors") for n in ("one", "two")]
    for name, p in weights[0].items():
        torch.testing.assert_close(p, weights[1][name], atol=2e-4, rtol=1e-2)
