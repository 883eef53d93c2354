"""The flow trains, reinforces and evaluates; run again it repeats nothing."""

from __future__ import annotations

import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")
pytest.importorskip("prefect")

from flows.train import side_by_side  # noqa: E402
from paqa.cli.train import main  # noqa: E402


def test_figures_are_labelled_and_none_is_lost():
    rows = side_by_side({"base": {"accuracy": 0.123456}, "labels": {"map": 1.0}})
    assert rows == [
        {"figure": "accuracy", "base": 0.1235, "labels": None},
        {"figure": "map", "base": None, "labels": 1.0},
    ]


def test_all_stages_in_a_row(tmp_path, capsys):
    tiny.folder(tmp_path / "base", head=4.0)
    items = [tiny.item(label, split, n) for label in tiny.HEARD for n, split in enumerate(("train", "test"))]
    tiny.build(tmp_path / "build", items)
    flags = ["--model", tmp_path / "base", "--data", tmp_path / "build", "--out", tmp_path / "runs" / "all"]
    flags += ["--device", "cpu", "--quiet", "--sft-steps", 2, "--sft-batch", 1, "--sft-max-new", 20]
    flags += ["--grpo-steps", 2, "--grpo-prompts", 2, "--grpo-group", 2, "--grpo-max-new", 20]
    flags += ["--eval-max-new", 20, "--eval-rows", 2, "--eval-pause", "on", "--eval-pause-window", 4]
    for stage in ("sft", "grpo"):
        flags += [f"--{stage}-rank", 4, f"--{stage}-validation", 0, f"--no-{stage}-tensorboard"]
    assert main(["all", *map(str, flags)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["base", "audio", "sft", "audio", "grpo", "audio", "grpo", "audio+pause"]
    made = {
        p: p.stat().st_mtime_ns
        for stage in ("sft", "grpo")
        for p in (tmp_path / "runs/all" / stage).glob("check*/*")
    }
    assert len(made) == 8
    assert main(["all", *map(str, flags)]) == 0
    assert capsys.readouterr().out.splitlines()[1:6] == table[1:6]
    assert made == {p: p.stat().st_mtime_ns for p in made}
