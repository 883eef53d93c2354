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
    """Whisper's words (`start`, `end` in s) on the 10 ms grid: in order, disjoint, not empty, in the clip.

    Whisper gives many words no width; they take `shortest_ms` from the pause before them where there is one.
    It cuts "28.8" before the point: a word that begins with punctuation, not a space, ends the one before.
    """
    words: list[Word] = []
    for word in _with_pieces_joined(timed):
        text = word.word.strip()
        free = words[-1].end_ms if words else 0
        end = min(round(word.end * 100) * 10, duration_ms // 10 * 10)
        start = max(free, min(round(word.start * 100) * 10, end - shortest_ms))
        end = max(end, start + 10)
        if text and end <= duration_ms:
            words.append(Word(start, end, text, score=float(np.clip(word.probability, 0.0, 1.0))))
    return tuple(words)


def _with_pieces_joined(timed: Iterable[Any]) -> list[Any]:
    """The words, each with the pieces that were cut off it."""
    words: list[Any] = []
    for word in timed:
        before = words[-1] if words else None
        is_piece = word.word[:1] in string.punctuation and word.word.strip()
        if before and before.word[-1:].isalnum() and is_piece:
            probability = min(before.probability, word.probability)
            words[-1] = SimpleNamespace(
                word=before.word + word.word, start=before.start, end=word.end, probability=probability
            )
        else:
            words.append(word)
    return words


def is_loop(text: str, compression_ratio: float, most_ratio: float, most_repeats: int) -> bool:
    """Whether a window's text is a decoder's loop, no speech: it compresses too well, or words repeat.

    `compression_ratio` is that of the text, as Whisper's libraries measure it.
    """
    return compression_ratio > most_ratio or has_loop(text.split(), most_repeats)


def has_loop(words: Sequence[str], times: int) -> bool:
    """Whether one to six words come so many times in a row: a decoder's loop rather than speech."""
    plain_words = [word.casefold().strip(".,!?;:") for word in words]
    return any(_repeats(plain_words, n, times) for n in range(1, LONGEST_NGRAM + 1))


def _repeats(words: Sequence[str], n: int, times: int) -> bool:
    """Whether `n` words come `times` times in a row."""
    same = 0
    for word, later in zip(words, words[n:], strict=False):
        same = same + 1 if word == later else 0
        if same >= n * (times - 1):
            return True
    return False
