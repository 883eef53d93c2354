"""The features of predictions that tell right from wrong, and the probabilities that a calibration gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from paqa import audioset
from paqa.audioset import related
from paqa.perception import event_features as event_evidence
from paqa.perception.calibration import Calibration, LogisticModel
from paqa.perception.event_features import NO_TAGGING, Features, Tagging, logit
from paqa.spans import gap, intersect, interval, merge, overlap, total
from paqa.types import Event, Scene, Turn, Unit, Word

CLEAN_DB = 40.0  # the ratio of speech to background that stands for a clip without a measured one
EDGE_MS = 250  # a word this near to an end of the clip may be cut off


@dataclass(frozen=True)
class Extras:
    """What engines say of a clip beside its scene: two fields of `EngineOutput`, and all of the tagger."""

    count_stability: Unit | None = None
    second_speaker: Unit | None = None
    tagging: Tagging = NO_TAGGING


def with_confidences(scene: Scene, extras: Extras, calibration: Calibration) -> Scene:
    """The scene with the probability of every prediction."""
    models = calibration.models
    words = [
        replace(word, confidence=models["word"].probability(features))
        for word, features in zip(scene.words, word_features(scene), strict=True)
    ]
    turns = [
        replace(turn, confidence=models["turn"].probability(features))
        for turn, features in zip(scene.turns, turn_features(scene, extras), strict=True)
    ]
    events = [
        replace(
            event,
            confidence=models["event"].probability(features),
            span_confidence=models["event_span"].probability(span),
        )
        for event, features, span in zip(
            scene.events, event_features(scene, extras), span_features(scene, extras), strict=True
        )
    ]
    count = models["speaker_count"].probability(count_features(scene, extras))
    return replace(
        scene,
        words=tuple(words),
        turns=tuple(turns),
        events=tuple(events),
        speaker_count_confidence=count,
        background_confidence=models["background"].probability(background_features(scene, extras)),
    )


def word_features(scene: Scene) -> list[Features]:
    """Of each word: the transcriber's score, the second transcription, its length, its place, the noise."""
    disputed = [interval(d) for d in scene.disagreements if d.stage == "transcribe"]
    logits = [logit(word.score) for word in scene.words]
    features = []
    for i, word in enumerate(scene.words):
        near = logits[max(0, i - 2) : i] + logits[i + 1 : i + 3]
        features.append(
            {
                "score": logits[i],
                "neighbours": sum(near) / len(near) if near else logits[i],
                "disputed": float(any(overlap(interval(word), span) for span in disputed)),
                "letters": math.log(max(1, sum(c.isalnum() for c in word.text))),
                "at_edge": float(_at_edge(word, scene.duration_ms)),
                "without_speaker": float(word.speaker is None),
                "noise": _noise(scene),
            }
        )
    return features


def _at_edge(word: Word, duration_ms: int) -> bool:
    return word.start_ms < EDGE_MS or word.end_ms > duration_ms - EDGE_MS


def _noise(scene: Scene) -> float:
    """How near the background comes to the speech: 0 for none, 1 at 0 dB."""
    snr_db = CLEAN_DB if scene.snr_db is None else min(CLEAN_DB, scene.snr_db)
    return 1 - snr_db / CLEAN_DB


def turn_features(scene: Scene, extras: Extras) -> list[Features]:
    """Of each turn: the diarizer's score, its length, whether others are near, and how sure the count is."""
    count = count_features(scene, extras)
    features = []
    for turn in scene.turns:
        others = [t for t in scene.turns if t.speaker != turn.speaker]
        nearest = min((gap(interval(turn), interval(t)) for t in others), default=5000)
        shared = intersect([interval(turn)], merge(interval(t) for t in others))
        features.append(
            {
                "score": logit(turn.score if turn.score is not None else 0.5),
                "length": math.log(max(100, turn.end_ms - turn.start_ms) / 1000),
                "near": math.exp(-nearest / 500) if others else 0.0,
                "overlapped": total(shared) / max(1, turn.end_ms - turn.start_ms),
                "stability": count["stability"],
                "speakers": count["speakers"],
                "noise": _noise(scene),
            }
        )
    return features


