"""PAQA shards as rows to train on: which rows, in which order, in which packs, and their encoded audio.

The order of an epoch and its packs follow from the seed alone, so a position in the data is the number of a
step.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate, count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paqa import audio
from paqa.dataset import shards
from paqa.errors import PaqaError
from paqa.rationale.grammar import content_spans
from paqa.rationale.prompt import PromptQuestion
from paqa.train.batch_layout import Tree
from paqa.train.config import PauseConfig
from paqa.train.model import RATE, Policy
from paqa.types import Item
from paqa.union_find import connected_components

GROUPS_OPEN = 4  # row groups whose audio is held, and shuffled among each other
PACKS_OPEN = 16  # packs that a row may still go into
SOUND_BYTES = 1 << 30  # of encoded clips that are kept
LARGEST = 0.2  # share of the train rows that one component which is held out may have
MOST_HELD = 0.25  # share of them that is held out to reach a number of rows


@dataclass(frozen=True)
class TrainRow:
    """An item, and where its audio lies: file, row group, row in the group."""

    item: Item
    place: tuple[int, int, int]

    @property
    def asked(self) -> PromptQuestion:
        return PromptQuestion.of(self.item)


def draw(*parts: object) -> float:
    """A number in [0, 1) from the SHA-256 of its arguments."""
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:7], "big") / (1 << 56)


class Rows:
    """The rows of a build; audio is read when it is asked for."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files = shards.files(folder)
        self._open: OrderedDict[tuple[int, int], Any] = OrderedDict()

    @cached_property
    def all(self) -> list[TrainRow]:
        columns = [column.name for column in fields(Item)]
        train_rows = []
        for f, path in enumerate(self.files):
            shard = shards.open_shard(path)
            for g in range(shard.num_row_groups):
                rows = shard.read_row_group(g, columns=columns).to_pylist()
                train_rows += [TrainRow(shards.item(row), (f, g, r)) for r, row in enumerate(rows)]
        return train_rows

    def split(self, name: str) -> list[TrainRow]:
        return [row for row in self.all if row.item.split == name]

    def trained_on(
        self, share: float, at_least: int = 0
    ) -> tuple[list[TrainRow], list[TrainRow], list[TrainRow]]:
        """Rows to train on, rows to validate with, and train rows that are neither.

        Validation is the build's own split, else a share of the connected components of train: rows with a
        recording or a speaker (a group) in common, directly or through others, are in one. The share rises to
        `at_least` rows, but not above a quarter. At least one component is held out, unless the share is 0;
        one with more than a fifth of the rows is trained on.
        Where all are that large (scenes mixed from one pool), that share of the rows is held out all the
        same, first those that share least with others; what shares something with them is neither trained
        on nor held out. Raises PaqaError where nothing is left to train on.
        """
        train, held, away = self.split("train"), self.split("validation"), []
        if share and not held:
            out = _held_out(train, max(share, min(MOST_HELD, at_least / max(1, len(train)))))
            names = {group for groups in out for group in groups}
            held = [row for row in train if row.item.groups in out]
            rest = [row for row in train if row.item.groups not in out]
            away = [row for row in rest if not names.isdisjoint(row.item.groups)]
            train = [row for row in rest if names.isdisjoint(row.item.groups)]
        if not train:
            counts = f"{len(held)} held out, {len(away)} share recordings or speakers with them"
            advice = "build with split.validation above 0, or give --validation 0; see paqa check"
            raise PaqaError(f"{self.folder}: no rows to train on ({counts}); {advice}")
        return train, held, away

    def samples(self, row: TrainRow) -> np.ndarray:
        """A row's audio, mono float32 `[n]` at 16 kHz."""
        f, g, r = row.place
        if (f, g) not in self._open:
            self._open[f, g] = shards.open_shard(self.files[f]).read_row_group(g, columns=["audio"])["audio"]
            if len(self._open) > GROUPS_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end((f, g))
        clip = audio.read_flac(self._open[f, g][r].as_py()["bytes"])
        return audio.resample(clip, RATE).samples.mean(0)


