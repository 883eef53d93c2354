"""Opening Demucs models from files without running what is in them, and which audio each model call gets.

demucs' own `get_model` is not used: it asks the Hub, then silently another address, and unpickles the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paqa.engines._signal import fit_length, resample
from paqa.engines.weights import check_pin, digest, torch_load
from paqa.errors import PaqaError

ARCHITECTURES = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
SIGNATURE = re.compile(r"[0-9A-Za-z_]+")


@dataclass(frozen=True)
class Member:
    """One model of a bag, and its share in the bag's vocals; the shares of a bag add up to 1."""

    model: Any
    share: float


def open_bag(path: Path, allow_pickle: bool) -> list[Member]:
    """The models of a folder (a yaml lists them) or file, in eval mode, without those of no weight."""
    if not path.is_dir():
        return with_shares([open_model(path, allow_pickle)], None, path)
    definitions = sorted(path.glob("*.yaml"))
    if len(definitions) != 1:
        names = ", ".join(file.name for file in definitions) or "no .yaml"
        raise PaqaError(
            f"{path}: found {names}, expected one .yaml that lists the models; give its folder as `model`"
        )
    bag = read_bag(definitions[0])
    models = [open_model(model_file(path, signature), allow_pickle) for signature in bag["models"]]
    limit = bag.get("segment")
    for model in models:
        # as in demucs.apply.BagOfModels: a transformer takes no longer windows than it was trained on
        if limit is not None and not (is_transformer(model) and limit > model.segment):
            model.segment = limit
    return with_shares(models, bag.get("weights"), definitions[0])


def read_bag(path: Path) -> dict[str, Any]:
    """A bag's definition: `models` (signatures), perhaps `weights` (one per source each), `segment` in s."""
    import yaml

    bag = yaml.safe_load(path.read_text(encoding="utf-8"))
    signatures = bag.get("models") if isinstance(bag, dict) else None
    if not signatures or not all(SIGNATURE.fullmatch(str(s)) for s in signatures):
        raise PaqaError(
            f"{path}: found models {signatures!r}, expected a list of signatures; fetch the file again"
        )
    return bag | {"models": [str(s) for s in signatures]}


def with_shares(models: list[Any], weights: list[list[float]] | None, path: Path) -> list[Member]:
    """Each model with its share in the vocals; PaqaError for models without vocals, or of other sources."""
    sources = list(models[0].sources)
    for model in models:
        if list(model.sources) != sources or "vocals" not in sources or model.audio_channels != 2:
            raise PaqaError(
                f"{path}: found sources {list(model.sources)} in {model.audio_channels} channels, "
                "expected the same stereo sources in all, with vocals"
            )
    vocals = sources.index("vocals")
    vocal_weights = [1.0] * len(models) if weights is None else [float(w[vocals]) for w in weights]
    if len(vocal_weights) != len(models) or sum(vocal_weights) <= 0:
        raise PaqaError(
            f"{path}: found vocals weights {vocal_weights} for {len(models)} models; fetch the file again"
        )
    total = sum(vocal_weights)
    return [Member(m.eval(), w / total) for m, w in zip(models, vocal_weights, strict=True) if w]


def model_file(folder: Path, signature: str) -> Path:
    """The file of one model: `SIG.safetensors`, `SIG.th`, or `SIG-HASH.th`, whose hash is checked."""
    candidates = [
        folder / f"{signature}.safetensors",
        folder / f"{signature}.th",
        *sorted(folder.glob(f"{signature}-*.th")),
    ]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise PaqaError(
            f"{folder}: found no {signature}.safetensors and no {signature}.th; copy the whole model there"
        )
    hash_start = path.stem.partition("-")[2]
    check_pin(digest(path)[: len(hash_start)], hash_start, str(path))
    return path


def open_model(path: Path, allow_pickle: bool) -> Any:
    """One model from safetensors, or from what `torch.save` wrote; PaqaError for classes not of demucs."""
    return from_safetensors(path) if path.suffix == ".safetensors" else from_pickle(path, allow_pickle)


def from_safetensors(path: Path) -> Any:
    """demucs imports what the metadata names, so every name in it is looked at first."""
    from demucs.hf import load_safetensors_model
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise PaqaError(f"{path}: is no safetensors file ({error}); fetch it again") from None
    classes = {metadata.get("klass"), *classes_in(json.loads(metadata.get("structure", "null")))}
    if foreign := sorted(str(name) for name in classes - set(ARCHITECTURES)):
        raise PaqaError(
            f"{path}: found class {', '.join(foreign)}, expected one of {', '.join(ARCHITECTURES)}"
        )
    return load_safetensors_model(path)


def classes_in(node: Any) -> Iterator[str]:
    """Every class that the structure of a state names (those of quantised models do)."""
    if isinstance(node, dict):
        yield from [str(node["_class"])] if "_class" in node else []
        node = list(node.values())
    for item in node if isinstance(node, list) else []:
        yield from classes_in(item)


