"""Stage II: several completions a prompt, and more of what was better than the rest of its group.

Group relative policy optimisation (Shao et al. 2024), by default without its divisions by spread and length
(Liu et al. 2025, Dr.GRPO). Strictly on-policy unless `updates` > 1. What the environment forced - PAUSE, the
end of what it gave up - is context only: it has no advantage, no divergence and no length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paqa.rationale import rewards
from paqa.train.batch_layout import Prompt, Tree
from paqa.train.config import GrpoConfig
from paqa.train.data import Ears, Row, Stream, draw, pack
from paqa.train.model import Policy
from paqa.train.pause import Bounds
from paqa.train.rollout import Rollout, rollout
from paqa.train.trainer import Trainer, Values, begin

SAME = 1e-6  # rewards that differ by less are equal
Terms = dict[str, float]
Judge = Callable[
    [Row, str, int], Terms
]  # a row, a completion and its length in tokens; `reward` is what counts


@dataclass(frozen=True, eq=False)
class Part:
    """A group to learn from: its tree, and a factor, a norm and the recorded log-probabilities of its tokens
    `[T]`.
    """

    tree: Tree
    stripped: Tree
    advantage: Tensor
    norm: Tensor
    recorded: Tensor


def train(config: GrpoConfig, judge: Judge | None = None) -> Values:
    """Run or go on with a run; returns what the last validation measured. The models are in out/best and
    out/last.
    """
    ranks, policy, ears, learnt, held = begin(config)
    stream = Stream(learnt, config.seed, config.mix, [1] * len(learnt), config.prompts)
    total = config.steps or max(1, stream.total(config.epochs) // ranks.world)
    trainer = Trainer(policy, config, total, ranks)
    policy.bounds = Bounds.of(trainer.state.bounds) if trainer.state.bounds else None
    policy.waits = config.pause
    held = held[: config.validation_rows]
    told = judge or judged(config)

    def step(n: int) -> Values:
        epoch, mine = stream.at(n * ranks.world + ranks.rank)
        return reinforce(trainer, config, ears, mine, n, told) | {"epoch": epoch}

    def validate() -> Values:
        return validation(policy, ears, held, config, bounds_of(trainer, config), told)

    return trainer.run(step, validate, "reward")


def judged(config: GrpoConfig) -> Judge:
    """The rewards of `paqa.rationale.rewards`, each term by name."""

    def judge(row: Row, text: str, tokens: int) -> Terms:
        i = row.item
        told = (i.answer, i.evidence, tokens, i.question)
        return rewards.terms(text, i.choices, i.answer_index, i.scene, config.reward, *told)

    return judge


def bounds_of(trainer: Trainer, config: GrpoConfig) -> Bounds:
    """The bounds of confidence as they stand."""
    kept = trainer.state.bounds
    return Bounds.of(kept) if kept else Bounds.first(config.pause)


def reinforce(
    trainer: Trainer, config: GrpoConfig, ears: Ears, rows: Sequence[Row], n: int, judge: Judge
) -> Values:
    """Step n: completions of these rows, their rewards, and the updates that follow from them."""
    policy, bounds, group = trainer.policy, bounds_of(trainer, config), config.group
    with trainer.timed("data"):
        prompts = [policy.prompt(row.asked, ears.sound(row)) for row in rows]
    seeds = [int(draw(config.seed, n, row.item.id, g) * 2**53) for row in rows for g in range(group)]
    with trainer.timed("rollout"):
        most, heat, pause = config.max_new, config.temperature, config.pause
        done = rollout(policy, prompts, group, seeds, most, heat, pause, bounds, config.compile)
    with trainer.timed("reward"):
        told = score(done, rows, policy, judge)
    reward = torch.tensor([t["reward"] for t in told]).view(len(rows), group)
    weight = weights(done, reward.shape, config, bounds)
    advantage, differs = advantages(reward, config.loss)
    parts = [
        part(done, prompts, b, advantage * weight, config, group)
        for b in range(len(rows))
        if differs[b] and bool((weight[b] > 0).any())
    ]
    sizes = trainer.ranks.total({"rows": reward.numel(), "parts": len(parts)}, policy.device)
    values: Values = {}
    for _ in range(config.updates if sizes["parts"] else 0):
        values = learn(trainer, config, parts, sizes["rows"])
    policy.bounds = bounds.after(trainer.ranks.gathered(done.confidence), config.pause)
    trainer.state.bounds = policy.bounds.plain()
    return values | measured(trainer, done, told, differs, weight, bounds)


def score(done: Rollout, rows: Sequence[Row], policy: Policy, judge: Judge) -> list[Terms]:
    """The terms of every completion's reward, in order of the rollout's rows."""
    group = len(done.ids) // len(rows)
    lengths = done.lengths.tolist()
    return [judge(rows[i // group], text, lengths[i]) for i, text in enumerate(done.texts(policy))]


def advantages(reward: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """How much better than its group `[B, G]`, and which groups `[B]` differ at all."""
    centred = reward - reward.mean(1, keepdim=True)
    differs = (reward.max(1).values - reward.min(1).values) > SAME
    return (centred / (reward.std(1, keepdim=True) + 1e-4) if loss == "grpo" else centred), differs


def weights(done: Rollout, shape: torch.Size, config: GrpoConfig, bounds: Bounds) -> Tensor:
    """The paper's weights `[B, G]`: clip(std of the group's lowest confidences), 0 at and below the bound of
    giving up.

    All ones where they are switched off, or where nobody watched the confidence (`--pause off`).
    """
    if not config.confidence_weights or config.pause.mode == "off":
        return torch.ones(shape)
    low = done.lowest.cpu().view(shape)
    spread = low.std(1, keepdim=True).clamp(config.weight_low, config.weight_high)
    return torch.where((low <= bounds.used(config.pause).abort) | done.aborted.cpu().view(shape), 0.0, spread)


def part(
    done: Rollout, prompts: Sequence[Prompt], b: int, factor: Tensor, config: GrpoConfig, group: int
) -> Part:
    """Group b as something to learn from; `factor` `[B, G]` is its advantages times its weights."""
    (tree,), (stripped,) = done.trees(prompts, [b]), done.trees(prompts, [b], stripped=True)
    rows = range(b * group, (b + 1) * group)
    sizes = done.lengths[list(rows)].cpu()
    norm = (
        sizes.clamp(min=1).float() if config.loss == "grpo" else torch.full((group,), float(config.max_new))
    )
    recorded = torch.cat([done.logp[i][done.sampled[i]] for i in rows]).cpu()
    return Part(tree, stripped, factor[b].repeat_interleave(sizes), norm.repeat_interleave(sizes), recorded)


def learn(trainer: Trainer, config: GrpoConfig, parts: Sequence[Part], rows: float) -> Values:
    """One update on groups; `rows` counts the completions of all processes, dropped groups included."""
    policy, ranks = trainer.policy, trainer.ranks
    sizes = [p.tree.length for p in parts]
    packs = (
        pack(range(len(parts)), sizes, max(config.tokens, *sizes)) if len(sizes) > 1 else [[0]] * len(sizes)
    )
    sums = dict.fromkeys(("loss", "divergence", "entropy", "gap", "clipped", "learnt", "tokens"), 0.0)
    policy.train()
    for chosen in packs:
        mine = [parts[i] for i in chosen]
        with trainer.timed("forward"):
            loss, found = objective(policy, mine, config, rows)
        with trainer.timed("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        for name, value in found.items():
            sums[name] += value
    policy.eval()
    with trainer.timed("optimizer"):
        norm = trainer.update()
    values = ranks.total(sums, policy.device)
    for name in ("divergence", "entropy", "gap", "clipped"):
        values[name] /= max(1.0, values["learnt"])
    return values | {"gradient": norm}


def objective(
    policy: Policy, parts: Sequence[Part], config: GrpoConfig, rows: float
) -> tuple[Tensor, Values]:
    """The loss of some groups, as their share of that of all `rows` completions, and sums over their
    tokens.
    """
    logp, entropy = policy.score([p.tree for p in parts], config.temperature)
    advantage, norm, recorded = (
        torch.cat([getattr(p, name) for p in parts]).to(logp.device)
        for name in ("advantage", "norm", "recorded")
    )
    old = recorded if config.updates > 1 else logp.detach()
    ratio = (logp - old).exp()
    bounded = ratio.clamp(1 - config.clip_ratio, 1 + config.clip_ratio)
    each = -torch.minimum(ratio * advantage, bounded * advantage)
    divergence = torch.zeros_like(logp)
    if config.beta:
        with policy.reference():
            known, _ = policy.score([p.stripped for p in parts], config.temperature)
        divergence = (known - logp).exp() - (known - logp) - 1  # Schulman's k3: never negative, unbiased
    loss = ((each + config.beta * divergence) / norm).sum() / rows
    with torch.no_grad():
        found = {
            "loss": loss,
            "divergence": divergence.sum(),
            "entropy": entropy.sum(),
            "gap": (logp - recorded).abs().sum(),
            "clipped": (ratio != bounded).sum(),
        }
    told = {name: float(value.detach()) for name, value in found.items()}
    return loss, told | {"learnt": float(len(logp)), "tokens": float(sum(p.tree.length for p in parts))}


def measured(
    trainer: Trainer, done: Rollout, told: Sequence[Terms], differs: Tensor, weight: Tensor, bounds: Bounds
) -> Values:
    """What the rollout was like, over all processes."""
    n = len(told)
    sums: Values = {name: sum(t[name] for t in told) for name in told[0]}
    flags = {"length": done.lengths, "cut": done.cut, "aborted": done.aborted, "pauses": done.pauses}
    sums |= {name: float(x.sum()) for name, x in flags.items()}
    sums |= {"weight": float(weight.sum()), "lowest": float(done.lowest.nan_to_num().sum()), "rows": n}
    sums |= {"dropped": float((~differs).sum()), "groups": float(len(differs))}
    values = trainer.ranks.total(sums, trainer.policy.device)
    rows, groups, dropped = values.pop("rows"), values.pop("groups"), values.pop("dropped")
    means = {name: value / rows for name, value in values.items()}
    means |= {f"seconds/{k}": v for k, v in done.seconds.items()}
    means |= {"completion_tokens": values["length"], "dropped": dropped / groups}
    known = {"tau_pause": bounds.pause, "tau_abort": bounds.abort}
    return means | {k: v for k, v in known.items() if abs(v) != float("inf")}


def validation(
    policy: Policy, ears: Ears, rows: Sequence[Row], config: GrpoConfig, bounds: Bounds, judge: Judge
) -> Values:
    """The mean terms of the reward of the likeliest completions, with PAUSE as in training."""
    told: list[Terms] = []
    for start in range(0, len(rows), config.prompts):
        part = rows[start : start + config.prompts]
        prompts = [policy.prompt(row.asked, ears.sound(row)) for row in part]
        most, seeds = config.max_new, [0] * len(part)
        done = rollout(policy, prompts, 1, seeds, most, 0.0, config.pause, bounds, config.compile)
        told += score(done, part, policy, judge)
    return {name: sum(t[name] for t in told) / len(told) for name in told[0]} if told else {}
