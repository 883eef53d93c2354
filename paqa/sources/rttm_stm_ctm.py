"""RTTM, STM and CTM: who speaks when, who says what, and single words, one line each; times in seconds.

A file may be about many recordings; each line names its own. A line of no length, or about the time before
the recording, is left out or cut and becomes a quarantine row. Everything else raises `Rejected` with
`bad_truth`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Generic, NamedTuple, TypeVar

from paqa import spans
from paqa.errors import Rejected
from paqa.sources.paths import locate
from paqa.sources.registry import quarantined
from paqa.sources.truth import OVERHANG_MS, NamedTurn
from paqa.storage import text_files
from paqa.text import without_gaps
from paqa.types import Quarantined, Turn, Word

T = TypeVar("T")
Overlap = tuple[int, int]  # ms, and which turn
LONGEST_LINE = 1 << 20  # bytes
LARGEST = 512 << 20  # bytes of an annotation file
MOST_SPANS = 200_000  # turns or words of one recording: a day of talk
MOST_COMPARED = 1_000_000_000  # spans of one annotation with those of another, some seconds of work
MOST_OVERLAPS = 2_000_000
DECIMAL = re.compile(r"\d+\.\d*")
BLANKS = "a name holds a blank: write _ for it"


class AnnotationLine(NamedTuple, Generic[T]):
    """One line: about which recording, when (seconds), and how to make a turn or word of it (ms)."""

    recording: str
    start: float
    end: float
    make: Callable[[int, int], T]


Line = Callable[[str], AnnotationLine[T] | None]  # None for lines that do not count


@dataclass(frozen=True)
class Annotation(Generic[T]):
    """A file's entries by name of the recording, in order of lines, and rows for lines left out or cut."""

    entries: dict[str, list[T]] = field(default_factory=lambda: defaultdict(list))
    problem_rows: dict[str, list[Quarantined]] = field(default_factory=lambda: defaultdict(list))

    def count(self, recording: str) -> int:
        """Lines about a recording."""
        return len(self.entries.get(recording, ())) + len(self.problem_rows.get(recording, ()))

    def add(self, stated: AnnotationLine[T], where: str, content: str) -> None:
        """ValueError where the times are none."""
        span, problem = _span(stated.start, stated.end)
        if problem:
            times = f"found {stated.start:g} to {stated.end:g} s about {stated.recording!r}, {problem}"
            error = Rejected("bad_line", f"{where}: {times}; correct the line")
            self.problem_rows[stated.recording].append(quarantined(where, error, content))
        if span:
            self.entries[stated.recording].append(stated.make(*span))


def _span(start: float, end: float) -> tuple[tuple[int, int] | None, str]:
    """The part of `start` to `end` (seconds) inside the recording, in ms, and the problem with the line."""
    if not -1e7 < start <= end < 1e7:
        raise ValueError("its times are not a start and a later end in seconds")
    if start == end:
        return None, "which is no time: left out"
    if end <= 0:
        return None, "before the recording starts: left out"
    early = start * 1000 < -OVERHANG_MS
    first = max(0, round(start * 1000))
    return (
        first,
        max(round(end * 1000), first + 1),
    ), "before the recording starts: cut there" if early else ""


def parse(uri: str, folder: Path, line: Line[T]) -> Annotation[T]:
    """The entries of a file, about all of its recordings."""
    annotation: Annotation[T] = Annotation()
    number, text, read = 0, "", 0
    try:
        with text_files.open_text(locate(uri, folder)) as file:
            while text := file.readline(LONGEST_LINE):
                number += 1
                read += len(text)
                if (stated := line(text)) is None:
                    continue
                annotation.add(stated, f"{uri}:{number}", text)
                if annotation.count(stated.recording) > MOST_SPANS or read > LARGEST:
                    most = f"expected at most {MOST_SPANS} about one recording and {LARGEST >> 20} MB in all"
                    raise Rejected(
                        "bad_truth", f"{uri}, line {number}: found too many lines; {most}, divide it"
                    )
    except (ValueError, IndexError) as error:
        if not number or isinstance(error, UnicodeDecodeError):
            raise _unreadable(uri, error) from None
        why = "too few fields" if isinstance(error, IndexError) else error
        problem = f"{text.rstrip()[:80]!r} has another format ({why}); correct it"
        raise Rejected("bad_truth", f"{uri}, line {number}: {problem}") from None
    except OSError as error:
        raise _unreadable(uri, error) from None
    return annotation


