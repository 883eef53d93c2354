"""How hard a question is to answer by ear, from its scene; and the named subsets of hard ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from paqa.questions.template import Level
from paqa.spans import Interval, intersect, interval, total
from paqa.types import Question, Scene, Spanned

MSQA_HARD = "MSQA-hard"  # more than three speakers, asked about speech: as in the PAQA paper
ENVQA_HARD = "ENVQA-hard"  # background at 5 dB or less below the voices, asked about the background
# A question gets no harder beyond these: speakers, signal-to-noise ratio, share of overlap, events.
MOST_SPEAKERS, QUIET_DB, MOST_OVERLAP, MOST_EVENTS = 5, 20.0, 0.25, 8


def difficulty(scene: Scene, question: Question) -> float:
    """The mean of five parts, each in [0, 1], three decimals.

    Voices (one to five), noise (20 dB or an unknown SNR down to 0 dB), the share of the speech during which
    several talk (up to a quarter), sounds (up to eight events), and the share of the clip that the evidence
    spans.
    """
    parts = (
        (scene.speakers - 1) / (MOST_SPEAKERS - 1),
        0.0 if scene.snr_db is None else 1 - scene.snr_db / QUIET_DB,
        overlap_share(scene) / MOST_OVERLAP,
        len(scene.events) / MOST_EVENTS,
        _evidence_extent(scene, question) / max(1, scene.duration_ms),
    )
    return round(sum(min(1.0, max(0.0, part)) for part in parts) / len(parts), 3)


def overlap_share(scene: Scene) -> float:
    """The share of the speech, in [0, 1], during which two or more people talk."""
    by_speaker: dict[int, list[Interval]] = {}
    for turn in scene.turns:
        by_speaker.setdefault(turn.speaker, []).append(interval(turn))
    shared: list[Interval] = []
    for first, second in combinations(by_speaker.values(), 2):
        shared += intersect(first, second)
    speech_ms = total(interval(t) for t in scene.turns)
    return total(shared) / speech_ms if speech_ms else 0.0


def _evidence_extent(scene: Scene, question: Question) -> int:
    """From where the evidence begins to where it ends, in ms."""
    rows: dict[str, Sequence[Spanned]] = {"turn": scene.turns, "word": scene.words, "event": scene.events}
    spans: list[Interval] = [interval(rows[e.kind][e.index]) for e in question.evidence]
    return max(end for _, end in spans) - min(start for start, _ in spans) if spans else 0


def subsets(scene: Scene, level: Level) -> tuple[str, ...]:
    """The named subsets that a question of a level belongs to."""
    if level == "speaker":
        return (MSQA_HARD,) if scene.speakers > 3 else ()
    return (ENVQA_HARD,) if scene.snr_db is not None and scene.snr_db <= 5 else ()
