"""Whether answers about speech hold, derived from the truth anew: no template's code is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import combinations

from paqa.evaluation.known_truth import FRAME_MS, VOICES, shared_ms, total_ms, under
from paqa.evaluation.quotation import Place, TrueWord, true_words
from paqa.evaluation.row_question import NONE, Case, Settled, timed, unknown
from paqa.spans import interval
from paqa.text import normal
from paqa.types import Turn

SOMEBODY, NOBODY = "Yes, somebody speaks", "No, nobody speaks"
YES, NO = "Yes, their speech overlaps", "No, they never overlap"
BACKCHANNEL_WORDS = 2  # a turn of so few words may be passed over as none


def speaker_count(case: Case) -> bool:
    """How many people speak; who hardly speaks may be left out."""
    case.need_turns()
    lengths = [total_ms(case.true.voice(s)) for s in case.true.speakers]
    clear = sum(ms >= case.rules.short_voice_ms for ms in lengths)
    return _voices(case, case.count_right(range(clear, len(lengths) + 1)))


def any_speech(case: Case) -> bool:
    """Whether anybody speaks; laughter and other voices may be taken for speech."""
    case.need_turns()
    if case.true.turns:
        return _voices(case, case.answer == SOMEBODY)
    voices = [event for event in case.true.events if under(event.label, VOICES)]
    return _voices(case, case.answer == NOBODY or bool(voices))


def turn_count(case: Case) -> bool:
    """How many turns somebody has; short turns of others may or may not divide them."""
    case.need_turns()
    who = case.speaker()
    clear = [t for t in case.true.turns if t.end_ms - t.start_ms >= case.rules.turn_ms]
    counts = {_turns_of(turns, who) for turns in (case.true.turns, clear)}
    return _voices(case, case.count_right(counts))


def _turns_of(turns: Sequence[Turn], who: int) -> int:
    order = [turn.speaker for turn in turns]
    return sum(s == who and (i == 0 or order[i - 1] != who) for i, s in enumerate(order))


def last_speaker(case: Case) -> bool:
    """Who stops last."""
    _somebody(case)
    latest = max(t.end_ms for t in case.true.turns)
    possible = {t.speaker for t in case.true.turns if t.end_ms >= latest - case.rules.turn_ms}
    return _voices(case, case.speaker_right(possible))


def longest_speaker(case: Case) -> bool:
    """Who talks most."""
    _somebody(case)
    lengths = {s: total_ms(case.true.voice(s)) for s in case.true.speakers}
    most = max(lengths.values())
    possible = {s for s, ms in lengths.items() if ms >= most - case.rules.total_ms}
    return _voices(case, case.speaker_right(possible))


def overlapping_pair(case: Case) -> bool:
    """Which two talk at once."""
    _somebody(case)
    slack = case.rules.overlap_ms
    pairs = {
        (a, b): shared_ms(case.true.voice(a, slack), case.true.voice(b))
        for a, b in combinations(case.true.speakers, 2)
    }
    most = max(pairs.values(), default=0)
    if not most:
        raise Settled("false_premise", case.why_voices_wrong())
    possible = [pair for pair, ms in pairs.items() if ms and ms >= most - 2 * slack]
    names = {f"Speakers {a} and {b}" for a, b in possible}
    if case.answer == NONE:
        return _voices(case, not names <= set(case.choices))
    return _voices(case, case.answer in names)


def two_at_once(case: Case) -> bool:
    """Whether two people ever talk at once."""
    case.need_turns()
    if len(case.true.speakers) != 2:
        raise Settled("false_premise", "speaker_count")
    a, b = case.true.speakers
    slack = case.rules.overlap_ms
    near, sure = (shared_ms(case.true.voice(a, grow), case.true.voice(b)) for grow in (slack, -slack))
    return _voices(case, bool(near) if case.answer == YES else not sure)


def interrupter(case: Case) -> bool:
    """Who starts while somebody else is talking."""
    _somebody(case)
    slack, least = case.rules.overlap_ms, case.rules.shared_ms
    pairs = [
        (b.speaker, a.end_ms - b.start_ms)
        for a in case.true.turns
        for b in case.true.turns
        if a.speaker != b.speaker and a.start_ms < b.start_ms
    ]
    possible = {speaker for speaker, ms in pairs if ms >= least - slack}
    sure = {speaker for speaker, ms in pairs if ms >= least + slack}
    if not possible:
        raise Settled("false_premise", case.why_voices_wrong())
    answers = [s for s in possible if case.speaker_right({s})]
    return _voices(case, any(not sure - {s} for s in answers))


def who_says(case: Case) -> bool:
    """Who says certain words."""
    lines = case.line()
    return _voices(case, case.speaker_right({line.speaker for line in lines}))


def who_mentions(case: Case) -> bool:
    """Who uses a word; that nobody else among the choices does."""
    match = re.search(r'"([^"]*)"', case.text)
    word = normal(match[1]) if match else ""
    speakers = {t.speaker for t in case.true.turns if f" {word} " in f" {normal(t.text)} "}
    if not case.truth.words_known:
        speakers = {place.speaker for place in case.places(word)}
    if not speakers:
        raise Settled("false_premise", "wrong_words")
    if case.answer == NONE:
        return _voices(case, case.speaker_right(speakers))
    rivals = {f"Speaker {s}" for s in speakers} & set(case.choices) - {case.answer}
    return _voices(case, case.speaker_right(speakers) and not rivals)


def first_words(case: Case) -> bool:
    """How somebody begins."""
    case.need_words()
    who = case.speaker()
    words = true_words(case.true.scene)
    of_speaker = [i for i, word in enumerate(words) if word.speaker == who]
    return case.line_right(lambda p: p.first in of_speaker[: case.rules.slack_words + 1])


def last_words(case: Case) -> bool:
    """What is said last."""
    case.need_words()
    words, turns, slack = true_words(case.true.scene), case.true.turns, case.rules.turn_ms
    if not turns:
        raise Settled("false_premise", "speaker_count")
    final = max(t.start_ms for t in turns)
    latest = max(t.end_ms for t in turns)
    ends = [
        i
        for i, t in enumerate(turns)
        if t.start_ms >= final - slack or (slack and t.end_ms >= latest - slack)
    ]

    def ends_it(place: Place) -> bool:
        return words[place.last].turn in ends and _left_in_turn(words, place) <= _slack(case, place)

    return case.line_right(ends_it)


def said_after(case: Case) -> bool:
    """What is said right after certain words."""
    case.need_words()
    lines = case.line()
    return case.line_right(lambda p: any(_follows(case, line, p) for line in lines))


def said_before(case: Case) -> bool:
    """What is said right before certain words."""
    case.need_words()
    lines = case.line()
    return case.line_right(lambda p: any(_follows(case, p, line) for line in lines))


def _slack(case: Case, place: Place) -> int:
    """How many words at the edge of a line may be missed or added."""
    return max(case.rules.slack_words, place.errors)


def _follows(case: Case, line: Place, following: Place) -> bool:
    """Whether nothing is said between two lines, but for what may be passed over."""
    words = true_words(case.true.scene)
    first, second = words[line.last], words[following.first]
    slack = _slack(case, line)
    if line.first == following.first:
        return False
    if abs(following.first - line.last - 1) <= slack:
        return True
    if not case.rules.slack_words or first.turn == second.turn or following.first < line.last:
        return False
    between = [w for w in words[line.last + 1 : following.first] if w.turn not in (first.turn, second.turn)]
    by_turn = {w.turn: sum(x.turn == w.turn for x in between) for w in between}
    rest = [w for w in between if by_turn[w.turn] > BACKCHANNEL_WORDS]
    return not rest and _left_in_turn(words, line) <= slack and _begun_in_turn(words, following) <= slack


def _left_in_turn(words: Sequence[TrueWord], place: Place) -> int:
    """How many words of its turn come after a place."""
    turn = words[place.last].turn
    return sum(word.turn == turn for word in words[place.last + 1 :])


def _begun_in_turn(words: Sequence[TrueWord], place: Place) -> int:
    """How many words of its turn come before a place."""
    turn = words[place.first].turn
    return sum(word.turn == turn for word in words[: place.first])


def who_answers(case: Case) -> bool:
    """Who speaks next after certain words."""
    lines = case.line()
    possible: set[int] = set()
    for line in lines:
        possible |= _next_speakers(case, line)
    if not possible:
        raise Settled("false_premise", case.why_voices_wrong())
    return _voices(case, case.speaker_right(possible))


def _next_speakers(case: Case, line: Place) -> set[int]:
    """Who may be the next to speak after a line: in its turn, the same person goes on."""
    words = true_words(case.true.scene)
    if not line.assumed and _left_in_turn(words, line) > _slack(case, line):
        return {line.speaker}
    slack = case.rules.turn_ms
    begun = words[line.last].turn if not line.assumed else -1
    start = case.true.turns[begun].start_ms if begun >= 0 else line.start_ms
    later = [t for i, t in enumerate(case.true.turns) if i != begun and t.start_ms > start]
    if slack:
        later = [t for t in later if t.start_ms > line.end_ms - 2 * slack or t.start_ms > start + slack]
    first = min((t.start_ms for t in later), default=0)
    return {t.speaker for t in later if t.start_ms <= first + slack}


def earliest_line(case: Case) -> bool:
    """Which of the lines is said first."""
    case.need_words()
    starts = [p.start_ms for c in case.choices for p in case.places(c.strip('"'))[:1]]
    if not starts:
        raise Settled("false_premise", "wrong_words")
    return timed(case.line_right(lambda p: p.start_ms <= min(starts) + case.rules.turn_ms))


def longest_pause(case: Case) -> bool:
    """After which words the longest pause comes; pauses inside of an utterance are unknown to the truth."""
    case.need_words()
    speech = "".join("x" if active else "." for active in case.true.speech())
    pauses = {m.start(): len(m[0]) for m in re.finditer(r"(?<=x)\.+(?=x)", speech)}
    slack = case.rules.turn_ms // FRAME_MS
    possible = [at for at, n in pauses.items() if n >= max(pauses.values()) - slack]
    words = true_words(case.true.scene)
    answer_places = [] if case.answer == NONE else case.places(case.answer.strip('"'))
    if (
        case.rules.slack_words
        and answer_places
        and all(_left_in_turn(words, p) > _slack(case, p) for p in answer_places)
    ):
        raise unknown("pauses inside of utterances")
    if not pauses:
        raise unknown("pauses inside of utterances")

    def before_pause(place: Place) -> bool:
        return any(abs(place.end_ms // FRAME_MS - at) <= slack for at in possible)

    return timed(case.line_right(before_pause))


def speaking_time(case: Case) -> bool:
    """How long somebody talks."""
    _somebody(case)
    who = case.speaker() if len(case.true.speakers) > 1 else case.true.speakers[0]
    length = total_ms(case.true.voice(who))
    tolerance = max(case.rules.total_ms, int(case.rules.pauses * length))
    if case.amount_right(length / 1000, tolerance):
        return True
    whole = (0, case.true.scene.duration_ms)
    if case.rules.pauses and [interval(t) for t in case.true.turns if t.speaker == who] == [whole]:
        raise unknown("pauses inside of utterances")  # all that is known is who speaks in the file
    cause = case.why_voices_wrong()
    raise Settled("wrong_answer", "timing" if cause == "attribution" else cause)


def said_during_sound(case: Case) -> bool:
    """What is said while a sound is heard."""
    frames = {grow: case.true.sounding(case.asked_sound(), grow) for grow in (0, case.rules.onset_ms)}
    case.need_words()

    def shared(place: Place, grow: int) -> int:
        return shared_ms(case.true.frames([(place.start_ms, place.end_ms)]), frames[grow])

    rivals = [c for c in case.choices if c not in (NONE, case.answer)]
    most = max((shared(p, 0) for c in rivals for p in case.places(c.strip('"'))), default=0)
    if case.answer == NONE:
        return timed(most < case.rules.shared_ms + case.rules.onset_ms)
    slack, least = case.rules.onset_ms, case.rules.shared_ms
    return timed(case.line_right(lambda p: shared(p, slack) >= max(least, most - slack)))


def who_during_sound(case: Case) -> bool:
    """Who talks while a sound is heard."""
    frames = case.true.sounding(case.asked_sound(), case.rules.onset_ms)
    _somebody(case)
    shared = {s: shared_ms(frames, case.true.voice(s)) for s in case.true.speakers}
    most = max(shared.values())
    if most < case.rules.shared_ms:
        raise Settled("false_premise", "timing")
    least = max(case.rules.shared_ms, most - 2 * case.rules.onset_ms)
    right = case.speaker_right({s for s, ms in shared.items() if ms >= least})
    return _voices(case, right)


def said_before_sound(case: Case) -> bool:
    """What is said last before a sound first starts."""
    onset = min(e.start_ms for e in case.true.events_like(case.asked_sound()))
    case.need_words()
    words, slack = true_words(case.true.scene), case.rules.onset_ms

    def fits(place: Place) -> bool:
        between = [w for w in words if w.start_ms >= place.end_ms and w.end_ms <= onset - slack]
        return place.end_ms <= onset + slack and len(between) <= _slack(case, place)

    return timed(case.line_right(fits))


def who_after_sound(case: Case) -> bool:
    """Who starts to speak next after a sound has first started."""
    onset = min(e.start_ms for e in case.true.events_like(case.asked_sound()))
    _somebody(case)
    slack = case.rules.onset_ms
    first = min((t.start_ms for t in case.true.turns if t.start_ms > onset), default=onset)
    possible = {t.speaker for t in case.true.turns if onset - slack < t.start_ms <= first + slack}
    if not possible:
        raise Settled("false_premise", "timing")
    return _voices(case, case.speaker_right(possible))


def _somebody(case: Case) -> None:
    """The premise that people speak; where one speaks, questions about several have a false one."""
    case.need_turns()
    if not case.true.turns:
        raise Settled("false_premise", "speaker_count")


def _voices(case: Case, right: bool) -> bool:
    """True, or else an answer that is wrong about who speaks."""
    if not right:
        raise Settled("wrong_answer", case.why_voices_wrong())
    return True


JUDGES: dict[str, Callable[[Case], bool]] = {
    judge.__name__: judge
    for judge in (
        speaker_count, any_speech, turn_count, last_speaker, longest_speaker, overlapping_pair, two_at_once,
        interrupter,
        who_says, who_mentions, first_words, last_words, said_after, said_before, who_answers, earliest_line,
        longest_pause, speaking_time, said_during_sound, who_during_sound, said_before_sound,
        who_after_sound,
    )
}  # fmt: skip
