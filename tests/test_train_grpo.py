"""GRPO raises what is rewarded, learns from sampled tokens alone, and resumes to the bit."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import pytest
import train_tiny as tiny
from closeness import steps

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from test_train_model import random_trees  # noqa: E402

from paqa.train import grpo, model, trainer  # noqa: E402
from paqa.train.config import OFF, GrpoConfig, PauseConfig  # noqa: E402
from paqa.train.pause_tokens import UNBOUND, Bounds  # noqa: E402
from paqa.train.rollout import Sampling, rollout  # noqa: E402

PAUSE = PauseConfig(
    tokens=2, runs=2, window=4, top=8, warmup=3, cooldown=4, quantile=0.4, abort_quantile=0.02
)
CLOSE = 150  # steps; seen: 12 of gradients
GROUP = 4


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grpo")
    tiny.folder(folder / "base", head=2.0)
    tiny.build(
        folder / "build",
        [
            tiny.item(label, split, n)
            for label in tiny.HEARD
            for n, split in enumerate(("train", "validation"))
        ],
    )
    return folder


def config(there, out, **changes) -> GrpoConfig:
    plain = GrpoConfig(
        model=str(there / "base"), data=str(there / "build"), out=str(out), device="cpu", quiet=True, rank=8,
        alpha=16,
        steps=4, warmup=1, learning_rate=1e-2, prompts=2, group=GROUP, max_new=16, tokens=4000,
        validate_every=2,
        save_every=2, validation_rows=2, pause=PAUSE,
    )  # fmt: skip
    return replace(plain, **changes)


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("loss", ["dr_grpo", "grpo"])
def test_it_raises_what_is_rewarded(there, tmp_path, loss):
    run = config(
        there, tmp_path, steps=40, loss=loss, learning_rate=5e-3, group=8, validate_every=0, pause=OFF
    )
    grpo.train(run, tiny.early)
    told = [m["reward"] for m in metrics(tmp_path)]
    assert sum(told[:3]) / 3 < 0.6
    assert sum(told[-3:]) / 3 > 0.9
    assert all(m["gap"] < 1e-4 for m in metrics(tmp_path))  # what is learnt from is what was sampled


def test_it_resumes_to_the_bit_with_its_bounds(there, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    grpo.train(config(there, whole), tiny.early)
    with pytest.MonkeyPatch.context() as patch:
        plain = trainer.Trainer.update

        def killed(self):
            if self.state.step == 3:
                raise KeyboardInterrupt
            return plain(self)

        patch.setattr(trainer.Trainer, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            grpo.train(config(there, parts), tiny.early)
    grpo.train(config(there, parts), tiny.early)
    one, other = (load_file(d / "checkpoint-000004" / "trained.safetensors") for d in (whole, parts))
    assert all(torch.equal(one[k], other[k]) for k in one)
    told = metrics(whole)
    assert "tau_pause" not in told[0]  # the first rollout calibrates
    assert told[1]["tau_pause"] > 0
    assert sum(m["pauses"] for m in told) > 0
    state = json.loads((parts / "checkpoint-000004" / "state.json").read_text())
    assert state["bounds"] == json.loads((whole / "checkpoint-000004" / "state.json").read_text())["bounds"]
    assert state["bounds"][0] > 0
    grpo.train(config(there, whole), tiny.early)  # nothing is left to do, and nothing is lost by asking
    assert json.loads((whole / "last" / "paqa.json").read_text())["bounds"] == state["bounds"]


def test_state_is_json_for_everybody(there, tmp_path):
    """JSON knows no infinity: a bound that is not there yet is null."""
    grpo.train(
        config(there, tmp_path, steps=1, save_every=1, pause=replace(PAUSE, abort_quantile=0.0)), tiny.early
    )

    def refuse(word):
        raise AssertionError(word)

    for name in ("checkpoint-000001/state.json", "last/paqa.json", "config.json"):
        told = json.loads((tmp_path / name).read_text(), parse_constant=refuse)
        assert told.get("bounds", [0, None])[1] is None


def groups(policy, pause=PAUSE, bounds=None, config=None, reward=None):
    """Two prompts' groups out of a rollout with pauses, ready to be learnt from."""
    prompts = tiny.asked(policy, 1.6, 0.7)
    if bounds is None:
        seen = rollout(
            policy, prompts, GROUP, range(8), Sampling(16, pause=PauseConfig(mode="never", window=4, top=8))
        ).confidence
        bounds = Bounds(float(seen[~seen.isnan()].median()))
    done = rollout(policy, prompts, GROUP, range(8), Sampling(16, pause=pause, bounds=bounds))
    told = torch.linspace(0, 1, 8).view(2, GROUP) if reward is None else reward
    factor = grpo.advantages(told, config.loss)[0]
    return done, [grpo.learning_group(done, prompts, b, factor, config, GROUP) for b in range(2)]


