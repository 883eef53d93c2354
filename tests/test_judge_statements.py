"""What rationales state, judged: what is unclear states nothing, and corrections are what counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_judge import KNOWN, TRUTH, event, kinds

from paqa.config.recipe import QuestionsConfig
from paqa.evaluation.known_truth import KnownTruth
from paqa.evaluation.statements import judge_statements
from paqa.questions.generate import generate
from paqa.rationale.grammar import corrected_tags, parse, render
from paqa.rationale.reflection import compare, reflect
from paqa.types import Scene, Turn, Unclear

SOUP, PATH, TRAIN = TRUTH.turns
CONFIG = QuestionsConfig(per_clip=200, reflect=1.0, open_rate=0.0)


def with_words(text: str) -> Scene:
    return replace(TRUTH, turns=(SOUP, PATH, replace(TRAIN, text=text)))


@pytest.mark.parametrize(
    ("text", "false"),
    [
        ("The next [unclear] leaves from the far platform.", set()),
        ("[unclear] train leaves from [unclear]", set()),
        ("[unclear] train [unclear]", set()),
        ("[unclear]", set()),
        ("We never [unclear] eat pears.", {"wrong_words"}),
        ("[unclear] pears [unclear]", {"wrong_words"}),
        ("Soup needs [unclear] far platform.", {"wrong_words"}),  # its beginning is said 8 s earlier
        ("The soup [unclear] little more salt.", {"wrong_words"}),
    ],
)
def test_unclear_words_stand_for_those_of_the_line(text: str, false: set[str]) -> None:
    assert kinds(with_words(text)) == false


def test_unclear_words_do_not_reach_to_other_parts_of_one_long_turn() -> None:
    text = " ".join(turn.text for turn in TRUTH.turns)
    truth = KnownTruth(Scene("r", 30_000, (Turn(0, 30_000, 1, text),), language="en"))
    first = replace(truth.scene, turns=(Turn(0, 9000, 1, "The soup [unclear] salt."),))
    assert kinds(first, truth) == set()
    joined = replace(truth.scene, turns=(Turn(0, 9000, 1, "The soup [unclear] far platform."),))
    assert kinds(joined, truth) == {"wrong_words"}


def test_a_line_is_compared_with_what_is_said_at_its_time() -> None:
    again = Turn(14_000, 17_000, 2, "The next train leaves from the near platform.")
    truth = KnownTruth(replace(TRUTH, turns=(*TRUTH.turns, again)))
    scene = replace(TRUTH, turns=(*TRUTH.turns, replace(again, text=TRAIN.text)))
    assert kinds(scene, truth) == set()  # one wrong word, though an earlier line has none


def test_an_unclear_background_is_neither_a_sound_nor_silence() -> None:
    unclear = replace(TRUTH, events=(), unclear=(Unclear(2000, 3500), Unclear(14_000, 17_000)))
    assert kinds(unclear) == set()
    assert kinds(unclear, replace(KNOWN, scene=replace(TRUTH, events=()))) == set()
    assert kinds(replace(unclear, unclear=())) == {"missed"}
    beside = replace(unclear, events=(event(5500, 7500, "Snoring"),))
    assert kinds(beside) == {"speech_as_sound"}


def reflected(scene: Scene, first: Scene) -> list[str]:
    """The reflected rationales about a scene whose captions state another one at first."""
    rationales = []
    for question in generate(scene, CONFIG, 0):
        reflection = (
            reflect(scene, question, compare(scene, [first]), CONFIG, 0) if question.choices else None
        )
        if reflection:
            rationales.append(render(scene, question, 0, reflection))
    return rationales


def false_kinds(rationales: list[str], truth: KnownTruth = KNOWN) -> set[str]:
    return {s.kind for text in rationales for s in judge_statements(text, truth).false}


@pytest.mark.parametrize(
    ("first", "tag"),
    [
        (replace(TRUTH, events=()), "ENV"),
        (replace(TRUTH, events=(event(2000, 3500, "Meow"), TRUTH.events[1])), "ENV"),
        (with_words("We never eat pears."), "SPEAKER"),
        (replace(TRUTH, turns=(SOUP, PATH, replace(TRAIN, speaker=2))), "SPEAKER"),
    ],
)
def test_the_corrected_reading_is_judged_not_the_first(first: Scene, tag: str) -> None:
    rationales = reflected(TRUTH, first)
    corrected = [text for text in rationales if tag in corrected_tags(parse(text))]
    assert corrected
    assert false_kinds(rationales) == set()


def test_a_correction_may_be_false() -> None:
    """Perceived rightly at first, and taken back."""
    wrong = replace(TRUTH, events=(event(2000, 3500, "Meow"), TRUTH.events[1]))
    rationales = [text for text in reflected(wrong, TRUTH) if "ENV" in corrected_tags(parse(text))]
    assert rationales
    assert false_kinds(rationales) == {"wrong_class"}
    misheard = with_words("We never eat pears.")
    rationales = [text for text in reflected(misheard, TRUTH) if "SPEAKER" in corrected_tags(parse(text))]
    assert rationales
    assert false_kinds(rationales) == {"wrong_words"}


def test_a_correction_to_no_sound_states_silence() -> None:
    silent = replace(TRUTH, events=())
    rationales = [text for text in reflected(silent, TRUTH) if "ENV" in corrected_tags(parse(text))]
    assert rationales
    assert false_kinds(rationales) == {"missed"}
    assert false_kinds(rationales, KnownTruth(silent)) == set()


def test_unclear_parts_of_a_reflected_rationale_state_nothing() -> None:
    scene = replace(
        with_words("The next [unclear] from the far platform."), unclear=(Unclear(18_000, 19_000),)
    )
    first = replace(scene, events=scene.events[:1])
    rationales = reflected(scene, first)
    assert any("ENV" in corrected_tags(parse(text)) for text in rationales)
    assert all(parse(text).unclear == scene.unclear for text in rationales)
    assert false_kinds(rationales) == set()
