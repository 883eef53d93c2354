"""Turns, words and events become one scene: who says which word, what sounds, and where engines disagree."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from paqa.spans import gap, intersect, interval, overlap, total
from paqa.text import ends_sentence, without_gaps
from paqa.types import Disagreement, Event, Scene, Turn, Word

GRID_MS = 10  # all times of a scene are multiples of this
SENTENCE_WORDS = 3  # shorter sentences ("Hello." "Yes.") are not cut off
JOIN_MS = 400  # a shorter pause between two sentences belongs to the first
REACH_MS = 700  # a word this near to a turn belongs to it although the turn does not cover it

Timed = TypeVar("Timed", Turn, Word, Event)


@dataclass(frozen=True)
class Predictions:
    """What the engines predicted about one clip, all times in ms from its start."""

    turns: Sequence[Turn]
    words: Sequence[Word]
    events: Sequence[Event]
    language: str | None = None
    second_words: Sequence[Word] | None = None  # the words transcribed a second time, on another stem
    exclusive: Sequence[Turn] = ()  # the speakers of `turns`, one at a time
    doubts: Sequence[Disagreement] = ()  # what the transcriber itself is not sure of


def fuse(clip_id: str, duration_ms: int, predictions: Predictions) -> Scene:
    """The scene that the engines predicted.

    Where `turns` overlap, `exclusive` says whose a word is. Turns without words leave the scene, and become
    disagreements: then the words are assigned anew, since some may now belong to other turns.
    """
    words = predictions.words
    disagreements = list(predictions.doubts)
    if predictions.second_words is not None:
        words, differences = align(words, predictions.second_words)
        disagreements += differences
    turns, exclusive = number_speakers_alike(
        [snap(t, duration_ms) for t in predictions.turns],
        [snap(t, duration_ms) for t in predictions.exclusive],
    )
    words = assign_speakers([snap(w, duration_ms) for w in words], turns, exclusive)
    while len(kept := _turns_to_keep(turns, words, overlapping=bool(exclusive))) < len(turns):
        disagreements += _unmatched([t for i, t in enumerate(turns) if i not in kept], words)
        speakers = {turns[i].speaker for i in kept}
        turns, exclusive = number_speakers_alike(
            [turns[i] for i in kept], [t for t in exclusive if t.speaker in speakers]
        )
        words = assign_speakers(words, turns, exclusive)
    sentences: list[Turn] = []
    for turn, turn_words in zip(turns, words_by_turn(turns, words), strict=True):
        sentences += sentence_turns(turn, turn_words)
    events = [snap(e, duration_ms) for e in predictions.events]
    return Scene(
        clip_id=clip_id,
        duration_ms=duration_ms,
        turns=tuple(sorted(sentences, key=lambda t: t.start_ms)),
        words=tuple(words),
        events=tuple(sorted(events, key=lambda e: (*interval(e), e.label))),
        language=predictions.language,
        disagreements=tuple(sorted(disagreements, key=lambda d: (d.start_ms, d.end_ms, d.first, d.second))),
    )


def _turns_to_keep(turns: Sequence[Turn], words: Sequence[Word], overlapping: bool) -> list[int]:
    """The indices of turns that have words, or lack them only because others talk over them."""
    has_words = [bool(turn_words) for turn_words in words_by_turn(turns, words)]
    return [
        i for i in range(len(turns)) if has_words[i] or (overlapping and _talked_over(i, turns, has_words))
    ]


def _talked_over(index: int, turns: Sequence[Turn], has_words: Sequence[bool]) -> bool:
    """Whether a turn lacks words only because others talk over it: its speaker has words in another turn.

    A transcriber writes down one voice at a time; where two sound at once, the words of one are lost.
    """
    turn = turns[index]
    with_words = [t for t, has in zip(turns, has_words, strict=True) if has]
    others = [interval(t) for t in with_words if t.speaker != turn.speaker]
    speaks_elsewhere = any(t.speaker == turn.speaker for t in with_words)
    return speaks_elsewhere and 2 * total(intersect([interval(turn)], others)) > turn.end_ms - turn.start_ms


def snap(item: Timed, duration_ms: int) -> Timed:
    """The item on the 10 ms grid, inside the clip, at least one step long."""
    last = duration_ms // GRID_MS * GRID_MS
    start = min(max(0, round(item.start_ms / GRID_MS) * GRID_MS), max(0, last - GRID_MS))
    end = min(max(start + GRID_MS, round(item.end_ms / GRID_MS) * GRID_MS), last)
    return replace(item, start_ms=start, end_ms=end)


def number_speakers(turns: Iterable[Turn]) -> list[Turn]:
    """Turns in order of start, speakers renumbered by first appearance."""
    return number_speakers_alike(list(turns), ())[0]


def number_speakers_alike(turns: Sequence[Turn], exclusive: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """Both lists in order of start, speakers renumbered alike: by first appearance in `turns`.

    The turns of a speaker who is in `exclusive` alone join `turns`, so that no speaker is lost.
    """
    speakers = {t.speaker for t in turns}
    ordered = sorted([*turns, *(t for t in exclusive if t.speaker not in speakers)], key=_appearance)
    numbers: dict[int, int] = {}
    for turn in ordered:
        numbers.setdefault(turn.speaker, len(numbers) + 1)
    ordered_exclusive = sorted(exclusive, key=_appearance)
    return (
        [replace(t, speaker=numbers[t.speaker]) for t in ordered],
        [replace(t, speaker=numbers[t.speaker]) for t in ordered_exclusive],
    )


def _appearance(turn: Turn) -> tuple[int, int, int]:
    return turn.start_ms, turn.end_ms, turn.speaker


def _without_case(text: str) -> str:
    """A word without case and punctuation, for comparison."""
    return re.sub(r"[^\w']", "", text.casefold())


def align(first: Sequence[Word], second: Sequence[Word]) -> tuple[list[Word], list[Disagreement]]:
    """The words of the first transcription, with the second's times where both agree; and where they differ.

    The words come from the mix, which loses none; the times from the speech stem, where edges are clean.
    """
    first_texts = [_without_case(w.text) for w in first]
    second_texts = [_without_case(w.text) for w in second]
    matcher = difflib.SequenceMatcher(None, first_texts, second_texts, autojunk=False)
    words: list[Word] = []
    disagreements = []
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            for word, timed in zip(first[i1:i2], second[j1:j2], strict=True):
                words.append(replace(word, start_ms=timed.start_ms, end_ms=timed.end_ms))
        else:
            words += first[i1:i2]
            disagreements.append(_difference(first[i1:i2], second[j1:j2]))
    return _in_order(words), disagreements


def _difference(first: Sequence[Word], second: Sequence[Word]) -> Disagreement:
    both = [*first, *second]
    start, end = min(w.start_ms for w in both), max(w.end_ms for w in both)
    first_text, second_text = " ".join(w.text for w in first), " ".join(w.text for w in second)
    return Disagreement("transcribe", start, end, first_text, second_text)


def _in_order(words: list[Word]) -> list[Word]:
    """Words with times of two transcriptions: no word starts before the one that precedes it."""
    ordered: list[Word] = []
    for word in words:
        start = max(word.start_ms, ordered[-1].start_ms if ordered else 0)
        ordered.append(replace(word, start_ms=start, end_ms=max(word.end_ms, start)))
    return ordered


def assign_speakers(
    words: Sequence[Word], turns: Sequence[Turn], exclusive: Sequence[Turn] = ()
) -> list[Word]:
    """Give each word the speaker of the turn that covers most of it, an `exclusive` one where any covers it.

    Where two turns cover it equally, the speaker of the preceding word goes on. A word that no turn covers
    goes to the nearest turn within REACH_MS, else its speaker is None.
    """
    assigned: list[Word] = []
    for word in words:
        previous_speaker = assigned[-1].speaker if assigned else None
        in_exclusive = any(overlap(interval(word), interval(t)) for t in exclusive)
        turn = _turn_of(word, exclusive if in_exclusive else turns, previous_speaker)
        assigned.append(replace(word, speaker=turn.speaker if turn else None))
    return assigned


def _turn_of(word: Word, turns: Sequence[Turn], previous_speaker: int | None) -> Turn | None:
    span = interval(word)
    covering = [t for t in turns if overlap(span, interval(t)) > 0]
    if covering:
        return max(
            covering, key=lambda t: (overlap(span, interval(t)), t.speaker == previous_speaker, -t.start_ms)
        )
    near = [t for t in turns if gap(span, interval(t)) <= REACH_MS]
    if not near:
        return None
    return min(near, key=lambda t: (gap(span, interval(t)), t.speaker != previous_speaker, t.start_ms))


def words_by_turn(turns: Sequence[Turn], words: Sequence[Word]) -> list[list[Word]]:
    """The words of each turn: each goes to its speaker's turn that covers most of it, else to the nearest."""
    grouped: list[list[Word]] = [[] for _ in turns]
    for word in words:
        span = interval(word)
        closeness = {
            i: (overlap(span, interval(t)), -gap(span, interval(t)))
            for i, t in enumerate(turns)
            if t.speaker == word.speaker
        }
        if closeness:
            grouped[max(closeness, key=closeness.__getitem__)].append(word)
    return grouped


