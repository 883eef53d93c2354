"""Diarize with pyannote.audio 4: who speaks when, also where several speak at once.

Bredin, "pyannote.audio 2.1 speaker diarization pipeline" (Interspeech 2023): a network marks the speakers of
every window of 10 s (powerset: Plaquet & Bredin, "Powerset multi-class cross entropy loss for neural speaker
diarization", Interspeech 2023), each gets a vector (Wang et al., "WeSpeaker", ICASSP 2023), and vectors of
all windows are clustered into speakers (VBx: Landini et al., Computer Speech & Language 71, 2022).

pyannote.audio reports every use to its makers unless `PYANNOTE_METRICS_ENABLED` is false; it is set so here,
before the library is imported, unless the environment already has a value.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from paqa.engines._signal import mono
from paqa.engines.base import AtLeastOne, EngineOutput, Millis, Share, Weights, not_in_key
from paqa.engines.weights import RemoteWeights, locate, resolve_model, revision, trusted
from paqa.errors import PaqaError
from paqa.types import Audio, Stage, Turn

BEHAVIOUR = 1  # raise it when the same weights and parameters would give other turns
RATE = 16_000  # Hz
COMMUNITY = "pyannote/speaker-diarization-community-1"
SHIPPED = "segmentation-3.0+campplus"
FILES = ("config.yaml", "*/pytorch_model.bin", "*/*.npz")
KNOWN = {
    SHIPPED: RemoteWeights(
        path=str(Path(__file__).with_name("data")),
        model=SHIPPED,
        license="MIT and Apache-2.0",
        origin="in paqa itself: pyannote/segmentation-3.0, and CAM++ of 3D-Speaker",
        files=("segmentation-3.0.onnx", "campplus.onnx"),
    ),
    COMMUNITY: RemoteWeights(
        path=COMMUNITY,
        model="speaker-diarization-community-1",
        license="CC-BY-4.0",
        origin=f"{COMMUNITY} on the Hugging Face Hub",
        files=FILES,
        repo=COMMUNITY,
        gated=True,
    ),
}
PIPELINE = "pyannote.audio.pipelines.SpeakerDiarization"
TOP_KEYS = {"dependencies", "pipeline", "params"}
PARTS = ("segmentation", "embedding", "plda")
PARAM_KEYS = {
    *PARTS,
    "clustering",
    "segmentation_step",
    "segmentation_batch_size",
    "embedding_batch_size",
    "embedding_exclude_overlap",
}

Stretch = tuple[float, float, str]  # start and end in seconds, and pyannote's name of the speaker


@dataclass(frozen=True)
class PyannoteParams:
    """Which pipeline, and what is known about the speakers. None: as the pipeline itself does."""

    # or SHIPPED, whose networks come with paqa; or another Hub id, or a local folder with config.yaml
    model: str = not_in_key(COMMUNITY)
    sha256: str | None = not_in_key(None)  # of the folder, as in the engine's revision
    allow_pickle: bool = not_in_key(False)  # open checkpoints that could run code
    num_speakers: AtLeastOne | None = None  # fewer result where fewer voices can be told apart
    min_speakers: AtLeastOne | None = None
    max_speakers: AtLeastOne | None = None
    # turns of one speaker less than this apart become one; None: as config.yaml says
    join_ms: Millis | None = None
    segmentation_step: Share | None = None  # of a window, between windows; None: 0.1; time is inverse to it
    # windows a call; None: 8 on the CPU, 32 elsewhere
    segmentation_batch_size: Annotated[int, Meta(ge=1)] | None = not_in_key(None)
    # windows a call; None: 1 on the CPU, 32 elsewhere
    embedding_batch_size: Annotated[int, Meta(ge=1)] | None = not_in_key(None)


class Pyannote:
    """Turns without text on the 10 ms grid: overlapping ones, and exclusive ones of the same speakers."""

    name: ClassVar[str] = "pyannote"
    stage: ClassVar[Stage] = "diarize"
    package: ClassVar[str] = "pyannote.audio"
    Params: ClassVar[type] = PyannoteParams
    gpu_precision: ClassVar[str | None] = "float32"
    weights: ClassVar[tuple[Weights, ...]] = ()

    @classmethod
    def remotes(cls, params: PyannoteParams) -> tuple[RemoteWeights, ...]:
        """The one folder with all networks."""
        return (resolve_model(params.model, cls.name, KNOWN, FILES),)

    @classmethod
    def identify(cls, params: PyannoteParams = PyannoteParams()) -> str:
        """Revision from the hashes of `config.yaml`, both networks and the PLDA."""
        return revision(BEHAVIOUR, cls.package, cls.remotes(params)[0], params.sha256)

    def __init__(self, params: PyannoteParams = PyannoteParams(), device: str = "cpu", threads: int = 1):
        check_params(params)
        self.params, self.threads = params, threads
        self.revision = self.identify(params)
        folder = locate(self.remotes(params)[0])
        os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "false")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # e.g. that torchcodec cannot decode files, which is not needed
            import torch

            self._torch = torch
            self.pipeline, pause_s = self._open(folder)
            self.pipeline.to(torch.device(device))
        self.join_s = pause_s if params.join_ms is None else params.join_ms / 1000
        segmentation_default, embedding_default = (8, 1) if device == "cpu" else (32, 32)
        self.pipeline.segmentation_batch_size = params.segmentation_batch_size or segmentation_default
        self.pipeline.embedding_batch_size = params.embedding_batch_size or embedding_default

    def _open(self, folder: Path) -> tuple[Any, float]:
        """The pipeline, and the pause in s over which it wants turns joined."""
        params = self.params
        if params.model == SHIPPED:
            from paqa.engines._pyannote_shipped import open_shipped_pipeline

            return open_shipped_pipeline(folder, params.segmentation_step, self.threads), 0.0
        from paqa.engines._pyannote import open_pipeline

        config = read_config(folder / "config.yaml")
        pause_s = pop_pause(config)
        pin = self.revision.rpartition("/")[2]
        return open_pipeline(folder, config, params.segmentation_step, trusted(params), pin), pause_s

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        self._torch.set_num_threads(self.threads)
        return [self._run(audio) for audio in batch]

    def _run(self, audio: Audio) -> EngineOutput:
        signal = mono(audio, RATE)
        if not np.any(signal):
            return EngineOutput()
        file = {"waveform": self._torch.from_numpy(signal)[None], "sample_rate": RATE, "uri": "clip"}
        p = self.params
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # about means of nothing, in silence and in very short clips
            diarization: Any = self.pipeline(
                file, num_speakers=p.num_speakers, min_speakers=p.min_speakers, max_speakers=p.max_speakers
            )
        stretches = sorted_stretches(diarization.speaker_diarization)
        exclusive = sorted_stretches(diarization.exclusive_speaker_diarization)
        joined: list[Stretch] = []
        for speaker in {stretch[2] for stretch in stretches}:
            joined += joined_over_pauses((s for s in stretches if s[2] == speaker), self.join_s)
        return numbered_turns(
            on_grid(joined, audio.duration_ms),
            on_grid(joined_over_pauses(exclusive, self.join_s), audio.duration_ms),
        )


def check_params(params: PyannoteParams) -> None:
    """PaqaError about parameters that the pipeline would fail on later, or misread."""
    p = params
    counts = {
        "num_speakers": p.num_speakers,
        "min_speakers": p.min_speakers,
        "max_speakers": p.max_speakers,
        "segmentation_batch_size": p.segmentation_batch_size,
        "embedding_batch_size": p.embedding_batch_size,
    }
    for name, count in counts.items():
        if count is not None and count < 1:
            raise PaqaError(f"engine pyannote: {name} is {count}; expected 1 or more, or none")
    if p.num_speakers is None and (p.min_speakers or 1) > (p.max_speakers or np.inf):
        raise PaqaError(
            f"engine pyannote: min_speakers {p.min_speakers} is above max_speakers {p.max_speakers}"
        )
    if p.segmentation_step is not None and not 0 < p.segmentation_step <= 1:
        raise PaqaError(
            f"engine pyannote: segmentation_step is {p.segmentation_step}; expected a share in (0, 1]"
        )
    if p.join_ms is not None and p.join_ms < 0:
        raise PaqaError(f"engine pyannote: join_ms is {p.join_ms}; expected 0 or more")


def read_config(path: Path) -> dict[str, Any]:
    """A pipeline's `config.yaml`; PaqaError where it names code other than pyannote.audio's own pipeline.

    `pipeline.name`, `preprocessors` and paths to other models are how a config would run or fetch something
    else.
    """
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        problem = _problem(config["pipeline"], config["pipeline"]["params"], config)
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}, expected the settings of a pipeline"
    if problem:
        raise PaqaError(f"{path}: {problem}; use {COMMUNITY}, or a folder laid out as that one is")
    return dict(config)


def _problem(pipeline: dict[str, Any], params: dict[str, Any], config: dict[str, Any]) -> str | None:
    """What is wrong with a config; raises where it has not even the form of one."""
    tuned = config["params"]["segmentation"]
    float(tuned.get("min_duration_off", 0.0))
    problem = (
        _unknown("", config, TOP_KEYS)
        or _unknown("pipeline.", pipeline, {"name", "params"})
        or _unknown("pipeline.params.", params, PARAM_KEYS)
        or _unknown("params.", config["params"], {"segmentation", "clustering"})
        or _unknown("params.segmentation.", tuned, {"threshold", "min_duration_off"})
        or _mismatch("pipeline.name", pipeline["name"], re.escape(PIPELINE), PIPELINE)
        or _mismatch("pipeline.params.clustering", params.get("clustering"), "VBxClustering", "VBxClustering")
    )
    for part in PARTS:
        mismatch = _mismatch(
            f"pipeline.params.{part}", params.get(part), r"\$model/\w[\w-]*", "$model/FOLDER"
        )
        problem = problem or mismatch
    return problem


def _unknown(where: str, table: dict[str, Any], expected: set[str]) -> str | None:
    """A key of a table that is not expected, in words."""
    unknown = sorted(str(key) for key in table if key not in expected)
    return f"found {where}{unknown[0]}, expected only {', '.join(sorted(expected))}" if unknown else None


def _mismatch(key: str, setting: Any, pattern: str, expected: str) -> str | None:
    """A setting that is no text of the pattern, in words."""
    fits = isinstance(setting, str) and re.fullmatch(pattern, setting)
    return None if fits else f"found {key} {setting!r}, expected {expected}"


def pop_pause(config: dict[str, Any]) -> float:
    """The config's `min_duration_off` in s, set to 0 there: the engine itself joins turns over pauses."""
    settings = config["params"]["segmentation"]
    pause, settings["min_duration_off"] = settings.get("min_duration_off", 0.0), 0.0
    return float(pause)


