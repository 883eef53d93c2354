"""PANNs: the contract of engines, and probabilities equal to the library's own, with locally made weights.

Random weights: nothing here says how well the published ones hear.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from closeness import steps
from contract import Contract, Subject, call, check, noise, output, part, plain
from localmodels import make_panns

from paqa import audioset
from paqa.engines._panns import class_mids, networks, numpy_classes, open_network
from paqa.engines._signal import mono
from paqa.engines.base import engine_class
from paqa.engines.panns import HOP, KNOWN, RATE, WINDOW, Panns, PannsParams, windows
from paqa.engines.weights import torch_load
from paqa.errors import PaqaError
from paqa.types import Audio

torch = pytest.importorskip("torch")
pytest.importorskip("torchlibrosa")

CLOSE = 300  # steps of probabilities; folding batch norms and other window lengths round otherwise; seen: 27


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return make_panns.make(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def checkpoint(models) -> str:
    return str(models / make_panns.FILES["Cnn14_DecisionLevelMax"])


@pytest.fixture(scope="module")
def subject(checkpoint):
    return Subject("panns", {"model": checkpoint}, tolerance=CLOSE)


class TestContract(Contract):
    """A batch equals its clips bit for bit; another number of threads adds up in another order."""


def library(name: str, path: Path, signal: np.ndarray, key: str) -> np.ndarray:
    """What the package's own network says about a whole signal."""
    from paqa.engines._panns import FRONT_END

    network = getattr(networks(), name)(**FRONT_END, classes_num=527).eval()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    with torch.inference_mode():
        return network(torch.from_numpy(signal[None]))[key][0].numpy()


