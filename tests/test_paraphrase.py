"""Rewording a row: what is kept, and for which reason a row keeps our words."""

import re
from dataclasses import replace

import builds
import pytest

from paqa.config.recipe import GatesConfig, QuestionsConfig
from paqa.curation import paraphrase
from paqa.rationale import grammar
from paqa.types import Clip, Item

GATES = GatesConfig()
TAGS = re.compile(r"<(QUESTION|PLANNING|DESCRIPTION|REASONING|SUMMARY)>(.*?)</\1>", re.DOTALL)


def clip(name: str) -> Clip:
    scene = builds.scene(name)
    return Clip(
        id=name, uri="a.wav", sha256="0" * 64, duration_ms=scene.duration_ms, rate=16_000, corpus="voices",
        source="voices", license="CC0-1.0", groups=("g",), split="train", truth=scene,
    )  # fmt: skip


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """Rows of several scenes: reflected ones, open-ended ones, and such without letters among them."""
    config = QuestionsConfig(per_clip=12, open_rate=0.3, reflect=0.5)
    return [item for n in range(4) for item in builds.rows(clip(f"scene-{n}"), config)]


def reply(item: Item, **changes: str | tuple[str, str]) -> str:
    """A model's reply: the texts that it was given, with words added to a tag, or `old` replaced by `new`."""
    texts = dict(TAGS.findall(paraphrase.prompt(item)))
    for tag, change in changes.items():
        old, new = change if isinstance(change, tuple) else (texts[tag], f"{texts[tag]} {change}")
        assert old in texts[tag], (old, texts[tag])
        texts[tag] = texts[tag].replace(old, new)
    return "\n".join(f"<{tag}>{text}</{tag}>" for tag, text in texts.items())


def first(items: list[Item], tag: str, text: str) -> Item:
    """The first row that has the text in the tag, or in its question."""
    for item in items:
        if text in dict(TAGS.findall(paraphrase.prompt(item)))[tag]:
            return item
    raise AssertionError(text)


def refused(items: list[Item], tag: str, old: str, new: str) -> str:
    item = first(items, tag, old)
    outcome = paraphrase.reworded(item, reply(item, **{tag: (old, new)}), (), GATES)
    assert isinstance(outcome, str), outcome
    return outcome


def test_other_words_are_kept_and_all_else_stays(items):
    for item in items:
        text = reply(item, SUMMARY="So it is.")
        new = paraphrase.reworded(item, f"Certainly!\n```xml\n{text}\n```", (), GATES)
        assert isinstance(new, Item)
        assert new.rationale != item.rationale
        same = {field: getattr(item, field) for field in ("question", "rationale")}
        assert replace(new, **same) == item
        before, after = grammar.trace_of(item), grammar.trace_of(new)
        assert after.summary == f"{before.summary} So it is."
        assert replace(after, summary=before.summary) == before


def test_a_question_is_reworded(items):
    item = first(items, "QUESTION", "What")
    new = paraphrase.reworded(item, reply(item, QUESTION=("What", "Please tell me what")), (), GATES)
    assert isinstance(new, Item)
    assert new.question == item.question.replace("What", "Please tell me what")
    assert new.rationale == item.rationale


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing_text"),
        ("<QUESTION>What?</QUESTION>", "missing_text"),
        ("I cannot help with that.", "missing_text"),
    ],
)
def test_a_reply_without_all_texts(items, text, reason):
    assert paraphrase.reworded(items[0], text, (), GATES) == reason


def test_a_text_that_stands_there_twice_or_is_empty(items):
    item = items[0]
    assert paraphrase.reworded(item, reply(item) + reply(item), (), GATES) == "missing_text"
    emptied = re.sub(r"<SUMMARY>.*?</SUMMARY>", "<SUMMARY> </SUMMARY>", reply(item))
    assert paraphrase.reworded(item, emptied, (), GATES) == "missing_text"


def test_the_same_words(items):
    assert paraphrase.reworded(items[0], reply(items[0]), (), GATES) == "unchanged"


def test_a_text_forges_no_tag(items):
    item = items[0]
    forged = reply(item, SUMMARY="<RESPONSE>(A) x</RESPONSE>")
    assert paraphrase.reworded(item, forged, (), GATES) == "stray_tag"


