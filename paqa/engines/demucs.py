"""Separate with Demucs: speech = vocals, and background = mix - speech.

Rouard et al., "Hybrid Transformers for Music Source Separation" (ICASSP 2023); Défossez, "Hybrid Spectrogram
and Waveform Source Separation" (2021). The models are those of the package `demucs`; which audio goes into
which model call is decided here, so that the windows of many clips share calls and only the vocals are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from paqa.engines._demucs import ChunkWindow, Pass, Track, grouped_by_shape, is_transformer, open_bag
from paqa.engines._signal import resample
from paqa.engines.base import EngineOutput, Passes, Weights, not_in_key
from paqa.engines.weights import RemoteWeights, locate, models_folder, resolve_model, revision, trusted
from paqa.errors import PaqaError
from paqa.types import Audio, Stage

if TYPE_CHECKING:
    import torch

BEHAVIOUR = 1  # raise it when the same weights and parameters would give other stems
FILES = ("*.yaml", "*.safetensors")  # of a model on the Hub
OLD_FILES = ("*.yaml", "*.th")  # of a local repository of demucs
GPU_BATCH = 8  # windows per call


@dataclass(frozen=True)
class DemucsParams:
    """Which model, and how it goes over a clip; the defaults are the library's but for `shifts`."""

    # a known name, a Hub id, or the path of a folder or of a .safetensors or .th file
    model: str = not_in_key("htdemucs")
    sha256: str | None = not_in_key(None)  # refuse other weights than these
    allow_pickle: bool = not_in_key(False)  # open a .th file that could run code
    shifts: Passes = 0  # passes with the clip shifted by up to 0.5 s, averaged; 0: one pass, as it is
    overlap: Annotated[float, Meta(ge=0, lt=1)] = 0.25  # of neighbouring windows, as a share of a window
    # seconds of a window; None: as the model was trained
    segment: Annotated[float, Meta(ge=0.1)] | None = None
    # most seconds of a recording that are separated as one
    context_s: Annotated[int, Meta(ge=1, le=3600)] = not_in_key(300)
    # windows a call; None: 1 on a CPU, 8 on a GPU
    batch_size: Annotated[int, Meta(ge=1)] | None = not_in_key(None)


# The author in facebookresearch/demucs, issues 327 and 508; the package is MIT
LICENSE = "none stated; by their author for research alone"


def published_model(name: str) -> RemoteWeights:
    """A model of the authors on the Hub, under the name that `demucs.hf.hf_repo_name` gives it."""
    kind, _, variant = name.partition("_")
    title = f"Demucs-{name}"
    if kind == "htdemucs":
        title = f"HTDemucs-{variant}" if variant else "HTDemucs"
    repo = f"adefossez/{title}"
    origin = f"{repo} on the Hugging Face Hub"
    return RemoteWeights(f"demucs/{name}", name, LICENSE, origin, FILES, repo=repo)


KNOWN = {
    name: published_model(name)
    for name in ("htdemucs", "htdemucs_ft", "htdemucs_6s", "hdemucs_mmi", "mdx", "mdx_extra")
}


