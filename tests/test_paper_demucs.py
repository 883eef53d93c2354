"""Demucs: the contract of engines, and stems equal to the library's own, with locally made weights.

Random weights: nothing here says how well the published ones separate.
"""

import random
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from closeness import steps
from contract import Contract, Subject, noise, part, plain
from localmodels import make_demucs

from paqa.engines import _demucs
from paqa.engines._signal import resample
from paqa.engines.base import engine_class
from paqa.engines.demucs import KNOWN, Demucs, DemucsParams
from paqa.engines.weights import MissingWeights, digest, locate
from paqa.errors import PaqaError
from paqa.types import Audio

torch = pytest.importorskip("torch")
pytest.importorskip("demucs")

CLOSE = 60  # steps; seen: 0 in one pass, 5 where windows share calls


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return make_demucs.make(tmp_path_factory.mktemp("models"), tiny=True)


@pytest.fixture(scope="module")
def subject(tiny):
    return Subject("demucs", {"model": str(tiny)}, tolerance=10)


class TestContract(Contract):
    """A batch equals its clips bit for bit; another number of threads adds up in another order."""


def library(model, audio: Audio, **options) -> np.ndarray:
    """The vocals of a stereo clip at 44.1 kHz by the library: `apply_model` as its Separator calls it."""
    from demucs.apply import apply_model

    mix = torch.from_numpy(audio.samples)
    mean, std = mix.mean(0).mean(), mix.mean(0).std() + 1e-8
    with torch.inference_mode():
        out = apply_model(model, ((mix - mean) / std)[None], split=True, **{"shifts": 0, **options})
    return (out * std + mean)[0, model.sources.index("vocals")].numpy()


def stereo(seconds: float) -> Audio:
    """Part of the call in the middle, at 44.1 kHz, with different noise on both sides."""
    voice = part(14, 14 + seconds, 44_100)
    return Audio(voice.samples + noise(voice.samples.shape[1], 2).samples * np.float32(0.2), 44_100)


def speech(engine: Demucs, audio: Audio) -> np.ndarray:
    return engine([audio])[0].stems["speech"].samples


def bag(folder: Path, models: dict, text: str) -> Path:
    folder.mkdir()
    for signature, model in models.items():
        make_demucs.save(model, folder / f"{signature}.safetensors")
    (folder / "bag.yaml").write_text(text)
    return folder


def opened(path: Path, **params) -> Demucs:
    return Demucs(DemucsParams(model=str(path), **params))


@pytest.mark.parametrize("params", [{}, {"overlap": 0.1}, {"segment": 1.0}])
def test_equals_the_library(tiny, params):
    from demucs.hf import load_safetensors_model

    model = load_safetensors_model(tiny / "955717e8.safetensors").eval()
    for seconds in (5.3, 2.0, 0.3):
        clip = stereo(seconds)
        expected = library(model, clip, **params)
        assert np.abs(expected).max() > 1e-3
        assert steps(speech(opened(tiny, **params), clip), expected) < CLOSE


def test_windows_of_many_clips_share_calls(tiny):
    clips = [stereo(5.3), part(7, 11), stereo(0.5), part(21, 24, 8_000)]
    for one, many in zip(opened(tiny)(clips), opened(tiny, batch_size=3)(clips), strict=True):
        assert steps(one.stems["speech"].samples, many.stems["speech"].samples) < CLOSE


def test_other_rates_and_channels_are_brought_to_the_models_and_back(tiny):
    voice, engine = part(14, 17), opened(tiny)
    high = resample(voice.samples, 16_000, 44_100)
    both = speech(engine, Audio(np.vstack([high, high]), 44_100))
    back = resample(both.mean(axis=0, keepdims=True), 44_100, 16_000)[:, : voice.samples.shape[1]]
    assert steps(speech(engine, voice), back) < CLOSE
    three = Audio(np.vstack([stereo(1).samples, stereo(1).samples[:1]]), 44_100)
    pairs = [speech(engine, Audio(three.samples[a:b], 44_100)) for a, b in ((0, 2), (2, 3))]
    assert np.array_equal(speech(engine, three), np.vstack(pairs))


def test_channels_that_cancel_out_are_still_separated(tiny):
    voice = part(14, 16, 44_100).samples
    assert np.abs(speech(opened(tiny), Audio(np.vstack([voice, -voice]), 44_100))).max() > 1e-3


def test_shifts_are_drawn_from_the_clip_itself(tiny, monkeypatch):
    engine, clip = opened(tiny, shifts=2), stereo(3)
    found = plain(engine([clip])[0])
    random.seed(1)
    assert plain(engine([stereo(1), clip])[1]) == found
    assert plain(opened(tiny)([clip])[0]) != found
    mix = torch.zeros(2, clip.samples.shape[1])
    cuts = [one.cut for one in engine._passes(clip.samples, clip.rate, mix.numpy())]
    offsets = iter([22_050 - cut for cut in cuts])
    monkeypatch.setattr("demucs.apply.random.randint", lambda low, high: next(offsets))
    expected = library(engine._bag[0].model, clip, shifts=2)
    assert steps(speech(engine, clip), expected) < CLOSE


