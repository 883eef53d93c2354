"""A given question is kept where what was heard supports its answer and no other choice as well."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import LABELS, NASTY, SENTENCES, nasty_scenes, scenes
from test_questions import DIALOGUE, event

from paqa.config.recipe import GatesConfig, QuestionsConfig
from paqa.curation.gates import judge
from paqa.errors import Rejected
from paqa.questions.english import spoken
from paqa.questions.generate import generate, question_id
from paqa.questions.source_questions import ask
from paqa.questions.text_matching import EXACT, NAMED, match_in_turn, name_match, names, stem, words
from paqa.rationale.grammar import parse, render
from paqa.types import GivenQuestion, Question, Scene, Turn

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CONFIG = QuestionsConfig()
QUIET = Scene(
    "yard", 9000, events=(event(500, 2500, "Dog"), event(4000, 7000, "Rain"), event(3000, 3600, "Dog"))
)


def brought(text: str, *choices: str, task: str = "avqa", answer: int = 0) -> GivenQuestion:
    return GivenQuestion("q1", task, text, choices, answer)


def asked(scene: Scene, *question: str) -> Question | Rejected:
    return ask(scene, brought(*question), "clip:given:0", CONFIG, 0)


@pytest.mark.parametrize(
    ("scene", "question", "cited"),
    [
        (QUIET, ("What is the animal?", "dog", "cat", "horse", "bird"), ["event 0", "event 2"]),
        (QUIET, ("What is the animal?", "Barking dog", "Meowing cat"), ["event 0", "event 2"]),
        (QUIET, ("What makes the sound?", "An animal", "A vehicle", "A person"), ["event 0", "event 2"]),
        (QUIET, ("Which are heard?", "Dog and rain", "Dog and train"), ["event 0", "event 1", "event 2"]),
        (QUIET, ("What is the weather like?", "Raining", "Snowing", "Sunny"), ["event 1"]),
        (QUIET, ("Is there a dog in the recording?", "Yes", "No"), ["event 0", "event 2"]),
        (QUIET, ("Can you hear an animal?", "yes, a dog", "no"), ["event 0", "event 2"]),
        (QUIET, ("Is there a train in the background?", "No", "Yes"), ["event 0", "event 1", "event 2"]),
        (QUIET, ("Is anybody speaking?", "No", "Yes"), ["event 0", "event 1", "event 2"]),
        (QUIET, ("How many times is the dog heard?", "2", "3", "4"), ["event 0", "event 2"]),
        (DIALOGUE, ("How many people are speaking in this audio?", "Three", "Two"),
         ["turn 0", "turn 1", "turn 3"]),
        (DIALOGUE, ("What is the total number of speakers?", "3 people", "2 people"),
         ["turn 0", "turn 1", "turn 3"]),
        (DIALOGUE, ("Is someone talking?", "Yes", "No"), [f"turn {i}" for i in range(5)]),
        (DIALOGUE, ("What would there be none of?", "tea", "coffee", "sugar"), ["turn 2"]),
        (DIALOGUE, ("Who would be kind?", "Martha", "Anna", "Peter"), ["turn 4"]),
        (DIALOGUE, ("What is to be put on?", "The kettle", "The coat"), ["turn 0"]),
        (DIALOGUE, ("What can be heard?", "People talking", "Silence"), [f"turn {i}" for i in range(5)]),
    ],
)  # fmt: skip
def test_supported_answers(scene: Scene, question: tuple[str, ...], cited: list[str]) -> None:
    q = asked(scene, *question)
    assert isinstance(q, Question), q
    assert sorted(f"{e.kind} {e.index}" for e in q.evidence) == cited
    assert (q.answer, q.text, q.task, q.template) == (question[1], question[0], "avqa", "given")
    snippets = [t.text for t in scene.turns]
    text = render(scene, q, 3)
    assert judge(q, text, scene, snippets, GatesConfig()) is None
    assert parse(text).response.text == question[1]
    assert not any(word in parse(text).planning for word in ("None", "{", "  "))


@pytest.mark.parametrize(
    ("scene", "question"),
    [
        (QUIET, ("What is the animal?", "cat", "dog", "horse")),  # something else was heard
        (QUIET, ("What breed of dog is it?", "Poodle", "Beagle")),
        (QUIET, ("Which comes first?", "Dog", "Rain")),  # both are there: the order is not looked at
        (QUIET, ("What is heard?", "Dog and cat", "Train")),  # one half is missing
        (QUIET, ("Is the dog barking loudly?", "Yes", "No")),  # how loudly, nobody knows
        (QUIET, ("Is there a cat?", "Yes", "No")),
        (QUIET, ("Is there a dog?", "No", "Yes")),
        (QUIET, ("Is there an animal?", "No", "Yes")),
        (QUIET, ("Is anybody speaking?", "Yes", "No")),
        (QUIET, ("Does it look nice?", "No", "Yes")),  # not about a sound
        (Scene("empty", 5000), ("Is there a train?", "No", "Yes")),  # nothing was heard that could be cited
        (QUIET, ("How many times is the dog heard?", "3", "2")),
        (QUIET, ("How many dogs are there?", "2", "1")),  # occasions are not dogs
        (QUIET, ("How many people speak?", "0", "1")),
        (DIALOGUE, ("How many people are speaking?", "Two", "Three")),
        (DIALOGUE, ("How many men are speaking?", "Three", "Two")),  # voices are not told apart by gender
        (DIALOGUE, ("How many people are angry?", "Three", "Two")),
        (DIALOGUE, ("How many people speak?", "Two men and one woman", "Three men")),
        (DIALOGUE, ("How many people speak?", "9" * 5000, "Three")),
        (DIALOGUE, ("What is there?", "tea", "kettle")),  # both words are said
        (DIALOGUE, ("Which sound is in the background?", "the kettle", "the coat")),  # said, not heard
        (DIALOGUE, ("What do they drink?", "not tea", "coffee")),
        (DIALOGUE, ("What do they drink?", "None of these", "coffee")),
        (DIALOGUE, ("Who is it?", "...", "The")),
        (DIALOGUE, ("What is the topic?", "House work", "Sports")),
        (DIALOGUE, ("Who is speaking?", "A man speaking", "A woman speaking")),
    ],
)
def test_answers_that_were_not_heard(scene: Scene, question: tuple[str, ...]) -> None:
    q = asked(scene, *question)
    assert isinstance(q, Rejected), (q.evidence, q.reasoning)
    assert q.reason == "answer_not_heard"
    assert "found " in q.detail
    assert "expected " in q.detail
    assert "q1" in q.detail


def test_what_was_heard_is_told() -> None:
    q = asked(QUIET, "What is the animal?", "cat", "horse")
    assert isinstance(q, Rejected)
    assert "found a dog, rain; no speech" in q.detail


def test_texts_stay_and_answers_move_by_the_id_alone() -> None:
    q = brought("  What is the  animal? ", " dog\t", "DOG house", "c a t", " horse ")
    found = [ask(QUIET, q, f"c{n}:given:0", CONFIG, 0) for n in range(400)]
    kept = [f for f in found if isinstance(f, Question)]
    assert len(kept) == 400
    assert {f.text for f in kept} == {"What is the  animal?"}
    assert {f.answer for f in kept} == {"dog"}
    assert {tuple(c for c in f.choices if c != "dog") for f in kept} == {("DOG house", "c a t", "horse")}
    assert min(Counter(f.answer_index for f in kept).values()) > 60
    assert [ask(QUIET, replace(q, id="other"), f"c{n}:given:0", CONFIG, 0) for n in range(400)] == found


@pytest.mark.parametrize("last", ["None of the above", "Both A and B", "(d) horse", "d. horse"])
def test_choices_that_speak_of_their_order_keep_it(last: str) -> None:
    for n in range(20):
        q = ask(
            QUIET,
            brought("What is the animal?", "bird", "cat", "dog", last, answer=2),
            f"c{n}:given:0",
            CONFIG,
            0,
        )
        assert isinstance(q, Question)
        assert (q.choices, q.answer_index) == (("bird", "cat", "dog", last), 2)


@pytest.mark.parametrize("broken", [("What?", "dog"), (" ", "dog", "cat"), ("What?",)])
def test_a_broken_question_is_refused(broken: tuple[str, ...]) -> None:
    q = asked(QUIET, *broken)
    assert isinstance(q, Rejected)
    assert q.reason == "empty"
    for index in (2, 99):
        again = ask(QUIET, brought("What?", "dog", "cat", answer=index), "n", CONFIG, 0)
        assert isinstance(again, Rejected)


def test_margins_say_how_well_the_words_fit() -> None:
    exact, kind = asked(QUIET, "What?", "dog", "cat"), asked(QUIET, "What?", "growling", "meowing")
    assert isinstance(exact, Question)
    assert isinstance(kind, Question)
    assert exact.margin == 1.0 > kind.margin
    unsure = replace(QUIET, events=tuple(replace(e, score=0.4) for e in QUIET.events))
    doubtful = asked(unsure, "What?", "dog", "cat")
    assert isinstance(doubtful, Question)
    assert doubtful.margin == 0.4


CHOICES = st.sampled_from(
    (*map(spoken, LABELS), *LABELS, *SENTENCES, "Yes", "No", "Two", "three people", "Speaker 1")
)
TEXTS = st.sampled_from(
    (
        "What is heard?",
        "How many people speak?",
        "Is there a dog?",
        "What do they say?",
        "How often does it ring?",
    )
)


@RELAXED
@given(scenes(), TEXTS, st.lists(CHOICES, min_size=2, max_size=5, unique=True), st.integers(0, 3))
def test_what_is_kept_has_evidence_and_is_well_told(
    scene: Scene, text: str, choices: list[str], seed: int
) -> None:
    question = GivenQuestion("q", "t", text, tuple(choices), seed % len(choices))
    q = ask(scene, question, question_id(scene.clip_id, "given", 0), CONFIG, seed)
    assert str(q) == str(ask(scene, question, question_id(scene.clip_id, "given", 0), CONFIG, seed))
    if isinstance(q, Rejected):
        return
    rows = {"turn": scene.turns, "word": scene.words, "event": scene.events}
    assert q.evidence
    assert all(e.index < len(rows[e.kind]) for e in q.evidence)
    assert sorted(q.choices) == sorted(c.strip() for c in choices)
    assert q.answer == choices[question.answer_index].strip()
    found = judge(
        replace(q, margin=1.0), render(scene, q), scene, [t.text for t in scene.turns], GatesConfig()
    )
    assert found is None or found.reason in ("ambiguous_choices", "duplicate_choices", "empty")
    assert q.reasoning == q.reasoning.strip()
    assert "  " not in q.reasoning
    assert q.reasoning[0] in f'"{q.reasoning[0].upper()}'


@RELAXED
@given(nasty_scenes(), NASTY, st.lists(NASTY, min_size=0, max_size=4), st.integers(0, 5))
@example(Scene("c", 9, (Turn(0, 1, 1, "\u0130 0"),)), "how many people speak", ["\u0660", "\u00b2"], 1)
def test_any_question_about_any_scene(scene: Scene, text: str, choices: list[str], index: int) -> None:
    q = ask(scene, GivenQuestion("q", "t", text, tuple(choices), index), "c:given:0", CONFIG, 0)
    if isinstance(q, Question) and all(q.choices):
        assert parse(render(scene, q)).response.text == q.answer


@RELAXED
@given(scenes())
def test_an_exact_label_alone_is_always_supported(scene: Scene) -> None:
    for e in (e for e in scene.events if e.label != "Speech"):
        q = asked(scene, "What can be heard?", spoken(e.label), "Zyzzyva")
        assert isinstance(q, Question)
        assert e in [scene.events[i.index] for i in q.evidence] or spoken(e.label) in (
            "a dog",
            "a dog barking",
        )


def test_templated_questions_do_not_change() -> None:
    before = generate(DIALOGUE, CONFIG, 0)
    asked(DIALOGUE, "How many people are speaking?", "Three", "Two")
    assert generate(DIALOGUE, CONFIG, 0) == before


def test_small_words() -> None:
    pairs = [("dogs", "dog"), ("barking", "bark"), ("running", "run"), ("horses", "horse"), ("buses", "bus"),
             ("typing", "type"), ("glasses", "glass"), ("voices", "voice"), ("dishes", "dish")]  # fmt: skip
    assert all(stem(a) == stem(b) for a, b in pairs)
    assert words("The sound of a dog, barking!") == {"dog", "bark"}
    assert words("chicken") in names("Chicken, rooster")
    assert name_match(words("a rooster"), "/m/09b5t", "Chicken, rooster") == EXACT
    assert name_match(words("a loud rooster outside"), "/m/09b5t", "Chicken, rooster") == NAMED
    assert name_match(words("theremin"), "/x/1", "Theremin") == EXACT  # not in AudioSet
    assert match_in_turn("the kettle", DIALOGUE.turns[0]) == EXACT
    assert match_in_turn("kettle already put", DIALOGUE.turns[0]) == NAMED
    assert match_in_turn("kettles", Turn(0, 9, 1, "")) == 0
