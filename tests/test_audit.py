"""Every metric against a case worked out by hand, an independent computation, or a property that must
hold.
"""

import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paqa.errors import PaqaError
from paqa.evaluation import audit, audit_report, bootstrap, metrics, plots, tables
from paqa.evaluation.audit import Pair, measure
from paqa.evaluation.metrics import Hits, WordErrors, f1, si_sdr
from paqa.types import Event, Scene, Tag, Turn, Word

# pyannote.audio's sample.rttm, in ms: an American English telephone call
SAMPLE = [
    (6690, 430, 1), (7550, 800, 2), (8320, 1700, 1), (9920, 1110, 2), (10570, 4130, 1),
    (14490, 3430, 2), (18050, 3440, 1), (18150, 440, 2), (21780, 6720, 2), (27850, 2150, 1),
]  # fmt: skip
BARK, DOG, ANIMAL, BELL = "/m/05tny_", "/m/0bt9lr", "/m/0jbk", "/m/0395lw"
FAMILY = {BARK, DOG, ANIMAL}


def related(a: str, b: str) -> bool:
    return a == b or {a, b} <= FAMILY


def scene(turns=(), words=(), events=(), ms=10_000, **more) -> Scene:
    """Turns `(start, end, speaker, text?)`, words as one string or `(text, speaker)`, events `(start, end,
    mid)`.
    """
    if isinstance(words, str):
        words = [(text, None) for text in words.split()]
    return Scene(
        "c",
        ms,
        tuple(Turn(*turn) for turn in turns),
        tuple(Word(100 * i, 100 * i + 90, text, speaker) for i, (text, speaker) in enumerate(words)),
        tuple(Event(start, end, mid, mid) for start, end, mid in events),
        **more,
    )


def shifted(rows, by_ms: int) -> Scene:
    return scene(
        [(start + by_ms, start + length + by_ms, speaker) for start, length, speaker in rows], ms=35_000
    )


def pair(truth: Scene, heard: Scene, **more) -> Pair:
    return Pair(truth.clip_id, "test", truth, heard, **more)


def der_by_hand(truth: Scene, heard: Scene, collar_ms: int, step: int) -> tuple[float, float, float, float]:
    """Total, missed, false alarm, confusion in seconds, on a grid of `step` ms, over all speaker
    assignments.
    """
    scored = [
        t
        for t in range(0, truth.duration_ms, step)
        if not any(
            -collar_ms <= t - edge < collar_ms
            for turn in truth.turns
            for edge in (turn.start_ms, turn.end_ms)
        )
    ]

    def active(turns, t):
        return {turn.speaker for turn in turns if turn.start_ms <= t < turn.end_ms}

    cells = [(active(truth.turns, t), active(heard.turns, t)) for t in scored]
    names = sorted({s for _, h in cells for s in h})
    targets = [*sorted({s for r, _ in cells for s in r}), *(f"nobody{i}" for i in names)]
    right = max(
        sum(len(r & {mapping[s] for s in h}) for r, h in cells)
        for order in permutations(targets, len(names))
        for mapping in [dict(zip(names, order, strict=True))]
    )
    total = sum(len(r) for r, _ in cells)
    missed = sum(max(0, len(r) - len(h)) for r, h in cells)
    false_alarm = sum(max(0, len(h) - len(r)) for r, h in cells)
    confusion = sum(min(len(r), len(h)) for r, h in cells) - right
    return tuple(x * step / 1000 for x in (total, missed, false_alarm, confusion))


def parts(c: metrics.Diarized) -> tuple[float, float, float, float]:
    return c.speech, c.missed, c.false_alarm, c.confusion


# --- DER


def test_der_parts_by_hand():
    truth = scene([(0, 4000, 1), (5000, 9000, 2)])
    heard = scene(
        [(0, 3000, 7), (5000, 8000, 8), (8000, 9500, 7)]
    )  # 1 s missed, 1 s confused, 0.5 s too much
    assert parts(metrics.diarized(truth, heard, 0)) == pytest.approx((8, 1, 0.5, 1))
    figures = measure([pair(truth, heard)], related).overall.diarization_no_collar
    assert (figures.der, figures.missed) == (pytest.approx(2.5 / 8), pytest.approx(1 / 8))
    # collar: 1 s of scored speech goes at each end of 2 turns but 0 (outside), heard 0.25 s shorter at inner
    # edges
    assert parts(metrics.diarized(truth, heard)) == pytest.approx((7, 0.75, 0.25, 0.75))


