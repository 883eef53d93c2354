"""What every engine promises, as tests: a test module defines the fixture `subject` and inherits `Contract`.

@pytest.fixture(scope="module", params=[Subject("yamnet")], ids=str)
def subject(request):
return request.param

class TestContract(Contract): ...
"""

import base64
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from closeness import steps

from paqa.engines._signal import resample
from paqa.engines.base import ENGINES, EngineOutput, engine_class, package_file
from paqa.engines.contract import output_problems, problems_of
from paqa.engines.weights import digest, locate
from paqa.types import Audio

SELDOM = 0.02  # share of events whose spans may differ between settings
WORD_MS = 20  # a step of Whisper's clock
RATES = (8_000, 16_000, 44_100, 48_000)
HEAVY = (
    *(
        "torch",
        "torchaudio",
        "onnxruntime",
        "onnx",
        "ctranslate2",
        "faster_whisper",
        "whisper",
        "transformers",
        "demucs",
        "soxr",
    ),
    *(
        "panns_inference",
        "torchlibrosa",
        "pyannote.audio",
        "scipy",
        "sklearn",
        "librosa",
        "matplotlib",
        "numba",
    ),
)


@dataclass(frozen=True, eq=False)
class Subject:
    """An engine under the contract: its name, its parameters, and how far its numbers may differ between
    settings.

    `tolerance` (in steps, see closeness.py) is allowed where another number of threads, or two equal channels
    in place of one, may round otherwise: 0 for engines whose runtimes compute the same in any case. A batch
    always equals its clips bit for bit.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> type[Any]:
        return engine_class(self.name)

    @property
    def given(self) -> Any:
        return self.kind.Params(**self.params)

    @cached_property
    def engine(self) -> Any:
        """One instance for all tests: that they all pass shows that calls leave nothing behind."""
        return self.new()

    def new(self, **how: Any) -> Any:
        return self.kind(self.given, **how)


def sample(name: str) -> Path:
    """A file of the telephone call that pyannote.audio ships: 30 s, 16 kHz, two speakers; without importing
    torch.
    """
    return Path(
        importlib.metadata.distribution("pyannote.audio").locate_file(f"pyannote/audio/sample/{name}")
    )


@cache
def call() -> Audio:
    samples, rate = soundfile.read(sample("sample.wav"), dtype="float32", always_2d=True)
    return Audio(samples.T.copy(), rate)


def part(start_s: float, end_s: float, rate: int = 16_000) -> Audio:
    whole = call()
    cut = whole.samples[:, round(start_s * whole.rate) : round(end_s * whole.rate)]
    return Audio(resample(cut, whole.rate, rate), rate)


def noise(samples: int, channels: int = 1, rate: int = 16_000) -> Audio:
    drawn = np.random.default_rng(samples).normal(0, 0.1, (channels, samples))
    return Audio(drawn.astype(np.float32), rate)


def silence(samples: int, rate: int = 16_000) -> Audio:
    return Audio(np.zeros((1, samples), np.float32), rate)


def plain(heard: EngineOutput) -> Any:
    """Everything that was heard, comparable bit for bit."""
    stems = {
        name: (stem.rate, stem.samples.shape, stem.samples.tobytes()) for name, stem in heard.stems.items()
    }
    return stems, *(getattr(heard, f.name) for f in fields(EngineOutput) if f.name != "stems")


def alike(one: EngineOutput, other: EngineOutput, tolerance: float) -> bool:
    """Whether both heard the same: names and spans, and numbers that are at most `tolerance` steps apart.

    A number that lies on a threshold may fall to either side of it: a few events may have other spans, and a
    word may begin or end a step of Whisper's clock earlier.
    """
    if tolerance == 0.0:
        return plain(one) == plain(other)
    spans = [{(e.mid, e.start_ms, e.end_ms) for e in heard.events} for heard in (one, other)]
    edges = [[ms for w in heard.words for ms in (w.start_ms, w.end_ms)] for heard in (one, other)]
    return (
        names(one) == names(other)
        and len(spans[0] ^ spans[1]) <= SELDOM * len(spans[0])
        and all(abs(a - b) <= WORD_MS for a, b in zip(*edges, strict=True))
        and all(steps(*pair, size=size) <= tolerance for *pair, size in numbers(one, other))
    )


def names(heard: EngineOutput) -> Any:
    """What was heard, without when and how sure the engine is."""
    return heard.stems.keys(), heard.turns, heard.exclusive, [w.text for w in heard.words], heard.language


def numbers(one: EngineOutput, other: EngineOutput) -> Iterator[tuple[Any, Any, float]]:
    """What the engine is not sure of: probabilities as single precision has them, samples; and the size of
    these.
    """
    scores = {tag.mid: tag.score for tag in other.tags}
    both = [(tag.score, scores[tag.mid]) for tag in one.tags if tag.mid in scores]
    both += [(a.score, b.score) for a, b in zip(one.words, other.words, strict=True)]
    if both:
        yield *np.array(both, np.float32).T, 1.0
    size = max((np.abs(stem.samples).max() for stem in other.stems.values()), default=0.0)
    yield from ((stem.samples, other.stems[name].samples, float(size)) for name, stem in one.stems.items())


def check(heard: EngineOutput, audio: Audio) -> None:
    """What holds for any engine's answer about any audio."""
    assert output_problems(heard, audio) == []


