"""Is this the same sound again, louder, resampled, encoded as MP3 or cut out of a longer file?

The robust hash of Haitsma and Kalker (ISMIR 2002): energies of 33 bands from 300 Hz to 3.4 kHz in frames of 0.38 s,
and per frame 32 bits, each the sign of how the difference of two neighbouring bands changes from one frame to the next.
A gain cancels out, and so does most of what a codec does; another pitch or speed is another sound. Two clips are
compared where a frame of one has the same 32 bits as a frame of the other, at the offset which that gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from paqa.audio import resample
from paqa.types import Audio

VERSION = 1  # raise when the bits of the same audio change
RATE = 8000
WINDOW = 3072
HOP = 256  # 32 ms, a twelfth of a frame: copies cut elsewhere fall at most half of that apart
HOP_MS = 1000 * HOP // RATE
BANDS = 33
BAND_HZ = (300.0, 3400.0)
QUIET_DB = 45.0  # frames this far below the loudest one say nothing
SAME_BITS = 0.8  # of the bits in common at least; unrelated audio has half of them, and 0.65 at the very most
RUN = 24  # frames over which that is averaged: 0.8 s, also the least that can match
SHARE = 0.8  # of the shorter clip that must match ...
ENOUGH = 94  # ... or this many frames: 3 s of the same recording are a leak whatever surrounds them
NEIGHBOURS = 4  # entries of the sorted list of all frames that one is compared with
AROUND = 8  # frames on either side that must look alike before a whole clip is compared
BLOCK = 1 << 19  # frames looked up at once


@dataclass(frozen=True)
class Match:
    """Two clips, by number, with the same sound in them: `shared_ms` of it.

    `within` is the share of the shorter clip's sound that this is: near 1, it is a part of the other. `cover` is that
    of the longer one: near 1, the clips are the same.
    """

    first: int
    second: int
    shared_ms: int
    within: float
    cover: float


def fingerprint(audio: Audio) -> np.ndarray:
    """One uint32 per 32 ms of audio (any rate, channels averaged); 0 where it is near silence."""
    mono = Audio(audio.samples.mean(axis=0, keepdims=True, dtype=np.float32), audio.rate)
    samples = np.pad(resample(mono, RATE).samples[0], WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    energy = np.concatenate([_energies(frames[i : i + 512]) for i in range(0, len(frames), 512)])
    slope = energy[:, :-1] - energy[:, 1:]
    words = np.packbits(slope[1:] > slope[:-1], axis=1).view(">u4")[:, 0].astype(np.uint32)
    loud = energy[1:].sum(axis=1)
    words[loud <= loud.max(initial=0.0) * 10 ** (-QUIET_DB / 10)] = 0
    return words


def _energies(frames: np.ndarray) -> np.ndarray:
    """Energies `(frames, BANDS)` of samples `(frames, WINDOW)`."""
    spectrum: np.ndarray = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    return spectrum @ _bands()


@cache
def _bands() -> np.ndarray:
    """`(bins, BANDS)`: which bin of the spectrum belongs to which band."""
    edges = np.geomspace(*BAND_HZ, BANDS + 1)
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)
    return ((bins[:, None] >= edges[:-1]) & (bins[:, None] < edges[1:])).astype(float)


def matches(prints: Sequence[np.ndarray]) -> list[Match]:
    """Pairs of clips that share sound, first < second, in order.

    Of many copies of one sound not every pair is listed, but enough that following the pairs finds them all.
    """
    found: dict[tuple[int, int], Match] = {}
    for first, second, offset in sorted(_candidates(prints)):
        match = _compare(first, second, offset, prints)
        known = found.get((first, second))
        if match and (known is None or match.shared_ms > known.shared_ms):
            found[first, second] = match
    return [found[pair] for pair in sorted(found)]


def _candidates(prints: Sequence[np.ndarray]) -> set[tuple[int, int, int]]:
    """Clips and the offset (frames of the first before the second begins) at which they look alike somewhere."""
    gap = np.zeros(AROUND, np.uint32)
    words = np.concatenate([gap, *(part for one in prints for part in (one, gap))])
    starts = np.cumsum([AROUND, *(len(one) + AROUND for one in prints)])
    at = words.nonzero()[0]
    owner = np.searchsorted(starts, at, side="right") - 1
    order = np.lexsort((at, words[at]))
    at, owner = at[order], owner[order]
    once = np.ones(len(at), bool)  # a steady tone has the same frame all the time: the first one will do
    once[1:] = (words[at[1:]] != words[at[:-1]]) | (owner[1:] != owner[:-1])
    at, owner = at[once], owner[once]
    found: set[tuple[int, int, int]] = set()
    for begin in range(0, len(at), BLOCK):
        for step in range(1, NEIGHBOURS + 1):
            a, b = at[begin : begin + BLOCK], at[begin + step : begin + step + BLOCK]
            a = a[: len(b)]
            pairs = (words[a] == words[b]).nonzero()[0] + begin
            alike = _look_alike(words, at[pairs], at[pairs + step])
            for i in pairs[alike]:
                one, other = int(owner[i]), int(owner[i + step])
                found.add((one, other, int((at[i] - starts[one]) - (at[i + step] - starts[other]))))
    return found


def _look_alike(words: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether the frames around two places have clearly more than half of their bits in common."""
    if not len(a):
        return np.zeros(0, bool)
    same = [_same(words[a + k], words[b + k]) for k in range(-AROUND, AROUND + 1)]
    return np.mean(same, axis=0) >= (SAME_BITS + 0.5) / 2


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The share of bits in common, frame by frame; half of them where one is silent."""
    different = np.unpackbits((a ^ b).astype(np.uint32)[:, None].view(np.uint8), axis=1).sum(axis=1)
    return np.where((a == 0) | (b == 0), 0.5, 1 - different / 32)


def _compare(first: int, second: int, offset: int, prints: Sequence[np.ndarray]) -> Match | None:
    """How much of two clips is the same at this offset; None where it is too little."""
    a, b = prints[first][max(0, offset) :], prints[second][max(0, -offset) :]
    n = min(len(a), len(b))
    a, b = a[:n], b[:n]
    sounding = (a != 0) & (b != 0)
    same = _same(a[sounding], b[sounding])
    if len(same) < RUN:
        return None
    means = np.convolve(same, np.full(RUN, 1 / RUN), "valid")
    matching = np.convolve(means >= SAME_BITS, np.ones(RUN)) > 0  # every frame of a run that is the same on average
    shared = int(matching.sum())
    sizes = sorted(int(np.count_nonzero(prints[i])) for i in (first, second))
    if shared < min(SHARE * sizes[0], ENOUGH):
        return None
    return Match(first, second, shared * HOP_MS, shared / sizes[0], shared / sizes[1])
