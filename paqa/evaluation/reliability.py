"""Whether confidences are probabilities: how much comes true of what is predicted with each confidence.

Expected calibration error: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning"
(AAAI 2015), with bins of equal width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions with a confidence in `[low, high)`, the last bin with 1: how sure, and how often right."""

    low: float
    high: float
    count: int
    confidence: float | None
    right: float | None


@dataclass(frozen=True)
class Reliability:
    """The bins of a reliability diagram, and the expected calibration error: their mean distance, by count.

    `brier` is the mean squared distance of confidences from outcomes.
    """

    count: int
    error: float
    brier: float
    confidence: float
    right: float
    bins: tuple[ReliabilityBin, ...]


def reliability(
    confidences: Sequence[float], outcomes: Sequence[bool], bins: int = BINS
) -> Reliability | None:
    """The reliability of confidences in [0, 1] against what came true, one each; None without any.

    Raises ValueError where the numbers differ.
    """
    if len(confidences) != len(outcomes):
        raise ValueError(f"{len(confidences)} confidences, {len(outcomes)} outcomes; expected one each")
    if not confidences:
        return None
    pairs = list(zip(confidences, map(bool, outcomes), strict=True))
    table = []
    for n in range(bins):
        members = [(c, right) for c, right in pairs if min(bins - 1, int(c * bins)) == n]
        table.append(_bin(n / bins, (n + 1) / bins, members))
    count = len(pairs)
    return Reliability(
        count=count,
        error=sum(b.count * abs((b.confidence or 0.0) - (b.right or 0.0)) for b in table) / count,
        brier=sum((c - right) ** 2 for c, right in pairs) / count,
        confidence=sum(confidences) / count,
        right=sum(right for _, right in pairs) / count,
        bins=tuple(table),
    )


def _bin(low: float, high: float, members: Sequence[tuple[float, bool]]) -> ReliabilityBin:
    if not members:
        return ReliabilityBin(low, high, 0, None, None)
    count = len(members)
    return ReliabilityBin(
        low, high, count, sum(c for c, _ in members) / count, sum(right for _, right in members) / count
    )
