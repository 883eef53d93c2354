"""An exported model has a card of its runs, and goes to a Hub on loopback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import train_tiny as tiny
from fakehub import Hub, free_port
from test_push import run

torch = pytest.importorskip("torch")

from paqa.cli.train import main  # noqa: E402
from paqa.errors import PaqaError  # noqa: E402
from paqa.publish import hub, model_hub  # noqa: E402
from paqa.publish.model_card import history  # noqa: E402
from paqa.train import model  # noqa: E402
from paqa.train.config import GrpoConfig, SftConfig, remember  # noqa: E402

REPO = "paqa-lab/listener"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """SFT, then GRPO, as their runs leave them behind, and an evaluation."""
    folder = tmp_path_factory.mktemp("runs")
    tiny.folder(folder / "base", head=4.0)
    policy = model.load(str(folder / "base"), "cpu", "float32")
    policy.train_lora(4, 8, projector=True, checkpointing=False)
    data = str(folder / "builds" / "street")
    stages: dict[str, Any] = {
        "sft": SftConfig(model=str(folder / "base"), data=data, steps=7),
        "grpo": GrpoConfig(model=str(folder / "sft" / "last"), data=data, group=4),
    }
    for name, config in stages.items():
        policy.save(folder / name / "last")
        remember(config, folder / name)
    asked = folder / "eval"
    asked.mkdir()
    (asked / "config.json").write_text(json.dumps({"split": "test", "data": data, "questions": ""}))
    column = {"rows": 20.0, "accuracy": 0.45, "chance": 0.25}
    (asked / "eval.json").write_text(json.dumps({"audio": column, "silence": column | {"accuracy": 0.2}}))
    return folder


@pytest.fixture(scope="module")
def exported(runs: Path) -> Path:
    assert main(["export", str(runs / "grpo" / "last"), str(runs / "out"), "--eval", str(runs / "eval")]) == 0
    return runs / "out"


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = Hub(tmp_path / "hub", free_port()).start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    yield server
    server.stop()


def test_the_card_says_how_the_model_was_trained_and_no_path(runs, exported):
    card = (exported / "README.md").read_text()
    assert "1. SFT on street: train lora, rank 32" in card
    assert "steps 7, batch 4" in card
    assert "steps 0" not in card  # GRPO's are given by its epochs
    assert "2. GRPO on street: train lora" in card
    assert "group 4" in card
    assert "| | audio | silence |" in card
    assert "| accuracy | 0.45 | 0.2 |" in card
    assert str(runs) not in card
    assert "base_model" not in card  # a local base is no name on the Hub
    assert history(runs / "base") == (str(runs / "base"), [])


def test_a_model_away_from_its_run_says_that_stages_are_unknown(runs, tmp_path):
    (runs / "grpo" / "last").rename(tmp_path / "moved")
    try:
        assert history(tmp_path / "moved")[1] == ["stages of which no settings are left"]
    finally:
        (tmp_path / "moved").rename(runs / "grpo" / "last")


def test_a_dry_run_sends_nothing_and_a_push_sends_what_is_new(server, exported, capsys):
    assert main(["push", str(exported), REPO]) == 0
    printed = capsys.readouterr().out
    assert "would be made, private" in printed
    assert "nothing was sent; add --yes to push" in printed
    assert server.repo(REPO) is None
    assert main(["push", str(exported), REPO, "--yes"]) == 0
    repo = server.repo(REPO)
    assert repo["private"]
    names = {path.name for path in exported.iterdir()}
    assert set(repo["commits"][repo["head"]]["files"]) == names
    assert f"verified {len(names)} files" in capsys.readouterr().out
    api = hub.connect()
    (exported / "README.md").write_text((exported / "README.md").read_text() + "\nMore.\n")
    again = model_hub.plan(exported, REPO, api)
    assert [path.name for path in again.new] == ["README.md"]
    model_hub.push(again, api)
    assert not model_hub.plan(exported, REPO, api).new
    assert len(server.sent()) == 1  # the weights, once


def test_what_cannot_be_right_is_refused(server, exported, tmp_path):
    api = hub.connect()
    with pytest.raises(PaqaError, match="expected the name of a model repository"):
        model_hub.plan(exported, "listener", api)
    with pytest.raises(PaqaError, match="paqa-train export RUN"):
        model_hub.plan(tmp_path, REPO, api)
    model_hub.push(model_hub.plan(exported, REPO, api, public=True), api)
    with pytest.raises(PaqaError, match="is public"):
        model_hub.plan(exported, REPO, api)


def test_a_pushed_model_loads_by_name(server, exported):
    main(["push", str(exported), REPO, "--yes"])
    kind = "Qwen2AudioForConditionalGeneration"
    code = f"from transformers import {kind}; net = {kind}.from_pretrained({REPO!r})"
    done = run(server, f"{code}; print(net.generation_config.suppress_tokens)")
    expected = json.loads((exported / "generation_config.json").read_text())["suppress_tokens"]
    assert done.stdout.strip() == str(expected)