@pytest.fixture
def lora():
    policy = tiny.policy(head=2.0)
    torch.manual_seed(1)
    policy.train_lora(4, 8, projector=True, checkpointing=False)
    return policy


def gradients(policy, parts, config, rows=8):
    policy.zero_grad()
    loss, told = grpo.objective(policy, parts, config, rows)
    loss.backward()
    return {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}, told


@pytest.mark.parametrize("updates", [1, 2])
def test_the_gradient_is_that_of_sampled_tokens_alone(lora, updates):
    """By hand: sum of advantage times log-probability over sampled tokens, over a constant."""
    settings = GrpoConfig(group=GROUP, max_new=16, updates=updates)
    done, parts = groups(lora, config=settings)
    assert done.pauses.any()
    found, told = gradients(lora, parts, settings)
    assert told["gap"] / told["learnt"] < 1e-4
    lora.zero_grad()
    logp, _ = lora.score([p.tree for p in parts])
    reward = torch.linspace(0, 1, 8).view(2, GROUP)
    advantage = (reward - reward.mean(1, keepdim=True)).flatten()
    by_hand = -(logp * torch.cat([advantage[i].expand(int(done.lengths[i])) for i in range(8)])).sum() / (
        8 * 16
    )
    by_hand.backward()
    for name, p in lora.named_parameters():
        assert (p.grad is not None) == (name in found), name
        if name in found:
            assert steps(found[name], p.grad) < CLOSE, name
    assert found["pause"].abs().max() > 0
    assert set(found) == set(lora.trained())


def test_forced_tokens_and_dropped_groups_have_no_gradient(lora):
    settings = GrpoConfig(group=GROUP, max_new=16)
    zero = groups(lora, config=settings, reward=torch.ones(2, GROUP))[1]
    assert all(g.abs().max() == 0 for g in gradients(lora, zero, settings)[0].values())
    full = copy.deepcopy(lora)
    full.requires_grad_(True)
    _, parts = groups(full, config=settings)
    grpo.objective(full, parts, settings, 8)[0].backward()
    head = next(p for n, p in full.named_parameters() if n.endswith("lm_head.weight"))
    assert head.grad[full.pause_id].abs().max() == 0
    assert head.grad.abs().max() > 0
    assert all(p.grad is None for n, p in full.named_parameters() if "audio_tower" in n)
    half = torch.cat([torch.linspace(0, 1, GROUP), torch.ones(GROUP)]).view(2, GROUP)
    _, parts = groups(lora, config=settings, reward=half)
    both, one = gradients(lora, parts, settings)[0], gradients(lora, parts[:1], settings)[0]
    for name in both:  # dropping what does not differ saves work and changes nothing
        assert steps(both[name], one[name]) < CLOSE, name


def test_the_divergence_is_from_the_model_before(lora):
    settings = GrpoConfig(group=GROUP, max_new=16, beta=0.1)
    done, parts = groups(lora, pause=OFF, bounds=UNBOUND, config=settings)
    _, told = gradients(lora, parts, settings)
    assert told["divergence"] == 0.0
    with torch.no_grad():
        for p in lora.trained().values():
            p.add_(0.05 * torch.randn_like(p))
    _, told = gradients(lora, parts, settings)
    base = tiny.policy(head=2.0)
    with torch.no_grad():
        now, known = (p.score([q.stripped for q in parts])[0] for p in (lora, base))
    expected = ((known - now).exp() - (known - now) - 1).sum()
    assert told["divergence"] == pytest.approx(float(expected), rel=1e-3)
    assert told["divergence"] > 0
    for group, tree in zip(parts, done.trees([p.tree.prompt for p in parts], range(2)), strict=True):
        for ids, learn, bare in zip(tree.completions, tree.learn, group.stripped.completions, strict=True):
            assert torch.equal(ids[learn], bare)


def test_a_step_on_the_same_completions_lowers_the_loss(lora):
    settings = GrpoConfig(group=GROUP, max_new=16, updates=2)
    _, parts = groups(lora, config=settings)
    optimizer = torch.optim.SGD(lora.trained().values(), lr=0.1)
    loss, _ = grpo.objective(lora, parts, settings, 8)
    loss.backward()
    optimizer.step()
    assert float(grpo.objective(lora, parts, settings, 8)[0].detach()) < float(loss.detach())


