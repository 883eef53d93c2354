"""The judge of answers about words, pauses and the bounds of speech, with and without true word times."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenes, spread_words, unsure_scenes
from test_questions_words import WORDS

from paqa import audioset
from paqa.config.recipe import QuestionsConfig
from paqa.evaluation import word_answers
from paqa.evaluation.judge import judge_answer
from paqa.evaluation.known_truth import KnownTruth
from paqa.evaluation.row_question import Asked, asked
from paqa.evaluation.word_places import pause_bounds, word_moment, word_spans
from paqa.questions.generate import generate
from paqa.types import Event, Scene, Turn, Word

TEXT = (
    "He should make inquiries as to symptoms and the time at which food or medicine was last taken before"
    " anybody noticed the twenty five patients."
)
LENGTH_MS = 12_000
SENTENCE = Scene("s", LENGTH_MS, (Turn(0, LENGTH_MS, 1, TEXT),), language="en")
UNTIMED = KnownTruth(SENTENCE)


def words_with_pause(after: str, pause_ms: int) -> tuple[Word, ...]:
    """The words of TEXT, 300 ms each and 50 ms apart, with one longer pause."""
    words, at = [], 500
    for text in TEXT.split():
        words.append(Word(at, at + 300, text, 1))
        at += 300 + (pause_ms if text == after else 50)
    return tuple(words)


TIMED = KnownTruth(replace(SENTENCE, words=words_with_pause("symptoms", 1100)))
NO_WORDS = KnownTruth(Scene("n", LENGTH_MS, (Turn(0, LENGTH_MS, 1),)), words_known=False)
THIRDS = ("In the first third", "In the middle third", "In the last third")
LENGTHS = ("About half a second", "About one second", "About 2 seconds", "About 4 seconds")


def outcome(template: str, text: str, answer: str, *choices: str, truth: KnownTruth = UNTIMED) -> str:
    return judge_answer(Asked(template, text, choices or (answer,), answer), truth).outcome


def quotes(*phrases: str) -> tuple[str, ...]:
    return tuple(f'"{phrase}"' for phrase in phrases)


ORDER = quotes("make inquiries", "and the", "food or", "before anybody")


@pytest.mark.parametrize("truth", [UNTIMED, TIMED])
def test_the_order_of_words_is_judged_by_the_text(truth: KnownTruth) -> None:
    first, last = "Which of these pieces of the talk is said first?", "Which is said last?"
    assert outcome("earliest_words", first, ORDER[0], *ORDER, truth=truth) == "right"
    assert outcome("earliest_words", first, ORDER[1], *ORDER, truth=truth) == "wrong_answer"
    assert outcome("latest_words", last, ORDER[3], *ORDER, truth=truth) == "right"
    assert outcome("latest_words", last, ORDER[2], *ORDER, truth=truth) == "wrong_answer"


def test_a_choice_that_nobody_says_is_not_compared() -> None:
    first = "Which of these pieces of the talk is said first?"
    misheard = quotes("fake enquirers", "and the", "food or")
    assert outcome("earliest_words", first, misheard[1], *misheard) == "right"
    assert outcome("earliest_words", first, misheard[0], *misheard) == "wrong_answer"
    half = quotes("fake inquiries", "and the", "food or")
    assert outcome("earliest_words", first, half[0], *half) == "misquoted"


def test_turns_at_once_have_no_order() -> None:
    turns = (Turn(0, 3000, 1, "Where did you leave the keys?"), Turn(100, 3000, 2, "Nobody took them away."))
    truth = KnownTruth(Scene("o", 4000, turns))
    choices = quotes("Where did", "Nobody took", "the keys")
    assert {outcome("earliest_words", "First?", c, *choices, truth=truth) for c in choices[:2]} == {"right"}
    assert outcome("earliest_words", "First?", choices[2], *choices, truth=truth) == "wrong_answer"


NEXT = quotes("and the", "time at", "food or", "taken before")


@pytest.mark.parametrize("truth", [UNTIMED, TIMED])
def test_words_next_to_others(truth: KnownTruth) -> None:
    after, before = 'Which words come right after "as to symptoms"?', 'What precedes "at which food"?'
    assert outcome("words_after", after, NEXT[0], *NEXT, truth=truth) == "right"
    assert outcome("words_after", after, NEXT[1], *NEXT, truth=truth) == "wrong_answer"
    assert (
        outcome("words_after", after, "None of these", "None of these", *NEXT, truth=truth) == "wrong_answer"
    )
    none = ("None of these", *NEXT[1:])
    assert outcome("words_after", after, none[0], *none, truth=truth) == "right"
    assert outcome("words_before", before, '"the time"', '"the time"', *NEXT[2:], truth=truth) == "right"
    assert outcome("words_before", before, NEXT[2], '"the time"', *NEXT[2:], truth=truth) == "wrong_answer"


def test_one_word_may_be_missed_between_phrases() -> None:
    after = 'Which words come right after "as to symptoms"?'
    assert outcome("words_after", after, '"the time"', '"the time"', *NEXT[2:]) == "right"
    assert outcome("words_after", after, '"the time"', '"the time"', NEXT[0]) == "wrong_answer"
    assert outcome("words_after", after, '"time at"', '"time at"', *NEXT[2:]) == "wrong_answer"
    assert outcome("words_after", 'After "as to simpletons"?', NEXT[0], *NEXT) == "right"
    assert outcome("words_after", 'After "has two simpletons"?', NEXT[0], *NEXT) == "false_premise"


def test_unclear_words_stand_for_any() -> None:
    after = 'Which words come right after "as to symptoms"?'
    unclear = '"[unclear] which food"'
    assert outcome("words_after", after, unclear, unclear, '"taken before"') == "right"
    gap = '"and [unclear] time"'
    assert outcome("words_after", after, gap, gap, '"taken before"') == "right"
    lost = replace(SENTENCE, turns=(Turn(0, LENGTH_MS, 1, TEXT.replace("symptoms", "[unclear]")),))
    absent = outcome("word_said", "Which word is said?", '"castle"', truth=KnownTruth(lost))
    assert absent == "unjudged"  # the truth leaves a word open


def test_a_part_of_a_number_is_what_is_written() -> None:
    text = 'Which words come right after "anybody noticed the"?'
    number = quotes("twenty five", "taken before")
    assert outcome("words_after", text, number[0], *number) == "right"
    part = quotes("five patients", "taken before")
    assert outcome("words_after", 'What follows "noticed the twenty"?', part[0], *part) == "right"


def test_which_word_is_said() -> None:
    text = "Which of these words is said?"
    assert outcome("word_said", text, '"medicine"', *quotes("castle", "medicine", "river")) == "right"
    assert outcome("word_said", text, '"castle"', *quotes("castle", "medicine")) == "false_premise"
    assert outcome("word_said", text, '"castle"', *quotes("castle", "river")) == "wrong_answer"
    assert outcome("word_said", text, '"medicine"', *quotes("symptoms", "medicine")) == "false_premise"


def test_unknown_words_are_unjudged() -> None:
    assert outcome("word_said", "Which?", '"medicine"', truth=NO_WORDS) == "unjudged"
    assert outcome("earliest_words", "First?", ORDER[0], *ORDER, truth=NO_WORDS) == "unjudged"
    assert outcome("pause_length", 'After "to symptoms"?', LENGTHS[0], *LENGTHS, truth=NO_WORDS) == "unjudged"


def test_in_which_part_a_word_is_said() -> None:
    def part(word: str, answer: str, truth: KnownTruth) -> str:
        text = f'In which part of the clip is the word "{word}" said?'
        return outcome("word_part", text, answer, *THIRDS, truth=truth)

    for truth in (UNTIMED, TIMED):
        assert part("inquiries", THIRDS[0], truth) == "right"
        assert part("inquiries", THIRDS[2], truth) == "wrong_answer"
        assert part("patients", THIRDS[2], truth) == "right"
        assert part("patients", THIRDS[0], truth) == "wrong_answer"
    assert part("castle", THIRDS[0], UNTIMED) == "false_premise"
    assert part("make", THIRDS[1], TIMED) == "wrong_answer"
    assert part("symptoms", THIRDS[1], UNTIMED) == "unjudged"  # where pauses come first
    assert part("symptoms", THIRDS[1], TIMED) == "wrong_answer"


def test_which_word_is_said_at_a_second() -> None:
    def said_at(second: int, answer: str, truth: KnownTruth, *choices: str) -> str:
        text = f"Which word is said about {second} seconds into the recording?"
        return outcome("word_at_second", text, answer, *choices, truth=truth)

    choices = quotes("inquiries", "medicine", "patients")
    assert said_at(2, choices[0], TIMED, *choices) == "right"
    assert said_at(2, choices[1], TIMED, *choices) == "wrong_answer"
    assert said_at(2, "None of these", TIMED, "None of these", *choices) == "wrong_answer"
    assert said_at(4, "None of these", TIMED, "None of these", *choices) == "right"
    assert said_at(2, choices[2], UNTIMED, *choices) == "wrong_answer"  # however long the pauses are
    assert said_at(3, choices[0], UNTIMED, *choices) == "unjudged"
    assert said_at(3, '"castle"', UNTIMED, '"castle"', *choices) == "wrong_answer"


def test_the_longest_pause() -> None:
    text, choices = "After which words comes the longest silence?", quotes("to symptoms", "was last")
    assert outcome("pause_after_words", text, choices[0], *choices, truth=TIMED) == "right"
    assert outcome("pause_after_words", text, choices[1], *choices, truth=TIMED) == "wrong_answer"
    none = ("None of these", *choices)
    assert outcome("pause_after_words", text, none[0], *none, truth=TIMED) == "wrong_answer"
    assert outcome("pause_after_words", text, none[0], none[0], choices[1], truth=TIMED) == "right"
    assert outcome("pause_after_words", text, choices[0], *choices) == "unjudged"


def test_the_length_of_a_pause() -> None:
    text = 'About how long is the pause after the words "to symptoms"?'
    outcomes = [outcome("pause_length", text, answer, *LENGTHS, truth=TIMED) for answer in LENGTHS]
    assert outcomes == ["wrong_answer", "right", "wrong_answer", "wrong_answer"]
    none = 'About how long is the pause after the words "was last"?'
    assert outcome("pause_length", none, LENGTHS[0], *LENGTHS, truth=TIMED) == "false_premise"
    assert outcome("pause_length", text, LENGTHS[0], *LENGTHS) == "unjudged"


def test_pauses_between_turns_are_known_without_word_times() -> None:
    turns = (
        Turn(0, 2000, 1, "Where did you leave the keys?"),
        Turn(5000, 7000, 1, "There is nothing here at all."),
        Turn(7200, 8500, 1, "Then look behind the flowers."),
    )
    truth = KnownTruth(Scene("p", 9000, turns))
    text, choices = (
        "After which words comes the longest silence?",
        quotes("the keys", "at all", "is nothing"),
    )
    assert outcome("pause_after_words", text, choices[0], *choices, truth=truth) == "right"
    assert outcome("pause_after_words", text, choices[1], *choices, truth=truth) == "wrong_answer"
    assert outcome("pause_after_words", text, choices[2], *choices, truth=truth) == "wrong_answer"
    length = 'About how long is the pause after the words "the keys"?'
    assert outcome("pause_length", length, LENGTHS[3], *LENGTHS, truth=truth) == "right"
    assert outcome("pause_length", length, LENGTHS[0], *LENGTHS, truth=truth) == "wrong_answer"


def test_where_the_speech_begins_and_ends() -> None:
    truth = KnownTruth(Scene("b", 12_000, (Turn(3700, 5000, 1, "Now."), Turn(5500, 7000, 2, "Then."))))
    begins, ends = "In which part of the clip does the speech begin?", "In which part does it end?"
    assert outcome("speech_begins", begins, THIRDS[0], *THIRDS, truth=truth) == "right"
    assert outcome("speech_begins", begins, THIRDS[1], *THIRDS, truth=truth) == "right"  # 300 ms later
    assert outcome("speech_begins", begins, THIRDS[2], *THIRDS, truth=truth) == "wrong_answer"
    assert outcome("speech_ends", ends, THIRDS[1], *THIRDS, truth=truth) == "right"
    assert outcome("speech_ends", ends, THIRDS[2], *THIRDS, truth=truth) == "wrong_answer"
    assert (
        outcome("speech_ends", ends, THIRDS[2], *THIRDS, truth=KnownTruth(Scene("b", 9))) == "false_premise"
    )
    assert outcome("speech_ends", ends, THIRDS[2], *THIRDS) == "right"
    assert outcome("speech_ends", ends, THIRDS[0], *THIRDS) == "wrong_answer"


YES, NO = "Yes, there is another sound", "No, there is nothing but speech"


def sounding(*labels: str, complete: bool = True) -> KnownTruth:
    events = tuple(Event(1000, 2000, label, audioset.mid(label)) for label in labels)
    return KnownTruth(replace(SENTENCE, events=events), events_known=complete)


@pytest.mark.parametrize(
    ("truth", "yes", "no"),
    [
        (sounding("Bark"), "right", "wrong_answer"),
        (sounding("Speech", "Conversation"), "wrong_answer", "right"),
        (sounding(), "wrong_answer", "right"),
        (sounding("Laughter"), "right", "right"),
        (sounding("Bark", complete=False), "right", "wrong_answer"),
        (sounding(complete=False), "unjudged", "unjudged"),
        (KnownTruth(Scene("q", 5000)), "false_premise", "false_premise"),
    ],
)
def test_whether_anything_sounds_besides_speech(truth: KnownTruth, yes: str, no: str) -> None:
    text = "Does anything besides speech sound in the recording?"
    assert outcome("any_background", text, YES, YES, NO, truth=truth) == yes
    assert outcome("any_background", text, NO, YES, NO, truth=truth) == no


def test_a_sound_that_is_not_there_has_a_cause() -> None:
    predicted = replace(SENTENCE, events=(Event(500, 4000, "Pig", audioset.mid("Pig")),))
    row = Asked("any_background", "Does anything besides speech sound?", (YES, NO), YES, predicted)
    assert judge_answer(row, sounding()).cause == "speech_as_sound"


def test_word_times_reach_numbers_that_are_written_in_words() -> None:
    spans = word_spans(TIMED.scene)
    assert None not in spans
    five = next(w for w in TIMED.scene.words if w.text == "five")
    twenty = next(w for w in TIMED.scene.words if w.text == "twenty")
    assert (twenty.start_ms, five.end_ms) in spans
    assert max(pause_bounds(TIMED.scene, 0.25).values()) == (1100, 1100)
    moment = word_moment(SENTENCE, 10, 0.25)
    assert moment.earliest_ms < moment.middle_ms < moment.latest_ms == moment.earliest_ms + LENGTH_MS // 4


RELAXED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CONFIG = QuestionsConfig(per_clip=200, none_rate=0.2, open_rate=0.0)


def timed(scene: Scene) -> Scene:
    """The scene with the times of its words, and pauses between them."""
    spread = [w for turn in scene.turns for w in spread_words(turn)]
    words = [replace(w, end_ms=w.end_ms - (w.end_ms - w.start_ms) // 50 * 10) for w in spread]
    return replace(scene, words=tuple(sorted(words, key=lambda w: w.start_ms)))


@RELAXED
@given(scenes(), st.integers(0, 3))
def test_without_word_times_no_right_answer_is_wrong(scene: Scene, seed: int) -> None:
    for question in generate(timed(scene), CONFIG, seed, WORDS):
        if question.template in word_answers.JUDGES:
            verdict = judge_answer(asked(question), KnownTruth(replace(scene, words=())))
            assert verdict.outcome in ("right", "unjudged"), (question, verdict)
            assert verdict.outcome == "right" or question.template in TIMES, question
            assert judge_answer(asked(question), KnownTruth(timed(scene))).right, question


TIMES = ("word_part", "word_at_second", "pause_after_words", "pause_length")


@RELAXED
@given(unsure_scenes() | scenes().map(timed), scenes(), st.booleans(), st.integers(0, 3))
def test_any_prediction_can_be_judged_by_any_truth(
    predicted: Scene, scene: Scene, with_times: bool, seed: int
) -> None:
    truth = KnownTruth(timed(scene) if with_times else scene)
    for question in generate(predicted, CONFIG, seed, WORDS):
        if question.template in word_answers.JUDGES:
            verdict = judge_answer(replace(asked(question), predicted=predicted), truth)
            assert verdict.cause or verdict.outcome in ("right", "unjudged")
