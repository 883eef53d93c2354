"""Every command with one extra alone, in an environment that looks as if nothing else were installed."""

import os
import subprocess
import sys

import pytest
from builds import make
from conftest import ROOT
from extras import EXTRAS, packages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("extras") / "made", clips=1)


@pytest.mark.parametrize("extra", EXTRAS)
def test_commands_work_or_name_an_extra(extra, folder):
    """`.ci/extras` does the same with the wheel in environments of their own."""
    command = [sys.executable, "tests/extras.py", extra, str(folder), "--hide"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
        "PYTHONPATH": str(ROOT)
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout


def test_an_extra_is_what_pyproject_says():
    core = packages("none")
    assert {"numpy", "pyarrow", "cffi"} <= core
    assert not core & {"prefect", "av", "torch", "datasets"}
    assert {"av"} == packages("audio") - core
    assert {"prefect", "ray", "httpx"} <= packages("cluster")