def sorted_stretches(annotation: Any) -> list[Stretch]:
    """A pyannote annotation in order of time."""
    return sorted(
        (span.start, span.end, str(who)) for span, _, who in annotation.itertracks(yield_label=True)
    )


def joined_over_pauses(ordered: Iterable[Stretch], pause_s: float) -> list[Stretch]:
    """Stretches in order, in which neighbours of one speaker less than `pause_s` apart are one."""
    joined: list[Stretch] = []
    for start, end, who in ordered:
        if joined and joined[-1][2] == who and start - joined[-1][1] < pause_s:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]), who)
        else:
            joined.append((start, end, who))
    return joined


def on_grid(stretches: Iterable[Stretch], duration_ms: int) -> list[tuple[int, int, str]]:
    """Stretches in ms on the 10 ms grid inside the clip, in order; what lies in padding behind it goes."""
    last = duration_ms // 10 * 10
    rounded = []
    for start_s, end_s, who in stretches:
        start, end = min(last, round(start_s * 100) * 10), min(last, round(end_s * 100) * 10)
        if start < end:
            rounded.append((start, end, who))
    return sorted(rounded)


def numbered_turns(
    regular: list[tuple[int, int, str]], exclusive: list[tuple[int, int, str]]
) -> EngineOutput:
    """Both as turns, with speakers numbered by their first regular turn."""
    number = {who: i for i, who in enumerate(dict.fromkeys(who for _, _, who in regular), start=1)}
    return EngineOutput(
        turns=tuple(Turn(a, b, number[who]) for a, b, who in regular),
        exclusive=tuple(Turn(a, b, number[who]) for a, b, who in exclusive if who in number),
    )
