"""pyannote.audio: the contract of engines, the stock pipeline's own turns, and files that must not run.

Locally made weights hear nothing in particular; with the reference in place of the segmentation network, the
rest of the engine's path has to give the reference back.
"""

import os
import re
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from closeness import steps
from contract import Contract, Subject, altered, call, check, noise, output, part, plain, sample, silence

from paqa.engines.base import EngineOutput, engine_class
from paqa.engines.pyannote import (
    COMMUNITY,
    FILES,
    Pyannote,
    PyannoteParams,
    joined_over_pauses,
    numbered_turns,
    on_grid,
    sorted_stretches,
)
from paqa.errors import PaqaError
from paqa.types import Audio

torch = pytest.importorskip("torch")
pytest.importorskip("pyannote.audio")
make_pyannote = pytest.importorskip("localmodels.make_pyannote")

CLOSE = 200  # steps, of vectors whose numbers go up to 10; seen: 12, and 18 with AVX2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return make_pyannote.make(tmp_path_factory.mktemp("models"), tiny=True)


@pytest.fixture(scope="module")
def subject(tiny):
    return Subject("pyannote", {"model": str(tiny)})


@pytest.fixture
def engine(tiny) -> Pyannote:
    """One of its own, for tests that change it."""
    return Pyannote(PyannoteParams(model=str(tiny)))


@pytest.fixture(scope="module")
def stock(tiny):
    """The pipeline as the library loads and runs it."""
    from pyannote.audio import Pipeline

    return Pipeline.from_pretrained(tiny)


