"""Who said which word, in whose turn, and what two hearings disagree about."""

from hypothesis import given
from hypothesis import strategies as st

from paqa.scene import GRID_MS, align, attribute, by_turn, compose, lines, number
from paqa.types import Event, Turn, Word


def word(start, end, text, speaker=None):
    return Word(start, end, text, speaker)


def test_speakers_are_numbered_by_first_appearance():
    turns = number([Turn(500, 900, 1), Turn(0, 400, 7), Turn(1000, 1200, 7)])
    assert [t.speaker for t in turns] == [1, 2, 1]


def test_words_go_to_the_turn_that_covers_most_of_them():
    turns = [Turn(0, 1000, 1), Turn(1000, 2000, 2)]
    said = attribute([word(0, 400, "a"), word(900, 1300, "b"), word(2100, 2300, "c"), word(9000, 9100, "d")], turns)
    assert [w.speaker for w in said] == [1, 2, 2, None]


def test_where_turns_overlap_the_speaker_goes_on():
    turns = [Turn(0, 2000, 1), Turn(1000, 3000, 2)]
    said = attribute([word(500, 900, "a"), word(1200, 1500, "b"), word(2200, 2500, "c")], turns)
    assert [w.speaker for w in said] == [1, 1, 2]


def test_turns_hold_their_words_in_order():
    turns = [Turn(0, 1000, 1), Turn(1000, 2000, 2), Turn(2000, 3000, 1)]
    words = attribute(
        [word(0, 300, "so"), word(400, 800, "yes"), word(1100, 1200, "no"), word(2100, 2500, "why")], turns
    )
    assert [[w.text for w in own] for own in by_turn(turns, words)] == [["so", "yes"], ["no"], ["why"]]


def test_a_long_turn_becomes_its_sentences():
    said = ["I", "am", "here.", "Yes.", "Where", "are", "you", "now?", "Over", "there."]
    words = [word(i * 500, i * 500 + 400, text) for i, text in enumerate(said)]
    found = lines(Turn(0, 5000, 2), words)
    assert [t.text for t in found] == ["I am here.", "Yes. Where are you now? Over there."]
    assert [(t.start_ms, t.end_ms) for t in found] == [(0, 1500), (1500, 5000)]


def test_a_pause_between_sentences_belongs_to_nobody():
    words = [
        word(0, 100, "I"),
        word(100, 200, "am"),
        word(200, 300, "here."),
        *(word(2000 + i, 2400, "you") for i in range(3)),
    ]
    assert [(t.start_ms, t.end_ms) for t in lines(Turn(0, 3000, 1), words)] == [(0, 300), (2000, 3000)]


def test_alignment_takes_words_from_the_first_and_times_from_the_second_hearing():
    first = [word(0, 100, "Hello"), word(100, 200, "big"), word(200, 300, "world")]
    second = [word(40, 140, "hello,"), word(240, 340, "world")]
    words, differ = align(first, second)
    assert [(w.text, w.start_ms) for w in words] == [("Hello", 40), ("big", 100), ("world", 240)]
    assert [(d.first, d.second) for d in differ] == [("big", "")]


def test_a_lost_sentence_is_recorded():
    _, differ = align([word(0, 100, "hi")], [word(0, 100, "hi"), word(500, 900, "there")])
    assert [(d.stage, d.start_ms, d.end_ms, d.second) for d in differ] == [("transcribe", 500, 900, "there")]


def test_a_turn_without_words_is_no_turn_but_a_disagreement():
    turns, words = [Turn(0, 500, 3), Turn(600, 900, 4), Turn(1000, 1400, 5)], [word(0, 300, "a"), word(9000, 9500, "z")]
    scene = compose("c", 20_000, turns, [*words, word(1000, 1300, "b")], None, [], "en")
    assert [(t.speaker, t.text) for t in scene.turns] == [(1, "a"), (2, "b")]
    assert {(d.start_ms, d.first, d.second) for d in scene.disagreements} == {
        (600, "somebody speaks", "no words"),
        (9000, "nobody speaks", "z"),
    }


spans = st.tuples(st.integers(0, 30_000), st.integers(1, 4_000))
turns = st.lists(st.builds(lambda s, k: Turn(s[0], s[0] + s[1], k), spans, st.integers(1, 5)), max_size=8)
words = st.lists(st.builds(lambda s, t: Word(s[0], s[0] + s[1], t), spans, st.sampled_from("abcde")), max_size=12)
events = st.lists(st.builds(lambda s: Event(s[0], s[0] + s[1], "Dog", "/m/0bt9lr"), spans), max_size=5)


@given(turns, words, words, events)
def test_any_scene_is_in_order_on_the_grid_and_loses_no_word(turns, first, second, events):
    first, second = sorted(first, key=lambda w: w.start_ms), sorted(second, key=lambda w: w.start_ms)
    scene = compose("c", 30_000, turns, first, second, events, "en")
    for things in (scene.turns, scene.events):
        assert [t.start_ms for t in things] == sorted(t.start_ms for t in things)
    for thing in (*scene.turns, *scene.words, *scene.events):
        assert 0 <= thing.start_ms < thing.end_ms <= 30_000
        assert thing.start_ms % GRID_MS == thing.end_ms % GRID_MS == 0
    assert [w.text for w in scene.words] == [w.text for w in first]
    claimed = sum(w.speaker is not None for w in scene.words)
    assert sum(len(t.text.split()) for t in scene.turns) == claimed
    seen = [t.speaker for t in scene.turns]
    assert sorted(set(seen)) == list(range(1, len(set(seen)) + 1))
    assert [seen.index(k) for k in sorted(set(seen))] == sorted(seen.index(k) for k in set(seen))
