"""Whether answers about single words, pauses and the bounds of the speech hold: no template's code is used.

Which words follow which is judged by the text alone. Where truth has no times of words, an answer about these
is right or wrong only as far as no pause inside of a turn can change that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from paqa.evaluation.known_truth import NOBODY_JUDGES, VOICES, Sound, under
from paqa.evaluation.quotation import UNCLEAR, Place, true_words
from paqa.evaluation.row_question import NONE, Case, Cause, Outcome, Settled, timed, unknown
from paqa.evaluation.sound_answers import SECOND_MS, THIRDS
from paqa.evaluation.word_places import (
    WordMoment,
    has_unclear_words,
    pause_bounds,
    phrase_misquoted,
    phrase_places,
    word_moment,
)
from paqa.questions.english import NUMBERS
from paqa.spans import Interval, interval, overlap

YES, NO = "Yes, there is another sound", "No, there is nothing but speech"
SPEECH = ("Speech",)
_QUOTE = re.compile(r'"(.*)"')
_SECOND = re.compile(r"\b(\d+) seconds?\b")
MISSED_WORDS = 1  # between two phrases, that may be missed or added


# Speech as a whole


def any_background(case: Case) -> bool:
    """Whether anything sounds besides speech; other voices, like laughter, may be counted as speech."""
    if case.truth.turns_known and not case.true.turns:
        raise Settled("false_premise", "speaker_count")
    sounds = [e for e in case.true.events if not under(e.label, SPEECH) and not under(e.label, NOBODY_JUDGES)]
    clear = [e for e in sounds if not under(e.label, VOICES)]
    if case.answer == NO and clear:
        raise Settled("wrong_answer", "missed")
    if case.answer == YES and sounds:
        return True
    case.need_events(times=False)
    if case.answer == YES:
        raise Settled("wrong_answer", _why_no_sound(case))
    return True


def _why_no_sound(case: Case) -> Cause:
    """What the first sound that is predicted was, where there is none besides speech."""
    predicted = case.question.predicted.events if case.question.predicted else ()
    named = [Sound(e.label, e.mid) for e in predicted if not under(e.label, SPEECH)]
    return case.why_not_there(named[0]) if named else "absent_sound"


def speech_begins(case: Case) -> bool:
    """In which third somebody starts to speak."""
    _somebody(case)
    begin = min(t.start_ms for t in case.true.turns)
    pauses = _unknown_pauses(case)
    return _in_third(case, [WordMoment(begin, begin, begin + pauses)])


def speech_ends(case: Case) -> bool:
    """In which third the last of the speech ends."""
    _somebody(case)
    end = max(t.end_ms for t in case.true.turns)
    pauses = _unknown_pauses(case)
    return _in_third(case, [WordMoment(end, end - pauses, end)])


def _somebody(case: Case) -> None:
    case.need_turns()
    if not case.true.turns:
        raise Settled("false_premise", "speaker_count")


def _unknown_pauses(case: Case) -> int:
    """How long it may be silent at the edges of a turn that is the whole file: its speech has no times."""
    whole = (0, case.true.scene.duration_ms)
    return int(case.rules.pauses * whole[1]) if whole in map(interval, case.true.turns) else 0


# The order of words


def earliest_words(case: Case) -> bool:
    """Which of the phrases comes first."""
    return _in_order(case, min, lambda rival, answer: _before(case, rival, answer))


def latest_words(case: Case) -> bool:
    """Which of the phrases comes last."""
    return _in_order(case, max, lambda rival, answer: _before(case, answer, rival))


def _in_order(case: Case, edge: Callable[..., Place], ahead: Callable[[Place, Place], bool]) -> bool:
    """Whether no other choice is ahead of the answer; `edge` is `min` or `max`, for phrases said twice."""
    case.need_words()
    answers = _answer_places(case)
    if not case.quoted_errors:
        answers = [edge(answers, key=_first)]
    others = [_clear_places(case, choice) for choice in case.choices if choice != case.answer]
    rivals = [edge(group, key=_first) for group in others if group]
    return timed(any(not any(ahead(rival, answer) for rival in rivals) for answer in answers))


def _first(place: Place) -> int:
    return place.first


def _before(case: Case, a: Place, b: Place) -> bool:
    """Whether one phrase surely comes before another: by the text, in turns at once by the time too."""
    words, turns, slack = true_words(case.true.scene), case.true.turns, case.rules.turn_ms
    turn_a, turn_b = words[a.first].turn, words[b.first].turn
    at_once = turn_a != turn_b and overlap(interval(turns[turn_a]), interval(turns[turn_b]))
    return a.first < b.first and (not at_once or not slack or a.start_ms + slack < b.start_ms)


def words_after(case: Case) -> bool:
    """Which words come right after certain words."""
    return _next_to(case, after=True)


def words_before(case: Case) -> bool:
    """Which words come right before certain words."""
    return _next_to(case, after=False)


def _next_to(case: Case, after: bool) -> bool:
    """Whether the answer is next to the phrase of the question, and no other choice is nearer."""
    case.need_words()
    cues = _cue(case)

    def between(choice: str, places: Sequence[Place]) -> list[tuple[int, int]]:
        """Words between the cue and each place, and how many there may be."""
        pairs = [(cue, place) if after else (place, cue) for cue in cues for place in places]
        opens = choice.strip('"').startswith(UNCLEAR) if after else choice.strip('"').endswith(UNCLEAR)
        return [(_distance(case, *pair, opens), _missed(case, *pair)) for pair in pairs]

    others = [choice for choice in case.choices if choice not in (NONE, case.answer)]
    rivals = [n for choice in others for n, _ in between(choice, _clear_places(case, choice))]
    if case.answer == NONE:
        return timed(0 not in rivals)
    nearest = min(rivals, default=None)
    distances = between(case.answer, _answer_places(case))
    return timed(any(n <= most and (nearest is None or n <= nearest) for n, most in distances))


def _distance(case: Case, line: Place, following: Place, opens: bool) -> int:
    """How many words are between two phrases, of all or of their speaker, or by how many they overlap.

    Where the edge between them is unclear, it stands for the words between them.
    """
    words = true_words(case.true.scene)
    if following.first <= line.first:
        return len(words)  # the other way round
    if opens and following.first > line.last:
        return 0
    distance = abs(following.first - line.last - 1)
    if line.speaker == following.speaker and following.first > line.last:
        between = words[line.last + 1 : following.first]
        distance = min(distance, sum(word.speaker == line.speaker for word in between))
    return distance


def _missed(case: Case, line: Place, following: Place) -> int:
    """How many words may be missed or added between two phrases; a wrong word at an edge moves it by one."""
    return max(min(MISSED_WORDS, case.rules.slack_words), line.errors + following.errors)


def word_said(case: Case) -> bool:
    """Which of the words is said, while the others are not."""
    case.need_words()
    others = [choice for choice in case.choices if choice not in (NONE, case.answer)]
    if any(_clear_places(case, choice) for choice in others):
        raise Settled("wrong_answer" if case.answer == NONE else "false_premise", "wrong_words")
    if case.answer == NONE:
        if has_unclear_words(case.true.scene):
            raise unknown("words")
        return True
    return bool(_answer_places(case))


# The times of words


def word_part(case: Case) -> bool:
    """In which third a word is said."""
    case.need_words()
    return _in_third(case, [_moment(case, place) for place in _cue(case)])


def word_at_second(case: Case) -> bool:
    """Which word is said at about a certain second."""
    case.need_words()
    at_ms = 1000 * int(_SECOND.findall(_QUOTE.sub("", case.text))[0])
    others = [choice for choice in case.choices if choice not in (NONE, case.answer)]
    rivals = [_away(case, place, at_ms) for choice in others for place in _clear_places(case, choice)]
    slack = case.rules.turn_ms
    if case.answer == NONE:
        sure = not any(least <= SECOND_MS - slack for least, _ in rivals)
        return _settled(sure, not any(most <= SECOND_MS - slack for _, most in rivals))
    away = [_away(case, place, at_ms) for place in _answer_places(case)]
    sure, possible = (
        any(
            pair[at] <= SECOND_MS and not any(rival[1 - at] + slack < pair[at] for rival in rivals)
            for pair in away
        )
        for at in (1, 0)
    )
    return _settled(sure, possible)


def _away(case: Case, place: Place, at_ms: int) -> Interval:
    """How far a word is from a moment, at least and at most."""
    moment = _moment(case, place)
    ends = (abs(moment.earliest_ms - at_ms), abs(moment.latest_ms - at_ms))
    return 0 if moment.earliest_ms <= at_ms <= moment.latest_ms else min(ends), max(ends)


def _moment(case: Case, place: Place) -> WordMoment:
    return word_moment(case.true.scene, place.first, case.rules.pauses)


def _in_third(case: Case, moments: Sequence[WordMoment]) -> bool:
    """Whether the answer is the third of one of some moments, or may be."""
    slack = case.rules.turn_ms
    sure = any(case.answer in _thirds(case, m.middle_ms - slack, m.middle_ms + slack) for m in moments)
    possible = (case.answer in _thirds(case, m.earliest_ms - slack, m.latest_ms + slack) for m in moments)
    return _settled(sure, any(possible))


def _thirds(case: Case, start_ms: int, end_ms: int) -> tuple[str, ...]:
    """The thirds of the clip that a stretch of time touches."""
    shares = [ms / case.true.scene.duration_ms for ms in (start_ms, end_ms)]
    first, last = (0 if share < 1 / 3 else 1 if share < 2 / 3 else 2 for share in shares)
    return THIRDS[first : last + 1]


# Pauses


def pause_after_words(case: Case) -> bool:
    """After which words the longest pause comes."""
    case.need_words()
    pauses = pause_bounds(case.true.scene, case.rules.pauses)
    if not pauses:
        raise unknown("pauses")
    slack = _pause_slack(case, pauses)

    def longest(places: Sequence[Place], slack_ms: int) -> tuple[bool, bool]:
        """Whether the pause after one of the places is surely the longest, and whether it may be."""
        ends = [i for p in places for i in range(p.last - p.errors, p.last + p.errors + 1) if i in pauses]
        others = {i: [bounds for j, bounds in pauses.items() if j != i] for i in ends}
        sure = any(pauses[i][0] >= max((b for _, b in others[i]), default=0) - slack_ms for i in ends)
        may = any(pauses[i][1] >= max((a for a, _ in others[i]), default=0) - slack_ms for i in ends)
        return sure, may

    if case.answer == NONE:
        offered = [longest(_clear_places(case, c), -slack) for c in case.choices if c != NONE]
        return _settled(not any(may for _, may in offered), not any(sure for sure, _ in offered))
    return _settled(*longest(_answer_places(case), slack))


def pause_length(case: Case) -> bool:
    """How long the pause after certain words is."""
    case.need_words()
    pauses = pause_bounds(case.true.scene, case.rules.pauses)
    bounds = [pauses[cue.last] for cue in _cue(case) if cue.last in pauses]
    if not any(longest >= case.rules.shared_ms for _, longest in bounds):
        raise Settled("false_premise", "timing")
    low, high = _lengths_near(case)
    slack = _pause_slack(case, pauses)
    sure = any(low - slack <= a and b <= high + slack for a, b in bounds)
    return _settled(sure, any(a <= high + slack and low - slack <= b for a, b in bounds))


def _lengths_near(case: Case) -> Interval:
    """The lengths to which the answer is the nearest on offer; the outer ones have bounds of their own."""
    answer = _length_ms(case.answer)
    lengths = sorted({_length_ms(choice) for choice in (*case.choices, case.answer)})
    at = lengths.index(answer)
    low = (lengths[at - 1] + answer) // 2 if at else answer // 2
    high = (lengths[at + 1] + answer) // 2 if at + 1 < len(lengths) else answer + answer // 2
    return low, high


def _length_ms(choice: str) -> int:
    """The milliseconds of "About half a second", "About one second" or "About 2 seconds"."""
    word = choice.split()[1]
    return 500 if word == "half" else 1000 * (NUMBERS.index(word) if word in NUMBERS else int(word))


def _pause_slack(case: Case, pauses: dict[int, Interval]) -> int:
    """How far off a pause may be: between words as two voices, between turns as their ends."""
    measured = all(shortest == longest for shortest, longest in pauses.values())
    return case.rules.overlap_ms if measured and case.true.scene.words else case.rules.turn_ms


# Phrases, and what comes of them


def _cue(case: Case) -> list[Place]:
    """Where the phrase is that the question quotes; the premise is false where nobody says it."""
    match = _QUOTE.search(case.text)
    return _places(case, match[1] if match else "", "false_premise")


def _answer_places(case: Case) -> list[Place]:
    """Where the answer is said; it is wrong where nobody says it."""
    return _places(case, case.answer.strip('"'), "wrong_answer")


def _places(case: Case, phrase: str, otherwise: Outcome) -> list[Place]:
    places = phrase_places(phrase, case.true.scene)
    if not places:
        if has_unclear_words(case.true.scene):
            raise unknown("words")
        raise Settled(otherwise, "wrong_words")
    if all(phrase_misquoted(place, case.rules) for place in places):
        case.quoted_errors = True
    return places


def _clear_places(case: Case, choice: str) -> list[Place]:
    """Where another choice is said, without too many wrong words."""
    places = phrase_places(choice.strip('"'), case.true.scene)
    return [place for place in places if not phrase_misquoted(place, case.rules)]


def _settled(sure: bool, possible: bool) -> bool:
    """True where the answer is surely right; unjudged where it may only be."""
    if not sure and possible:
        raise unknown("pauses inside of utterances")
    return timed(sure)


JUDGES: dict[str, Callable[[Case], bool]] = {
    judge.__name__: judge
    for judge in (
        any_background, speech_begins, speech_ends, earliest_words, latest_words, words_after, words_before,
        word_said, word_part, word_at_second, pause_after_words, pause_length,
    )
}  # fmt: skip