@pytest.fixture
def copy(tiny, tmp_path) -> Path:
    """A folder to spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


class TestContract(Contract):
    """Bit for bit, also with another number of threads and for two equal channels."""


def asked(audio: Audio) -> dict[str, Any]:
    return {"waveform": torch.from_numpy(audio.samples), "sample_rate": audio.rate, "uri": "clip"}


# ---------------------------------------------------------------- equal to the library


@pytest.mark.parametrize("span", [(14, 18), (3, 16.3)], ids=["padded", "long"])
def test_hears_the_turns_of_the_stock_pipeline(stock, subject, span):
    clip = part(*span)
    found, heard = stock(asked(clip)), subject.engine([clip])[0]
    assert len(heard.turns) > 10
    assert {turn.speaker for turn in heard.turns} >= {1, 2}
    assert heard == numbered_turns(
        on_grid(sorted_stretches(found.speaker_diarization), clip.duration_ms),
        on_grid(sorted_stretches(found.exclusive_speaker_diarization), clip.duration_ms),
    )


@pytest.mark.parametrize("exclude_overlap", [True, False])
def test_the_vectors_are_those_of_the_stock_pipeline(stock, subject, exclude_overlap):
    clip = part(2, 16.3)
    active = stock.get_segmentations(asked(clip))
    expected = stock.get_embeddings(asked(clip), active, exclude_overlap)
    for batch in (1, 4):
        subject.engine.pipeline.embedding_batch_size = batch
        found = subject.engine.pipeline.get_embeddings(asked(clip), active, exclude_overlap)
        assert steps(found, expected) < CLOSE
    subject.engine.pipeline.embedding_batch_size = 1


def test_passes_only_where_somebody_speaks(stock, engine):
    """Four windows: a blink too short for the pooling; 1 s of two speakers; 0.1 s of one; all three all the
    time.
    """
    active = stock.get_segmentations(asked(part(0, 13)))
    active.data[:] = 0
    active.data[0, 300, 0] = 1
    active.data[1, 100:160, 0] = active.data[1, 140:160, 1] = 1
    active.data[2, 300:305, 2] = 1
    active.data[3] = 1
    expected = stock.get_embeddings(asked(part(0, 13)), active, exclude_overlap=True)
    network, widths = engine.pipeline._embedding.model_.resnet.conv1, []
    hook = network.register_forward_hook(lambda _module, given, _out: widths.append(tuple(given[0].shape)))
    found = engine.pipeline.get_embeddings(asked(part(0, 13)), active, exclude_overlap=True)
    hook.remove()
    assert steps(found, expected) < CLOSE
    assert [(n, frames) for n, _, _, frames in widths if frames > 200] == [(1, 320), (1, 232), (1, 998)]


# ---------------------------------------------------------------- the reference as oracle


@pytest.fixture
def reference() -> Any:
    core = pytest.importorskip("pyannote.core")
    found = core.Annotation()
    rows = [line.split() for line in sample("sample.rttm").read_text().splitlines() if line]
    for i, row in enumerate(rows):
        found[core.Segment(float(row[3]), float(row[3]) + float(row[4])), i] = row[7]
    return found


@pytest.fixture
def oracle(engine, reference) -> Pyannote:
    """An engine whose network and clustering know the reference; all else is as it is."""
    from pyannote.audio.pipelines.clustering import OracleClustering
    from pyannote.audio.pipelines.utils.oracle import oracle_segmentation
    from pyannote.core import SlidingWindow

    class Known(OracleClustering):
        def __call__(self, segmentations, frames, file, **_):
            return super().__call__(
                segmentations=segmentations, frames=frames, file={**file, "annotation": reference}
            )

    def known(file, hook=None):
        windows, frames = (
            SlidingWindow(duration=10, step=1),
            engine.pipeline._segmentation.model.receptive_field,
        )
        return oracle_segmentation({**file, "annotation": reference}, windows, frames, num_speakers=3)

    engine.pipeline.get_segmentations = known
    engine.pipeline.clustering = Known()
    return engine


def overlap_ms(turns) -> int:
    """How long at least two speak."""
    active = np.zeros((4, 30_000), dtype=bool)
    for turn in turns:
        active[turn.speaker, turn.start_ms : turn.end_ms] = True
    return int((active.sum(axis=0) > 1).sum())


def test_the_oracle_gives_the_reference_back(oracle, reference):
    core = pytest.importorskip("pyannote.core")
    metrics = pytest.importorskip("pyannote.metrics.diarization")
    (heard,) = oracle([call()])
    check(heard, call())
    found = core.Annotation()
    for i, turn in enumerate(heard.turns):
        found[core.Segment(turn.start_ms / 1000, turn.end_ms / 1000), i] = turn.speaker
    whole = core.Timeline([core.Segment(0, 30)])
    assert metrics.DiarizationErrorRate()(reference, found, uem=whole) < 0.05  # measured: 0.012


def test_overlap_is_in_the_turns_and_not_in_the_exclusive_ones(oracle, reference):
    (heard,) = oracle([call()])
    expected = reference.get_overlap().duration() * 1000
    assert overlap_ms(heard.turns) == pytest.approx(expected, abs=150)  # edges lie on frames of 17 ms
    assert overlap_ms(heard.exclusive) == 0
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(heard.exclusive))
    spoken = {t // 10 for turn in heard.turns for t in range(turn.start_ms, turn.end_ms, 10)}
    assert spoken == {t // 10 for turn in heard.exclusive for t in range(turn.start_ms, turn.end_ms, 10)}


def test_pauses_are_bridged_only_where_nobody_else_speaks(oracle):
    (heard,) = oracle([call()])
    oracle.join_s = 1.5
    (joined,) = oracle([call()])
    check(joined, call())
    assert len(joined.turns) < len(heard.turns)
    assert overlap_ms(joined.exclusive) == 0
    assert overlap_ms(joined.turns) > overlap_ms(heard.turns)


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"num_speakers": 1}, {1}),
        ({"num_speakers": 3}, {1, 2, 3}),
        ({"min_speakers": 3}, {1, 2, 3}),
        ({"max_speakers": 1}, {1}),
    ],
    ids=str,
)
def test_the_number_of_speakers_can_be_given(tiny, known, expected):
    (heard,) = Pyannote(PyannoteParams(model=str(tiny), segmentation_step=0.25, **known))([part(4, 22)])
    check(heard, part(4, 22))
    assert {turn.speaker for turn in heard.turns} == expected


@pytest.mark.filterwarnings("error")
def test_more_speakers_than_can_be_told_apart_are_no_error(tiny, capfd):
    engine = Pyannote(PyannoteParams(model=str(tiny), num_speakers=9))
    clips = [
        noise(8),
        noise(1_600),
        part(14, 14.4),
        part(14, 16),
        silence(16_000 * 3),
        Audio(np.zeros((1, 0), "f4"), 8_000),
    ]
    for clip, heard in zip(clips, engine(clips), strict=True):
        check(heard, clip)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_speakers": 0},
        {"min_speakers": 3, "max_speakers": 2},
        {"segmentation_step": 0.0},
        {"join_ms": -1},
        {"embedding_batch_size": 0},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(tiny, wrong):
    with pytest.raises(PaqaError, match=next(iter(wrong))):
        Pyannote(PyannoteParams(model=str(tiny), **wrong))


def test_how_it_is_run_is_no_part_of_the_key():
    from paqa.engines.base import key_parameters

    assert key_parameters(PyannoteParams()) == key_parameters(
        PyannoteParams("other", "00", True, embedding_batch_size=4)
    )


# ---------------------------------------------------------------- the parts that decide


def test_neighbours_become_one_where_the_pause_is_short():
    spans = [(0.0, 1.0, "a"), (1.2, 2.0, "a"), (2.1, 2.3, "b"), (2.4, 3.0, "a")]
    assert joined_over_pauses(spans, 0.5) == [(0.0, 2.0, "a"), (2.1, 2.3, "b"), (2.4, 3.0, "a")]
    assert joined_over_pauses(spans, 0.0) == spans


def test_what_lies_in_the_padding_is_gone():
    assert on_grid([(0.004, 0.996, "a"), (0.5, 1.3, "b"), (1.27, 9.0, "a")], 1_276) == [
        (0, 1_000, "a"),
        (500, 1_270, "b"),
    ]


def test_speakers_are_numbered_by_their_first_turn():
    heard = numbered_turns(
        [(0, 50, "B"), (20, 90, "A")], [(0, 30, "B"), (30, 90, "A"), (90, 100, "only here")]
    )
    assert [t.speaker for t in heard.turns] == [t.speaker for t in heard.exclusive] == [1, 2]


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("pattern", FILES)
def test_every_file_is_in_the_revision(copy, pattern):
    for file in sorted(copy.glob(pattern)):
        before = Pyannote.identify(PyannoteParams(model=str(copy)))
        file.write_bytes(file.read_bytes() + b"\n")
        assert Pyannote.identify(PyannoteParams(model=str(copy))) != before


def test_a_pinned_hash_is_held(tiny, tmp_path):
    pin = Pyannote.identify(PyannoteParams(model=str(tiny))).rpartition("/")[2]
    assert pin in Pyannote.identify(PyannoteParams(model=str(tiny), sha256=pin))
    with pytest.raises(PaqaError, match=f"expected {pin}"):
        Pyannote(PyannoteParams(model=str(altered(tiny, tmp_path)), sha256=pin))


class Bomb:
    """What unpickling a checkpoint could do."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from torch.torch_version import TorchVersion

    with torch.serialization.safe_globals([Problem, Resolution, Specifications, TorchVersion]):
        checkpoint = torch.load(path)
    change(checkpoint)
    torch.save(checkpoint, path)


