"""Lists cut into batches of about one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def batches(items: Sequence[T], size: Callable[[T], float], limit: float) -> list[list[T]]:
    """Batches in order, the sizes of whose items add up to at most `limit`; a larger item stands alone."""
    groups: list[list[T]] = []
    filled = 0.0
    for item in items:
        if not groups or filled + size(item) > limit:
            groups.append([])
            filled = 0.0
        groups[-1].append(item)
        filled += size(item)
    return groups
