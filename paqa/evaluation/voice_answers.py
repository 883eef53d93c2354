"""Whether answers about how voices differ hold: their pace, and the levels and pitches of the truth."""

from __future__ import annotations

import re
from collections.abc import Callable

from paqa.evaluation.known_truth import shared_ms, total_ms
from paqa.evaluation.row_question import Case, Settled, unknown


def fastest_speaker(case: Case) -> bool:
    """Who speaks fastest, or slowest, in words per second."""
    case.need_words()
    rates = {}
    for speaker in case.true.speakers:
        turns = [t for t in case.true.turns if t.speaker == speaker]
        rates[speaker] = sum(len(t.text.split()) for t in turns) / sum(t.end_ms - t.start_ms for t in turns)
    return _extreme(case, rates, "slow|least|fewest", lambda a, b: a / b - 1 <= case.rules.share)


def highest_voice(case: Case) -> bool:
    """Whose voice is highest, or deepest."""
    values = _measured(case, "pitch_hz")
    return _extreme(case, values, "deep|lowest|below", lambda a, b: a / b - 1 <= case.rules.share)


def loudest_speaker(case: Case) -> bool:
    """Who speaks loudest, or most softly."""
    values = _measured(case, "level_db")
    return _extreme(case, values, "lowest|soft|quiet", lambda a, b: a - b <= case.rules.level_db)


def _extreme(case: Case, values: dict[int, float], least: str, near: Callable[[float, float], bool]) -> bool:
    """Whether the answer has the largest value, or the smallest where the question asks for it."""
    if len(values) < 2:
        raise Settled("false_premise", "speaker_count")
    if re.search(least, case.text):
        end = min(values.values())
        possible = {s for s, value in values.items() if value == end or near(value, end)}
    else:
        end = max(values.values())
        possible = {s for s, value in values.items() if value == end or near(end, value)}
    if case.speaker_right(possible):
        return True
    cause = case.why_voices_wrong()
    raise Settled("wrong_answer", "measured" if cause == "attribution" else cause)


def _measured(case: Case, field: str) -> dict[int, float]:
    """A speaker's mean over the time in which the voice was measured.

    Turns that others cover by more than half do not count.
    """
    case.need_turns()
    values: dict[int, float] = {}
    for speaker in case.true.speakers:
        weights = []
        others = case.true.frames((t.start_ms, t.end_ms) for t in case.true.turns if t.speaker != speaker)
        for turn in case.true.turns:
            value = getattr(turn, field)
            frames = case.true.frames([(turn.start_ms, turn.end_ms)])
            clear = 2 * shared_ms(frames, others) <= total_ms(frames)
            if turn.speaker == speaker and value is not None and clear:
                weights.append((value, turn.end_ms - turn.start_ms))
        if not weights:
            raise unknown(field)
        values[speaker] = sum(v * ms for v, ms in weights) / sum(ms for _, ms in weights)
    return values


JUDGES: dict[str, Callable[[Case], bool]] = {
    judge.__name__: judge for judge in (fastest_speaker, highest_voice, loudest_speaker)
}
