"""Who said which word, in whose turn, and what two hearings disagree about."""

from hypothesis import example, given
from hypothesis import strategies as st

from paqa.config.recipe import QuestionsConfig
from paqa.perception.fusion import (
    GRID_MS,
    Predictions,
    align,
    assign_speakers,
    fuse,
    number_speakers,
    number_speakers_alike,
    sentence_turns,
    snap,
    words_by_turn,
)
from paqa.questions.generate import generate
from paqa.spans import interval, overlap
from paqa.types import Disagreement, Event, Turn, Word


def word(start, end, text, speaker=None):
    return Word(start, end, text, speaker)


def fused(duration_ms, turns, words, second_words, events, language, **further):
    """The scene of a clip about which engines predicted this."""
    predictions = Predictions(turns, words, events, language, second_words, **further)
    return fuse("c", duration_ms, predictions)


def test_speakers_are_numbered_by_first_appearance():
    turns = number_speakers([Turn(500, 900, 1), Turn(0, 400, 7), Turn(1000, 1200, 7)])
    assert [t.speaker for t in turns] == [1, 2, 1]


def test_words_go_to_the_turn_that_covers_most_of_them():
    turns = [Turn(0, 1000, 1), Turn(1000, 2000, 2)]
    assigned = assign_speakers(
        [word(0, 400, "a"), word(900, 1300, "b"), word(2100, 2300, "c"), word(9000, 9100, "d")], turns
    )
    assert [w.speaker for w in assigned] == [1, 2, 2, None]


def test_where_turns_overlap_the_speaker_goes_on():
    turns = [Turn(0, 2000, 1), Turn(1000, 3000, 2)]
    assigned = assign_speakers([word(500, 900, "a"), word(1200, 1500, "b"), word(2200, 2500, "c")], turns)
    assert [w.speaker for w in assigned] == [1, 1, 2]


def test_between_two_that_cover_a_word_alike_whoever_spoke_last_goes_on():
    turns = [Turn(0, 1500, 1), Turn(1000, 3000, 2)]
    assigned = assign_speakers([word(1400, 1900, "a"), word(1400, 1500, "b")], turns)
    assert [w.speaker for w in assigned] == [2, 2]


def test_between_two_that_are_as_near_to_a_word_whoever_spoke_last_goes_on():
    turns = [Turn(0, 500, 2), Turn(600, 1000, 1), Turn(1400, 2000, 2)]
    assigned = assign_speakers([word(0, 400, "a"), word(1150, 1250, "b")], turns)
    assert [w.speaker for w in assigned] == [2, 2]


def test_turns_hold_their_words_in_order():
    turns = [Turn(0, 1000, 1), Turn(1000, 2000, 2), Turn(2000, 3000, 1)]
    words = assign_speakers(
        [word(0, 300, "so"), word(400, 800, "yes"), word(1100, 1200, "no"), word(2100, 2500, "why")], turns
    )
    assert [[w.text for w in turn_words] for turn_words in words_by_turn(turns, words)] == [
        ["so", "yes"],
        ["no"],
        ["why"],
    ]


def test_a_long_turn_becomes_its_sentences():
    texts = ["I", "am", "here.", "Yes.", "Where", "are", "you", "now?", "Over", "there."]
    words = [word(i * 500, i * 500 + 400, text) for i, text in enumerate(texts)]
    sentences = sentence_turns(Turn(0, 5000, 2), words)
    assert [t.text for t in sentences] == ["I am here.", "Yes. Where are you now? Over there."]
    assert [(t.start_ms, t.end_ms) for t in sentences] == [(0, 1500), (1500, 5000)]


