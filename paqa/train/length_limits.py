"""How long completions may be, in tokens. What settings leave open follows from the build's rationales."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from paqa.train.config import EvalConfig, GrpoConfig, TrainConfig
from paqa.train.data import Rows, TrainRow
from paqa.train.model import Policy
from paqa.train.ranks import Ranks

MAX_NEW = (
    1024  # sampled tokens at most, where neither a build nor a trained model says how long rationales are
)
Config = TypeVar("Config", bound=TrainConfig)


def derived(config: Config, lengths: Sequence[int]) -> Config:
    """The config with what it leaves open (0) derived from the lengths of the rationales to train on.

    A right answer earns all of its reward for length up to the longest of them, and nothing from twice that.
    Completions are cut at 1.25 times the longest. Lengths are in tokens, with the end of the turn.
    """
    longest = max(lengths)
    config = replace(config, max_new=config.max_new or _with_room(longest))
    if isinstance(config, GrpoConfig):
        full_length = config.reward.full_length or longest
        no_length = config.reward.no_length or 2 * full_length
        config = replace(config, reward=replace(config.reward, full_length=full_length, no_length=no_length))
    return config


def with_limits(config: Config, policy: Policy, rows: Sequence[TrainRow], ranks: Ranks) -> Config:
    """The config with its limits for these rows (see `derived`), which are logged."""
    lengths = [config.max_new]
    if isinstance(config, GrpoConfig):
        lengths += [config.reward.full_length, config.reward.no_length]
    if not all(lengths):
        config = derived(config, rationale_lengths(policy, rows))
    if ranks.rank == 0 and not config.quiet:
        text = f"completions have at most {config.max_new} tokens"
        if isinstance(config, GrpoConfig):
            text += f", earn less for their length above {config.reward.full_length}"
            text += f", and nothing from {config.reward.no_length}"
        print(text, file=sys.stderr)
    return config


def evaluation_limit(config: EvalConfig, policy: Policy) -> int:
    """Sampled tokens of an answer at most: as given, by the build's rationales, or as it was trained."""
    if config.max_new:
        return config.max_new
    if config.benchmark != "paqa":
        return policy.max_new or MAX_NEW
    rows = Rows(Path(config.data))
    return _with_room(max(rationale_lengths(policy, rows.split("train") or rows.all)))


def rationale_lengths(policy: Policy, rows: Sequence[TrainRow]) -> list[int]:
    """Tokens of each row's rationale, with the end of the turn."""
    return [len(policy.completion_ids(row.item.rationale, row.item.id)) for row in rows]


def _with_room(longest: int) -> int:
    """1.25 times the longest, rounded up."""
    return -(-5 * longest // 4)