def test_the_collar_is_250_ms_on_each_side():
    truth = shifted(SAMPLE, 0)
    for shift in (-250, 250):
        assert parts(metrics.diarized(truth, shifted(SAMPLE, shift)))[1:] == pytest.approx(
            (0, 0, 0), abs=1e-6
        )
    for shift in (-300, 300):
        assert sum(parts(metrics.diarized(truth, shifted(SAMPLE, shift)))[1:]) > 0.1


@pytest.mark.parametrize(
    ("shift", "collar"), [(0, 0), (100, 0), (-300, 0), (1000, 0), (500, 250), (-1000, 250)]
)
def test_der_of_the_shifted_sample(shift, collar):
    truth, heard = shifted(SAMPLE, 0), shifted(SAMPLE, shift)
    components = parts(metrics.diarized(truth, heard, collar))
    assert components == pytest.approx(der_by_hand(truth, heard, collar, 10), abs=1e-6)
    if not collar:
        assert components[0] == pytest.approx(24.35)
    if not shift:
        assert components[1:] == pytest.approx((0, 0, 0), abs=1e-9)


def test_der_counts_overlap_and_does_not_count_one_speaker_twice():
    both = scene([(0, 2000, 1), (0, 2000, 2)])
    single = scene([(0, 1500, 1), (1000, 2000, 1)])
    assert parts(metrics.diarized(both, single, 0)) == pytest.approx((4, 2, 0, 0))
    assert parts(metrics.diarized(single, both, 0)) == pytest.approx((2, 0, 2, 0))


def test_der_is_over_the_whole_clip_and_no_more():
    c = metrics.diarized(scene([(0, 5000, 1)]), scene([(0, 5000, 1), (8000, 12_000, 2)]), 0)
    assert parts(c) == pytest.approx((5, 0, 2, 0))
    c = metrics.diarized(scene(), scene([(0, 1000, 1)]), 0)
    assert parts(c) == pytest.approx((0, 0, 1, 0))
    pairs = [pair(scene(), scene([(0, 1000, 1)])), pair(scene([(0, 4000, 1)]), scene([(0, 4000, 3)]))]
    assert measure(pairs, related).overall.diarization_no_collar.der == pytest.approx(0.25)
    assert measure(pairs[:1], related).overall.diarization_no_collar.der is None


TURNS = st.lists(
    st.tuples(st.integers(0, 18), st.integers(1, 6), st.integers(1, 3)).map(
        lambda t: (t[0] * 250, (t[0] + t[1]) * 250, t[2])
    ),
    max_size=5,
)


@given(TURNS, TURNS, st.sampled_from([0, 250]))
@settings(max_examples=40, deadline=None)
def test_der_agrees_with_a_grid(a, b, collar):
    # touching turns of one speaker are one turn to us: write them so for the grid too
    truth = scene(merged(a), ms=6000)
    heard = scene(b, ms=6000)
    components = parts(metrics.diarized(truth, heard, collar))
    assert components == pytest.approx(der_by_hand(truth, heard, collar, 250), abs=1e-6)


def merged(turns):
    from paqa import spans

    return [(*s, n) for n in {t[2] for t in turns} for s in spans.merge(t[:2] for t in turns if t[2] == n)]


# --- speakers


def test_speaker_count():
    one, two = scene([(0, 1000, 1)]), scene([(0, 1000, 1), (1000, 2000, 2)])
    pairs = [
        pair(one, one),
        pair(two, one),
        pair(two, one),
        pair(two, two),
        pair(two, two, turns_known=False),
    ]
    speakers = measure(pairs, related).overall.speakers
    assert (speakers.clips, speakers.accuracy) == (4, 0.5)
    assert [(c.truth, c.heard, c.clips) for c in speakers.table] == [(1, 1, 1), (2, 1, 2), (2, 2, 1)]


# --- words


@pytest.mark.parametrize(
    ("said", "heard", "expected"),
    [
        ("uh, I don't know Mr. Smith!", "i do not know mister smith", WordErrors(6, 0, 0, 0)),
        ("the cat sat on the mat", "the cat sit on mat", WordErrors(6, 1, 1, 0)),
        ("the cat sat", "the big cat sat", WordErrors(3, 0, 0, 1)),
        ("colour of twenty five", "color of 25", WordErrors(3, 0, 0, 0)),
        ("hello", "", WordErrors(1, 0, 1, 0)),
    ],
)
def test_wer_by_hand(said, heard, expected):
    assert metrics.word_errors(scene([(0, 900, 1, said)]), scene(words=heard)) == expected


