"""Each gate closes for its own reason, and the first in the fixed order is reported."""

from __future__ import annotations

import difflib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import scenes
from test_questions import DIALOGUE, PLAIN, asked_turn, event

from paqa.config.recipe import GatesConfig, QuestionsConfig
from paqa.curation.gates import judge, quote_presence
from paqa.curation.text_filters import personal_data, profanity
from paqa.questions.english import spoken
from paqa.questions.generate import generate
from paqa.rationale.grammar import render
from paqa.types import Question, Scene, Turn

CONFIG = GatesConfig()
SNIPPETS = [t.text for t in DIALOGUE.turns]
QUESTIONS = {q.template: q for q in generate(DIALOGUE, PLAIN, 0)}


def reason(
    question: Question,
    text: str | None = None,
    snippets: list[str] = SNIPPETS,
    scene: Scene = DIALOGUE,
    config: GatesConfig = CONFIG,
    earlier: tuple[Question, ...] = (),
) -> str | None:
    rejected = judge(
        question, render(scene, question) if text is None else text, scene, snippets, config, earlier
    )
    assert rejected is None or rejected.detail.startswith(question.id)
    return rejected.reason if rejected else None


def swap(question: Question, wrong: str) -> Question:
    """The question with its first wrong choice replaced."""
    at = 0 if question.answer_index else 1
    return replace(question, choices=tuple(wrong if i == at else c for i, c in enumerate(question.choices)))


def test_each_reason() -> None:
    q = QUESTIONS["background_sound"]
    line = QUESTIONS["first_words"]
    good = render(DIALOGUE, q)
    assert reason(q) is None
    assert reason(q, "") == reason(replace(q, text=" ")) == reason(swap(q, "...")) == "empty"
    assert reason(replace(q, margin=0.1)) == "low_margin"
    assert reason(swap(q, q.answer.upper() + "!")) == "duplicate_choices"
    assert reason(swap(q, "A dog" if q.answer == "A dog barking" else "A telephone")) == "ambiguous_choices"
    assert reason(swap(line, f'"{line.answer[1:12]}"')) == "ambiguous_choices"
    assert reason(q, good.replace("Bark", "Cat")) == reason(q, good[:-3]) == "rationale_round_trip"
    assert reason(q, good.replace("<RESPONSE>(", "<RESPONSE>(H) (")) == "answer_mismatch"
    assert reason(q, snippets=["nothing of the kind"]) == reason(q, snippets=[]) == "quote_presence"


def test_the_order_is_fixed() -> None:
    q = replace(QUESTIONS["background_sound"], margin=0.0)
    assert reason(q, "", []) == "empty"
    assert reason(q, "x", []) == "low_margin"
    assert reason(replace(q, margin=1.0), "x", []) == "rationale_round_trip"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenes())
def test_what_is_generated_passes_but_for_its_margin(scene: Scene) -> None:
    for q in generate(scene, QuestionsConfig(none_rate=0.2, open_rate=0.3), 0):
        assert reason(replace(q, margin=1.0), snippets=[t.text for t in scene.turns], scene=scene) is None


def test_choices_that_may_be_taken_for_one_another() -> None:
    q = QUESTIONS["first_sound"]
    kinds = replace(q, choices=("Thunder", "A dog", "A dog barking", "A violin"), answer_index=0)
    assert reason(kinds) == "ambiguous_choices"  # a sound and its kind in AudioSet, both wrong
    assert reason(kinds, config=replace(CONFIG, ambiguous_choices=False)) is None
    same = swap(q, q.answer.upper())
    assert reason(same) == "duplicate_choices"
    assert reason(same, config=replace(CONFIG, duplicate_choices=False)) is None


def test_evidence_must_be_clear_and_loud_enough() -> None:
    q = QUESTIONS["first_sound"]
    faint = replace(DIALOGUE, events=tuple(replace(e, score=0.2) for e in DIALOGUE.events))
    assert reason(q, scene=faint) == "low_score"
    assert reason(q, scene=faint, config=replace(CONFIG, min_score=0.0)) is None
    levels = (-70.0, -30.0, -30.0, -30.0)
    quiet = replace(
        DIALOGUE,
        turns=tuple(replace(t, level_db=-20.0) for t in DIALOGUE.turns),
        events=tuple(replace(e, level_db=level) for e, level in zip(DIALOGUE.events, levels, strict=True)),
    )
    assert reason(q, scene=quiet) == "quiet_evidence"
    assert reason(q, scene=quiet, config=replace(CONFIG, max_below_db=60.0)) is None
    assert reason(q, scene=quiet, config=replace(CONFIG, max_below_db=0.0)) is None
    assert reason(QUESTIONS["last_sound"], scene=replace(quiet, events=(*quiet.events[1:],) * 2)) is None


