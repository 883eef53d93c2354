"""The share of right rows in a build, from the verdicts on a stratified sample, and how far reviewers agree.

The estimate is stratified: the mean of each stratum, weighted by its rows. Its interval is Wilson's (95 %) at
the effective sample size, p(1 - p) over the variance between clips, since rows of one clip are no independent
draws (Franco et al. 2019, Comparative study of confidence intervals for proportions in complex sample
surveys). A percentile bootstrap over clips would give 100 to 100 % where all rows are right.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from paqa.review.verdicts import Decision, Verdict, by_row, outcome

Strata = dict[str, list[Verdict]]  # judged rows by the name of their stratum
Z = 1.959964  # the normal quantile of a 95 % interval
METHOD = "stratified by template, Wilson interval at the effective sample size over clips"


@dataclass(frozen=True)
class JudgedRow:
    """A row of a sample that reviewers judged; `share` is its part of the estimate, all of them sum to 1."""

    id: str
    clip_id: str
    template: str
    right: bool
    share: float


@dataclass(frozen=True)
class RightShare:
    """The share of right rows among `rows` judged ones; `interval` is None where they are of one clip."""

    name: str
    rows: int
    right: int
    clips: int
    share: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Agreement:
    """Two reviewers on the rows that both saw; kappa (Cohen's) is None where both always say one thing."""

    reviewers: tuple[str, str]
    rows: int
    agreed: int
    kappa: float | None


def judged_rows(verdicts: Iterable[Verdict]) -> list[JudgedRow]:
    """The drawn rows that a majority calls right or wrong, each with its part of the estimate.

    Several samples count by their numbers of judged rows; rows that were picked by hand are left out.
    """
    samples, outcomes = _strata(verdicts)
    total = sum(len(rows) for strata in samples.values() for rows in strata.values())
    return [
        JudgedRow(v.id, v.clip_id, v.template, outcomes[v.id] == "right", share)
        for strata in samples.values()
        for v, share in _shares(strata, total)
    ]


def covered(verdicts: Iterable[Verdict]) -> int:
    """How many rows of the build are in strata with a judged row, by the sample that covers most."""
    samples, _ = _strata(verdicts)
    return max((round(sum(map(_size, strata.values()))) for strata in samples.values()), default=0)


def _strata(verdicts: Iterable[Verdict]) -> tuple[dict[str, Strata], dict[str, Decision]]:
    """Of each sample the judged rows by stratum, one verdict a row; and the decisions on all rows."""
    rows = by_row(verdicts)
    outcomes = {name: outcome(of_row) for name, of_row in rows.items()}
    drawn = {(v.sample, v.id): v for of_row in rows.values() for v in of_row if v.sample and v.weight}
    samples: dict[str, Strata] = defaultdict(lambda: defaultdict(list))
    for _, verdict in sorted(drawn.items()):
        if outcomes[verdict.id] != "unsure":
            samples[verdict.sample][verdict.stratum].append(verdict)
    return samples, outcomes


def _shares(strata: Strata, total: int) -> Iterable[tuple[Verdict, float]]:
    """The part of each row of one sample; `total` is the number of rows of all samples."""
    rows = sum(map(len, strata.values()))
    population = sum(_size(members) for members in strata.values())
    for members in strata.values():
        weights = sum(v.weight for v in members)
        for verdict in members:
            yield verdict, rows / total * _size(members) / population * verdict.weight / weights


def _size(members: Sequence[Verdict]) -> float:
    """The rows of a stratum in the build."""
    return max(max(v.stratum_rows for v in members), sum(v.weight for v in members))


def right_share(name: str, rows: Sequence[JudgedRow]) -> RightShare:
    """The share of right rows; ValueError where there are none."""
    if not rows:
        raise ValueError("found no row, expected at least one")
    whole = sum(row.share for row in rows)
    parts = [(row.clip_id, row.share / whole, row.right) for row in rows]
    share = min(1.0, sum(part for _, part, right in parts if right))
    clips = len({clip for clip, _, _ in parts})
    interval = wilson(share, effective_size(share, parts)) if clips > 1 else None
    return RightShare(name, len(rows), sum(row.right for row in rows), clips, share, interval)


def effective_size(share: float, parts: Sequence[tuple[str, float, bool]]) -> float:
    """How many independent rows would be as certain, from each row's clip, part of the estimate and outcome.

    Where all rows are alike, Kish's size of the clips: 1 over the sum of their squared parts.
    """
    clips: dict[str, float] = defaultdict(float)
    deviations: dict[str, float] = defaultdict(float)
    for clip, part, right in parts:
        clips[clip] += part
        deviations[clip] += part * (right - share)
    kish = 1 / sum(part**2 for part in clips.values())
    if len({right for _, _, right in parts}) < 2:
        return kish
    variance = sum(d**2 for d in deviations.values()) * len(clips) / (len(clips) - 1)
    return min(len(parts), share * (1 - share) / variance)


def wilson(share: float, size: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `size` rows."""
    middle = (share + Z**2 / (2 * size)) / (1 + Z**2 / size)
    half = Z / (1 + Z**2 / size) * math.sqrt(share * (1 - share) / size + Z**2 / (4 * size**2))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def by_template(rows: Sequence[JudgedRow]) -> list[RightShare]:
    """The shares of templates, the least right first."""
    groups: dict[str, list[JudgedRow]] = defaultdict(list)
    for row in rows:
        groups[row.template].append(row)
    shares = [right_share(name, members) for name, members in groups.items()]
    return sorted(shares, key=lambda s: (s.share, -s.rows, s.name))


def agreements(verdicts: Iterable[Verdict]) -> list[Agreement]:
    """Every two reviewers with rows in common, by right, wrong and unsure."""
    decisions: dict[str, dict[str, str]] = defaultdict(dict)
    for verdict in verdicts:
        decisions[verdict.reviewer][verdict.id] = verdict.verdict
    pairs = []
    for first, second in combinations(sorted(decisions), 2):
        common = sorted(decisions[first].keys() & decisions[second].keys())
        if common:
            a, b = ([decisions[name][row] for row in common] for name in (first, second))
            agreed = sum(x == y for x, y in zip(a, b, strict=True))
            pairs.append(Agreement((first, second), len(common), agreed, _kappa(a, b)))
    return pairs


def _kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    if len({*first, *second}) < 2:
        return None  # 0 / 0
    return float(cohen_kappa_score(first, second))
