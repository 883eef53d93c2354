"""What REFLECT corrects in a caption: which lines of ENV and SPEAKER are withdrawn, and which stand instead.

The grammar writes a correction as `ENV: Bark [1.20-3.40 s] -> Bark [5.20-6.40 s]`, with `nothing` on one side
where a line is only withdrawn or only added. The transcript follows from the corrected lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from paqa.errors import PaqaError
from paqa.rationale.trace import Quote, Reading, Sound
from paqa.spans import interval, overlap
from paqa.text import normal

MAX_CORRECTIONS = 4  # a mistake that changes more lines of a caption than this is hard to follow

Line = TypeVar("Line", Sound, Quote)


class CorrectionError(PaqaError):
    """A correction that does not fit its caption."""


@dataclass(frozen=True)
class Correction(Generic[Line]):
    """A line that is withdrawn, and the one that stands instead; None: no line."""

    withdrawn: Line | None
    instead: Line | None


@dataclass(frozen=True)
class Corrections:
    """All corrections of a caption, by tag."""

    env: tuple[Correction[Sound], ...] = ()
    speakers: tuple[Correction[Quote], ...] = ()

    @property
    def count(self) -> int:
        """The number of corrected lines."""
        return len(self.env) + len(self.speakers)


def corrections_between(first: Reading, right: Reading) -> Corrections:
    """The corrections that turn the lines of `first` into those of `right`."""
    return Corrections(_pairs(first.env, right.env), _pairs(first.speakers, right.speakers))


def corrected(first: Reading, corrections: Corrections) -> Reading:
    """The reading with its corrections.

    A new line takes the place of the one that it replaces where their spans are equal; else it stands in
    order of start. A transcript that is that of the lines becomes that of the corrected lines; another one
    stays. Raises CorrectionError where a withdrawn line is not in the reading.
    """
    env, speakers = first.env, first.speakers
    for sound in corrections.env:
        env = _with_correction(env, sound)
    for quote in corrections.speakers:
        speakers = _with_correction(speakers, quote)
    follows = corrections.speakers and normal(first.asr) == normal(transcript_of(first.speakers))
    return Reading(env, speakers, transcript_of(speakers) if follows else first.asr)


def can_be_corrected(first: Reading, right: Reading) -> bool:
    """Whether so few corrections that one can follow them lead from `first` to exactly `right`."""
    corrections = corrections_between(first, right)
    return corrections.count <= MAX_CORRECTIONS and corrected(first, corrections) == right


def _pairs(first: Sequence[Line], right: Sequence[Line]) -> tuple[Correction[Line], ...]:
    """The lines that only one of two lists has, paired where they are about the same stretch or the same
    thing, in order of start.
    """
    withdrawn, added = _without(first, right), _without(right, first)
    pairs = []
    for kinship in (_same_span, _same_content, _overlapping):
        for line in list(withdrawn):
            instead = next((new for new in added if kinship(line, new)), None)
            if instead:
                pairs.append(Correction(line, instead))
                withdrawn.remove(line)
                added.remove(instead)
    pairs += [Correction(line, None) for line in withdrawn]
    pairs += [Correction(None, line) for line in added]
    return tuple(sorted(pairs, key=_start))


def _without(lines: Iterable[Line], others: Sequence[Line]) -> list[Line]:
    """The lines that are not among the others; one that occurs twice has to be there twice."""
    left = list(others)
    only = []
    for line in lines:
        if line in left:
            left.remove(line)
        else:
            only.append(line)
    return only


def _same_span(a: Line, b: Line) -> bool:
    return interval(a) == interval(b)


def _same_content(a: Line, b: Line) -> bool:
    if isinstance(a, Sound) and isinstance(b, Sound):
        return a.label == b.label
    return isinstance(a, Quote) and isinstance(b, Quote) and bool(a.text) and a.text == b.text


def _overlapping(a: Line, b: Line) -> bool:
    return overlap(interval(a), interval(b)) > 0


def _start(correction: Correction[Line]) -> int:
    starts = [line.start_ms for line in (correction.withdrawn, correction.instead) if line]
    return min(starts)


def _with_correction(lines: Sequence[Line], correction: Correction[Line]) -> tuple[Line, ...]:
    left = list(lines)
    place = None
    if correction.withdrawn:
        if correction.withdrawn not in left:
            raise CorrectionError(f"withdraws a line that CAPTION does not have: {correction.withdrawn}")
        index = left.index(correction.withdrawn)
        left.pop(index)
        if correction.instead and interval(correction.instead) == interval(correction.withdrawn):
            place = index
    if correction.instead:
        left.insert(_place_by_start(left, correction.instead) if place is None else place, correction.instead)
    return tuple(left)


def _place_by_start(lines: Sequence[Line], new: Line) -> int:
    """Before the first line that starts, or starts together and ends, later."""
    later = (i for i, line in enumerate(lines) if interval(line) > interval(new))
    return next(later, len(lines))


def transcript_of(quotes: Iterable[Quote]) -> str:
    """The words of some lines, in their order."""
    return " ".join(quote.text for quote in quotes if quote.text)
