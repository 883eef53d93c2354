"""From a tagger's probabilities to events: hysteresis, edges at the signal's level, one name a sound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from paqa import audioset
from paqa.engines._signal import fit_length
from paqa.engines.base import Amount, Decibels, Millis
from paqa.engines.event_scores import NO_EVENTS
from paqa.spans import Interval, from_frames, intersect, interval, merge, overlap, total
from paqa.types import Event, Tag, Unit


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
class SpanParams:
    """What decides which spans of a tagger are events and tags: parameters of every tagger of probabilities.

    Thresholds and scores are probabilities, times are ms. Thresholds are usual ones, not tuned.
    """

    on_threshold: Unit = 0.4  # a span must reach this probability
    off_threshold: Unit = 0.1  # and lasts while the probability is at least this
    # on_threshold of single classes, by id or label
    class_thresholds: dict[str, Amount] = field(default_factory=dict)
    max_gap_ms: Millis = 640  # spans of one class at most this far apart become one
    min_duration_ms: Millis = 100  # shorter events are dropped
    snap_ms: Millis = 700  # an edge moves at most this far to where the level rises or falls; 0: edges stay
    rise_db: Decibels = 4.0  # level above the clip's floor that counts as sound
    range_db: Decibels = 40.0  # level below an event's loudest moment that no longer counts as sound
    # a kind of sound replaces what it is a kind of unless its score is lower by more
    specific_margin: Amount = 0.2
    rival_margin: Amount = 0.3  # an event goes where an unrelated one of the same time scores higher by more
    tag_floor: Unit = 0.01  # classes with a lower clip-level probability are not listed in tags
    excluded: tuple[str, ...] = NO_EVENTS  # machine ids that are never events (they stay in tags)


@dataclass(frozen=True)
class Hops:
    """Which time a row of probabilities stands for: row i for `length_ms` from `i * length_ms - early_ms`."""

    length_ms: int
    early_ms: int = 0


@dataclass(frozen=True, eq=False)
class ClassThresholds:
    """The ids of a network's outputs, and the probability `(classes,)` that each must reach to be an event.

    inf: never an event. A class with a threshold of its own ends at the same share of it as the others.
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
        class_thresholds: Mapping[str, float] | None = None,
    ) -> ClassThresholds:
        """`class_thresholds` are by machine id or label; PaqaError for one that names no sound."""
        mids = tuple(mids)
        by_mid = {}
        for name, threshold in (class_thresholds or {}).items():
            by_mid[name if name.startswith("/") else audioset.mid(name)] = threshold
        on = np.array([by_mid.get(mid, rules.on_threshold) for mid in mids])
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
    candidates = []
    for k in np.flatnonzero(probabilities.max(axis=0) >= classes.on.astype(probabilities.dtype)):
        sounding = class_spans(
            probabilities[:, k], float(classes.on[k]), float(classes.off[k]), hops, rules.max_gap_ms
        )
        last = duration_ms // 10 * 10
        spans = [snapped_to_level(span, level, rules) for span in sounding]
        for start, end in merge([(a, min(b, last)) for a, b in spans], rules.max_gap_ms):
            score = float(probabilities[start // hops.length_ms : -(-end // hops.length_ms) + 1, k].max())
            if end - start >= rules.min_duration_ms:
                candidates.append(Event(start, end, audioset.label(classes.mids[k]), classes.mids[k], score))
    return tuple(
        sorted(
            without_redundant(candidates, rules), key=lambda event: (event.start_ms, event.end_ms, event.mid)
        )
    )


def tags(peaks: np.ndarray, mids: tuple[str, ...], floor: float) -> tuple[Tag, ...]:
    """The classes whose clip-level probability `(classes,)` is above `floor`, the most probable first."""
    order = [k for k in np.argsort(-peaks, kind="stable") if peaks[k] > floor]
    return tuple(Tag(mids[k], float(peaks[k])) for k in order)


def class_spans(
    probability: np.ndarray, on: float, off: float, hops: Hops, max_gap_ms: int
) -> list[Interval]:
    """Spans in ms where a class of probability `(rows,)` sounds: at least `off` all along, `on` somewhere."""
    spans = []
    for first, last in from_frames((probability >= off).tolist(), 1):
        if probability[first:last].max() >= on:
            start = first * hops.length_ms - hops.early_ms
            spans.append((max(0, start), last * hops.length_ms - hops.early_ms))
    return merge(spans, max_gap_ms)


def level_db(signal: np.ndarray, rate: int, duration_ms: int) -> np.ndarray:
    """The level in dB of every 10 ms of a signal `(n,)`, over about 50 ms."""
    step = rate // 100
    power = np.square(fit_length(signal, -(-len(signal) // step) * step).reshape(-1, step)).mean(axis=1)
    return smoothed(10 * np.log10(power + 1e-10), duration_ms)


def smoothed(level: np.ndarray, duration_ms: int) -> np.ndarray:
    """A level in dB every 10 ms, averaged over 50 ms, for the `duration_ms` of the clip."""
    smooth = np.convolve(np.pad(level, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    return smooth[: max(1, -(-duration_ms // 10))]


def snapped_to_level(span: Interval, level: np.ndarray, rules: EventRules) -> Interval:
    """The span in ms with its edges where the level rises and falls, if near; else as it was, in the clip.

    `level` is in dB, one every 10 ms.
    """
    start, end = span[0] // 10, min(-(-span[1] // 10), len(level))
    start, reach = min(start, end - 1), rules.snap_ms // 10
    floor, peak = np.percentile(level, 10), level[start:end].max()
    active = level >= max(floor + rules.rise_db, peak - rules.range_db)
    from_end = nearest_edge(active[::-1], len(level) - end, reach)
    return nearest_edge(active, start, reach) * 10, (len(level) - from_end) * 10


def nearest_edge(active: np.ndarray, start: int, reach: int) -> int:
    """The frame at which the sound at `start`, or the next one, begins; `start` if over `reach` frames away.

    `active`, `(frames,)`, says in which frames there is sound.
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
    """Without events that others of the same time make redundant: a kind and its genus, and weaker rivals.

    Where a kind and its genus share some time only, they are one sound: the better name with both spans.
    """
    kept: list[Event] = []
    for event in events:
        better = [rival for rival in events if displaces(rival, event, rules)]
        if not covered(event, better):
            kept.append(event)
    joined: list[Event] = []
    for event in sorted(kept, key=interval):
        while kin := next((other for other in joined if kin_at_once(other, event)), None):
            joined.remove(kin)
            name = kin if displaces(kin, event, rules) else event
            event = replace(
                name, start_ms=min(kin.start_ms, event.start_ms), end_ms=max(kin.end_ms, event.end_ms)
            )
        joined.append(event)
    return joined


def kin_at_once(one: Event, other: Event) -> bool:
    """Whether two events share time, and one is a kind of the other."""
    return overlap(interval(one), interval(other)) > 0 and audioset.related(one.mid, other.mid)


def displaces(rival: Event, event: Event, rules: EventRules) -> bool:
    """Whether `rival` sounds at the same time and is the better name for the sound."""
    if rival.start_ms >= event.end_ms or event.start_ms >= rival.end_ms or rival.mid == event.mid:
        return False
    if event.mid in audioset.ancestors(rival.mid):
        return rival.score >= event.score - rules.specific_margin
    if rival.mid in audioset.ancestors(event.mid):
        return event.score < rival.score - rules.specific_margin
    return event.score < rival.score - rules.rival_margin


def covered(event: Event, rivals: list[Event]) -> bool:
    """Whether the rivals together cover at least half of the event."""
    shared = intersect([interval(event)], [interval(rival) for rival in rivals])
    return total(shared) * 2 >= event.end_ms - event.start_ms
