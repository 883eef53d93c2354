"""Where long audio is cut into clips: in the quietest places."""

from __future__ import annotations

import math

import numpy as np

from paqa.spans import Interval
from paqa.types import Audio


def windows(audio: Audio, max_ms: int) -> list[Interval]:
    """Pieces of at most `max_ms` that cover `[0, duration)`: as even as quiet places to cut allow.

    Pieces are planned at no more than 90 % of `max_ms`, so that each cut may move by up to a fifth of a piece
    to the middle of the quietest 200 ms there.
    """
    duration = audio.duration_ms
    if duration <= max_ms:
        return [(0, duration)]
    count = math.ceil(duration / (0.9 * max_ms))
    even = duration / count
    centres, energy = _energy(audio)
    cuts = [0]
    for k in range(1, count):
        low = max(k * even - even / 5, duration - (count - k) * max_ms)
        high = min(k * even + even / 5, cuts[-1] + max_ms)
        cuts.append(_quietest(centres, energy, low, high, k * even))
    return list(zip(cuts, [*cuts[1:], duration], strict=True))


def _energy(audio: Audio) -> tuple[np.ndarray, np.ndarray]:
    """The middle in ms, and the energy, of every 200 ms stretch, one each 10 ms."""
    hop = max(1, audio.rate // 100)
    frames = audio.samples.shape[1] // hop
    framed = audio.samples[:, : frames * hop].reshape(len(audio.samples), frames, hop)
    total = np.concatenate([[0.0], np.cumsum(np.einsum("cfh,cfh->f", framed, framed), dtype=np.float64)])
    width = min(20, frames)
    starts = np.arange(frames - width + 1)
    return (starts + width / 2) * hop * 1000 / audio.rate, total[width:] - total[:-width]


def _quietest(centres: np.ndarray, energy: np.ndarray, low: float, high: float, middle: float) -> int:
    """The centre in `[low, high]` ms with the least energy; of equals the one nearest to the middle."""
    first, last = np.searchsorted(centres, [math.ceil(low), math.floor(high)])
    if last <= first:
        return round(min(max(middle, math.ceil(low)), math.floor(high)))
    levels = energy[first:last]
    quiet = first + np.flatnonzero(levels <= levels.min() + 1e-9)
    return round(float(centres[quiet[np.argmin(np.abs(centres[quiet] - middle))]]))
