"""Pieces of speech in which one speaker alone is heard, and which of them are of one speaker.

Short pieces rather than whole local speakers: where voices are alike, the segmentation takes two for one, and
only a piece without a change of speaker has one voice's vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from paqa.engines._clustering import unit
from paqa.engines._segmentation import SPEAKERS, Windows

# of two pieces of one voice, by their length in steps of 10 ms: short ones are less alike
LENGTHS, LIKENESS = (30, 80, 140, 200), (0.63, 0.87, 1.0, 1.03)


@dataclass(frozen=True, eq=False)
class Pieces:
    """`spans` (n, 2) in steps of 10 ms, half open; `tracks` (n,); `steps` (n,) of speech in each."""

    spans: np.ndarray
    tracks: np.ndarray
    steps: np.ndarray

    def __len__(self) -> int:
        return len(self.tracks)


@dataclass(frozen=True)
class LinkLimits:
    """When two clusters are two speakers, by their mean distance (1 - cosine) and their sizes in steps."""

    apart_short: float  # where the smaller cluster has at most `short` of speech
    apart_long: float  # where it has at least `long`; in between, straight in the logarithm
    short: int
    long: int
    most: int  # clusters
    count: int | None = None  # exactly so many clusters, where there are as many pieces


def runs(on: np.ndarray) -> list[tuple[int, int]]:
    """Runs of true steps `(n,)`, half open."""
    edges = np.flatnonzero(np.diff(np.pad(on.astype(np.int8), 1))).reshape(-1, 2)
    return [(int(a), int(b)) for a, b in edges]


def joined_runs(on: np.ndarray, others: np.ndarray, gap: int) -> list[tuple[int, int]]:
    """Runs of `on` (n,), joined over at most `gap` steps in which no one of `others` (n,) speaks."""
    joined: list[tuple[int, int]] = []
    for a, b in runs(on):
        if joined and a - joined[-1][1] <= gap and not others[joined[-1][1] : a].any():
            joined[-1] = (joined[-1][0], b)
        else:
            joined.append((a, b))
    return joined


def pieces_of(on: np.ndarray, gap: int, longest: int, shortest: int) -> Pieces:
    """Pieces of the tracks that speak `(steps, 3)`: at most `longest` steps, at least `shortest` of speech.

    A piece goes on over pauses of at most `gap` steps; a longer one is cut into equal parts.
    """
    number = on.sum(axis=1)
    pieces: list[tuple[int, int, int, int]] = []
    for track in range(SPEAKERS):
        alone = on[:, track] & (number == 1)
        for a, b in joined_runs(alone, (number > 0) & ~alone, gap):
            edges = np.linspace(a, b, -(-(b - a) // longest) + 1).round().astype(int).tolist()
            for first, end in pairwise(edges):
                pieces.append((first, end, track, int(alone[first:end].sum())))
    kept = np.array(sorted(piece for piece in pieces if piece[3] >= shortest), dtype=int).reshape(-1, 4)
    return Pieces(kept[:, :2], kept[:, 2], kept[:, 3])


def agreement(windows: Windows, pieces: Pieces) -> np.ndarray:
    """What windows that hear two pieces say `(n, n)`: 1 one local speaker, -1 two, 0 where none does."""
    n = len(pieces)
    same, both = np.zeros((n, n)), np.zeros((n, n))
    for w, start, end in windows.parts():
        shares, covered = np.zeros((n, SPEAKERS)), np.zeros(n)
        for i, (a, b) in enumerate(pieces.spans.tolist()):
            first, last = max(a, start), min(b, end)
            if last - first >= (b - a) / 2:
                mean = windows.active[w, first - start : last - start].mean(axis=0)
                shares[i], covered[i] = mean / max(float(mean.sum()), 1e-6), 1
        same += shares @ shares.T
        both += np.outer(covered, covered)
    return np.where(both > 0, 2 * same / np.maximum(both, 1) - 1, 0)


def piece_distances(vectors: np.ndarray, pieces: Pieces, agreements: np.ndarray, trust: float) -> np.ndarray:
    """Distances `(n, n)` of unit vectors `(n, d)`: 1 - cosine, the cosine made up for short pieces.

    `agreements` (n, n) in [-1, 1] is what the segmentation says; it counts `trust` at most.
    """
    scale = np.sqrt(np.interp(pieces.steps, LENGTHS, LIKENESS))
    distance = 1 - (vectors @ vectors.T) / np.outer(scale, scale) - trust * agreements
    return np.maximum((distance + distance.T) / 2, 0)


def linked(distance: np.ndarray, sizes: np.ndarray, limits: LinkLimits) -> np.ndarray:
    """Clusters `(n,)` from 0 of points with sizes `(n,)`: average linkage, weighted by size.

    Clusters merge while their mean distance is below a threshold that falls with the smaller one's size: much
    speech tells two similar voices apart, a moment that is unlike the rest may be noise.
    """
    members = [[i] for i in range(len(sizes))]
    total = distance * np.outer(sizes, sizes)
    size = sizes.astype(float)
    while len(members) > 1:
        excess = total / np.outer(size, size) - _threshold(np.minimum(size[:, None], size[None]), limits)
        np.fill_diagonal(excess, np.inf)
        i, j = sorted(int(k) for k in np.unravel_index(excess.argmin(), excess.shape))
        enough = excess[i, j] >= 0 and len(members) <= limits.most
        if enough if limits.count is None else len(members) <= limits.count:
            break
        total[i] += total[j]
        total[:, i] += total[:, j]
        size[i] += size[j]
        members[i] += members.pop(j)
        total = np.delete(np.delete(total, j, axis=0), j, axis=1)
        size = np.delete(size, j)
    labels = np.zeros(len(sizes), dtype=int)
    for label, group in enumerate(members):
        labels[group] = label
    return labels


def _threshold(size: np.ndarray, limits: LinkLimits) -> np.ndarray:
    """The distance from which clusters are different speakers, the smaller one having `size` steps."""
    at = np.log([limits.short, limits.long])
    return np.interp(np.log(np.maximum(size, 1)), at, [limits.apart_short, limits.apart_long])


def speakers_of(
    vectors: np.ndarray, distance: np.ndarray, steps: np.ndarray, sure: int, least: int, limits: LinkLimits
) -> np.ndarray:
    """The speaker `(n,)` from 0 of each piece with a unit vector `(n, d)`, a distance to others and steps.

    Pieces of at least `sure` steps are linked; clusters of fewer than `least` steps are no speakers. What is
    left goes to the nearest speaker.
    """
    chosen = np.flatnonzero(steps >= min(sure, int(steps.max())))
    if limits.count is not None and len(chosen) < limits.count:
        chosen = np.arange(len(steps))
    labels = linked(distance[np.ix_(chosen, chosen)], steps[chosen], limits)
    sizes = np.bincount(labels, weights=steps[chosen])
    kept = np.flatnonzero(sizes >= (0 if limits.count else min(least, sizes.max())))
    weighted = vectors[chosen] * steps[chosen, None]
    centres = unit(np.stack([weighted[labels == k].sum(axis=0) for k in kept]))
    speakers = (vectors @ centres.T).argmax(axis=1)
    for place, k in enumerate(kept):
        speakers[chosen[labels == k]] = place
    return np.unique(speakers, return_inverse=True)[1]