def _held_out(rows: Sequence[TrainRow], share: float) -> set[tuple[str, ...]]:
    """The groups, as rows have them, of those rows that are to be held out."""
    counts = Counter(row.item.groups for row in rows)
    names = dict(zip(counts, connected_components(counts), strict=True))
    sizes = Counter(names[row.item.groups] for row in rows)
    most = max(share, LARGEST) * len(rows)
    small = sorted((name for name, n in sizes.items() if n <= most), key=lambda n: draw("validation", n))
    if not small:
        return _least_shared(counts, share)
    held_with = accumulate(sizes[name] for name in small)  # rows held out, each component's included
    before = ((name, total - sizes[name]) for name, total in zip(small, held_with, strict=True))
    out = {name for name, rows_before in before if rows_before < share * len(rows)}
    return {groups for groups, name in names.items() if name in out}


def _least_shared(counts: Mapping[tuple[str, ...], int], share: float) -> set[tuple[str, ...]]:
    """The groups of a share of rows that are all connected, first those that the fewest other rows share.

    `counts` is the number of rows by groups.
    """
    having: Counter[str] = Counter()
    for groups, n in counts.items():
        having.update(dict.fromkeys(groups, n))
    most = share * sum(counts.values())
    out: set[tuple[str, ...]] = set()

    def order(groups: tuple[str, ...]) -> tuple[int, float]:
        """How many other rows have these groups; equal ones by chance."""
        return sum(having[group] - counts[groups] for group in groups), draw("validation", *groups)

    for groups in sorted(counts, key=order):
        if sum(counts[held] for held in out) >= most or len(counts) == 1:
            break
        out.add(groups)
    return out


class EncodedClips:
    """Encoded clips, each encoded once as long as memory allows: the encoder is never trained."""

    def __init__(self, policy: Policy, rows: Rows):
        self.policy, self.rows = policy, rows
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    def sound(self, row: TrainRow) -> Tensor:
        """The encoder's output of a row's clip, shape `[n, d]`."""
        name = row.item.clip_id
        if name not in self._kept:
            encoded = self._kept[name] = self.policy.encode(self.rows.samples(row), row.item.id)
            self._bytes += encoded.nbytes
            while self._bytes > SOUND_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(name)
        return self._kept[name]

    def tree(self, row: TrainRow, caption_given: bool = False) -> Tree:
        """A row's prompt and its rationale, to be learnt but for what REFLECT takes back.

        With `caption_given` there is no sound, and CAPTION is not learnt: the argument from it alone is.
        """
        item = row.item
        target = self.policy.completion_ids(item.rationale, item.id)
        left_out = (*item.mistaken, "CAPTION") if caption_given else item.mistaken
        unlearnt = self.policy.tokens_within(item.rationale, content_spans(item.rationale, left_out))
        nothing = torch.zeros(0, self.policy.inner.config.audio_config.d_model)
        sound = nothing if caption_given else self.sound(row)
        return Tree(self.policy.prompt(row.asked, sound), (target,), (~unlearnt,))


def order(rows: Sequence[TrainRow], seed: int, epoch: int, mix: Mapping[str, float]) -> list[int]:
    """Numbers of the rows of one epoch; a row whose task weighs 2.5 comes two or three times.

    Shuffled among `GROUPS_OPEN` row groups at a time, so that audio is read in runs.
    """
    unknown = mix.keys() - {row.item.task for row in rows}
    if unknown:
        tasks = ", ".join(sorted({row.item.task for row in rows}))
        raise PaqaError(f"--mix: no row is of task {', '.join(sorted(unknown))}; expected some of: {tasks}")
    blocks: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    for i, row in enumerate(rows):
        weight = mix.get(row.item.task, 1.0)
        times = int(weight) + (draw(seed, epoch, "times", row.item.id) < weight % 1)
        blocks[row.place[:2]] += [(draw(seed, epoch, "order", row.item.id, n), i) for n in range(times)]
    names = sorted(blocks, key=lambda b: draw(seed, epoch, "block", *b))
    numbers: list[int] = []
    for start in range(0, len(names), GROUPS_OPEN):
        numbers += [
            i for _, i in sorted(pair for b in names[start : start + GROUPS_OPEN] for pair in blocks[b])
        ]
    return numbers


