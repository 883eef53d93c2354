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
    """All names of a clip that must be in one split only; files and speakers are named with their source."""
    clip_names: list[Name] = [("group", group) for group in clip.groups]
    if not clip.uri.startswith("mix:"):
        clip_names.append(("file", clip.corpus, clip.uri))
    if clip.voice and config.speakers:
        clip_names.append(("speaker", clip.corpus, clip.voice))
    return [*clip_names, ("sound", clip.sha256)]


def leaks(
    clips: Sequence[Clip],
    matches: Iterable[Match],
    config: SplitConfig,
    gone: Container[int] = (),
    staying: Container[int] = (),
) -> dict[int, Quarantined]:
    """By number, the clips that must go so that no name is in two splits; `matches` pair clips by number.

    Clips with the same samples are copies without a match. Clips that share a part only share the name of
    that sound. `gone` are out already: they still tell which names stand for the same thing, but count for
    no split. `staying` ones, of a build that grows, are not taken out: others go that share a name with one
    of them in another split.
    """
    names_by_clip, same = _same_names(clips, matches, config)
    by_name: dict[Name, list[int]] = defaultdict(list)
    for i in (i for i in range(len(clips)) if i not in gone):
        for name in {same.root(name) for name in names_by_clip[i]}:
            by_name[name].append(i)
    lost: dict[int, Quarantined] = {}
    for name, holders in sorted(by_name.items()):
        for first in (i for i in holders if i in staying):
            leaking = [i for i in holders if i not in staying and clips[i].split != clips[first].split]
            lost |= {i: _would_leak(clips[i], name, clips[first]) for i in leaking if i not in lost}
    for winner in PROTECTED[:-1]:
        weaker = PROTECTED[PROTECTED.index(winner) + 1 :]
        for name, holders in sorted(by_name.items()):
            left = [i for i in holders if i not in lost]
            kept = min((clips[i] for i in left if clips[i].split == winner), key=lambda c: c.id, default=None)
            leaking = [i for i in left if clips[i].split in weaker and i not in staying]
            lost |= {i: _would_leak(clips[i], name, kept) for i in leaking if kept}
    return lost


def _same_names(
    clips: Sequence[Clip], matches: Iterable[Match], config: SplitConfig
) -> tuple[list[list[Name]], UnionFind[Name]]:
    """The names of each clip, and which of them stand for the same thing."""
    names_by_clip = [names(clip, config) for clip in clips]
    same: UnionFind[Name] = UnionFind()
    names_by_digest: dict[str, list[Name]] = defaultdict(list)  # of all clips with the same samples so far
    for clip, clip_names in zip(clips, names_by_clip, strict=True):
        _join(names_by_digest[clip.sha256], clip_names, same)
        names_by_digest[clip.sha256] += clip_names
    for match in matches:
        first_names, second_names = names_by_clip[match.first], names_by_clip[match.second]
        if match.within >= PART:
            _join(first_names, second_names, same)
        else:  # the part is a sound of its own, that both hold
            part: Name = ("sound", *sorted((clips[match.first].sha256, clips[match.second].sha256)))
            first_names.append(part)
            second_names.append(part)
    return names_by_clip, same


def _join(first_names: Sequence[Name], second_names: Sequence[Name], same: UnionFind[Name]) -> None:
    """Names of the same kind stand for the same thing from now on."""
    for kind in {name[0] for name in first_names} & {name[0] for name in second_names}:
        of_kind = [name for name in (*first_names, *second_names) if name[0] == kind]
        for name in of_kind[1:]:
            same.join(of_kind[0], name)


def _would_leak(clip: Clip, name: Name, kept: Clip) -> Quarantined:
    """The quarantine's row of a clip that shares a name with one that is kept, in another split."""
    what, advice = f"{name[0]} {name[-1]!r}", "give both one group, or remove one"
    if name[0] == "sound":
        what, advice = "sound", "cut out what both have (a jingle), give both one group, or remove one"
    detail = (
        f"{clip.uri} ({clip.split}) has the {what} of {kept.uri} ({kept.split}, clip {kept.id}); {advice}"
    )
    return Quarantined(clip.id, "split", "would_leak", detail, clip.sha256)


def speakers_unknown(clips: Iterable[Clip]) -> dict[str, int]:
    """By source, how many clips of recordings may hold unnamed speakers that several splits could share.

    Clips without a voice whose only group is their own file, and whose truth does not say that nobody speaks;
    of sources that have such clips in several splits.
    """
    unnamed: dict[str, list[Split]] = defaultdict(list)
    for clip in clips:
        groups_of_file = {(name,) for origin in clip.origins for name in (origin.recording, origin.uri)}
        mute = clip.truth is not None and not clip.truth.turns
        if not clip.uri.startswith("mix:") and not clip.voice and not mute and clip.groups in groups_of_file:
            unnamed[clip.corpus].append(clip.split)
    return {source: len(splits) for source, splits in sorted(unnamed.items()) if len(set(splits)) > 1}


def copies(clips: Sequence[Clip], matches: Iterable[Match]) -> dict[str, str]:
    """By digest of samples, the smallest digest of all copies of that clip; others are left out."""
    same: UnionFind[str] = UnionFind()
    for match in matches:
        if match.cover >= PART:
            same.join(clips[match.first].sha256, clips[match.second].sha256)
    return {digest: same.root(digest) for digest in [*same.parent, *same.parent.values()]}


def find_leaks(
    clips: Sequence[Clip],
    prints: Sequence[np.ndarray],
    config: SplitConfig,
    gone: Collection[int] = (),
    staying: Collection[int] = (),
) -> tuple[dict[int, Quarantined], list[Match]]:
    """By number, the clips that must go so that no name and no sound is in two splits; and all matches.

    `prints` are the clips' fingerprints, each `(n,)`, one uint32 per 32 ms; `gone` and `staying` are as in
    `leaks`. Repeated with what is left until nothing goes: a clip may share its sound with one that falls out
    itself, and with another that stays.
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
    """By number, the scenes that must go so that no sound is in two splits; never `staying` ones.

    `prints` are the scenes' fingerprints, each `(n,)`, one uint32 per 32 ms. The material of scenes shares
    nothing across splits, but what is loud in a scene decides what else of it counts as silence: a part too
    short to matter in a recording may be most of what two scenes sound like.
    """
    lost: dict[int, Quarantined] = {}
    ranks = [_rank(clip, i in staying) for i, clip in enumerate(clips)]
    while pairs := _across(clips, prints, lost, staying):
        ordered = [sorted((m.first, m.second), key=ranks.__getitem__) for m in pairs]
        for stronger, weaker in sorted(ordered, key=lambda pair: (ranks[pair[0]], pair)):
            if stronger not in lost and weaker not in lost:
                lost[weaker] = _would_leak(clips[weaker], ("sound", clips[weaker].sha256), clips[stronger])
    return lost


def _across(
    clips: Sequence[Clip], prints: Sequence[np.ndarray], gone: Collection[int], staying: Collection[int]
) -> list[Match]:
    """Matches between splits among the clips that are not gone, of which one at least may go."""
    kept = [i for i in range(len(clips)) if i not in gone]
    splits = [PROTECTED.index(clips[i].split) for i in kept]
    ranks = [_rank(clips[i], i in staying) for i in kept]
    pairs = fingerprint.matches_between_splits([prints[i] for i in kept], splits, ranks)
    return [replace(m, first=kept[m.first], second=kept[m.second]) for m in pairs]


def _rank(clip: Clip, stays: bool) -> int:
    """Of two clips that share a sound, the one of higher rank goes."""
    return 0 if stays else 1 + PROTECTED.index(clip.split)
