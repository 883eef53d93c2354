"""Train, validation and test: a group's split depends on the group alone, so a growing build moves nothing.

No clip is ever moved, since what would decide that could change with the next clip.
"""

from __future__ import annotations

import hashlib

from paqa.config.recipe import SplitConfig
from paqa.errors import PaqaError
from paqa.types import Split


def split_of(group: str, config: SplitConfig, seed: int) -> Split:
    """The split of a group (a recording, its speakers), by hash; adding clips never moves one."""
    number = int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big")
    return split_at(number / 2**64, config)


def split_at(point: float, config: SplitConfig) -> Split:
    """The split in which a point in [0, 1) falls: test first, then validation, the rest is train.

    Raises PaqaError where the shares add up to more than 1.
    """
    if config.test + config.validation > 1:
        shares = f"split.test = {config.test} and split.validation = {config.validation}"
        raise PaqaError(f"{shares} add up to more than 1; lower one of them in the recipe")
    if point < config.test:
        return "test"
    return "validation" if point < config.test + config.validation else "train"
