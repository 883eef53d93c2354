"""A source's truth (turns, words and sounds) before and after its file is decoded.

Truth is about the whole file, whose length nobody knows before decoding: a turn or event over the whole file
has `end_ms` 0 (`WHOLE_FILE`) and `duration_ms` is 0 until `close_truth` is given the real duration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from paqa import spans
from paqa.errors import Rejected
from paqa.types import Event, Scene, Turn, Word

WHOLE_FILE = 0  # `end_ms` of a turn or event that lasts as long as its file
SLIVER_MS = 100  # what a cut leaves of a span counts from this length on
MOSTLY = 0.8  # a cut turn keeps its text where at least this share of it is inside
OVERHANG_MS = 500  # annotations may reach so far beyond the file,
OVERHANG = 0.01  # or by this share of it, whichever is more


class NamedTurn(NamedTuple):
    """A turn with its speaker's name, as annotations have it."""

    start_ms: int
    end_ms: int
    name: str
    text: str = ""
    emotion: str | None = None
    translation: str | None = None


def close_truth(scene: Scene, duration_ms: int, uri: str = "the recording") -> Scene:
    """A source's truth once the file is decoded: with its real duration, and all spans cut to the file.

    Raises `Rejected` with `bad_truth` where spans reach so far beyond the file that they cannot be about it.
    """
    ends = [
        *(t.end_ms for t in scene.turns),
        *(w.end_ms for w in scene.words),
        *(e.end_ms for e in scene.events),
    ]
    last_ms = max(ends, default=0)
    if last_ms > duration_ms + max(OVERHANG_MS, OVERHANG * duration_ms):
        times = f"{uri} lasts {duration_ms / 1000:g} s, but its annotation reaches to {last_ms / 1000:g} s"
        thousandfold = 100 <= last_ms / max(1, duration_ms) <= 1010
        guess = "the annotation of another file, or another unit"
        guess = "milliseconds given as seconds" if thousandfold else guess
        raise Rejected("bad_truth", f"{times} ({guess}?); correct the annotation or remove it")
    turns = tuple(
        replace(turn, end_ms=duration_ms) if turn.end_ms == WHOLE_FILE else turn for turn in scene.turns
    )
    events = tuple(replace(e, end_ms=duration_ms) if e.end_ms == WHOLE_FILE else e for e in scene.events)
    return window_truth(replace(scene, turns=turns, events=events), scene.clip_id, 0, duration_ms)


def window_truth(scene: Scene, clip_id: str, start_ms: int, end_ms: int) -> Scene:
    """A scene's window `[start_ms, end_ms)`, with times relative to the window.

    Speakers are numbered anew by first appearance. What the edge leaves of a span is dropped under 100 ms; a
    cut turn keeps its text and labels only where at least 80 % of it is inside. A word belongs where its
    middle lies.
    """
    window = (start_ms, end_ms)
    cut = [(turn, _cut(spans.interval(turn), window)) for turn in scene.turns]
    turns = [_shortened(turn, left) for turn, left in cut if left]
    turns.sort(key=lambda turn: (turn.start_ms, turn.end_ms, turn.speaker))
    numbers: dict[int, int] = {}
    for turn in turns:
        numbers.setdefault(turn.speaker, len(numbers) + 1)
    events = []
    for event in scene.events:
        if left := _cut(spans.interval(event), window):
            events.append(replace(event, start_ms=left[0], end_ms=left[1]))
    return replace(
        scene,
        clip_id=clip_id,
        duration_ms=end_ms - start_ms,
        turns=tuple(replace(turn, speaker=numbers[turn.speaker]) for turn in turns),
        words=_words(scene.words, window, numbers),
        events=tuple(sorted(events, key=lambda e: (e.start_ms, e.end_ms, e.label))),
        disagreements=(),
    )


def _cut(span: spans.Interval, window: spans.Interval) -> spans.Interval | None:
    left = spans.clip(span, window)
    whole = span[1] - span[0]
    return left if left and left[1] - left[0] >= min(SLIVER_MS, whole) else None


def _shortened(turn: Turn, left: spans.Interval) -> Turn:
    inside = left[1] - left[0]
    if inside < MOSTLY * (turn.end_ms - turn.start_ms):
        turn = replace(turn, text="", emotion=None, translation=None)
    return replace(turn, start_ms=left[0], end_ms=left[1])


def _words(words: tuple[Word, ...], window: spans.Interval, numbers: dict[int, int]) -> tuple[Word, ...]:
    inside = []
    for word in words:
        left = spans.clip(spans.interval(word), window)
        if left and window[0] <= (word.start_ms + word.end_ms) // 2 < window[1]:
            speaker = numbers.get(word.speaker) if word.speaker else None
            inside.append(replace(word, start_ms=left[0], end_ms=left[1], speaker=speaker))
    return tuple(inside)


def numbered(turns: Sequence[NamedTurn]) -> tuple[Turn, ...]:
    """Turns in order of start, names as numbers by first appearance."""
    ordered = sorted(turns, key=lambda turn: turn[:3])
    numbers: dict[str, int] = {}
    for turn in ordered:
        numbers.setdefault(turn.name, len(numbers) + 1)
    return tuple(
        Turn(t.start_ms, t.end_ms, numbers[t.name], t.text, t.emotion, t.translation) for t in ordered
    )


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Events in order of start."""
    return tuple(sorted(events, key=lambda event: (event.start_ms, event.end_ms, event.label)))