def test_what_a_question_refers_to_is_there_once() -> None:
    q = QUESTIONS["who_says"]
    turn = asked_turn(DIALOGUE, q.text)
    twice = replace(DIALOGUE, turns=(*DIALOGUE.turns, replace(turn, start_ms=13_000, end_ms=14_000)))
    assert reason(q, scene=twice) == "answer_not_unique"
    assert reason(q, scene=twice, config=replace(CONFIG, unique_answer=False)) is None
    count = QUESTIONS["sound_occasions"]
    named = next(e for e in DIALOGUE.events if spoken(e.label) in count.text)
    near = {
        "Bark": "Dog",
        "Telephone bell ringing": "Telephone",
        "Water tap, faucet": "Sink (filling or washing)",
    }
    more = replace(DIALOGUE, events=(*DIALOGUE.events, event(13_100, 14_000, near[named.label])))
    assert reason(count, scene=more) == "answer_not_unique"
    present = swap(QUESTIONS["background_sound"], "A dog barking")
    if present.answer != "A dog barking":
        assert reason(present) == "answer_not_unique"


def test_a_question_is_asked_once() -> None:
    q = QUESTIONS["speaker_count"]
    again = replace(q, id="again", text="Just how many people can be heard to speak, and how many talk?")
    near_duplicate = replace(q, id="other", text="How many people can be heard speaking and talking?")
    assert reason(q, earlier=(replace(q, id="x", text=q.text.upper()),)) == "duplicate_question"
    assert reason(again, earlier=(near_duplicate,)) == "duplicate_question"
    assert (
        reason(again, earlier=(replace(near_duplicate, choices=("Nine",), answer_index=0),)) is None
    )  # another answer
    assert reason(q, earlier=(q,), config=replace(CONFIG, near_duplicate=0.0)) is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenes())
def test_no_two_questions_of_a_clip_are_the_same(scene: Scene) -> None:
    questions = generate(scene, QuestionsConfig(), 0)
    for n, q in enumerate(questions):
        rejection = reason(replace(q, margin=1.0), scene=scene, snippets=[t.text for t in scene.turns],
                       earlier=tuple(questions[:n]))  # fmt: skip
        assert rejection is None, q


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Call me on 020 7946 0958 tonight.", "telephone number"),
        ("It's five five five one two three four, right?", "telephone number"),
        ("Write to jane.doe@example.org, please.", "e-mail address"),
        ("Write to jane at example dot org, please.", "e-mail address"),
        ("We moved to 14 Abbey Road last year.", "postal address"),
        ("In 1984 there were 2500 people, or 3.14159265 of them.", None),
        ("One two three, then four five six.", None),
        ("I met him at noon, in the middle of the road.", None),
    ],
)
def test_personal_data(said: str, found: str | None) -> None:
    assert (personal_data(said) or "None").startswith(str(found))
    scene = replace(DIALOGUE, turns=(*DIALOGUE.turns, Turn(12_500, 14_000, 1, said)))
    q = QUESTIONS["background_sound"]
    snippets = [t.text for t in scene.turns]
    strict = replace(CONFIG, personal_data=True)
    assert reason(q, scene=scene, snippets=snippets) is None
    assert reason(q, scene=scene, snippets=snippets, config=strict) == ("personal_data" if found else None)


def test_profanity() -> None:
    assert profanity("Oh, SHIT!") == "shit"
    assert profanity("That's shitty.") == profanity("shitty")
    assert not profanity("A cockatoo assesses the title of Scunthorpe and its classes.")
    scene = replace(DIALOGUE, turns=(*DIALOGUE.turns, Turn(12_500, 14_000, 1, "What the fuck was that?")))
    q, snippets = QUESTIONS["background_sound"], [t.text for t in scene.turns]
    assert reason(q, scene=scene, snippets=snippets) is None
    assert reason(q, scene=scene, snippets=snippets, config=replace(CONFIG, profanity=True)) == "profanity"


def test_open_answers_are_judged_too() -> None:
    config = QuestionsConfig(per_clip=99, open_rate=1.0)
    asked = [q for q in generate(DIALOGUE, config, 0) if not q.choices]
    assert len(asked) >= 8
    for q in asked:
        assert reason(q) is None
        assert reason(replace(q, open_answer="...")) == "empty"
        assert reason(replace(q, choices=("a", "b"))) == "empty"
        assert reason(replace(q, open_answer="Nine"), render(DIALOGUE, q)) == "answer_mismatch"


@pytest.mark.parametrize(
    ("quotes", "snippets", "low", "high"),
    [
        ([], [], 1, 1),
        (["..."], [], 1, 1),
        (["Hello there."], [], 0, 0),
        (["Hello, THERE!"], ["hello there"], 1, 1),
        (["We had no choice"], ["the train we", "had no choice at all"], 1, 1),
        (["We had no choice today"], ["well we", "had no joys to day at all"], 0.6, 0.9),
        (["We had no choice"], ["I walked all the way"], 0, 0.6),
        (["one two three", "never said anywhere"], ["one two three"], 0.5, 0.8),
    ],
)
def test_quote_presence(quotes: list[str], snippets: list[str], low: float, high: float) -> None:
    assert low <= quote_presence(quotes, snippets) <= high