@pytest.mark.parametrize("part_", ["segmentation", "embedding"])
def test_a_checkpoint_that_would_run_code_is_refused(copy, tmp_path, part_):
    proof = tmp_path / "ran"
    rewrite(copy / part_ / "pytorch_model.bin", lambda c: c.update(callbacks=Bomb(proof)))
    with pytest.raises(PaqaError, match=r"could run code.*sha256") as refused:
        Pyannote(PyannoteParams(model=str(copy)))
    assert part_ in str(refused.value)
    assert not proof.exists()
    pin = re.findall(r'sha256 = "(\w+)"', str(refused.value))[0]
    with pytest.raises(PaqaError, match="could run code"):
        Pyannote(PyannoteParams(model=str(copy), sha256=pin))  # a pin says which file, not that it is good
    assert not proof.exists()
    Pyannote(PyannoteParams(model=str(copy), sha256=pin, allow_pickle=True))
    assert proof.exists()


def test_a_pickle_among_the_arrays_is_refused(copy, tmp_path):
    proof = tmp_path / "ran"
    with np.load(copy / "plda" / "plda.npz") as arrays:
        np.savez(copy / "plda" / "plda.npz", **{**arrays, "mu": np.array([Bomb(proof)], dtype=object)})
    with pytest.raises(PaqaError, match=r"plain arrays.*allow_pickle"):
        Pyannote(PyannoteParams(model=str(copy)))
    assert not proof.exists()


@pytest.mark.parametrize(
    "named",
    [("subprocess", "Popen"), ("pyannote.audio.models.segmentation.SSeRiouSS", "SSeRiouSS"), ("", "")],
    ids=str,
)
def test_other_architectures_are_refused(copy, named):
    place = dict(zip(("module", "class"), named, strict=True))
    rewrite(
        copy / "segmentation" / "pytorch_model.bin", lambda c: c["pyannote.audio"].update(architecture=place)
    )
    with pytest.raises(PaqaError, match=r"pytorch_model.bin: found the architecture .*expected"):
        Pyannote(PyannoteParams(model=str(copy)))


