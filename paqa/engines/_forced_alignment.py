"""When known words are spoken, by a CTC model (Kürzinger et al., "CTC-Segmentation", 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paqa.engines._transformers_asr import SPACES, Opened, Piece, ctc_probabilities

LEAST = 1e-10  # probabilities are kept from this on before the logarithm is taken


def aligned(opened: Opened, words: Sequence[Piece], window: np.ndarray) -> list[Piece]:
    """The words with the times at which an aligner has their letters; [] where it has none of them.

    A word without a letter that the model knows lies between its neighbours.
    """
    (rows,), frame_s = ctc_probabilities(opened, [window])
    vocabulary = opened.tokenizer.get_vocab()
    targets, owners = [], []
    for number, word in enumerate(words):
        letters = [_token(letter, vocabulary) for letter in word.text.strip()]
        targets += [token for token in letters if token is not None]
        owners += [number] * sum(token is not None for token in letters)
    blank = opened.model.config.pad_token_id
    path = best_path(np.log(np.maximum(rows, LEAST)), targets, blank) if targets else []
    if not path:
        return []
    spans: dict[int, tuple[int, int]] = {}
    for owner, (start, end) in zip(owners, path, strict=True):
        first, _ = spans.get(owner, (start, end))
        spans[owner] = first, end
    timed, before = [], 0
    for number, word in enumerate(words):
        first, last = spans.get(number, (before, before))
        before = last
        timed.append(Piece(word.text, first * frame_s, last * frame_s, word.probability))
    return timed


def _token(letter: str, vocabulary: dict[str, int]) -> int | None:
    tokens = (vocabulary.get(form) for form in (letter, letter.upper(), letter.lower()) if form not in SPACES)
    return next((token for token in tokens if token is not None), None)


def best_path(log_probabilities: np.ndarray, targets: Sequence[int], blank: int) -> list[tuple[int, int]]:
    """The frames `[first, end)` of each target on the likeliest path through `(frames, tokens)`.

    [] where there are too few frames for a path.
    """
    states = np.full(2 * len(targets) + 1, blank)
    states[1::2] = targets
    frames, count = len(log_probabilities), len(states)
    skips = np.zeros(count, bool)
    skips[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    score = np.full(count, -np.inf)
    score[:2] = log_probabilities[0, states[:2]]
    steps = np.zeros((frames, count), np.int8)
    for t in range(1, frames):
        moves = np.stack([score, np.roll(score, 1), np.where(skips, np.roll(score, 2), -np.inf)])
        moves[1, :1] = moves[2, :2] = -np.inf
        steps[t] = moves.argmax(axis=0)
        score = moves.max(axis=0) + log_probabilities[t, states]
    state = count - 1 if score[-1] >= score[-2] else count - 2
    if not np.isfinite(score[state]):
        return []
    spans = [(0, 0)] * len(targets)
    for t in range(frames - 1, -1, -1):
        if state % 2:
            _, end = spans[state // 2]
            spans[state // 2] = t, end or t + 1
        state -= int(steps[t, state])
    return spans