def _unreadable(uri: str, error: Exception) -> Rejected:
    return Rejected("bad_truth", f"{uri} cannot be read ({error}); expected a UTF-8 text file, check it")


def turns_about(
    path: str, annotation: Annotation[NamedTurn], uri: str
) -> tuple[list[NamedTurn], list[Quarantined]]:
    """The turns of a file about the recording at `path`: under its name, or all where it is about one only.

    Turns are in order of start; the rows are those of lines left out or cut.
    """
    turns, stem = annotation.entries, PurePosixPath(path).stem
    if stem not in turns and len(turns) != 1:
        names = ", ".join(sorted(turns)[:5]) or "nothing"
        raise Rejected(
            "bad_truth", f"{uri} has no turns of {stem!r}, found {names}; name the recording like its file"
        )
    name = stem if stem in turns else next(iter(turns))
    return sorted(turns[name]), annotation.problem_rows.get(name, [])


def rttm_line(line: str) -> AnnotationLine[NamedTurn] | None:
    """`SPEAKER file channel start duration <NA> <NA> name [confidence [<NA>]]`; other types do not count.

    Names that hold blanks are read where `<NA> <NA>` before the speaker's name tells them apart.
    """
    fields = line.split()
    if not fields or fields[0] != "SPEAKER":
        return None
    if len(fields) > 10 or _is_number(fields[5]) or not all(map(_is_score, fields[8:])):
        fields = _joined(fields)
    start, name = float(fields[3]), fields[7]
    return AnnotationLine(fields[1], start, start + float(fields[4]), lambda a, b: NamedTurn(a, b, name))


def _joined(fields: Sequence[str]) -> list[str]:
    """The fields of an RTTM line with both names put together; ValueError where these are not clear."""
    middle = next((i for i in range(5, len(fields) - 2) if fields[i] == fields[i + 1] == "<NA>"), None)
    if middle is None:
        raise ValueError(BLANKS)
    channel, times, name = fields[middle - 3], fields[middle - 2 : middle], list(fields[middle + 2 :])
    for _ in range(2):
        if len(name) > 1 and _is_score(name[-1]):
            name.pop()
    if "<NA>" in name or not all(map(_is_number, times)) or not (channel.isdecimal() or channel == "<NA>"):
        raise ValueError(BLANKS)
    return ["SPEAKER", " ".join(fields[1 : middle - 3]), channel, *times, "<NA>", "<NA>", " ".join(name)]


def _is_score(text: str) -> bool:
    """Whether it can be a confidence; a whole number is rather part of a name ("Speaker 2")."""
    return text in ("<NA>", "0", "1") or (_is_number(text) and not text.lstrip("+-").isdecimal())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def stm_line(line: str) -> AnnotationLine[NamedTurn] | None:
    """`file channel name start end [<label>] text`; comments and unscored segments do not count."""
    fields = line.split(maxsplit=5)
    if not fields or line.startswith(";;"):
        return None
    text = re.sub(r"^<[^>]*>\s*", "", fields[5]).strip() if len(fields) > 5 else ""
    if text == "ignore_time_segment_in_scoring" or fields[2] == "inter_segment_gap":
        return None
    start, end, name = float(fields[3]), float(fields[4]), fields[2]
    if fields[3].isdecimal() and DECIMAL.fullmatch(fields[4]) and DECIMAL.fullmatch(text.partition(" ")[0]):
        raise ValueError(f"{BLANKS}, or 1.0 for 1")  # "Speaker 1 2.5 4.0 text" would be from 1 to 2.5 s
    return AnnotationLine(fields[0], start, end, lambda a, b: NamedTurn(a, b, name, text))


def ctm_line(line: str) -> AnnotationLine[Word] | None:
    """`file channel start duration word [confidence]`; comments and alternatives do not count."""
    fields = line.split()
    if not fields or line.startswith(";;") or fields[2] == "*":
        return None
    start, duration = float(fields[2]), float(fields[3])
    confidence = min(1.0, max(0.0, float(fields[5]))) if len(fields) > 5 and fields[5] != "NA" else 1.0
    end, text = start + max(duration, 0.001), fields[4]
    return AnnotationLine(fields[0], start, end, lambda a, b: Word(a, b, text, None, confidence))