def test_wer_takes_turns_and_words_in_order_of_start():
    truth = scene([(5000, 6000, 2, "and you"), (0, 900, 1, "I am fine")])
    heard = Scene("c", 9000, words=(Word(900, 990, "you"), Word(0, 500, "I'm fine"), Word(500, 900, "and")))
    assert metrics.word_errors(truth, heard) == WordErrors(5, 0, 0, 0)


def test_wer_of_another_language_is_not_normalised_as_english():
    french = scene([(0, 900, 1, "Où est l'œuf ?")], language="fr")
    assert metrics.word_errors(french, scene(words="où est l œuf")).deletions == 0
    assert metrics.word_errors(scene([(0, 9, 1, "um")], language="de"), scene(words="um")) == WordErrors(
        1, 0, 0, 0
    )
    assert metrics.word_errors(scene([(0, 9, 1, "um a")], language="en-GB"), scene(words="a")) == WordErrors(
        1, 0, 0, 0
    )


def test_wer_only_where_all_turns_have_text_and_pooled_over_words():
    pairs = [
        pair(scene([(0, 900, 1, "a b c d")]), scene(words="a b c d")),
        pair(scene([(0, 900, 1, "x y")]), scene(words="x z q")),  # 2 errors
        pair(scene([(0, 900, 1, "x y"), (1000, 2000, 2, "")]), scene(words="nothing right here")),
        pair(scene([(0, 900, 1, "x y")]), scene([(0, 900, 1)], [("x", 1), ("y", 1)]), turns_known=False),
    ]
    words = measure(pairs, related).overall.transcription
    assert (words.clips, words.words, words.cp_clips) == (3, 8, 2)
    assert (words.wer, words.substitutions, words.insertions, words.deletions) == (2 / 8, 1 / 8, 1 / 8, 0)


def test_words_invented_where_nobody_speaks():
    pairs = [
        pair(scene(ms=30_000), scene(words="thanks for watching", ms=30_000)),
        pair(scene(ms=30_000), scene()),
    ]
    invented = measure(pairs, related).overall.invented
    assert (invented.clips, invented.minutes, invented.words_per_minute) == (2, 1.0, 3.0)
    assert measure(pairs, related).overall.transcription.wer is None


def test_cpwer_by_hand():
    truth = scene([(0, 900, 1, "a b"), (900, 1800, 2, "c d e")])
    swapped = scene(words=[("c", 1), ("d", 1), ("e", 1), ("a", 2), ("b", 2)])
    assert metrics.word_errors_by_speaker(truth, swapped) == WordErrors(5, 0, 0, 0)
    one_voice = scene(
        words=[(w, 1) for w in "abcde"]
    )  # best partner is speaker 2: a, b inserted there, missing at 1
    assert metrics.word_errors_by_speaker(truth, one_voice) == WordErrors(5, 0, 2, 2)
    unowned = scene(words=[("a", 1), ("b", 1), ("c", None), ("d", 2), ("e", 2)])
    assert metrics.word_errors_by_speaker(truth, unowned) == WordErrors(5, 0, 1, 1)


SPOKEN = st.lists(st.tuples(st.integers(1, 3), st.sampled_from("bcdf")), min_size=1, max_size=8)


@given(SPOKEN, SPOKEN)
@settings(max_examples=40, deadline=None)
def test_cpwer_agrees_with_meeteval(said, heard):
    wer = pytest.importorskip("meeteval.wer")

    def rows(spoken):
        return {str(n): " ".join(w for s, w in spoken if s == n) for n, _ in spoken}

    truth = scene([(100 * i, 100 * i + 90, s, w) for i, (s, w) in enumerate(said)])
    errors = metrics.word_errors_by_speaker(truth, scene(words=[(w, s) for s, w in heard]))
    expected = wer.cp_word_error_rate(rows(said), rows(heard))
    assert (errors.words, errors.substitutions + errors.deletions + errors.insertions) == (
        expected.length,
        expected.errors,
    )


# --- events


