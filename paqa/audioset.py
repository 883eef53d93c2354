"""The AudioSet ontology: which sound is a kind of which.

Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events" (ICASSP 2017); the table
`data/audioset.tsv` (632 sounds, 527 of them classes of the dataset, 521 of those YAMNet's) is under CC BY-SA
4.0. Sounds are named by machine id (`mid`, e.g. "/m/0bt9lr"); an unknown one raises PaqaError.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from paqa.errors import PaqaError

# Kinds of sound that hardly anybody would confuse, by the labels of what is of each kind.
KINDS = {
    "An animal": ("Animal",),
    "Music or an instrument": ("Music",),
    "A bell": ("Bell",),
    "An alarm or a signal": ("Alarm",),
    "A vehicle or an engine": ("Vehicle", "Engine"),
    "A tool": ("Tools",),
    "Wind, water or thunder": ("Wind", "Water", "Thunderstorm"),
    "A fire": ("Fire",),
    "An explosion or a shot": ("Explosion",),
    "A person who does not speak": ("Human sounds",),
    "A household object": ("Domestic sounds, home sounds",),
    "A clock, a camera or a fan": ("Mechanisms",),
}


@dataclass(frozen=True)
class Node:
    """One sound; `is_class` is False for a mere group ("Human voice") and for what the dataset left out."""

    mid: str
    label: str
    parents: tuple[str, ...]
    is_class: bool


@cache
def _nodes() -> dict[str, Node]:
    """The table by machine id, depth first, read once."""
    text = resources.files("paqa").joinpath("data/audioset.tsv").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    nodes = {}
    for row in rows:
        above = tuple(mid for mid in row["parents"].split("|") if mid)
        nodes[row["mid"]] = Node(row["mid"], row["label"], above, row["is_class"] == "1")
    return nodes


@cache
def _mids() -> dict[str, str]:
    """Machine ids by label in lower case."""
    return {node.label.lower(): node.mid for node in _nodes().values()}


def _node(mid: str) -> Node:
    if mid not in _nodes():
        raise PaqaError(
            f"unknown AudioSet id {mid!r}; paqa/data/audioset.tsv lists all, "
            "paqa.audioset.mid finds one by label"
        )
    return _nodes()[mid]


def classes() -> tuple[str, ...]:
    """The machine ids of AudioSet's 527 classes, depth first."""
    return tuple(node.mid for node in _nodes().values() if node.is_class)


def sounds() -> tuple[str, ...]:
    """The machine ids of all sounds, classes and groups, depth first."""
    return tuple(_nodes())


def label(mid: str) -> str:
    """The name of a sound, e.g. "Dog"."""
    return _node(mid).label


def mid(label: str) -> str:
    """The machine id of a name, in any case; PaqaError with near names where there is none."""
    lower = label.strip().lower()
    if lower in _mids():
        return _mids()[lower]
    labels = [node.label for node in _nodes().values()]
    near = [name for name in labels if lower in name.lower() or name.lower() in lower]
    hint = f"did you mean {', '.join(near[:5])}?" if near else "paqa/data/audioset.tsv lists all labels"
    raise PaqaError(f"no AudioSet sound is called {label!r}; {hint}")


def parents(mid: str) -> tuple[str, ...]:
    """The sounds directly above: several for some ("Growling": Dog, Cat, ...), none for the seven roots."""
    return _node(mid).parents


@cache
def ancestors(mid: str) -> frozenset[str]:
    """Everything above, without the sound itself."""
    above = parents(mid)
    return frozenset(above).union(*(ancestors(parent) for parent in above))


@cache
def ancestors_nearest_first(mid: str) -> tuple[str, ...]:
    """Everything above, each before what is above it."""
    return tuple(sorted(ancestors(mid), key=lambda above: (-len(ancestors(above)), above)))


def related(a: str, b: str) -> bool:
    """Whether two sounds are the same, or one is a kind of the other."""
    return a == b or a in ancestors(b) or b in ancestors(a)
