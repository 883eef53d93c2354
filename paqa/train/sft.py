"""Stage I: learn to write the rows' rationales. Only completions are learnt, and of these never PAUSE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from paqa.rationale import rewards
from paqa.train.batch_layout import Tree
from paqa.train.config import OFF, SftConfig
from paqa.train.data import Ears, Row, Stream, audio_rows, draw, pack, waits, with_pauses
from paqa.train.model import Policy
from paqa.train.rollout import rollout
from paqa.train.trainer import Trainer, Values, begin

ANSWERED = 8  # validation rows that are answered together


def train(config: SftConfig) -> Values:
    """Run or go on with a run; returns what the last validation measured. The models are in out/best and
    out/last.
    """
    ranks, policy, ears, learnt, held = begin(config)
    stream = Stream(learnt, config.seed, config.mix, lengths(policy, learnt, config), config.tokens)
    together = config.batch * ranks.world
    total = config.steps or max(1, stream.total(config.epochs) // together)
    trainer = Trainer(policy, config, total, ranks)

    def step(n: int) -> Values:
        first = n * together + ranks.rank * config.batch
        with trainer.timed("data"):
            packs = [stream.at(first + k) for k in range(config.batch)]
            trees = [[ears.tree(row) for row in rows] for _, rows in packs]
        with trainer.timed("pause"):
            trees = [paused(policy, ts, rows, e, config) for ts, (e, rows) in zip(trees, packs, strict=True)]
        return learn(trainer, trees) | {"epoch": packs[0][0]}

    def validate() -> Values:
        losses = validation(policy, ears, held[: config.validation_rows], config.tokens)
        return losses | answers(policy, ears, held[: config.answer_rows], config.max_new)

    return trainer.run(step, validate, "score")


def lengths(policy: Policy, rows: Sequence[Row], config: SftConfig) -> list[int]:
    """Tokens of each row with its prompt, and the PAUSE it may get."""
    extra = config.pause.runs * config.pause.tokens if config.pause_share and config.pause.inserts else 0
    found = []
    for row in rows:
        prompt = policy.prompt_ids(row.asked, audio_rows(row.item.scene.duration_ms))
        found.append(len(prompt) + len(policy.completion_ids(row.item.rationale, row.item.id)) + extra)
    return found


def learn(trainer: Trainer, packs: Sequence[Sequence[Tree]]) -> Values:
    """One update on packs of trees: the mean of -log-probability over all learnt tokens of all processes."""
    policy, ranks = trainer.policy, trainer.ranks
    mine = sum(int(k.sum()) for trees in packs for t in trees for k in t.learn)
    sizes = ranks.total({"learnt": mine, "tokens": sum(t.length for ts in packs for t in ts)}, policy.device)
    policy.train()
    told = torch.zeros((), device=policy.device)
    for trees in packs:
        with trainer.timed("forward"):
            loss = -policy.score(trees)[0].sum() / sizes["learnt"]
        with trainer.timed("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        told += loss.detach()
    policy.eval()
    with trainer.timed("optimizer"):
        norm = trainer.update()
    return {"loss": float(ranks.sum(told)), "gradient": norm, **sizes}


@torch.no_grad()
def paused(
    policy: Policy, trees: Sequence[Tree], rows: Sequence[Row], epoch: int, config: SftConfig
) -> list[Tree]:
    """The trees, a share of them with PAUSE before the words that the model as it is now finds least
    likely.
    """
    if not config.pause_share or not config.pause.inserts:
        return list(trees)
    seed, share = config.seed, config.pause_share
    chosen = [i for i, row in enumerate(rows) if draw(seed, epoch, "pause", row.item.id) < share]
    out = list(trees)
    if chosen:
        logp, _ = policy.score([trees[i] for i in chosen])
        parts = torch.split(logp.cpu(), [int(trees[i].learn[0].sum()) for i in chosen])
        for i, part in zip(chosen, parts, strict=True):
            out[i] = with_pauses(trees[i], waits(part, config.pause), config.pause.tokens, policy.pause_id)
    return out


@torch.no_grad()
def validation(policy: Policy, ears: Ears, rows: Sequence[Row], budget: int) -> Values:
    """The loss on rows that are not trained on, by token; `score` is its negative."""
    if not rows:
        return {}
    trees = [ears.tree(row) for row in rows]
    sizes = [t.length for t in trees]
    logp: list[Tensor] = [
        policy.score([trees[i] for i in part])[0]
        for part in pack(range(len(rows)), sizes, max(budget, *sizes))
    ]
    loss = -float(torch.cat(logp).mean())
    return {"loss": loss, "score": -loss}


@torch.no_grad()
def answers(policy: Policy, ears: Ears, rows: Sequence[Row], max_new: int) -> Values:
    """How many rows get the right answer in the likeliest completion, and how well these keep to the
    grammar.
    """
    said: list[str] = []
    for start in range(0, len(rows), ANSWERED):
        part = rows[start : start + ANSWERED]
        prompts = [policy.prompt(row.asked, ears.sound(row)) for row in part]
        said += rollout(policy, prompts, 1, [0] * len(part), max_new, temperature=0.0, pause=OFF).texts(
            policy
        )
    if not said:
        return {}
    items = [row.item for row in rows]
    right = [
        rewards.accuracy(text, i.choices, i.answer_index, i.answer)
        for text, i in zip(said, items, strict=True)
    ]
    form = [rewards.format_score(text, open_ended=not i.choices) for text, i in zip(said, items, strict=True)]
    return {"accuracy": sum(right) / len(said), "format": sum(form) / len(said)}