def test_a_pause_between_sentences_belongs_to_nobody():
    words = [
        word(0, 100, "I"),
        word(100, 200, "am"),
        word(200, 300, "here."),
        *(word(2000 + i, 2400, "you") for i in range(3)),
    ]
    assert [(t.start_ms, t.end_ms) for t in sentence_turns(Turn(0, 3000, 1), words)] == [
        (0, 300),
        (2000, 3000),
    ]


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
    turns, words = (
        [Turn(0, 500, 3), Turn(600, 900, 4), Turn(1000, 1400, 5)],
        [word(0, 300, "a"), word(9000, 9500, "z")],
    )
    scene = fused(20_000, turns, [*words, word(1000, 1300, "b")], None, [], "en")
    assert [(t.speaker, t.text) for t in scene.turns] == [(1, "a"), (2, "b")]
    assert {(d.start_ms, d.first, d.second) for d in scene.disagreements} == {
        (600, "somebody speaks", "no words"),
        (9000, "nobody speaks", "z"),
    }


def test_where_turns_overlap_the_exclusive_ones_say_whose_a_word_is():
    turns = [Turn(0, 4000, 1), Turn(1000, 3000, 2)]
    exclusive = [Turn(0, 1500, 1), Turn(1500, 3000, 2), Turn(3000, 4000, 1)]
    words = [word(100, 400, "so"), word(1600, 1900, "yes"), word(3100, 3500, "then")]
    without_exclusive = fused(5000, turns, words, None, [], "en")
    assert [(t.speaker, t.text) for t in without_exclusive.turns] == [(1, "so yes then")]
    scene = fused(5000, turns, words, None, [], "en", exclusive=exclusive)
    assert [(t.start_ms, t.end_ms, t.speaker, t.text) for t in scene.turns] == [
        (0, 4000, 1, "so then"),
        (1000, 3000, 2, "yes"),
    ]


def test_a_voice_that_others_drown_stays_a_turn_without_words():
    turns = [Turn(0, 4000, 1), Turn(1000, 2000, 2), Turn(5000, 6000, 2), Turn(7000, 8000, 2)]
    exclusive = [Turn(0, 4000, 1), Turn(5000, 6000, 2), Turn(7000, 8000, 2)]
    words = [word(100, 400, "so"), word(1600, 1900, "yes"), word(5100, 5500, "then")]
    scene = fused(9000, turns, words, None, [], "en", exclusive=exclusive)
    assert [(t.start_ms, t.speaker, t.text) for t in scene.turns] == [
        (0, 1, "so yes"),
        (1000, 2, ""),
        (5000, 2, "then"),
    ]
    assert [(d.start_ms, d.second) for d in scene.disagreements] == [
        (7000, "no words")
    ]  # nobody talks over this one
    unknown = fused(9000, turns[:2], words[:2], None, [], "en", exclusive=exclusive[:1])
    assert [t.speaker for t in unknown.turns] == [1]  # of this voice nobody has understood a word


def test_speakers_keep_one_number_in_both_lists():
    turns, exclusive = number_speakers_alike(
        [Turn(500, 900, 4), Turn(0, 700, 9)], [Turn(700, 900, 4), Turn(0, 700, 9)]
    )
    assert [t.speaker for t in turns] == [t.speaker for t in exclusive] == [1, 2]
    turns, _ = number_speakers_alike([Turn(500, 900, 4)], [Turn(0, 400, 7), Turn(500, 900, 4)])
    assert [(t.start_ms, t.speaker) for t in turns] == [(0, 1), (500, 2)]


def test_doubts_of_the_transcriber_become_disagreements():
    doubt = Disagreement("transcribe", 300, 700, "Thank you for watching.", "left out: no speech")
    scene = fused(5000, [Turn(0, 400, 1)], [word(0, 300, "a")], None, [], "en", doubts=[doubt])
    assert scene.disagreements == (doubt,)


