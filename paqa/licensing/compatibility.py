"""Which licences adaptations of recordings may come under, and the licence of a whole dataset.

A row is an adaptation of its recordings: they were cut, mixed and written about. So the question is always
whether adaptations of material under one licence may be passed on under another. The table reads the
licences' texts and their publishers' lists of compatible ones (that of Creative Commons for BY-SA); it is no
legal advice.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from paqa.errors import PaqaError
from paqa.licensing.identify import ADDRESS, spdx
from paqa.types import Clip, Item, Origin

Kind = Literal[
    "public", "attribution", "share-alike", "sampling", "noncommercial", "noncommercial share-alike",
    "no derivatives", "noncommercial no derivatives", "own terms",
]  # fmt: skip
NONCOMMERCIAL: frozenset[Kind] = frozenset(
    {"noncommercial", "noncommercial share-alike", "noncommercial no derivatives"}
)
RANK: dict[Kind, int] = {  # of what a dataset may come under, the freest first
    "public": 0,
    "attribution": 1,
    "share-alike": 2,
    "noncommercial": 3,
    "noncommercial share-alike": 4,
}
# The kinds of licence that adaptations of a kind of material may be passed on under.
ADAPTATION_KINDS: dict[Kind, frozenset[Kind]] = {
    "public": frozenset({*RANK, "no derivatives", "noncommercial no derivatives", "own terms"}),
    "attribution": frozenset({*RANK, "no derivatives", "noncommercial no derivatives"} - {"public"}),
    "sampling": NONCOMMERCIAL,
    "noncommercial": NONCOMMERCIAL,
    "share-alike": frozenset(),  # these two: under the same licence, and those of COMPATIBLE
    "noncommercial share-alike": frozenset(),
    "no derivatives": frozenset(),
    "noncommercial no derivatives": frozenset(),
    "own terms": frozenset(),
}
REFUSAL_REASONS: dict[Kind, str] = {
    "public": "",
    "attribution": "it wants its makers named, and {target} is not known to ask for that",
    "share-alike": "adaptations of it may be passed on under {onward} only",
    "sampling": "it forbids advertising with samples and trade with whole recordings, which {target} permits",
    "noncommercial": "it forbids commercial use, which {target} permits",
    "noncommercial share-alike": "adaptations of it may be passed on under {onward} only",
    "no derivatives": "it permits no adaptations, and audio that was cut or mixed is one",
    "noncommercial no derivatives": "it permits no adaptations, and audio that was cut or mixed is one",
    "own terms": "what it permits is not known; "
    "say which licence it is (`license` of the row or of its source)",
}
KNOWN: dict[str, Kind] = {
    **dict.fromkeys(("CC0-1.0", "PDM-1.0", "PDDL-1.0", "Unlicense", "0BSD", "MIT-0"), "public"),
    "LicenseRef-Public-Domain": "public",
    **dict.fromkeys(
        ("MIT", "MIT-Festival", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC"), "attribution"
    ),
    **dict.fromkeys(("Zlib", "ODC-By-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0"), "attribution"),
    **dict.fromkeys(("GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later"), "share-alike"),
    **dict.fromkeys(
        ("LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"), "share-alike"
    ),
    **dict.fromkeys(("AGPL-3.0-only", "AGPL-3.0-or-later", "LAL-1.2", "LAL-1.3"), "share-alike"),
    **dict.fromkeys(("ODbL-1.0", "CDLA-Sharing-1.0"), "share-alike"),
    "LicenseRef-CC-Sampling-Plus-1.0": "sampling",
}
GNU = ("GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "AGPL-3.0")
ALIASES = {
    "PUBLIC DOMAIN": "LicenseRef-Public-Domain",
    "CC-PDDC": "LicenseRef-Public-Domain",
    "CC0": "CC0-1.0",
    "CC-SAMPLING-PLUS-1.0": "LicenseRef-CC-Sampling-Plus-1.0",
    "ODC-BY": "ODC-By-1.0",
    "ODBL": "ODbL-1.0",
    "PDDL": "PDDL-1.0",
    **{name: f"{name}-only" for name in GNU},
    **{f"{name}+": f"{name}-or-later" for name in GNU},
}
CC = re.compile(r"CC-(BY(?:-NC)?(?:-SA|-ND)?)(?:-([1-4]\.[05]))?(?:-IGO|-[A-Z]{2,3})?")
VERSIONS = ("2.0", "2.5", "3.0", "4.0")  # of share-alike licences that name later versions; 1.0 does not
# Under which licences, besides its own, adaptations of share-alike material may be passed on.
COMPATIBLE: dict[str, frozenset[str]] = {
    **{f"CC-BY-SA-{v}": frozenset(f"CC-BY-SA-{w}" for w in VERSIONS if w > v) for v in VERSIONS[:-1]},
    **{f"CC-BY-NC-SA-{v}": frozenset(f"CC-BY-NC-SA-{w}" for w in VERSIONS if w > v) for v in VERSIONS[:-1]},
    "CC-BY-SA-4.0": frozenset({"LAL-1.3", "GPL-3.0-only"}),  # as Creative Commons has declared
    "LAL-1.2": frozenset({"LAL-1.3"}),
    "LAL-1.3": frozenset({"CC-BY-SA-4.0"}),
    "GPL-2.0-or-later": frozenset({"GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later"}),
    "GPL-3.0-or-later": frozenset({"GPL-3.0-only"}),
    "LGPL-2.1-only": frozenset({"GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later"}),
    "LGPL-2.1-or-later": frozenset(
        {"LGPL-2.1-only", "LGPL-3.0-only", "LGPL-3.0-or-later"}
        | {"GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later"}
    ),
    "LGPL-3.0-only": frozenset({"GPL-3.0-only"}),
    "LGPL-3.0-or-later": frozenset({"LGPL-3.0-only", "GPL-3.0-only", "GPL-3.0-or-later"}),
    "AGPL-3.0-or-later": frozenset({"AGPL-3.0-only"}),
}
INCOMPATIBLE = {  # its clause about patents is a condition that these do not permit
    ("Apache-2.0", f"{name}-{end}") for name in ("GPL-2.0", "LGPL-2.1") for end in ("only", "or-later")
}
TARGETS = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "GPL-3.0-only", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0")
HUB_ALIASES = {  # what the Hub calls them, where that is not the SPDX identifier in small letters
    **{f"{name}-{end}": name.lower() for name in GNU for end in ("only", "or-later")},
    "ODC-By-1.0": "odc-by",
    "ODbL-1.0": "odbl",
    "PDDL-1.0": "pddl",
}
HUB_NAMES = {
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "unlicense", "cc0-1.0", "cc-by-2.0",
    "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "gpl-2.0", "gpl-3.0",
    "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "odc-by", "odbl", "pddl",
}  # fmt: skip


@dataclass(frozen=True)
class License:
    """One licence by its SPDX identifier, or by the text that names it where paqa does not know it."""

    id: str
    kind: Kind


def read(text: str) -> License:
    """The licence that a text names: an SPDX identifier, a Creative Commons address, or own terms.

    A remark in brackets at the end is left out. Whole sentences are not interpreted.

    >>> read("cc-by-sa-3.0-de")
    License(id='CC-BY-SA-3.0', kind='share-alike')
    """
    plain = re.sub(r"\s*\([^()]*\)\s*$", "", text.strip())
    upper = plain.upper()
    if plain.startswith("http") and ADDRESS.search(plain.lower()):
        upper = (spdx(plain) or "").upper()
    upper = ALIASES.get(upper, upper).upper()
    for name, kind in KNOWN.items():
        if name.upper() == upper:
            return License(name, kind)
    if found := CC.fullmatch(upper):
        name, version = found.groups()
        return License("-".join(filter(None, ("CC", name, version))), _cc_kind(name))
    return License(plain or "unknown", "own terms")


def _cc_kind(name: str) -> Kind:
    if name.endswith("ND"):
        return "noncommercial no derivatives" if "NC" in name else "no derivatives"
    if name.endswith("SA"):
        return "noncommercial share-alike" if "NC" in name else "share-alike"
    return "noncommercial" if "NC" in name else "attribution"


@cache
def parts(text: str) -> tuple[License, ...]:
    """The licences of a text that names several, all of which hold: `A; B` or `A AND B`."""
    return tuple(read(part) for part in re.split(r";\s|\sAND\s", text) if part.strip()) or (read("unknown"),)


def target(text: str) -> License:
    """The licence of a recipe's dataset; PaqaError where paqa cannot decide what may go into it."""
    licence = read(text)
    if licence.kind == "own terms" and not licence.id.startswith("LicenseRef-"):
        expected = "an SPDX identifier such as CC-BY-4.0, or LicenseRef-NAME for terms of your own"
        raise PaqaError(f"license: {text!r} is not known to paqa; expected {expected}")
    if licence.kind == "sampling":
        raise PaqaError(f"license: {text!r} is for single recordings; expected e.g. CC-BY-NC-4.0")
    if not _versioned(licence):
        raise PaqaError(f"license: {text!r} names no version; expected e.g. {licence.id}-4.0")
    return licence


