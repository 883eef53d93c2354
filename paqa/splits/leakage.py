"""No leakage between splits: which clips must go so that no name and no sound is in two of them.

What two splits must not share is named: a clip's groups (recording, speakers), its file, its speaker, its
sound. Clips of which one is a copy of the other, or a part of it, share all their names. Where a name comes
up in two splits, the clips that have it in the less protected one are quarantined (`would_leak`): test keeps
what it has, train gives way. What sounds alike, `paqa.audio.fingerprint` tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import replace

import numpy as np

from paqa.audio import fingerprint
from paqa.audio.fingerprint import Match
from paqa.config.recipe import SplitConfig
from paqa.types import Clip, Quarantined, Split
from paqa.union_find import UnionFind

PROTECTED: tuple[Split, ...] = ("test", "validation", "train")  # most protected first
PART = 0.8  # share of a clip's sound from which it is a part, or a copy, of another

Name = tuple[str, ...]  # a kind ("group", "file", "speaker", "sound") and what it is called


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
        for name in {classes.root(name) for name in held[i]}:
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
) -> tuple[list[list[Name]], UnionFind[Name]]:
    """The names of each clip, and which of them stand for the same thing."""
    held = [names(clip, config) for clip in clips]
    classes: UnionFind[Name] = UnionFind()
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


def _join(one: Sequence[Name], other: Sequence[Name], classes: UnionFind[Name]) -> None:
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
    classes: UnionFind[str] = UnionFind()
    for match in matches:
        if match.cover >= PART:
            classes.join(clips[match.first].sha256, clips[match.second].sha256)
    return {name: classes.root(name) for name in [*classes.parent, *classes.parent.values()]}


def find_leaks(
    clips: Sequence[Clip],
    prints: Sequence[np.ndarray],
    config: SplitConfig,
    gone: Collection[int] = (),
    staying: Collection[int] = (),
) -> tuple[dict[int, Quarantined], list[Match]]:
    """By number, the clips that must go so that no name and no sound is on two sides; and the matches that
    say so.

    `prints` are the clips' fingerprints, `gone` and `staying` are as in `leaks`. Asked again of what is left
    until nothing goes: a clip may share its sound with one that falls out itself, and with another that
    stays.
    """
    matches = [*fingerprint.find_matches(prints), *_across(clips, prints, gone, staying)]
    lost = leaks(clips, matches, config, gone, staying)
    while more := _across(clips, prints, {*gone, *lost}, staying):
        matches += more
        lost |= leaks(clips, matches, config, {*gone, *lost}, staying)
    return lost, matches


def scene_leaks(
    clips: Sequence[Clip], prints: Sequence[np.ndarray], staying: Collection[int] = ()
) -> dict[int, Quarantined]:
    """By number, the clips that must go so that no sound is on two sides, whatever they are called; not
    `staying` ones.

    For finished scenes. Their material shares nothing across sides, but what is loud in a scene decides what
    else of it counts as silence, so that a part too short to matter in a recording may be most of what two
    scenes sound like.
    """
    lost: dict[int, Quarantined] = {}
    ranks = [_rank(clip, i in staying) for i, clip in enumerate(clips)]
    while pairs := _across(clips, prints, lost, staying):
        ordered = [sorted((m.first, m.second), key=ranks.__getitem__) for m in pairs]
        for stronger, weaker in sorted(ordered, key=lambda pair: (ranks[pair[0]], pair)):
            if stronger not in lost and weaker not in lost:
                lost[weaker] = sound_leak(clips[weaker], clips[stronger])
    return lost


def _across(
    clips: Sequence[Clip], prints: Sequence[np.ndarray], gone: Collection[int], staying: Collection[int]
) -> list[Match]:
    """Matches between sides among the clips that are not gone, of which one at least may go."""
    kept = [i for i in range(len(clips)) if i not in gone]
    sides = [PROTECTED.index(clips[i].split) for i in kept]
    pairs = fingerprint.matches_between_splits(
        [prints[i] for i in kept], sides, [_rank(clips[i], i in staying) for i in kept]
    )
    return [replace(m, first=kept[m.first], second=kept[m.second]) for m in pairs]


def _rank(clip: Clip, stays: bool) -> int:
    """Of two clips that share a sound, the one of higher rank goes."""
    return 0 if stays else 1 + PROTECTED.index(clip.split)
