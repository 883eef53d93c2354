"""Clips out until no two sides of the split share a sound: `split` knows names, `fingerprint` what sounds
alike.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from paqa.audio import fingerprint
from paqa.audio.fingerprint import Match
from paqa.config.recipe import SplitConfig
from paqa.splits.assign import PROTECTED, leaks, sound_leak
from paqa.types import Clip, Quarantined


def settled(
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
    matches = [*fingerprint.matches(prints), *_across(clips, prints, gone, staying)]
    lost = leaks(clips, matches, config, gone, staying)
    while more := _across(clips, prints, {*gone, *lost}, staying):
        matches += more
        lost |= leaks(clips, matches, config, {*gone, *lost}, staying)
    return lost, matches


def sound_alike(
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
    pairs = fingerprint.across(
        [prints[i] for i in kept], sides, [_rank(clips[i], i in staying) for i in kept]
    )
    return [replace(m, first=kept[m.first], second=kept[m.second]) for m in pairs]


def _rank(clip: Clip, stays: bool) -> int:
    """Of two clips that share a sound, the one of higher rank goes."""
    return 0 if stays else 1 + PROTECTED.index(clip.split)
