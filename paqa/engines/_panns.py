"""PANNs' networks without what their package does on import, and made ready for inference.

`import panns_inference` runs wget, writes into the home folder, and imports matplotlib, which does so too.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from paqa.engines.weights import torch_load
from paqa.errors import PaqaError

RATE = 32_000  # Hz
PACKAGE, PLOTTING = "panns_inference", ("matplotlib", "matplotlib.pyplot")
CLASSES = 527
FRONT_END = {
    "sample_rate": RATE,  # Hz
    "window_size": 1024,  # samples
    "hop_size": 320,  # samples
    "mel_bins": 64,
    "fmin": 50,  # Hz
    "fmax": 14_000,  # Hz
}


@cache
def class_mids() -> tuple[str, ...]:
    """The machine ids of the networks' outputs, in their order."""
    text = resources.files("paqa").joinpath("data/audioset_classes.tsv").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return tuple(row["mid"] for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def networks() -> ModuleType:
    """The module `panns_inference.models`, imported under an empty package; sys.modules stays as it was.

    Raises PaqaError with the next command where the package is missing.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise PaqaError("package 'panns-inference' is not installed; run: uv pip install 'paqa[paper]'")
    importlib.import_module("torchlibrosa")  # sees the real modules
    shell = ModuleType(PACKAGE)
    shell.__path__ = list(spec.submodule_search_locations)
    with replaced_modules({PACKAGE: shell} | {name: ModuleType(name) for name in PLOTTING}):
        return importlib.import_module(f"{PACKAGE}.models")


@contextmanager
def replaced_modules(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Other modules under these names, and none of theirs, until the end; then what was there before."""
    roots = {name.partition(".")[0] for name in modules}
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in roots}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] in roots]:
            del sys.modules[name]
        sys.modules.update(before)


def open_network(architecture: str, path: Path, allow_pickle: bool) -> Any:
    """A network with the weights of a checkpoint `{"model": state, ...}`, ready for inference on the CPU."""
    checkpoint = torch_load(path, numpy_classes(), allow_pickle)
    state = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise PaqaError(
            f"{path}: found {type(checkpoint).__name__}, expected a dict with the weights under 'model'"
        )
    network = getattr(networks(), architecture)(**FRONT_END, classes_num=CLASSES)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        why = str(error).strip().splitlines()[1:2]
        raise PaqaError(
            f"{path}: found other weights than those of {architecture} ({' '.join(why).strip()[:200]}); "
            "give the file that goes with it"
        ) from None
    return ready_for_inference(network.eval())


def ready_for_inference(network: Any) -> Any:
    """The same network, faster: batch norms folded into the convolutions, channels last in memory.

    Its linear layers take one window at a time: on a CPU their sums depend on how many rows there are, those
    of the convolutions seldom do.
    """
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for number in range(1, 7):
        block = getattr(network, f"conv_block{number}")
        for i in (1, 2):
            fused = fuse_conv_bn_eval(getattr(block, f"conv{i}"), getattr(block, f"bn{i}"))
            setattr(block, f"conv{i}", fused)
            setattr(block, f"bn{i}", torch.nn.Identity())
    for layer in (network.fc1, network.fc_audioset):
        layer.forward = window_by_window(layer.forward)
    return network.to(memory_format=torch.channels_last)


def window_by_window(forward: Any) -> Any:
    """A layer's `forward` for each window of a batch on its own."""
    import torch

    return lambda batch: torch.stack([forward(window) for window in batch])


def numpy_classes() -> list[Any]:
    """What a pickled data sampler needs: arrays and scalars, under the names of both versions of numpy."""
    import _codecs

    core_module = "numpy._core.multiarray" if hasattr(np, "_core") else "numpy.core.multiarray"
    core = importlib.import_module(core_module)
    makers = []
    for name in ("_reconstruct", "scalar"):
        for package in ("core", "_core"):
            makers.append((getattr(core, name), f"numpy.{package}.multiarray.{name}"))
    kinds = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdSU"}
    return [*makers, np.ndarray, np.dtype, *kinds, _codecs.encode]
