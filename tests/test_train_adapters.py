"""One adapter goes through both stages, unmerged: no update is lost in the base's type, the base stays as it
was.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")

from closeness import steps  # noqa: E402
from test_train_model import random_trees  # noqa: E402

from paqa.errors import PaqaError  # noqa: E402
from paqa.train import model  # noqa: E402

CLOSE = 150  # steps; seen: 0


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(tiny.folder(tmp_path_factory.mktemp("adapters") / "base", head=2.0))


def moved(policy, size: float):
    """The policy with what is trained moved at random, as far as `size`."""
    with torch.no_grad():
        for p in policy.trained().values():
            p.add_(size * torch.randn_like(p))
    return policy.eval()


def stage(source: str, projector=True, dtype="float32"):
    policy = model.load(source, "cpu", dtype)
    policy.train_lora(4, 8, projector=projector, checkpointing=False)
    return policy


def test_a_small_update_survives_saving_in_bfloat16(base, tmp_path):
    """LoRA moved against a gradient by less than the base's weights can hold; scored in float32, so that the
    noise of a forward pass in bfloat16 hides nothing.
    """
    policy = stage(base, projector=False, dtype="bfloat16")
    trees = random_trees(policy, pauses=False)
    before = policy.float().score(trees)[0]
    (-before.mean()).backward()
    with torch.no_grad():
        for name, p in policy.trained().items():
            if "lora_B" in name:
                p.sub_(2e-5 * p.grad.sign())
    policy.eval().save(tmp_path)
    after = policy.score(trees)[0]
    gain = float((after - before).mean().detach())
    again = model.load(str(tmp_path), "cpu", "bfloat16")
    types = {"lora_" in name: p.dtype for name, p in again.net.named_parameters()}
    left = float((again.float().score(trees)[0] - before).mean().detach())
    assert left == pytest.approx(gain, rel=1e-3)
    assert types == {True: torch.float32, False: torch.bfloat16}


def test_a_saved_model_scores_as_before_in_bfloat16(base, tmp_path):
    policy = moved(stage(base, dtype="bfloat16"), 0.01)
    policy.save(tmp_path)
    trees = random_trees(policy)
    again = model.load(str(tmp_path), "cpu", "bfloat16")
    assert torch.equal(again.score(trees)[0], policy.score(trees)[0])


def test_the_next_stage_trains_the_same_adapter_and_its_reference_is_the_stage_before(base, tmp_path):
    first = moved(stage(base), 0.05)
    first.save(tmp_path / "first")
    trees = random_trees(first, pauses=False)
    start = first.score(trees)[0].detach()
    second = stage(str(tmp_path / "first"))
    assert second.trained().keys() == first.trained().keys()
    assert steps(second.score(trees)[0], start) < CLOSE
    trainable = second.trained().keys()
    moved(second, 0.05)
    now = second.score(trees)[0]
    with second.reference():
        assert steps(second.score(trees)[0], start) < CLOSE
    assert second.trained().keys() == trainable
    assert torch.equal(second.score(trees)[0], now)
    assert not torch.allclose(now, start, atol=1e-2)
    now.sum().backward()
    assert all(p.grad is not None for n, p in second.trained().items() if n != "pause")
    assert all(p.grad is None for n, p in second.named_parameters() if n not in trainable)
    second.save(tmp_path / "second")
    third = model.load(str(tmp_path / "second"), "cpu")
    assert steps(third.score(trees)[0], now) < CLOSE
    assert sorted(p.name for p in (tmp_path / "second").iterdir() if p.is_dir()) == ["adapter-0"]
    weights = model.load(base, "cpu").net.state_dict()
    kept = {n.replace(".base_layer", ""): w for n, w in third.inner.state_dict().items()}
    assert all(torch.equal(kept[n], w) for n, w in weights.items() if "multi_modal_projector" not in n)


def test_a_trained_projector_that_is_not_trained_on_stays_in_use(base, tmp_path):
    first = moved(stage(base), 0.05)
    first.save(tmp_path)
    trees = random_trees(first)
    second = stage(str(tmp_path), projector=False)
    assert not any("projector" in name for name in second.trained())
    assert steps(second.score(trees)[0], first.score(trees)[0]) < CLOSE


@pytest.mark.parametrize("change", [{"rank": 8}, {"alpha": 4}, {"projector": True}])
def test_an_adapter_goes_on_as_it_was_made(base, tmp_path, change):
    moved(stage(base, projector=False), 0.05).save(tmp_path)
    policy = model.load(str(tmp_path), "cpu")
    asked = {"rank": 4, "alpha": 8, "projector": False} | change
    with pytest.raises(PaqaError, match="--rank 4 --alpha 8 --no-projector"):
        policy.train_lora(**asked, checkpointing=False)


def test_stages_of_one_run_that_differ_end_before_the_first(base, tmp_path):
    pytest.importorskip("prefect")
    from flows.train import train
    from paqa.train.config import AllConfig

    config = AllConfig(model=base, data=str(tmp_path), out=str(tmp_path / "out"))
    with pytest.raises(PaqaError, match="--grpo-rank"):
        train.fn(replace(config, grpo=replace(config.grpo, rank=8)))


def test_several_adapters_in_a_row_are_refused(base, tmp_path):
    moved(stage(base), 0.05).save(tmp_path)
    about = json.loads((tmp_path / "paqa.json").read_text())
    (tmp_path / "paqa.json").write_text(json.dumps(about | {"adapters": ["adapter-0", "adapter-1"]}))
    with pytest.raises(PaqaError, match=r"2 adapters.*train it again"):
        model.load(str(tmp_path), "cpu")


def test_an_adapter_without_some_of_its_weights_is_refused(base, tmp_path):
    from safetensors.torch import load_file, save_file

    moved(stage(base), 0.05).save(tmp_path)
    path = tmp_path / "adapter-0" / "adapter_model.safetensors"
    stored = load_file(path)
    stored.pop(next(iter(stored)))
    save_file(stored, path)
    with pytest.raises(PaqaError, match="not a whole trained model"):
        model.load(str(tmp_path), "cpu")
