"""Questions that offer words drawn from the talk, answered again from another scene among the same words.

Their templates draw other words from another scene: to ask them again would say nothing about the choices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from paqa.questions.template import NONE
from paqa.text import normal
from paqa.types import Scene

REACH_MS = 750  # a word this near to a moment is said at about that moment
IN_ORDER = ("earliest_words", "latest_words")
TEMPLATES = (*IN_ORDER, "word_said", "word_at_second")
SECOND = re.compile(r"\b(\d+) seconds?\b")


def choice_from(scene: Scene, template: str, text: str, choices: Sequence[str]) -> int | None:
    """The index of the choice that holds in a scene, for a question of TEMPLATES; None where none does.

    Words that the scene does not have count as not said: of an order, the others are compared.
    """
    if template == "word_at_second":
        return _at_second(scene, text, choices)
    places = _places(scene, choices)
    if template == "word_said":
        return next(iter(places)) if len(places) == 1 else None
    pick = min if template == "earliest_words" else max
    return pick(places, key=lambda k: places[k]) if len(places) > 1 else None


def _places(scene: Scene, choices: Sequence[str]) -> dict[int, int]:
    """Where the choices that are said stand in the transcript, by their index."""
    transcript = f" {normal(scene.transcript)} "
    phrases = {k: f" {normal(choice)} " for k, choice in enumerate(choices)}
    return {k: transcript.index(phrase) for k, phrase in phrases.items() if phrase in transcript}


def _at_second(scene: Scene, text: str, choices: Sequence[str]) -> int | None:
    at_ms = 1000 * int(SECOND.findall(text)[0])
    distances: Mapping[int, int] = {
        k: min(away)
        for k, choice in enumerate(choices)
        if (away := [_away(w.start_ms, w.end_ms, at_ms) for w in scene.words if _is(w.text, choice)])
    }
    nearest = min(distances, key=lambda k: distances[k], default=None)
    if nearest is not None and distances[nearest] <= REACH_MS:
        return nearest
    return choices.index(NONE) if NONE in choices else None


def _is(word: str, choice: str) -> bool:
    return normal(word) == normal(choice)


def _away(start_ms: int, end_ms: int, at_ms: int) -> int:
    return abs((start_ms + end_ms) // 2 - at_ms)