def test_a_long_clip_in_windows_equals_the_library_on_the_whole(subject, checkpoint):
    signal = np.tile(mono(call(), RATE), 3)[: 70 * RATE // HOP * HOP]
    (found,) = subject.engine.probabilities([signal])
    expected = library("Cnn14_DecisionLevelMax", checkpoint, signal, "framewise_output")
    assert found.shape == (len(signal) // HOP, 527)
    assert steps(found, expected[: len(found) * 32 : 32], size=1.0) < CLOSE
    assert expected.std(axis=0).mean() > 0.01


def test_clip_level_tags_may_come_from_cnn14(models, checkpoint):
    path = models / make_panns.FILES["Cnn14"]
    engine = Panns(PannsParams(model=checkpoint, clipwise=str(path)), threads=2)
    clip = part(10, 15, RATE)
    (heard,) = engine([clip])
    check(heard, clip)
    signal = np.pad(clip.samples[0], (0, -len(clip.samples[0]) % HOP))
    expected = library("Cnn14", path, signal, "clipwise_output")
    heard_scores = {t.mid: t.score for t in heard.tags}
    scores = np.array([heard_scores.get(mid, 0.0) for mid in class_mids()], np.float32)
    assert steps(scores, np.where(expected > 0.01, expected, 0), size=1.0) < CLOSE
    frame_model, _, clip_model = engine.revision.partition("+")
    assert frame_model == Panns.identify(PannsParams(model=checkpoint))
    assert clip_model.split("/")[:3] == [*frame_model.split("/")[:2], path.name]
    assert plain(engine([call(), clip])[1]) == plain(heard)


@pytest.mark.parametrize("seconds", [1, 2, 10])
def test_windows_of_one_length_share_calls_where_that_changes_no_bit(subject, seconds):
    clips = [noise(seconds * RATE - i, rate=RATE) for i in range(3)]
    alone = [plain(subject.engine([clip])[0]) for clip in clips]
    for _ in range(2):
        assert [plain(heard) for heard in subject.engine(clips)] == alone
    assert (0, 3, -(-seconds * RATE // HOP) * HOP) in subject.engine._batch_is_exact


@pytest.mark.parametrize("hops", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 938])
def test_windows_count_for_every_hop_once_and_see_around_it(hops):
    found = windows(0, hops, WINDOW, 12)
    assert [hop for w in found for hop in range(w.keep, w.until)] == list(range(hops))
    assert len({w.hops for w in found}) == 1
    for window in found:
        assert 0 <= window.start <= window.start + window.hops <= hops
        assert window.start == window.keep == 0 or window.keep - window.start >= 6
        assert window.start + window.hops == hops or window.start + window.hops - window.until >= 6


def test_single_classes_may_have_thresholds_of_their_own(checkpoint, subject):
    (usual,) = subject.engine([call()])
    event = max(usual.events, key=lambda e: e.score)
    assert "/m/09x0r" not in {e.mid for e in usual.events}
    strict = PannsParams(model=checkpoint, class_thresholds={event.label: 1.1})
    assert event.mid not in {e.mid for e in Panns(strict)([call()])[0].events}
    with pytest.raises(PaqaError, match="no AudioSet sound is called 'Dgo'"):
        Panns(PannsParams(model=checkpoint, class_thresholds={"Dgo": 0.5}))


def test_the_classes_are_audiosets_under_its_names():
    lines = (
        Path(audioset.__file__).with_name("data").joinpath("audioset_classes.tsv").read_text().splitlines()
    )
    rows = [line.split("\t") for line in lines if not line.startswith("#")][1:]
    assert [int(index) for index, _, _ in rows] == list(range(527))
    assert all(audioset.label(mid) == label for _, mid, label in rows)
    assert {mid for _, mid, _ in rows} == set(audioset.classes())
    assert [class_mids()[i] for i in (0, 1, 526)] == ["/m/09x0r", "/m/05zppz", "/m/07hvw1"]


def test_the_package_neither_runs_wget_nor_writes_home(checkpoint, tmp_path):
    home, tools = tmp_path / "home", tmp_path / "tools"
    home.mkdir()
    tools.mkdir()
    (tools / "wget").write_text(f"#!/bin/sh\necho ran >> {tmp_path}/calls\n")
    (tools / "wget").chmod(0o755)
    code = (
        "import sys, numpy as np; from paqa.engines.panns import Panns, PannsParams;"
        "from paqa.types import Audio; ones = Audio(np.ones((1, 8000), 'f4'), 8000);"
        f"heard = [Panns(PannsParams(model={checkpoint!r}))([ones]) for _ in 'ab'];"
        "assert heard[0] == heard[1];"
        "print(*(m for m in sys.modules if m.split('.')[0] in ('panns_inference', 'matplotlib')))"
    )
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    assert output(code, PATH=path, HOME=str(home), PYTHONPATH=str(Path(audioset.__file__).parents[1])) == ""
    assert list(home.iterdir()) == []
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_with_the_state_of_a_sampler_are_opened_without_running_code(tmp_path, zipped):
    path = tmp_path / "model.pth"
    drawn = np.random.RandomState(0)
    sampler = {
        "indexes": np.arange(5),
        "random": drawn.normal(size=3),
        "pointer": np.int64(2),
        "black": np.array(["a"]),
    }
    torch.save(
        {"model": {"w": torch.ones(2)}, "sampler": sampler}, path, _use_new_zipfile_serialization=zipped
    )
    found = torch_load(path, numpy_classes(), allow_pickle=False)
    assert found["sampler"]["indexes"].tolist() == [0, 1, 2, 3, 4]
    torch.save({"model": {}, "sampler": Path("x")}, path)
    with pytest.raises(PaqaError, match="allow_pickle"):
        open_network("Cnn14", path, allow_pickle=False)


def test_what_is_no_checkpoint_of_the_network_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(torch.ones(2), path)
    with pytest.raises(PaqaError, match="found Tensor, expected a dict"):
        open_network("Cnn14", path, allow_pickle=False)
    torch.save({"model": {"w": torch.ones(2)}}, path)
    with pytest.raises(PaqaError, match="found other weights than those of Cnn14"):
        open_network("Cnn14", path, allow_pickle=False)


def test_known_names_are_files_of_the_models_folder(models, monkeypatch):
    monkeypatch.setenv("PAQA_MODELS", str(models.parent))
    assert {remote.path for remote in KNOWN.values()} == {
        f"panns/{file}" for file in make_panns.FILES.values()
    }
    revision = engine_class("panns").identify(PannsParams(clipwise="Cnn14"))
    assert revision.count("Cnn14") == 2
    with pytest.raises(PaqaError, match="expected ffff"):
        engine_class("panns").identify(PannsParams(clipwise="Cnn14", clipwise_sha256="f" * 64))


def test_stereo_is_heard_as_its_mean(subject):
    both = noise(2 * RATE, 2, RATE)
    mean = Audio(both.samples.mean(axis=0, keepdims=True), RATE)
    assert plain(subject.engine([both])[0]) == plain(subject.engine([mean])[0])
