"""What the transcribers share: words on the grid, and the signs of a hallucination."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from paqa.types import Word

LONGEST_NGRAM = 6  # words; longer loops compress well enough to be found by their compression ratio


def on_grid(timed: Iterable[Any], duration_ms: int, shortest_ms: int) -> tuple[Word, ...]:
    """Whisper's words (`start`, `end` in seconds) on the 10 ms grid: in order, disjoint, not empty, inside
    the clip.

    Whisper gives many words no width; they take `shortest_ms` from the pause before them where there is one.
    It cuts "28.8" before the point: what begins with punctuation and without a space belongs to the word
    before.
    """
    words: list[Word] = []
    for word in _whole(timed):
        text = word.word.strip()
        free = words[-1].end_ms if words else 0
        end = min(round(word.end * 100) * 10, duration_ms // 10 * 10)
        start = max(free, min(round(word.start * 100) * 10, end - shortest_ms))
        end = max(end, start + 10)
        if text and end <= duration_ms:
            words.append(Word(start, end, text, confidence=float(np.clip(word.probability, 0.0, 1.0))))
    return tuple(words)


def _whole(timed: Iterable[Any]) -> list[Any]:
    """The words with such pieces joined to them."""
    found: list[Any] = []
    for word in timed:
        before = found[-1] if found else None
        if (
            before
            and before.word[-1:].isalnum()
            and word.word[:1] in string.punctuation
            and word.word.strip()
        ):
            probability = min(before.probability, word.probability)
            found[-1] = SimpleNamespace(
                word=before.word + word.word, start=before.start, end=word.end, probability=probability
            )
        else:
            found.append(word)
    return found


def is_loop(text: str, compression_ratio: float, most_ratio: float, most_repeats: int) -> bool:
    """Whether a window's text is a decoder's loop rather than speech: it compresses too well, or words come
    too often.

    `compression_ratio` is that of the text, as Whisper's libraries measure it.
    """
    return compression_ratio > most_ratio or has_loop(text.split(), most_repeats)


def has_loop(words: Sequence[str], times: int) -> bool:
    """Whether one to six words come so many times in a row: a decoder's loop rather than speech."""
    said = [word.casefold().strip(".,!?;:") for word in words]
    return any(_in_a_row(said, n, times) for n in range(1, LONGEST_NGRAM + 1))


def _in_a_row(said: Sequence[str], n: int, times: int) -> bool:
    same = 0
    for word, later in zip(said, said[n:], strict=False):
        same = same + 1 if word == later else 0
        if same >= n * (times - 1):
            return True
    return False