def test_sentences_of_overlapping_turns_are_in_order_of_start():
    texts = ["I", "am", "here", "now.", "Where", "are", "you", "then?"]
    words = [word(i * 1000, i * 1000 + 800, text) for i, text in enumerate(texts)]
    other = word(2500, 2900, "what")
    turns, exclusive = [Turn(0, 8000, 1), Turn(2500, 2900, 2)], [Turn(0, 2500, 1), Turn(2500, 2900, 2)]
    exclusive.append(Turn(2900, 8000, 1))
    scene = fused(9000, turns, [*words[:3], other, *words[3:]], None, [], "en", exclusive=exclusive)
    assert [(t.start_ms, t.speaker) for t in scene.turns] == [(0, 1), (2500, 2), (4000, 1)]


spans = st.tuples(st.integers(0, 30_000), st.integers(1, 4_000))
turns = st.lists(st.builds(lambda s, k: Turn(s[0], s[0] + s[1], k), spans, st.integers(1, 5)), max_size=8)
words = st.lists(
    st.builds(lambda s, t: Word(s[0], s[0] + s[1], t), spans, st.sampled_from("abcde")), max_size=12
)
events = st.lists(st.builds(lambda s: Event(s[0], s[0] + s[1], "Dog", "/m/0bt9lr"), spans), max_size=5)


@given(turns, words, words, events)
def test_any_scene_is_in_order_on_the_grid_and_loses_no_word(turns, first, second, events):
    first, second = sorted(first, key=lambda w: w.start_ms), sorted(second, key=lambda w: w.start_ms)
    scene = fused(30_000, turns, first, second, events, "en")
    for spans in (scene.turns, scene.events):
        assert [t.start_ms for t in spans] == sorted(t.start_ms for t in spans)
    for span in (*scene.turns, *scene.words, *scene.events):
        assert 0 <= span.start_ms < span.end_ms <= 30_000
        assert span.start_ms % GRID_MS == span.end_ms % GRID_MS == 0
    assert [w.text for w in scene.words] == [w.text for w in first]
    claimed = sum(w.speaker is not None for w in scene.words)
    assert sum(len(t.text.split()) for t in scene.turns) == claimed
    seen = [t.speaker for t in scene.turns]
    assert sorted(set(seen)) == list(range(1, len(set(seen)) + 1))
    assert [seen.index(k) for k in sorted(set(seen))] == sorted(seen.index(k) for k in set(seen))


@given(turns, turns, words)
@example(
    [],
    [Turn(0, 1, 2), Turn(1435, 1436, 1), Turn(1435, 1436, 2)],
    [Word(0, 1, "a"), Word(715, 716, "a"), Word(726, 727, "a")],
)
def test_with_any_exclusive_turns_no_word_and_no_speaker_is_lost(turns, exclusive, words):
    words = sorted(words, key=lambda w: w.start_ms)
    scene = fused(30_000, turns, words, None, [], "en", exclusive=exclusive)
    assert [w.text for w in scene.words] == [w.text for w in words]
    claimed = [w for w in scene.words if w.speaker is not None]
    assert sum(len(t.text.split()) for t in scene.turns) == len(claimed)
    assert {w.speaker for w in claimed} == {t.speaker for t in scene.turns}
    snapped_words = [snap(w, 30_000) for w in words]  # as scenes hold them
    snapped_turns = [snap(t, 30_000) for t in (*turns, *exclusive)]
    near = [w for w in snapped_words if any(overlap(interval(w), interval(t)) for t in snapped_turns)]
    assert len(claimed) >= len(near)
    seen = [t.speaker for t in scene.turns]
    assert list(dict.fromkeys(seen)) == list(range(1, len(set(seen)) + 1))
    assert [t.start_ms for t in scene.turns] == sorted(t.start_ms for t in scene.turns)


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(20, 3000), st.integers(1, 4)), max_size=9),
    words,
    words,
)
def test_exclusive_turns_that_are_the_turns_change_nothing(steps, first, second):
    at, turns = 0, []
    for pause, length, speaker in steps:
        turns.append(Turn(at + pause, at + pause + length, speaker))
        at += pause + length
    first, second = sorted(first, key=lambda w: w.start_ms), sorted(second, key=lambda w: w.start_ms)
    without_exclusive = fused(40_000, turns, first, second, [], "en")
    assert fused(40_000, turns, first, second, [], "en", exclusive=turns[::-1]) == without_exclusive