def test_segment_f1_by_hand():
    truth = scene(events=[(0, 2500, BARK), (6000, 7000, BELL)])  # BARK in 0 1 2, BELL in 6
    heard = scene(events=[(1500, 3001, BARK), (2900, 3900, BELL)])  # BARK in 1 2 3, BELL in 2 3
    hits = metrics.segment_hits(truth, heard)
    assert hits == Hits(2, 4, 2, 5)
    assert f1(hits) == pytest.approx(4 / 9)


def test_segments_end_with_the_clip():
    truth, heard = scene(events=[(0, 2500, BARK)], ms=2500), scene(events=[(0, 9000, BARK)], ms=2500)
    assert metrics.segment_hits(truth, heard) == Hits(3, 3, 3, 3)


@pytest.mark.parametrize(
    ("heard", "found"),
    [
        ((1200, 2000, BARK), 1),  # onset at the collar
        ((1201, 2000, BARK), 0),
        ((1000, 2200, BARK), 1),  # offset within 200 ms
        ((1000, 2201, BARK), 0),
        ((1000, 2000, BELL), 0),
    ],
)
def test_event_f1_collars(heard, found):
    assert metrics.event_hits(scene(events=[(1000, 2000, BARK)]), scene(events=[heard])).found == found


def test_event_f1_offset_may_be_a_fifth_of_a_long_event():
    truth = scene(events=[(0, 5000, BARK)])
    assert metrics.event_hits(truth, scene(events=[(0, 6000, BARK)])).found == 1
    assert metrics.event_hits(truth, scene(events=[(0, 6001, BARK)])).found == 0


def test_events_match_one_to_one_and_as_many_as_possible():
    truth = scene(events=[(1000, 1500, BARK), (1150, 1650, BARK)])
    once = scene(events=[(1100, 1600, BARK)])
    assert metrics.event_hits(truth, once) == Hits(1, 2, 1, 1)
    # the nearest pair, 1150 with 1150, would leave 1000 and 1300 alone
    twice = scene(events=[(1150, 1650, BARK), (1300, 1700, BARK)])
    assert metrics.event_hits(truth, twice) == Hits(2, 2, 2, 2)


def test_clip_level_exact_and_related():
    truth = scene(events=[(0, 1000, BARK), (2000, 3000, BELL)])
    heard = scene(events=[(5000, 6000, DOG), (5000, 6000, ANIMAL), (0, 900, "/m/other")])
    assert metrics.class_hits(truth, heard) == Hits(0, 2, 0, 3)
    assert metrics.related_hits(truth, heard, related) == Hits(1, 2, 2, 3)
    assert f1(Hits(1, 2, 2, 3)) == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))


def test_clips_without_known_events_are_left_out():
    truth, heard = scene(events=[(0, 1000, BARK)]), scene(events=[(0, 1000, BELL)])
    overall = measure([pair(truth, truth), pair(truth, heard, events_known=False)], related).overall
    assert (overall.events.f1, overall.classes.clips, overall.ranking.clips) == (1.0, 1, 1)


def test_events_heard_where_nothing_sounds_cost_precision():
    truth = scene(events=[(0, 1000, BARK)])
    figures = measure([pair(truth, truth), pair(scene(), truth)], related).overall.classes
    assert (figures.precision, figures.recall, figures.f1) == (0.5, 1.0, pytest.approx(2 / 3))


EVENTS = st.lists(
    st.tuples(st.integers(0, 9000), st.integers(1, 3000), st.sampled_from([BARK, DOG, ANIMAL, BELL])).map(
        lambda e: (e[0], min(10_000, e[0] + e[1]), e[2])
    ),
    max_size=6,
)
HITS = [metrics.segment_hits, metrics.class_hits, lambda t, h: metrics.related_hits(t, h, related)]


@given(EVENTS, EVENTS)
@settings(max_examples=60, deadline=None)
def test_event_properties(a, b):
    truth, heard, nothing = scene(events=a), scene(events=b), scene()
    for hits in [*HITS, metrics.event_hits]:
        assert f1(hits(truth, truth)) == (1.0 if a else None)
        assert f1(hits(truth, nothing)) == (0.0 if a else None)
        value = f1(hits(truth, heard))
        assert value is None or 0 <= value <= 1
    for hits in HITS:  # event-based F1 is not symmetric: its offset collar depends on the truth
        assert f1(hits(truth, heard)) == pytest.approx(f1(hits(heard, truth)))
    exact, kin = f1(metrics.class_hits(truth, heard)), f1(metrics.related_hits(truth, heard, related))
    assert exact is None or kin >= exact - 1e-12


