"""How long completions may be follows from the rationales that are trained on, and is written down."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")

from paqa.errors import PaqaError  # noqa: E402
from paqa.rationale import rewards  # noqa: E402
from paqa.rationale.rewards import RewardWeights  # noqa: E402
from paqa.train import evaluate, grpo, length_limits, model, sft  # noqa: E402
from paqa.train.config import OFF, EvalConfig, GrpoConfig, SftConfig  # noqa: E402
from paqa.train.data import Rows  # noqa: E402
from paqa.train.ranks import Ranks  # noqa: E402


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A base and a build whose test rows have longer rationales than those to train on."""
    folder = tmp_path_factory.mktemp("lengths")
    tiny.folder(folder / "base", head=2.0)
    items = [tiny.item(label, split) for label in tiny.HEARD for split in ("train", "validation")]
    last = tiny.item("Rain", "test")
    longer = last.rationale.replace("<SUMMARY>", "<SUMMARY>" + "It rains. " * 40)
    tiny.build(folder / "build", [*items, replace(last, rationale=longer)])
    return folder


@pytest.fixture(scope="module")
def longest(there):
    """Tokens of the longest rationale to train on."""
    policy = model.load(str(there / "base"), "cpu")
    return max(length_limits.rationale_lengths(policy, Rows(there / "build").split("train")))


def config(kind, there, out, **changes):
    plain = kind(
        model=str(there / "base"), data=str(there / "build"), out=str(out), device="cpu", quiet=True, rank=4,
        alpha=8, steps=1, warmup=1, tokens=4000, validation_rows=1, pause=OFF,
    )  # fmt: skip
    return replace(plain, **changes)


def recorded(path):
    return json.loads(path.read_text())


def test_limits_follow_from_lengths():
    limits = length_limits.derived(GrpoConfig(), [551, 892, 300])
    assert (limits.max_new, limits.reward) == (1115, RewardWeights(full_length=892, no_length=1784))
    assert length_limits.derived(SftConfig(), [9]).max_new == 12  # 11.25, rounded up
    given = GrpoConfig(max_new=7, reward=RewardWeights(full_length=5))
    limits = length_limits.derived(given, [100])
    assert (limits.max_new, limits.reward) == (7, RewardWeights(full_length=5, no_length=10))


def test_every_rationale_to_train_on_fits_and_earns_all_for_its_length(there):
    policy = model.load(str(there / "base"), "cpu")
    rows = Rows(there / "build").split("train")
    limits = length_limits.with_limits(config(GrpoConfig, there, there), policy, rows, Ranks())
    for row, tokens in zip(rows, length_limits.rationale_lengths(policy, rows), strict=True):
        reference = rewards.Reference.of(row.item)
        assert rewards.terms(row.item.rationale, reference, limits.reward, tokens)["length"] == 1.0
        assert tokens < limits.max_new


def test_a_run_records_its_limits_and_goes_on_with_them(there, longest, tmp_path, capsys):
    run = config(SftConfig, there, tmp_path, answer_rows=1, quiet=False)
    sft.train(run)
    room = -(-longest * 5 // 4)
    assert f"completions have at most {room} tokens" in capsys.readouterr().err
    assert recorded(tmp_path / "config.json")["max_new"] == room
    assert recorded(tmp_path / "last" / "paqa.json")["max_new"] == room
    sft.train(replace(run, quiet=True))
    with pytest.raises(PaqaError, match=f"max_new was {room} and is 9"):
        sft.train(replace(run, max_new=9))


def test_grpo_records_what_length_earns(there, longest, tmp_path):
    run = config(GrpoConfig, there, tmp_path, prompts=1, group=2, max_new=8)
    grpo.train(run)
    reward = recorded(tmp_path / "config.json")["reward"]
    assert (reward["full_length"], reward["no_length"]) == (longest, 2 * longest)
    grpo.train(run)


def test_an_evaluation_takes_the_limit_of_its_build_or_of_its_model(there, longest, tmp_path):
    policy = model.load(str(there / "base"), "cpu")
    asked = EvalConfig(data=str(there / "build"))
    assert length_limits.evaluation_limit(asked, policy) == -(-longest * 5 // 4)
    assert length_limits.evaluation_limit(replace(asked, max_new=3), policy) == 3
    benchmark = replace(asked, data="", benchmark="mmau")
    assert length_limits.evaluation_limit(benchmark, policy) == 1024
    policy.max_new = 200
    policy.save(tmp_path / "trained")
    assert length_limits.evaluation_limit(benchmark, model.load(str(tmp_path / "trained"), "cpu")) == 200


def test_an_evaluation_records_its_limit_and_can_be_repeated(there, longest, tmp_path):
    run = EvalConfig(
        model=str(there / "base"), data=str(there / "build"), out=str(tmp_path), device="cpu", quiet=True
    )
    answered = evaluate.run(run)
    assert recorded(tmp_path / "config.json")["max_new"] == -(-longest * 5 // 4)
    again = evaluate.run(run)
    assert again["audio"]["tokens"] == answered["audio"]["tokens"]
    with pytest.raises(PaqaError, match="max_new was"):
        evaluate.run(replace(run, max_new=4))