def from_pickle(path: Path, allow_pickle: bool) -> Any:
    """A `.th` file: its class must be one of demucs' own, even where `allow_pickle` opens all others."""
    from fractions import Fraction

    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs
    from demucs.states import load_model

    kinds = (HTDemucs, HDemucs, Demucs)
    package = torch_load(path, (*kinds, Fraction), allow_pickle)
    kind = package.get("klass") if isinstance(package, dict) else None
    if kind not in kinds or not {"args", "kwargs", "state"} <= package.keys():
        raise PaqaError(
            f"{path}: found class {kind}, expected one of {', '.join(ARCHITECTURES)}, as demucs saves it"
        )
    if package["state"].get("__quantized"):
        raise PaqaError(
            f"{path}: is quantised, which needs the package diffq; use a model that is not, e.g. htdemucs"
        )
    return load_model(package)


def is_transformer(model: Any) -> bool:
    """Whether a model is an HTDemucs, which takes windows of the length it was trained on."""
    return type(model).__name__ == "HTDemucs"


@dataclass(eq=False)
class Track:
    """One or two channels of a clip: `target`, `(channels, n)` at `rate` Hz, takes the speech in the end."""

    target: np.ndarray
    rate: int
    mean: float
    std: float
    waiting: int = 0  # passes that are not finished yet
    vocals: Any = None  # sum of the finished passes, each by its share

    def add_pass(self, vocals: Any, rate: int) -> None:
        """Take the vocals `(2, n)` of one pass at `rate` Hz; after the last pass, write the speech."""
        self.vocals = vocals if self.vocals is None else self.vocals + vocals
        self.waiting -= 1
        if not self.waiting:
            speech = (self.vocals * self.std + self.mean).numpy()
            speech = speech.mean(axis=0, keepdims=True) if len(self.target) == 1 else speech
            self.target[:] = fit_length(resample(speech, rate, self.rate), self.target.shape[1])
            self.vocals = None


@dataclass(eq=False)
class Pass:
    """One model over one signal: `chunk`, a `demucs.apply.TensorChunk` of `(2, n)`, in overlapping windows.

    The vocals are summed up under triangles, as `demucs.apply.apply_model` does for all sources; `cut`
    samples at the start are not wanted. `share` is the weight of this pass in the vocals of the track.
    """

    track: Track
    model: Any
    chunk: Any
    segment: float | None
    overlap: float
    share: float
    cut: int = 0

    def __post_init__(self) -> None:
        self.track.waiting += 1

    def windows(self) -> Iterator[ChunkWindow]:
        """All windows, in order; from the first on there is room for their vocals."""
        import torch
        from demucs.apply import TensorChunk

        length = self.chunk.shape[-1]
        size = int(self.model.samplerate * (self.model.segment if self.segment is None else self.segment))
        offsets = range(0, length, max(1, int((1 - self.overlap) * size)))
        rising, falling = torch.arange(1, size // 2 + 1), torch.arange(size - size // 2, 0, -1)
        self._triangle = torch.cat([rising, falling]) / falling[0]
        self._left, self._sums, self._weights = len(offsets), torch.zeros(2, length), torch.zeros(length)
        of_fixed_size = is_transformer(self.model) and self.segment is not None
        for offset in offsets:
            chunk = TensorChunk(self.chunk, offset, size)
            needed = getattr(self.model, "valid_length", int)(chunk.shape[-1])
            yield ChunkWindow(self, offset, chunk, size if of_fixed_size else needed)

    def add(self, window: ChunkWindow, vocals: Any) -> None:
        """Put the vocals of a window, `(2, samples)`, into their place; the last one finishes the pass."""
        from demucs.apply import center_trim

        length = window.chunk.shape[-1]
        where = slice(window.offset, window.offset + length)
        self._sums[:, where] += self._triangle[:length] * center_trim(vocals, length)
        self._weights[where] += self._triangle[:length]
        self._left -= 1
        if not self._left:
            vocals = self._sums.div_(self._weights)[:, self.cut :].mul_(self.share)
            del self._sums, self._weights
            self.track.add_pass(vocals, self.model.samplerate)


@dataclass(frozen=True, eq=False)
class ChunkWindow:
    """The input of a model call: `samples` around a chunk that begins `offset` samples into its pass."""

    owner: Pass
    offset: int
    chunk: Any
    samples: int

    @property
    def shape(self) -> tuple[int, int]:
        """Windows of one shape can share a model call."""
        return id(self.owner.model), self.samples

    def padded(self) -> Any:
        """The samples `(2, samples)`: the chunk with what is around it, and zeros outside the signal."""
        return self.chunk.padded(self.samples)


def grouped_by_shape(windows: Iterator[ChunkWindow], size: int) -> Iterator[list[ChunkWindow]]:
    """Runs of windows of one shape, at most `size` long, in order."""
    held: list[ChunkWindow] = []
    for window in windows:
        if held and window.shape != held[0].shape:
            yield held
            held = []
        held.append(window)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held
