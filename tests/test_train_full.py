"""Training in full learns by heart, is loaded as it was saved, resumes to the bit, and keeps a reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from transformers import Qwen2AudioForConditionalGeneration  # noqa: E402

from paqa.errors import PaqaError  # noqa: E402
from paqa.train import export, full_weights, grpo, model, sft, trainer  # noqa: E402
from paqa.train.batch_layout import Tree  # noqa: E402
from paqa.train.config import AllConfig, GrpoConfig, PauseConfig, SftConfig  # noqa: E402
from paqa.train.model import Policy  # noqa: E402

PAUSE = PauseConfig(tokens=2, runs=2, warmup=4, cooldown=20)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and a build: four sounds, each with rows to train on and to validate with."""
    folder = tmp_path_factory.mktemp("full")
    tiny.folder(folder / "base", head=2.0)
    splits = ("train", "validation")
    tiny.build(
        folder / "build",
        [tiny.item(label, split, n) for label in tiny.HEARD for n, split in enumerate(splits)],
    )
    return folder


def sft_config(there: Path, out: Path, **changes: Any) -> SftConfig:
    plain = SftConfig(
        model=str(there / "base"), data=str(there / "build"), out=str(out), device="cpu", quiet=True,
        train="full", batch=1, tokens=2000, steps=4, warmup=2, learning_rate=3e-3, validate_every=0,
        save_every=2, answer_rows=0, pause=PAUSE, tensorboard=False,
    )  # fmt: skip
    return replace(plain, **changes)


def grpo_config(there: Path, out: Path, **changes: Any) -> GrpoConfig:
    plain = GrpoConfig(
        model=str(there / "base"), data=str(there / "build"), out=str(out), device="cpu", quiet=True,
        train="full", steps=4, warmup=1, learning_rate=1e-3, prompts=2, group=4, max_new=16, tokens=4000,
        validate_every=0, save_every=2, validation_rows=2, pause=PAUSE, tensorboard=False, beta=0.1,
    )  # fmt: skip
    return replace(plain, **changes)


def moved(there: Path, **how: bool) -> Policy:
    """The base with all that full training changes a little elsewhere."""
    policy = model.load(str(there / "base"), "cpu", "float32")
    policy.train_full(**({"projector": True, "checkpointing": False, "reference": False} | how))
    torch.manual_seed(3)
    with torch.no_grad():
        for p in policy.trained().values():
            p.add_(1e-3 * torch.randn_like(p))
    return policy


def tree(policy: Policy) -> Tree:
    (prompt,) = tiny.asked(policy, 1.1)
    completion = policy.completion_ids("<RESPONSE>(A) a dog barking</RESPONSE>")
    return Tree(prompt, (completion,), (torch.ones(len(completion), dtype=torch.bool),))