def output(code: str, **variables: str) -> str:
    """What a fresh interpreter prints; `variables` are its environment where they are given."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables or None)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def altered(path: Path, folder: Path) -> Path:
    """A copy of a model's file or folder with the same names, in which one byte of its largest file
    differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / path.name
    (shutil.copytree if path.is_dir() else shutil.copyfile)(path, copy)
    files = [f for f in copy.rglob("*") if f.is_file()] if copy.is_dir() else [copy]
    with max(files, key=lambda f: f.stat().st_size).open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    return copy


class Contract:
    """Shape, rate, alignment, determinism, silence, very short input, stereo, batches, revisions, light
    imports.
    """

    @pytest.mark.parametrize("rate", RATES)
    def test_any_rate(self, subject: Subject, rate: int) -> None:
        audio = part(14, 18, rate)
        (heard,) = subject.engine([audio])
        check(heard, audio)
        assert plain(heard) != plain(subject.engine([silence(4 * rate, rate)])[0])

    def test_what_is_asked_of_a_plugin(self, subject: Subject) -> None:
        """Very short clips among it, of one and two channels."""
        assert list(problems_of(subject.engine, [part(17, 19)])) == []

    @pytest.mark.parametrize("samples", [1, 320, 48_000])
    def test_silence_is_heard_as_nothing(self, subject: Subject, samples: int) -> None:
        audio = silence(samples)
        (heard,) = subject.engine([audio])
        check(heard, audio)
        assert (heard.turns, heard.exclusive, heard.events, heard.words) == ((), (), (), ())
        assert all(np.abs(stem.samples).max() < 1e-6 for stem in heard.stems.values())

    def test_stereo_of_two_equal_channels_is_heard_as_mono(self, subject: Subject) -> None:
        one = part(14, 18)
        two = Audio(np.vstack([one.samples, one.samples]), one.rate)
        mono, stereo = subject.engine([one])[0], subject.engine([two])[0]
        check(stereo, two)
        stems = {n: Audio(s.samples.mean(axis=0, keepdims=True), s.rate) for n, s in stereo.stems.items()}
        assert alike(replace(stereo, stems=stems), mono, subject.tolerance)

    def test_a_batch_equals_its_clips_in_any_order(self, subject: Subject) -> None:
        clips = [part(7, 11), silence(8_000), noise(16_000, 2), part(21, 24, 8_000)]
        alone = [plain(subject.engine([clip])[0]) for clip in clips]
        assert [plain(heard) for heard in subject.engine(clips)] == alone
        assert [plain(heard) for heard in subject.engine(clips[::-1])] == alone[::-1]
        assert list(subject.engine([])) == []

    def test_a_second_instance_hears_the_same(self, subject: Subject) -> None:
        clip = part(17, 20)
        before = subject.engine([clip])[0]
        assert alike(subject.new(threads=2)([clip])[0], before, subject.tolerance)
        assert plain(subject.engine([clip])[0]) == plain(before)

    def test_revision_and_parameters(self, subject: Subject) -> None:
        kind, given = subject.kind, subject.given
        assert kind.name == subject.name
        assert kind.identify(given) == kind.identify(given) == subject.engine.revision
        assert all(w.license and w.origin and w.model for w in (*kind.weights, *kind.remotes(given)))
        assert is_dataclass(kind.Params)
        assert kind.Params.__dataclass_params__.frozen
        assert kind.Params() == kind.Params()
        assert fields(kind.Params)

    def test_the_revision_holds_the_hashes_of_the_weights(self, subject: Subject) -> None:
        found = subject.kind.identify(subject.given)
        for weights in subject.kind.weights:
            recorded = base64.urlsafe_b64encode(bytes.fromhex(digest(Path(package_file(weights))))).decode()
            assert recorded[:12] in found
        for remote in subject.kind.remotes(subject.given):
            assert digest(locate(remote), remote.patterns) in found

    def test_the_revision_changes_with_the_weights(self, subject: Subject, tmp_path: Path) -> None:
        for remote in subject.kind.remotes(subject.given)[:1]:
            other = replace(subject.given, model=str(altered(locate(remote), tmp_path)))
            assert subject.kind.identify(other) != subject.kind.identify(subject.given)

    def test_importing_and_identifying_loads_nothing_heavy(self, subject: Subject) -> None:
        module = ENGINES[subject.name].partition(":")[0]
        params = msgspec.json.encode(subject.given).decode()
        code = (
            "import sys, msgspec; from paqa.engines.base import engine_class;"
            f"kind = engine_class({subject.name!r});"
            f"assert kind.identify(msgspec.json.decode({params!r}, type=kind.Params));"
            f"assert {module!r} in sys.modules; print(*(m for m in {HEAVY} if m in sys.modules))"
        )
        assert output(code) == ""
