"""Interval arithmetic on half-open `[start_ms, end_ms)` spans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from paqa.types import Spanned

Interval = tuple[int, int]


def interval(span: Spanned) -> Interval:
    """The bare `(start_ms, end_ms)` of anything with a span."""
    return span.start_ms, span.end_ms


def overlap(a: Interval, b: Interval) -> int:
    """Shared milliseconds; 0 for spans that only touch."""
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


def gap(a: Interval, b: Interval) -> int:
    """Milliseconds of silence between two spans; 0 where they touch or overlap."""
    return max(0, max(a[0], b[0]) - min(a[1], b[1]))


def merge(spans: Iterable[Interval], within_ms: int = 0) -> list[Interval]:
    """The union as disjoint sorted intervals, joined where at most `within_ms` apart; none is empty."""
    merged: list[Interval] = []
    for start, end in sorted(s for s in spans if s[1] > s[0]):
        if merged and start - merged[-1][1] <= within_ms:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def total(spans: Iterable[Interval]) -> int:
    """Milliseconds covered by at least one span."""
    return sum(end - start for start, end in merge(spans))


def intersect(a: Iterable[Interval], b: Iterable[Interval]) -> list[Interval]:
    """What is covered by both unions, as disjoint sorted intervals."""
    left, right, shared = merge(a), merge(b), []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            shared.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return shared


def clip(span: Interval, window: Interval) -> Interval | None:
    """The part of a span inside a window, relative to the window's start; None where nothing is left."""
    start, end = max(span[0], window[0]), min(span[1], window[1])
    return (start - window[0], end - window[0]) if start < end else None


def from_frames(active: Sequence[bool], hop_ms: float) -> list[Interval]:
    """Runs of active frames as intervals; frame i covers `[i * hop_ms, (i + 1) * hop_ms)`."""
    runs: list[Interval] = []
    start = None
    for i, on in enumerate([*active, False]):
        if on and start is None:
            start = i
        elif not on and start is not None:
            runs.append((round(start * hop_ms), round(i * hop_ms)))
            start = None
    return runs