def test_a_drowned_voice_is_heard_to_overlap():
    turns = [Turn(0, 4000, 1), Turn(1000, 2000, 2), Turn(5000, 6000, 2)]
    exclusive = [turns[0], turns[2]]
    words = [
        word(i * 500, i * 500 + 400, text) for i, text in enumerate(["so", "it", "goes", "on", "and", "on"])
    ]
    words += [word(5100 + i * 200, 5250 + i * 200, text) for i, text in enumerate(["yes", "it", "does"])]
    answers = []
    for given_turns in (exclusive, ()):
        scene = fused(7000, turns, words, None, [], "en", exclusive=given_turns)
        asked = [q for seed in range(8) for q in generate(scene, QuestionsConfig(per_clip=99), seed)]
        answers.append({q.answer[:3] for q in asked if q.template == "two_at_once"})
    assert answers[0] == {"Yes"}
    assert answers[1] <= {"No,"}  # the turn without words is none, so nobody is heard at once


def test_times_are_brought_onto_the_grid_and_into_the_clip():
    snapped = {
        at: snap(Turn(*at, 1), 1004)
        for at in ((14, 26), (16, 17), (-5, 400), (990, 1004), (2000, 3000), (0, 0))
    }
    assert {at: (t.start_ms, t.end_ms) for at, t in snapped.items()} == {
        (14, 26): (10, 30),
        (16, 17): (20, 30),  # at least one step long
        (-5, 400): (0, 400),
        (990, 1004): (990, 1000),  # the last whole step
        (2000, 3000): (990, 1000),
        (0, 0): (0, 10),
    }


def test_a_word_near_a_turn_belongs_to_it_and_one_far_away_to_nobody():
    turns = [Turn(1000, 2000, 1), Turn(4000, 5000, 2)]
    near = [(100, 300), (100, 290), (2700, 2800), (2710, 2800), (2900, 3310), (5700, 5900), (5710, 5900)]
    assigned = assign_speakers([word(*at, "a") for at in near], turns)
    assert [w.speaker for w in assigned] == [1, None, 1, None, 2, 2, None]


def test_of_two_turns_as_near_the_speaker_before_goes_on():
    turns = [Turn(0, 1000, 1), Turn(2000, 3000, 2)]
    assert [w.speaker for w in assign_speakers([word(1400, 1600, "a")], turns)] == [1]
    assert [w.speaker for w in assign_speakers([word(2000, 2100, "a"), word(1400, 1600, "b")], turns)] == [
        2,
        2,
    ]
    assert [w.speaker for w in assign_speakers([word(1500, 1600, "a")], turns)] == [2]


def test_a_word_between_two_turns_of_its_speaker_goes_to_the_nearer():
    turns = [Turn(0, 1000, 1), Turn(2000, 3000, 1)]
    words = [
        word(1100, 1200, "a", 1),
        word(1700, 1800, "b", 1),
        word(900, 1100, "c", 1),
        word(5000, 5100, "d", 2),
    ]
    assert [[w.text for w in turn_words] for turn_words in words_by_turn(turns, words)] == [["a", "c"], ["b"]]


def sentence(*starts):
    """Words of 100 ms, each third one with a full stop."""
    return [word(at, at + 100, "so." if i % 3 == 2 else "so") for i, at in enumerate(starts)]


def test_a_short_pause_between_sentences_belongs_to_the_first():
    for second, end in ((690, 690), (700, 300), (710, 300)):
        sentences = sentence_turns(
            Turn(0, 2000, 1), sentence(0, 100, 200, second, second + 100, second + 200)
        )
        assert [(t.start_ms, t.end_ms) for t in sentences] == [(0, end), (second, 2000)]


