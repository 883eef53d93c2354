"""Turns, words and events become one scene: who said which word, what sounded, and where two hearings disagree."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from paqa.spans import gap, interval, overlap
from paqa.types import Disagreement, Event, Scene, Turn, Word

GRID_MS = 10  # all times of a scene are multiples of this
REACH_MS = 700  # a word this near to a turn belongs to it although the turn does not cover it

Timed = TypeVar("Timed", Turn, Word, Event)


def compose(
    clip_id: str,
    duration_ms: int,
    turns: Sequence[Turn],
    words: Sequence[Word],
    aligned: Sequence[Word] | None,
    events: Sequence[Event],
    language: str | None,
) -> Scene:
    """The scene that was heard. `aligned` is the second hearing of the words, on another stem."""
    disagreements: list[Disagreement] = []
    if aligned is not None:
        words, disagreements = align(words, aligned)
    turns = number([snap(t, duration_ms) for t in turns])
    words = attribute([snap(w, duration_ms) for w in words], turns)
    turns = fill(turns, words)
    disagreements += _unclaimed(turns, words)
    return Scene(
        clip_id=clip_id,
        duration_ms=duration_ms,
        turns=tuple(turns),
        words=tuple(words),
        events=tuple(sorted((snap(e, duration_ms) for e in events), key=lambda e: (*interval(e), e.label))),
        language=language,
        disagreements=tuple(sorted(disagreements, key=lambda d: (d.start_ms, d.end_ms, d.first, d.second))),
    )


def snap(item: Timed, duration_ms: int) -> Timed:
    """The item on the 10 ms grid, inside the clip, at least one step long."""
    last = duration_ms // GRID_MS * GRID_MS
    start = min(max(0, round(item.start_ms / GRID_MS) * GRID_MS), max(0, last - GRID_MS))
    end = min(max(start + GRID_MS, round(item.end_ms / GRID_MS) * GRID_MS), last)
    return replace(item, start_ms=start, end_ms=end)


def number(turns: Iterable[Turn]) -> list[Turn]:
    """Turns in order of start, speakers renumbered by first appearance."""
    ordered = sorted(turns, key=lambda t: (t.start_ms, t.end_ms, t.speaker))
    numbers: dict[int, int] = {}
    return [replace(t, speaker=numbers.setdefault(t.speaker, len(numbers) + 1)) for t in ordered]


def plain(text: str) -> str:
    """A word without case and punctuation, for comparison."""
    return re.sub(r"[^\w']", "", text.casefold())


def align(first: Sequence[Word], second: Sequence[Word]) -> tuple[list[Word], list[Disagreement]]:
    """The first hearing's words, with the second's times where both agree; and where they do not.

    The words come from the mix, which loses none; the times from the speech stem, where edges are clean.
    """
    matcher = difflib.SequenceMatcher(
        None, [plain(w.text) for w in first], [plain(w.text) for w in second], autojunk=False
    )
    words: list[Word] = []
    disagreements = []
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            words += [
                replace(a, start_ms=b.start_ms, end_ms=b.end_ms)
                for a, b in zip(first[i1:i2], second[j1:j2], strict=True)
            ]
        else:
            words += first[i1:i2]
            disagreements.append(_differ(first[i1:i2], second[j1:j2]))
    return _monotone(words), disagreements


def _differ(first: Sequence[Word], second: Sequence[Word]) -> Disagreement:
    both = [*first, *second]
    start, end = min(w.start_ms for w in both), max(w.end_ms for w in both)
    return Disagreement("transcribe", start, end, " ".join(w.text for w in first), " ".join(w.text for w in second))


def _monotone(words: list[Word]) -> list[Word]:
    """Words of two clocks in one order: a start never lies before the start of the word before."""
    ordered: list[Word] = []
    for word in words:
        start = max(word.start_ms, ordered[-1].start_ms if ordered else 0)
        ordered.append(replace(word, start_ms=start, end_ms=max(word.end_ms, start)))
    return ordered


def attribute(words: Sequence[Word], turns: Sequence[Turn]) -> list[Word]:
    """Give each word the speaker of the turn that covers most of it.

    Where turns overlap equally, the speaker of the word before goes on; a word that no turn covers goes to the nearest
    turn within REACH_MS, else to nobody.
    """
    spoken: list[Word] = []
    for word in words:
        before = spoken[-1].speaker if spoken else None
        turn = _home(word, turns, before)
        spoken.append(replace(word, speaker=turn.speaker if turn else None))
    return spoken


def _home(word: Word, turns: Sequence[Turn], before: int | None) -> Turn | None:
    span = interval(word)
    covering = [t for t in turns if overlap(span, interval(t)) > 0]
    if covering:
        return max(covering, key=lambda t: (overlap(span, interval(t)), t.speaker == before, -t.start_ms))
    near = [t for t in turns if gap(span, interval(t)) <= REACH_MS]
    return min(near, key=lambda t: (gap(span, interval(t)), t.speaker != before, t.start_ms)) if near else None


def fill(turns: Sequence[Turn], words: Sequence[Word]) -> list[Turn]:
    """Turns with the text of their speaker's words: each word goes to that speaker's nearest turn."""
    texts: list[list[str]] = [[] for _ in turns]
    for word in words:
        own = [i for i, t in enumerate(turns) if t.speaker == word.speaker]
        if own:
            best = max(
                own,
                key=lambda i: (overlap(interval(word), interval(turns[i])), -gap(interval(word), interval(turns[i]))),
            )
            texts[best].append(word.text)
    return [replace(t, text=" ".join(" ".join(text).split())) for t, text in zip(turns, texts, strict=True)]


def _unclaimed(turns: Sequence[Turn], words: Sequence[Word]) -> list[Disagreement]:
    """Speech without words and words without speech: diarization and transcription contradict each other."""
    silent = [Disagreement("diarize", *interval(t), f"speaker {t.speaker}", "no words") for t in turns if not t.text]
    lost = [Disagreement("diarize", *interval(w), "nobody", w.text) for w in words if w.speaker is None]
    return silent + lost