def test_a_bag_weighs_its_models_as_the_library_does(tmp_path):
    from demucs.apply import BagOfModels
    from demucs.demucs import Demucs as WaveDemucs
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)
    sources = make_demucs.TINY["sources"]
    models = {
        "aa": HTDemucs(**make_demucs.TINY).half().float(),
        "bb": HDemucs(sources, channels=8, depth=6).half().float(),
        "cc": WaveDemucs(sources, channels=8, depth=4).half().float(),
        "dd": HTDemucs(**make_demucs.TINY),
    }
    weights = [[1, 0, 0, 0.5], [0, 1, 0, 1.5], [0, 0, 1, 2.0], [1, 1, 1, 0]]
    folder = bag(tmp_path / "bag", models, f"models: [aa, bb, cc, dd]\nweights: {weights}\nsegment: 4\n")
    clip, engine = stereo(5.3), opened(folder)
    assert [(type(m.model).__name__, m.share, m.model.segment) for m in engine._bag] == [
        ("HTDemucs", 0.125, Fraction(2)),  # a transformer keeps what it was trained on
        ("HDemucs", 0.375, 4),
        ("Demucs", 0.5, 4),
    ]
    expected = library(BagOfModels([m.eval() for m in models.values()], weights, 4), clip)
    assert steps(speech(engine, clip), expected) < CLOSE
    for samples in (1, 100, 4_000):
        assert np.isfinite(speech(engine, noise(samples))).all()


def test_known_names_are_where_demucs_looks_for_them():
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name

    assert {n: r.repo for n, r in KNOWN.items()} == {
        n: f"{DEFAULT_NAMESPACE}/{hf_repo_name(n)}" for n in KNOWN
    }


@pytest.mark.parametrize("metadata", [{"klass": "os.system"}, {"structure": '{"_class": "os.system"}'}, None])
def test_safetensors_that_name_other_classes_are_refused(tiny, tmp_path, metadata):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "evil.safetensors"
    tensors = load_file(tiny / "955717e8.safetensors")
    save_file(
        tensors,
        path,
        metadata and {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": "{}"} | metadata,
    )
    with pytest.raises(PaqaError, match=r"expected one of demucs\.htdemucs\.HTDemucs"):
        opened(path)


class Touch:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def th_package(tiny: Path) -> dict:
    model = _demucs.open_model(tiny / "955717e8.safetensors", allow_pickle=False)
    args, kwargs = model._init_args_kwargs
    return {"klass": type(model), "args": args, "kwargs": kwargs, "state": model.state_dict()}


def test_a_local_repository_of_th_files_is_opened_without_running_code(tiny, tmp_path):
    folder, clip = tmp_path / "old", stereo(1)
    folder.mkdir()
    torch.save(th_package(tiny), folder / "955717e8.th")
    (folder / "htdemucs.yaml").write_text("models: ['955717e8']")
    assert steps(speech(opened(folder), clip), speech(opened(tiny), clip)) < CLOSE
    shutil.move(folder / "955717e8.th", folder / "955717e8-00000000.th")
    with pytest.raises(PaqaError, match="expected 00000000"):
        opened(folder)


def test_a_th_file_that_wants_more_needs_somebody_to_vouch(tiny, tmp_path):
    path, sign = tmp_path / "model.th", tmp_path / "ran"
    torch.save(th_package(tiny) | {"training_args": Touch(sign)}, path)
    with pytest.raises(PaqaError, match="allow_pickle"):
        opened(path)
    assert not sign.exists()
    with pytest.raises(PaqaError, match="allow_pickle"):
        opened(path, sha256=digest(path))  # a pin says which file, not that it is good
    assert not sign.exists()
    assert opened(path, sha256=digest(path), allow_pickle=True).revision.endswith(digest(path))
    torch.save(th_package(tiny) | {"klass": Touch}, path)
    with pytest.raises(PaqaError, match="expected one of demucs"):
        opened(path, allow_pickle=True)


def test_what_does_not_fit_is_said(tiny, tmp_path, monkeypatch):
    with pytest.raises(PaqaError, match=r"found segment 8.0 s, expected 0.1 to 2 s"):
        opened(tiny, segment=8.0)
    with pytest.raises(PaqaError, match=r"found overlap 1\.0"):
        opened(tiny, overlap=1.0)
    with pytest.raises(PaqaError, match="expected ffff"):
        Demucs.identify(DemucsParams(model=str(tiny), sha256="f" * 64))
    with pytest.raises(PaqaError, match="no model is called 'umx'"):
        Demucs.remotes(DemucsParams(model="umx"))
    monkeypatch.setenv("PAQA_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"paqa doctor RECIPE.toml --fetch"):
        locate(KNOWN["htdemucs"], download=False)
    shutil.copytree(tiny, tmp_path / "two")
    (tmp_path / "two" / "more.yaml").write_text("models: []")
    with pytest.raises(PaqaError, match=r"found htdemucs.yaml, more.yaml, expected one"):
        opened(tmp_path / "two")
    (tmp_path / "two" / "htdemucs.yaml").unlink()
    with pytest.raises(PaqaError, match=r"more.yaml: found models \[\]"):
        opened(tmp_path / "two")


def test_the_architecture_at_its_real_size_by_its_name(tmp_path, monkeypatch):
    make_demucs.make(tmp_path)
    monkeypatch.setenv("PAQA_MODELS", str(tmp_path))
    engine = engine_class("demucs")(threads=2)
    (member,) = engine._bag
    assert sum(p.numel() for p in member.model.parameters()) == 41_984_456
    clip = stereo(1)
    assert steps(speech(engine, clip), library(member.model, clip)) < CLOSE
