"""What a rationale states falsely: its sounds, turns, words and counts, each beside the truth of the clip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from paqa.evaluation.known_truth import (
    LENIENT,
    NOBODY_JUDGES,
    VOICES,
    KnownTruth,
    Rules,
    shared_ms,
    total_ms,
    under,
)
from paqa.evaluation.known_truth import Sound as SoundClass
from paqa.evaluation.quotation import ANY, UNCLEAR, Place, misquoted, places, tokens
from paqa.evaluation.row_question import Asked, Case
from paqa.evaluation.sound_spans import is_near, mostly_same
from paqa.questions.english import NUMBERS
from paqa.rationale.grammar import GrammarError, corrected_tags, parse
from paqa.rationale.trace import Quote, Sound, Trace
from paqa.spans import Interval, interval, merge, overlap

Kind = Literal[
    "speaker_count", "attribution", "wrong_words", "wrong_class", "absent_sound", "speech_as_sound",
    "sound_span", "missed", "turn_span", "overlap", "unreadable",
]  # fmt: skip
MISSED_MS = 300  # a sound or a voice that is heard for so long cannot be said to be absent
_COUNTED = re.compile(r"\b(one person|(\w+) people|(\w+) different voices|a single voice)\b", re.IGNORECASE)
_OVERLAP = re.compile(r"Speakers? (\d+) and (\d+) overlap at ([^.]*\d s)", re.IGNORECASE)
_SPAN = re.compile(r"(\d+)\.(\d)-(\d+)\.(\d) s")
_NOTHING = (
    "Nothing stands out in the background",
    "The background is unobtrusive",
    "no particular sound stands out",
)


@dataclass(frozen=True)
class Statement:
    """A false statement: its kind and its words."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Statements:
    """The false statements of a rationale, and how many truth cannot judge."""

    false: tuple[Statement, ...]
    unknown: int = 0


def judge_statements(
    rationale: str, truth: KnownTruth, rules: Rules = LENIENT, letters: bool = True
) -> Statements:
    """What the caption of a rationale states falsely; one that cannot be parsed is one false statement.

    Of a reflected one it is the corrected caption, without the description, which only fits the first one.
    """
    try:
        trace = parse(rationale, letters)
    except GrammarError as error:
        return Statements((Statement("unreadable", str(error)),))
    judged = list(_Caption(trace, truth, rules).judged())
    false = tuple(dict.fromkeys(s for s in judged if isinstance(s, Statement)))
    return Statements(false, sum(s is None for s in judged))


