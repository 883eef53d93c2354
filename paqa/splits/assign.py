"""Leak-proof train/validation/test: the side of a group depends on the group alone, so a growing build moves
nothing.

What two sides must not share is named: a clip's groups (recording, speakers), its file, its speaker, its
sound. Clips of which one is a copy of the other, or a part of it, share all their names. Where a name comes
up on two sides, the clips that have it on the less protected side are quarantined (`would_leak`): test keeps
what it has, train gives way. No clip is ever moved, since what would decide that could change with the next
clip.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

from paqa.config.recipe import SplitConfig
from paqa.errors import PaqaError
from paqa.types import Clip, Quarantined, Split
from paqa.union_find import Classes

if TYPE_CHECKING:
    from paqa.audio.fingerprint import Match

PROTECTED: tuple[Split, ...] = ("test", "validation", "train")  # most protected first
PART = 0.8  # share of a clip's sound from which it is a part, or a copy, of another

Name = tuple[str, ...]  # a kind ("group", "file", "speaker", "sound") and what it is called


def side(group: str, config: SplitConfig, seed: int) -> Split:
    """The split of a group (a recording, its speakers), by hash; adding clips never moves one."""
    value = int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big")
    return by_share(value / 2**64, config)


def by_share(point: float, config: SplitConfig) -> Split:
    """Where a point in [0, 1) falls: test first, then validation, the rest is train.

    Raises PaqaError where the shares add up to more than 1.
    """
    if config.test + config.validation > 1:
        found = f"split.test = {config.test} and split.validation = {config.validation}"
        raise PaqaError(f"{found} add up to more than 1; lower one of them in the recipe")
    if point < config.test:
        return "test"
    return "validation" if point < config.test + config.validation else "train"


def names(clip: Clip, config: SplitConfig) -> list[Name]:
    """Everything about a clip that must be on one side only; files and speakers are known by their source."""
    found: list[Name] = [("group", group) for group in clip.groups]
    if not clip.uri.startswith("mix:"):
        found.append(("file", clip.corpus, clip.uri))
    if clip.voice and config.speakers:
        found.append(("speaker", clip.corpus, clip.voice))
    return [*found, ("sound", clip.sha256)]


def leaks(
    clips: Sequence[Clip],
    matches: Iterable[Match],
    config: SplitConfig,
    gone: Container[int] = (),
    staying: Container[int] = (),
) -> dict[int, Quarantined]:
    """By number, the clips that must go so that no name is on two sides; `matches` pair clips by number.

    Clips with the same samples are copies without a match. Clips that share a part only share the name of
    that sound. `gone` are out already: they still tell which names stand for the same thing, but hold no
    side. `staying` ones, of a build that grows, are not taken out: others go that share a name with one of
    them on another side.
    """
    held, classes = _classes(clips, matches, config)
    by_name: dict[Name, list[int]] = defaultdict(list)
    for i in (i for i in range(len(clips)) if i not in gone):
        for name in {classes.of(name) for name in held[i]}:
            by_name[name].append(i)
    lost: dict[int, Quarantined] = {}
    for name, own in sorted(by_name.items()):
        for first in (i for i in own if i in staying):
            others = [i for i in own if i not in staying and clips[i].split != clips[first].split]
            lost |= {i: _lost(clips[i], name, clips[first]) for i in others if i not in lost}
    for winner in PROTECTED[:-1]:
        for name, own in sorted(by_name.items()):
            left = [i for i in own if i not in lost]
            kept = min((clips[i] for i in left if clips[i].split == winner), key=lambda c: c.id, default=None)
            weaker = PROTECTED[PROTECTED.index(winner) + 1 :]
            going = [i for i in left if clips[i].split in weaker and i not in staying]
            lost |= {i: _lost(clips[i], name, kept) for i in going if kept}
    return lost


def _classes(
    clips: Sequence[Clip], matches: Iterable[Match], config: SplitConfig
) -> tuple[list[list[Name]], Classes[Name]]:
    """The names of each clip, and which of them stand for the same thing."""
    held = [names(clip, config) for clip in clips]
    classes: Classes[Name] = Classes()
    known: dict[str, list[Name]] = defaultdict(list)  # of all clips with the same samples so far
    for clip, own in zip(clips, held, strict=True):
        _join(known[clip.sha256], own, classes)
        known[clip.sha256] += own
    for match in matches:
        one, other = held[match.first], held[match.second]
        if match.within >= PART:
            _join(one, other, classes)
        else:  # a sound of its own, that both hold
            part: Name = ("sound", *sorted((clips[match.first].sha256, clips[match.second].sha256)))
            one.append(part)
            other.append(part)
    return held, classes


def _join(one: Sequence[Name], other: Sequence[Name], classes: Classes[Name]) -> None:
    """Names of the same kind are the same from now on."""
    for kind in {name[0] for name in one} & {name[0] for name in other}:
        alike = [name for name in (*one, *other) if name[0] == kind]
        for name in alike[1:]:
            classes.join(alike[0], name)


def _lost(clip: Clip, name: Name, other: Clip) -> Quarantined:
    what, advice = f"{name[0]} {name[-1]!r}", "give both one group, or remove one"
    if name[0] == "sound":
        what, advice = "sound", "cut out what both have (a jingle), give both one group, or remove one"
    detail = (
        f"{clip.uri} ({clip.split}) has the {what} of {other.uri} ({other.split}, clip {other.id}); {advice}"
    )
    return Quarantined(clip.id, "split", "would_leak", detail, clip.sha256)


def sound_leak(clip: Clip, other: Clip) -> Quarantined:
    """The row of a clip that shares its sound with one of a more protected side."""
    return _lost(clip, ("sound", clip.sha256), other)


def speakers_unknown(clips: Iterable[Clip]) -> dict[str, int]:
    """By source, the recordings' clips in which people may speak whom nothing names, where splits could share
    them.

    Those without a voice whose only group is their own file, and whose truth does not say that nobody speaks;
    of sources that have such clips in several splits.
    """
    unnamed: dict[str, list[Split]] = defaultdict(list)
    for clip in clips:
        own = {(name,) for origin in clip.origins for name in (origin.recording, origin.uri)}
        mute = clip.truth is not None and not clip.truth.turns
        if not clip.uri.startswith("mix:") and not clip.voice and not mute and clip.groups in own:
            unnamed[clip.corpus].append(clip.split)
    return {source: len(splits) for source, splits in sorted(unnamed.items()) if len(set(splits)) > 1}


def copies(clips: Sequence[Clip], matches: Iterable[Match]) -> dict[str, str]:
    """By digest of samples, what clips that are copies of one another have in common; others are left out."""
    classes: Classes[str] = Classes()
    for match in matches:
        if match.cover >= PART:
            classes.join(clips[match.first].sha256, clips[match.second].sha256)
    return {name: classes.of(name) for name in [*classes.parent, *classes.parent.values()]}
