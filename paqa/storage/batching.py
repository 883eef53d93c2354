"""Things in groups of about one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def batches(things: Sequence[T], size: Callable[[T], float], limit: float) -> list[list[T]]:
    """Things in groups whose sizes add up to at most `limit` (a larger thing stands alone), order kept."""
    groups: list[list[T]] = []
    filled = 0.0
    for thing in things:
        if not groups or filled + size(thing) > limit:
            groups.append([])
            filled = 0.0
        groups[-1].append(thing)
        filled += size(thing)
    return groups