def test_map_by_hand():
    truths = [scene(events=[(0, 1, BARK)]), scene(events=[(0, 1, BARK), (0, 1, BELL)]), scene(), scene()]
    tags = [[Tag(BARK, 0.9)], [Tag(BARK, 0.3), Tag(BELL, 0.2)], [Tag(BARK, 0.5), Tag("/m/other", 1.0)], []]
    # BARK ranked yes, no, yes, no: (1/1 + 2/3) / 2; BELL first of its clips: 1
    mean_ap, classes = metrics.mean_average_precision(truths, tags)
    assert (mean_ap, classes) == (pytest.approx((5 / 6 + 1) / 2), 2)


def test_map_of_nothing_to_rank():
    everywhere = [scene(events=[(0, 1, BARK)])] * 2
    assert metrics.mean_average_precision(everywhere, [[], []]) == (None, 0)
    assert metrics.mean_average_precision([], []) == (None, 0)
    unseen = [scene(events=[(0, 1, BARK)]), scene(), scene(), scene()]
    assert metrics.mean_average_precision(unseen, [[]] * 4) == (
        pytest.approx(0.25),
        1,
    )  # all tied: the base rate


# --- SI-SDR


def test_si_sdr_analytic():
    t = np.arange(16_000) / 16_000
    speech, noise = (
        np.sin(2 * np.pi * 440 * t),
        np.sin(2 * np.pi * 1000 * t),
    )  # orthogonal over a whole second
    for gain in (1.0, 0.1, 0.01):
        assert si_sdr(speech, speech + gain * noise) == pytest.approx(-20 * math.log10(gain), abs=1e-6)
    assert si_sdr(speech, -3.0 * (speech + 0.1 * noise) + 0.5) == pytest.approx(20, abs=1e-6)


def test_si_sdr_limits():
    speech = np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32)
    assert si_sdr(speech, 0.5 * speech) == 100
    assert si_sdr(speech, np.zeros_like(speech)) == -100
    assert si_sdr(speech, np.full_like(speech, 0.1)) == -100
    assert si_sdr(speech, np.concatenate([speech, speech])) == 100
    for silent in (np.zeros(8000), np.full(8000, 0.1)):
        with pytest.raises(PaqaError, match="silent"):
            si_sdr(silent, speech)
    with pytest.raises(PaqaError, match="7999 samples against 8000"):
        si_sdr(speech, speech[:, 1:])


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-1, 1))
@settings(max_examples=40, deadline=None)
def test_si_sdr_ignores_scale_and_offset(seed, scale, offset):
    rng = np.random.default_rng(seed)
    speech, estimate = rng.standard_normal(500), rng.standard_normal(500)
    assert si_sdr(speech, scale * estimate + offset) == pytest.approx(si_sdr(speech, estimate), abs=1e-6)
    assert si_sdr(scale * speech + offset, estimate) == pytest.approx(si_sdr(speech, estimate), abs=1e-6)


def test_separation_is_of_clips_with_speech_and_background():
    mixed = scene([(0, 900, 1, "a")], snr_db=5.0)
    pairs = [pair(mixed, mixed, si_sdr_mix=5.0, si_sdr_speech=speech) for speech in (8.0, 9.0, 16.0)]
    pairs += [
        pair(scene([(0, 900, 1, "a")]), mixed, si_sdr_mix=100.0, si_sdr_speech=20.0),
        pair(mixed, mixed),
    ]
    s = measure(pairs, related).overall.separation
    assert (s.clips, s.mix_db, s.speech_db) == (3, 5.0, 11.0)
    assert (s.improvement_mean_db, s.improvement_median_db) == (6.0, 4.0)


# --- slices, table


@pytest.mark.parametrize(
    ("snr", "name"),
    [
        (-3.0, "SNR below 0 dB"), (-0.02, "SNR 0-5 dB"), (4.9, "SNR 0-5 dB"), (5.0, "SNR 5-10 dB"),
        (10.0, "SNR 10-20 dB"), (20.0, "SNR 10-20 dB"), (20.2, "SNR above 20 dB"),
    ],
)  # fmt: skip
def test_snr_bands(snr, name):
    assert audit.background(pair(scene(snr_db=snr), scene())) == name


def test_background_without_an_snr():
    speech, sound = scene([(0, 900, 1)]), scene(events=[(0, 900, BARK)])
    assert audit.background(pair(speech, speech)) == "no background"
    assert audit.background(pair(speech, speech, events_known=False)) == "background unknown"
    assert audit.background(pair(sound, sound)) == "no speech"


