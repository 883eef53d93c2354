"""Faults in real builds: what was injected was injected, the build survives it, to the same bytes, doing
nothing twice.

The faults themselves are in benchmarks/faults.py, which runs them more often and with any seeds.
"""

import faults
import pytest

from flows.server import Server

pytest.importorskip("prefect")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One corpus, one undisturbed build, and one Prefect server for all: each start would cost five
    seconds.
    """
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in faults.os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        server = Server(folder)
        try:
            yield faults.Lab(folder, server.start().wait())
        finally:
            server.stop()


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
