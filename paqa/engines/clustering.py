"""Spectral clustering of unit vectors with an estimated number of clusters; numpy only, deterministic.

Wang et al., "Speaker Diarization with LSTM" (ICASSP 2018); Park et al., "Auto-Tuning Spectral Clustering for Speaker
Diarization Using Normalized Maximum Eigengap" (IEEE SPL 2020); Ning et al. for the normalised Laplacian.
"""

from __future__ import annotations

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


def spectrum(graph: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors of the unnormalised Laplacian of a symmetric graph."""
    laplacian = np.diag(graph.sum(axis=1)) - graph
    return np.linalg.eigh(laplacian)


def nme_sc(similarity: np.ndarray, most: int, fixed: int | None) -> np.ndarray:
    """Cluster numbers `(n,)`: the pruning with the best ratio of pruning to largest eigengap decides graph and count."""
    n = len(similarity)
    best: tuple[float, int, np.ndarray] | None = None
    for keep in sorted({max(2, round(n * share)) for share in np.linspace(0.02, 0.35, 18)}):
        values, vectors = spectrum(pruned(similarity, min(keep, n)))
        gaps = np.diff(values[: min(most, n - 1) + 1])
        count = int(np.argmax(gaps)) + 1
        ratio = (keep / n) / max(float(gaps.max()) / max(float(values[-1]), 1e-12), 1e-12)
        if best is None or ratio < best[0]:
            best = ratio, count, vectors
    assert best is not None
    count = fixed or best[1]
    return kmeans(best[2][:, :count], count)


def kmeans(points: np.ndarray, count: int, rounds: int = 50) -> np.ndarray:
    """Lloyd's algorithm from farthest-first centres that start at the point nearest the mean: `(n,)` numbers from 0."""
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
