"""Train, validation and test by the classes of sounds: another recording of a class on every side.

By chance alone a class with few recordings may be in test only, and nobody can learn it. Which side a
recording is on then depends on the others, so such a build cannot grow.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

from paqa.config.recipe import SplitConfig
from paqa.storage.store import key
from paqa.types import Clip, Split
from paqa.union_find import connected_components


def spread_classes(clips: Sequence[Clip], config: SplitConfig, seed: int) -> list[Clip]:
    """The clips, those of sounds alone on the sides where their classes want them.

    Clips with a group in common, directly or through others, stay on one side: they are one component. The
    first component of every class is trained on. Of a class with two or more one is tested on, with three or
    more also one for validation, where these have a share, unless another class needs it for training. Clips
    with speech, or without truth, stay where they are, and so does what hangs together with them.
    """
    names = connected_components(clip.groups for clip in clips)
    members: dict[str, list[Clip]] = defaultdict(list)
    for clip, name in zip(clips, names, strict=True):
        members[name].append(clip)
    classes = {name: _classes(group) for name, group in members.items() if all(map(_is_sound, group))}
    sides = _sides(classes, config, seed)
    return [replace(c, split=sides.get(name, c.split)) for c, name in zip(clips, names, strict=True)]


def spread_sources(
    clips: Sequence[Clip], material: Mapping[str, Sequence[Clip]], config: SplitConfig, seed: int
) -> tuple[list[Clip], dict[str, list[Clip]]]:
    """The clips and the material of a build, spread together."""
    spread = iter(spread_classes([*clips, *chain.from_iterable(material.values())], config, seed))
    return list(islice(spread, len(clips))), {
        name: list(islice(spread, len(source_clips))) for name, source_clips in material.items()
    }


def _is_sound(clip: Clip) -> bool:
    return clip.truth is not None and bool(clip.truth.events) and not clip.truth.turns


def _classes(clips: Iterable[Clip]) -> frozenset[str]:
    return frozenset(event.mid for clip in clips if clip.truth for event in clip.truth.events)


def _sides(classes: dict[str, frozenset[str]], config: SplitConfig, seed: int) -> dict[str, Split]:
    """The side of each component, given the classes that sound in it: the rarest classes choose first."""
    having: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes, key=lambda name: key(seed, "by_class", name)):
        for mid in classes[name]:
            having[mid].append(name)
    sides: dict[str, Split] = {}
    trained_on: set[str] = set()  # classes
    for mid in sorted(having, key=lambda mid: (len(having[mid]), mid)):
        for name in having[mid]:
            if name not in sides:
                is_new = not classes[name] <= trained_on
                sides[name] = "train" if is_new else _side_in_need(having[mid], sides, config)
                trained_on |= classes[name] if sides[name] == "train" else set()
    return sides


def _side_in_need(names: Sequence[str], sides: dict[str, Split], config: SplitConfig) -> Split:
    """The side on which a class lacks recordings: test before validation, train where both have enough."""
    count = Counter(sides[name] for name in names if name in sides)
    shares: tuple[tuple[Split, float, int], ...] = (
        ("test", config.test, 2),
        ("validation", config.validation, 3),
    )
    for side, share, least in shares:
        if share and len(names) >= least and count[side] < max(1, round(share * len(names))):
            return side
    return "train"