@cache
def refusal(license: str, dataset_license: str) -> str | None:
    """Why material under `license` may not go into one under `dataset_license`; None where it may."""
    goal = target(dataset_license)
    return next(filter(None, (_refusal(material, goal) for material in parts(license))), None)


def _refusal(material: License, goal: License) -> str | None:
    same = material.id == goal.id and "no derivatives" not in material.kind
    if same or goal.id in COMPATIBLE.get(material.id, ()):
        return None
    if goal.kind in ADAPTATION_KINDS[material.kind] and (material.id, goal.id) not in INCOMPATIBLE:
        return None
    onward = " or ".join(sorted({material.id, *COMPATIBLE.get(material.id, ())}))
    why = REFUSAL_REASONS[material.kind].format(target=goal.id, onward=onward)
    if (material.id, goal.id) in INCOMPATIBLE:
        why = f"its clause about patents is a condition that {goal.id} does not permit"
    return f"{material.id}: {why}"


def common(licenses: Iterable[str]) -> str | None:
    """The freest licence that all of the material permits, if possible one of its own; None where none fits.

    Whatever is added, the licences that are left can only become fewer.
    """
    return _common(frozenset(licence for text in licenses for licence in parts(text)))


@cache
def _common(materials: frozenset[License]) -> str | None:
    candidates = {licence.id for licence in materials if RANK.get(licence.kind) and _versioned(licence)}
    goals = [read(name) for name in {*TARGETS, *candidates}]
    fitting = [goal for goal in goals if not any(_refusal(licence, goal) for licence in materials)]
    if not materials or not fitting:
        return None
    return min(fitting, key=lambda goal: _preference(goal, candidates)).id


