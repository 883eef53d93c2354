"""Both networks of PANNs with random weights, as their authors publish them: `torch.save({"model": state,
...})`.

Kong et al., "PANNs" (2020): Cnn14_DecisionLevelMax and Cnn14, about 81 million parameters, 327 MB each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

FILES = {"Cnn14_DecisionLevelMax": "Cnn14_DecisionLevelMax_mAP=0.385.pth", "Cnn14": "Cnn14_mAP=0.431.pth"}
SPREAD, OFFSET = 60.0, -4.0  # of the last layer: freshly drawn, it says 0.5 to everything


def make(folder: Path, seed: int = 0) -> Path:
    """Write `folder/panns/*.pth`, both networks, and return that folder; some outputs are sure of
    themselves.
    """
    target = folder / "panns"
    target.mkdir(parents=True, exist_ok=True)
    for name, file in FILES.items():
        save(drawn(name, seed), target / file)
    return target


def drawn(name: str, seed: int) -> Any:
    """A network as its constructor draws it, but for the last layer."""
    import torch

    from paqa.engines._panns import CLASSES, FRONT_END, networks

    torch.manual_seed(seed)
    network = getattr(networks(), name)(**FRONT_END, classes_num=CLASSES)
    with torch.no_grad():
        network.fc_audioset.weight.mul_(SPREAD)
        network.fc_audioset.bias.fill_(OFFSET)
    return network


def save(network: Any, path: Path, iteration: int = 0) -> None:
    """A checkpoint as the authors' training writes it, with what else they keep in it left out."""
    import torch

    torch.save({"iteration": iteration, "model": network.state_dict()}, path)
