"""Plug-ins: engines, sources, question families and export formats that other packages bring along.

A package declares them as entry points of the groups below; installing it is all that it takes. The installed
packages are read once a process, and only where a name is none of paqa's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args

from paqa.errors import PaqaError

Group = Literal["paqa.engines", "paqa.sources", "paqa.questions", "paqa.exports"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True)
class Plugin:
    """One entry point, and the distribution that it is from."""

    group: Group
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    @property
    def origin(self) -> str:
        """Distribution and version, e.g. `paqa-birds 0.2`."""
        return f"{self.distribution} {self.version}"

    @property
    def revision(self) -> str:
        """Distribution and version as a part of store keys, e.g. `paqa-birds-0.2`."""
        return f"{self.distribution}-{self.version}"

    def load(self) -> Any:
        """What the entry point names; PaqaError, which names the distribution, where its import fails."""
        try:
            return self.entry_point.load()
        except Exception as error:
            raise PaqaError(
                f"plug-in {self.name!r} ({self.group}) of {self.origin} cannot be imported from "
                f"{self.entry_point.value!r}: {type(error).__name__}: {error}; run: "
                f"uv pip install --reinstall {self.distribution}, or take its name out of the recipe"
            ) from error


@cache
def installed() -> tuple[Plugin, ...]:
    """All plug-ins of this environment, by group and name; imports none."""
    plugins = []
    for group in GROUPS:
        for point in entry_points(group=group):
            name, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "0")
            plugins.append(Plugin(group, point.name, name, version, point))
    return tuple(sorted(plugins, key=lambda p: (p.group, p.name, p.distribution)))


def named(group: Group) -> dict[str, Plugin]:
    """The plug-ins of a group by name, the first of two with one name."""
    return {plugin.name: plugin for plugin in reversed(installed()) if plugin.group == group}


def find(group: Group, name: str) -> Plugin | None:
    """The plug-in of that name, None where there is none; PaqaError where there are two."""
    if clash := clash_of(group, name, ()):
        raise PaqaError(clash)
    return named(group).get(name)


def refuse_clash(group: Group, name: str, built_in: Collection[str]) -> None:
    """PaqaError where two distributions, paqa among them, have something of that name."""
    if clash := clash_of(group, name, built_in):
        raise PaqaError(clash)


def clash_of(group: Group, name: str, built_in: Collection[str]) -> str:
    """What is wrong with a name that several distributions use; empty where none or one does."""
    origins = ["paqa"] if name in built_in else []
    origins += [plugin.origin for plugin in installed() if (plugin.group, plugin.name) == (group, name)]
    if len(origins) < 2:
        return ""
    packages = [origin.partition(" ")[0] for origin in origins if origin != "paqa"]
    return (
        f"{group}: {name!r} is in {' and in '.join(origins)}; names must differ: uninstall one "
        f"(uv pip uninstall {packages[-1]}), or ask its author for another name"
    )
