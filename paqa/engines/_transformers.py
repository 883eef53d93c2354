"""What the engines over `transformers` share: which weights a recipe's `model` means, and opening them.

Models are opened from safetensors by the library's own classes, offline: nothing of a model's folder is run.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from paqa.engines import weights
from paqa.engines.base import Weights
from paqa.engines.weights import RemoteWeights, resolve_model
from paqa.errors import PaqaError

PACKAGE, EXTRA = "transformers", "transformers"
REQUIRED, OPTIONAL = (
    ("config.json", "*.safetensors"),
    ("*_config.json", "*.json", "*.jinja", "*.model", "*.txt"),
)
Dtype = Literal["float32", "float16", "bfloat16"]


class ModelParams(Protocol):
    """The parameters of an engine over `transformers` that are about its model."""

    @property
    def model(self) -> str: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def dtype(self) -> Dtype: ...


class TransformersEngine:
    """What all engines over the library have, and the weights and revision of one that opens one model.

    `behaviour` is raised when the same weights and parameters would give another output.
    """

    name: ClassVar[str]
    Params: ClassVar[type]
    behaviour: ClassVar[int]
    package: ClassVar[str] = PACKAGE
    extra: ClassVar[str] = EXTRA
    gpu_precision: ClassVar[str | None] = ""
    weights: ClassVar[tuple[Weights, ...]] = ()

    @classmethod
    def remotes(cls, params: Any) -> tuple[RemoteWeights, ...]:
        """The folder of the model."""
        return (remote_of(params.model, cls.name),)

    @classmethod
    def identify(cls, params: Any = None) -> str:
        """Revision from the library's version and the hash of the model's folder."""
        chosen = cls.Params() if params is None else params
        return revision_of(cls.behaviour, cls.remotes(chosen)[0], chosen.sha256)


def remote_of(model: str, engine: str) -> RemoteWeights:
    """The weights that `model` means: a folder, or ORG/NAME on the Hub, with @COMMIT, @TAG or @BRANCH."""
    name, _, commit = model.partition("@")
    remote = resolve_model(name, engine, {}, REQUIRED)
    if not remote.files:
        raise PaqaError(
            f"engine {engine}: no model folder lies at {remote.path}; expected one with "
            f"{', '.join(REQUIRED)}, or a Hub id ORG/NAME"
        )
    path = f"{remote.path}@{commit}" if commit else remote.path
    return replace(remote, path=path, optional=OPTIONAL, commit=commit or None)


def revision_of(behaviour: int, remote: RemoteWeights, pinned: str | None) -> str:
    """From the library's version and the hash of the model's folder."""
    return weights.revision(behaviour, PACKAGE, remote, pinned, EXTRA)


def config_of(folder: Path) -> Any:
    """The model's configuration; PaqaError where the installed library does not know its kind."""
    quiet()
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise PaqaError(
            f"{folder}: the installed transformers cannot read this model: {first_line(error)}; "
            "take a model of a kind that it has, or a newer transformers"
        ) from None


def open_model(kind: Any, folder: Path, dtype: Dtype, device: str) -> Any:
    """A model of an `Auto...` class, ready for inference."""
    import torch

    try:
        model = kind.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (ValueError, OSError) as error:
        raise PaqaError(f"{folder}: {first_line(error)}") from None
    return model.to(device).eval()


def open_processor(kind: Any, folder: Path) -> Any:
    """A feature extractor, tokenizer or processor of an `Auto...` class; PaqaError where its files lack."""
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise PaqaError(
            f"{folder}: has no usable {kind.__name__.removeprefix('Auto').lower()}: "
            f"{first_line(error)}; copy all files of the model there"
        ) from None


def first_line(error: Exception) -> str:
    """The first line of an error's text; the library's go on for pages."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def quiet() -> None:
    """No progress bars and advice of the library on stderr, unless its environment variables ask for them."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # a transducer's longest output follows from the audio, and it warns so for every window
    warnings.filterwarnings("ignore", message="Using the model-agnostic default `max_length`")


def on_device(inputs: Any, model: Any) -> dict[str, Any]:
    """A processor's tensors where the model is, floating ones in its precision."""
    moved = {}
    for name, value in inputs.items():
        tensor = value.to(model.device)
        moved[name] = tensor.to(model.dtype) if tensor.is_floating_point() else tensor
    return moved


def at_least(signal: np.ndarray, samples: int) -> np.ndarray:
    """A signal `(n,)` with zeros behind it up to a length that every front end takes."""
    return np.pad(signal, (0, max(0, samples - len(signal))))