def test_what_hyper_parameters_name_is_not_called(copy, tmp_path):
    """Lightning imports and calls what stands there."""
    (tmp_path / "evil.py").write_text("def build(kind, given): raise SystemExit('called')")
    rewrite(
        copy / "segmentation" / "pytorch_model.bin",
        lambda c: c["hyper_parameters"].update(_instantiator="evil.build"),
    )
    assert Pyannote(PyannoteParams(model=str(copy)))([part(14, 15)])


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("pipeline.name", "os.system"),
        ("pipeline.params.embedding", "pyannote/wespeaker-voxceleb-resnet34-LM"),
        ("pipeline.params.plda", "$model/../elsewhere"),
        ("pipeline.params.clustering", "OracleClustering"),
        ("pipeline.params.token", "secret"),
        ("preprocessors.audio", {"name": "subprocess.Popen", "params": {"args": "true"}}),
        ("params.segmentation.min_duration_off", "soon"),
        ("params.clustering.depth", 17.0),
        ("dependencies.pyannote.audio", "9.0.0"),
    ],
    ids=str,
)
def test_a_config_that_wants_something_else_is_refused(copy, where, value):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    head, _, tail = where.partition("dependencies.") if where.startswith("dep") else where.rpartition(".")
    keys = ["dependencies"] if where.startswith("dep") else head.split(".")
    table = config
    for key in keys:
        table = table.setdefault(key, {})
    table[tail] = value
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(PaqaError, match=r"config\.yaml"):
        Pyannote(PyannoteParams(model=str(copy)))


def test_no_config_and_no_checkpoint_are_clear_errors(copy):
    (copy / "config.yaml").write_text("[")
    with pytest.raises(PaqaError, match="settings of a pipeline"):
        Pyannote(PyannoteParams(model=str(copy)))
    shutil.copyfile(make_pyannote.__file__, copy / "embedding" / "pytorch_model.bin")
    (copy / "config.yaml").write_text(yaml.safe_dump(make_pyannote.CONFIG))
    with pytest.raises(PaqaError, match=r"embedding/pytorch_model\.bin"):
        Pyannote(PyannoteParams(model=str(copy)))


def test_the_config_decides_about_pauses_unless_the_recipe_does(copy):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["params"]["segmentation"]["min_duration_off"] = 0.4
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    assert Pyannote(PyannoteParams(model=str(copy))).join_s == 0.4
    assert Pyannote(PyannoteParams(model=str(copy), join_ms=250)).join_s == 0.25


# ---------------------------------------------------------------- the Hub and the telemetry

MISSING = """
from paqa.engines.weights import MissingWeights
from paqa.engines.pyannote import Pyannote
try: Pyannote()
except MissingWeights as error: print(error)
"""


def alone(folder: Path, **variables: str) -> dict[str, str]:
    """The environment of somebody without any models."""
    return {**os.environ, "HF_HOME": str(folder / "hub"), "PAQA_MODELS": str(folder / "models"), **variables}


def test_without_a_cache_the_next_command_is_named(tmp_path):
    said = output(MISSING, **alone(tmp_path, HF_HUB_OFFLINE="1"))
    assert "paqa doctor RECIPE.toml --fetch" in said
    assert COMMUNITY in said
    assert "token" in said


class Gate(BaseHTTPRequestHandler):
    """A Hub that wants its conditions accepted first."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_gated_model_without_a_token_says_what_to_accept(tmp_path):
    server = HTTPServer(("127.0.0.1", 0), Gate)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        said = output(
            MISSING,
            **alone(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}", HF_HUB_OFFLINE="0"),
        )
    finally:
        server.shutdown()
    assert "conditions accepted" in said
    assert "HF_TOKEN" in said


def test_nothing_is_reported_to_anybody(tiny, tmp_path):
    """No name is looked up and no connection made in a process that hears a clip; the library reports by
    default.
    """
    code = (
        "import sys, time, numpy as np\n"
        "from paqa.engines.pyannote import Pyannote, PyannoteParams\n"
        "from paqa.types import Audio\n"
        "seen = []\n"
        "calls = ('socket.connect', 'socket.getaddrinfo', 'socket.sendto')\n"
        "sys.addaudithook(lambda event, args: seen.append(event) if event in calls else None)\n"
        f"engine = Pyannote(PyannoteParams(model={str(tiny)!r}))\n"
        "noise = np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype('f4')\n"
        "assert engine([Audio(noise, 16000)])[0].turns\n"
        "time.sleep(1.5)\n"  # the reporting thread wakes up twice a second
        "from pyannote.audio.telemetry.metrics import is_metrics_enabled\n"
        "print(seen, is_metrics_enabled())\n"
    )
    variables = alone(tmp_path)
    variables.pop("PYANNOTE_METRICS_ENABLED", None)
    assert output(code, **variables) == "[] False"


def test_is_the_registered_engine(engine):
    assert engine_class("pyannote") is Pyannote
    assert plain(engine([silence(16_000)])[0]) == plain(EngineOutput())