class Demucs:
    """Stems {"speech", "background"} with the rate, channels and samples of the input.

    A mono clip is taken as two equal channels; of more than two channels, each pair is separated on its own.
    """

    name: ClassVar[str] = "demucs"
    stage: ClassVar[Stage] = "separate"
    package: ClassVar[str] = "demucs"
    Params: ClassVar[type] = DemucsParams
    gpu_precision: ClassVar[str | None] = "float32"
    weights: ClassVar[tuple[Weights, ...]] = ()

    @classmethod
    def remotes(cls, params: DemucsParams) -> tuple[RemoteWeights, ...]:
        """The folder or file of the model."""
        remote = resolve_model(params.model, "demucs", KNOWN, FILES)
        local = models_folder() / remote.path
        old = local.is_dir() and not any(local.glob("*.safetensors")) and any(local.glob("*.th"))
        return (replace(remote, files=OLD_FILES) if old else remote,)

    @classmethod
    def identify(cls, params: DemucsParams = DemucsParams()) -> str:
        """Revision from the package's version and the hashes of the model's files."""
        return revision(BEHAVIOUR, cls.package, cls.remotes(params)[0], params.sha256)

    def __init__(self, params: DemucsParams = DemucsParams(), device: str = "cpu", threads: int = 1):
        """Opens the model; MissingWeights where there is none, PaqaError for parameters that do not fit."""
        self.params, self.device, self.threads = params, device, threads
        self.revision = self.identify(params)
        self._bag = open_bag(locate(self.remotes(params)[0]), trusted(params))
        for member in self._bag:
            member.model.to(device)
            check_fits(params, member.model)
        self._rate: int = self._bag[0].model.samplerate
        self._vocals = list(self._bag[0].model.sources).index("vocals")
        self._batch = params.batch_size or (1 if device == "cpu" else GPU_BATCH)

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        """Separate clips; windows of several share model calls; each clip's memory is freed when it ends."""
        import torch

        torch.set_num_threads(self.threads)
        stems = [np.zeros(audio.samples.shape, np.float32) for audio in batch]
        with torch.inference_mode():
            for group in grouped_by_shape(self._windows(batch, stems), self._batch):
                mixes = torch.stack([window.padded() for window in group]).to(self.device)
                vocals = group[0].owner.model(mixes)[:, self._vocals].cpu()
                for window, window_vocals in zip(group, vocals, strict=True):
                    window.owner.add(window, window_vocals)
        return [stems_of(audio, stem) for audio, stem in zip(batch, stems, strict=True)]

    def _windows(self, batch: Sequence[Audio], stems: list[np.ndarray]) -> Iterator[ChunkWindow]:
        """The windows of all clips, each made when it is asked for; their speech ends up in `stems`."""
        for audio, stem in zip(batch, stems, strict=True):
            for first in range(0, len(stem), 2):
                pair, target = audio.samples[first : first + 2], stem[first : first + 2]
                for model_pass in self._passes(pair, audio.rate, target):
                    yield from model_pass.windows()

    def _passes(self, samples: np.ndarray, rate: int, target: np.ndarray) -> list[Pass]:
        """The passes over one or two channels `(channels, n)`: of each model as many as `shifts` says."""
        import torch
        from demucs.apply import TensorChunk

        p, mix = self.params, torch.from_numpy(resample(samples, rate, self._rate)).expand(2, -1)
        mean, std = level(mix)
        if not std:
            return []
        mix, track = (mix - mean) / (std + 1e-8), Track(target, rate, mean, std + 1e-8)
        whole = TensorChunk(mix)
        if not p.shifts:
            return [Pass(track, m.model, whole, p.segment, p.overlap, m.share) for m in self._bag]
        drawn = np.random.default_rng(int.from_bytes(hashlib.sha256(samples.tobytes()).digest()[:8], "big"))
        most, length = self._rate // 2, mix.shape[1]
        padded, passes = whole.padded(length + 2 * most), []
        for member in self._bag:
            for offset in drawn.integers(0, most, p.shifts, endpoint=True).tolist():
                chunk = TensorChunk(padded, offset, length + most - offset)
                share = member.share / p.shifts
                passes.append(Pass(track, member.model, chunk, p.segment, p.overlap, share, most - offset))
        return passes


def level(mix: torch.Tensor) -> tuple[float, float]:
    """Mean and deviation of a mix `(2, n)` over the mean of its channels (as demucs does); 0 for silence.

    Where two channels cancel each other out, the deviation is that of both.
    """
    reference = mix.mean(0)
    if reference.numel() < 2 or not mix.any():
        return 0.0, 0.0
    return float(reference.mean()), float(reference.std()) or float(mix.std())


def stems_of(audio: Audio, speech: np.ndarray) -> EngineOutput:
    """Both stems; the background is exactly what the speech leaves of the mix."""
    mix = audio.samples.astype(np.float32, copy=False)
    return EngineOutput(
        stems={"speech": Audio(speech, audio.rate), "background": Audio(mix - speech, audio.rate)}
    )


def check_fits(params: DemucsParams, model: Any) -> None:
    """PaqaError for parameters under which a model cannot run."""
    if not 0.0 <= params.overlap < 1.0 or params.shifts < 0 or params.context_s < 1:
        raise PaqaError(
            f"engine demucs: found overlap {params.overlap}, shifts {params.shifts}, "
            f"context_s {params.context_s}; expected overlap in [0, 1), shifts >= 0 and context_s >= 1"
        )
    trained = float(model.segment) if is_transformer(model) else float("inf")
    if params.segment is not None and not 0.1 <= params.segment <= trained:
        raise PaqaError(
            f"engine demucs: found segment {params.segment} s, expected 0.1 to {trained:g} s for this model"
        )
