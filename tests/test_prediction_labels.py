"""Which predictions a truth confirms."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenes

from paqa import audioset
from paqa.evaluation import prediction_labels as labels
from paqa.evaluation.known_truth import Sound, related
from paqa.types import Event, Scene, Turn, Word

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SENTENCE = "The river rose again during the night."


def scene(*parts: Turn | Event, words: str = "", duration_ms: int = 20_000) -> Scene:
    return Scene(
        "c",
        duration_ms,
        turns=tuple(p for p in parts if isinstance(p, Turn)),
        words=tuple(Word(100 * i, 100 * i + 90, text, 1) for i, text in enumerate(words.split())),
        events=tuple(p for p in parts if isinstance(p, Event)),
    )


def event(start_ms: int, end_ms: int, label: str) -> Event:
    return Event(start_ms, end_ms, label, audioset.mid(label))


# --- words


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ("the river rose again, during the NIGHT", [True] * 7),
        ("the liver rose again during the night", [True, False, True, True, True, True, True]),
        ("the river rose during the night", [True] * 6),  # one is missing, which is no word's fault
        ("so the river rose again", [False, True, True, True, True]),
        ("night the during again rose river the", [False, True, False, False, False, False, False]),
        ("the-river rose-up", [True, False]),  # of two words that are written as one, one is wrong
        ("", []),
    ],
)
def test_words_stand_in_the_alignment(predicted: str, expected: list[bool]) -> None:
    marked = labels.words(scene(words=predicted), scene(Turn(0, 900, 1, SENTENCE)))
    if predicted.startswith("night"):  # any one word may be the common one
        assert sum(map(bool, marked)) == 1
    else:
        assert marked == expected


def test_truth_without_all_texts_says_nothing_of_words() -> None:
    predicted = scene(words="the river")
    assert labels.words(predicted, scene(Turn(0, 900, 1, SENTENCE), Turn(900, 1800, 2, " "))) == [None, None]
    assert labels.words(predicted, scene(Turn(0, 900, 1))) == [None, None]


@RELAXED
@given(scenes())
def test_what_was_said_is_right_and_one_word_more_is_wrong(truth: Scene) -> None:
    if not all(t.text.strip() for t in truth.turns):
        return
    texts = truth.transcript.split()
    marked = labels.words(scene(words=" ".join(texts)), truth)
    assert marked == [True] * len(texts)
    if texts:
        more = labels.words(scene(words=" ".join([*texts, "xylophonist"])), truth)
        assert more == [True] * len(texts) + [False]


# --- turns

TRUTH = scene(Turn(0, 4000, 1), Turn(4000, 6000, 2), Turn(6000, 9000, 1), Turn(9000, 10_000, 3))


def renamed(numbers: tuple[int, ...]) -> Scene:
    return scene(*(Turn(t.start_ms, t.end_ms, numbers[t.speaker - 1]) for t in TRUTH.turns))


@pytest.mark.parametrize("numbers", permutations((1, 2, 3)))
def test_numbers_of_speakers_are_names_only(numbers: tuple[int, ...]) -> None:
    assert labels.turns(renamed(numbers), TRUTH) == [True] * 4


def test_of_a_voice_that_is_split_the_lesser_part_is_wrong() -> None:
    split = scene(Turn(0, 4000, 1), Turn(4000, 6000, 2), Turn(6000, 9000, 4), Turn(9000, 10_000, 3))
    assert labels.turns(split, TRUTH) == [True, True, False, True]


def test_of_two_voices_in_one_the_lesser_is_wrong() -> None:
    one = scene(Turn(0, 4000, 1), Turn(4000, 6000, 1), Turn(6000, 9000, 1), Turn(9000, 10_000, 2))
    assert labels.turns(one, TRUTH) == [True, False, True, True]


def test_a_turn_where_nobody_speaks_is_wrong() -> None:
    assert labels.turns(scene(Turn(12_000, 13_000, 1)), TRUTH) == [False]
    assert labels.turns(scene(Turn(12_000, 13_000, 1)), scene()) == [False]
    assert labels.turns(scene(), TRUTH) == []


def test_a_speaker_needs_most_of_a_turn_and_more_than_the_others() -> None:
    voice = scene(Turn(0, 3000, 1))
    assert labels.turns(scene(Turn(0, 5000, 1)), voice) == [True]  # just 60 %
    assert labels.turns(scene(Turn(0, 5010, 1)), voice) == [False]
    over = scene(Turn(0, 3500, 1), Turn(1000, 5000, 2), Turn(6000, 9000, 1))
    predicted = scene(Turn(0, 5000, 1), Turn(6000, 9000, 1))
    assert labels.turns(predicted, over) == [False, True]  # speaker 2 speaks for longer


def test_short_pauses_in_a_turn_are_no_errors() -> None:
    def pausing(pause_ms: int) -> Scene:
        return scene(*(Turn(at, at + 300, 1) for at in range(0, 3000, 300 + pause_ms)))

    whole = scene(Turn(0, 2700, 1))
    assert labels.turns(whole, pausing(500)) == [True]
    assert labels.turns(whole, pausing(510)) == [False]


@RELAXED
@given(scenes(), st.permutations(range(1, 7)))
def test_the_truth_itself_is_right_under_any_numbers(truth: Scene, numbers: list[int]) -> None:
    if any(a.end_ms > b.start_ms for a, b in zip(truth.turns, truth.turns[1:], strict=False)):
        return  # turns within others' are mostly the others'
    turns = [Turn(t.start_ms, t.end_ms, numbers[t.speaker - 1], t.text) for t in truth.turns]
    assert all(labels.turns(scene(*turns), truth))
    assert labels.speaker_count(scene(*turns), truth)


def test_as_many_speakers_as_there_are() -> None:
    assert labels.speaker_count(renamed((3, 1, 2)), TRUTH)
    assert not labels.speaker_count(renamed((1, 1, 2)), TRUTH)
    assert not labels.speaker_count(scene(), TRUTH)
    assert labels.speaker_count(scene(event(0, 900, "Bark")), scene())


# --- events


def of_event(predicted: Event, *truth: Event, spans_known: bool = True) -> tuple[bool, bool | None]:
    (label,) = labels.events(scene(predicted), scene(*truth), spans_known)
    return label


@pytest.mark.parametrize(
    ("label", "there"),
    [("Bark", True), ("Dog", True), ("Animal", True), ("Cat", False), ("Rain", False)],
)
def test_a_kind_of_the_sound_counts_another_does_not(label: str, there: bool) -> None:
    assert of_event(event(1000, 2000, label), event(1000, 2000, "Bark")) == (there, True if there else None)
    kind = of_event(event(1000, 2000, "Bark"), event(1000, 2000, label))
    assert kind[0] is there


@pytest.mark.parametrize(
    ("span", "placed"),
    [
        ((2000, 3000), True), ((1500, 3000), True), ((2500, 3000), True), ((1490, 2490), False),
        ((2510, 2600), False), ((2000, 4000), True), ((1800, 4010), False),
    ],
)  # fmt: skip
def test_a_span_begins_within_half_a_second_and_ends_within_one(span: tuple[int, int], placed: bool) -> None:
    assert of_event(event(*span, "Bark"), event(2000, 3000, "Bark")) == (True, placed)


@pytest.mark.parametrize(
    ("span", "placed"), [((4000, 8000), True), ((4010, 8000), False), ((0, 8000), True), ((0, 8010), False)]
)
def test_or_it_has_half_of_the_union_in_common(span: tuple[int, int], placed: bool) -> None:
    start, end = (0, 8000) if span[0] else (4000, 8000)
    assert of_event(event(*span, "Bark"), event(start, end, "Bark")) == (True, placed)


def test_a_sound_at_another_time_is_not_there() -> None:
    assert of_event(event(0, 1000, "Bark"), event(2000, 6000, "Bark")) == (False, None)
    assert of_event(event(0, 2000, "Bark"), event(2000, 6000, "Bark")) == (False, None)  # only touches
    assert of_event(event(0, 1000, "Bark"), event(2000, 6000, "Bark"), spans_known=False) == (True, None)
    assert of_event(event(0, 1000, "Cat"), event(2000, 6000, "Bark"), spans_known=False) == (False, None)
    assert labels.events(scene(), scene(event(0, 900, "Bark")), True) == []


def barks(*starts: int, length: int = 500) -> list[Event]:
    return [event(start, start + length, "Bark") for start in starts]


def test_occurrences_with_short_pauses_may_be_one() -> None:
    near = barks(1000, 2500, 4000)  # a second apart
    assert of_event(event(1000, 4500, "Bark"), *near) == (True, True)
    assert of_event(event(1000, 1500, "Bark"), *near) == (True, True)
    assert of_event(event(1000, 7000, "Bark"), *barks(1000, 6500)) == (True, False)  # mostly nothing
    assert of_event(event(1000, 2500, "Dog"), *barks(1000), event(2000, 2500, "Animal")) == (True, True)


def test_sounds_outside_of_audioset_are_compared_by_name() -> None:
    drone = Event(0, 1000, "Drone", "drone")
    assert of_event(drone, drone) == (True, True)
    assert of_event(drone, event(0, 1000, "Bark")) == (False, None)
    assert not related(Sound("Drone", "drone"), Sound("Bark", audioset.mid("Bark")))


def test_no_true_sound_may_be_missing() -> None:
    rain, bark = event(0, 9000, "Rain"), event(2000, 3000, "Bark")
    assert labels.nothing_missed(scene(), scene())
    assert labels.nothing_missed(scene(rain), scene())
    assert not labels.nothing_missed(scene(rain), scene(rain, bark))
    assert labels.nothing_missed(scene(rain, event(2000, 3000, "Dog")), scene(rain, bark))
    assert labels.nothing_missed(scene(event(3300, 4000, "Dog")), scene(bark))
    assert not labels.nothing_missed(scene(event(3310, 4000, "Dog")), scene(bark))  # that is another bark
