"""Prompts with the completions that go on from them, laid out in one row so that each prompt is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt's token ids, shape `[P]`, with one AUDIO for each row of `sound`, encoder output `[n, d]`."""

    ids: Tensor
    sound: Tensor


@dataclass(frozen=True, eq=False)
class Tree:
    """A prompt and completions that go on from it; `learn` says which of their tokens are scored."""

    prompt: Prompt
    completions: tuple[Tensor, ...]
    learn: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        return len(self.prompt.ids) + sum(len(c) for c in self.completions)


@dataclass(frozen=True, eq=False)
class Layout:
    """Trees in one row of L tokens. `branch` is -1 in a prompt; `source` predicts `target` `[T]`."""

    ids: Tensor
    position: Tensor
    tree: Tensor
    branch: Tensor
    source: Tensor
    target: Tensor


def is_chain(trees: Sequence[Tree]) -> bool:
    """Whether trees are one prompt with at most one completion: each token sees all before it."""
    return len(trees) == 1 and len(trees[0].completions) <= 1


def layout(trees: Sequence[Tree]) -> Layout:
    """Each prompt once, its completions behind it; positions as if each followed its prompt alone."""
    ids, position, tree_of_token, branch, source, target = ([] for _ in range(6))
    offset = 0
    for number, tree in enumerate(trees):
        prompt_length = len(tree.prompt.ids)
        parts = [(tree.prompt.ids, -1, 0), *((c, b, prompt_length) for b, c in enumerate(tree.completions))]
        starts = np.cumsum([offset, *(len(part) for part, _, _ in parts)]).tolist()
        for part, b, first in parts:
            ids.append(part)
            position.append(torch.arange(first, first + len(part)))
            branch.append(torch.full((len(part),), b))
        for c, learn, start in zip(tree.completions, tree.learn, starts[1:], strict=False):
            before = torch.arange(start - 1, start - 1 + len(c))
            # the prompt's last token predicts each completion's first
            before[:1] = offset + prompt_length - 1
            source.append(before[learn])
            target.append(c[learn])
        tree_of_token.append(torch.full((starts[-1] - offset,), number))
        offset = starts[-1]
    return Layout(*(torch.cat(x) for x in (ids, position, tree_of_token, branch, source, target)))


def visible(x: Layout) -> Tensor:
    """Which token (row) attends to which (column), bool of shape `[L, L]`.

    A token sees its prompt and its own completion, up to itself.
    """
    i = torch.arange(len(x.ids), device=x.ids.device)
    same = (x.branch[None] == -1) | (x.branch[:, None] == x.branch[None])
    return (i[:, None] >= i[None]) & (x.tree[:, None] == x.tree[None]) & same