def test_short_sentences_stay_with_their_neighbours():
    words = [
        word(i * 100, i * 100 + 100, text) for i, text in enumerate(["No.", "It", "is", "so.", "Is", "it?"])
    ]
    assert [t.text for t in sentence_turns(Turn(0, 700, 1), words)] == ["No. It is so. Is it?"]
    words += [word(600, 700, "Yes.")]
    assert [t.text for t in sentence_turns(Turn(0, 800, 1), words)] == ["No. It is so.", "Is it? Yes."]


def test_a_turn_begins_with_its_first_sentence_and_ends_with_its_last():
    """Words may reach over a turn's edges; its lines do not."""
    sentences = sentence_turns(Turn(50, 2200, 1), sentence(0, 100, 200, 1000, 1100, 2150))
    assert [(t.start_ms, t.end_ms) for t in sentences] == [(50, 300), (1000, 2200)]


def test_long_transcripts_are_aligned_word_by_word():
    """More than 200 words, all of them frequent, as in any talk."""
    texts = [("yes", "no", "so")[i * i % 3] for i in range(400)]
    first = [word(i * 100, i * 100 + 90, text) for i, text in enumerate(texts)]
    second = [word(i * 100 + 10, i * 100 + 80, text) for i, text in enumerate(texts)]
    words, differ = align(first, [*second[:200], *second[201:]])
    assert len(differ) == 1
    assert sum(w.start_ms % 100 == 10 for w in words) == 399


def test_aligned_words_never_go_back():
    first = [word(0, 100, "a"), word(100, 200, "b"), word(200, 300, "c")]
    words, _ = align(first, [word(500, 600, "a"), word(900, 950, "c")])
    assert [(w.text, w.start_ms, w.end_ms) for w in words] == [
        ("a", 500, 600),
        ("b", 500, 500),
        ("c", 900, 950),
    ]


def test_hearings_that_differ_say_when_and_how():
    first = [word(0, 100, "a"), word(200, 300, "b"), word(350, 400, "c")]
    second = [word(0, 100, "a"), word(150, 290, "x"), word(310, 420, "y")]
    scene = fused(1000, [Turn(0, 500, 1)], first, second, [], "en")
    assert scene.disagreements == (Disagreement("transcribe", 150, 420, "b c", "x y"),)


def test_everything_in_a_scene_is_in_order():
    events = [
        Event(100, 900, "Dog", "/m/0bt9lr"),
        Event(100, 900, "Cat", "/m/01yrx"),
        Event(100, 300, "Dog", "/m/0bt9lr"),
    ]
    words = [word(8000, 8100, "far"), word(9000, 9100, "away")]
    scene = fused(10_000, [Turn(500, 900, 1), Turn(0, 400, 2)], words, None, events, None)
    assert [(e.end_ms, e.label) for e in scene.events] == [(300, "Dog"), (900, "Cat"), (900, "Dog")]
    assert [(d.start_ms, d.second) for d in scene.disagreements] == [
        (0, "no words"),
        (500, "no words"),
        (8000, "far"),
        (9000, "away"),
    ]


def test_a_voice_is_drowned_where_others_talk_over_more_than_half_of_it():
    words = [word(i * 200, i * 200 + 150, "so") for i in range(10)]
    words += [word(5100 + i * 200, 5250 + i * 200, "yes") for i in range(4)]
    for end, kept in ((2200, True), (2500, False)):  # the other voice ends at 2000
        turns = [Turn(0, 2000, 1), Turn(1500, end, 2), Turn(5000, 6000, 2)]
        scene = fused(7000, turns, words, None, [], "en", exclusive=[turns[0], turns[2]])
        assert (1500 in [t.start_ms for t in scene.turns]) == kept


def test_no_line_is_empty_of_time():
    """Words that lie behind the turn's end: its sentences stay one line."""
    sentences = sentence_turns(Turn(0, 1000, 1), sentence(0, 100, 200, 1000, 1100, 1200))
    assert [(t.start_ms, t.end_ms, t.text) for t in sentences] == [(0, 1000, "so so so. so so so.")]