def corpus(n: int) -> list[Pair]:
    """Clips of 30 s, half of them mixed, with a few errors that depend on the number of the clip only."""
    pairs = []
    for i in range(n):
        rng = np.random.default_rng(i)
        texts = [
            " ".join(rng.choice(["the", "uh", "boat", "twenty", "won't", "sees", "Mr."], 12))
            for _ in range(6)
        ]
        turns = [(4000 * k, 4000 * k + 3500, k % (1 + i % 3) + 1, text) for k, text in enumerate(texts)]
        heard_turns = [(a + 120, b + 300, 1 + (s - 1) % 2) for a, b, s, _ in turns]
        words = [(w, s) for _, _, s, text in turns for w in text.split() if rng.random() > 0.1]
        mid = f"/m/{i % 20}"
        sounds = [(1000, 3000, mid), (9000, 12_000, BARK)] if i % 2 else []
        heard_sounds = [(1100, 3100, mid), (8000, 12_000, DOG)] if i % 2 else []
        mixed = {"snr_db": float(i % 18), "language": "en"} if i % 2 else {}
        pairs.append(
            pair(
                scene(turns, (), sounds, 30_000, **mixed),
                scene(heard_turns, words, heard_sounds, 30_000),
                tags=tuple(Tag(f"/m/{k}", float(rng.random())) for k in range(60)),
                group="dialogue" if i % 2 else "call",
                si_sdr_mix=float(i % 18) if i % 2 else None,
                si_sdr_speech=float(i % 18 + 5) if i % 2 else None,
            )
        )
    return pairs


def test_slices_partition_the_clips():
    report = measure([*corpus(12), pair(scene(), scene(), turns_known=False)], related)
    assert [s.name for s in report.slices if s.by in ("all", "group")] == ["all", "call", "dialogue"]
    assert report.overall.clips == sum(s.clips for s in report.slices if s.by == "background") == 13
    speakers = [s for s in report.slices if s.by == "speakers"]
    assert [(s.name, s.clips) for s in speakers] == [("1 speaker", 4), ("2 speakers", 4), ("3 speakers", 4)]
    alone = measure([p for p in corpus(12) if p.group == "call"], related).overall
    call = next(s for s in report.slices if s.name == "call")
    assert replace(alone, by="group", name="call") == call


def test_order_of_clips_does_not_matter():
    assert tables.table(measure(corpus(12), related)) == tables.table(measure(corpus(12)[::-1], related))


def test_nothing_to_measure():
    report = measure([], related)
    assert report.overall.clips == 0
    figures = json.dumps(audit_report.to_dict(report))
    assert "NaN" not in figures
    assert audit_report.to_dict(report)["slices"][0]["diarization"]["der"] is None
    assert "-" in tables.table(report)


def test_table_is_aligned_and_says_what_was_not_measured():
    report = measure(corpus(12), related)
    text = tables.table(report)
    for block in text.rstrip("\n").split("\n\n"):
        title, head, *rows = block.splitlines()
        assert title
        assert {len(row) for row in [head, *rows]} == {len(head)}
        assert len(head) < 150
    separation = next(block for block in text.split("\n\n") if block.startswith("Separation"))
    call = next(line for line in separation.splitlines() if line.startswith("call"))
    assert call.split() == ["call", "0", "-", "-", "-", "-"]
    assert "DER %" in text
    assert f"{report.overall.transcription.wer:.1%}"[:-1] in text


def test_to_dict_is_json():
    report = measure(corpus(12), related)
    plain = audit_report.to_dict(report)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["slices"][0]["transcription"]["wer"] == report.overall.transcription.wer


def test_missing_packages_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(PaqaError, match=r"uv pip install 'paqa\[audit\]'"):
        measure([], related)


def test_hundred_clips_in_three_seconds():
    measure(corpus(2), related)  # imports
    pairs, start = corpus(100), time.process_time()
    measure(pairs, related)
    assert time.process_time() - start < 3


