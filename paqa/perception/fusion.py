"""Turns, words and events become one scene: who said which word, what sounded, and where two hearings
disagree.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from paqa.spans import gap, intersect, interval, overlap, total
from paqa.text import ends_sentence, without_gaps
from paqa.types import Disagreement, Event, Scene, Turn, Word

GRID_MS = 10  # all times of a scene are multiples of this
SENTENCE_WORDS = 3  # shorter sentences ("Hello." "Yes.") are not cut off
JOIN_MS = 400  # a shorter pause between two sentences belongs to the first
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
    *,
    exclusive: Sequence[Turn] = (),
    doubts: Sequence[Disagreement] = (),
) -> Scene:
    """The scene that was heard. `aligned` is the second hearing of the words, on another stem.

    `exclusive` are the same speakers as in `turns`, one at a time: they say whose a word is where `turns`
    overlap. `doubts` are what the transcriber does not trust itself with.
    """
    disagreements = list(doubts)
    if aligned is not None:
        words, differing = align(words, aligned)
        disagreements += differing
    said, alone = together([snap(t, duration_ms) for t in turns], [snap(t, duration_ms) for t in exclusive])
    words = attribute([snap(w, duration_ms) for w in words], said, alone)
    while len(kept := _heard(said, words, overlapping=bool(alone))) < len(
        said
    ):  # without some, words find other turns
        disagreements += _unclaimed([t for i, t in enumerate(said) if i not in kept], words)
        voices = {said[i].speaker for i in kept}
        said, alone = together([said[i] for i in kept], [t for t in alone if t.speaker in voices])
        words = attribute(words, said, alone)
    cited = [line for t, own in zip(said, by_turn(said, words), strict=True) for line in lines(t, own)]
    return Scene(
        clip_id=clip_id,
        duration_ms=duration_ms,
        turns=tuple(sorted(cited, key=lambda t: t.start_ms)),
        words=tuple(words),
        events=tuple(sorted((snap(e, duration_ms) for e in events), key=lambda e: (*interval(e), e.label))),
        language=language,
        disagreements=tuple(sorted(disagreements, key=lambda d: (d.start_ms, d.end_ms, d.first, d.second))),
    )


def _heard(turns: Sequence[Turn], words: Sequence[Word], overlapping: bool) -> list[int]:
    """The turns in which somebody heard a word, or would have but for others talking over it."""
    spoken = [bool(own) for own in by_turn(turns, words)]
    return [i for i in range(len(turns)) if spoken[i] or (overlapping and _drowned(i, turns, spoken))]


def _drowned(index: int, turns: Sequence[Turn], spoken: Sequence[bool]) -> bool:
    """Whether a turn lacks words only because others talk over it: whoever says it is understood elsewhere.

    A transcriber writes down one voice at a time; where two sound at once, the other one's words are lost.
    """
    turn = turns[index]
    over = [
        interval(t) for t, words in zip(turns, spoken, strict=True) if words and t.speaker != turn.speaker
    ]
    known = any(words and t.speaker == turn.speaker for t, words in zip(turns, spoken, strict=True))
    return known and 2 * total(intersect([interval(turn)], over)) > turn.end_ms - turn.start_ms


def snap(item: Timed, duration_ms: int) -> Timed:
    """The item on the 10 ms grid, inside the clip, at least one step long."""
    last = duration_ms // GRID_MS * GRID_MS
    start = min(max(0, round(item.start_ms / GRID_MS) * GRID_MS), max(0, last - GRID_MS))
    end = min(max(start + GRID_MS, round(item.end_ms / GRID_MS) * GRID_MS), last)
    return replace(item, start_ms=start, end_ms=end)


def number(turns: Iterable[Turn]) -> list[Turn]:
    """Turns in order of start, speakers renumbered by first appearance."""
    return together(list(turns), ())[0]


def together(turns: Sequence[Turn], exclusive: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """Both lists in order of start, speakers renumbered alike: by first appearance in `turns`.

    A speaker that only `exclusive` knows joins `turns` with those stretches, so that nobody is lost.
    """
    known = {t.speaker for t in turns}
    ordered = sorted([*turns, *(t for t in exclusive if t.speaker not in known)], key=_appearance)
    numbers: dict[int, int] = {}
    for turn in ordered:
        numbers.setdefault(turn.speaker, len(numbers) + 1)
    alone = sorted(exclusive, key=_appearance)
    first, second = ([replace(t, speaker=numbers[t.speaker]) for t in found] for found in (ordered, alone))
    return first, second


def _appearance(turn: Turn) -> tuple[int, int, int]:
    return turn.start_ms, turn.end_ms, turn.speaker


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
    return Disagreement(
        "transcribe", start, end, " ".join(w.text for w in first), " ".join(w.text for w in second)
    )


def _monotone(words: list[Word]) -> list[Word]:
    """Words of two clocks in one order: a start never lies before the start of the word before."""
    ordered: list[Word] = []
    for word in words:
        start = max(word.start_ms, ordered[-1].start_ms if ordered else 0)
        ordered.append(replace(word, start_ms=start, end_ms=max(word.end_ms, start)))
    return ordered


def attribute(words: Sequence[Word], turns: Sequence[Turn], exclusive: Sequence[Turn] = ()) -> list[Word]:
    """Give each word the speaker of the turn that covers most of it; where `exclusive` ones cover it, of
    these.

    Where turns overlap equally, the speaker of the word before goes on; a word that no turn covers goes to
    the nearest turn within REACH_MS, else to nobody.
    """
    spoken: list[Word] = []
    for word in words:
        before = spoken[-1].speaker if spoken else None
        alone = any(overlap(interval(word), interval(t)) for t in exclusive)
        turn = _home(word, exclusive if alone else turns, before)
        spoken.append(replace(word, speaker=turn.speaker if turn else None))
    return spoken


def _home(word: Word, turns: Sequence[Turn], before: int | None) -> Turn | None:
    span = interval(word)
    covering = [t for t in turns if overlap(span, interval(t)) > 0]
    if covering:
        return max(covering, key=lambda t: (overlap(span, interval(t)), t.speaker == before, -t.start_ms))
    near = [t for t in turns if gap(span, interval(t)) <= REACH_MS]
    return (
        min(near, key=lambda t: (gap(span, interval(t)), t.speaker != before, t.start_ms)) if near else None
    )


def by_turn(turns: Sequence[Turn], words: Sequence[Word]) -> list[list[Word]]:
    """The words of each turn: a word goes to its speaker's turn that covers most of it, else to the
    nearest.
    """
    found: list[list[Word]] = [[] for _ in turns]
    for word in words:
        own = [i for i, t in enumerate(turns) if t.speaker == word.speaker]
        if own:
            at = interval(word)
            spans = {i: interval(turns[i]) for i in own}
            found[max(own, key=lambda i: (overlap(at, spans[i]), -gap(at, spans[i])))].append(word)
    return found


def lines(turn: Turn, words: Sequence[Word]) -> list[Turn]:
    """A turn as its sentences, one turn each, so that a quote can be cited where it is said.

    `text.ends_sentence` says where one ends; one of fewer than SENTENCE_WORDS words stays with its neighbour.
    Where the speaker pauses for less than JOIN_MS, the next sentence begins where the one before ends.
    """
    if not words:
        return [turn]
    groups: list[list[Word]] = [[]]
    for word in words:
        if len(groups[-1]) >= SENTENCE_WORDS and ends_sentence(groups[-1][-1].text, word.text):
            groups.append([])
        groups[-1].append(word)
    if len(groups) > 1 and len(groups[-1]) < SENTENCE_WORDS:
        short = groups.pop()
        groups[-1] += short
    cuts = [turn.start_ms, *(max(group[0].start_ms, turn.start_ms) for group in groups[1:]), turn.end_ms]
    found = []
    for group, start, following in zip(groups, cuts, cuts[1:], strict=False):
        last = min(max(group[-1].end_ms, start + GRID_MS), following)
        end = following if following - last < JOIN_MS or following == turn.end_ms else last
        found.append(_whole(replace(turn, start_ms=start, end_ms=end), group))
    return found if all(t.end_ms > t.start_ms for t in found) else [_whole(turn, words)]


def _whole(turn: Turn, words: Sequence[Word]) -> Turn:
    return replace(turn, text=without_gaps(" ".join(" ".join(w.text for w in words).split())))


def _unclaimed(silent: Sequence[Turn], words: Sequence[Word]) -> list[Disagreement]:
    """Speech without words and words without speech: diarization and transcription contradict each other.

    Turns in which nobody heard a word do not enter the scene: music and noise are often taken for voices.
    """
    wordless = [Disagreement("diarize", *interval(t), "somebody speaks", "no words") for t in silent]
    return wordless + [
        Disagreement("diarize", *interval(w), "nobody speaks", w.text) for w in words if w.speaker is None
    ]