def test_it_learns_a_handful_of_rows_by_heart(there: Path, tmp_path: Path) -> None:
    changes = {"steps": 80, "learning_rate": 5e-3, "save_every": 0, "answer_rows": 4, "pause_share": 0.0}
    done = sft.train(sft_config(there, tmp_path, **changes))
    assert done["accuracy"] == done["format"] == 1.0
    base, last = (model.load(str(folder), "cpu") for folder in (there / "base", tmp_path / "last"))
    before, after = base.net.state_dict(), last.net.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if "audio_tower" in name}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_loaded_as_it_was_saved(there: Path, tmp_path: Path, dtype: str) -> None:
    policy = moved(there)
    policy.save(tmp_path / "one")
    loaded = model.load(str(tmp_path / "one"), "cpu", dtype)
    ours, theirs = full_weights.weights(policy.net), full_weights.weights(loaded.net)
    assert ours.keys() == theirs.keys()
    assert all(theirs[name].dtype == torch.float32 and torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(policy.pause, loaded.pause)
    assert not loaded.trained().keys() - {"pause"}
    if dtype == "float32":
        assert torch.equal(policy.score([tree(policy)])[0], loaded.score([tree(loaded)])[0])
    loaded.train_full(projector=True, checkpointing=False, reference=False)
    assert loaded.trained().keys() == policy.trained().keys()
    loaded.save(tmp_path / "two")
    one, two = ((tmp_path / name / full_weights.FILE).read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_reference_is_the_model_as_the_stage_began(there: Path) -> None:
    base = model.load(str(there / "base"), "cpu", "float32")
    policy = moved(there, reference=True)
    now, before = policy.score([tree(policy)])[0], base.score([tree(base)])[0]
    with policy.reference():
        assert torch.equal(policy.score([tree(policy)])[0], before)
    assert not torch.equal(now, before)
    now.sum().backward()
    gradients = {name: p.grad.clone() for name, p in policy.trained().items() if p.grad is not None}
    policy.zero_grad()
    again = policy.score([tree(policy)])[0]
    assert torch.equal(again, now)
    again.sum().backward()
    assert gradients
    assert all(torch.equal(x, policy.get_parameter(name).grad) for name, x in gradients.items())


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_it_resumes_to_the_bit(there: Path, tmp_path: Path, stage: str) -> None:
    """Of GRPO the divergence from the model before the stage, too."""

    def train(out: Path) -> None:
        if stage == "sft":
            sft.train(sft_config(there, out))
        else:
            grpo.train(grpo_config(there, out), tiny.early)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole)
    with pytest.MonkeyPatch.context() as patch:
        plain = trainer.Trainer.update

        def killed(self: trainer.Trainer) -> float:
            if self.state.step == 2:
                raise KeyboardInterrupt
            return plain(self)

        patch.setattr(trainer.Trainer, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            train(parts)
    torch.manual_seed(999)
    train(parts)
    one, other = (load_file(out / "checkpoint-000004" / "trained.safetensors") for out in (whole, parts))
    base = model.load(str(there / "base"), "cpu")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["net.lm_head.weight"], base.net.lm_head.weight)


def test_it_goes_through_both_stages_and_out(there: Path, tmp_path: Path) -> None:
    sft.train(sft_config(there, tmp_path / "sft"))
    grpo.train(grpo_config(there, tmp_path / "grpo", model=str(tmp_path / "sft" / "last"), steps=1))
    export.export(str(tmp_path / "grpo" / "last"), tmp_path / "plain", "float32")
    policy = model.load(str(tmp_path / "grpo" / "last"), "cpu", "float32")
    plain = dict(Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "plain").named_parameters())
    for name, p in full_weights.weights(policy.net).items():
        if "embed_tokens" in name or "lm_head" in name:  # the rows of the vocabulary, PAUSE's with them
            rows = [i for i in range(min(len(p), len(plain[name]))) if i != policy.pause_id]
            assert torch.equal(plain[name][rows], p[rows])
        else:
            assert torch.equal(plain[name], p)


def test_lora_and_full_are_not_mixed(there: Path, tmp_path: Path) -> None:
    moved(there).save(tmp_path / "full")
    policy = model.load(str(tmp_path / "full"), "cpu")
    with pytest.raises(PaqaError, match="--train: found lora, but the model was trained in full"):
        policy.train_lora(4, 8, projector=True, checkpointing=False)
    policy = model.load(str(there / "base"), "cpu")
    policy.train_lora(4, 8, projector=True, checkpointing=False)
    with pytest.raises(PaqaError, match="--train: found full, but the model has an adapter"):
        policy.train_full(projector=True, checkpointing=False, reference=False)


def test_both_stages_of_one_run_train_alike() -> None:
    pytest.importorskip("prefect")
    from flows.train import train

    config = AllConfig("m", "d", "o", sft=SftConfig(train="full"))
    with pytest.raises(PaqaError, match="--grpo-train: found lora; expected full"):
        train.fn(config)


def test_weights_of_another_base_are_refused(there: Path, tmp_path: Path) -> None:
    moved(there).save(tmp_path / "full")
    file = tmp_path / "full" / full_weights.FILE
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(PaqaError, match="not a whole trained model"):
        model.load(str(tmp_path / "full"), "cpu")
    file.unlink()
    with pytest.raises(PaqaError, match="not a whole trained model"):
        model.load(str(tmp_path / "full"), "cpu")
    tiny.folder(tmp_path / "other", kind="llama", spare=20)
    about = tmp_path / "full" / model.TRAINED
    moved(there).save(tmp_path / "full")
    about.write_text(about.read_text().replace(str(there / "base"), str(tmp_path / "other")))
    with pytest.raises(PaqaError, match=r"model\.safetensors does not fit its base"):
        model.load(str(tmp_path / "full"), "cpu")


def test_without_the_projector_it_stays(there: Path) -> None:
    policy = moved(there, projector=False)
    assert not any("projector" in name for name in policy.trained())
