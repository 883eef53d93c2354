"""How far the times of a reading agree with a scene: of sounds by label, and of speech by speaker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from paqa.rationale.trace import Quote, Sound
from paqa.spans import Interval, intersect, interval, merge, overlap, total
from paqa.text import normal
from paqa.types import Event, Turn

LABEL_SHARE = 0.5  # of a match of a sound and an event; the rest is for its times
Name = TypeVar("Name", bound=Hashable)


def sound_score(sounds: Sequence[Sound], events: Sequence[Event]) -> float:
    """F1, in [0, 1], of sounds matched one to one to events of the same label; 1.0 where there are none.

    A match counts half for its label, and half by the intersection over union of both spans. So a span over
    the whole clip earns little more than the label alone, and further lines for one event cost precision.
    """
    stated = _by_name((normal(sound.label), interval(sound)) for sound in sounds)
    true = _by_name((normal(event.label), interval(event)) for event in events)
    matched = 0.0
    for label in stated.keys() & true.keys():
        pairs = min(len(stated[label]), len(true[label]))
        matched += LABEL_SHARE * pairs + (1 - LABEL_SHARE) * _shared(stated[label], true[label])
    return 2 * matched / (len(sounds) + len(events)) if sounds or events else 1.0


def speaker_overlap(quotes: Sequence[Quote] | Sequence[Turn], turns: Sequence[Turn]) -> float:
    """1 - min(1, error) of the times given to each speaker, pooled over the speakers by number.

    The error is time missed and time stated without cause, per time of speech; where two speak at once, each
    counts. What is given to the wrong speaker is both. As in `attribution`, speakers are never matched
    afterwards.
    """
    stated = _by_name((quote.speaker, interval(quote)) for quote in quotes)
    true = _by_name((turn.speaker, interval(turn)) for turn in turns)
    errors = 0
    for speaker in stated.keys() | true.keys():
        ours, theirs = merge(stated.get(speaker, ())), merge(true.get(speaker, ()))
        errors += total(ours) + total(theirs) - 2 * total(intersect(ours, theirs))
    return 1.0 - min(1.0, errors / max(1, sum(map(total, true.values()))))


def _by_name(named: Iterable[tuple[Name, Interval]]) -> dict[Name, list[Interval]]:
    spans: dict[Name, list[Interval]] = defaultdict(list)
    for name, span in named:
        spans[name].append(span)
    return dict(spans)


def _shared(stated: Sequence[Interval], true: Sequence[Interval]) -> float:
    """The sum of intersections over unions of spans that are matched one to one, the closest first."""
    shares = ((_share(a, b), i, j) for i, a in enumerate(stated) for j, b in enumerate(true))
    closest = sorted((share for share in shares if share[0]), reverse=True)
    left, right, matched = set(range(len(stated))), set(range(len(true))), 0.0
    for share, i, j in closest:
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            matched += share
    return matched


def _share(a: Interval, b: Interval) -> float:
    """Intersection over union of two spans; 1.0 for spans that are equal, also where these are empty."""
    shared = overlap(a, b)
    return 1.0 if a == b else shared / max(1, a[1] - a[0] + b[1] - b[0] - shared)
