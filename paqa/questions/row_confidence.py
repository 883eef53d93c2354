"""What decides how sure a row is: what its rationale states, and what its answer rests on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from paqa.perception.sure_part import UNCLEAR_WORDS
from paqa.questions.template import Claim
from paqa.types import Evidence, Scene, Turn, Word

LEAST = 0.01  # probabilities are kept from this on before the logarithm is taken


def row_features(scene: Scene, claims: frozenset[Claim], evidence: Sequence[Evidence]) -> dict[str, float]:
    """Of a row about a scene: sums of the logarithms of the probabilities of what it states.

    The first ones are of the rationale, which states the whole scene; those that begin with `answer_` are of
    what the question and its answer rest on, 0 where they do not rest on that.
    """
    turns = [scene.turns[e.index] for e in evidence if e.kind == "turn"]
    events = [scene.events[e.index] for e in evidence if e.kind == "event"]
    cited_words = [scene.words[e.index] for e in evidence if e.kind == "word"]
    speakers = "speaker" in claims or "turn_time" in claims
    count, background = _log(scene.speaker_count_confidence), _log(scene.background_confidence)
    stated_nothing = not scene.events and not scene.unclear
    return {
        "count": count,
        "turns": _logs(turn.confidence for turn in scene.turns),
        "least_turn": min((_log(turn.confidence) for turn in scene.turns), default=0.0),
        "words": max((_wrong_share(turn, scene.words) for turn in scene.turns), default=0.0),
        "unclear_words": _unclear_share(scene),
        "events": _logs(event.confidence for event in scene.events),
        "spans": _logs(event.span_confidence for event in scene.events),
        "nothing": background if stated_nothing else 0.0,
        "answer_count": count if "speaker_count" in claims else 0.0,
        "answer_speaker": _logs(turn.confidence for turn in turns) if speakers else 0.0,
        "answer_words": _words_asked(claims, turns, cited_words, scene),
        "answer_sound": _logs(e.confidence for e in events) if "sound" in claims else 0.0,
        "answer_sound_time": _logs(e.span_confidence for e in events) if "sound_time" in claims else 0.0,
        "answer_absence": background if "absence" in claims else 0.0,
        "answer_turn_time": float("turn_time" in claims),
        "answer_word_time": float("word_time" in claims),
    }


def _log(probability: float) -> float:
    return math.log(max(LEAST, probability))


def _logs(probabilities: Iterable[float]) -> float:
    return sum(_log(probability) for probability in probabilities)


def _words_within(turn: Turn, words: Sequence[Word]) -> list[Word]:
    middles = [(word, (word.start_ms + word.end_ms) // 2) for word in words if word.speaker == turn.speaker]
    return [word for word, middle in middles if turn.start_ms <= middle < turn.end_ms]


def _wrong_share(turn: Turn, words: Sequence[Word]) -> float:
    """The expected share of wrong words among those that a turn is said to consist of."""
    stated = _words_within(turn, words)
    return sum(1 - word.confidence for word in stated) / len(stated) if stated else 0.0


def _unclear_share(scene: Scene) -> float:
    """The share of turns in which a word is unclear."""
    unclear = sum(UNCLEAR_WORDS in turn.text for turn in scene.turns)
    return unclear / len(scene.turns) if scene.turns else 0.0


def _words_asked(
    claims: frozenset[Claim], turns: Sequence[Turn], cited: Sequence[Word], scene: Scene
) -> float:
    """The expected share of wrong words in what is quoted or cited, as the logarithm of what is right."""
    if "words" not in claims:
        return 0.0
    shares = [_wrong_share(turn, scene.words) for turn in turns]
    shares += [1 - word.confidence for word in cited]
    return _logs(1 - share for share in shares)
