"""How sure a row is: the probability that its answer is right and its rationale states nothing false.

A rationale states the whole scene. So its probability is the product of those of all that the scene states,
as if these were independent; who speaks is one statement, for a wrong number of speakers and wrong speakers
of turns come together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from paqa.perception.calibration import INDICATOR, LogisticModel
from paqa.questions.template import Claim
from paqa.types import Scene, Turn, Word

LEAST = 0.01  # probabilities are kept from this on before the logarithm is taken
INDICATOR_VALUE = 3.0  # the larger, the fewer rows it takes to tell templates apart
WRONG_WORDS = 0.2  # share of a line's words that may be wrong before the line is


def row_probability(scene: Scene, claims: frozenset[Claim], template: str, answers: LogisticModel) -> float:
    """The probability for a row about a scene; `claims` are what its answer rests on.

    `answers` is the model of answers to questions about scenes in which all that is stated is right.
    """
    return scene_probability(scene) * answers.probability(answer_features(scene, claims, template))


def answer_features(scene: Scene, claims: frozenset[Claim], template: str) -> dict[str, float]:
    """What decides whether an answer is right: which template asks, and whether sounds may be missing."""
    rests_on_absence = "absence" in claims and not _states_nothing(scene)
    missing = math.log(max(LEAST, scene.background_confidence)) if rests_on_absence else 0.0
    return {"nothing_missing": missing, f"{INDICATOR}{template}": INDICATOR_VALUE}


def scene_probability(scene: Scene) -> float:
    """The probability that all is right that a rationale states about a scene."""
    speakers = min([scene.speaker_count_confidence, *(turn.confidence for turn in scene.turns)])
    sounds = math.prod(event.confidence * event.span_confidence for event in scene.events)
    lines = math.prod(line_probability(_words_within(turn, scene.words)) for turn in scene.turns)
    background = scene.background_confidence if _states_nothing(scene) else 1.0
    return speakers * sounds * lines * background


def _states_nothing(scene: Scene) -> bool:
    """Whether a rationale says that nothing sounds in the background."""
    return not scene.events and not scene.unclear


def _words_within(turn: Turn, words: Sequence[Word]) -> list[Word]:
    middles = [(word, (word.start_ms + word.end_ms) // 2) for word in words if word.speaker == turn.speaker]
    return [word for word, middle in middles if turn.start_ms <= middle < turn.end_ms]


def line_probability(words: Sequence[Word]) -> float:
    """The probability that at most one word in five is wrong, or one word of fewer, as if independent."""
    allowed = max(1, int(WRONG_WORDS * len(words)))
    wrong = [1.0] + [0.0] * allowed  # the probability of so many wrong words
    for word in words:
        wrong = [
            right_before * word.confidence + (wrong[n - 1] * (1 - word.confidence) if n else 0.0)
            for n, right_before in enumerate(wrong)
        ]
    return min(1.0, sum(wrong))
