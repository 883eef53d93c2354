"""What is rendered is read back exactly; what does not keep to the grammar is refused by name."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import NASTY, nasty_scenes, scenes
from test_questions import DIALOGUE

from paqa.config.recipe import QuestionsConfig
from paqa.questions.generate import generate
from paqa.rationale import narration
from paqa.rationale.escaping import escape, unescape
from paqa.rationale.grammar import (
    NO_WORDS,
    GrammarError,
    is_brief,
    parse,
    perceive,
    perceived,
    render,
)
from paqa.rationale.trace import Response, Sound
from paqa.types import Event, Evidence, Question, Scene, Turn, Unclear

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BARE = Question("c:q:0", "c", "t", "q", "Who?", ("Speaker 1", "Speaker 2"), 1, (), "listen", "Because.")


def test_the_structure() -> None:
    text = render(DIALOGUE, generate(DIALOGUE, QuestionsConfig(), 0)[0])
    tags = " ".join(re.findall(r"</?[A-Z_]+>", text))
    assert tags == (
        "<THINK> <PLANNING> </PLANNING> <CAPTION> <ENV> </ENV> <SPEAKER> </SPEAKER> <ASR> </ASR>"
        " <DESCRIPTION> </DESCRIPTION> </CAPTION> <REASONING> </REASONING> <SUMMARY> </SUMMARY> </THINK>"
        " <RESPONSE> </RESPONSE>"
    )
    assert "<ENV>Telephone bell ringing [1.00-1.90 s]\nBark [5.20-6.40 s]\n" in text
    assert '<SPEAKER>Speaker 1 [0.60-2.48 s]: "Did you put the kettle on already?"\n' in text


@RELAXED
@given(nasty_scenes(), st.lists(NASTY.filter(bool), min_size=2, max_size=4), NASTY, st.integers(0, 50))
@example(Scene("c", 9, (Turn(0, 1, 1, "Nobody speaks."),), (), ()), ["a", "b"], "x", 0)
def test_any_scene_and_any_text_survive(scene: Scene, choices: list[str], prose: str, variant: int) -> None:
    evidence = tuple(Evidence("turn", i) for i in range(len(scene.turns)))
    question = Question(
        "id", "nasty", "t", "t", "?", tuple(choices), 1, evidence, f"plan {prose}", f"so {prose}"
    )
    for brief in (False, True):
        text = render(scene, question, variant, brief=brief)
        trace = parse(text)
        assert is_brief(text) == brief
        assert perceived(trace) == perceive(scene)
        assert trace.response == Response(1, choices[1])
        assert trace.reflect is None
        assert trace.final is None


def test_a_brief_rationale_is_a_part_of_the_full_one() -> None:
    question = generate(DIALOGUE, QuestionsConfig(), 0)[0]
    full, brief = (render(DIALOGUE, question, brief=b) for b in (False, True))
    for tag in ("ENV", "SPEAKER", "REASONING", "RESPONSE"):
        contents = [re.findall(rf"<{tag}>.*</{tag}>", text, re.DOTALL) for text in (full, brief)]
        assert contents[0] == contents[1]
    tags = " ".join(re.findall(r"</?[A-Z_]+>", brief))
    assert tags == (
        "<THINK> <CAPTION> <ENV> </ENV> <SPEAKER> </SPEAKER> </CAPTION> <REASONING> </REASONING> </THINK>"
        " <RESPONSE> </RESPONSE>"
    )
    with pytest.raises(GrammarError, match="<ASR> is missing"):  # neither full nor brief
        parse(brief.replace("<REASONING>", "<PLANNING>Listen.</PLANNING><REASONING>"))


@given(NASTY.filter(str.strip), st.booleans())
def test_open_answers_survive(answer: str, spaced: bool) -> None:
    question = Question("id", "c", "t", "t", "?", (), None, (), "plan", "so", open_answer=answer)
    text = render(Scene("c", 900), question)
    text = text.replace("<RESPONSE>", "<RESPONSE> ") if spaced else text
    assert parse(text, letters=False).response == Response(None, answer)


@RELAXED
@given(scenes())
def test_every_rationale_reads_back_and_begins_differently(scene: Scene) -> None:
    questions = generate(scene, QuestionsConfig(per_clip=24), 0)
    traces = [parse(render(scene, q, v), q.answer_index is not None) for v, q in enumerate(questions)]
    for trace, q in zip(traces, questions, strict=True):
        assert perceived(trace) == perceive(scene)
        assert trace.response == Response(q.answer_index, q.answer)
        for prose in (trace.planning, trace.description, trace.reasoning, trace.summary):
            assert prose[0] in f'"{prose[0].upper()}'
            assert prose[-1] in '.?!"'
            assert "  " not in prose
            assert "{" not in prose
            assert not re.search(
                r"\.\.(?!\.)(?<!\.\.\.)|,,| ,| \.(?!\.)|\ba [aeio]|\ban [bcdfgjkmpqtvw]", unquoted(prose)
            ), prose
        assert not re.search(r"\([A-H]\)", trace.planning + trace.description + trace.summary)
    openings = [" ".join(t.planning.split()[:6]) for t in traces]
    assert len(set(openings)) == len(openings)


def unquoted(prose: str) -> str:
    return re.sub(r'"[^"]*"', '""', prose)


def test_openings_differ_within_six_words() -> None:
    heads = [re.sub(r"\{.*", "", o) for o in narration.OPENINGS]
    assert len(heads) >= 24
    assert not any(a != b and b.startswith(a) for a in heads for b in heads)
    first_six = {" ".join(f"{o.format('x y z u v w')}".split()[:6]) for o in narration.OPENINGS}
    assert len(first_six) == len(heads)


def test_the_letter_appears_only_at_the_end() -> None:
    for v, q in enumerate(generate(DIALOGUE, QuestionsConfig(per_clip=24), 0)):
        before, conclusion = render(DIALOGUE, q, v).split("<REASONING>")
        assert not re.search(r"\([A-H]\)", before)
        assert conclusion.index("(") > 0


@given(st.text() | NASTY)
def test_escape_is_undone(text: str) -> None:
    for reserved in ("", NO_WORDS):
        line = escape(text, reserved)
        assert unescape(line) == text
        assert "\n" not in line
        assert "<" not in line
        assert line == line.strip()
        assert not reserved or line != reserved


def test_an_unclear_background_is_not_called_quiet() -> None:
    turn = Turn(0, 1000, 1, "Hello [unclear] there.")
    scene = Scene("c", 5000, (turn,), unclear=(Unclear(1200, 3400),), snr_db=3.0)
    text = render(scene, BARE)
    assert "<ENV>(unclear) [1.20-3.40 s]</ENV>" in text
    assert '"Hello [unclear] there."' in text
    trace = parse(text)
    assert (trace.env, trace.unclear) == ((), (Unclear(1200, 3400),))
    assert "From 1.2 to 3.4 s something may sound in the background; it is not clear what." in text
    event = Event(100, 900, "(unclear)", "/x")
    both = replace(scene, events=(event,))
    for n in range(20):
        text = render(both, replace(BARE, id=f"c:q:{n}"))
        assert perceived(parse(text)) == perceive(both)
        assert not re.search("voices stand|voices remain|background (is|stays|comp)", text)


def test_times_are_exact() -> None:
    text = render(Scene("c", 10**6, (), (), ()), BARE).replace(
        "No background sound stands out.", "Bark [0.00-0.01 s]\nBark, loud [5] [61.234-3600.90 s]"
    )
    assert parse(text).env == (Sound(0, 10, "Bark"), Sound(61_234, 3_600_900, "Bark, loud [5]"))


GOOD = render(Scene("c", 5000, (Turn(0, 1000, 1, "Hello there you."),)), BARE)
REFLECTED = GOOD + "\n<REFLECT>Wait.</REFLECT><FINAL_ANSWER>(A) Speaker 1</FINAL_ANSWER>"


def test_reflection_and_alias() -> None:
    trace = parse(REFLECTED)
    assert (trace.response.index, trace.reflect, trace.final) == (1, "Wait.", Response(0, "Speaker 1"))
    assert parse(GOOD.replace("ENV>", "BGM>")) == parse(GOOD)
    assert parse(re.sub(r">\s+<", "><", GOOD)) == parse(f"\n{GOOD}\n") == parse(GOOD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "<THINK> is missing"),
        ("The answer is B, as heard.", "<THINK> is missing"),
        (GOOD.replace("<ASR>", ""), "<ASR> is missing"),
        (GOOD.replace("</THINK>", ""), "</THINK> is missing"),
        (GOOD + GOOD, "<THINK> occurs 2 times"),
        (GOOD.replace("<ENV>", "<ENV><BGM>"), "<BGM>|<ENV>"),
        (
            GOOD.replace("<SUMMARY>", "<X>")
            .replace("<REASONING>", "<SUMMARY>")
            .replace("<X>", "<REASONING>"),
            "misplaced",
        ),
        (GOOD + " and more", "text outside of the tags, before the end"),
        ("Sure! " + GOOD, "text outside of the tags, before <THINK>"),
        (GOOD.replace("<CAPTION>", "<CAPTION>so"), "before <ENV>: 'so'"),
        (GOOD.replace("No background sound stands out.", ""), "<ENV> is empty"),
        (GOOD.replace("No background sound stands out.", "a dog"), "<ENV>: expected"),
        (GOOD.replace('"Hello there you."', "Hello"), "one JSON string"),
        (GOOD.replace("Speaker 1 [", "Somebody ["), "<SPEAKER>: expected"),
        (GOOD.replace("(B) Speaker 2<", "B) Speaker 2<"), r"expected '\(B\)"),
        (GOOD.replace("(B) Speaker 2<", "The answer is (B)<"), r"expected '\(B\)"),
        (REFLECTED.replace("<REFLECT>Wait.</REFLECT>", ""), "<REFLECT> is missing"),
        (REFLECTED + "!", "before the end"),
        (REFLECTED.replace("Wait.", "Wait.</REFLECT><REFLECT>Wait."), "<REFLECT> occurs 2 times"),
    ],
)
def test_errors_name_the_tag(text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        parse(text)
