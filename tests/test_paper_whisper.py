"""openai-whisper with the real weights of tiny.en, made from the packaged CTranslate2 model."""

import numpy as np
import pytest
from contract import Contract, Subject, call, part, plain
from localmodels import make_whisper

from paqa.engines._words import has_loop
from paqa.engines.base import engine_class
from paqa.engines.whisper import Segment, load_model, published_models, split_segments
from paqa.types import Audio

FIRST = 1000  # stands for the first timestamp token: 0.00 s


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_whisper.make(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def subject(checkpoint):
    """Other numbers of threads round differently in the last digits of a probability."""
    return Subject("whisper", {"model": str(checkpoint)}, tolerance=50)


class TestContract(Contract):
    """With the default beam search."""


@pytest.fixture(scope="module")
def stock(checkpoint):
    """The library's own model, as its users load it."""
    whisper = pytest.importorskip("whisper")
    model = whisper.load_model(str(checkpoint), device="cpu")
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS["tiny.en"])
    return model


def with_params(subject, **changes):
    return subject.kind(subject.kind.Params(**subject.params, **changes))


def rounded(words):
    return [(w.text, w.start_ms, w.end_ms) for w in words]


def test_the_call_has_the_words_and_times_of_faster_whisper(subject, monkeypatch):
    """Given whole windows, as whisper pads them; faster_whisper leaves out most of the padding."""
    monkeypatch.setattr("paqa.engines._batched_whisper.cut_padding", lambda features: features)
    kind = engine_class("faster_whisper")
    other = kind(kind.Params(compute_type="float32", vad_filter=False))
    (ours,), (theirs,) = subject.engine([call()]), other([call()])
    assert len(ours.words) > 60
    assert rounded(ours.words) == rounded(theirs.words)
    assert ours.language == "en"
    assert ours.doubts == ()


@pytest.mark.parametrize("beam_size", [1, 5])
def test_words_are_those_of_the_librarys_transcribe(subject, stock, beam_size):
    """Three clips decoded together against one call of the library each; its beam 1 is its greedy search."""
    clips = [part(6, 14), part(14, 21), part(20, 30)]
    engine = with_params(
        subject, beam_size=beam_size, compression_ratio_threshold=99.0, no_speech_threshold=1.0
    )
    beams = {"beam_size": beam_size} if beam_size > 1 else {}
    for clip, heard in zip(clips, engine(clips), strict=True):
        told = stock.transcribe(
            clip.samples[0],
            fp16=False,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            no_speech_threshold=1.0,
            **beams,
        )
        words = [w for segment in told["segments"] for w in segment["words"]]
        assert [w.text for w in heard.words] == [w["word"].strip() for w in words]
        assert [w.start_ms for w in heard.words] == pytest.approx([w["start"] * 1000 for w in words], abs=70)


def test_a_clip_longer_than_a_window_is_heard_to_its_end(subject, stock):
    twice = Audio(np.concatenate([call().samples, call().samples[:, : 12 * 16_000]], axis=1), 16_000)
    (heard,) = subject.engine([twice])
    told = stock.transcribe(
        twice.samples[0],
        fp16=False,
        temperature=0.0,
        beam_size=5,
        condition_on_previous_text=False,
        word_timestamps=True,
    )
    assert " ".join(w.text for w in heard.words) == told["text"].strip()
    assert heard.words[-1].end_ms > 36_000


def test_neighbours_in_a_batch_change_nothing(subject):
    """More clips than one batch takes, in another order: every window is decoded in other company."""
    clips = [part(start, start + 6) for start in range(0, 24, 4)]
    forth, back = subject.engine(clips), subject.engine(clips[::-1])
    assert [plain(h) for h in forth] == [plain(h) for h in back[::-1]]


def test_silent_windows_are_doubts_with_their_text(subject):
    """With a limit that every window passes, nothing is heard and all of it is reported."""
    engine = with_params(subject, no_speech_threshold=-1.0, log_prob_threshold=9.0)
    (heard,) = engine([part(14, 20)])
    assert heard.words == ()
    assert [d.stage for d in heard.doubts] == ["transcribe"]
    assert heard.doubts[0].second.startswith("no speech (probability")
    assert "Chicago" in heard.doubts[0].first


def test_loops_are_doubts_with_their_text(subject):
    engine = with_params(subject, compression_ratio_threshold=0.1)
    (heard,) = engine([part(14, 20)])
    assert heard.words == ()
    assert heard.doubts[0].second.startswith("a loop (compression ratio")


def test_unsure_words_stay_and_are_doubted(subject):
    engine = with_params(subject, log_prob_threshold=0.0)
    (heard,) = engine([part(14, 20)])
    assert rounded(heard.words) == rounded(subject.engine([part(14, 20)])[0].words)
    (doubt,) = heard.doubts
    assert doubt.second.startswith("unsure")
    assert (doubt.start_ms, doubt.end_ms) == pytest.approx(
        (heard.words[0].start_ms, heard.words[-1].end_ms), abs=70
    )


def test_fallback_temperatures_are_reproducible(subject):
    engine = with_params(subject, log_prob_threshold=0.0, fallback=(0.4,))
    once, again = engine([part(14, 20)])[0], engine([part(6, 14), part(14, 20)])[1]
    assert plain(once) == plain(again)


@pytest.mark.parametrize(
    ("words", "times", "expected"),
    [
        ("no no no no no", 5, True),
        ("no no no no", 5, False),
        ("thank you. Thank you, thank you", 3, True),
        ("a b c a b c a b d", 3, False),
        ("", 2, False),
        ("one", 2, False),
    ],
)
def test_loops_are_words_that_come_in_a_row(words, times, expected):
    assert has_loop(words.split(), times) == expected


def test_a_window_is_cut_at_pairs_of_timestamps():
    tokens = [FIRST, 1, 2, FIRST + 50, FIRST + 60, 3, FIRST + 100, FIRST + 100, 4]
    found, whole = split_segments(tokens, FIRST, 30.0, 60.0)
    assert not whole
    assert found == [
        Segment(30.0, 31.0, [FIRST, 1, 2, FIRST + 50]),
        Segment(31.2, 32.0, [FIRST + 60, 3, FIRST + 100]),
    ]


def test_a_window_that_ends_with_one_timestamp_is_heard_whole():
    assert split_segments([FIRST, 1, FIRST + 50], FIRST, 0.0, 7.5) == (
        [Segment(0.0, 1.0, [FIRST, 1, FIRST + 50])],
        True,
    )
    assert split_segments([FIRST, 1, 2], FIRST, 0.0, 7.5) == ([Segment(0.0, 7.5, [FIRST, 1, 2])], True)
    assert split_segments([], FIRST, 0.0, 7.5) == ([], True)


def test_the_published_models_are_the_librarys():
    whisper = pytest.importorskip("whisper")
    found = published_models()
    assert set(found) == set(whisper.available_models())
    for name, remote in found.items():
        assert remote.url == whisper._MODELS[name]
        assert remote.sha256 == remote.url.split("/")[-2]


def test_alignment_heads_follow_the_files_name(checkpoint, stock):
    heads = load_model(checkpoint, "cpu", False).alignment_heads
    assert heads.to_dense().equal(stock.alignment_heads.to_dense())