def sentence_turns(turn: Turn, words: Sequence[Word]) -> list[Turn]:
    """A turn as its sentences, one turn each, so that a quote has the times of its sentence.

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
    sentences = []
    for group, start, following in zip(groups, cuts, cuts[1:], strict=False):
        last = min(max(group[-1].end_ms, start + GRID_MS), following)
        end = following if following - last < JOIN_MS or following == turn.end_ms else last
        sentences.append(_with_text(replace(turn, start_ms=start, end_ms=end), group))
    if any(t.end_ms <= t.start_ms for t in sentences):  # words lie behind the end of the turn
        return [_with_text(turn, words)]
    return sentences


def _with_text(turn: Turn, words: Sequence[Word]) -> Turn:
    return replace(turn, text=without_gaps(" ".join(" ".join(w.text for w in words).split())))


def _unmatched(silent: Sequence[Turn], words: Sequence[Word]) -> list[Disagreement]:
    """Turns without words and words without turn: diarization and transcription contradict each other.

    Turns without words do not enter the scene: music and noise are often taken for voices.
    """
    without_words = [Disagreement("diarize", *interval(t), "somebody speaks", "no words") for t in silent]
    without_turn = [w for w in words if w.speaker is None]
    return without_words + [
        Disagreement("diarize", *interval(w), "nobody speaks", w.text) for w in without_turn
    ]
