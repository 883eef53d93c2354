"""Words and sentences: abbreviations, apostrophes, and scripts without spaces between words."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from paqa.config.recipe import QuestionsConfig
from paqa.evaluation import metrics
from paqa.perception.fusion import sentence_turns
from paqa.questions.context import context
from paqa.questions.dialogue_flow import who_mentions
from paqa.questions.english import excerpt, opening
from paqa.questions.generate import generate
from paqa.text import beginning, length, normal, sentence_ends, without_gaps
from paqa.types import Scene, Turn, Word

CHINESE = (
    "我们明天早上去火车站。",
    "你为什么不坐公共汽车？",
    "因为公共汽车总是太慢了。",
    "那么我给你买一张票吧。",
)
JAPANESE = (
    "明日の朝、駅に行きましょう。",
    "どうしてバスに乗らないのですか？",
    "バスはいつも遅いからです。",
    "では切符を買ってあげます。",
)
THAI = ("พรุ่งนี้เช้าเราจะไปสถานีรถไฟกัน", "ทำไมคุณไม่นั่งรถเมล์ไป", "เพราะรถเมล์มาช้าเสมอ", "งั้นฉันจะซื้อตั๋วให้คุณเอง")
KHMER = ("ស្អែកព្រឹកយើងទៅស្ថានីយ៍រថភ្លើង", "ហេតុអ្វីអ្នកមិនជិះឡានក្រុង", "ព្រោះឡានក្រុងតែងតែយឺត", "អញ្ចឹងខ្ញុំទិញសំបុត្រឱ្យអ្នក")
ENGLISH = (
    "Tomorrow morning we take the train.",
    "Why don't you ride on the bus?",
    "Because buses never arrive early.",
    "Then somebody buys you another ticket.",
)
TALKS = {"zh": CHINESE, "ja": JAPANESE, "th": THAI, "km": KHMER}


def talk(texts: tuple[str, ...], language: str) -> Scene:
    turns = tuple(Turn(3000 * i, 3000 * i + 2500, i % 2 + 1, text) for i, text in enumerate(texts))
    return Scene("clip", 3000 * len(texts), turns, language=language)


@pytest.mark.parametrize("text", [
    "I met Mr. Smith there.", "Ask Dr. Jones.", "It is by J. R. R. Tolkien.",
    "He lives in the U.S. Virgin Islands.", "It costs 3.50 today.", "Well... no, it does not.",
    "Some fruit, e.g. apples.", "See No. 5 there.", "He left… then came.", "\"Why?\" he asked.",
])  # fmt: skip
def test_no_sentence_ends_inside(text: str) -> None:
    assert sentence_ends(text) == [len(text)]


@pytest.mark.parametrize(("text", "count"), [
    ("She left. He stayed.", 2), ("So do I. Then go.", 2), ("He said no. They went.", 2),
    ("Wait... What was that?", 2), ('He said "stop." "Why?" Nobody knew!', 3), ("我们走吧。好的！什么？", 3),
    ("No end", 0), ("", 0), ("क्या हुआ। कुछ नहीं।", 2),
    ("ไปกันเถอะ วันนี้อากาศดี", 1),
])  # fmt: skip
def test_sentence_ends(text: str, count: int) -> None:
    assert len(sentence_ends(text)) == count


def test_a_long_text_is_not_quoted_up_to_a_title() -> None:
    text = f"Yesterday I went to see Mr. Smith of {'the very ' * 12}old town about his garden."
    assert opening(f"We talked for long. {text}") == ("We talked for long.", False)
    assert opening(text) == ("", False)


def test_turns_are_not_cut_after_a_title() -> None:
    said = "Yesterday I met Mr. Smith there. He was very kind."
    words = [Word(300 * i, 300 * i + 250, w, 1) for i, w in enumerate(said.split())]
    found = sentence_turns(Turn(0, 3000, 1, said), words)
    assert [t.text for t in found] == ["Yesterday I met Mr. Smith there.", "He was very kind."]


def test_words_are_quoted_as_they_are_written() -> None:
    scene = talk(
        ("Somebody's dog mustn’t bark.", "NASA's rocket exploded yesterday.", "It couldn't wait."), "en"
    )
    quoted = {
        re.findall(r'"([^"]*)"', draft.texts[0])[0]
        for seed in range(40)
        for draft in who_mentions(context(scene, QuestionsConfig(), seed, "who_mentions"))
    }
    assert quoted >= {"somebody's", "mustn’t", "couldn't"}
    assert quoted <= {
        word for t in scene.turns for word in re.split(r"[\s.]+", t.text[:1].lower() + t.text[1:])
    } | {"NASA's"}


@pytest.mark.parametrize("language", TALKS)
def test_scripts_without_spaces_get_the_ordinary_questions(language: str) -> None:
    config = QuestionsConfig(per_clip=40)
    ours = generate(talk(TALKS[language], language), config, 0)
    templates = {q.template for q in ours}
    english = {q.template for q in generate(talk(ENGLISH, "en"), config, 0)}
    by_spaces = {"earliest_words", "latest_words", "words_after", "words_before"}  # phrases of some words
    assert templates >= english - {"who_mentions"} - by_spaces
    assert "who_mentions" not in templates
    text = " ".join([*(q.text for q in ours), *(q.reasoning for q in ours)])
    assert 'word "' not in text.replace("words", "word ")


@pytest.mark.parametrize("language", TALKS)
def test_long_texts_of_these_scripts_are_cut(language: str) -> None:
    whole = "".join(TALKS[language]) * 3
    short = excerpt(whole)
    assert len(short) < len(whole) / 3
    assert whole.startswith(short.removeprefix('"').removesuffix(' ..."'))
    assert excerpt(TALKS[language][0][:10]) == f'"{TALKS[language][0][:10].rstrip(".")}"'
    assert opening(whole)[1] is False


def test_lengths() -> None:
    assert length("one two three") == 3
    assert length("我们走") == 1.5
    assert length("iPhone 手机，好") == 2.5
    assert length("ที่นี่") == 1  # two letters with their marks
    assert beginning("one  two three", 2) == "one two"
    assert beginning("我们明天走", 2) == "我们明天"


def test_comparing_goes_by_characters() -> None:
    assert normal("我们，走！") == normal("我 们走") == "我 们 走"
    assert normal("iPhone手机") == "iphone 手 机"
    assert normal("ที่นี่") == "ที่ นี่"
    assert normal("What's") == "whats"
    assert without_gaps("我 们 走 。 OK 好") == "我们走。 OK 好"


def test_pieces_of_a_transcriber_are_put_together() -> None:
    words = [
        Word(100 * i, 100 * i + 90, w, 1)
        for i, w in enumerate(("我", "们", "明天", "早上", "去", "OK", "吗？"))
    ]
    (turn,) = sentence_turns(Turn(0, 700, 1), words)
    assert turn.text == "我们明天早上去 OK 吗？"


def test_error_rates_go_by_characters() -> None:
    truth = talk(CHINESE[:1], "zh")
    heard = Scene(
        "clip", 3000, words=tuple(Word(9 * i, 9 * i + 9, c) for i, c in enumerate("我们明天早上去飞机场"))
    )
    wrong = metrics.word_errors(truth, heard)
    assert (wrong.errors, wrong.words) == (3, 10)
    letters = metrics.letter_errors(truth, heard)
    assert (letters.errors, letters.words) == (3, 10)


def test_no_piece_begins_with_a_mark() -> None:
    """A letter keeps its vowels and tones when a text is cut."""
    import unicodedata

    for texts in TALKS.values():
        for size in range(1, 12):
            cut = beginning("".join(texts), size)
            after = "".join(texts)[len(cut) :]
            assert unicodedata.category(after[0])[0] != "M"
            assert cut[-1] not in "\u1039\u17d2"
    assert all(a < b for a, b in pairwise(sentence_ends("".join(CHINESE))))
