"""Which labels of the truth are carried to the turns that were heard."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import scenes

from paqa.perception.source_labels import MAX_CHOICES, carry_labels, translation_choices
from paqa.types import Clip, Scene, Turn

SAID = "Where did you put the keys? I need them now."
WHOLE = Scene("c", 5000, turns=(Turn(0, 5000, 1, SAID, "anger"),), language="en")
HEARD = Scene(
    "c",
    5000,
    turns=(Turn(300, 2000, 1, "Where did you put the keys?"), Turn(2300, 4800, 1, "I need them now.")),
    language="en",
)


def moods(scene: Scene) -> list[str | None]:
    return [t.emotion for t in scene.turns]


def test_one_label_for_the_whole_clip_goes_to_all_turns_of_its_only_voice() -> None:
    found = carry_labels(HEARD, WHOLE)
    assert moods(found) == ["anger", "anger"]
    assert [replace(t, emotion=None) for t in found.turns] == list(HEARD.turns)
    two = replace(HEARD, turns=(HEARD.turns[0], replace(HEARD.turns[1], speaker=2)))
    assert moods(carry_labels(two, WHOLE)) == [None, "anger"]  # only the second is half of the labelled turn
    quiet = replace(HEARD, turns=HEARD.turns[:1])
    assert moods(carry_labels(quiet, WHOLE)) == [
        "anger"
    ]  # one voice, one turn: however little of it was heard


def test_labels_go_between_turns_that_share_half_of_either() -> None:
    truth = replace(WHOLE, turns=(Turn(0, 2200, 1, "a", "joy"), Turn(2200, 5000, 2, "b", "fear")))
    assert moods(carry_labels(HEARD, truth)) == ["joy", "fear"]
    long = replace(HEARD, turns=(replace(HEARD.turns[0], end_ms=4800),))
    assert moods(carry_labels(long, truth)) == ["fear"]
    short = replace(HEARD, turns=(replace(HEARD.turns[0], end_ms=900),))
    assert carry_labels(short, truth) is short
    both = replace(truth, turns=(Turn(0, 5000, 1, "a", "joy"), Turn(100, 4900, 2, "b", "fear")))
    assert carry_labels(long, both) is long  # nobody can say whose mood it is


def test_sentences_of_one_voice_are_one_turn_together() -> None:
    truth = replace(
        WHOLE, turns=(Turn(0, 5000, 1, SAID, "joy", "Wo sind sie?"), Turn(5200, 9000, 2, "b", "fear"))
    )
    truth = replace(truth, translated_to="de", duration_ms=9000)
    later = (Turn(5300, 8000, 2, "something else"),)
    heard = replace(HEARD, duration_ms=9000, turns=(*HEARD.turns, *later))
    found = carry_labels(heard, truth)
    assert [(t.start_ms, t.text, t.emotion, t.translation) for t in found.turns] == [
        (300, SAID, "joy", "Wo sind sie?"),
        (5300, "something else", "fear", None),
    ]
    between = replace(heard, turns=(HEARD.turns[0], Turn(2100, 2200, 2, "hm"), HEARD.turns[1], *later))
    assert (
        carry_labels(between, truth).translated_to is None
    )  # two turns with one between them are not made one
    assert moods(carry_labels(between, truth)) == ["joy", None, "joy", "fear"]


def test_a_translation_is_of_the_words_that_were_heard() -> None:
    truth = replace(
        WHOLE, turns=(replace(WHOLE.turns[0], translation="Wo sind die Schlüssel?"),), translated_to="de"
    )
    found = carry_labels(HEARD, truth)
    assert [(t.start_ms, t.end_ms, t.text, t.translation) for t in found.turns] == [
        (300, 4800, SAID, "Wo sind die Schlüssel?")
    ]
    assert (found.language, found.translated_to) == ("en", "de")
    other = replace(HEARD, turns=tuple(replace(t, text="Vrooom, I said nothing of it.") for t in HEARD.turns))
    misheard = carry_labels(other, truth)
    assert [t.translation for t in misheard.turns] == [None, None]
    assert moods(misheard) == ["anger", "anger"]
    assert misheard.translated_to is None


def test_without_a_text_the_languages_must_agree() -> None:
    truth = Scene(
        "c", 5000, turns=(Turn(0, 5000, 1, "", None, "Где ключи?"),), language="en-GB", translated_to="ru"
    )
    assert carry_labels(HEARD, truth).translated_to == "ru"
    assert carry_labels(replace(HEARD, language="de"), truth).translated_to is None
    assert carry_labels(HEARD, replace(truth, language=None)).translated_to is None


def test_half_of_the_words_has_no_translation() -> None:
    truth = replace(WHOLE, turns=(replace(WHOLE.turns[0], translation="Wo sind sie?"),), translated_to="de")
    half = replace(HEARD, turns=HEARD.turns[:1])
    assert carry_labels(half, truth).translated_to is None


@settings(max_examples=60, deadline=None)
@given(scenes(), scenes(), st.sampled_from(["joy", None]), st.sampled_from(["Ja, natürlich.", None]))
def test_nothing_but_labels_is_carried(
    heard: Scene, truth: Scene, mood: str | None, meaning: str | None
) -> None:
    truth = replace(
        truth,
        turns=tuple(replace(t, emotion=mood, translation=meaning) for t in truth.turns),
        translated_to="de",
    )
    found = carry_labels(heard, truth)
    if mood is None and meaning is None:
        assert found is heard
    assert found.transcript == heard.transcript
    assert (found.words, found.events, found.duration_ms) == (heard.words, heard.events, heard.duration_ms)
    assert [(t.start_ms, t.speaker) for t in found.turns] == [(t.start_ms, t.speaker) for t in heard.turns][
        : len(found.turns)
    ]
    assert carry_labels(heard, None) is heard
    assert carry_labels(found, truth).turns == found.turns


def clip(n: int, corpus: str = "s", meaning: str | None = "") -> Clip:
    text = f"meaning {n}" if meaning == "" else meaning
    truth = Scene(f"c{n}", 900, turns=(Turn(0, 900, 1, "x", None, text),), translated_to="en")
    split = "test" if n % 4 == 0 else "train"
    return Clip(
        f"c{n}", "u", f"{n:064x}", 900, 16000, corpus, corpus, "CC0-1.0", (f"g{n}",), split, truth=truth
    )


def test_translations_come_from_other_clips_of_the_same_source_and_side() -> None:
    clips = [
        *(clip(n) for n in range(80)),
        *(clip(n, "other") for n in range(80, 90)),
        clip(99, meaning=None),
    ]
    found = translation_choices(clips)
    by_text = {c.truth.turns[0].translation: c for c in clips if c.truth}
    for c in clips:
        used = [by_text[text] for text in found[c.id]]
        assert len(used) == len(set(found[c.id]))
        assert c not in used
        assert {(u.corpus, u.split) for u in used} <= {(c.corpus, c.split)}
    assert len(found["c1"]) == MAX_CHOICES
    assert translation_choices(clips[::-1]) == found
    assert translation_choices([replace(c, truth=None) for c in clips]) == {}


def test_a_new_clip_changes_the_choices_of_few() -> None:
    clips = [clip(n) for n in range(1, 800, 2)]
    before, after = translation_choices(clips), translation_choices([*clips, clip(1001)])
    assert sum(after[name] != texts for name, texts in before.items()) <= 4 * MAX_CHOICES
