"""Spectral clustering of unit vectors with an estimated number of clusters; numpy only, deterministic.

Ng, Jordan and Weiss (NIPS 2001); pruned affinities as in Park et al., "Auto-Tuning Spectral Clustering for Speaker
Diarization Using Normalized Maximum Eigengap" (IEEE SPL 2020). Their eigengap was no help for counting here (it said
1, 5 and 8 for a call of two): the count is the largest whose clusters are all different enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def pruned(similarity: np.ndarray, keep: int) -> np.ndarray:
    """Each row's `keep` largest similarities as 1, the rest 0, averaged with the transpose: `(n, n)`."""
    graph = np.zeros_like(similarity)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :keep]
    np.put_along_axis(graph, nearest, 1.0, axis=1)
    return (graph + graph.T) / 2


def spectral_map(points: np.ndarray, keep_share: float, most: int) -> np.ndarray:
    """The `most` smoothest eigenvectors `(n, most)` of the Laplacian of the pruned similarity graph of unit vectors."""
    points = points.astype(np.float64)
    graph = pruned(points @ points.T, max(2, round(len(points) * keep_share)))
    laplacian = np.diag(graph.sum(axis=1)) - graph
    return np.linalg.eigh(laplacian)[1][:, :most]


def kmeans(points: np.ndarray, count: int, rounds: int = 50) -> np.ndarray:
    """Lloyd's algorithm from farthest-first centres, the first nearest the mean: `(n,)` numbers from 0."""
    centres = [points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]]
    while len(centres) < count:
        distance = np.min([((points - c) ** 2).sum(axis=1) for c in centres], axis=0)
        centres.append(points[np.argmax(distance)])
    centre, labels = np.stack(centres), np.zeros(len(points), dtype=int)
    for _ in range(rounds):
        labels = ((points[:, None] - centre[None]) ** 2).sum(axis=2).argmin(axis=1)
        moved = np.stack([points[labels == k].mean(axis=0) if (labels == k).any() else centre[k] for k in range(count)])
        if np.array_equal(moved, centre):
            break
        centre = moved
    return labels


def centroids(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The unit mean of every cluster, `(clusters, dimensions)`."""
    return unit(np.stack([points[labels == k].mean(axis=0) for k in np.unique(labels)]))


def closest_pair(centres: np.ndarray) -> float:
    """The largest cosine between two different unit vectors."""
    cosines = centres @ centres.T
    return float(cosines[np.triu_indices(len(centres), 1)].max())


@dataclass(frozen=True)
class Belief:
    """When a split into k clusters is believed, by the largest cosine between two of its centroids."""

    clear: float  # below this the clusters are different
    two: float  # below this two clusters are, if the smaller has its fair share
    more: float  # and this is the same for three and more
    fair: float  # of an equal share of the points
    least: int  # points in the smallest cluster

    def holds(self, points: np.ndarray, labels: np.ndarray) -> bool:
        """Whether the clusters of unit vectors `(n, d)` are all different enough to be believed."""
        count, smallest = labels.max() + 1, np.bincount(labels).min()
        cosine = closest_pair(centroids(points, labels)) if count > 1 else 1.0
        doubtful = cosine < (self.two if count == 2 else self.more) and smallest * count >= self.fair * len(labels)
        return bool(smallest >= self.least and (cosine < self.clear or doubtful))


def cluster(points: np.ndarray, keep_share: float, belief: Belief, most: int, fixed: int | None) -> np.ndarray:
    """Numbers `(n,)` from 0 for unit vectors `(n, d)`: of the largest count that is believed, or of `fixed`."""
    labels = np.zeros(len(points), dtype=int)
    most = min(fixed or most, len(points))
    if most < 2:
        return labels
    space = spectral_map(points, keep_share, most)
    for count in [most] if fixed else range(2, most + 1):
        split = np.unique(kmeans(space[:, :count], count), return_inverse=True)[1]
        if fixed or (split.max() + 1 == count and belief.holds(points, split)):
            labels = split
    return labels
