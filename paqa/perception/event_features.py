"""What tells a right event from a wrong one, and a background in which nothing sounds from one in which much
does.

The tagger is given what is left when the speech is taken away. Remains of sibilants and vowels in it are
taken for bees, pigs or snoring; on the mix, where the speech is whole, the same network says that they are
speech. So its tags of the mix are the witness for what it says of the background.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paqa import audioset
from paqa.engines.event_scores import NO_EVENTS, SILENCE, SPEECH, EventScores, KindScores
from paqa.perception.calibration import INDICATOR
from paqa.spans import intersect, interval, merge, overlap, total
from paqa.types import Event, Tag, Turn

# A sound that is there has at least this probability somewhere on the mix: of 12 events that were heard in
# speech alone none has, of 94 right ones under speech at 0 to 20 dB nine in ten, of right ones without
# speech all.
MIX_TAG = 0.05
LEAST_TAG = 0.01  # stands for classes that are not among the tags
MIN_SCORE = 1e-4  # probabilities are kept this far from 0 and 1 before the logit is taken
AMBIGUOUS = "/t/dd00098"  # "Source-ambiguous sounds": slaps, cracks, whooshes
# A feature of one class alone: a network takes some sounds for others all the time, e.g. waves for a stream.
INDICATOR_VALUE = 1.5  # the larger, the less evidence it takes; chosen on classes that were held out

NAMED = frozenset(audioset.classes()) - {*NO_EVENTS}  # what an event may be called

Features = dict[str, float]


@dataclass(frozen=True)
class Tagging:
    """What the tagger says of a clip: of its events, and of the whole clip on its own stem and on the mix."""

    scores: tuple[EventScores, ...] = ()
    tags: tuple[Tag, ...] = ()
    mix_tags: tuple[Tag, ...] = ()


NO_TAGGING = Tagging()


def without_remains_of_speech(events: Iterable[Event], mix_tags: Iterable[Tag]) -> tuple[Event, ...]:
    """The events of a background whose class is also likely on the mix; all where the mix has no tags."""
    by_mid = _by_mid(mix_tags)
    if not by_mid:
        return tuple(events)
    return tuple(event for event in events if by_mid.get(event.mid, 0.0) >= MIX_TAG)


def event_features(event: Event, turns: Sequence[Turn], tagging: Tagging) -> Features:
    """Of an event: whether a sound of its class is there."""
    scores = _scores_of(event, tagging)
    kind = scores.kinds[0]
    return {
        "score": logit(event.score),
        "share": scores.share,
        **_common(event, turns, scores),
        **_kind_features(kind, tagging),
    }


def span_features(event: Event, duration_ms: int, tagging: Tagging) -> Features:
    """Of an event: whether its span is right. Wrong spans are those in which its class is likely here and
    there only; one that fills its clip cannot be far off. How much lies under speech told nothing.
    """
    of_clip = (event.end_ms - event.start_ms) / max(1, duration_ms)
    return {"share": _scores_of(event, tagging).share, "of_clip": of_clip}


def ancestor_features(event: Event, turns: Sequence[Turn], tagging: Tagging) -> dict[str, Features]:
    """Of every class above an event's, by machine id, the nearest first: whether such a sound is there.

    Mere groups ("Sounds of things") and speech are left out, which say little or something else.
    "Animal" may be sure where "Dog" is not: all its kinds speak for it, and only others against it.
    """
    scores = _scores_of(event, tagging)
    return {
        kind.mid: {
            "score": logit(event.score),
            **_common(event, turns, scores),
            **_kind_features(kind, tagging),
        }
        for kind in scores.kinds[1:]
        if kind.mid in NAMED
    }


def background_features(events: Sequence[Event], turns: Sequence[Turn], tagging: Tagging) -> Features:
    """Of a clip: whether anything but speech sounds that is not among its events."""
    background, mix = _by_mid(tagging.tags), _by_mid(tagging.mix_tags)
    missing = [mid for mid in sorted({*background, *mix}) if not _is_covered(mid, events)]
    both = [min(_score(background, mid), _score(mix, mid)) for mid in missing]
    return {
        "both": logit(max(both, default=LEAST_TAG)),
        "both_sum": math.log(sum(both) + LEAST_TAG),
        "background": logit(max((_score(background, mid) for mid in missing), default=LEAST_TAG)),
        "mix": logit(max((_score(mix, mid) for mid in missing), default=LEAST_TAG)),
        "mix_sum": math.log(sum(_score(mix, mid) for mid in missing) + LEAST_TAG),
        "background_silence": logit(_score(background, SILENCE)),
        "background_speech": logit(max(_score(background, mid) for mid in SPEECH)),
        "events": float(len(events)),
        "speech": float(bool(turns)),
    }


def speech_tag(tagging: Tagging) -> float:
    """How sure the tagger is that somebody speaks in the mix, in log odds."""
    mix = _by_mid(tagging.mix_tags)
    return logit(max(_score(mix, mid) for mid in SPEECH))


def logit(probability: float) -> float:
    """The logarithm of the odds, of a probability that is kept off 0 and 1."""
    kept = min(1 - MIN_SCORE, max(MIN_SCORE, probability))
    return math.log(kept / (1 - kept))


def _common(event: Event, turns: Sequence[Turn], scores: EventScores) -> Features:
    """What does not depend on which name the sound is given."""
    return {
        "length": math.log(max(100, event.end_ms - event.start_ms) / 1000),
        "under_speech": _share_under_speech(event, turns),
        "speech": logit(scores.speech),
        "silence": logit(scores.silence),
    }


def _share_under_speech(event: Event, turns: Sequence[Turn]) -> float:
    spoken = total(intersect([interval(event)], merge(interval(turn) for turn in turns)))
    return spoken / max(1, event.end_ms - event.start_ms)


def _kind_features(kind: KindScores, tagging: Tagging) -> Features:
    """What speaks for one kind of sound around an event, and in the whole clip, and what against it."""
    background, mix = _by_mid(tagging.tags), _by_mid(tagging.mix_tags)
    above = audioset.ancestors(kind.mid)
    return {
        "itself": logit(kind.itself),
        "kin": logit(max(kind.below, kind.above)),
        "branch": logit(max(kind.itself, kind.below)),
        "rival": logit(kind.rival),
        "mix_itself": logit(_score(mix, kind.mid)),
        "mix_kin": logit(_likeliest(mix, kind.mid, kin=True)),
        "mix_rival": logit(_likeliest(mix, kind.mid, kin=False)),
        "clip_rival": logit(_likeliest(background, kind.mid, kin=False)),
        "depth": float(len(above)),
        "ambiguous": float(kind.mid == AMBIGUOUS or AMBIGUOUS in above),
        f"{INDICATOR}{kind.mid}": INDICATOR_VALUE,
    }


def _scores_of(event: Event, tagging: Tagging) -> EventScores:
    """The scores of an event, whose edges may have moved to a grid; where an engine gives none, its score."""
    same_class = [scores for scores in tagging.scores if scores.mid == event.mid]
    if same_class:
        return max(same_class, key=lambda scores: overlap(interval(scores), interval(event)))
    above = audioset.ancestors_nearest_first(event.mid)
    kinds = [KindScores(mid, 0.0, event.score, 0.0, 0.0) for mid in above]
    itself = KindScores(event.mid, event.score, 0.0, 0.0, 0.0)
    return EventScores(event.start_ms, event.end_ms, 1.0, 0.0, 0.0, (itself, *kinds))


def _by_mid(tags: Iterable[Tag]) -> dict[str, float]:
    return {tag.mid: tag.score for tag in tags}


def _score(tags: dict[str, float], mid: str) -> float:
    return tags.get(mid, LEAST_TAG)


def _likeliest(tags: dict[str, float], mid: str, kin: bool) -> float:
    """The probability of the likeliest class that is kin of a sound, or that is not."""
    scores = [
        score
        for other, score in tags.items()
        if other not in NO_EVENTS and audioset.related(mid, other) == kin
    ]
    return max(scores, default=LEAST_TAG)


def _is_covered(mid: str, events: Sequence[Event]) -> bool:
    """Whether a class is no event, or one of the events is of its kind."""
    return mid in NO_EVENTS or any(audioset.related(mid, event.mid) for event in events)