class _Caption:
    """The caption of a rationale beside the truth. `judged` yields None for what truth cannot judge."""

    def __init__(self, trace: Trace, truth: KnownTruth, rules: Rules):
        self.trace = trace
        self.description = "" if corrected_tags(trace) else trace.description
        self.silent_background = not trace.env and not trace.unclear
        self.nobody = not trace.speakers
        self.truth = truth
        self.rules = rules
        self.case = Case(Asked("", "", (), ""), truth, rules)
        self.true = self.case.true

    def judged(self) -> Iterator[Statement | None]:
        """Every false statement, and None for each that truth cannot judge."""
        yield from self._sounds()
        yield from self._silence()
        if not self.truth.turns_known:
            yield from (None for _ in (*self.trace.speakers, *[1] * self.nobody))
            return
        yield from self._counts()
        if self.true.turns:
            yield from self._turns()
            yield from self._overlaps()
        yield from self._words()

    # Sounds

    def _sounds(self) -> Iterator[Statement | None]:
        by_label: dict[str, list[Sound]] = {}
        for line in self.trace.env:
            by_label.setdefault(line.label, []).append(line)
        stated_truth = any(self.true.events_like(self._class(label)) for label in by_label)
        for label, lines in by_label.items():
            if not self.true.events_like(self._class(label)):
                yield from self._absent(label, lines, stated_truth)
            elif not self.truth.times_known:
                yield None
            else:
                yield from self._spans(label, lines)

    def _class(self, label: str) -> SoundClass | None:
        return self.true.sound(label)

    def _absent(self, label: str, lines: Sequence[Sound], stated_truth: bool) -> Iterator[Statement | None]:
        """A sound that truth does not list: false, unless it may be there all the same."""
        spoken = self.truth.turns_known and self.true.turns
        voice = under(label, VOICES) and (spoken or not self.truth.turns_known)
        unlisted = not self.truth.events_known and (stated_truth or not self.true.events)
        if voice or unlisted or under(label, NOBODY_JUDGES):
            yield None
        else:
            cause = self.case.origin_of_sound([interval(line) for line in lines])
            kind: Kind = "absent_sound"
            if cause == "wrong_class":
                kind = "wrong_class"
            elif cause == "speech_as_sound":
                kind = "speech_as_sound"
            yield Statement(kind, f"{label} {_at(lines)}")

    def _spans(self, label: str, lines: Sequence[Sound]) -> Iterator[Statement]:
        """The spans of a sound that is there: near an occasion of it, or mostly the same as all of them."""
        sound = self._class(label)
        occurrences = [interval(e) for e in self.true.events_like(sound)]
        spans = [interval(line) for line in lines]
        stated = merge(spans, max(self.rules.bridges_ms))
        near = all(is_near(span, occurrences, self.rules) for span in stated)
        if not near and not mostly_same(spans, occurrences, self.rules):
            true_spans = merge(occurrences, max(self.rules.bridges_ms))
            yield Statement("sound_span", f"{label} {_at(lines)}, true {_spans_text(true_spans)}")

    def _silence(self) -> Iterator[Statement | None]:
        """What is said to be absent and is there."""
        stated = self.silent_background or any(text in self.description for text in _NOTHING)
        if stated:
            there = [e for e in self.true.events if e.end_ms - e.start_ms >= MISSED_MS]
            if there:
                yield Statement("missed", f"no sound, true {', '.join(sorted({e.label for e in there}))}")
            elif not self.truth.events_known:
                yield None
        speech_ms = total_ms(self.true.speech())
        if self.nobody and self.truth.turns_known and speech_ms >= MISSED_MS:
            yield Statement("missed", f"nobody speaks, true {speech_ms / 1000:.1f} s of speech")

    # Voices

    def _counts(self) -> Iterator[Statement]:
        """The number of speakers, as listed and as described; who hardly speaks may be left out."""
        lengths = [total_ms(self.true.voice(s)) for s in self.true.speakers]
        possible = range(sum(ms >= self.rules.short_voice_ms for ms in lengths), len(lengths) + 1)
        listed = len({quote.speaker for quote in self.trace.speakers})
        if listed not in possible and not (self.nobody and self.true.turns):  # that is "missed"
            yield Statement("speaker_count", f"{listed} listed, true {len(lengths)}")
        for match in _COUNTED.finditer(self.description):
            count = _number(match)
            if count is not None and count not in possible and count != listed:
                yield Statement("speaker_count", f"{match[0]}, true {len(lengths)}")

    def _turns(self) -> Iterator[Statement]:
        """Who speaks in each line, and whether anybody does as long as it says."""
        matched = self._matched()
        slack = self.rules.turn_ms
        for quote in self.trace.speakers:
            frames = self.true.frames([interval(quote)])
            speech = self.true.speech(slack)
            outside = total_ms(frames & ~speech)
            if outside > slack:
                yield Statement("turn_span", f"speaker {quote.speaker} {_at([quote])}")
            spoken = shared_ms(frames, self.true.speech())
            voice = self.true.voice(matched[quote.speaker], slack) if quote.speaker in matched else None
            if spoken and (voice is None or shared_ms(frames & self.true.speech(), voice) * 2 < spoken):
                yield Statement("attribution", f"speaker {quote.speaker} {_at([quote])}")

    def _matched(self) -> dict[int, int]:
        """The true speaker of each stated one: one to one, so that they share the most time."""
        import numpy as np
        from scipy.optimize import linear_sum_assignment

        stated = sorted({quote.speaker for quote in self.trace.speakers})
        shared = np.zeros((len(stated), len(self.true.speakers)))
        for i, speaker in enumerate(stated):
            frames = self.true.frames(interval(q) for q in self.trace.speakers if q.speaker == speaker)
            shared[i] = [shared_ms(frames, self.true.voice(s)) for s in self.true.speakers]
        rows, columns = linear_sum_assignment(-shared)
        return {stated[i]: self.true.speakers[j] for i, j in zip(rows, columns, strict=True) if shared[i, j]}

    def _overlaps(self) -> Iterator[Statement]:
        """Where two voices are said to overlap, some two have to, about there."""
        matched = self._matched()
        for match in _OVERLAP.finditer(self.description):
            a, b = (matched.get(int(match[i])) for i in (1, 2))
            stated = self.true.frames(_tenths(m) for m in _SPAN.finditer(match[3]))
            grow = self.rules.turn_ms
            if not a or not b or not (self.true.voice(a, grow) & self.true.voice(b, grow) & stated).any():
                yield Statement("overlap", match[0])

    # Words

    def _words(self) -> Iterator[Statement | None]:
        """The words of each line, at about its time."""
        if not self.truth.words_known:
            yield from (None for quote in self.trace.speakers if quote.text)
            return
        for quote in self.trace.speakers:
            if quote.text.strip() and not self._said(quote):
                yield Statement("wrong_words", f"{_at([quote])}: {quote.text}")

    def _said(self, quote: Quote) -> bool:
        """Whether words are said about when a line says; unclear ones stand for words of this time only."""
        near = (quote.start_ms - 2 * self.rules.end_ms, quote.end_ms + 2 * self.rules.end_ms)
        turns = tuple(turn for turn in self.true.turns if overlap(near, interval(turn)))
        right: list[Place] = [
            place
            for place in places(quote.text, replace(self.true.scene, turns=turns))
            if not misquoted(place, self.rules.word_error, self.rules.short_errors)
        ]
        if UNCLEAR in quote.text:
            right = [p for p in right if near[0] <= p.start_ms and p.end_ms <= near[1]]
        at_the_time = any(overlap(near, (p.start_ms, p.end_ms)) for p in right)
        return at_the_time or not _judgeable(quote.text, self.truth)


def _judgeable(text: str, truth: KnownTruth) -> bool:
    """Whether a text has words at all, and not only what is unclear."""
    return any(token != ANY for token in tokens(text, truth.scene.language))


def _tenths(match: re.Match[str]) -> Interval:
    """The milliseconds of `1.2-3.4 s`."""
    start, start_tenths, end, end_tenths = map(int, match.groups())
    return 1000 * start + 100 * start_tenths, 1000 * end + 100 * end_tenths


def _number(match: re.Match[str]) -> int | None:
    word = (match[2] or match[3] or "one").lower()
    if word in NUMBERS:
        return NUMBERS.index(word)
    return int(word) if word.isdigit() else None


def _at(lines: Sequence[Sound | Quote]) -> str:
    return _spans_text([interval(line) for line in lines])


def _spans_text(spans: Sequence[Interval]) -> str:
    return ", ".join(f"{start / 1000:.2f}-{end / 1000:.2f} s" for start, end in spans)
