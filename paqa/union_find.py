"""What hangs together: names that stand for one thing, and lists of names with a name in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

N = TypeVar("N", bound=Any)  # names of one kind, which can be sorted


class Classes(Generic[N]):
    """Names that stand for the same thing (union-find); a class is called by its smallest name."""

    def __init__(self) -> None:
        self.parent: dict[N, N] = {}

    def of(self, name: N) -> N:
        """The class of a name."""
        path = []
        while (above := self.parent.get(name, name)) != name:
            path.append(name)
            name = above
        for passed in path:
            self.parent[passed] = name
        return name

    def join(self, one: N, other: N) -> None:
        """From now on the two are the same."""
        low, high = sorted((self.of(one), self.of(other)))
        self.parent[high] = low


def connected(lists: Iterable[Sequence[N]]) -> list[N]:
    """For each list, the smallest name of all lists that it shares a name with, directly or by others.

    Every list has a name at least, else IndexError.
    """
    classes: Classes[N] = Classes()
    firsts = []
    for names in lists:
        firsts.append(names[0])
        for name in names[1:]:
            classes.join(names[0], name)
    return [classes.of(name) for name in firsts]