def test_advantages():
    reward = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.3, 0.3, 0.3, 0.3]])
    plain, differs = grpo.advantages(reward, "dr_grpo")
    assert plain.tolist() == [[0.5, -0.5, -0.5, 0.5], [0.0] * 4]
    assert differs.tolist() == [True, False]
    scaled, _ = grpo.advantages(10 * reward, "grpo")
    torch.testing.assert_close(scaled[0], grpo.advantages(reward, "grpo")[0][0], atol=1e-2, rtol=1e-2)


def test_weights_are_the_papers(lora):
    settings = GrpoConfig(group=GROUP, max_new=16, pause=PAUSE, confidence_weights=True)
    done, _ = groups(lora, config=settings)
    low = done.lowest.view(2, GROUP)
    shape = torch.Size((2, GROUP))
    found = grpo.weights(done, shape, settings, Bounds(99.0, -math.inf))
    assert steps(found, low.std(1, keepdim=True).clamp(0.1, 1.0).expand(shape)) < CLOSE
    bound = float(low.flatten().sort().values[2])
    found = grpo.weights(done, shape, settings, Bounds(99.0, bound))
    assert torch.equal(found == 0, low <= bound)
    for off in (replace(settings, confidence_weights=False), replace(settings, pause=OFF), GrpoConfig()):
        assert grpo.weights(done, shape, off, Bounds(99.0, bound)).eq(1).all()


def test_what_was_given_up_has_no_weight(lora):
    settings = GrpoConfig(group=GROUP, max_new=16, pause=PAUSE, confidence_weights=True)
    done, parts = groups(lora, bounds=Bounds(99.0, 98.0), config=settings)
    assert done.aborted.all()
    assert grpo.weights(done, torch.Size((2, GROUP)), settings, Bounds(99.0, 98.0)).eq(0).all()
    assert all(not learn[-1] for p in parts for learn in p.tree.learn)


def test_groups_without_difference_are_dropped_and_counted(there, tmp_path):
    before = model.load(str(there / "base"), "cpu")
    grpo.train(config(there, tmp_path, steps=2, validate_every=0), lambda *_: {"reward": 1.0})
    assert all(m["dropped"] == 1.0 and "gradient" not in m for m in metrics(tmp_path))
    after = model.load(str(tmp_path / "last"), "cpu")
    trees = random_trees(before)
    assert torch.equal(after.score(trees)[0], before.score(trees)[0])


def test_groups_without_difference_are_kept_for_their_divergence(there, tmp_path):
    """Their rewards teach nothing, but what they diverged by in the first step is taken back."""
    for beta in (0.0, 0.1):
        calls = []

        def early_in_the_first_step(row, text, tokens, calls=calls):
            calls.append(text)
            return tiny.early(row, text, tokens) if len(calls) <= 2 * GROUP else {"reward": 1.0}

        out = tmp_path / str(beta)
        run = config(there, out, steps=2, validate_every=0, beta=beta, pause=OFF)
        grpo.train(run, early_in_the_first_step)
        second = metrics(out)[1]
        assert second["dropped"] == (0.0 if beta else 1.0)
        assert (second.get("divergence", 0.0) > 0) == (second.get("gradient", 0.0) > 0) == bool(beta)


def test_real_rewards_go_in_by_name(there, tmp_path):
    done = grpo.train(config(there, tmp_path, steps=1))
    assert done.keys() == {"accuracy", "format", "perception", "alignment", "length", "reward", "rows"}
    (told,) = metrics(tmp_path)
    assert 0 <= told["format"] <= 1
    assert told["length"] >= 1


def test_bfloat16_learns_from_what_it_sampled():
    """The base in bfloat16, what is trained in float32: scores stay near the rollout's, gradients are
    finite.
    """
    policy = tiny.policy(head=2.0)
    policy.net.to(torch.bfloat16)
    policy.train_lora(4, 8, projector=True, checkpointing=False)
    assert {p.dtype for p in policy.trained().values()} == {torch.float32}
    assert policy.net.dtype == torch.bfloat16
    settings = GrpoConfig(group=GROUP, max_new=16, beta=0.1)
    done, parts = groups(policy, config=settings)
    found, told = gradients(policy, parts, settings)
    assert done.pauses.any()
    assert told["gap"] / told["learnt"] < 0.05
    assert found.keys() == policy.trained().keys()
    assert all(g.isfinite().all() and g.dtype == torch.float32 for g in found.values())