def test_of_many_snippets_few_are_compared_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three turns and three windows for each quote that is not there word by word."""
    compared = []
    whole = difflib.SequenceMatcher

    def counted(*texts, **options):
        compared.append(texts)
        return whole(*texts, **options)

    monkeypatch.setattr(difflib, "SequenceMatcher", counted)
    words = [f"word{n * 7 % 61}" for n in range(100)]
    quotes = [" ".join(words[i * 10 : i * 10 + 10]).replace("word1", "wort1") for i in range(10)]
    snippets = [" ".join(words[i : i + 13]) for i in range(0, 100, 13)]
    assert quote_presence(quotes, snippets) > 0.9
    assert len(compared) == 6 * sum("wort" in q for q in quotes) > 0


@pytest.mark.parametrize(
    ("quotes", "snippets", "expected"),
    [
        (["a b c d"], ["a b x d"], 12 / 14),  # six of seven signs of either
        (["a b c d"], ["a b", "x d"], 12 / 14),  # also over the edge of two turns
        (["a b c d", "a b x d"], ["a b x d"], 13 / 14),
        (["a b c d", "..."], ["a b c d"], 1.0),  # what says nothing is no quote
        (["cat"], ["the catalogue"], 2 * 3 / 12),  # words are whole words
        (["a b c d"], ["z z z z a b c x z z z z"], 12 / 14),  # a part of a long turn
        (["a b c d e f g"], ["a b c d e f"], 2 * 11 / 24),  # one word was missed
    ],
)
def test_how_much_of_a_quote_is_there(quotes: list[str], snippets: list[str], expected: float) -> None:
    assert quote_presence(quotes, snippets) == pytest.approx(expected)


def test_what_just_reaches_a_limit_is_kept() -> None:
    q = QUESTIONS["first_sound"]
    assert reason(replace(q, margin=CONFIG.min_margin)) is None
    assert reason(replace(q, margin=CONFIG.min_margin - 0.001)) == "low_margin"
    levels = replace(
        DIALOGUE,
        turns=tuple(replace(t, level_db=-20.0) for t in DIALOGUE.turns),
        events=tuple(replace(e, level_db=-50.0, score=0.25) for e in DIALOGUE.events),
    )
    for change, expected in (
        ({"max_below_db": 30.0, "min_score": 0.25}, None),
        ({"max_below_db": 29.9, "min_score": 0.25}, "quiet_evidence"),
        ({"max_below_db": 30.0, "min_score": 0.26}, "low_score"),
    ):
        assert reason(q, scene=levels, config=replace(CONFIG, **change)) == expected


def test_evidence_is_compared_with_the_loudest_of_all() -> None:
    """Of turns and sounds alike; what was not measured neither sets the measure nor falls below it."""
    q = QUESTIONS["first_sound"]
    at = next(e.index for e in q.evidence if e.kind == "event")
    assert DIALOGUE.events
    events = [replace(e, level_db=None) for e in DIALOGUE.events]
    events[at] = replace(events[at], level_db=-60.0)
    config = replace(CONFIG, max_below_db=30.0)
    assert (
        reason(q, scene=replace(DIALOGUE, events=tuple(events)), config=config) is None
    )  # it is the only one
    unrelated = next(i for i in range(len(events)) if i not in {e.index for e in q.evidence})
    events[unrelated] = replace(events[unrelated], level_db=-20.0)
    assert reason(q, scene=replace(DIALOGUE, events=tuple(events)), config=config) == "quiet_evidence"
    events[at] = replace(events[at], level_db=None)
    assert reason(q, scene=replace(DIALOGUE, events=tuple(events)), config=config) is None


def test_nearly_the_same_words_are_the_same_question_from_a_share_on() -> None:
    q = QUESTIONS["speaker_count"]
    text = "Which of the red green blue white black horses, dogs, cows, pigs walked home?"
    first, second = (
        replace(q, id=name, text=text.replace("pigs", last)) for name, last in (("a", "pigs"), ("b", "sheep"))
    )
    for share, expected in ((0.5, "duplicate_question"), (1.0, None), (0.0, None)):
        assert reason(second, earlier=(first,), config=replace(CONFIG, near_duplicate=share)) == expected


def test_quotes_that_are_all_there_reach_any_limit() -> None:
    q = QUESTIONS["background_sound"]
    assert reason(q, config=replace(CONFIG, quote_presence=1.0)) is None
    assert reason(q, snippets=SNIPPETS[1:], config=replace(CONFIG, quote_presence=1.0)) == "quote_presence"


def test_a_choice_has_something_to_choose_from() -> None:
    q = QUESTIONS["background_sound"]
    assert reason(replace(q, choices=(q.answer,), answer_index=0)) == "empty"
