"""The judge of rows: what is right within tolerances, what is false and why, and what truth cannot say."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from paqa import audioset
from paqa.config.recipe import QuestionsConfig
from paqa.evaluation import judge as judge_module
from paqa.evaluation.judge import judge_answer
from paqa.evaluation.known_truth import KnownTruth, truth_of
from paqa.evaluation.quotation import misquoted, places
from paqa.evaluation.reliability import reliability
from paqa.evaluation.row_question import Asked
from paqa.evaluation.statements import judge_statements
from paqa.questions.generate import TEMPLATES, generate
from paqa.rationale.grammar import render
from paqa.types import Clip, Event, Scene, Turn


def event(start: int, end: int, label: str) -> Event:
    return Event(start, end, label, audioset.mid(label))


TRUTH = Scene(
    "c",
    20_000,
    turns=(
        Turn(1000, 4000, 1, "The soup needs a little more salt."),
        Turn(5000, 8000, 2, "Let us take the path along the river."),
        Turn(9500, 12_500, 1, "The next train leaves from the far platform."),
    ),
    events=(event(2000, 3500, "Bark"), event(14_000, 17_000, "Siren")),
    language="en",
)
KNOWN = KnownTruth(TRUTH)
NO_WORDS = KnownTruth(
    replace(TRUTH, turns=tuple(replace(t, text="") for t in TRUTH.turns)), words_known=False
)
LABEL = KnownTruth(Scene("l", 5000, events=(event(0, 5000, "Rain"),)), events_known=False, times_known=False)


def verdict(
    template: str,
    text: str,
    answer: str,
    *choices: str,
    predicted: Scene | None = None,
    truth: KnownTruth = KNOWN,
) -> tuple[str, str | None]:
    found = judge_answer(Asked(template, text, choices, answer, predicted), truth)
    return found.outcome, found.cause


def test_sounds_within_tolerances() -> None:
    asked = "At roughly which second does the sound of a siren first start?"
    times = ("About 4 seconds", "About 8 seconds", "About 13 seconds", "About 18 seconds")
    assert verdict("onset_second", asked, "About 13 seconds", *times) == ("right", None)
    assert verdict("onset_second", asked, "About 18 seconds", *times) == ("wrong_answer", "timing")


def test_a_kind_of_a_sound_may_stand_for_it() -> None:
    asked = "Which of these sounds can be heard in the background?"
    assert verdict("background_sound", asked, "A dog", "A dog", "A piano") == ("right", None)
    assert verdict("background_sound", asked, "An animal", "An animal", "A piano") == ("right", None)
    assert verdict("background_sound", asked, "Meowing", "Meowing", "A piano")[0] == "wrong_answer"


@pytest.mark.parametrize(
    ("span", "cause"),
    [((2100, 3300), "wrong_class"), ((5500, 6500), "speech_as_sound"), ((18_000, 19_500), "absent_sound")],
)
def test_what_a_sound_was_that_is_not_there(span: tuple[int, int], cause: str) -> None:
    predicted = replace(TRUTH, events=(event(*span, "Pig"),))
    asked = "For about how long is the sound of a pig heard in total?"
    answer = ("sound_duration", asked, "About 2 seconds", "About 2 seconds", "About 6 seconds")
    assert verdict(*answer, predicted=predicted) == ("false_premise", cause)


def test_speakers_and_their_number() -> None:
    split = replace(TRUTH, turns=(*TRUTH.turns[:2], replace(TRUTH.turns[2], speaker=3)))
    asked = "How many different people speak?"
    counts = ("One", "Two", "Three", "Four")
    assert verdict("speaker_count", asked, "Two", *counts) == ("right", None)
    assert verdict("speaker_count", asked, "Three", *counts, predicted=split) == (
        "wrong_answer",
        "speaker_count",
    )
    said = 'Who says "The next train leaves from the far platform"?'
    assert verdict("who_says", said, "Speaker 1", "Speaker 1", "Speaker 2") == ("right", None)
    assert verdict("who_says", said, "Speaker 2", "Speaker 1", "Speaker 2", predicted=TRUTH) == (
        "wrong_answer",
        "attribution",
    )


def test_words() -> None:
    choices = ('"The next train leaves from a far platform."', '"The soup needs a little more salt."')
    assert verdict("last_words", "What is said last?", choices[0], *choices) == ("right", None)
    wrong = '"The next tray leads from the fair platform."'
    assert verdict("last_words", "What is said last?", wrong, wrong, choices[1]) == (
        "misquoted",
        "wrong_words",
    )
    asked = 'Who says "Nobody ever said such words in here"?'
    assert verdict("who_says", asked, "Speaker 1", "Speaker 1", "Speaker 2") == (
        "false_premise",
        "wrong_words",
    )
    unclear = '"The next [unclear] the far platform."'
    assert verdict("last_words", "What is said last?", unclear, unclear, choices[1]) == ("right", None)


def test_a_line_that_the_prediction_cuts_in_two_or_joins() -> None:
    halves = ('"Let us take the path"', '"along the river."', '"The soup needs a little more salt."')
    asked = f"What is said right after {halves[0]}?"
    assert verdict("said_after", asked, halves[1], *halves[1:]) == ("right", None)
    assert verdict("said_after", asked, halves[2], *halves[1:])[0] == "wrong_answer"
    joined = "The soup needs a little more salt. Let us take the path along the river."
    (place,) = places(joined, TRUTH)
    assert (place.errors, place.start_ms, place.end_ms) == (0, 1000, 8000)


def test_spelling_is_no_error_and_short_lines_may_have_one() -> None:
    scene = Scene("g", 3000, turns=(Turn(0, 3000, 1, "He keeps his tools behind the greenhouse."),))
    assert places("He keeps his tools behind the green house", scene)[0].errors == 0
    assert not misquoted(places("He keeps his tooth", scene)[0], 0.2, 1)
    assert misquoted(places("He keep his tool behind a greenhouse", scene)[0], 0.2, 1)


def test_unknown_words_and_times_are_unjudged() -> None:
    first = "What does the person who speaks first say first?"
    quote = '"The soup needs a little more salt."'
    assert verdict("first_words", first, quote, quote, predicted=TRUTH, truth=NO_WORDS)[0] == "unjudged"
    said = f"Who says {quote}?"
    two = ("Speaker 1", "Speaker 2")
    assert verdict("who_says", said, "Speaker 1", *two, predicted=TRUTH, truth=NO_WORDS)[0] == "right"
    assert verdict("who_says", said, "Speaker 2", *two, predicted=TRUTH, truth=NO_WORDS)[0] == "wrong_answer"
    asked = "About how many seconds into the clip is the sound of rain first heard?"
    assert verdict("onset_second", asked, "About 1 second", "About 1 second", truth=LABEL)[0] == "unjudged"
    assert verdict("given", "Anything?", "Yes", "Yes", "No")[0] == "unjudged"


def test_a_label_of_the_whole_file() -> None:
    asked = "Which of these sounds can be heard?"
    both = Scene("l", 5000, events=(event(0, 4000, "Rain"), event(1000, 2000, "Thunder")))
    wrong = Scene("l", 5000, events=(event(0, 4000, "Frying (food)"),))
    assert verdict("background_sound", asked, "Rain", "Rain", "A dog", truth=LABEL)[0] == "right"
    answer = ("background_sound", asked, "Thunder", "Thunder", "A dog")
    assert verdict(*answer, predicted=both, truth=LABEL)[0] == "unjudged"
    answer = ("background_sound", asked, "Frying", "Frying", "A dog")
    assert verdict(*answer, predicted=wrong, truth=LABEL) == ("wrong_answer", "wrong_class")


def caption(scene: Scene) -> str:
    """The rationale of a question about a scene."""
    question = generate(scene, QuestionsConfig(per_clip=40), 0)[0]
    return render(scene, question)


def kinds(scene: Scene, truth: KnownTruth = KNOWN) -> set[str]:
    text = caption(scene)
    letters = "<RESPONSE>(" in text
    return {s.kind for s in judge_statements(text, truth, letters=letters).false}


def test_what_is_stated_of_the_truth_is_true() -> None:
    assert kinds(TRUTH) == set()
    assert kinds(replace(TRUTH, events=(event(2300, 3900, "Dog"), TRUTH.events[1]))) == set()


@pytest.mark.parametrize(
    ("predicted", "kind"),
    [
        (replace(TRUTH, events=(event(2000, 3500, "Meow"),)), "wrong_class"),
        (replace(TRUTH, events=(event(5500, 7500, "Snoring"),)), "speech_as_sound"),
        (replace(TRUTH, events=(event(18_000, 19_000, "Piano"),)), "absent_sound"),
        (replace(TRUTH, events=(event(9000, 9900, "Siren"),)), "sound_span"),
        (replace(TRUTH, events=()), "missed"),
        (replace(TRUTH, turns=()), "missed"),
        (
            replace(TRUTH, turns=(*TRUTH.turns[:2], replace(TRUTH.turns[2], speaker=3))),
            "speaker_count",
        ),
        (replace(TRUTH, turns=(*TRUTH.turns[:2], replace(TRUTH.turns[2], speaker=2))), "attribution"),
        (
            replace(TRUTH, turns=(*TRUTH.turns[:2], replace(TRUTH.turns[2], text="We never eat pears."))),
            "wrong_words",
        ),
        (replace(TRUTH, turns=(*TRUTH.turns[:2], replace(TRUTH.turns[2], end_ms=15_000))), "turn_span"),
    ],
)
def test_false_statements_have_a_kind(predicted: Scene, kind: str) -> None:
    assert kind in kinds(predicted)


def test_what_truth_does_not_know_is_not_false() -> None:
    assert kinds(TRUTH, NO_WORDS) == set()
    assert kinds(TRUTH, replace(KNOWN, scene=replace(TRUTH, events=()), events_known=False)) == set()


CLIP = Clip("c", "c.wav", "0" * 64, 5000, 16_000, "s", "s", "CC0-1.0", ("g",), "train")


def test_what_a_source_knows() -> None:
    rain = Scene("c", 5000, events=(event(0, 5000, "Rain"),))
    known = truth_of(replace(CLIP, truth=rain, truth_covers=("turns", "events")))
    assert known == KnownTruth(rain, events_known=False, times_known=False)
    mixed = truth_of(replace(CLIP, uri="mix:c", truth=rain, truth_covers=("turns", "events")))
    assert mixed == KnownTruth(rain)
    speech = Scene("c", 5000, turns=(Turn(0, 5000, 1),))
    assert truth_of(replace(CLIP, truth=speech, truth_covers=("turns",))) == KnownTruth(
        speech, words_known=False, events_known=False
    )
    assert truth_of(CLIP) is None


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "known"), [(0, 4999, False), (0, 4900, True), (100, 5000, True)]
)
def test_a_label_may_miss_the_end_of_its_file_by_a_frame(start_ms: int, end_ms: int, known: bool) -> None:
    rain = Scene("c", 5000, events=(event(start_ms, end_ms, "Rain"),))
    truth = truth_of(replace(CLIP, truth=rain))
    assert truth is not None
    assert truth.times_known == known


def test_reliability() -> None:
    measured = reliability([0.95, 0.95, 0.15, 0.15], [True, False, False, False])
    assert measured is not None
    assert measured.error == pytest.approx((2 * 0.45 + 2 * 0.15) / 4)
    assert [b.count for b in measured.bins] == [0, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert reliability([1.0], [True]).error == 0.0  # type: ignore[union-attr]
    assert reliability([], []) is None
    with pytest.raises(ValueError, match="2 confidences, 1 outcomes"):
        reliability([0.1, 0.2], [True])


def test_every_template_without_labels_has_a_judge() -> None:
    unlabelled = {name for name, template in TEMPLATES.items() if not template.labelled}
    assert unlabelled == set(judge_module.JUDGES)


def test_the_judge_shares_no_code_with_the_templates() -> None:
    folder = Path(judge_module.__file__).parent
    names = (
        "judge",
        "known_truth",
        "quotation",
        "row_question",
        "sound_answers",
        "speech_answers",
        "statements",
        "voice_answers",
        "word_answers",
        "word_places",
    )
    for name in names:
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("paqa.questions"):
                assert node.module == "paqa.questions.english", name
