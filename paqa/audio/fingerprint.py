"""Is this the same sound again, louder, resampled, encoded as MP3 or cut out of a longer file?

The robust hash of Haitsma and Kalker (ISMIR 2002): energies of 33 bands from 300 Hz to 3.4 kHz in frames of
0.38 s, and per frame 32 bits, each the sign of how the difference of two neighbouring bands changes from one
frame to the next. A gain cancels out, and so does most of what a codec does; another pitch or speed is
another sound. Two clips are compared where a frame of one has the same 32 bits as a frame of the other, at
the offset which that gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
QUIET_DB = 45.0  # frames this far below the loudest one count as silence
SAME_BITS = 0.8  # of the bits in common at least; unrelated audio has half of them, and 0.65 at the very most
RUN = 24  # frames over which that is averaged: 0.8 s, also the least that can match
SHARE = 0.8  # of the shorter clip that must match ...
ENOUGH = 94  # ... or this many frames: 3 s of the same recording are a leak whatever surrounds them
NEIGHBOURS = 4  # entries of the sorted list of all frames that one is compared with
AROUND = 8  # frames on either side that must look alike before a whole clip is compared
BLOCK = 1 << 19  # frames looked up at once
MOST_DIFFERENT = int((1 - SAME_BITS) * 32 * RUN)  # bits in a run that is the same on average
MOST_UNLIKE = int((0.5 - SAME_BITS / 2 + 0.25) * 32 * (2 * AROUND + 1))  # and around frames that look alike


@dataclass(frozen=True)
class Match:
    """Two clips, by number, with the same sound in them: `shared_ms` of it.

    `within` is the share of the shorter clip's sound that this is: near 1, it is a part of the other. `cover`
    is that of the longer one: near 1, the clips are the same.
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


def find_matches(prints: Sequence[np.ndarray]) -> list[Match]:
    """Pairs of clips that share sound, first < second, in order; `prints` are fingerprints `(n,)` of clips.

    Of many copies of one sound not every pair is listed, but enough that following the pairs finds them all.
    Of many clips with a common part not even that holds: `matches_between_splits` finds all that would leak.
    """
    frames = _FrameIndex.of(prints, np.zeros(len(prints), int))
    pairs = []
    for begin in range(0, len(frames.at), BLOCK):
        for step in range(1, NEIGHBOURS + 1):
            entries = np.arange(begin, min(begin + BLOCK, len(frames.at) - step))
            pairs.append(frames.similar(entries, entries + step))
    return _longest(frames.compare(_unique(pairs)))


