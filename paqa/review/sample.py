"""The rows that people look at: a stratified sample, by template and within it by confidence.

Each template is a stratum. The rows of a stratum are put in order of their confidence and cut into as many
groups of nearly equal size as rows are to be drawn; one row of each group is drawn, by the digest of its id,
and stands for the group. So every row has a probability to be drawn that is not zero, and the weighted mean
over a stratum is unbiased (Cochran 1977, Sampling Techniques, chapters 5 and 8).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from paqa.errors import PaqaError
from paqa.types import Item

LEAST = 2  # rows of each stratum, so that one of them may go unjudged
REST = "other templates"  # the stratum of the rarest, where the sample is too small for one stratum each


@dataclass(frozen=True)
class Drawn:
    """A row of the sample: it stands for `weight` of the `stratum_rows` rows of its stratum."""

    id: str
    clip_id: str
    stratum: str
    stratum_rows: int
    weight: int


def draw(rows: Sequence[Item], size: int, seed: int = 0) -> list[Drawn]:
    """`size` rows, or all where there are fewer, rows of one clip together and clips in a random order.

    The same rows and seed give the same sample. PaqaError where `size` is below 1.
    """
    if size < 1:
        raise PaqaError(f"--review {size}: found {size}, expected the number of rows to draw, e.g. 100")
    strata = _strata(rows, size)
    counts = _allocation({name: len(members) for name, members in strata.items()}, size)
    drawn = [row for name in strata for row in _drawn(name, strata[name], counts[name], seed)]
    return sorted(drawn, key=lambda row: (_digest(seed, row.clip_id), row.id))


def _strata(rows: Sequence[Item], size: int) -> dict[str, list[Item]]:
    """Rows by template; the rarest templates together where `size` has not `LEAST` rows for each."""
    by_template: dict[str, list[Item]] = defaultdict(list)
    for row in rows:
        by_template[row.template].append(row)
    frequent = sorted(by_template, key=lambda name: (-len(by_template[name]), name))
    most = max(1, size // LEAST)
    alone = frequent if len(frequent) <= most else frequent[: most - 1]
    strata = {name: by_template[name] for name in sorted(alone)}
    if rest := [row for name in frequent if name not in strata for row in by_template[name]]:
        strata[REST] = rest
    return strata


def _allocation(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """How many rows of each stratum: `LEAST`, then in proportion to its size (Webster's method)."""
    counts = {name: min(LEAST, size, total) for name, size in sizes.items()}
    queue: list[tuple[float, str]] = []
    for name, size in sizes.items():
        heappush(queue, (-size / (2 * counts[name] + 1), name))
    left = total - sum(counts.values())
    while left > 0 and queue:
        _, name = heappop(queue)
        if counts[name] < sizes[name]:
            counts[name] += 1
            left -= 1
            heappush(queue, (-sizes[name] / (2 * counts[name] + 1), name))
    return counts


def _drawn(stratum: str, rows: Sequence[Item], count: int, seed: int) -> list[Drawn]:
    """One row of each of `count` groups of rows of about the same confidence."""
    ordered = sorted(rows, key=lambda row: (-1.0 if row.confidence is None else row.confidence, row.id))
    cuts = [i * len(ordered) // count for i in range(count + 1)]
    drawn = []
    for start, end in pairwise(cuts):
        row = min(ordered[start:end], key=lambda one: _digest(seed, one.id))
        drawn.append(Drawn(row.id, row.clip_id, stratum, len(rows), end - start))
    return drawn


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
