"""RTTM, STM and CTM: who speaks when, who says what, and single words, one line each. Times are seconds in the files.

A file may be about many recordings; each line names its own. Everything raises `Rejected` with `bad_truth`.
"""

from __future__ import annotations

import itertools
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
Line = Callable[[str], tuple[str, T] | None]  # the recording's name and what is said about it, None for other lines


def parse(uri: str, folder: Path, line: Line[T]) -> dict[str, list[T]]:
    """What a file says, by name of the recording, in the order of its lines."""
    try:
        lines = locate(uri, folder).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected("bad_truth", f"{uri} cannot be read ({error}); expected a UTF-8 text file, check it") from None
    found: dict[str, list[T]] = defaultdict(list)
    for number, text in enumerate(lines, 1):
        try:
            parsed = line(text)
        except (ValueError, IndexError):
            raise Rejected("bad_truth", f"{uri}, line {number}: {text[:80]!r} has another format; correct it") from None
        if parsed:
            found[parsed[0]].append(parsed[1])
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
    names = _same_speaker(turns, texts)
    said: list[list[str]] = [[] for _ in turns]
    alone = []
    for text in sorted(texts):
        name = names.get(text.name, text.name)
        shared = [spans.overlap(turn[:2], text[:2]) if turn.name == name else 0 for turn in turns]
        best = max(range(len(turns)), key=shared.__getitem__, default=0)
        if turns and shared[best]:
            said[best].append(text.text)
        else:
            alone.append(text._replace(name=name))
    joined = [turn._replace(text=" ".join(filter(None, parts))) for turn, parts in zip(turns, said, strict=True)]
    return sorted([*joined, *alone], key=lambda turn: turn[:4])


def _same_speaker(turns: Sequence[Said], texts: Sequence[Said]) -> dict[str, str]:
    shared: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for text in texts:
        for turn in turns:
            shared[text.name][turn.name] += spans.overlap(turn[:2], text[:2])
    return {name: max(sorted(of), key=of.__getitem__) for name, of in shared.items() if any(of.values())}


def spoken(turns: Sequence[Turn], words: Sequence[Word]) -> tuple[tuple[Turn, ...], tuple[Word, ...]]:
    """Words in order, each with the speaker of the turn it overlaps most; turns without a text get that of theirs.

    `turns` are in order of start.
    """
    said: list[list[str]] = [[] for _ in turns]
    placed = []
    first = 0  # no turn before this one ends after the word's start
    for word in sorted(words, key=lambda word: (word.start_ms, word.end_ms)):
        while first < len(turns) and turns[first].end_ms <= word.start_ms:
            first += 1
        near = itertools.takewhile(lambda i: turns[i].start_ms < word.end_ms, range(first, len(turns)))  # noqa: B023
        shared = {i: spans.overlap(spans.interval(turns[i]), spans.interval(word)) for i in near}
        best = max(shared, key=shared.__getitem__, default=None)
        if best is None or not shared[best]:
            placed.append(word)
            continue
        said[best].append(word.text)
        placed.append(replace(word, speaker=turns[best].speaker))
    texts = [turn.text or " ".join(parts) for turn, parts in zip(turns, said, strict=True)]
    return tuple(replace(turn, text=text) for turn, text in zip(turns, texts, strict=True)), tuple(placed)
