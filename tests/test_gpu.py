"""The paper profile's engines on a CUDA device hear what they hear on the CPU. Skipped where there is
none.
"""

import pytest
from closeness import steps
from contract import Subject, alike, call, check, part
from localmodels import make_demucs, make_panns, make_pyannote, make_whisper

pytestmark = pytest.mark.gpu
FLOAT32 = 1e4  # steps between devices, some of which multiply with fewer digits
MAKERS = {"demucs": make_demucs, "pyannote": make_pyannote, "panns": make_panns, "whisper": make_whisper}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return tmp_path_factory.mktemp("models")


@pytest.fixture(params=sorted(MAKERS))
def subject(request, models, monkeypatch):
    monkeypatch.setenv("PAQA_MODELS", str(models))
    made = MAKERS[request.param].make(models)
    return Subject(request.param, {"model": str(made)} if request.param == "whisper" else {})


def test_a_gpu_hears_what_a_cpu_hears(subject):
    clips = [part(6, 14), part(14, 20), call()]
    cpu, gpu = subject.engine(clips), subject.new(device="cuda")(clips)
    for audio, one, other in zip(clips, cpu, gpu, strict=True):
        check(other, audio)
        if subject.name == "whisper":  # half precision: nearly all words
            said = [{w.text for w in heard.words} for heard in (one, other)]
            assert len(said[0] & said[1]) >= 0.9 * len(said[0])
        elif subject.name == "pyannote":
            voiced = [sum(t.end_ms - t.start_ms for t in heard.turns) for heard in (one, other)]
            assert voiced[1] == pytest.approx(voiced[0], rel=0.02, abs=50)
        elif subject.name == "demucs":
            assert alike(one, other, FLOAT32)
        else:
            scores = {tag.mid: tag.score for tag in other.tags}
            assert all(abs(tag.score - scores[tag.mid]) < 0.01 for tag in one.tags if tag.score > 0.03)


def test_a_batch_on_a_gpu_is_near_its_clips(subject):
    engine = subject.new(device="cuda")
    clips = [part(start, start + 5) for start in (6, 10, 14, 18)]
    for audio, together in zip(clips, engine(clips), strict=True):
        (alone,) = engine([audio])
        assert len(alone.words) == pytest.approx(len(together.words), abs=1)
        for name, stem in alone.stems.items():
            assert steps(together.stems[name].samples, stem.samples) < FLOAT32
