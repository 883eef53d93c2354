"""`paqa doctor` and `paqa build` where weights that no package ships are missing, found, or not the pinned
ones.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, SERVER, VOICES, paqa
from localmodels import make_demucs, make_panns, make_pyannote, make_whisper

from paqa.cli.main import main
from paqa.engines import panns, whisper


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """All four models of the paper profile, small where the architecture allows it."""
    folder = tmp_path_factory.mktemp("models")
    make_demucs.make(folder, tiny=True)
    make_pyannote.make(folder, tiny=True)
    make_panns.make(folder)
    made = make_whisper.make(folder)
    (folder / "models.toml").write_text(f'[whisper]\nmodel = "{made.relative_to(folder)}"\n')
    return folder


@pytest.fixture
def nowhere(tmp_path):
    """An environment in which no weights are found, and no token."""
    return {"PAQA_MODELS": str(tmp_path / "none"), "HF_HOME": str(tmp_path / "hub"), "HF_TOKEN": ""}


@pytest.fixture
def doctor(nowhere, monkeypatch, capsys):
    """`paqa doctor` in this process, off line and without weights: status and output.

    A process of its own would import torch anew; test_cli runs it in one.
    """
    from huggingface_hub import constants

    for name, value in nowhere.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(Path(nowhere["HF_HOME"], "cache")))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(Path(nowhere["HF_HOME"], "token")))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def run(*args):
        status = main(["doctor", *map(str, args)])
        return status, capsys.readouterr().out

    return run


def test_what_is_missing_is_named_with_the_next_command(doctor):
    status, output = doctor("--profile", "paper")
    assert status == 1
    assert output.count("no weights at") == 4
    assert output.count("run: paqa doctor RECIPE.toml --fetch") == 4
    assert "no token found: `hf auth login`, or set HF_TOKEN" in output
    for word in (
        "demucs 4",
        "pyannote.audio 4",
        "panns-inference 0",
        "openai-whisper 2025",
        "torchaudio 2",
        "CUDA",
    ):
        assert word in output


def test_without_a_profile_only_the_embedded_engines_must_be_there(doctor):
    status, output = doctor()
    assert status == 0
    assert "engine demucs" in output
    assert "MISSING" not in output


def test_weights_that_are_there_are_named_with_their_hash(models, doctor):
    status, output = doctor("--profile", "paper", "--models", models)
    assert status == 0
    assert "MISSING" not in output
    assert str(models / "demucs" / "htdemucs") in output
    assert "revision 1/openai-whisper-" in output


def test_fetching_off_line_says_what_is_still_missing(doctor, tmp_path, monkeypatch):
    """HF_HUB_OFFLINE stops the Hub; the one address of whisper and of PANNs is a closed port here."""
    closed = {
        name: replace(r, url="http://127.0.0.1:9/x.pt") for name, r in whisper.published_models().items()
    }
    monkeypatch.setattr(whisper, "published_models", lambda: closed)
    closed_panns = {name: replace(r, url="http://127.0.0.1:9/y.pth") for name, r in panns.KNOWN.items()}
    monkeypatch.setattr(panns, "KNOWN", closed_panns)
    status, output = doctor("--profile", "paper", "--fetch")
    assert status == 1
    assert output.count("cannot be fetched") == 2
    assert output.count("no weights at") == 2
    assert not list((tmp_path / "none").rglob("*.pt*"))


def test_a_build_without_its_weights_stops_before_it_decodes_anything(nowhere, tmp_path):
    out = tmp_path / "out" / "x"
    done = paqa("build", "manifests/demo.toml", "--profile", "paper", "--out", out, check=False, **nowhere)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("paqa build: htdemucs: no weights at")
    assert "run: paqa doctor RECIPE.toml --fetch" in line
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--models", "no/such/folder"], "--models no/such/folder: no such folder"),
        (["--device", "cuda:99"], "--device cuda:99: torch finds cpu"),
        (["--profile", "papre"], "profile"),
    ],
)
def test_wrong_choices_are_one_line(args, words):
    done = paqa("build", "manifests/demo.toml", *args, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_pinned_hash_that_differs_is_refused(models):
    pin = f"hear.transcribe.params.sha256={'0' * 64}"
    done = paqa(
        "build", "manifests/demo.toml", "--profile", "paper", "--models", models, "--set", pin, check=False
    )
    assert done.returncode == 2
    assert f"expected {'0' * 64}" in done.stderr


def test_importing_paqa_loads_none_of_the_engines_libraries():
    heavy = (
        "torch",
        "demucs",
        "pyannote.audio",
        "whisper",
        "panns_inference",
        "torchaudio",
        "onnxruntime",
        "prefect",
    )
    code = (
        "import sys, paqa, paqa.cli.main, paqa.perception.inference, paqa.pipeline.worker_steps;"
        "import paqa.config.recipe, paqa.cli.doctor;"
        "from paqa.engines.base import ENGINES, engine_class; [engine_class(name) for name in ENGINES];"
        f"print(*(m for m in {heavy} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A composed scene, a telephone call that is cut into clips, and a raw sound."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "demo").symlink_to(ROOT / "manifests" / "demo")
    (folder / "small.toml").write_text(RECIPE)
    return folder / "small.toml"


RECIPE = f"""
name = "small"
seed = 1
profile = "paper"
{VOICES}[[sources]]
name = "call"
type = "jsonl"
path = "demo/call.jsonl"
[[mix]]
name = "dialogue"
scenes = 1
speech = "voices"
turns = [2, 3]
[audio]
max_clip_ms = 12000
[gates]
max_quarantined = 1.0
"""


@pytest.mark.build
def test_a_build_with_the_four_full_engines(small, models, tmp_path):
    """Real architectures (small ones for Demucs and pyannote), every stage, the call separated whole; then
    again.
    """
    out = tmp_path / "out"
    command = ["build", small, "--models", models, "--out", out / "small", "--workers", "1"]
    command += ["--set", "questions.mishear_share=1"]
    paqa(*command, **SERVER.variables())
    first = json.loads((out / "small" / "build.json").read_text())
    heard = {s["name"]: s["clips"] for s in first["stages"] if s["model_s"]}
    count = first["clips"]
    assert count > 3
    assert heard == {
        "separate": count,
        "diarize speech": count,
        "diarize mix": count,
        "tag background": count,
        "tag mix": count,
        "transcribe mix": count,
        "transcribe speech": count,
    }
    paqa("check", out / "small")
    paqa(*command, **SERVER.variables())
    again = json.loads((out / "small" / "build.json").read_text())
    assert not [s for s in again["stages"] if s["model_s"]]


def test_doctor_says_what_is_wrong_with_the_models_folder(doctor, tmp_path):
    """It is the command that looks for it, so it goes on to the other engines."""
    (tmp_path / "models.toml").write_text('[whisper]\nmodel = "nothing-of-that-name"\n[demucs]\nsize = 3\n')
    status, output = doctor("--models", tmp_path)
    assert status == 0
    assert "no model is called 'nothing-of-that-name'; expected one of tiny.en" in output
    assert "[demucs] holds" in output
    assert "engine yamnet" in output
    (tmp_path / "models.toml").write_text("not TOML")
    status, output = doctor("--models", tmp_path)
    assert status == 1
    assert "cannot be read as TOML" in output
