"""What each split has to offer to scenes: utterances by voice, sounds, and beds (continuous background)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from paqa import spans
from paqa.config.recipe import MixConfig
from paqa.errors import PaqaError
from paqa.sources.truth import MOSTLY
from paqa.types import Clip, Split

GRID_MS = 10
LEAD_MS = (200, 1000)  # silence before the first turn
TAIL_MS = (200, 600)  # and after the last
SHORTEST_MS = 100  # clips under this are no material
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class BackgroundSound:
    """A background clip, its length on the grid, and the labels and ids of its events."""

    clip: Clip
    length_ms: int
    labels: frozenset[str]


@dataclass(frozen=True)
class Material:
    """Of one split: utterances by voice, the shortest of each in ms, sounds that fit a scene, and beds."""

    voices: dict[str, list[Clip]]
    shortest: dict[str, int]
    sounds: list[BackgroundSound]
    beds: list[Clip]


def materials_by_split(
    config: MixConfig, speech: Sequence[Clip], sounds: Sequence[Clip], max_ms: int
) -> dict[Split, Material]:
    """The splits that can make a scene. Content that several clips share counts once, in one split."""
    unique = {
        clip.sha256: clip for clip in sorted([*speech, *sounds], key=lambda clip: clip.id, reverse=True)
    }
    room = max_ms - LEAD_MS[1] - TAIL_MS[1]
    clips = sorted((c for c in unique.values() if c.duration_ms >= SHORTEST_MS), key=lambda clip: clip.id)
    splits: dict[Split, Material] = {}
    for split in SPLITS:
        material = _material(config, [clip for clip in clips if clip.split == split], room)
        enough_speech = material.voices or not config.speech
        enough_sounds = material.sounds or material.beds or not config.background or not config.sounds[1]
        if enough_speech and enough_sounds and (material.voices or material.sounds):
            splits[split] = material
    if not splits:
        spoken = f"{len(speech)} clips of speech {config.speech!r}"
        background = f"{len(sounds)} of background {config.background!r}"
        expected = f"utterances with text and sounds with events, up to {room} ms, in one split"
        raise PaqaError(
            f"mix {config.name!r} has no material: found {spoken}, {background}; "
            f"expected {expected}; add some"
        )
    return splits


def voice_of(clip: Clip) -> str:
    """Who speaks in an utterance: its voice, else its groups. A name is one person in its own source alone.

    A group may hold several voices (a session, a voice and what was made from it).
    """
    return "\0".join((clip.corpus, *([clip.voice] if clip.voice else clip.groups)))


def _material(config: MixConfig, clips: Sequence[Clip], room: int) -> Material:
    voices: dict[str, list[Clip]] = defaultdict(list)
    sounds = []
    fitting = [clip for clip in clips if clip.duration_ms <= room]
    for clip in fitting:
        if config.speech and _is_utterance(clip):
            voices[voice_of(clip)].append(clip)
        elif config.background and clip.truth and _is_sound(clip):
            labels = frozenset(name for event in clip.truth.events for name in (event.label, event.mid))
            sounds.append(BackgroundSound(clip, length_on_grid(clip), labels))
    shortest = {voice: min(map(length_on_grid, utterances)) for voice, utterances in voices.items()}
    beds = [clip for clip in clips if config.bed and _is_bed(clip, config)]
    return Material(dict(voices), shortest, sounds, beds)


def _is_utterance(clip: Clip) -> bool:
    return clip.truth is not None and clip.truth.speakers == 1 and bool(clip.truth.transcript)


def _is_sound(clip: Clip) -> bool:
    return clip.truth is not None and bool(clip.truth.events) and not clip.truth.turns


def _is_bed(clip: Clip, config: MixConfig) -> bool:
    if clip.truth is None:
        return config.answers == "heard"
    return (
        _is_sound(clip) and spans.total(map(spans.interval, clip.truth.events)) >= MOSTLY * clip.duration_ms
    )


def length_on_grid(clip: Clip) -> int:
    """The clip's duration, up to the next grid point."""
    return -(-clip.duration_ms // GRID_MS) * GRID_MS