def _versioned(licence: License) -> bool:
    return not licence.id.startswith("CC-") or licence.id[-1].isdigit()


def _preference(licence: License, material_ids: set[str]) -> tuple[int, bool, bool, float, str]:
    """Freest first; then the material's own; of these Creative Commons', later versions first."""
    version = re.search(r"\d\.\d", licence.id)
    return (
        RANK[licence.kind],
        licence.id not in material_ids,
        not licence.id.startswith("CC-"),
        -float(version[0] if version else 0),
        licence.id,
    )


def hub_header(license: str | None) -> list[str]:
    """The lines of a card's YAML header for the dataset's licence, in the Hub's words; None is a mix.

    What the Hub has no name for is `other`, with a name of its own and a link to LICENSE.md beside the card.
    """
    name = HUB_ALIASES.get(license or "", (license or "").lower())
    if name in HUB_NAMES:
        return [f"license: {name}"]
    slug = re.sub(r"[^a-z0-9.]+", "-", (license or "mixed").removeprefix("LicenseRef-").lower()).strip("-.")
    return ["license: other", f"license_name: {slug}", "license_link: LICENSE.md"]


@dataclass(frozen=True)
class Share:
    """How much of a dataset rests on material under one licence; a row that mixes two counts under both."""

    license: str
    rows: int
    clips: int
    minutes: float
    recordings: int


def shares_by_license(items: Sequence[Item], clips: Sequence[Clip]) -> list[Share]:
    """What each licence covers, by its SPDX identifier where it has one, that of most rows first.

    Clips without rows count for nothing: they are not in the dataset.
    """
    lengths = {clip.id: clip.duration_ms for clip in clips}
    rows_of: dict[str, int] = defaultdict(int)
    clips_of: dict[str, set[str]] = defaultdict(set)
    origins_of: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for item in items:
        for name in {licence.id for text in texts(item) for licence in parts(text)}:
            rows_of[name] += 1
            clips_of[name].add(item.clip_id)
        for origin in item.origins:
            for licence in parts(origin.license):
                origins_of[licence.id].add((origin.corpus, origin.uri))
    shares = [
        Share(
            name,
            n,
            len(clips_of[name]),
            sum(lengths.get(c, 0) for c in clips_of[name]) / 60_000,
            len(origins_of[name]),
        )
        for name, n in rows_of.items()
    ]
    return sorted(shares, key=lambda share: (-share.rows, share.license))


def texts(item: Item) -> tuple[str, ...]:
    """The licences of all recordings in a row, as their sources state them."""
    return tuple(dict.fromkeys(origin.license for origin in item.origins)) or (item.license,)


def of_dataset(items: Iterable[Item], recipe_license: str | None) -> str | None:
    """The licence of a dataset: the recipe's, else the freest that its material permits; None for a mix."""
    if recipe_license:
        return target(recipe_license).id
    return common({text for item in items for text in texts(item)})


def attributions(origins: Iterable[Origin]) -> list[tuple[str, str, str]]:
    """Whom to credit: licence, source with its author, and recordings; one for each pair of the first two."""
    uris_of: dict[tuple[str, str], set[str]] = defaultdict(set)
    for origin in origins:
        by = f", by {origin.author}" if origin.author else ""
        uris_of[origin.license, f"{origin.source}{by}"].add(origin.uri)
    return [
        (license, source, uris[0] if len(uris) == 1 else f"{len(uris)} recordings, e.g. {uris[0]}")
        for (license, source), uris in sorted((names, sorted(uris)) for names, uris in uris_of.items())
    ]