def count_features(scene: Scene, extras: Extras) -> Features:
    """Of the number of speakers: stability, a second speaker where one is said to speak, the speaker heard
    least, the least certain turn, the noise, how much of the clip is speech, and what the tagger says of
    speech, which tells most where no turn is.
    """
    speech_tag = event_evidence.speech_tag(extras.tagging)
    seconds = _speech_seconds(scene.turns)
    scores = [turn.score for turn in scene.turns if turn.score is not None]
    heard = [word for word in scene.words if word.speaker is not None]
    return {
        "stability": extras.count_stability if extras.count_stability is not None else 0.5,
        "second_speaker": extras.second_speaker or 0.0,
        "speakers": float(scene.speakers),
        "several": float(scene.speakers > 1),
        "shortest": math.log(max(0.1, min(seconds, default=0.1))),
        "speech": math.log(max(0.1, sum(seconds))),
        "least_score": logit(min(scores, default=0.5)),
        "words": math.log1p(len(heard)),
        "without_speech": float(not scene.turns),
        "speech_share": total(merge(interval(t) for t in scene.turns)) / max(1, scene.duration_ms),
        "speech_tag": speech_tag if scene.turns else 0.0,
        "speech_tag_without_speech": 0.0 if scene.turns else speech_tag,
        "noise": _noise(scene),
    }


def _speech_seconds(turns: Sequence[Turn]) -> list[float]:
    """How long each speaker speaks."""
    numbers = {turn.speaker for turn in turns}
    return [total(merge(interval(t) for t in turns if t.speaker == n)) / 1000 for n in sorted(numbers)]


def event_features(scene: Scene, extras: Extras) -> list[Features]:
    """Of each event: what the tagger says of it, its length, how much of it lies under speech, the noise."""
    noise = _noise(scene)
    return [
        event_evidence.event_features(event, scene.turns, extras.tagging) | {"noise": noise}
        for event in scene.events
    ]


def span_features(scene: Scene, extras: Extras) -> list[Features]:
    """Of the span of each event: in how much of it its class is likely, and how much of the clip it is."""
    tagging, duration_ms = extras.tagging, scene.duration_ms
    return [event_evidence.span_features(event, duration_ms, tagging) for event in scene.events]


def ancestor_features(scene: Scene, tagging: Tagging) -> list[dict[str, Features]]:
    """Of each event, by machine id the nearest first: what the tagger says of the classes above its own."""
    noise = _noise(scene)
    above = [event_evidence.ancestor_features(event, scene.turns, tagging) for event in scene.events]
    return [{mid: values | {"noise": noise} for mid, values in kinds.items()} for kinds in above]


def with_broader_events(scene: Scene, tagging: Tagging, calibration: Calibration, limit: float) -> Scene:
    """The scene with every event of an unsure class under the nearest class above that is sure ("Animal").

    What another event of the same kind covers at that time is left out.
    """
    kept: list[Event] = []
    broader: list[Event] = []
    for event, above in zip(scene.events, ancestor_features(scene, tagging), strict=True):
        sure = event.confidence >= limit
        replaced = None if sure else _broader_event(event, above, calibration.models["ancestor"], limit)
        if replaced:
            broader.append(replaced)
        else:
            kept.append(event)
    for event in broader:
        same_kind = [interval(e) for e in kept if related(event.mid, e.mid)]
        if not any(overlap(interval(event), span) for span in same_kind):
            kept.append(event)
    return replace(scene, events=tuple(sorted(kept, key=lambda e: (e.start_ms, e.end_ms, e.mid))))


def _broader_event(
    event: Event, above: Mapping[str, Features], model: LogisticModel, limit: float
) -> Event | None:
    for mid, features in above.items():
        probability = model.probability(features)
        if probability >= limit:
            return replace(event, mid=mid, label=audioset.label(mid), confidence=probability)
    return None


def background_features(scene: Scene, extras: Extras) -> Features:
    """Of the claim that no other sound is there."""
    features = event_evidence.background_features(scene.events, scene.turns, extras.tagging)
    return features | {"noise": _noise(scene)}
