"""Whether answers about sounds hold, derived from the truth anew: no template's code is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from paqa import audioset
from paqa.evaluation.known_truth import FRAME_MS, Sound, shared_ms, total_ms, under
from paqa.evaluation.row_question import NONE, Case, Settled, timed
from paqa.types import Event

if TYPE_CHECKING:
    import numpy as np

THIRDS = ("In the first third", "In the middle third", "In the last third")
BEFORE, DURING, PAUSE, AFTER = (
    "Before anyone has spoken",
    "While someone is speaking",
    "In a pause between two stretches of speech",
    "After the last word has been spoken",
)
SECOND_MS = 1000  # an answer to the second may be off by rounding and by the onset


def background_sound(case: Case) -> bool:
    """The choice that is there."""
    true = case.true
    if not case.truth.events_known and not case.truth.scene.events:
        case.need_events()
    present = [c for c in case.choices if c != NONE and true.events_like(true.sound(c))]
    if case.answer == NONE:
        if not present:
            case.need_events(times=False)
        return not present
    _must_be_there(case)
    answer = true.sound(case.answer)
    return all(answer and (s := true.sound(c)) and true.alike(answer, s) for c in present)


def absent_sound(case: Case) -> bool:
    """The choice that is not there, while the others are."""
    true = case.true
    if true.events_like(true.sound(case.answer)):
        raise Settled("wrong_answer", "missed")
    case.need_events(times=False)
    for choice in case.choices:
        if choice != case.answer and not true.events_like(true.sound(choice)):
            raise Settled("false_premise", case.why_not_there(true.sound(choice)))
    return True


def sound_kind(case: Case) -> bool:
    """The kind that is there, and no other of those offered is."""
    if not case.truth.events_known and not case.truth.scene.events:
        case.need_events()
    present = {c for c in case.choices if any(under(e.label, audioset.KINDS[c]) for e in case.true.events)}
    if case.answer not in present:
        predicted = case.question.predicted.events if case.question.predicted else ()
        named = [Sound(e.label, e.mid) for e in predicted if under(e.label, audioset.KINDS[case.answer])]
        case.must_be_there(named[0] if named else None, "wrong_answer")
    return present <= {case.answer}


def first_sound(case: Case) -> bool:
    """What starts first."""
    _some_sound(case)
    onset = min(e.start_ms for e in case.true.events)
    near = [e for e in case.true.events if e.start_ms <= onset + case.rules.onset_ms]
    return _ordered(case, near)


def last_sound(case: Case) -> bool:
    """What starts last."""
    _some_sound(case)
    onset = max(e.start_ms for e in case.true.events)
    near = [e for e in case.true.events if e.start_ms >= onset - case.rules.onset_ms]
    return _ordered(case, near)


def sound_after(case: Case) -> bool:
    """What starts next after a sound has first set in."""
    sound = case.asked_sound()
    earlier = min(e.start_ms for e in case.true.events_like(sound))
    return _ordered(case, _next(case, earlier, case.true.events_unlike(sound)))


def sound_after_line(case: Case) -> bool:
    """What starts next after certain words."""
    lines = case.line()
    _some_sound(case)
    return any(_ordered(case, _next(case, line.end_ms, case.true.events)) for line in lines)


def _next(case: Case, after_ms: int, events: Sequence[Event]) -> list[Event]:
    """The events that may be the next to start after a moment."""
    slack = case.rules.onset_ms
    first = min((e.start_ms for e in events if e.start_ms > after_ms), default=after_ms)
    return [e for e in events if after_ms - slack < e.start_ms <= first + slack and e.start_ms != after_ms]


def _ordered(case: Case, possible: Sequence[Event]) -> bool:
    """Whether the answer is among the sounds that may be meant; it must be there at all."""
    _must_be_there(case)
    if not possible:
        raise Settled("false_premise", "timing")
    if not case.sound_right([Sound(e.label, e.mid) for e in possible]):
        raise Settled("wrong_answer", "timing")
    return True


def _some_sound(case: Case) -> None:
    case.need_events()
    if not case.true.events:
        raise Settled("false_premise", case.why_not_there(case.true.sound(case.answer)))


def _must_be_there(case: Case) -> None:
    """A sound that is the answer has to be in the clip."""
    if case.answer != NONE:
        case.must_be_there(case.true.sound(case.answer), "wrong_answer")


def sound_occasions(case: Case) -> bool:
    """On how many occasions a sound is heard."""
    frames = case.true.sounding(case.asked_sound())
    counts = {runs(frames, bridge // FRAME_MS) for bridge in case.rules.bridges_ms}
    return timed(case.count_right(counts))


def different_sounds(case: Case) -> bool:
    """How many kinds of sounds there are; where some are of one kind, they may count as one."""
    case.need_events(times=False)
    kinds: list[Sound] = []
    for event in case.true.events:
        sound = Sound(event.label, event.mid)
        if not any(case.true.alike(sound, kind) for kind in kinds):
            kinds.append(sound)
    labels = {e.label for e in case.true.events}
    if case.count_right({len(labels), len(kinds)}):
        return True
    predicted = case.question.predicted
    for event in predicted.events if predicted else ():
        if not case.true.events_like(Sound(event.label, event.mid)):
            raise Settled("wrong_answer", case.why_not_there(Sound(event.label, event.mid)))
    raise Settled("wrong_answer", "missed")


def onset_part(case: Case) -> bool:
    """In which third a sound first starts."""
    onset = min(e.start_ms for e in case.true.events_like(case.asked_sound()))
    slack = case.rules.onset_ms
    shares = [ms / case.true.scene.duration_ms for ms in (onset, max(0, onset - slack), onset + slack)]
    return timed(case.answer in {THIRDS[0 if s < 1 / 3 else 1 if s < 2 / 3 else 2] for s in shares})


def onset_second(case: Case) -> bool:
    """After how many seconds a sound first starts."""
    onset = min(e.start_ms for e in case.true.events_like(case.asked_sound()))
    return timed(case.amount_right(onset / 1000, SECOND_MS if case.rules.onset_ms else 0))


def sound_duration(case: Case) -> bool:
    """How long a sound is heard in total."""
    length = total_ms(case.true.sounding(case.asked_sound()))
    return timed(case.amount_right(length / 1000, case.rules.total_ms))


def longest_sound(case: Case) -> bool:
    """What is heard longest."""
    _some_sound(case)
    sounds = {Sound(e.label, e.mid) for e in case.true.events}
    lengths = {s: total_ms(case.true.sounding(s)) for s in sounds}
    most = max(lengths.values())
    _must_be_there(case)
    return timed(case.sound_right([s for s, ms in lengths.items() if ms >= most - case.rules.total_ms]))


def sound_and_speech(case: Case) -> bool:
    """Whether a sound comes before, during, between or after the speech."""
    case.need_turns()
    sound = case.asked_sound()
    slack = case.rules.onset_ms
    frames, speech = case.true.sounding(sound), case.true.speech()
    if not speech.any():
        raise Settled("false_premise", "speaker_count")
    first, last = int(frames.argmax()), len(frames) - int(frames[::-1].argmax())
    edge = slack // FRAME_MS
    before = not speech[: max(0, last - edge)].any()
    after = not speech[first + edge :].any()
    shared = shared_ms(frames, speech)
    if slack:
        during = shared * 2 >= total_ms(frames)
        pause = not shared_ms(case.true.sounding(sound, -slack), speech) and not (before and after)
    else:
        during, pause = bool(shared), not shared
        during, pause = (during and not before and not after), (pause and not before and not after)
        after = after and not before
    return timed({BEFORE: before, AFTER: after, DURING: during, PAUSE: pause}[case.answer])


def sound_at_once(case: Case) -> bool:
    """What is heard together with a sound."""
    sound = case.asked_sound()
    others = [s for c in case.choices if (s := case.true.sound(c)) and not case.true.alike(s, sound)]
    return _during(case, lambda grow: case.true.sounding(sound, grow), case.rules.onset_ms, others)


def sound_during_speaker(case: Case) -> bool:
    """What is heard while somebody talks."""
    case.need_turns()
    if not case.true.turns:
        raise Settled("false_premise", "speaker_count")
    who = case.speaker() if len(case.true.speakers) > 1 else case.true.speakers[0]
    case.need_events()
    return _during(case, lambda grow: case.true.voice(who, grow), case.rules.turn_ms)


def sound_during_line(case: Case) -> bool:
    """What is heard while certain words are said."""
    lines = case.line()
    case.need_events()
    spans = [(line.start_ms, line.end_ms) for line in lines[:1]]
    return _during(case, lambda grow: case.true.frames(spans, grow), case.rules.turn_ms)


def _during(
    case: Case, when: Callable[[int], np.ndarray], slack_ms: int, others: Sequence[Sound] | None = None
) -> bool:
    """Whether the answer may be heard at a time, and no other choice surely is.

    `when(grow_ms)` gives the frames; `others`, where given, the only sounds that may be meant.
    """
    true, least = case.true, case.rules.shared_ms
    possible, sure = [], []
    for choice in case.choices or (case.answer,):
        sound = true.sound(choice)
        if choice == NONE or sound is None or (others is not None and sound not in others):
            continue
        if shared_ms(when(slack_ms), true.sounding(sound)) >= least:
            possible.append(choice)
        if shared_ms(when(-slack_ms), true.sounding(sound)) >= least:
            sure.append(choice)
    if case.answer == NONE:
        return timed(not sure)
    _must_be_there(case)
    answer = true.sound(case.answer)
    rivals = [c for c in sure if not ((s := true.sound(c)) and answer and true.alike(s, answer))]
    return timed(case.answer in possible and not rivals)


def runs(frames: np.ndarray, bridge: int) -> int:
    """How many stretches of frames are active; pauses up to `bridge` frames do not end one."""
    joined = "".join("x" if active else "." for active in frames).strip(".")
    return len([run for run in re.split(rf"\.{{{bridge + 1},}}", joined) if run])


JUDGES: dict[str, Callable[[Case], bool]] = {
    judge.__name__: judge
    for judge in (
        background_sound, absent_sound, sound_kind, first_sound, last_sound, sound_after, sound_after_line,
        sound_occasions, different_sounds, onset_part, onset_second, sound_duration, longest_sound,
        sound_and_speech, sound_at_once, sound_during_speaker, sound_during_line,
    )
}  # fmt: skip
