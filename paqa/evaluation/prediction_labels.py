"""Which predictions of a clip its truth confirms: the examples that confidences are fitted on.

None stands for what the truth does not say. Times are ms, spans half open.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from paqa.evaluation.known_truth import LENIENT, related, sound_of
from paqa.evaluation.sound_spans import is_near, mostly_same
from paqa.spans import gap, intersect, interval, merge, overlap, total
from paqa.text import normal
from paqa.types import Event, Scene, Turn

NEAR_MS = 300  # a missed sound is at least this far from every predicted one
ITS_SHARE = 0.6  # of a turn that its speaker must speak, where the others speak less
PAUSE_MS = 500  # a pause of this length inside a turn is no error


def words(predicted: Scene, truth: Scene) -> list[bool | None]:
    """Of each word, whether it was said: whether it stands in the alignment with the true text."""
    true_words = normal(truth.transcript).split()
    if not true_words or not all(turn.text.strip() for turn in truth.turns):
        return [None] * len(predicted.words)
    pieces: list[str] = []
    owners: list[int] = []
    for i, word in enumerate(predicted.words):
        for piece in normal(word.text).split():
            pieces.append(piece)
            owners.append(i)
    matched: set[int] = set()
    matcher = difflib.SequenceMatcher(None, pieces, true_words, autojunk=False)
    for block in matcher.get_matching_blocks():
        matched.update(range(block.a, block.a + block.size))
    wrong = {owners[k] for k in range(len(pieces)) if k not in matched}
    return [i not in wrong for i in range(len(predicted.words))]


def turns(predicted: Scene, truth: Scene) -> list[bool]:
    """Of each turn, whether the speaker that its number stands for speaks there."""
    speakers = _pairing(predicted.turns, truth.turns)
    labels = []
    for turn in predicted.turns:
        shares = {n: _spoken_within(turn, truth.turns, n) for n in {t.speaker for t in truth.turns}}
        its = shares.get(speakers.get(turn.speaker, 0), 0.0)
        labels.append(its >= ITS_SHARE and its >= max(shares.values(), default=0.0))
    return labels


def _pairing(predicted: Sequence[Turn], truth: Sequence[Turn]) -> dict[int, int]:
    """The true speaker of each predicted one: one to one, most time in common over all."""
    from scipy.optimize import linear_sum_assignment

    ours, theirs = sorted({t.speaker for t in predicted}), sorted({t.speaker for t in truth})
    shared = [
        [
            total(
                intersect(
                    merge(interval(t) for t in predicted if t.speaker == a),
                    merge(interval(t) for t in truth if t.speaker == b),
                )
            )
            for b in theirs
        ]
        for a in ours
    ]
    if not ours or not theirs:
        return {}
    rows, columns = linear_sum_assignment(shared, maximize=True)
    return {ours[r]: theirs[c] for r, c in zip(rows, columns, strict=True) if shared[r][c] > 0}


def _spoken_within(turn: Turn, truth: Sequence[Turn], speaker: int) -> float:
    """The share of a turn in which a true speaker speaks, short pauses among it."""
    speech = merge([interval(t) for t in truth if t.speaker == speaker], PAUSE_MS)
    return total(intersect([interval(turn)], speech)) / max(1, turn.end_ms - turn.start_ms)


def speaker_count(predicted: Scene, truth: Scene) -> bool:
    """Whether as many speakers were predicted as there are."""
    return predicted.speakers == truth.speakers


def is_there(event: Event, truth: Scene, spans_known: bool) -> bool:
    """Whether truth has a sound of an event's kind, at its time where times are known."""
    kin = [t for t in truth.events if related(sound_of(event), sound_of(t))]
    return any(not spans_known or overlap(interval(event), interval(t)) > 0 for t in kin)


def events(predicted: Scene, truth: Scene, spans_known: bool) -> list[tuple[bool, bool | None]]:
    """Of each event, whether a sound of its kind is there, and whether it begins and ends about there.

    A kind of the true sound, or what that is a kind of, counts. Without `spans_known` the truth says which
    sounds are in the clip, not when.
    """
    labels: list[tuple[bool, bool | None]] = []
    for event in predicted.events:
        there = is_there(event, truth, spans_known)
        if not spans_known:
            labels.append((there, None))
            continue
        kin = [interval(t) for t in truth.events if related(sound_of(event), sound_of(t))]
        same_class = [interval(e) for e in predicted.events if e.mid == event.mid]
        placed = is_near(interval(event), kin, LENIENT) or mostly_same(same_class, kin, LENIENT)
        labels.append((there, placed if there else None))
    return labels


def nothing_missed(predicted: Scene, truth: Scene) -> bool:
    """Whether every true sound is among the predicted ones."""
    return all(
        any(
            related(sound_of(p), sound_of(t)) and gap(interval(p), interval(t)) <= NEAR_MS
            for p in predicted.events
        )
        for t in truth.events
    )
