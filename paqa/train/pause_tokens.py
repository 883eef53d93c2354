"""PAUSE: the environment inserts it where confidence drops, or ends a completion whose confidence is too low.

Confidence is DeepConf's (Fu et al. 2025): -mean log-probability of the k likeliest tokens, averaged over a
window of sampled tokens; high where the model is sure. All state is tensors of one entry a row, on the
device: no token is ever decoded to decide. Forced tokens are recorded by the rollout and are no part of any
loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paqa.train.config import PauseConfig

UNSEEN = -1  # matches every token in a keyword's row


@dataclass(frozen=True)
class Bounds:
    """Confidence at and below which a completion pauses, and gives up; -inf before the first calibration."""

    pause: float = -math.inf
    abort: float = -math.inf

    def after(self, confidence: Tensor, config: PauseConfig) -> Bounds:
        """The bounds after a rollout with these confidences, of any shape, NaN where there is none.

        Bounds that the config fixes stay; others follow slowly.
        """
        measured = confidence[~confidence.isnan()].float().cpu()
        return Bounds(
            _follow(self.pause, measured, config.tau_pause, config.quantile, config.momentum),
            _follow(self.abort, measured, config.tau_abort, config.abort_quantile, config.momentum),
        )

    @classmethod
    def first(cls, config: PauseConfig, earlier: Bounds | None = None) -> Bounds:
        """The bounds of the config, else the earlier ones; what neither has waits for `after`."""
        before = earlier or cls()
        fixed = ((config.tau_pause, before.pause), (config.tau_abort, before.abort))
        return cls(*(bound if tau is None else tau for tau, bound in fixed))

    def filled(self, defaults: Bounds) -> Bounds:
        """These bounds; the missing ones are those of `defaults`."""
        pairs = ((self.pause, defaults.pause), (self.abort, defaults.abort))
        return Bounds(*(default if math.isinf(bound) else bound for bound, default in pairs))

    def plain(self) -> list[float | None]:
        """As JSON has it, which knows no infinity: null is a bound that is not there yet."""
        return [None if math.isinf(b) else b for b in (self.pause, self.abort)]

    @classmethod
    def of(cls, plain: Sequence[float | None]) -> Bounds:
        """The bounds that `plain` wrote."""
        return cls(*(-math.inf if b is None else b for b in plain))

    def used(self, config: PauseConfig) -> Bounds:
        """The bounds that a mode uses: `never` is a bound of -inf, `always` one of +inf."""
        if config.mode == "on":
            return self
        return Bounds(math.inf if config.mode == "always" else -math.inf)


def _follow(old: float, measured: Tensor, fixed: float | None, quantile: float, momentum: float) -> float:
    if fixed is not None:
        return fixed
    if quantile <= 0.0 or not len(measured):
        return old
    threshold = float(measured.sort().values[min(len(measured) - 1, int(quantile * len(measured)))])
    return threshold if math.isinf(old) else momentum * old + (1 - momentum) * threshold


UNBOUND = Bounds()


class PauseState:
    """The state of N rows that are being written: ask `decide` before each token, call `record` after it."""

    def __init__(self, config: PauseConfig, bounds: Bounds, rows: int, max_new: int, keywords: Tensor):
        """`keywords` [K, m] are the last m tokens of each keyword, UNSEEN in front of shorter ones."""
        device = keywords.device
        self.config, self.bounds, self.max_new, self.keywords = config, bounds.used(config), max_new, keywords
        self.window = torch.full((rows, config.window), math.nan, device=device)
        self.recent = torch.full((rows, keywords.shape[1]), UNSEEN - 1, device=device)
        zero = torch.zeros(rows, dtype=torch.long, device=device)
        self.sampled, self.left, self.runs, self.reminded = zero, zero.clone(), zero.clone(), zero.clone()
        self.since = zero + config.cooldown
        self.resumed = zero.bool()
        self.total = torch.zeros(rows, device=device)

    def decide(self, logp: Tensor, alive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which rows wait and which give up now, bool of shape `[N]`, and windowed confidence `[N]`.

        It is NaN until the window is full.

        `logp` `[N, V]` is the distribution of the next token. A row that waits is forced to `tokens` PAUSE in
        a row; the place is looked at again afterwards.
        """
        c, bounds = self.config, self.bounds
        fresh = alive & (self.left == 0)
        sure = -logp.topk(min(c.top, logp.shape[-1]), -1).values.clamp(min=-1e4).mean(-1)
        moved = torch.where(self.resumed[:, None], self.window[:, :-1], self.window[:, 1:])
        self.total += torch.where(fresh, sure - torch.where(self.resumed, self.window[:, -1], 0.0), 0.0)
        self.window = torch.where(fresh[:, None], torch.cat([moved, sure[:, None]], 1), self.window)
        confidence = self.window.mean(-1)
        ready = fresh & (self.sampled >= c.warmup)
        give_up = ready & (confidence <= bounds.abort)
        bound = bounds.pause + c.keyword_bonus * (self.reminded > 0)
        allowed = (self.runs < c.runs) & (self.since >= c.cooldown) & (self.sampled + 1 < self.max_new)
        start = ready & ~give_up & allowed & (confidence <= bound)
        self.left = torch.where(start, c.tokens, self.left)
        self.runs = self.runs + start
        self.since = torch.where(start, 0, self.since)
        wait = alive & (self.left > 0)
        self.left = self.left - wait.long()
        self.resumed = wait & (self.left == 0)
        return wait, give_up, torch.where(fresh, confidence, math.nan)

    def record(self, token: Tensor, sampled: Tensor) -> None:
        """Note the tokens that were written, shape `[N]`, and which of them were sampled, bool `[N]`."""
        self.sampled = self.sampled + sampled
        self.since = self.since + sampled
        self.reminded = (self.reminded - sampled.long()).clamp(min=0)
        if not len(self.keywords):
            return
        shifted = torch.cat([self.recent[:, 1:], token[:, None]], 1)
        self.recent = torch.where(sampled[:, None], shifted, self.recent)
        same = (self.recent[:, None] == self.keywords) | (self.keywords == UNSEEN)
        self.reminded = torch.where(sampled & same.all(-1).any(-1), self.config.keyword_reach, self.reminded)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, numbers of shape `[n]`."""
        for name in ("window", "recent", "sampled", "left", "runs", "reminded", "since", "resumed", "total"):
            setattr(self, name, getattr(self, name)[rows])

    def mean(self) -> Tensor:
        """The mean confidence of each row's sampled tokens, shape `[N]`."""
        return self.total / self.sampled.clamp(min=1)


def keyword_rows(words: Sequence[str], encode: object, device: torch.device) -> Tensor:
    """Keywords as token ids of shape `[K, m]`, each as in the middle of a sentence and at its beginning."""
    tokens = [encode(text) for w in words for text in (f" {w}", w.capitalize())]  # type: ignore[operator]
    longest = max((len(t) for t in tokens), default=0)
    rows = [[UNSEEN] * (longest - len(t)) + list(t) for t in tokens]
    return torch.tensor(rows, dtype=torch.long, device=device).reshape(len(rows), longest)
