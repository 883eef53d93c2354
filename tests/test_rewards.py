"""Every rendered rationale earns the full reward; no trick earns more than an honest wrong answer."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import LABELS, nasty_scenes, scenes
from test_questions import DIALOGUE

from paqa.config.recipe import QuestionsConfig
from paqa.questions.english import spoken
from paqa.questions.generate import generate
from paqa.rationale.answers import accuracies, answer_of, chosen
from paqa.rationale.grammar import SKELETON, by_letter, letter, parse, render, response
from paqa.rationale.rewards import (
    WEIGHTS,
    Reference,
    RewardWeights,
    accuracy,
    alignment,
    attribution,
    format_score,
    length,
    perception,
    reward,
    terms,
    word_error_rate,
)
from paqa.rationale.time_overlap import sound_score, speaker_overlap
from paqa.rationale.trace import Sound
from paqa.text import normal
from paqa.types import Event, Evidence, Scene, Turn

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
Q = next(q for q in generate(DIALOGUE, QuestionsConfig(per_clip=99), 0) if q.template == "background_sound")
REFERENCE = Reference(Q.choices, Q.answer_index, DIALOGUE)
W = RewardWeights()
FULL = W.accuracy + W.format + W.perception + W.alignment  # lengths are not known here
BLIND = replace(Q, evidence=())  # to be rendered over other scenes
WRONG = replace(Q, answer_index=(Q.answer_index + 1) % 4)
GOOD = render(DIALOGUE, Q)
HONEST = render(DIALOGUE, WRONG)
LIAR = Scene(
    "liar",
    9000,
    (Turn(0, 9000, 1, "Buy my wonderful encyclopaedia today."),),
    (),
    (Event(0, 9000, "Whale", "/m/0"),),
)


@RELAXED
@given(scenes(), st.booleans())
def test_every_rationale_earns_everything(scene: Scene, letters: bool) -> None:
    for v, q in enumerate(generate(scene, QuestionsConfig(), 0)):
        text = render(scene, q, v, letters=letters)
        lettered = letters and q.answer_index is not None
        assert by_letter(q.choices, text) == lettered
        assert accuracy(text, q.choices, q.answer_index, q.answer) == 1.0
        assert (
            format_score(text, lettered)
            == perception(text, scene, lettered, q.evidence)
            == alignment(text, q.choices, lettered)
            == 1.0
        )
        reference = Reference(
            q.choices, q.answer_index, scene, answer=q.answer, evidence=q.evidence, letters=lettered
        )
        assert reward(text, reference) == pytest.approx(FULL)
        assert lettered or format_score(text) < 1.0  # no letter where one is expected


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
    "right letter, other words": re.sub(
        r"<RESPONSE>.*", f"<RESPONSE>{RIGHT[:3]} whatever fits</RESPONSE>", HONEST
    ),
    "all letters": re.sub(r"<RESPONSE>.*", "<RESPONSE>(A) (B) (C) (D)</RESPONSE>", HONEST),
    "all words": re.sub(r"<RESPONSE>.*", f"<RESPONSE>{', '.join(Q.choices)}</RESPONSE>", HONEST),
    "right words beside others": re.sub(
        r"<RESPONSE>.*", f"<RESPONSE>{Q.answer}, {WRONG.answer}</RESPONSE>", HONEST
    ),
    "right letter, wrong text": re.sub(
        r"<RESPONSE>.*", f"<RESPONSE>{RIGHT[:3]} {WRONG.answer}</RESPONSE>", HONEST
    ),
    "right text, wrong letter": re.sub(
        r"<RESPONSE>.*", f"<RESPONSE>{letter(WRONG.answer_index)} {Q.answer}</RESPONSE>", HONEST
    ),
    "prompt echo": f"{Q.text} {all_options()} Answer as {''.join(SKELETON)} <RESPONSE>(B) exact choice"
    " text</RESPONSE>",
    "goes on after the answer": GOOD + " Also, consider:",
    "goes on after the final answer": f"{GOOD}<REFLECT>x</REFLECT><FINAL_ANSWER>{RIGHT}</FINAL_ANSWER>"
    f" {GIVEN}",
    "all labels": GOOD.replace("Bark [", "Cat, dog and everything ["),
}


@pytest.mark.parametrize("name", [n for n in ATTACKS if n != "all labels"])
def test_attacks_do_not_pay(name: str) -> None:
    """Nothing beats an honest wrong answer; what was honestly perceived left out, nothing beats its format's
    share.
    """
    assert reward(ATTACKS[name], REFERENCE) <= reward(HONEST, REFERENCE)
    blind = replace(WEIGHTS, perception=0.0)
    assert reward(ATTACKS[name], REFERENCE, blind) <= WEIGHTS.format


def blank(scene: Scene) -> str:
    """All tags, nothing perceived, a wrong answer."""
    text = render(replace(scene, turns=(), words=(), events=()), replace(WRONG, evidence=()))
    return re.sub(r"<(PLANNING|DESCRIPTION|REASONING|SUMMARY)>.*?</", r"<\1>x</", text, flags=re.DOTALL)


@pytest.mark.parametrize("brief", [False, True])
def test_a_rationale_earns_everything_in_the_form_of_its_row_alone(brief: bool) -> None:
    row = replace(REFERENCE, brief=brief)
    assert reward(render(DIALOGUE, Q, brief=brief), row) == pytest.approx(FULL)
    other = reward(render(DIALOGUE, Q, brief=not brief), row)
    assert W.accuracy < other <= W.accuracy + W.format / 2
    assert reward(render(DIALOGUE, Q, brief=brief), REFERENCE) == pytest.approx(FULL)  # where nobody says


@pytest.mark.parametrize("kept", ["all", "sounds", "voices"])
def test_saying_nothing_earns_nothing(kept: str) -> None:
    """Also about clips in which there is no speech, or no sound: only the format counts."""
    empty = {"sounds": {"turns": (), "words": ()}, "voices": {"events": ()}, "all": {}}[kept]
    scene = replace(DIALOGUE, **empty)
    assert reward(blank(scene), replace(REFERENCE, scene=scene)) == pytest.approx(WEIGHTS.format)
    assert perception(render(scene, BLIND), scene) == 1.0
    silent = replace(DIALOGUE, turns=(), words=(), events=())
    assert perception(blank(silent), silent) == 1.0
    assert perception(render(DIALOGUE, BLIND), silent) == 0.0


def test_an_echo_of_the_question_earns_nothing() -> None:
    """What the question quotes was read; who heard all of it loses nothing by that."""
    said = DIALOGUE.turns[0].text
    asked = f'Who says "{said}"?'
    turns = (Turn(0, 900, 1, said),)
    echo = (
        blank(DIALOGUE).split("<CAPTION>")[0] + render(Scene("e", 900, turns), BLIND).split("</PLANNING>")[1]
    )
    told = [perception(echo, DIALOGUE, question=q) for q in (asked, "Who speaks?")]
    nobody = render(Scene("e", 900, (replace(turns[0], text="x"),)), BLIND)
    assert told[0] <= perception(nobody, DIALOGUE) + 0.05 < told[1]
    assert perception(GOOD, DIALOGUE, question=asked) == 1.0


def test_the_order_of_rewards() -> None:
    honest_wrong = reward(HONEST, REFERENCE)
    assert honest_wrong == pytest.approx(0.5)
    assert (
        reward(render(LIAR, replace(WRONG, evidence=())), REFERENCE)
        < honest_wrong
        < reward(render(LIAR, BLIND), REFERENCE)
        < reward(GOOD, REFERENCE)
    )
    assert reward(ATTACKS["all labels"], REFERENCE) < reward(GOOD, REFERENCE)


def test_the_final_answer_counts() -> None:
    corrected = f"{HONEST}\n<REFLECT>No.</REFLECT><FINAL_ANSWER>{RIGHT}</FINAL_ANSWER>"
    assert accuracy(corrected, Q.choices, Q.answer_index) == format_score(corrected) == 1.0
    wrong = f"{letter(WRONG.answer_index)} {WRONG.answer}"
    spoilt = f"{GOOD}\n<REFLECT>No.</REFLECT><FINAL_ANSWER>{wrong}</FINAL_ANSWER>"
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
    assert word_error_rate("One, two three.", "one two four") == pytest.approx(1 / 3)
    assert word_error_rate("", "") == 0.0
    assert word_error_rate("", "so") == 1.0
    half = render(replace(DIALOGUE, events=()), BLIND)
    assert perception(half, DIALOGUE) == pytest.approx(2 / 3)


SOUNDS = ("a dog", "a cat", "a dog and a cat", "rain")


@pytest.mark.parametrize(
    ("answer", "index", "by_letter", "by_text"),
    [
        *[(text, 1, 1, 1) for text in ("(B) a cat", "(B) A cat.", "b. a cat", "(b) A CAT", "B: a cat")],
        *[(text, 1, 1, 0) for text in ("(B)", "B", "b.", "(B).")],
        *[(text, 1, 0, 1) for text in ("a cat", "A cat.", "  a   CAT ")],
        ("a dog and a cat", 2, 0, 0),
        ("(B) a dog", None, 1, 0),
        ("(A) a cat", None, 0, 1),
        ("(E) a cat", None, 0, 1),
        ("(B) whatever fits", None, 1, 0),
        ("(B) a cat (B)", None, 1, 0),
        *[(text, None, 0, 0) for text in ("(A) (B)", "a cat, a dog", "It is a cat", "...", "Because")],
    ],
)
def test_an_answer_names_one_choice(answer: str, index: int | None, by_letter: int, by_text: int) -> None:
    """By letter, by words, or by both; nothing else is right."""
    assert chosen(answer.strip(), SOUNDS) == index
    for right in range(4):
        found = accuracies(f"<RESPONSE>{answer}</RESPONSE>", SOUNDS, right)
        assert found["accuracy"] == float(index == right)
        assert found["accuracy_strict"] == float(answer == "(B) a cat" and right == 1)
        assert found["chance"] == 0.25
    found = accuracies(f"<RESPONSE>{answer}</RESPONSE>", SOUNDS, 1)
    assert (found["accuracy_by_letter"], found["accuracy_by_text"]) == (by_letter, by_text)


def test_choices_that_are_hard_to_tell_apart() -> None:
    """Choices that look like letters, or differ in signs alone, need their exact form or are not clear."""
    notes = ("C", "A", "D", "B")
    meant = {"(B) A": 1, "A": None, "(A)": None, "(A) C": 0, "(A) A": None}
    assert {text: chosen(text, notes) for text in meant} == meant
    keys = ("C# major", "C major")
    assert [chosen(text, keys) for text in ("C# major", "c major", "(B) c major", "(A) C major")] == [
        0, None, 1, None,
    ]  # fmt: skip
    twice = ("rain", "rain", "")
    assert [chosen(text, twice) for text in ("rain", "(B) rain", "(B)", ".")] == [None, 1, 1, None]
    assert chosen("(B) padded ", ("x", "padded ")) == 1
    assert [chosen(text, ("The A. Smith", "A. Smith")) for text in ("A. Smith", "(A) A. Smith")] == [1, None]


def test_an_open_ended_answer_has_no_letter() -> None:
    found = accuracies("<RESPONSE>A dog!</RESPONSE>", (), None, "a dog")
    assert found == {"accuracy": 1.0, "accuracy_strict": 1.0}
    assert accuracies("<RESPONSE>(A) a dog</RESPONSE>", (), None, "a dog")["accuracy"] == 0.0


def test_the_exact_form_is_right_whatever_the_choices() -> None:
    for choices in (("B a", "a"), ("(B) a", "a"), ("A", "B"), ("x", "y"), ("!", "?"), ("", "x")):
        for i, choice in enumerate(choices):
            found = accuracies(f"<RESPONSE>{response(i, choice)}</RESPONSE>", choices, i)
            assert found["accuracy"] == 1.0
            assert found["accuracy_strict"] == float(choice != "")


def timeless(text: str, scene: Scene) -> float:
    """What perception would be without times: labels as sets, speakers by number and words alone."""
    trace = parse(text)
    stated, true = ({normal(s.label) for s in sounds} for sounds in (trace.env, scene.events))
    sounds = 2 * len(stated & true) / (len(stated) + len(true)) if stated or true else 1.0
    count = float(len({quote.speaker for quote in trace.speakers}) == scene.speakers)
    voices = (count + attribution(trace.speakers, scene.turns)) / 2
    words = 1.0 - min(1.0, word_error_rate(scene.transcript, trace.asr))
    return (sounds + voices + words) / 3


END = DIALOGUE.duration_ms
MONOLOGUE = replace(
    DIALOGUE, turns=(Turn(2000, 4000, 1, "Who is there?"), Turn(9000, 11_000, 1, "Nobody, I suppose."))
)
LAZY = {
    "constant times for every sound": (
        DIALOGUE,
        {"events": tuple(replace(e, start_ms=2000, end_ms=4000) for e in DIALOGUE.events)},
    ),
    "every sound over the whole clip": (
        DIALOGUE,
        {"events": tuple(replace(e, start_ms=0, end_ms=END) for e in DIALOGUE.events)},
    ),
    "each label once, over the whole clip": (
        DIALOGUE,
        {"events": tuple(replace(e, start_ms=0, end_ms=END) for e in DIALOGUE.events[:3])},
    ),
    "every class over the whole clip": (
        DIALOGUE,
        {"events": tuple(Event(0, END, label, "/m/0") for label in LABELS)},
    ),
    "every sound in every second": (
        DIALOGUE,
        {
            "events": tuple(
                replace(e, start_ms=start, end_ms=start + 1000)
                for start in range(0, 14_000, 1000)
                for e in DIALOGUE.events[:3]
            )
        },
    ),
    "constant times for every turn": (
        DIALOGUE,
        {"turns": tuple(replace(t, start_ms=2000, end_ms=4000) for t in DIALOGUE.turns)},
    ),
    "every turn over the whole clip": (
        DIALOGUE,
        {"turns": tuple(replace(t, start_ms=0, end_ms=END) for t in DIALOGUE.turns)},
    ),
    "one turn over the whole clip": (MONOLOGUE, {"turns": (Turn(0, END, 1, MONOLOGUE.transcript),)}),
}


@pytest.mark.parametrize("name", LAZY)
def test_not_listening_for_times_does_not_pay(name: str) -> None:
    """Everything but the times is right, and yet it earns clearly less than what was perceived in time."""
    scene, lazy = LAZY[name]
    text = render(replace(scene, **lazy), BLIND)
    assert perception(render(scene, BLIND), scene) == 1.0
    assert perception(text, scene) < min(0.93, timeless(text, scene) - 0.05)


def test_one_line_for_all_speakers_earns_nothing_for_its_times() -> None:
    turn = (Turn(0, END, 1, DIALOGUE.transcript),)
    assert speaker_overlap(turn, DIALOGUE.turns) == 0.0
    text = render(replace(DIALOGUE, turns=turn), BLIND)
    assert perception(text, DIALOGUE) <= timeless(text, DIALOGUE)


def test_the_better_the_times_the_more_is_earned() -> None:
    """There is a slope all the way: times that are nearer earn more."""
    earned = []
    for shift in range(0, 2000, 100):
        events = tuple(
            replace(e, start_ms=e.start_ms + shift, end_ms=e.end_ms + shift) for e in DIALOGUE.events
        )
        turns = tuple(
            replace(t, start_ms=t.start_ms + shift, end_ms=t.end_ms + shift) for t in DIALOGUE.turns
        )
        earned.append(perception(render(replace(DIALOGUE, events=events, turns=turns), BLIND), DIALOGUE))
    assert earned[0] == 1.0
    assert all(near > far for near, far in pairwise(earned[:8]))
    assert all(near >= far for near, far in pairwise(earned))


def test_sounds_are_matched_one_to_one_by_label_and_time() -> None:
    bark = Event(1000, 2000, "Bark", "/m/0")
    whole, half, apart = Sound(1000, 2000, "bark"), Sound(1500, 2500, "Bark"), Sound(5000, 6000, "Bark")
    assert sound_score((whole,), (bark,)) == 1.0
    assert sound_score((half,), (bark,)) == pytest.approx(0.5 + 0.5 / 3)
    assert sound_score((apart,), (bark,)) == 0.5
    assert sound_score((Sound(1000, 2000, "Meow"),), (bark,)) == sound_score((), (bark,)) == 0.0
    assert sound_score((half, whole), (bark,)) == pytest.approx(
        2 / 3
    )  # the nearest one counts, the other is more
    assert sound_score((whole,), (bark, replace(bark, start_ms=5000, end_ms=6000))) == pytest.approx(2 / 3)
    assert sound_score((), ()) == 1.0


def test_speech_is_timed_by_speaker() -> None:
    turns = (Turn(0, 2000, 1), Turn(2000, 4000, 2))
    assert speaker_overlap(turns, turns) == speaker_overlap((), ()) == 1.0
    assert speaker_overlap(turns[:1], turns) == pytest.approx(0.5)
    assert speaker_overlap((), turns) == speaker_overlap(turns, ()) == 0.0
    assert speaker_overlap((Turn(0, 2000, 1), Turn(2000, 5000, 2)), turns) == pytest.approx(0.75)
    assert (
        speaker_overlap((Turn(0, 2000, 2), Turn(2000, 4000, 1)), turns) == 0.0
    )  # numbers are part of the claim
    assert speaker_overlap((Turn(0, 3000, 1), Turn(3000, 4000, 2)), turns) == pytest.approx(0.5)


def test_thousands_of_lines_are_scored_at_once() -> None:
    """Lines of one label, of one speaker, all over each other."""
    many = range(0, 4000)
    scene = replace(DIALOGUE, events=DIALOGUE.events * 20, turns=DIALOGUE.turns * 20)
    for events, turns in (
        (tuple(Event(i, i + 9000, "Bark", "/m/0") for i in many), ()),
        ((), tuple(Turn(i, i + 9000, i % 2 + 1, "so") for i in many)),
    ):
        text = render(replace(DIALOGUE, events=events, turns=turns), BLIND)
        began = time.process_time()
        assert perception(text, scene) < 0.5
        assert time.process_time() - began < 2


def test_who_said_what_counts() -> None:
    swap = {1: 2, 2: 1, 3: 3}
    swapped = replace(DIALOGUE, turns=tuple(replace(t, speaker=swap[t.speaker]) for t in DIALOGUE.turns))
    said = render(swapped, BLIND)
    assert accuracy(said, Q.choices, Q.answer_index) == 1.0
    assert perception(said, DIALOGUE) < perception(GOOD, DIALOGUE) == 1.0
    quotes = parse(GOOD).speakers
    words = sum(len(normal(t.text).split()) for t in DIALOGUE.turns)
    assert attribution(quotes, DIALOGUE.turns) == 1.0
    assert attribution(quotes[1:], DIALOGUE.turns) == pytest.approx(1 - 7 / words)
    assert attribution((), DIALOGUE.turns) == attribution(quotes, ()) == 0.0
    assert attribution((), ()) == 1.0


def test_a_question_about_speech_is_not_answered_from_the_background() -> None:
    about = next(q for q in generate(DIALOGUE, QuestionsConfig(per_clip=99), 0) if q.task == "dialogue")
    text = render(DIALOGUE, about)
    assert perception(text, DIALOGUE, evidence=about.evidence) == 1.0
    argued = text.replace("<REASONING>", f"<REASONING>Because of {spoken('Bark')}. ")
    assert perception(argued, DIALOGUE, evidence=about.evidence) == 0.0
    assert perception(argued, DIALOGUE, evidence=Q.evidence or (Evidence("event", 0),)) == 1.0
    assert perception(argued, DIALOGUE) == 1.0
    quoted = text.replace("<REASONING>", f'<REASONING>Someone says "it is {spoken("Bark")}". ')
    assert perception(quoted, DIALOGUE, evidence=about.evidence) == 1.0


def test_the_argument_leads_to_the_answer() -> None:
    assert alignment(GOOD) == 1.0
    astray = GOOD.replace("</REASONING>", f" No: {letter(WRONG.answer_index)}.</REASONING>")
    assert accuracy(astray, Q.choices, Q.answer_index) == 1.0
    assert alignment(astray) == 0.0
    assert alignment(HONEST) == 1.0
    assert terms(HONEST, REFERENCE)["alignment"] == 0.0  # agreeing with itself pays nothing
    taken_back = f"{HONEST}\n<REFLECT>Hence {RIGHT}, and not {letter(WRONG.answer_index)}.</REFLECT>"
    assert alignment(f"{taken_back}<FINAL_ANSWER>{RIGHT}</FINAL_ANSWER>") == 1.0
    other = 3 - Q.answer_index
    assert alignment(f"{taken_back}<FINAL_ANSWER>{letter(other)} x</FINAL_ANSWER>") == 0.0


def test_length_has_no_cliff_and_pays_right_answers_only() -> None:
    lengths = [length(n) for n in range(2500)]
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[1024], lengths[1536], lengths[2048]) == (1.0, 0.5, 0.0)
    assert [length(n, RewardWeights(full_length=100)) for n in (100, 150, 200)] == [1.0, 0.5, 0.0]
    assert length(400, RewardWeights(full_length=100, no_length=500)) == 0.25
    assert max(a - b for a, b in pairwise(lengths)) < 0.002
    short, long = (terms(GOOD, REFERENCE, tokens=n) for n in (300, 3000))
    assert short["reward"] == pytest.approx(FULL + W.length)
    assert long["reward"] == pytest.approx(FULL)
    assert terms(HONEST, REFERENCE, tokens=300)["length"] == 0.0