def attach_texts(turns: Sequence[NamedTurn], texts: Sequence[NamedTurn]) -> list[NamedTurn]:
    """Turns with the texts of another annotation whose speaker names may differ.

    A name stands for the speaker it overlaps most over the whole file. A text goes to that speaker's turn
    with the largest overlap, several to one turn in order of start; a text that overlaps none becomes a turn
    of its own.
    """
    shared = _shared([turn[:2] for turn in turns], [text[:2] for text in texts])
    names = _speakers_of_names(turns, texts, shared)
    texts_of_turns: list[list[str]] = [[] for _ in turns]
    alone = []
    for text, overlaps in sorted(zip(texts, shared, strict=True), key=lambda pair: pair[0]):
        name = names.get(text.name, text.name)
        best = max(
            (o for o in overlaps if turns[o[1]].name == name), key=lambda o: (o[0], -o[1]), default=None
        )
        if best:
            texts_of_turns[best[1]].append(text.text)
        else:
            alone.append(text._replace(name=name))
    joined = [
        turn._replace(text=" ".join(filter(None, parts)))
        for turn, parts in zip(turns, texts_of_turns, strict=True)
    ]
    return sorted([*joined, *alone], key=lambda turn: turn[:4])


def _speakers_of_names(
    turns: Sequence[NamedTurn], texts: Sequence[NamedTurn], shared: Sequence[list[Overlap]]
) -> dict[str, str]:
    total: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for text, overlaps in zip(texts, shared, strict=True):
        for ms, i in overlaps:
            total[text.name][turns[i].name] += ms
    return {name: max(sorted(of), key=of.__getitem__) for name, of in total.items()}


def _shared(turns: Sequence[spans.Interval], others: Sequence[spans.Interval]) -> list[list[Overlap]]:
    """For each other span, the turns that it overlaps: ms and number of the turn.

    Raises `Rejected` where there are so many of both, and so long, that comparing them would not end.
    """
    import numpy as np

    order = sorted(range(len(turns)), key=lambda i: turns[i])
    starts, ends = (np.array([turns[i][side] for i in order], np.int64) for side in (0, 1))
    latest = np.maximum.accumulate(ends) if len(ends) else ends
    first = np.searchsorted(latest, [span[0] for span in others], "right")
    last = np.searchsorted(starts, [span[1] for span in others], "left")
    what = f"found {len(turns)} turns and {len(others)} texts or words, many as long as the recording"
    too_many = Rejected("bad_truth", f"{what}; expected each about as long as a sentence, correct them")
    if int(np.maximum(last - first, 0).sum()) > MOST_COMPARED:
        raise too_many
    overlaps_of: list[list[Overlap]] = []
    kept = 0
    for (start, end), a, b in zip(others, first.tolist(), last.tolist(), strict=True):
        overlap = np.minimum(ends[a:b], end) - np.maximum(starts[a:b], start)
        overlaps_of.append([(int(overlap[k]), order[a + k]) for k in np.flatnonzero(overlap > 0).tolist()])
        kept += len(overlaps_of[-1])
        if kept > MOST_OVERLAPS:
            raise too_many
    return overlaps_of


def assign_words(turns: Sequence[Turn], words: Sequence[Word]) -> tuple[tuple[Turn, ...], tuple[Word, ...]]:
    """Words in order, each with the speaker of the turn it overlaps most; texts of turns that have none.

    `turns` are in order of start.
    """
    words_of_turns: list[list[str]] = [[] for _ in turns]
    placed = []
    ordered = sorted(words, key=lambda word: (word.start_ms, word.end_ms))
    shared = _shared([spans.interval(turn) for turn in turns], [spans.interval(word) for word in ordered])
    for word, overlaps in zip(ordered, shared, strict=True):
        best = max(overlaps, key=lambda o: (o[0], -o[1]), default=None)
        if best is None:
            placed.append(word)
            continue
        words_of_turns[best[1]].append(word.text)
        placed.append(replace(word, speaker=turns[best[1]].speaker))
    texts = [
        turn.text or without_gaps(" ".join(parts)) for turn, parts in zip(turns, words_of_turns, strict=True)
    ]
    return tuple(replace(turn, text=text) for turn, text in zip(turns, texts, strict=True)), tuple(placed)
