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
from paqa.train.data import EncodedClips, Stream, TrainRow, draw, pack
from paqa.train.length_limits import with_limits
from paqa.train.model import Policy
from paqa.train.pause_tokens import Bounds
from paqa.train.rollout import Rollout, Sampling, rollout
from paqa.train.trainer import Trainer, Values, begin

SAME = 1e-6  # rewards that differ by less are equal
Terms = dict[str, float]
# of a row, a completion and its length in tokens; the term `reward` is what counts
RewardFunction = Callable[[TrainRow, str, int], Terms]


@dataclass(frozen=True, eq=False)
class LearningGroup:
    """A group to learn from: its tree; advantage, norm and recorded log-probability by token, shape `[T]`."""

    tree: Tree
    stripped: Tree
    advantage: Tensor
    norm: Tensor
    recorded: Tensor


def train(config: GrpoConfig, judge: RewardFunction | None = None) -> Values:
    """Start or resume a run; returns the figures of the last validation.

    The models are in out/best and out/last.
    """
    ranks, policy, clips, learnt, held = begin(config, reference=config.beta > 0)
    config = with_limits(config, policy, learnt, ranks)
    stream = Stream(learnt, config.seed, config.mix, [1] * len(learnt), config.prompts)
    total = config.steps or max(1, stream.total(config.epochs) // ranks.world)
    trainer = Trainer(policy, config, total, ranks)
    policy.bounds = Bounds.of(trainer.state.bounds) if trainer.state.bounds else None
    policy.pause_config = config.pause
    held = held[: config.validation_rows]
    reward_of = judge or reward_function(config)

    def step(n: int) -> Values:
        epoch, mine = stream.at(n * ranks.world + ranks.rank)
        return reinforce(trainer, config, clips, mine, n, reward_of) | {"epoch": epoch}

    def validate() -> Values:
        return validation(policy, clips, held, config, bounds_of(trainer, config), reward_of)

    return trainer.run(step, validate, "reward")


def reward_function(config: GrpoConfig) -> RewardFunction:
    """The rewards of `paqa.rationale.rewards`, each term by name."""

    def judge(row: TrainRow, text: str, tokens: int) -> Terms:
        return rewards.terms(text, rewards.Reference.of(row.item), config.reward, tokens)

    return judge


def bounds_of(trainer: Trainer, config: GrpoConfig) -> Bounds:
    """The bounds of confidence as they stand."""
    kept = trainer.state.bounds
    return Bounds.of(kept) if kept else Bounds.first(config.pause)


def reinforce(
    trainer: Trainer,
    config: GrpoConfig,
    clips: EncodedClips,
    rows: Sequence[TrainRow],
    n: int,
    judge: RewardFunction,
) -> Values:
    """Step n: completions of these rows, their rewards, and the updates that follow from them."""
    policy, bounds, group = trainer.policy, bounds_of(trainer, config), config.group
    with trainer.timed("data"):
        prompts = [policy.prompt(row.asked, clips.sound(row)) for row in rows]
    seeds = [int(draw(config.seed, n, row.item.id, g) * 2**53) for row in rows for g in range(group)]
    with trainer.timed("rollout"):
        sampling = Sampling(config.max_new, config.temperature, config.pause, bounds, config.compile)
        completions = rollout(policy, prompts, group, seeds, sampling)
    with trainer.timed("reward"):
        terms = score(completions, rows, policy, judge)
    reward = torch.tensor([t["reward"] for t in terms]).view(len(rows), group)
    weight = weights(completions, reward.shape, config, bounds)
    advantage, differs = advantages(reward, config.loss)
    learnable = groups_to_learn(differs, weight, config.beta)
    groups = [
        learning_group(completions, prompts, b, advantage * weight, config, group)
        for b in range(len(rows))
        if learnable[b]
    ]
    sizes = trainer.ranks.total({"rows": reward.numel(), "parts": len(groups)}, policy.device)
    values: Values = {}
    for _ in range(config.updates if sizes["parts"] else 0):
        values = learn(trainer, config, groups, sizes["rows"])
    policy.bounds = bounds.after(trainer.ranks.gathered(completions.confidence), config.pause)
    trainer.state.bounds = policy.bounds.plain()
    return values | rollout_figures(trainer, completions, terms, learnable, weight, bounds)


def score(
    completions: Rollout, rows: Sequence[TrainRow], policy: Policy, judge: RewardFunction
) -> list[Terms]:
    """The terms of every completion's reward, in order of the rollout's rows."""
    group = len(completions.ids) // len(rows)
    lengths = completions.lengths.tolist()
    return [judge(rows[i // group], text, lengths[i]) for i, text in enumerate(completions.texts(policy))]


def advantages(reward: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """Advantages over the group, shape `(B, G)`, and which groups differ, `(B,)`, of rewards `(B, G)`."""
    advantage = reward - reward.mean(1, keepdim=True)
    differs = (reward.max(1).values - reward.min(1).values) > SAME
    if loss == "grpo":
        advantage = advantage / (reward.std(1, keepdim=True) + 1e-4)
    return advantage, differs


def groups_to_learn(differs: Tensor, weight: Tensor, beta: float) -> Tensor:
    """Which groups have a gradient, bool of shape `[B]`, of weights `[B, G]`.

    With `beta` above 0 all have, if only by their divergence.
    """
    return torch.ones_like(differs) if beta else differs & (weight > 0).any(1)


def weights(completions: Rollout, shape: torch.Size, config: GrpoConfig, bounds: Bounds) -> Tensor:
    """The paper's weights of shape `[B, G]`: clip(std of the group's lowest confidences), or 0.

    0 is for confidences at and below the abort bound.

    All ones where they are switched off, or where nobody watched the confidence (`--pause off`).
    """
    if not config.confidence_weights or config.pause.mode == "off":
        return torch.ones(shape)
    lowest = completions.lowest.cpu().view(shape)
    spread = lowest.std(1, keepdim=True).clamp(config.weight_low, config.weight_high)
    aborted = completions.aborted.cpu().view(shape) | (lowest <= bounds.used(config.pause).abort)
    return torch.where(aborted, 0.0, spread)


def learning_group(
    completions: Rollout, prompts: Sequence[Prompt], b: int, factor: Tensor, config: GrpoConfig, group: int
) -> LearningGroup:
    """The learning group of prompt b; `factor`, shape `[B, G]`, is the advantages times the weights."""
    (tree,), (stripped,) = completions.trees(prompts, [b]), completions.trees(prompts, [b], stripped=True)
    rows = range(b * group, (b + 1) * group)
    sizes = completions.lengths[list(rows)].cpu()
    norm = torch.full((group,), float(config.max_new))
    if config.loss == "grpo":
        norm = sizes.clamp(min=1).float()
    recorded = torch.cat([completions.logp[i][completions.sampled[i]] for i in rows]).cpu()
    return LearningGroup(
        tree, stripped, factor[b].repeat_interleave(sizes), norm.repeat_interleave(sizes), recorded
    )


def learn(trainer: Trainer, config: GrpoConfig, groups: Sequence[LearningGroup], rows: float) -> Values:
    """One update on groups; `rows` counts the completions of all processes, dropped groups included."""
    policy, ranks = trainer.policy, trainer.ranks
    sizes = [group.tree.length for group in groups]
    packs = [[0]] * len(sizes)
    if len(sizes) > 1:
        packs = pack(range(len(groups)), sizes, max(config.tokens, *sizes))
    sums = dict.fromkeys(("loss", "divergence", "entropy", "gap", "clipped", "learnt", "tokens"), 0.0)
    policy.train()
    for chosen in packs:
        mine = [groups[i] for i in chosen]
        with trainer.timed("forward"):
            loss, sums_of_groups = objective(policy, mine, config, rows)
        with trainer.timed("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        for name, value in sums_of_groups.items():
            sums[name] += value
    policy.eval()
    with trainer.timed("optimizer"):
        norm = trainer.update()
    values = ranks.total(sums, policy.device)
    for name in ("divergence", "entropy", "gap", "clipped"):
        values[name] /= max(1.0, values["learnt"])
    return values | {"gradient": norm}


def objective(
    policy: Policy, groups: Sequence[LearningGroup], config: GrpoConfig, rows: float
) -> tuple[Tensor, Values]:
    """The loss of some groups, their share of that of all `rows` completions, and sums over their tokens."""
    logp, entropy = policy.score([group.tree for group in groups], config.temperature)
    advantage, norm, recorded = (
        torch.cat([getattr(group, name) for group in groups]).to(logp.device)
        for name in ("advantage", "norm", "recorded")
    )
    old_logp = recorded if config.updates > 1 else logp.detach()
    ratio = (logp - old_logp).exp()
    bounded = ratio.clamp(1 - config.clip_ratio, 1 + config.clip_ratio)
    policy_loss = -torch.minimum(ratio * advantage, bounded * advantage)
    divergence = torch.zeros_like(logp)
    if config.beta:
        with policy.reference():
            reference_logp, _ = policy.score([group.stripped for group in groups], config.temperature)
        # Schulman's k3: never negative, unbiased
        divergence = (reference_logp - logp).exp() - (reference_logp - logp) - 1
    loss = ((policy_loss + config.beta * divergence) / norm).sum() / rows
    with torch.no_grad():
        sums = {
            "loss": loss,
            "divergence": divergence.sum(),
            "entropy": entropy.sum(),
            "gap": (logp - recorded).abs().sum(),
            "clipped": (ratio != bounded).sum(),
        }
    values = {name: float(value.detach()) for name, value in sums.items()}
    tokens = sum(group.tree.length for group in groups)
    return loss, values | {"learnt": float(len(logp)), "tokens": float(tokens)}


def rollout_figures(
    trainer: Trainer,
    completions: Rollout,
    terms: Sequence[Terms],
    learnable: Tensor,
    weight: Tensor,
    bounds: Bounds,
) -> Values:
    """Figures of a rollout over all processes. `learnable` has shape `[B]`, `weight` `[B, G]`."""
    n = len(terms)
    sums: Values = {name: sum(t[name] for t in terms) for name in terms[0]}
    flags = {
        "length": completions.lengths,
        "cut": completions.cut,
        "aborted": completions.aborted,
        "pauses": completions.pauses,
    }
    sums |= {name: float(x.sum()) for name, x in flags.items()}
    sums |= {"weight": float(weight.sum()), "lowest": float(completions.lowest.nan_to_num().sum()), "rows": n}
    sums |= {"dropped": float((~learnable).sum()), "groups": float(len(learnable))}
    values = trainer.ranks.total(sums, trainer.policy.device)
    rows, groups, dropped = values.pop("rows"), values.pop("groups"), values.pop("dropped")
    means = {name: value / rows for name, value in values.items()}
    means |= {f"seconds/{k}": v for k, v in completions.seconds.items()}
    means |= {"completion_tokens": values["length"], "dropped": dropped / groups}
    thresholds = {"tau_pause": bounds.pause, "tau_abort": bounds.abort}
    return means | {k: v for k, v in thresholds.items() if abs(v) != float("inf")}


def validation(
    policy: Policy,
    clips: EncodedClips,
    rows: Sequence[TrainRow],
    config: GrpoConfig,
    bounds: Bounds,
    judge: RewardFunction,
) -> Values:
    """The mean terms of the reward of the likeliest completions, with PAUSE as in training."""
    sampling = Sampling(config.max_new, 0.0, config.pause, bounds, config.compile)
    terms: list[Terms] = []
    for start in range(0, len(rows), config.prompts):
        batch = rows[start : start + config.prompts]
        prompts = [policy.prompt(row.asked, clips.sound(row)) for row in batch]
        completions = rollout(policy, prompts, 1, [0] * len(batch), sampling)
        terms += score(completions, batch, policy, judge)
    if not terms:
        return {}
    return {name: sum(t[name] for t in terms) / len(terms) for name in terms[0]} | {"rows": len(terms)}
