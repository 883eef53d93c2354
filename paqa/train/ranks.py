"""The processes of one training or evaluation: what each does, and what they gather."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")


@dataclass(frozen=True)
class Ranks:
    """The processes that torchrun started; one where it did not."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Ranks:
        """Join the other processes, by the variables that torchrun sets."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        if device.type == "cuda":
            torch.cuda.set_device(device)  # where NCCL sends what is gathered
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(torch.distributed.get_rank(), world)

    def sum(self, x: Tensor) -> Tensor:
        """The sum over all processes, of the same shape, in place."""
        if self.world > 1:
            torch.distributed.all_reduce(x)
        return x

    def gathered(self, x: Tensor) -> Tensor:
        """The numbers of all processes as one row, shape `[n]`, the same in each; their shapes may differ."""
        if self.world == 1:
            return x.flatten()
        parts: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(parts, x.flatten().cpu())
        return torch.cat(parts)

    def share(self, n: int) -> range:
        """The numbers below n that are this process' own: every so many-th."""
        return range(self.rank, n, self.world)

    def merged(self, part: dict[int, Part]) -> list[Part]:
        """What all processes have by number, in the order of the numbers, the same in each."""
        parts: list[Any] = [part]
        if self.world > 1:
            parts *= self.world
            torch.distributed.all_gather_object(parts, part)
        whole = {number: value for share in parts for number, value in share.items()}
        return [whole[number] for number in sorted(whole)]

    def total(self, values: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """Sums over all processes of numbers that all of them have."""
        packed = self.sum(torch.tensor(list(values.values()), dtype=torch.float64, device=device))
        return dict(zip(values, packed.tolist(), strict=True))
