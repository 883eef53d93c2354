"""Opening Demucs models from files without running what is in them, and which audio each model call gets.

demucs' own `get_model` asks the Hub, then silently another address, and unpickles whatever it gets; it is not
used.
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


def open_bag(path: Path, vouched: bool) -> list[Member]:
    """The models in a folder (a yaml names them) or file, in eval mode; those without a say in the vocals
    left out.
    """
    if not path.is_dir():
        return with_shares([open_model(path, vouched)], None, path)
    found = sorted(path.glob("*.yaml"))
    if len(found) != 1:
        names = ", ".join(f.name for f in found) or "no .yaml"
        raise PaqaError(
            f"{path}: found {names}, expected one .yaml that lists the models; give its folder as `model`"
        )
    bag = read_bag(found[0])
    models = [open_model(model_file(path, signature), vouched) for signature in bag["models"]]
    limit = bag.get("segment")
    for (
        model
    ) in models:  # as in demucs.apply.BagOfModels: a transformer cannot hear more than it was trained on
        if limit is not None and not (is_transformer(model) and limit > model.segment):
            model.segment = limit
    return with_shares(models, bag.get("weights"), found[0])


def read_bag(path: Path) -> dict[str, Any]:
    """The definition of a bag: `models` (signatures), perhaps `weights` (one per source each) and `segment`
    in s.
    """
    import yaml

    bag = yaml.safe_load(path.read_text(encoding="utf-8"))
    signatures = bag.get("models") if isinstance(bag, dict) else None
    if not signatures or not all(SIGNATURE.fullmatch(str(s)) for s in signatures):
        raise PaqaError(
            f"{path}: found models {signatures!r}, expected a list of signatures; fetch the file again"
        )
    return bag | {"models": [str(s) for s in signatures]}


def with_shares(models: list[Any], weights: list[list[float]] | None, path: Path) -> list[Member]:
    """Each model's share in the vocals; PaqaError where there are no vocals, or the models do not fit
    together.
    """
    first = models[0]
    for model in models:
        if (
            list(model.sources) != list(first.sources)
            or "vocals" not in model.sources
            or model.audio_channels != 2
        ):
            found = f"sources {list(model.sources)} in {model.audio_channels} channels"
            raise PaqaError(f"{path}: found {found}, expected the same stereo sources in all, with vocals")
    vocals = list(first.sources).index("vocals")
    given = [1.0] * len(models) if weights is None else [float(w[vocals]) for w in weights]
    if len(given) != len(models) or sum(given) <= 0:
        raise PaqaError(
            f"{path}: found vocals weights {given} for {len(models)} models; fetch the file again"
        )
    return [Member(m.eval(), w / sum(given)) for m, w in zip(models, given, strict=True) if w]


def model_file(folder: Path, signature: str) -> Path:
    """The file of one model: `SIG.safetensors`, `SIG.th`, or `SIG-HASH.th`, whose hash is checked."""
    found = [
        folder / f"{signature}.safetensors",
        folder / f"{signature}.th",
        *sorted(folder.glob(f"{signature}-*.th")),
    ]
    present = [path for path in found if path.is_file()]
    if not present:
        raise PaqaError(
            f"{folder}: found no {signature}.safetensors and no {signature}.th; copy the whole model there"
        )
    begun = present[0].stem.partition("-")[2]
    check_pin(digest(present[0])[: len(begun)], begun, str(present[0]))
    return present[0]


def open_model(path: Path, vouched: bool) -> Any:
    """One model from safetensors, or from what `torch.save` wrote; PaqaError for classes that are not demucs'
    own.
    """
    return from_safetensors(path) if path.suffix == ".safetensors" else from_pickle(path, vouched)


def from_safetensors(path: Path) -> Any:
    """demucs imports what the metadata names, so every name in it is looked at first."""
    from demucs.hf import load_safetensors_model
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise PaqaError(f"{path}: is no safetensors file ({error}); fetch it again") from None
    named = {metadata.get("klass"), *classes_in(json.loads(metadata.get("structure", "null")))}
    if strangers := sorted(str(name) for name in named - set(ARCHITECTURES)):
        raise PaqaError(
            f"{path}: found class {', '.join(strangers)}, expected one of {', '.join(ARCHITECTURES)}"
        )
    return load_safetensors_model(path)


def classes_in(node: Any) -> Iterator[str]:
    """Every class that the structure of a state names (those of quantised models do)."""
    if isinstance(node, dict):
        yield from [str(node["_class"])] if "_class" in node else []
        node = list(node.values())
    for item in node if isinstance(node, list) else []:
        yield from classes_in(item)


def from_pickle(path: Path, vouched: bool) -> Any:
    """A `.th` file: its class must be one of demucs' own, whoever vouches for the rest."""
    from fractions import Fraction

    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs
    from demucs.states import load_model

    kinds = (HTDemucs, HDemucs, Demucs)
    package = torch_load(path, (*kinds, Fraction), vouched)
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
    """One or two channels of a clip on their way: `target` `(channels, n)` at `rate` Hz takes the speech in
    the end.
    """

    target: np.ndarray
    rate: int
    mean: float
    std: float
    waiting: int = 0  # passes that are not through yet
    vocals: Any = None  # of the passes that are through, by their shares

    def add_pass(self, vocals: Any, rate: int) -> None:
        """Take the vocals `(2, n)` of one pass at `rate` Hz; after the last one the speech is there."""
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
        given = is_transformer(self.model) and self.segment is not None
        for offset in offsets:
            chunk = TensorChunk(self.chunk, offset, size)
            needed = getattr(self.model, "valid_length", int)(chunk.shape[-1])
            yield ChunkWindow(self, offset, chunk, size if given else needed)

    def add(self, window: ChunkWindow, vocals: Any) -> None:
        """Put what the model gave for a window, `(2, samples)`, into its place; the last one settles the
        pass.
        """
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
    """What one model call hears: `samples` around a chunk that begins `offset` samples into its pass."""

    owner: Pass
    offset: int
    chunk: Any
    samples: int

    @property
    def shape(self) -> tuple[int, int]:
        """Windows of one shape can be heard in one call."""
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