def pack(numbers: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Rows in packs of at most `budget` tokens, first fit among the last open packs.

    `lengths` is in tokens, by row number.
    """
    full: list[list[int]] = []
    packs: list[tuple[int, list[int]]] = []
    for i in numbers:
        n = lengths[i]
        for k, (used, members) in enumerate(packs):
            if used + n <= budget:
                packs[k] = (used + n, [*members, i])
                break
        else:
            packs.append((n, [i]))
            if len(packs) > PACKS_OPEN:
                full.append(packs.pop(0)[1])
    return full + [members for _, members in packs]


def audio_rows(ms: int) -> int:
    """About how many rows the encoder makes of a clip; `Policy.encode` computes the exact number."""
    return max(1, (((ms // 10 - 1) // 2 + 1) - 2) // 2 + 1)


class Stream:
    """An endless list of packs, epoch after epoch; item n is the same in every run with the same seed."""

    def __init__(
        self,
        rows: Sequence[TrainRow],
        seed: int,
        mix: Mapping[str, float],
        lengths: Sequence[int],
        budget: int,
    ):
        for row, n in zip(rows, lengths, strict=True):
            if n > budget:
                raise PaqaError(
                    f"{row.item.id}: has {n} tokens with its prompt; expected at most --tokens {budget}"
                )
        self.rows, self.seed, self.mix, self.lengths, self.budget = rows, seed, mix, lengths, budget
        self._epochs: dict[int, list[list[int]]] = {}
        self._sizes: dict[int, int] = {}
        self.epoch(0)  # refuses a mix that names no task of these rows, or leaves none

    def epoch(self, number: int) -> list[list[int]]:
        """The packs of one epoch."""
        if number not in self._epochs:
            packs = pack(order(self.rows, self.seed, number, self.mix), self.lengths, self.budget)
            if not packs:
                raise PaqaError("an epoch without rows: --mix leaves none; give some task a weight above 0")
            self._epochs = {number: packs, **{n: p for n, p in self._epochs.items() if n == number - 1}}
            self._sizes[number] = len(packs)
        return self._epochs[number]

    def size(self, number: int) -> int:
        """How many packs an epoch has."""
        return self._sizes[number] if number in self._sizes else len(self.epoch(number))

    def at(self, n: int) -> tuple[int, list[TrainRow]]:
        """The epoch and the rows of pack n, counted from the beginning of training."""
        for epoch in count():
            if n < self.size(epoch):
                return epoch, [self.rows[i] for i in self.epoch(epoch)[n]]
            n -= self.size(epoch)
        raise AssertionError

    def total(self, epochs: float) -> int:
        """Packs in so many epochs."""
        whole = sum(self.size(e) for e in range(int(epochs)))
        return whole + (round((epochs % 1) * self.size(int(epochs))) if epochs % 1 else 0)


def pause_places(logp: Tensor, config: PauseConfig) -> list[int]:
    """Where PAUSE goes in a target with log-probabilities of shape `[c]`: before its least likely tokens.

    They are as far apart as PAUSE may be in a rollout, and never before the end of the turn. After DIT (arXiv
    2506.03616).
    """
    places: list[int] = []
    for place in logp[:-1].argsort().tolist():
        if len(places) == config.runs:
            break
        if place >= config.warmup and all(
            abs(place - earlier) >= max(1, config.cooldown) for earlier in places
        ):
            places.append(place)
    return sorted(places)


def with_pauses(tree: Tree, places: Sequence[int], tokens: int, pause_id: int) -> Tree:
    """The tree's one completion with runs of PAUSE before some of its tokens; PAUSE is not learnt."""
    (ids,), (learn,) = tree.completions, tree.learn
    run = torch.full((tokens,), pause_id)
    bounds = [0, *places, len(ids)]
    parts = list(_between(ids, bounds, run))
    kept = list(_between(learn, bounds, torch.zeros(tokens, dtype=torch.bool)))
    return Tree(tree.prompt, (torch.cat(parts),), (torch.cat(kept),))


def _between(whole: Tensor, bounds: Sequence[int], run: Tensor) -> Iterator[Tensor]:
    for k, (start, end) in enumerate(pairwise(bounds)):
        if k:
            yield run
        yield whole[start:end]
