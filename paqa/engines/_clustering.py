"""Clustering of unit vectors with an estimated number of clusters; deterministic.

Average linkage over cosine distances (as in Sell and Garcia-Romero, "Speaker diarization with PLDA i-vector
scoring and unsupervised calibration", SLT 2014) finds clusters and their number. Ng, Jordan and Weiss (NIPS
2001), with the pruned affinities of Park et al., "Auto-Tuning Spectral Clustering for Speaker Diarization
Using Normalized Maximum Eigengap" (IEEE SPL 2020), divides where the number is known, or where linkage sees
one cluster in what may be two. The eigengap was no help for counting here: it gave 1, 5 and 8 for a call of
two speakers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClusterLimits:
    """What counts as a cluster."""

    apart: float  # mean cosine distance from which clusters are different
    least: int  # points in the smallest cluster
    most: int  # clusters
    two_limit: float  # halves of one cluster are two all the same if their centroids have a smaller cosine
    two_least: int  # and each has this many points


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors `(..., d)` scaled to length 1; zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def average_linkage(points: np.ndarray, apart: float) -> np.ndarray:
    """Numbers `(n,)` from 0: unit vectors `(n, d)`, linked while clusters are nearer than `apart`."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(points) < 2:
        return np.zeros(len(points), dtype=int)
    tree = linkage(points.astype(np.float64), "average", metric="cosine")
    return renumbered(fcluster(tree, apart, "distance"))


def renumbered(labels: np.ndarray) -> np.ndarray:
    """The same clusters `(n,)`, numbered from 0 without gaps."""
    return np.unique(labels, return_inverse=True)[1]


def without_small_clusters(points: np.ndarray, labels: np.ndarray, least: int, most: int) -> np.ndarray:
    """Numbers `(n,)` of at most `most` clusters, each of at least `least` of the points `(n, d)`.

    The smallest cluster goes first; its points join those with the nearest centroids.
    """
    while (sizes := np.bincount(labels)).size > 1 and (sizes.min() < least or sizes.size > most):
        smallest = sizes.argmin()
        near = points @ centroids(points, labels).T
        near[:, smallest] = -np.inf
        labels = renumbered(np.where(labels == smallest, near.argmax(axis=1), labels))
    return labels


def nearest_neighbour_graph(similarity: np.ndarray, keep: int) -> np.ndarray:
    """Each row's `keep` largest similarities as 1, the rest 0, averaged with the transpose: `(n, n)`."""
    graph = np.zeros_like(similarity)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :keep]
    np.put_along_axis(graph, nearest, 1.0, axis=1)
    return (graph + graph.T) / 2


def spectral_clusters(points: np.ndarray, count: int, keep_share: float) -> np.ndarray:
    """Numbers `(n,)` from 0 for unit vectors `(n, d)`: `count` clusters of their pruned similarity graph.

    The clusters of the smoothest eigenvectors of its Laplacian; fewer where there are not as many points.
    """
    count = min(count, len(points))
    if count < 2:
        return np.zeros(len(points), dtype=int)
    points = points.astype(np.float64)
    graph = nearest_neighbour_graph(points @ points.T, max(2, round(len(points) * keep_share)))
    laplacian = np.diag(graph.sum(axis=1)) - graph
    return renumbered(kmeans(np.linalg.eigh(laplacian)[1][:, :count], count))


def kmeans(points: np.ndarray, count: int, rounds: int = 50) -> np.ndarray:
    """Lloyd's algorithm from farthest-first centres, the first nearest the mean: `(n,)` numbers from 0."""
    centres = [points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]]
    while len(centres) < count:
        distance = np.min([((points - c) ** 2).sum(axis=1) for c in centres], axis=0)
        centres.append(points[np.argmax(distance)])
    centre, labels = np.stack(centres), np.zeros(len(points), dtype=int)
    for _ in range(rounds):
        labels = ((points[:, None] - centre[None]) ** 2).sum(axis=2).argmin(axis=1)
        moved = centre.copy()
        for k in np.unique(labels):
            moved[k] = points[labels == k].mean(axis=0)
        if np.array_equal(moved, centre):
            break
        centre = moved
    return labels


def centroids(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The unit mean of every cluster, `(clusters, dimensions)`."""
    return unit(np.stack([points[labels == k].mean(axis=0) for k in np.unique(labels)]))


def cluster(fine: np.ndarray, coarse: np.ndarray, keep_share: float, limits: ClusterLimits) -> np.ndarray:
    """Numbers `(n,)` from 0, of as many clusters as there are by the limits.

    `fine` and `coarse` are the same points `(n, d)` as unit vectors, averaged over little time and over more:
    linkage needs little noise, edges need little blur.
    """
    labels = without_small_clusters(fine, average_linkage(coarse, limits.apart), limits.least, limits.most)
    if labels.max() > 0 or limits.most < 2:
        return labels
    halves = spectral_clusters(fine, 2, keep_share)
    if np.bincount(halves, minlength=2).min() < limits.two_least:
        return labels
    first, second = centroids(fine, halves)
    return halves if first @ second < limits.two_limit else labels
