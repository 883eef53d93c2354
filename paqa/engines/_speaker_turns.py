"""From pieces with speakers to turns: who speaks at each step of 10 ms, and how sure that is."""

from __future__ import annotations

import numpy as np

from paqa.engines._segmentation import SPEAKERS
from paqa.engines._speaker_pieces import Pieces, joined_runs

Span = tuple[int, int, int]  # start_ms, end_ms, speaker from 0
# mean cosine of two pieces of one voice, where the rest of the voice is not to be had
TYPICAL_LIKENESS = 0.55


def step_labels(on: np.ndarray, pieces: Pieces, speakers: np.ndarray) -> np.ndarray:
    """The speaker of each track that speaks `(steps, 3)`, from 0, -1 where it is silent.

    That of the track's nearest piece; of the nearest piece at all where the track has none, and 0 where there
    are no pieces.
    """
    labels = np.full(on.shape, -1)
    for track in range(SPEAKERS):
        steps = np.flatnonzero(on[:, track])
        near = np.flatnonzero(pieces.tracks == track)
        near = near if len(near) else np.arange(len(pieces))
        if not len(near):
            labels[steps, track] = 0
            continue
        start, end = pieces.spans[near].T
        away = np.maximum(start[None] - steps[:, None], steps[:, None] - end[None] + 1)
        labels[steps, track] = speakers[near[np.maximum(away, 0).argmin(axis=1)]]
    return labels


def exclusive_labels(labels: np.ndarray, active: np.ndarray) -> np.ndarray:
    """The same `(steps, 3)` with only the likeliest track at each step, by its probability `(steps, 3)`."""
    first = np.where(labels >= 0, active, -1).argmax(axis=1)
    return np.where(np.arange(SPEAKERS) == first[:, None], labels, -1)


def turn_spans(labels: np.ndarray, join_ms: int, min_turn_ms: int) -> list[Span]:
    """Runs of each speaker in labels `(steps, 3)`, in order of start, joined where nobody else speaks."""
    spans = []
    anybody = (labels >= 0).any(axis=1)
    for speaker in range(int(labels.max(initial=-1)) + 1):
        on = (labels == speaker).any(axis=1)
        for a, b in joined_runs(on, anybody & ~on, join_ms // 10):
            if (b - a) * 10 >= min_turn_ms:
                spans.append((a * 10, b * 10, speaker))
    return sorted(spans)


def turn_score(span: Span, pieces: Pieces, speakers: np.ndarray, cosines: np.ndarray) -> float:
    """How much nearer a turn is to its speaker than to the next, in [0, 1].

    The mean of the cosines (n, n) of its pieces with the other pieces of its speaker, less the highest such
    mean with another speaker (0 where there is none). 0 for a turn without pieces.
    """
    start, end, speaker = span
    inside = (pieces.spans[:, 0] * 10 < end) & (pieces.spans[:, 1] * 10 > start) & (speakers == speaker)
    rest = (speakers == speaker) & ~inside
    if not inside.any():
        return 0.0
    to_speaker = float(cosines[np.ix_(inside, rest)].mean()) if rest.any() else TYPICAL_LIKENESS
    to_next = 0.0
    for other in set(speakers.tolist()) - {speaker}:
        to_next = max(to_next, float(cosines[np.ix_(inside, speakers == other)].mean()))
    return round(min(max(to_speaker - to_next, 0.0), 1.0), 4)
