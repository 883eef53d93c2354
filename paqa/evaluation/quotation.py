"""Where in the true words a quotation is from, and how many of its words are wrong.

Words of the truth have no times of their own: within a turn they are placed by their letters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from paqa.evaluation.metrics import normalizer
from paqa.text import clean
from paqa.types import Scene

UNCLEAR = "[unclear]"  # in a quotation, stands for any words
ELLIPSIS = re.compile(r"\s*(\.\.\.|…)\s*$")
ANY = "\0"
SAME_LINE = 0.5  # with more word errors than that, a quotation is of another line


@dataclass(frozen=True)
class TrueWord:
    """One word of the truth; `turn` is the index of its turn, `first` and `last` its place there."""

    text: str
    turn: int
    speaker: int
    start_ms: int
    end_ms: int
    first: bool
    last: bool


@dataclass(frozen=True)
class Place:
    """A quotation found in the truth: its first and last word, as indices, and its word errors.

    `assumed` places are those of a predicted line, where truth does not know the words; they have no indices.
    """

    speaker: int
    start_ms: int
    end_ms: int
    errors: int = 0
    words: int = 0
    first: int = -1
    last: int = -1
    assumed: bool = False


def tokens(text: str, language: str | None) -> list[str]:
    """The normalised words of a text; `ANY` for each that is unclear."""
    parts = [normalizer(language)(clean(part)).split() for part in text.split(UNCLEAR)]
    joined = parts[0]
    for part in parts[1:]:
        joined = [*joined, ANY, *part]
    return joined


@lru_cache(maxsize=256)
def true_words(scene: Scene) -> tuple[TrueWord, ...]:
    """The words of all turns, turn by turn in order of start."""
    words = []
    for index, turn in enumerate(scene.turns):
        texts = tokens(turn.text, scene.language)
        letters = sum(len(text) + 1 for text in texts)
        length, before = turn.end_ms - turn.start_ms, 0
        for k, text in enumerate(texts):
            after = before + len(text) + 1
            start, end = (turn.start_ms + length * x // letters for x in (before, after))
            words.append(TrueWord(text, index, turn.speaker, start, end, k == 0, k == len(texts) - 1))
            before = after
    return tuple(words)


def places(quote: str, scene: Scene) -> list[Place]:
    """Where a quotation is from: all places with the fewest word errors, [] where nothing is like it.

    A line may run over several turns of the truth, or over those of one speaker with others in between.
    """
    quoted = tokens(ELLIPSIS.sub("", quote), scene.language)
    words = true_words(scene)
    count = sum(token != ANY for token in quoted)
    if not count or not words:
        return []
    sequences = [list(range(len(words)))]
    speakers = {word.speaker for word in words}
    if len(speakers) > 1:
        sequences += [[i for i, w in enumerate(words) if w.speaker == s] for s in sorted(speakers)]
    best: dict[tuple[int, int], int] = {}
    for sequence in sequences:
        for errors, first, last in _matches(quoted, [words[i].text for i in sequence]):
            span = (sequence[first], sequence[last])
            best[span] = min(errors, best.get(span, errors))
    fewest = min(best.values(), default=count)
    if fewest > SAME_LINE * count:
        return []
    return [_place(words, span, errors, count) for span, errors in best.items() if errors == fewest]


def _place(words: Sequence[TrueWord], span: tuple[int, int], errors: int, count: int) -> Place:
    first, last = words[span[0]], words[span[1]]
    return Place(
        first.speaker, first.start_ms, max(first.end_ms, last.end_ms), errors, count, span[0], span[1]
    )


@dataclass(frozen=True)
class _Row:
    """Of a word of a quotation, by the number of true words before: fewest errors, and where they begin."""

    costs: list[int]
    starts: list[int]


def _matches(wanted: Sequence[str], words: Sequence[str]) -> list[tuple[int, int, int]]:
    """The parts of `words` nearest to `wanted`: word errors, first and last index; the fewest errors only.

    Edit distance in which the words before and after the part cost nothing, `ANY` stands for any words, and a
    word written as two ("green house") is the same.
    """
    width = len(words) + 1
    rows = [_Row([0] * width, list(range(width)))]
    for i, token in enumerate(wanted):
        joined = wanted[i - 1] + token if i else ANY
        rows.append(_next_row(rows, token, joined, words))
    costs, starts = rows[-1].costs, rows[-1].starts
    fewest = min(costs)
    ends = [j for j in range(1, width) if costs[j] == fewest and starts[j] < j]
    shortest: dict[int, int] = {}  # of the parts that begin at one word, the first to end
    for j in ends:
        shortest.setdefault(starts[j], j)
    return [(fewest, start, end - 1) for start, end in shortest.items()]


def _next_row(rows: Sequence[_Row], token: str, joined: str, words: Sequence[str]) -> _Row:
    """The row of the next word; `joined` is it and the one before, as one word."""
    above = rows[-1]
    row = _Row([above.costs[0] + (token != ANY)], [above.starts[0]])
    for j in range(1, len(words) + 1):
        if token == ANY:
            options = [(above.costs[j], above.starts[j]), (row.costs[j - 1], row.starts[j - 1])]
        else:
            options = [
                (above.costs[j - 1] + (words[j - 1] != token), above.starts[j - 1]),
                (above.costs[j] + 1, above.starts[j]),
                (row.costs[j - 1] + 1, row.starts[j - 1]),
            ]
            if j > 1 and words[j - 2] + words[j - 1] == token:
                options.append((above.costs[j - 2], above.starts[j - 2]))
            if len(rows) > 1 and words[j - 1] == joined:
                options.append((rows[-2].costs[j - 1], rows[-2].starts[j - 1]))
        cost, start = min(options, key=lambda option: (option[0], -option[1]))
        row.costs.append(cost)
        row.starts.append(start)
    return row


def misquoted(place: Place, word_error: float, short_errors: int) -> bool:
    """Whether too many of a quotation's words are wrong."""
    return place.errors > max(short_errors, int(word_error * place.words + 1e-9))
