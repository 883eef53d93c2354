"""Flags, checks and the record beside a run come from one dataclass a stage."""

from __future__ import annotations

import argparse
import json

import pytest

from paqa.cli.train import main, parser
from paqa.errors import PaqaError
from paqa.train.config import (
    AllConfig,
    EvalConfig,
    GrpoConfig,
    PauseConfig,
    SftConfig,
    add_flags,
    from_flags,
    remember,
)


def parsed(kind, *words):
    flags = argparse.ArgumentParser()
    add_flags(flags, kind)
    return from_flags(kind, vars(flags.parse_args(words)))


@pytest.mark.parametrize("kind", [SftConfig, GrpoConfig, EvalConfig, AllConfig])
def test_no_flags_are_the_defaults(kind):
    assert parsed(kind) == kind()


def test_flags_reach_their_fields():
    words = "--model m --mix sounds=2.5 talk=0 --pause never --pause-tokens 64 --no-projector --tokens 100"
    found = parsed(SftConfig, *words.split())
    assert (found.model, found.mix, found.projector, found.tokens) == (
        "m",
        {"sounds": 2.5, "talk": 0.0},
        False,
        100,
    )
    assert found.pause == PauseConfig(mode="never", tokens=64)
    found = parsed(GrpoConfig, "--reward-length", "0.5", "--confidence-weights", "--loss", "grpo")
    assert (found.reward.length, found.confidence_weights, found.loss) == (0.5, True, "grpo")
    assert parsed(EvalConfig, "--hearing", "audio", "silence").hearing == ("audio", "silence")
    assert parsed(EvalConfig, "--pause-runs", "2").pause == PauseConfig(mode="off", runs=2)

    found = parsed(
        AllConfig, "--model", "m", "--grpo-pause-tokens", "4", "--sft-steps", "7", "--eval-pause", "on"
    )
    assert (found.model, found.grpo.pause.tokens, found.sft.steps, found.eval.pause.mode) == ("m", 4, 7, "on")
    with pytest.raises(SystemExit):
        parsed(AllConfig, "--sft-model", "m")


def test_a_preset_gives_what_no_flag_does():
    words = ["grpo", "--preset", "hyper", "--model", "m", "--group", "4", "--pause", "never"]
    flags = {k: v for k, v in vars(parser().parse_args(words)).items() if k != "command"}
    found = from_flags(GrpoConfig, flags)
    assert (found.learning_rate, found.beta, found.loss, found.max_new) == (1e-6, 0.1, "grpo", 1024)
    assert (found.pause.tokens, found.pause.runs, found.pause.mode) == (64, 3, "never")
    assert (found.group, found.model) == (4, "m")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--group 1", ">= 2"),
        ("--temperature 0", "> 0.0"),
        ("--beta -1", ">= 0.0"),
        ("--pause-quantile 2", "<= 1.0"),
    ],
)
def test_values_out_of_range_are_refused(words, message):
    with pytest.raises(PaqaError, match=message):
        parsed(GrpoConfig, *words.split())


def test_a_run_remembers_its_config(tmp_path):
    config = GrpoConfig(model="m", mix={"a": 2.0}, steps=3)
    remember(config, tmp_path)
    remember(config, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["mix"] == {"a": 2.0}
    remember(GrpoConfig(model="m", mix={"a": 2.0}, steps=3, quiet=True, save_every=7), tmp_path)
    remember(
        GrpoConfig(model="m", mix={"a": 3.0}, steps=3), tmp_path
    )  # nothing came of it yet: what was wrong is put right
    remember(config, tmp_path)
    (tmp_path / "checkpoint-000001").mkdir()
    with pytest.raises(PaqaError, match="steps was 3 and is 4"):
        remember(GrpoConfig(model="m", mix={"a": 2.0}, steps=4), tmp_path)


def test_every_flag_has_its_help():
    for name in ("sft", "grpo", "eval", "all"):
        stage = parser()._subparsers._group_actions[0].choices[name]
        assert all(action.help for action in stage._actions)


def test_what_is_missing_is_said(capsys):
    pytest.importorskip("transformers")
    assert main(["grpo", "--model", "nowhere"]) == 2
    assert "expected --data and --out" in capsys.readouterr().err
