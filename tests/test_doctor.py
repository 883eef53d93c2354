"""`paqa doctor` and `paqa build` where weights that no package ships are missing, found, or not the pinned
ones.
"""

import os
import subprocess
import sys

import pytest
from conftest import ROOT, paqa
from localmodels import make_demucs, make_panns, make_pyannote, make_whisper


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


def test_what_is_missing_is_named_with_the_next_command(nowhere):
    done = paqa("doctor", "--profile", "paper", check=False, **nowhere)
    assert done.returncode == 1
    assert done.stdout.count("no weights at") == 4
    assert done.stdout.count("run: paqa doctor --fetch") == 4
    assert "no token found: `hf auth login`, or set HF_TOKEN" in done.stdout
    for word in (
        "demucs 4",
        "pyannote.audio 4",
        "panns-inference 0",
        "openai-whisper 2025",
        "torchaudio 2",
        "CUDA",
    ):
        assert word in done.stdout


def test_without_a_profile_only_the_embedded_engines_must_be_there(nowhere):
    done = paqa("doctor", **nowhere)
    assert "engine demucs" in done.stdout
    assert "MISSING" not in done.stdout


def test_weights_that_are_there_are_named_with_their_hash(models):
    done = paqa("doctor", "--profile", "paper", "--models", models)
    assert "MISSING" not in done.stdout
    assert str(models / "demucs" / "htdemucs") in done.stdout
    assert "revision 1/openai-whisper-" in done.stdout


def test_fetching_off_line_says_what_is_still_missing(nowhere, tmp_path):
    """HF_HUB_OFFLINE stops the Hub; whisper's one address is a closed port here."""
    code = (
        "import sys; from paqa.engines import whisper; from paqa.cli.main import main; found = whisper.published_models;"
        "from dataclasses import replace;"
        "whisper.published_models = lambda: {n: replace(r, url='http://127.0.0.1:9/x.pt') for n, r in found().items()};"
        "from paqa.engines import panns;"
        "panns.KNOWN = {n: replace(r, url='http://127.0.0.1:9/y.pth') for n, r in panns.KNOWN.items()};"
        "sys.exit(main(['doctor', '--profile', 'paper', '--fetch']))"
    )
    environment = os.environ | nowhere | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("cannot be fetched") == 2
    assert done.stdout.count("no weights at") == 2
    assert not list((tmp_path / "none").rglob("*.pt*"))


def test_a_build_without_its_weights_stops_before_it_decodes_anything(nowhere, tmp_path):
    out = tmp_path / "out" / "x"
    done = paqa("build", "manifests/demo.toml", "--profile", "paper", "--out", out, check=False, **nowhere)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("paqa build: htdemucs: no weights at")
    assert "run: paqa doctor --fetch" in line
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
        "import sys, paqa, paqa.cli.main, paqa.perception.inference, paqa.pipeline.steps, paqa.config.recipe;"
        "import paqa.cli.doctor;"
        "from paqa.engines.base import ENGINES, engine_class; [engine_class(name) for name in ENGINES];"
        f"print(*(m for m in {heavy} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two composed scenes, a telephone call that is cut into clips, and a raw sound."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "demo").symlink_to(ROOT / "manifests" / "demo")
    (folder / "small.toml").write_text(RECIPE)
    return folder / "small.toml"


RECIPE = """
name = "small"
seed = 1
profile = "paper"
[[sources]]
name = "voices"
type = "jsonl"
path = "demo/speech.jsonl"
use = "material"
[[sources]]
name = "call"
type = "jsonl"
path = "demo/call.jsonl"
[[mix]]
name = "dialogue"
scenes = 2
speech = "voices"
turns = [2, 3]
[audio]
max_clip_ms = 8000
[gates]
max_quarantined = 1.0
"""


def test_a_build_with_the_four_full_engines(small, models, tmp_path):
    """Real architectures (small ones for Demucs and pyannote), every stage, the call separated whole; then
    again.
    """
    import json

    out = tmp_path / "out"
    paqa("build", small, "--models", models, "--out", out / "small", "--workers", "1")
    first = json.loads((out / "small" / "build.json").read_text())
    heard = {s["name"]: s["clips"] for s in first["stages"] if s["model_s"]}
    count = first["clips"]
    assert count > 4
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
    paqa("build", small, "--models", models, "--out", out / "small", "--workers", "1")
    again = json.loads((out / "small" / "build.json").read_text())
    assert not [s for s in again["stages"] if s["model_s"]]


def test_doctor_says_what_is_wrong_with_the_models_folder(tmp_path):
    """It is the command that looks for it, so it goes on to the other engines."""
    (tmp_path / "models.toml").write_text('[whisper]\nmodel = "nothing-of-that-name"\n[demucs]\nsize = 3\n')
    done = paqa("doctor", "--models", tmp_path)
    assert "no model is called 'nothing-of-that-name'; expected one of tiny.en" in done.stdout
    assert "[demucs] holds" in done.stdout
    assert "engine yamnet" in done.stdout
    (tmp_path / "models.toml").write_text("not TOML")
    done = paqa("doctor", "--models", tmp_path, check=False)
    assert done.returncode == 1
    assert "cannot be read as TOML" in done.stdout
