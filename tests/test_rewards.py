"""Every rendered rationale earns the full reward; no trick earns more than an honest wrong answer."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import nasty_scenes, scenes
from test_questions import DIALOGUE

from paqa.questions import generate
from paqa.rationale import SKELETON, letter, render
from paqa.recipe import QuestionsConfig
from paqa.train.rewards import RewardWeights, accuracy, answer_of, f1, format_score, perception, reward, word_error_rate
from paqa.types import Event, Question, Scene, Turn

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
Q = next(q for q in generate(DIALOGUE, QuestionsConfig(per_clip=99), 0) if q.template == "background_sound")
FULL = sum((RewardWeights().accuracy, RewardWeights().format, RewardWeights().perception))
BLIND = replace(Q, evidence=())  # to be rendered over other scenes
WRONG = replace(Q, answer_index=(Q.answer_index + 1) % 4)
GOOD = render(DIALOGUE, Q)
HONEST = render(DIALOGUE, WRONG)
LIAR = Scene(
    "liar", 9000, (Turn(0, 9000, 1, "Buy my wonderful encyclopaedia today."),), (), (Event(0, 9000, "Whale", "/m/0"),)
)


@RELAXED
@given(scenes())
def test_every_rationale_earns_everything(scene: Scene) -> None:
    for v, q in enumerate(generate(scene, QuestionsConfig(), 0)):
        text = render(scene, q, v)
        form = q.answer_index is None
        assert accuracy(text, q.choices, q.answer_index, q.answer) == 1.0
        assert format_score(text, form) == perception(text, scene, form) == 1.0
        assert reward(text, q.choices, q.answer_index, scene, answer=q.answer) == pytest.approx(FULL)
        assert not form or format_score(text) < 1.0  # no letter where there are choices


@RELAXED
@given(nasty_scenes())
def test_perception_of_any_scene(scene: Scene) -> None:
    assert perception(render(scene, BLIND), scene) == pytest.approx(1.0)


def all_options() -> str:
    return " ".join(f"{letter(i)} {c}" for i, c in enumerate(Q.choices))


RIGHT = f"{letter(Q.answer_index)} {Q.answer}"
GIVEN = f"<RESPONSE>{RIGHT}</RESPONSE>"
ATTACKS = {
    "empty": "",
    "bare tags": "".join(SKELETON),
    "bare tags and a dot": "".join(SKELETON) + ".",
    "one word in each tag": re.sub(r">([^<]*)</", ">x</", GOOD),
    "all options": re.sub(r"<RESPONSE>.*", f"<RESPONSE>{all_options()}</RESPONSE>", GOOD),
    "an answer for each option": HONEST.split("<RESPONSE>")[0]
    + "".join(f"<RESPONSE>{letter(i)} {c}</RESPONSE>" for i, c in enumerate(Q.choices)),
    "two final answers": f"{HONEST}<REFLECT>x</REFLECT><FINAL_ANSWER>{RIGHT}</FINAL_ANSWER>" * 2,
    "repeated tags": GOOD.replace("<ENV>", "<ENV></ENV><ENV>") + GOOD,
    "a consistent hallucination": render(LIAR, replace(WRONG, evidence=())),
    "a letter in a word": "A dog barks, be it far or near; I call that a clear case.",
    "prose": f"The answer is {RIGHT}.",
    "lower case letter": re.sub(r"<RESPONSE>.*", f"<RESPONSE>{RIGHT.lower()}</RESPONSE>", HONEST),
    "letter alone": re.sub(r"<RESPONSE>.*", f"<RESPONSE>{RIGHT[:3]}</RESPONSE>", HONEST),
    "right letter, wrong text": re.sub(r"<RESPONSE>.*", f"<RESPONSE>{RIGHT[:3]} {WRONG.answer}</RESPONSE>", HONEST),
    "right text, wrong letter": re.sub(
        r"<RESPONSE>.*", f"<RESPONSE>{letter(WRONG.answer_index)} {Q.answer}</RESPONSE>", HONEST
    ),
    "prompt echo": f"{Q.text} {all_options()} Answer as {''.join(SKELETON)} <RESPONSE>(B) exact choice text</RESPONSE>",
    "goes on after the answer": GOOD + " Also, consider:",
    "goes on after the final answer": f"{GOOD}<REFLECT>x</REFLECT><FINAL_ANSWER>{RIGHT}</FINAL_ANSWER> {GIVEN}",
    "all labels": GOOD.replace("Bark [", "Cat, dog and everything ["),
}


@pytest.mark.parametrize("name", [n for n in ATTACKS if n != "all labels"])
def test_attacks_do_not_pay(name: str) -> None:
    assert reward(ATTACKS[name], Q.choices, Q.answer_index, DIALOGUE) <= reward(
        HONEST, Q.choices, Q.answer_index, DIALOGUE
    )


def test_the_order_of_rewards() -> None:
    honest_wrong = reward(HONEST, Q.choices, Q.answer_index, DIALOGUE)
    assert honest_wrong == pytest.approx(0.5)
    assert (
        reward(render(LIAR, replace(WRONG, evidence=())), Q.choices, Q.answer_index, DIALOGUE)
        < honest_wrong
        < reward(render(LIAR, BLIND), Q.choices, Q.answer_index, DIALOGUE)
        < reward(GOOD, Q.choices, Q.answer_index, DIALOGUE)
    )
    assert reward(ATTACKS["all labels"], Q.choices, Q.answer_index, DIALOGUE) < reward(
        GOOD, Q.choices, Q.answer_index, DIALOGUE
    )


def test_the_final_answer_counts() -> None:
    corrected = f"{HONEST}\n<REFLECT>No.</REFLECT><FINAL_ANSWER>{RIGHT}</FINAL_ANSWER>"
    assert accuracy(corrected, Q.choices, Q.answer_index) == format_score(corrected) == 1.0
    spoilt = f"{GOOD}\n<REFLECT>No.</REFLECT><FINAL_ANSWER>{letter(WRONG.answer_index)} {WRONG.answer}</FINAL_ANSWER>"
    assert accuracy(spoilt, Q.choices, Q.answer_index) == 0.0
    assert answer_of("<FINAL_ANSWER>(A) x</FINAL_ANSWER>") is None


def test_format_is_progressive() -> None:
    steps = [GOOD, GOOD.replace("<SUMMARY>", ""), GOOD.split("<REASONING>")[0], "hello"]
    scores = [format_score(s) for s in steps]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0
    assert scores[1] <= 0.5
    assert scores[-1] == 0.0
    assert len(set(scores)) == 4


def test_perception_terms() -> None:
    assert f1({"a"}, {"a", "b"}) == pytest.approx(2 / 3)
    assert f1(set(), set()) == 1.0
    assert f1({"a"}, set()) == 0.0
    assert word_error_rate("One, two three.", "one two four") == pytest.approx(1 / 3)
    assert word_error_rate("", "") == 0.0
    assert word_error_rate("", "so") == 1.0
    half = render(replace(DIALOGUE, events=()), BLIND)
    assert perception(half, DIALOGUE) == pytest.approx(2 / 3)


def test_the_whole_question_may_be_unlucky() -> None:
    broken = Question("i", "c", "t", "t", "?", ("x", "y"), 1, (), "", "")
    assert accuracy("<RESPONSE>(B) y</RESPONSE>", broken.choices, 1) == 1.0
    assert accuracy("<RESPONSE>(B) y.</RESPONSE>", broken.choices, 1) == 0.0
