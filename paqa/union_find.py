"""Names that stand for one thing (union-find), and lists of names connected by names they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

N = TypeVar("N", bound=Any)  # names of one kind, which can be sorted


class UnionFind(Generic[N]):
    """Disjoint sets of names that stand for the same thing; the root of a set is its smallest name."""

    def __init__(self) -> None:
        self.parent: dict[N, N] = {}

    def root(self, name: N) -> N:
        """The smallest name of the set that a name is in."""
        path = []
        while (above := self.parent.get(name, name)) != name:
            path.append(name)
            name = above
        for passed in path:
            self.parent[passed] = name
        return name

    def join(self, first: N, second: N) -> None:
        """From now on the two are in one set."""
        low, high = sorted((self.root(first), self.root(second)))
        self.parent[high] = low


def connected_components(lists: Iterable[Sequence[N]]) -> list[N]:
    """For each list, the smallest name of all lists that it shares a name with, directly or by others.

    Every list has a name at least, else IndexError.
    """
    sets: UnionFind[N] = UnionFind()
    firsts = []
    for names in lists:
        firsts.append(names[0])
        for name in names[1:]:
            sets.join(names[0], name)
    return [sets.root(name) for name in firsts]
