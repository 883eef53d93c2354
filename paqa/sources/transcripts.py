"""RTTM, STM and CTM: who speaks when, who says what, and single words, one line each. Times are seconds in the files.

A file may be about many recordings; each line names its own. Everything raises `Rejected` with `bad_truth`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from paqa import spans
from paqa.errors import Rejected
from paqa.sources import Said, locate
from paqa.types import Turn, Word

T = TypeVar("T")
Overlap = tuple[int, int]  # ms, and which turn
LONGEST_LINE = 1 << 20  # bytes
LARGEST = 512 << 20  # bytes of an annotation file
MOST_SPANS = 200_000  # turns or words of one recording: a day of talk
MOST_COMPARED = 1_000_000_000  # spans of one annotation with those of another, some seconds of work
MOST_OVERLAPS = 2_000_000
Line = Callable[[str], tuple[str, T] | None]  # the recording's name and what is said about it, None for other lines


def parse(uri: str, folder: Path, line: Line[T]) -> dict[str, list[T]]:
    """What a file says, by name of the recording, in the order of its lines."""
    found: dict[str, list[T]] = defaultdict(list)
    number, text, read = 0, "", 0
    try:
        with locate(uri, folder).open("rb") as file:
            while data := file.readline(LONGEST_LINE):
                number += 1
                read += len(data)
                text = data.decode("utf-8").rstrip("\r\n")
                if (parsed := line(text)) is None:
                    continue
                found[parsed[0]].append(parsed[1])
                if len(found[parsed[0]]) > MOST_SPANS or read > LARGEST:
                    most = f"expected at most {MOST_SPANS} about one recording and {LARGEST >> 20} MB in all"
                    raise Rejected("bad_truth", f"{uri}, line {number}: found too many lines; {most}, divide it")
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected("bad_truth", f"{uri} cannot be read ({error}); expected a UTF-8 text file, check it") from None
    except (ValueError, IndexError):
        raise Rejected("bad_truth", f"{uri}, line {number}: {text[:80]!r} has another format; correct it") from None
    return dict(found)


def turns(uri: str, folder: Path, line: Line[Said]) -> dict[str, list[Said]]:
    """The turns of an RTTM or STM file by name of the recording, in order of start."""
    return {name: sorted(said) for name, said in parse(uri, folder, line).items()}


def about(path: str, found: Mapping[str, list[T]], uri: str) -> list[T]:
    """What a file says about the recording at `path`: under its name, or all of it where it is about one only."""
    stem = PurePosixPath(path).stem
    if stem not in found and len(found) != 1:
        names = ", ".join(sorted(found)[:5]) or "nothing"
        raise Rejected("bad_truth", f"{uri} has no turns of {stem!r}, found {names}; name the recording like its file")
    return found.get(stem) or next(iter(found.values()))


def rttm_line(line: str) -> tuple[str, Said] | None:
    """`SPEAKER file channel start duration <NA> <NA> name …`; other types of line do not count."""
    fields = line.split()
    if not fields or fields[0] != "SPEAKER":
        return None
    start, duration = float(fields[3]), float(fields[4])
    return fields[1], Said(*_ms(start, start + duration), fields[7])


def stm_line(line: str) -> tuple[str, Said] | None:
    """`file channel name start end [<label>] text`; comments and unscored segments do not count."""
    fields = line.split(maxsplit=5)
    if not fields or line.startswith(";;"):
        return None
    text = re.sub(r"^<[^>]*>\s*", "", fields[5]) if len(fields) > 5 else ""
    if text == "ignore_time_segment_in_scoring" or fields[2] == "inter_segment_gap":
        return None
    return fields[0], Said(*_ms(float(fields[3]), float(fields[4])), fields[2], text.strip())


def ctm_line(line: str) -> tuple[str, Word] | None:
    """`file channel start duration word [confidence]`; comments and alternatives do not count."""
    fields = line.split()
    if not fields or line.startswith(";;") or fields[2] == "*":
        return None
    start, duration = float(fields[2]), float(fields[3])
    confidence = min(1.0, max(0.0, float(fields[5]))) if len(fields) > 5 and fields[5] != "NA" else 1.0
    return fields[0], Word(*_ms(start, start + max(duration, 0.001)), fields[4], None, confidence)


def _ms(start: float, end: float) -> tuple[int, int]:
    if not 0 <= start < end < 1e7:
        raise ValueError
    return round(start * 1000), max(round(end * 1000), round(start * 1000) + 1)


def attach(turns: Sequence[Said], texts: Sequence[Said]) -> list[Said]:
    """Turns with the texts of another annotation whose speaker names may differ.

    A name stands for the speaker it overlaps most over the whole file. A text goes to that speaker's turn with the
    largest overlap, several to one turn in order of start; a text that overlaps none becomes a turn of its own.
    """
    shared = _shared([turn[:2] for turn in turns], [text[:2] for text in texts])
    names = _same_speaker(turns, texts, shared)
    said: list[list[str]] = [[] for _ in turns]
    alone = []
    for text, overlaps in sorted(zip(texts, shared, strict=True), key=lambda pair: pair[0]):
        name = names.get(text.name, text.name)
        best = max((o for o in overlaps if turns[o[1]].name == name), key=lambda o: (o[0], -o[1]), default=None)
        if best:
            said[best[1]].append(text.text)
        else:
            alone.append(text._replace(name=name))
    joined = [turn._replace(text=" ".join(filter(None, parts))) for turn, parts in zip(turns, said, strict=True)]
    return sorted([*joined, *alone], key=lambda turn: turn[:4])


def _same_speaker(turns: Sequence[Said], texts: Sequence[Said], shared: Sequence[list[Overlap]]) -> dict[str, str]:
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
    found: list[list[Overlap]] = []
    kept = 0
    for (start, end), a, b in zip(others, first.tolist(), last.tolist(), strict=True):
        overlap = np.minimum(ends[a:b], end) - np.maximum(starts[a:b], start)
        found.append([(int(overlap[k]), order[a + k]) for k in np.flatnonzero(overlap > 0).tolist()])
        kept += len(found[-1])
        if kept > MOST_OVERLAPS:
            raise too_many
    return found


def spoken(turns: Sequence[Turn], words: Sequence[Word]) -> tuple[tuple[Turn, ...], tuple[Word, ...]]:
    """Words in order, each with the speaker of the turn it overlaps most; turns without a text get that of theirs.

    `turns` are in order of start.
    """
    said: list[list[str]] = [[] for _ in turns]
    placed = []
    ordered = sorted(words, key=lambda word: (word.start_ms, word.end_ms))
    shared = _shared([spans.interval(turn) for turn in turns], [spans.interval(word) for word in ordered])
    for word, overlaps in zip(ordered, shared, strict=True):
        best = max(overlaps, key=lambda o: (o[0], -o[1]), default=None)
        if best is None:
            placed.append(word)
            continue
        said[best[1]].append(word.text)
        placed.append(replace(word, speaker=turns[best[1]].speaker))
    texts = [turn.text or " ".join(parts) for turn, parts in zip(turns, said, strict=True)]
    return tuple(replace(turn, text=text) for turn, text in zip(turns, texts, strict=True)), tuple(placed)
