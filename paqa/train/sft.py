"""Stage I: learn to write the rows' rationales.

Only completions are learnt, and of these neither PAUSE nor the mistakes that a reflection takes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from paqa.rationale import rewards
from paqa.train.batch_layout import Tree
from paqa.train.config import SftConfig
from paqa.train.data import EncodedClips, Stream, TrainRow, audio_rows, draw, pack, pause_places, with_pauses
from paqa.train.length_limits import with_limits
from paqa.train.model import Policy
from paqa.train.rollout import Sampling, rollout
from paqa.train.trainer import Trainer, Values, begin

ANSWERED = 8  # validation rows that are answered together


def train(config: SftConfig) -> Values:
    """Start or resume a run; returns the figures of the last validation.

    The models are in out/best and out/last.
    """
    ranks, policy, clips, learnt, held = begin(config)
    config = with_limits(config, policy, learnt, ranks)
    stream = Stream(learnt, config.seed, config.mix, lengths(policy, learnt, config), config.tokens)
    together = config.batch * ranks.world
    total = config.steps or max(1, stream.total(config.epochs) // together)
    trainer = Trainer(policy, config, total, ranks)

    def step(n: int) -> Values:
        first = n * together + ranks.rank * config.batch
        with trainer.timed("data"):
            packs = [stream.at(first + k) for k in range(config.batch)]
            trees = [[tree_of(clips, row, epoch, config) for row in rows] for epoch, rows in packs]
        with trainer.timed("pause"):
            trees = [
                add_pauses(policy, ts, rows, e, config) for ts, (e, rows) in zip(trees, packs, strict=True)
            ]
        return learn(trainer, trees) | {"epoch": packs[0][0]}

    def validate() -> Values:
        losses = validation(policy, clips, held[: config.validation_rows], config.tokens)
        return losses | answers(policy, clips, held[: config.answer_rows], config.max_new)

    return trainer.run(step, validate, "score")


def tree_of(clips: EncodedClips, row: TrainRow, epoch: int, config: SftConfig) -> Tree:
    """A row's prompt and target; a share of rows have their caption given in each epoch."""
    return clips.tree(row, draw(config.seed, epoch, "caption", row.item.id) < config.caption_given)


def lengths(policy: Policy, rows: Sequence[TrainRow], config: SftConfig) -> list[int]:
    """Tokens of each row with its prompt, and the PAUSE it may get."""
    extra = config.pause.runs * config.pause.tokens if config.pause_share and config.pause.inserts else 0
    token_counts = []
    for row in rows:
        prompt = policy.prompt_ids(row.asked, audio_rows(row.item.scene.duration_ms))
        token_counts.append(len(prompt) + len(policy.completion_ids(row.item.rationale, row.item.id)) + extra)
    return token_counts


def learn(trainer: Trainer, packs: Sequence[Sequence[Tree]]) -> Values:
    """One update on packs of trees: the mean of -log-probability over all learnt tokens of all processes."""
    policy, ranks = trainer.policy, trainer.ranks
    learnt = tokens = 0
    for tree in chain.from_iterable(packs):
        learnt += sum(int(scored.sum()) for scored in tree.learn)
        tokens += tree.length
    sizes = ranks.total({"learnt": learnt, "tokens": tokens}, policy.device)
    policy.train()
    total_loss = torch.zeros((), device=policy.device)
    for trees in packs:
        with trainer.timed("forward"):
            loss = -policy.score(trees)[0].sum() / sizes["learnt"]
        with trainer.timed("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        total_loss += loss.detach()
    policy.eval()
    with trainer.timed("optimizer"):
        norm = trainer.update()
    return {"loss": float(ranks.sum(total_loss)), "gradient": norm, **sizes}


@torch.no_grad()
def add_pauses(
    policy: Policy, trees: Sequence[Tree], rows: Sequence[TrainRow], epoch: int, config: SftConfig
) -> list[Tree]:
    """The trees, a share of them with PAUSE before the words that the present model finds least likely."""
    if not config.pause_share or not config.pause.inserts:
        return list(trees)
    seed, share = config.seed, config.pause_share
    chosen = [i for i, row in enumerate(rows) if draw(seed, epoch, "pause", row.item.id) < share]
    out = list(trees)
    if chosen:
        logp, _ = policy.score([trees[i] for i in chosen])
        parts = torch.split(logp.cpu(), [int(trees[i].learn[0].sum()) for i in chosen])
        for i, part in zip(chosen, parts, strict=True):
            learnt = trees[i].learn[0].nonzero().flatten().tolist()
            places = [learnt[place] for place in pause_places(part, config.pause)]
            out[i] = with_pauses(trees[i], places, config.pause.tokens, policy.pause_id)
    return out


@torch.no_grad()
def validation(policy: Policy, clips: EncodedClips, rows: Sequence[TrainRow], budget: int) -> Values:
    """The loss on rows that are not trained on, by token; `score` is its negative."""
    if not rows:
        return {}
    trees = [clips.tree(row) for row in rows]
    sizes = [t.length for t in trees]
    logp: list[Tensor] = [
        policy.score([trees[i] for i in part])[0]
        for part in pack(range(len(rows)), sizes, max(budget, *sizes))
    ]
    loss = -float(torch.cat(logp).mean())
    return {"loss": loss, "score": -loss, "rows": len(rows)}


@torch.no_grad()
def answers(policy: Policy, clips: EncodedClips, rows: Sequence[TrainRow], max_new: int) -> Values:
    """The share of rows whose likeliest completion is right, and how well these keep to the grammar."""
    texts: list[str] = []
    sampling = Sampling(max_new, temperature=0.0)
    for start in range(0, len(rows), ANSWERED):
        part = rows[start : start + ANSWERED]
        prompts = [policy.prompt(row.asked, clips.sound(row)) for row in part]
        texts += rollout(policy, prompts, 1, [0] * len(part), sampling).texts(policy)
    if not texts:
        return {}
    items = [row.item for row in rows]
    right = [
        rewards.accuracy(text, i.choices, i.answer_index, i.answer)
        for text, i in zip(texts, items, strict=True)
    ]
    grammatical = [
        rewards.format_score(text, row.asked.by_letter) for text, row in zip(texts, rows, strict=True)
    ]
    return {"accuracy": sum(right) / len(texts), "format": sum(grammatical) / len(texts)}
