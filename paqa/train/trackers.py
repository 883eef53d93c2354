"""Where a run's figures go beside metrics.jsonl: TensorBoard and Weights & Biases."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paqa.errors import PaqaError
from paqa.train.config import TrainConfig


class Trackers:
    """The trackers that a config asks for, from the step that a run begins or goes on with."""

    def __init__(self, config: TrainConfig, out: Path, step: int):
        self.board: Any = None
        self.wandb: Any = None
        if config.tensorboard:
            from torch.utils.tensorboard.writer import SummaryWriter

            self.board = SummaryWriter(str(out / "tensorboard"), purge_step=step)
        if config.wandb:
            self.wandb = _wandb_run(config, out)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add the figures of a step."""
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()
        if self.wandb:
            self.wandb.log(dict(values), step=step)

    def finish(self) -> None:
        """Send what is left."""
        if self.wandb:
            self.wandb.finish()


def _wandb_run(config: TrainConfig, out: Path) -> Any:
    """A run named after its folder; the same one goes on where the training does."""
    try:
        library = importlib.import_module("wandb")
    except ImportError:
        raise PaqaError("--wandb: the package wandb is missing; install it with: pip install wandb") from None
    return library.init(
        project=config.wandb, name=out.name, id=out.name, dir=str(out), resume="allow", config=asdict(config)
    )