def test_import_is_light_and_torch_is_never_imported():
    code = (
        "import sys, paqa.evaluation.audit as a;"
        "heavy = {'numpy', 'scipy', 'sklearn', 'jiwer', 'pyannote.metrics'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "a.measure([], lambda x, y: x == y); assert 'pyannote.metrics' in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_the_default_relation_is_the_ontology():
    ontology = pytest.importorskip("paqa.audioset")
    truth, heard = scene(events=[(0, 1000, BARK)]), scene(events=[(0, 1000, DOG)])
    assert ontology.related(BARK, DOG)
    assert measure([pair(truth, heard)]).overall.classes_related.f1 == 1.0


# --- JER, CER, intervals, plots


def test_jer_by_hand():
    truth = scene([(0, 4000, 1), (5000, 9000, 2)])
    heard = scene([(0, 3000, 7), (5000, 8000, 8), (8000, 9500, 7)])
    # speaker 1 and 7: 3 s of 5.5 s (7 also speaks 1.5 s elsewhere); speaker 2 and 8: 3 s of 4 s
    errors = metrics.jaccard(truth, heard)
    assert (errors.error, errors.speakers) == (pytest.approx(1 - 3 / 5.5 + 1 - 3 / 4), 2)
    assert metrics.jaccard(truth, scene()).error == pytest.approx(2)
    assert metrics.jaccard(truth, truth).error == pytest.approx(0)
    figures = measure([pair(truth, heard), pair(truth, truth)], related).overall.diarization
    assert figures.jer == pytest.approx((2 - 3 / 5.5 - 3 / 4) / 4)


def test_cer_by_hand():
    errors = metrics.letter_errors(scene([(0, 900, 1, "a cat sat")]), scene(words="a bat sat on"))
    assert (errors.words, errors.substitutions, errors.insertions, errors.deletions) == (9, 1, 3, 0)
    assert (
        measure(
            [pair(scene([(0, 900, 1, "a cat sat")]), scene(words="a bat sat"))], related
        ).overall.transcription.cer
        == 1 / 9
    )


def test_interval_of_a_ratio_agrees_with_the_normal_approximation():
    rng = np.random.default_rng(2)
    parts = [(float(rng.random() < 0.3), 1.0) for _ in range(400)]
    share = sum(right for right, _ in parts) / 400
    low, high = bootstrap.of_ratio(parts)
    half = 1.96 * math.sqrt(share * (1 - share) / 400)
    assert low == pytest.approx(share - half, abs=0.008)
    assert high == pytest.approx(share + half, abs=0.008)
    assert bootstrap.of_ratio(parts[::-1]) == (low, high)
    assert bootstrap.of_ratio([(1, 2)]) is None
    assert bootstrap.of_ratio([(0, 0), (0, 0)]) is None


def test_interval_of_map_is_drawn_as_scikit_learn_would():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(3)
    sounding, scores = rng.random((25, 4)) < 0.4, np.round(rng.random((25, 4)), 1)
    draws = bootstrap._draws(25)[:20]
    for k in range(4):
        ours = bootstrap._average_precision(sounding[:, k], scores[:, k], draws)
        for counts, found in zip(draws, ours, strict=True):
            y, s = np.repeat(sounding[:, k], counts), np.repeat(scores[:, k], counts)
            expected = average_precision_score(y, s) if y.any() else np.nan
            assert found == pytest.approx(expected, nan_ok=True)
    low, high = bootstrap.of_mean_ap(sounding, scores)
    assert low < average_precision_score(sounding, scores) < high
    assert bootstrap.of_mean_ap(sounding[:1], scores[:1]) is None
    assert bootstrap.of_mean_ap(sounding[:, :0], scores[:, :0]) is None


def test_figures_lie_in_their_intervals():
    report = measure(corpus(12), related)
    for slice_ in report.slices:
        for name, (low, high) in slice_.intervals.items():
            assert low - 1e-9 <= high
            if slice_.by == "all":
                assert low <= plots.figure_of(slice_, name) <= high, name
    assert set(report.overall.intervals) == {
        "DER", "JER", "count", "WER", "CER", "cpWER", "segment F1", "event F1", "gain", "mAP",
    }  # fmt: skip


def test_plots_are_written_and_repeatable(tmp_path):
    report = measure(corpus(12), related)
    files = plots.save(report, tmp_path / "a")
    assert sorted({p.stem for p in files}) == ["separation", "sounds", "speakers", "speech"]
    assert {p.suffix for p in files} == {".png", ".svg"}
    assert all(p.stat().st_size > 1000 for p in files)
    again = {p.name: p.read_bytes() for p in plots.save(report, tmp_path / "b")}
    assert {p.name: p.read_bytes() for p in files} == again
    assert plots.save(measure([], related), tmp_path / "empty")
