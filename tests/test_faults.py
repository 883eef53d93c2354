"""Faults in real builds: what was injected was injected, the build survives it, to the same bytes, doing
nothing twice.

The faults themselves are in benchmarks/faults.py, which runs them more often and with any seeds.
"""

import faults
import pytest
from conftest import SERVER

pytest.importorskip("prefect")
pytestmark = pytest.mark.build


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One corpus and one undisturbed build for all."""
    return faults.Lab(tmp_path_factory.mktemp("lab"), SERVER.variables()["PREFECT_API_URL"])


@pytest.mark.parametrize("name", [name for name in faults.FAULTS if name != "file_too_large"])
def test_survived(lab, name):
    try:
        outcome = faults.FAULTS[name](lab, 1)
    except PermissionError:  # mounting a small disk takes root; a limit on the size of files takes nothing
        outcome = faults.file_too_large(lab, 1)
    assert outcome.injected > 0, outcome.said
    assert outcome.survived, outcome.said
    assert outcome.equal, outcome.said
    assert outcome.twice == 0, outcome.said
