"""Encoder outputs in a store, so that no stage computes again what another one did."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from paqa.dataset import summary
from paqa.errors import MissingObject
from paqa.storage import build_folder
from paqa.storage.store import Store, key
from paqa.train import families

SUFFIX = ".safetensors"


class SoundStore:
    """Encoder outputs by the samples and the encoder: its family, weights, their type, its kind of device."""

    def __init__(self, store: Store, net: Any):
        self.store, self.encoding = store, families.of(net).encoding
        self.encoder = _digest(net)

    def encoded(self, samples: np.ndarray, encode: Callable[[], Tensor]) -> Tensor:
        """The output `[n, d]` for samples `[m]`, as it was kept, or as `encode` makes it."""
        where = key("encoded", self.encoding, self.encoder, hashlib.sha256(samples.tobytes()).hexdigest())
        try:
            return load(self.store.get(where, SUFFIX))["rows"]
        except MissingObject:
            rows = encode()
            self.store.put(where, SUFFIX, save({"rows": rows.cpu().contiguous()}))
            return rows


def sound_store(url: str, data: str, net: Any) -> SoundStore | None:
    """The store at a URL, else that of the build in a folder; None where that is not there."""
    if not url:
        url = _store_of(Path(data))
    if not url:
        return None
    return SoundStore(Store(url), net)


def _store_of(folder: Path) -> str:
    """The local store of a build; "" where the folder is none, or its store is not here."""
    if not (folder / build_folder.BUILD).exists():
        return ""
    url = summary.load(folder).store
    return url if Path(url).is_dir() else ""


def _digest(net: Any) -> str:
    """Of the encoder's weights without those of a projector that is part of it, as in Qwen2.5-Omni."""
    parts, projector = hashlib.sha256(), families.of(net).projector.removeprefix("audio_tower.")
    for name, weight in sorted(net.model.audio_tower.state_dict().items()):
        if name.startswith(f"{projector}."):
            continue
        parts.update(f"{name} {weight.dtype} {weight.device.type}".encode())
        parts.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return parts.hexdigest()
