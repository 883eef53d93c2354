"""pyannote.audio's own pipeline and segmentation network on published weights, which come with paqa."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from contract import Contract, Subject, call, check, part, sample

from paqa.engines._onnx import open_session
from paqa.engines.base import engine_class
from paqa.engines.pyannote import SHIPPED, Pyannote, PyannoteParams
from paqa.engines.weights import locate
from paqa.errors import PaqaError

torch = pytest.importorskip("torch")
pytest.importorskip("pyannote.audio")
shipped = pytest.importorskip("paqa.engines._pyannote_shipped")

CLOSE = 1e-5  # of probabilities; seen: 2e-7


@pytest.fixture(scope="module")
def subject():
    return Subject("pyannote", {"model": SHIPPED}, tolerance=0.0)


@pytest.fixture(scope="module")
def folder(subject) -> Path:
    (remote,) = subject.kind.remotes(subject.given)
    return locate(remote)


@pytest.fixture(scope="module")
def heard(subject):
    return subject.engine([call()])[0]


class TestContract(Contract):
    """Bit for bit, also with another number of threads and for two equal channels."""

    @pytest.mark.skip(reason="its weights have one place, inside paqa")
    def test_the_revision_changes_with_the_weights(self) -> None: ...


def test_the_networks_are_pyannotes_own(subject):
    from pyannote.audio.models.segmentation import PyanNet
    from pyannote.audio.pipelines import SpeakerDiarization

    assert engine_class("pyannote") is subject.kind is Pyannote
    assert type(subject.engine.pipeline) is SpeakerDiarization
    assert type(subject.engine.pipeline._segmentation.model) is PyanNet


def test_the_segmentation_gives_the_probabilities_of_its_file(subject, folder):
    windows = np.stack([call().samples[0, start : start + 160_000] for start in (64_000, 200_000)])
    (expected,) = open_session(str(folder / shipped.SEGMENTATION), "cpu", 1).run(None, {"samples": windows})
    with torch.inference_mode():
        network = subject.engine.pipeline._segmentation.model
        probability = network(torch.from_numpy(windows)[:, None]).exp().numpy()
    assert np.abs(probability - expected).max() < CLOSE


def diarization_error(turns, collar: float) -> float:
    """DER against the packaged reference, overlaps included; `collar` in s counts both sides of an edge."""
    core = pytest.importorskip("pyannote.core")
    metrics = pytest.importorskip("pyannote.metrics.diarization")
    reference, predicted = core.Annotation(), core.Annotation()
    for i, row in enumerate(line.split() for line in sample("sample.rttm").read_text().splitlines() if line):
        reference[core.Segment(float(row[3]), float(row[3]) + float(row[4])), i] = row[7]
    for i, turn in enumerate(turns):
        predicted[core.Segment(turn.start_ms / 1000, turn.end_ms / 1000), i] = turn.speaker
    whole = core.Timeline([core.Segment(0, 30)])
    return metrics.DiarizationErrorRate(collar=collar)(reference, predicted, uem=whole)


def test_der_on_the_telephone_call(heard):
    check(heard, call())
    assert {turn.speaker for turn in heard.turns} == {1, 2}
    assert diarization_error(heard.turns, collar=0.0) < 0.08  # measured: 0.052
    assert diarization_error(heard.turns, collar=0.5) < 0.01


def test_overlap_is_found_and_is_not_in_the_exclusive_turns(heard):
    active = np.zeros((3, 30_000), dtype=bool)
    for turn in heard.turns:
        active[turn.speaker, turn.start_ms : turn.end_ms] = True
    assert 1_000 < (active.sum(axis=0) > 1).sum() < 2_500  # ms; the reference has 1,890
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(heard.exclusive))


def test_one_voice_alone_is_one_speaker(subject):
    """21.9 s to 27.8 s of the call is one woman."""
    (alone,) = subject.engine([part(22, 27.5)])
    assert {turn.speaker for turn in alone.turns} == {1}


@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_speakers_can_be_given(count):
    engine = Pyannote(PyannoteParams(model=SHIPPED, num_speakers=count, segmentation_step=0.25))
    (output,) = engine([call()])
    assert {turn.speaker for turn in output.turns} == set(range(1, count + 1))


def test_a_speaker_who_hardly_speaks_gets_no_vector(folder):
    network = shipped.CamPlusPlus(folder / shipped.EMBEDDING, threads=1)
    window = torch.from_numpy(call().samples[:, 112_000:272_000])[None].expand(3, -1, -1)
    active = torch.zeros(3, 589)
    active[0, 100:300] = 1
    active[1, 100:104] = 1
    vectors = network(window, weights=active).numpy()
    assert np.isfinite(vectors[0]).all()
    assert np.isnan(vectors[1:]).all()
    with pytest.raises(ValueError, match="too short for CAM"):
        network(torch.zeros(1, 1, 1_600))


def test_another_network_is_refused(folder, tmp_path):
    other = tmp_path / shipped.SEGMENTATION
    other.write_bytes((folder / shipped.EMBEDDING).read_bytes())
    with pytest.raises(PaqaError, match=r"segmentation-3\.0\.onnx: expected the segmentation network"):
        shipped.pyannet(other)


def test_a_pinned_hash_is_held():
    with pytest.raises(PaqaError, match="expected 0000"):
        Pyannote(PyannoteParams(model=SHIPPED, sha256="0000"))
