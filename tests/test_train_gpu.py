"""Training on a CUDA device: what a CPU says and learns is said and learnt there. Skipped where there is
none.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")

from paqa.train import grpo, sft, trainer  # noqa: E402
from paqa.train.config import OFF, GrpoConfig, PauseConfig, SftConfig  # noqa: E402
from paqa.train.pause_tokens import UNBOUND, Bounds  # noqa: E402
from paqa.train.rollout import Sampling, rollout  # noqa: E402

pytestmark = pytest.mark.gpu
PAUSE = PauseConfig(tokens=3, runs=2, window=4, top=8, warmup=3, cooldown=5)
GROUP, NEW = 4, 30


@pytest.fixture(scope="module")
def device():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return "cuda"


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    tiny.folder(folder / "base", head=2.0)
    tiny.build(folder / "build", [tiny.item(label, "train", n) for label in tiny.HEARD for n in range(2)])
    return folder


def at(device: str, dtype=torch.float32):
    """The same policy anywhere, with LoRA that does something."""
    policy = tiny.policy(head=2.0)
    policy.net.to(dtype)
    torch.manual_seed(1)
    policy.train_lora(4, 8, projector=True, checkpointing=False)
    with torch.no_grad():
        for p in policy.trained().values():
            p.add_(0.02 * torch.randn_like(p))
    return policy.to(device).eval()


def write(policy, prompts, pause=OFF, bounds=UNBOUND, **options):
    return rollout(
        policy,
        prompts,
        GROUP,
        range(len(prompts) * GROUP),
        Sampling(NEW, pause=pause, bounds=bounds, **options),
    )


def halfway(policy, prompts) -> Bounds:
    """Bounds that about half of all windows lie below."""
    seen = write(policy, prompts, replace(PAUSE, mode="never")).confidence
    return Bounds(float(seen[~seen.isnan()].median()))


def test_it_says_what_a_cpu_says(device):
    cpu, gpu = at("cpu"), at(device)
    for policy in (cpu, gpu):
        policy.prompts = tiny.asked(policy, 1.6, 0.7)
    for one, other in zip(cpu.prompts, gpu.prompts, strict=True):
        torch.testing.assert_close(other.sound.cpu(), one.sound, atol=1e-3, rtol=1e-3)
    bounds = halfway(cpu, cpu.prompts)
    said = [write(p, p.prompts, PAUSE, bounds, temperature=0.0) for p in (cpu, gpu)]
    assert said[0].pauses.any()
    assert said[1].texts(gpu) == said[0].texts(cpu)
    torch.testing.assert_close(said[1].logp.cpu(), said[0].logp, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-3), (torch.bfloat16, 0.05)])
def test_what_is_learnt_from_is_what_was_sampled(device, dtype, most, compile):
    """The mean gap between recorded and replayed log-probabilities, with pauses."""
    policy = at(device, dtype)
    prompts = tiny.asked(policy, 1.6, 0.7)
    done = write(policy, prompts, PAUSE, halfway(policy, prompts), compile=compile)
    assert done.pauses.any()
    again, _ = policy.score(done.trees(prompts, range(2)))
    assert (again - done.logp[done.sampled]).abs().mean() < most


def test_it_learns_what_a_cpu_learns(device):
    """Gradients of the same completions with pauses."""
    cpu, gpu = at("cpu"), at(device)
    prompts = [tiny.asked(policy, 1.6, 0.7) for policy in (cpu, gpu)]
    settings = GrpoConfig(group=GROUP, max_new=NEW)
    done = write(cpu, prompts[0], PAUSE, halfway(cpu, prompts[0]))
    assert done.pauses.any()
    factor = grpo.advantages(torch.linspace(0, 1, 2 * GROUP).view(2, GROUP), settings.loss)[0]
    for policy, asked in zip((cpu, gpu), prompts, strict=True):
        parts = [grpo.learning_group(done, asked, b, factor, settings, GROUP) for b in range(2)]
        grpo.objective(policy, parts, settings, 2 * GROUP)[0].backward()
    for name, p in cpu.trained().items():
        other = gpu.trained()[name].grad.cpu()
        assert p.grad.norm() > 0
        assert (p.grad - other).norm() < 0.01 * p.grad.norm(), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_stages_run_and_go_on(device, there, tmp_path, dtype, monkeypatch):
    same = {
        "data": str(there / "build"),
        "device": device,
        "dtype": dtype,
        "quiet": True,
        "rank": 8,
        "alpha": 16,
    }
    same |= {"validation": 0.0, "warmup": 1, "tensorboard": False, "save_every": 4, "pause": PAUSE}
    learnt = SftConfig(
        model=str(there / "base"),
        out=str(tmp_path / "sft"),
        learning_rate=1e-2,
        steps=20,
        tokens=2000,
        batch=1,
        **same,
    )
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_log", stopped_at(10))
        with pytest.raises(KeyboardInterrupt):
            sft.train(learnt)
    assert [p.name for p in trainer.checkpoints(tmp_path / "sft")] == [
        "checkpoint-000004",
        "checkpoint-000008",
    ]
    sft.train(learnt)
    told = [json.loads(line) for line in (tmp_path / "sft" / "metrics.jsonl").read_text().splitlines()]
    assert [m["step"] for m in told] == list(range(1, 21))
    assert told[-1]["loss"] < 0.7 * told[0]["loss"]
    reinforced = GrpoConfig(
        model=str(there / "base"), out=str(tmp_path / "grpo"), learning_rate=1e-3, steps=4, prompts=2,
        group=GROUP,
        max_new=16, tokens=4000, **same,
    )  # fmt: skip
    grpo.train(reinforced, tiny.early)
    told = [json.loads(line) for line in (tmp_path / "grpo" / "metrics.jsonl").read_text().splitlines()]
    assert all(m["gap"] < (1e-3 if dtype == "float32" else 0.05) for m in told)


def stopped_at(step: int):
    """The trainer's `_log`, interrupted at a step."""
    plain = trainer.Trainer._log

    def log(self, values):
        if self.state.step == step:
            raise KeyboardInterrupt
        plain(self, values)

    return log
