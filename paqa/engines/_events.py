"""From the probabilities of a tagger to events: hysteresis, edges at the signal's level, one name for one
sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from paqa import audioset
from paqa.spans import Interval, from_frames, intersect, interval, merge, total
from paqa.types import Event, Tag

EXCLUDED = (
    # speech, which diarization and transcription report
    "/m/09x0r",
    "/m/0ytgt",
    "/m/01h8n0",
    "/m/02qldy",
    "/m/0261r1",
    "/m/0brhx",
    "/m/02rtxlg",
    # silence, and where the recording was made: no event
    "/m/028v0c",
    "/t/dd00125",
    "/t/dd00126",
    "/t/dd00127",
    "/t/dd00128",
    "/t/dd00129",
    "/m/01b9nn",
    "/m/01jnbd",
)


class EventRules(Protocol):
    """What decides which probabilities are events: fields of a tagger's parameters. Times are ms."""

    @property
    def on_threshold(self) -> float: ...
    @property
    def off_threshold(self) -> float: ...
    @property
    def max_gap_ms(self) -> int: ...
    @property
    def min_duration_ms(self) -> int: ...
    @property
    def snap_ms(self) -> int: ...
    @property
    def rise_db(self) -> float: ...
    @property
    def range_db(self) -> float: ...
    @property
    def specific_margin(self) -> float: ...
    @property
    def rival_margin(self) -> float: ...


@dataclass(frozen=True)
class Hops:
    """Which time a row of probabilities stands for: row i for `length_ms` from `i * length_ms - early_ms`."""

    length_ms: int
    early_ms: int = 0


@dataclass(frozen=True, eq=False)
class ClassThresholds:
    """The ids of a network's outputs, and the probability `(classes,)` that each must reach to be an event.

    inf: never an event. A class whose own threshold was given lasts down to the same share of it as the
    others.
    """

    mids: tuple[str, ...]
    on: np.ndarray
    off: np.ndarray

    @classmethod
    def from_rules(
        cls,
        mids: Iterable[str],
        rules: EventRules,
        excluded: Iterable[str],
        own: Mapping[str, float] | None = None,
    ) -> ClassThresholds:
        """`own` gives thresholds by machine id or label; PaqaError for one that names no sound."""
        mids = tuple(mids)
        given = {
            name if name.startswith("/") else audioset.mid(name): value for name, value in (own or {}).items()
        }
        on = np.array([given.get(mid, rules.on_threshold) for mid in mids])
        off = np.minimum(on, on * (rules.off_threshold / rules.on_threshold))
        on[np.isin(mids, list(excluded))] = np.inf
        return cls(mids, on, off)


def events(
    probabilities: np.ndarray,
    level: np.ndarray,
    duration_ms: int,
    classes: ClassThresholds,
    hops: Hops,
    rules: EventRules,
) -> tuple[Event, ...]:
    """Events from `(rows, classes)` probabilities and the level in dB every 10 ms, in order of start."""
    found = []
    for k in np.flatnonzero(probabilities.max(axis=0) >= classes.on.astype(probabilities.dtype)):
        sounding = class_spans(
            probabilities[:, k], float(classes.on[k]), float(classes.off[k]), hops, rules.max_gap_ms
        )
        spans = [snapped_to_level(span, level, rules) for span in sounding]
        for start, end in merge([(a, min(b, duration_ms // 10 * 10)) for a, b in spans], rules.max_gap_ms):
            score = float(probabilities[start // hops.length_ms : -(-end // hops.length_ms) + 1, k].max())
            if end - start >= rules.min_duration_ms:
                found.append(Event(start, end, audioset.label(classes.mids[k]), classes.mids[k], score))
    return tuple(
        sorted(without_redundant(found, rules), key=lambda event: (event.start_ms, event.end_ms, event.mid))
    )


def tags(peaks: np.ndarray, mids: tuple[str, ...], floor: float) -> tuple[Tag, ...]:
    """The classes whose clip-level probability `(classes,)` is above `floor`, the surest first."""
    order = [k for k in np.argsort(-peaks, kind="stable") if peaks[k] > floor]
    return tuple(Tag(mids[k], float(peaks[k])) for k in order)


def class_spans(
    probability: np.ndarray, on: float, off: float, hops: Hops, max_gap_ms: int
) -> list[Interval]:
    """Spans in ms where one class of probability `(rows,)` sounds: at least `off` throughout and `on`
    somewhere.
    """
    runs = from_frames((probability >= off).tolist(), 1)
    loud = [(a, b) for a, b in runs if probability[a:b].max() >= on]
    spans = [
        (max(0, a * hops.length_ms - hops.early_ms), b * hops.length_ms - hops.early_ms) for a, b in loud
    ]
    return merge(spans, max_gap_ms)


def smoothed(level: np.ndarray, duration_ms: int) -> np.ndarray:
    """A level in dB every 10 ms, averaged over 50 ms, for the `duration_ms` of the clip."""
    smooth = np.convolve(np.pad(level, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    return smooth[: max(1, -(-duration_ms // 10))]


def snapped_to_level(span: Interval, level: np.ndarray, rules: EventRules) -> Interval:
    """The span with its edges where the level rises and falls, if that is near; else as it was, inside the
    clip.
    """
    start, end = span[0] // 10, min(-(-span[1] // 10), len(level))
    start, reach = min(start, end - 1), rules.snap_ms // 10
    floor, peak = np.percentile(level, 10), level[start:end].max()
    active = level >= max(floor + rules.rise_db, peak - rules.range_db)
    from_end = nearest_edge(active[::-1], len(level) - end, reach)
    return nearest_edge(active, start, reach) * 10, (len(level) - from_end) * 10


def nearest_edge(active: np.ndarray, start: int, reach: int) -> int:
    """Where the sound at `start`, or the next one, begins; `start` if that is more than `reach` frames
    away.
    """
    edge = start
    if active[start]:
        while edge > 0 and active[edge - 1]:
            edge -= 1
    else:
        while edge < len(active) and not active[edge]:
            edge += 1
    return edge if abs(edge - start) <= reach and edge < len(active) else start


def without_redundant(events: list[Event], rules: EventRules) -> list[Event]:
    """Without events that others of the same time make redundant: a kind and its genus, and weaker rivals."""
    return [
        event for event in events if not covered(event, [o for o in events if displaces(o, event, rules)])
    ]


def displaces(other: Event, event: Event, rules: EventRules) -> bool:
    """Whether `other` sounds at the same time and is the better name for what is heard."""
    if other.start_ms >= event.end_ms or event.start_ms >= other.end_ms or other.mid == event.mid:
        return False
    if event.mid in audioset.ancestors(other.mid):
        return other.score >= event.score - rules.specific_margin
    if other.mid in audioset.ancestors(event.mid):
        return event.score < other.score - rules.specific_margin
    return event.score < other.score - rules.rival_margin


def covered(event: Event, others: list[Event]) -> bool:
    """Whether the others together cover at least half of the event."""
    shared = intersect([interval(event)], [interval(other) for other in others])
    return total(shared) * 2 >= event.end_ms - event.start_ms