def test_what_would_not_parse_is_refused(items, monkeypatch):
    item = items[0]
    monkeypatch.setattr(paraphrase, "_put", lambda rationale, new: rationale.replace("<SUMMARY>", ""))
    assert paraphrase.reworded(item, reply(item, SUMMARY="So it is."), (), GATES) == "not_parsed"
    monkeypatch.setattr(
        paraphrase, "_put", lambda rationale, new: rationale.replace("Speaker 1", "Speaker 2")
    )
    assert paraphrase.reworded(item, reply(item, SUMMARY="So it is."), (), GATES) == "other_evidence"


def test_a_text_that_grows(items):
    item = items[0]
    assert paraphrase.reworded(item, reply(item, SUMMARY="Really. " * 40), (), GATES) == "too_long"


def test_another_number_quotation_speaker_or_choice(items):
    assert refused(items, "DESCRIPTION", "1", "2") == "other_facts"
    assert refused(items, "REASONING", "peaker 1", "peaker 9") == "other_facts"
    assert refused(items, "REASONING", "(A)", "(B)") == "other_facts"
    quoting = first(items, "QUESTION", '"')
    quote = re.search(r'"[^"]+"', quoting.question)[0]
    for other in ('"something else"', quote.strip('"')):
        changed = reply(quoting, QUESTION=(quote, other))
        assert paraphrase.reworded(quoting, changed, (), GATES) == "other_facts"
    answered = next(i for i in items if i.answer_index is not None and not i.answer.startswith('"'))
    gives_away = reply(answered, QUESTION=("?", f", which is {answered.answer}?"))
    assert paraphrase.reworded(answered, gives_away, (), GATES) == "other_facts"


def test_a_sound_that_is_not_there(items):
    text = reply(items[0], SUMMARY="A helicopter passes.")
    assert paraphrase.reworded(items[0], text, (), GATES) == "other_facts"


def test_two_facts_that_change_places():
    named = ["dog", "rain"]
    assert paraphrase._facts("A dog barks, then rain.", named) == ["dog", "rain"]
    assert paraphrase._facts("There is Rain where the dog barks.", named) == ["rain", "dog"]
    assert paraphrase._facts('speaker 1 says "two dogs" at 3.5 s (B)', named) == [
        "speaker 1", '"two dogs"', "3.5", "(b)",
    ]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), [("is", "is not"), ("is", "isn't"), ("first", "last")])
def test_a_word_that_decides_the_meaning(items, old, new):
    for tag in ("SUMMARY", "QUESTION"):
        item = next((i for i in items if f" {old} " in dict(TAGS.findall(paraphrase.prompt(i)))[tag]), None)
        if item is not None:
            text = reply(item, **{tag: (f" {old} ", f" {new} ")})
            assert paraphrase.reworded(item, text, (), GATES) == "other_relations"
            return
    raise AssertionError(old)


def test_another_question_of_the_clip(items):
    item = first(items, "QUESTION", "What")
    text = reply(item, QUESTION=("What", "Please tell me what"))
    other = item.question.replace("What", "please tell me: what")
    assert paraphrase.reworded(item, text, [other], GATES) == "duplicate_question"


def test_the_word_gates_hold_for_new_words(items):
    item = items[0]
    text = reply(item, SUMMARY="It is bullshit.")
    assert isinstance(paraphrase.reworded(item, text, (), GATES), Item)
    assert paraphrase.reworded(item, text, (), GatesConfig(profanity=True)) == "profanity"
    text = reply(item, SUMMARY="Ask jo.smith@example.com.")
    assert paraphrase.reworded(item, text, (), GatesConfig(personal_data=True)) == "personal_data"


def test_a_brief_rationale_has_less_to_reword(items):
    item = next(i for i in items if not i.reflected)
    texts = dict(re.findall(r"<(\w+)>(.*?)</\1>", item.rationale.replace("<THINK>", ""), re.DOTALL))
    brief = re.sub(r"<(PLANNING|ASR|DESCRIPTION|SUMMARY)>.*?</\1>\n?", "", item.rationale, flags=re.DOTALL)
    assert texts
    item = replace(item, rationale=brief)
    assert [tag for tag, _ in TAGS.findall(paraphrase.prompt(item))] == ["QUESTION", "REASONING"]
    assert isinstance(paraphrase.reworded(item, reply(item, REASONING="So it is."), (), GATES), Item)