def matches_between_splits(
    prints: Sequence[np.ndarray], splits: Sequence[int], ranks: Sequence[int] | None = None
) -> list[Match]:
    """For every clip that shares sound with one of another split and a lower rank, one such pair at least.

    `prints` are fingerprints `(n,)` of clips. Ranks are the numbers of the splits unless others are passed;
    pairs have first < second, in order. Nothing that two clips share is overlooked, however many others have
    it too: whether they match depends on these two alone. A clip that has its match is not compared any
    further, so that a jingle in all clips costs one comparison each; what a clip shares too little of is
    compared with every clip of a lower rank that has it.
    """
    split, rank = np.asarray(splits, int), np.asarray(splits if ranks is None else ranks, int)
    frames = _FrameIndex.of(prints, rank)
    first, lower = frames.lower_ranked(rank)
    waiting = lower.nonzero()[0]  # entries that have others of a lower rank to be compared with
    matched = np.zeros(len(prints), bool)
    matches: list[Match] = []
    compared, step = 0, 1  # of the others of each entry, how many were compared, and how many come next
    while len(waiting):
        rounds = np.arange(compared, compared + step)
        for batch in np.array_split(waiting, -(-len(waiting) * step // BLOCK)):
            entries, nth = np.repeat(batch, step), np.tile(rounds, len(batch))
            exists = nth < lower[entries]
            entries, others = entries[exists], (first[entries] + nth)[exists]
            apart = split[frames.owner[entries]] != split[frames.owner[others]]
            for match in frames.compare(_unique([frames.similar(others[apart], entries[apart])])):
                matched[max(match.first, match.second, key=rank.item)] = True
                matches.append(match)
        compared += step
        waiting = waiting[(lower[waiting] > compared) & ~matched[frames.owner[waiting]]]
        step = max(1, min(2 * step, BLOCK // max(1, len(waiting))))
    return _longest(matches)


def _longest(matches: Iterable[Match]) -> list[Match]:
    """Of each pair of clips the match that is longest, in order."""
    best: dict[tuple[int, int], Match] = {}
    for match in matches:
        pair = (match.first, match.second)
        if pair not in best or match.shared_ms > best[pair].shared_ms:
            best[pair] = match
    return [best[pair] for pair in sorted(best)]


@dataclass(frozen=True)
class _FrameIndex:
    """All frames of all clips in one row of `words` `(n,)`, with silence between clips, and an index of them.

    The entries of the index are `at`, positions in `words`, one for each clip and word (a steady tone has the
    same frame all the time: the first one will do), by word, then by the rank of their clip; `owner` is the
    number of the clip of each. Of each clip, `starts`, `lengths` and `sounding` say in frames where it
    begins, how long it is, and how much of it is no silence.
    """

    words: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    sounding: np.ndarray
    at: np.ndarray
    owner: np.ndarray

    @classmethod
    def of(cls, prints: Sequence[np.ndarray], rank: np.ndarray) -> _FrameIndex:
        """The index of fingerprints, each `(n,)`, of clips with ranks `(clips,)`."""
        gap = np.zeros(AROUND, np.uint32)
        rows = [gap]
        for clip_print in prints:
            rows += [clip_print, gap]
        words = np.concatenate(rows)
        lengths = np.array([len(clip_print) for clip_print in prints], int)
        starts = AROUND + np.concatenate([[0], np.cumsum(lengths + AROUND)])[:-1]
        at = words.nonzero()[0]
        owner = np.searchsorted(starts, at, side="right") - 1
        order = np.lexsort((at, rank[owner], words[at]))
        at, owner = at[order], owner[order]
        once = np.ones(len(at), bool)
        once[1:] = (words[at[1:]] != words[at[:-1]]) | (owner[1:] != owner[:-1])
        sounding = np.array([np.count_nonzero(clip_print) for clip_print in prints], int)
        return cls(words, starts, lengths, sounding, at[once], owner[once])

    def lower_ranked(self, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each entry, `(entries,)`: the first entry of its word, and how many of that word rank lower.

        `rank` is that of each clip, `(clips,)`.
        """
        numbers = np.arange(len(self.at))
        word, entry_rank = self.words[self.at], rank[self.owner]
        new_word = np.concatenate([[True], word[1:] != word[:-1]])[: len(word)]
        new_rank = new_word | np.concatenate([[True], entry_rank[1:] != entry_rank[:-1]])[: len(word)]
        first = np.maximum.accumulate(np.where(new_word, numbers, 0))
        return first, np.maximum.accumulate(np.where(new_rank, numbers, 0)) - first

    def similar(self, firsts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        """Pairs of entries `(n,)` with one word, whose surroundings share clearly over half of their bits.

        Rows `(m, 3)` of: a clip, another clip, and the offset (frames of the first before the second begins).
        """
        same = self.words[self.at[firsts]] == self.words[self.at[seconds]]
        firsts, seconds = firsts[same], seconds[same]
        a, b = self.at[firsts], self.at[seconds]
        unlike = np.zeros(len(a), np.uint16)
        for k in range(-AROUND, AROUND + 1):
            unlike += _different(self.words[a + k], self.words[b + k])
        near = unlike <= MOST_UNLIKE
        first, second = self.owner[firsts[near]], self.owner[seconds[near]]
        offset = (a[near] - self.starts[first]) - (b[near] - self.starts[second])
        return np.stack([first, second, offset], axis=1)

    def compare(self, pairs: np.ndarray) -> Iterator[Match]:
        """The matches among pairs of clips at an offset, rows `(n, 3)` as `similar` gives them."""
        frames = np.cumsum(np.minimum(self.lengths[pairs[:, 0]], self.lengths[pairs[:, 1]]))
        for block in np.split(pairs, np.diff(frames // BLOCK).nonzero()[0] + 1):
            first, second, _ = block.T
            shared = self._shared(*block.T)
            sizes = np.sort(np.stack([self.sounding[first], self.sounding[second]]), axis=0)
            enough = (shared > 0) & (shared >= np.minimum(SHARE * sizes[0], ENOUGH))
            for i in enough.nonzero()[0]:
                count = int(shared[i])
                low, high = sorted((int(first[i]), int(second[i])))
                within, cover = count / int(sizes[0, i]), count / int(sizes[1, i])
                yield Match(low, high, count * HOP_MS, within, cover)

    def _shared(self, first: np.ndarray, second: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """How many frames of two clips are the same at an offset: in runs of `RUN` that are so on average."""
        skip, wait = np.maximum(0, offset), np.maximum(0, -offset)
        both = np.minimum(self.lengths[first] - skip, self.lengths[second] - wait)
        pair = np.repeat(np.arange(len(both)), both)
        step = np.arange(len(pair)) - np.repeat(np.cumsum(both) - both, both)
        a = self.words[(self.starts[first] + skip)[pair] + step]
        b = self.words[(self.starts[second] + wait)[pair] + step]
        sounding = (a != 0) & (b != 0)
        a, b, pair = a[sounding], b[sounding], pair[sounding]
        if len(pair) < RUN:
            return np.zeros(len(both), int)
        sums = np.concatenate([[0], np.cumsum(_different(a, b), dtype=int)])
        alike = sums[RUN:] - sums[:-RUN] <= MOST_DIFFERENT
        run = (alike & (pair[RUN - 1 :] == pair[: -RUN + 1])).astype(int)
        cover = np.concatenate([run, np.zeros(RUN, int)])
        cover[RUN:] -= run
        return np.bincount(pair[np.cumsum(cover)[:-1] > 0], minlength=len(both))


def _unique(pairs: Sequence[np.ndarray]) -> np.ndarray:
    """Rows `(n, 3)` of all parts, sorted, each once."""
    rows = np.concatenate([np.zeros((0, 3), int), *pairs])
    rows = rows[np.lexsort(rows.T[::-1])]
    return rows[np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)])[: len(rows)]]


def _different(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many of the 32 bits differ, frame by frame; half of them where one is silent."""
    bits, different = _bits(), a ^ b
    count = bits[different & 0xFFFF] + bits[different >> 16]
    count[(a == 0) | (b == 0)] = 16
    return count


@cache
def _bits() -> np.ndarray:
    """How many bits are set in each 16-bit number."""
    bits = np.unpackbits(np.arange(1 << 16, dtype=">u2").view(np.uint8)).reshape(-1, 16)
    return bits.sum(axis=1, dtype=np.uint8)
