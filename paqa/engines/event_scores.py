"""What a tagger's network says around an event: the raw numbers that tell a right event from a wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from paqa import audioset
from paqa.types import Event, Ms, Unit

SPEECH = (
    # diarization and transcription report these
    "/m/09x0r",
    "/m/0ytgt",
    "/m/01h8n0",
    "/m/02qldy",
    "/m/0261r1",
    "/m/0brhx",
    "/m/02rtxlg",
)
SILENCE = "/m/028v0c"
PLACES = (
    # where the recording was made
    "/t/dd00125",
    "/t/dd00126",
    "/t/dd00127",
    "/t/dd00128",
    "/t/dd00129",
    "/m/01b9nn",
    "/m/01jnbd",
)
NO_EVENTS = (*SPEECH, SILENCE, *PLACES)  # classes that are no event of the background
AROUND_MS = 720  # what is averaged around an event's peak: a single row above the threshold is often noise
LEAST = 1e-6  # probabilities are kept this far from 0 and 1 before the logit is taken


class Rows(Protocol):
    """Which time a row of probabilities stands for, as `_events.Hops`."""

    @property
    def length_ms(self) -> int: ...
    @property
    def early_ms(self) -> int: ...


@dataclass(frozen=True)
class KindScores:
    """How sure the network is of one kind of sound around an event's peak.

    `itself` is the score of exactly this class (0 for a mere group of classes), `below` that of the likeliest
    class that is a kind of it, `above` of the likeliest of what it is a kind of, `rival` of the likeliest
    class that is neither and may be an event.
    """

    mid: str
    itself: Unit
    below: Unit
    above: Unit
    rival: Unit


@dataclass(frozen=True)
class EventScores:
    """What the network says of the span of one event; `share` is the part of it where its class is likely.

    `kinds` are the event's own class, then its ancestors in the ontology, the nearest first. All scores but
    `share` are log odds averaged over AROUND_MS, as probabilities.
    """

    start_ms: Ms
    end_ms: Ms
    share: Unit
    speech: Unit
    silence: Unit
    kinds: tuple[KindScores, ...]

    @property
    def mid(self) -> str:
        """The class of the event."""
        return self.kinds[0].mid


def event_scores(
    events: Sequence[Event], probabilities: np.ndarray, mids: tuple[str, ...], rows: Rows
) -> tuple[EventScores, ...]:
    """The scores of each event, in order, from `(rows, classes)` probabilities of the classes `mids`."""
    kept = np.clip(probabilities.astype(np.float64), LEAST, 1 - LEAST)
    logits = np.log(kept / (1 - kept))
    return tuple(_scores(event, logits, mids, rows) for event in events)


def _scores(event: Event, logits: np.ndarray, mids: tuple[str, ...], rows: Rows) -> EventScores:
    first = min((event.start_ms + rows.early_ms) // rows.length_ms, len(logits) - 1)
    last = max(first + 1, min(-(-(event.end_ms + rows.early_ms) // rows.length_ms), len(logits)))
    itself = logits[first:last, mids.index(event.mid)]
    reach = max(1, round(AROUND_MS / 2 / rows.length_ms))
    peak = first + int(itself.argmax())
    around = logits[max(0, peak - reach) : peak + reach + 1].mean(axis=0)
    kinds = (event.mid, *audioset.ancestors_nearest_first(event.mid))
    return EventScores(
        start_ms=event.start_ms,
        end_ms=event.end_ms,
        share=round(float((itself >= 0).mean()), 4),
        speech=_likeliest(around, np.isin(mids, SPEECH)),
        silence=_likeliest(around, np.isin(mids, [SILENCE])),
        kinds=tuple(_kind_scores(mid, around, mids) for mid in kinds),
    )


def _kind_scores(mid: str, around: np.ndarray, mids: tuple[str, ...]) -> KindScores:
    relations = _relations(mid, mids)
    return KindScores(mid, *(_likeliest(around, classes) for classes in relations))


@lru_cache(maxsize=2048)
def _relations(mid: str, mids: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Which of the classes `mids` are a sound itself, below it, above it, and none of the three."""
    above = audioset.ancestors(mid)
    itself = np.array([other == mid for other in mids])
    is_above = np.array([other in above for other in mids])
    is_below = np.array([mid in audioset.ancestors(other) for other in mids])
    rival = ~(itself | is_above | is_below | np.isin(mids, NO_EVENTS))
    return itself, is_below & ~np.isin(mids, NO_EVENTS), is_above, rival


def _likeliest(logits: np.ndarray, classes: np.ndarray) -> float:
    """The probability of the likeliest of some classes; 0 where there are none."""
    if not classes.any():
        return 0.0
    return round(float(1 / (1 + np.exp(-logits[classes].max()))), 6)
