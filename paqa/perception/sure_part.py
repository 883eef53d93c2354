"""The part of a predicted scene that is sure enough to be stated: all questions and rationales come from it.

A sound that is not sure leaves the scene, and its span is called unclear. Where none is left, and it is not
sure that none is there, the whole background is. Words that are not sure become `[unclear]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from paqa.spans import interval, merge
from paqa.text import without_gaps
from paqa.types import Event, Scene, Turn, Unclear, Word

UNCLEAR_WORDS = "[unclear]"  # stands for one word or several in the text of a turn


@dataclass(frozen=True)
class Limits:
    """The probabilities from which something is stated."""

    word: float = 0.97
    event: float = 0.95
    event_span: float = 0.92
    nothing: float = 0.05  # a sound less probable than this is not there: its span is not called unclear
    background: float = 0.9  # that no sound is missing, where none is stated; else all of it is unclear


LIMITS = Limits()


def sure_part(scene: Scene, limits: Limits) -> Scene:
    """The scene without what is not sure; a scene with truth alone comes back as it is."""
    events, unsure = _split_events(scene.events, limits)
    unclear = merge(interval(e) for e in unsure if e.confidence >= limits.nothing)
    if not events and scene.background_confidence < limits.background:
        unclear = [(0, scene.duration_ms)]
    grouped = _words_of_turns(scene.turns, scene.words)
    turns = [_with_sure_words(turn, words, limits) for turn, words in zip(scene.turns, grouped, strict=True)]
    return replace(
        scene,
        turns=tuple(turns),
        words=tuple(w for w in scene.words if w.confidence >= limits.word),
        events=tuple(events),
        unclear=tuple(Unclear(start, end) for start, end in unclear),
    )


def _split_events(events: Iterable[Event], limits: Limits) -> tuple[list[Event], list[Event]]:
    """The events that are sure, and the others."""
    sure: list[Event] = []
    unsure: list[Event] = []
    for event in events:
        is_sure = event.confidence >= limits.event and event.span_confidence >= limits.event_span
        (sure if is_sure else unsure).append(event)
    return sure, unsure


def _words_of_turns(turns: Sequence[Turn], words: Sequence[Word]) -> list[list[Word]]:
    """The words that the text of each turn consists of; `turns` and `words` are those of one scene.

    Mostly the next ones of its speaker, but where words overlap a later one may stand in an earlier turn.
    """
    rest = {turn.speaker: [w for w in words if w.speaker == turn.speaker] for turn in turns}
    grouped = []
    for turn in turns:
        text = "".join(turn.text.split())
        taken: list[Word] = []
        left: list[Word] = []
        for word in rest[turn.speaker]:
            letters = "".join(word.text.split())
            if text and text.startswith(letters):
                taken.append(word)
                text = text.removeprefix(letters)
            else:
                left.append(word)
        rest[turn.speaker] = left
        grouped.append(taken)
    return grouped


def _with_sure_words(turn: Turn, words: Sequence[Word], limits: Limits) -> Turn:
    """The turn with `[unclear]` for every run of words that are not sure."""
    if all(word.confidence >= limits.word for word in words):
        return turn
    texts: list[str] = []
    for word in words:
        if word.confidence >= limits.word:
            texts.append(word.text)
        elif not texts or texts[-1] != UNCLEAR_WORDS:
            texts.append(UNCLEAR_WORDS)
    return replace(turn, text=without_gaps(" ".join(texts)))
