"""Training in full: all weights of the language model and the projector, in float32; the encoder is frozen.

A trained folder holds them as `model.safetensors`, beside the name of the base that the rest comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paqa.train import families

LANGUAGE_MODEL = ("model.language_model.", "lm_head.")
FILE = "model.safetensors"


def weights(net: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that full training changes, by name."""
    parts = (*LANGUAGE_MODEL, f"model.{families.of(net).projector}.")
    return {name: p for name, p in net.named_parameters() if name.startswith(parts)}


def train(net: nn.Module, projector: bool) -> None:
    """Make these weights float32 and ask gradients of them, with `projector` of its own as well."""
    net.requires_grad_(False)
    for name, p in weights(net).items():
        p.data = p.data.float()
        p.requires_grad_(projector or name.startswith(LANGUAGE_MODEL))


def copied(net: nn.Module) -> dict[str, Tensor]:
    """A frozen copy of these weights, by name."""
    return {name: p.detach().clone() for name, p in weights(net).items()}


@contextmanager
def exchanged(net: nn.Module, others: Mapping[str, Tensor]) -> Iterator[None]:
    """The network with other weights of the same names and shapes; its own come back at the end."""
    parameters = weights(net)
    present = {name: p.data for name, p in parameters.items()}
    try:
        for name, p in parameters.items():
            p.data = others[name]
        yield
    finally:
        for name, p in parameters.items():
            p.data = present[name]


def write(net: nn.Module, folder: Path) -> None:
    """Write these weights into a trained folder."""
    from safetensors.torch import save_file

    save_file({name: x.cpu().contiguous() for name, x in copied(net).items()}, folder / FILE)


@torch.no_grad()
def read(net: Any, folder: Path) -> None:
    """Put the weights of a trained folder, in float32, into a base.

    Raises ValueError where they are not those of this base.
    """
    from safetensors.torch import load_file

    stored, parameters = load_file(folder / FILE), weights(net)
    shapes = [{name: x.shape for name, x in named.items()} for named in (stored, parameters)]
    if shapes[0] != shapes[1]:
        different = sorted(dict(shapes[0].items() ^ shapes[1].items()))
        raise ValueError(f"{FILE} does not fit its base: {different[0]}")
    for name, p in parameters.items():
        p.data = stored[name].float().to(p.device)
