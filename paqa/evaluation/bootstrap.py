"""Bootstrap intervals: how far a figure would move had other clips of the same kind been measured.

As many clips as there are are drawn with replacement, `DRAWS` times, and the figure computed from each draw;
the interval holds the middle 95 % (the percentile method; Efron and Tibshirani 1993). Seeded, and independent
of the order of the clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

DRAWS = 1000
SEED = 0
LEVELS = (2.5, 97.5)

Interval = tuple[float, float]


def _draws(clips: int) -> np.ndarray:
    """How often each clip is in each draw, `(DRAWS, clips)`."""
    import numpy as np

    return np.random.default_rng(SEED).multinomial(clips, np.full(clips, 1 / clips), DRAWS)


def _percentile_interval(values: np.ndarray) -> Interval | None:
    """The interval of a figure's values; draws in which there was nothing to measure are NaN and left out."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, LEVELS)
    return float(low), float(high)


def of_ratio(parts: Sequence[tuple[float, float]]) -> Interval | None:
    """The interval of the sum of the first numbers over that of the second, one pair a clip.

    None with fewer than two clips.
    """
    import numpy as np

    if len(parts) < 2:
        return None
    sums = _draws(len(parts)) @ np.array(sorted(parts), float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _percentile_interval(sums[:, 0] / sums[:, 1])


def of_mean_ap(sounding: np.ndarray, scores: np.ndarray) -> Interval | None:
    """The interval of the mean average precision, from what sounds and its scores, `(clips, classes)`.

    A draw without a clip in which a class sounds says nothing about that class.
    """
    import numpy as np

    clips, classes = sounding.shape
    if clips < 2 or not classes:
        return None
    order = np.lexsort(np.concatenate([scores, sounding], axis=1).T)
    sounding, scores, draws = sounding[order], scores[order], _draws(clips)
    precision = [_average_precision(sounding[:, k], scores[:, k], draws) for k in range(classes)]
    defined = np.isfinite(precision)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _percentile_interval(np.where(defined, precision, 0).sum(axis=0) / defined.sum(axis=0))


def _average_precision(sounding: np.ndarray, scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Average precision of one class in each draw, `(DRAWS,)`; equal scores together, as in scikit-learn."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of those with one score
    retrieved = np.cumsum(draws[:, order], axis=1)[:, last]
    right = np.cumsum(draws[:, order] * sounding[order], axis=1)[:, last]
    with np.errstate(divide="ignore", invalid="ignore"):
        gained = np.diff(right, axis=1, prepend=0) / right[:, -1:]
        return (gained * np.where(retrieved > 0, right / np.maximum(retrieved, 1), 0)).sum(axis=1)
