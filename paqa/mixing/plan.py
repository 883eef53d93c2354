"""Plan scenes with known truth: which clips make up a scene, when each begins and how loud it is.

`plan` decides everything about a scene from clips alone, `paqa.mixing.render` makes its audio. Every scene
has its own random numbers, from the seed, the mix's name and its number: asking for more scenes never changes
the first ones.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from paqa.config.recipe import AudioConfig, MixConfig, SplitConfig
from paqa.errors import PaqaError
from paqa.mixing.material import (
    GRID_MS,
    LEAD_MS,
    TAIL_MS,
    BackgroundSound,
    Material,
    length_on_grid,
    materials_by_split,
    voice_of,
)
from paqa.splits.assign import split_at
from paqa.types import AnswersFrom, Clip, Groups, Split

APART_MS = 300  # least silence between different sounds
REPEAT_MS = 600  # and between occurrences of one
REPEATS = (2, 4)
SLACK_MS = 1500  # most that is added to a gap where the sounds alone decide the length
SAME_AGAIN = 0.15  # share of turns after which the same speaker goes on, where others could
MOST_OVERLAP = 0.6  # of either turn
GAIN_DB = 3.0  # turns and sounds differ by up to this either way
ATTEMPTS = 24  # draws for a scene until it is a new one
GOLDEN = (math.sqrt(5) - 1) / 2

Kind = Literal["speech", "sound"]


@dataclass(frozen=True)
class PlacedClip:
    """One clip in a scene, from `start_ms` on. `gain` multiplies it after it was brought to the common level.

    Of a bed, `length_ms` from `from_ms` on are used; 0 stands for all of the clip.
    """

    clip_id: str
    sha256: str
    start_ms: int
    gain: float
    kind: Kind
    from_ms: int = 0
    length_ms: int = 0


@dataclass(frozen=True)
class Mixture:
    """A planned scene. `groups` are those of its material; `snr_db` is None without speech or background."""

    id: str
    split: Split
    placements: tuple[PlacedClip, ...]
    snr_db: float | None
    length_ms: int
    source: str
    license: str
    groups: Groups
    answers: AnswersFrom
    listen: bool
    words: bool


@dataclass(frozen=True)
class _Request:
    """What is decided about a scene before its material is drawn."""

    config: MixConfig
    split: Split
    speakers: int
    max_ms: int


def plan(
    config: MixConfig,
    seed: int,
    audio: AudioConfig,
    speech: Sequence[Clip],
    sounds: Sequence[Clip],
    shares: SplitConfig,
) -> list[Mixture]:
    """`config.scenes` different scenes of at most `audio.max_clip_ms`, each from the material of one split.

    An utterance is a clip whose truth has one speaker and a text, a voice is a name in one source; a sound is
    a clip whose truth has events and no turns. A bed is a sound whose events last nearly all of it or, where
    answers are heard, a clip without truth (noise that nobody labelled; it must hold no speech). Raises
    PaqaError where no split has the material, or too little for different scenes.
    """
    materials = materials_by_split(config, speech, sounds, audio.max_clip_ms)
    offset = _random(seed, config.name, "split").random()
    planned: dict[Split, int] = defaultdict(int)
    used: set[tuple[str, ...]] = set()
    mixtures = []
    for number in range(config.scenes):
        split = _split((offset + number * GOLDEN) % 1, materials, shares)
        least, most = (min(limit, len(materials[split].voices)) for limit in config.speakers)
        speakers = least + planned[split] % (most - least + 1)
        planned[split] += 1
        request = _Request(config, split, speakers, audio.max_clip_ms)
        mixtures.append(_new_mixture(request, f"{config.name}-{number:05d}", seed, materials[split], used))
    return mixtures


def _random(*seeds: object) -> random.Random:
    text = "/".join(map(str, seeds))
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big"))


def _split(point: float, materials: Mapping[Split, Material], shares: SplitConfig) -> Split:
    split = split_at(point, shares)
    return split if split in materials else next(iter(materials))


def _new_mixture(
    request: _Request, name: str, seed: int, material: Material, used: set[tuple[str, ...]]
) -> Mixture:
    """The first drawn scene whose material, else at least whose timing, no earlier scene has."""
    for attempt in range(ATTEMPTS):
        mixture = _draw(request, name, _random(seed, name, attempt), material)
        content = tuple(placement.sha256 for placement in mixture.placements)
        timing = tuple(f"{p.sha256}@{p.start_ms}" for p in mixture.placements)
        if timing in used or (content in used and attempt < ATTEMPTS // 2):
            continue
        used.update((content, timing))
        return mixture
    raise PaqaError(
        f"mix {request.config.name!r}: too little {request.split} material; add some or lower `scenes`"
    )


def _draw(request: _Request, name: str, rng: random.Random, material: Material) -> Mixture:
    config = request.config
    utterances = _dialogue(request, rng, material) if material.voices else []
    turns, end = _turns(config, rng, utterances)
    bed = _bed(config, rng, material.beds, end)
    sounds = _sounds(config, rng, material.sounds, end, request.max_ms) if material.sounds and not bed else []
    placed, length = _scatter(rng, sounds, end, request.max_ms)
    placements = [_place(rng, clip, start, "speech") for clip, start in turns]
    placements += [_place(rng, clip, start, "sound") for clip, start in placed]
    if bed:
        first = rng.randint(0, (bed.duration_ms - end) // GRID_MS) * GRID_MS
        placements.append(replace(_place(rng, bed, 0, "sound"), from_ms=first, length_ms=end))
    clips = [*utterances, *sounds, *([bed] if bed else [])]
    return Mixture(
        id=name,
        split=request.split,
        placements=tuple(sorted(placements, key=lambda p: (p.start_ms, p.clip_id))),
        snr_db=round(rng.uniform(*config.snr_db), 2) if turns and (placed or bed) else None,
        length_ms=length,
        source="; ".join(sorted({clip.source for clip in clips})),
        license="; ".join(sorted({clip.license for clip in clips})),
        groups=tuple(sorted({group for clip in clips for group in clip.groups})),
        answers=config.answers,
        listen=config.listen,
        words=config.words,
    )


def _bed(config: MixConfig, rng: random.Random, beds: Sequence[Clip], end: int) -> Clip | None:
    """The continuous sound under a dialogue of `end` ms; None for scattered sounds, or where no bed lasts."""
    if not beds or not end or rng.random() >= config.bed:
        return None
    long_enough = [clip for clip in beds if clip.duration_ms >= end]
    return rng.choice(long_enough) if long_enough else None


def _place(rng: random.Random, clip: Clip, start_ms: int, kind: Kind) -> PlacedClip:
    gain = 10 ** (rng.uniform(-GAIN_DB, GAIN_DB) / 20)
    return PlacedClip(clip.id, clip.sha256, start_ms, round(gain, 4), kind)


def _between(rng: random.Random, limits: tuple[int, int]) -> int:
    """Milliseconds on the grid, uniform between two limits, rounded down."""
    return rng.randint(*limits) // GRID_MS * GRID_MS


def _dialogue(request: _Request, rng: random.Random, material: Material) -> list[Clip]:
    """Utterances in order, with every speaker in at least one; what does not fit in time is left out."""
    pause = max(request.config.pause_ms)
    room = request.max_ms - LEAD_MS[1] - TAIL_MS[1]
    shortest = {voice: least + pause for voice, least in material.shortest.items()}
    speakers = max(1, request.speakers)
    while speakers > 1 and sum(ms <= room // speakers for ms in shortest.values()) < speakers:
        speakers -= 1
    fitting = [voice for voice in sorted(shortest) if speakers == 1 or shortest[voice] <= room // speakers]
    voices = rng.sample(fitting, speakers)
    turns = rng.randint(*(max(limit, speakers) for limit in request.config.turns))
    utterances: list[Clip] = []
    silent_so_far = set(voices)
    for voice in _order(rng, voices, turns):
        reserved = sum(shortest[name] for name in silent_so_far - {voice}) + pause * bool(utterances)
        clip = _utterance(rng, material.voices[voice], utterances, room - reserved, voice in silent_so_far)
        if clip:
            room -= length_on_grid(clip) + pause * bool(utterances)
            utterances.append(clip)
            silent_so_far.discard(voice)
    return utterances


def _order(rng: random.Random, voices: Sequence[str], turns: int) -> list[str]:
    """Who speaks in which turn: all of them at least once, mostly another one than just before."""
    order: list[str] = []
    while len(order) < turns:
        missing = [voice for voice in voices if voice not in order]
        candidates = missing if len(missing) >= turns - len(order) else list(voices)
        others = [voice for voice in candidates if voice not in order[-1:]]
        again = not others or (not missing and rng.random() < SAME_AGAIN)
        order.append(rng.choice(candidates if again else others))
    return order


def _utterance(
    rng: random.Random, clips: Sequence[Clip], earlier: Sequence[Clip], room: int, needed: bool
) -> Clip | None:
    """One that fits and whose text no earlier one has, unless the voice has no other and is needed."""
    texts = {_words(clip) for clip in earlier}
    fitting = [clip for clip in clips if length_on_grid(clip) <= room and clip not in earlier]
    with_new_text = [clip for clip in fitting if _words(clip) not in texts]
    candidates = with_new_text or (fitting if needed else [])
    return rng.choice(candidates) if candidates else None


def _words(clip: Clip) -> str:
    return clip.truth.transcript.casefold() if clip.truth else ""


def _turns(
    config: MixConfig, rng: random.Random, utterances: Sequence[Clip]
) -> tuple[list[tuple[Clip, int]], int]:
    """Each utterance with its start, and where the dialogue with its last silence ends (0 without one).

    An early start never reaches back to the turn before the previous one, so at most two speak at once.
    """
    if not utterances:
        return [], 0
    start = _between(rng, LEAD_MS)
    placed = [(utterances[0], start)]
    ends = [0, start + length_on_grid(utterances[0])]
    for before, clip in itertools.pairwise(utterances):
        pause = _between(rng, config.pause_ms)
        start = ends[-1] + pause
        if voice_of(clip) != voice_of(before) and rng.random() < config.overlap:
            most = int(MOST_OVERLAP * min(before.duration_ms, clip.duration_ms)) // GRID_MS * GRID_MS
            early_start = ends[-1] - min(most, _between(rng, config.overlap_ms))
            start = min(start, max(early_start, ends[-2] + pause))
        placed.append((clip, start))
        ends.append(start + length_on_grid(clip))
    return placed, ends[-1] + _between(rng, TAIL_MS)


def _sounds(
    config: MixConfig, rng: random.Random, sounds: Sequence[BackgroundSound], end: int, max_ms: int
) -> list[Clip]:
    """Occurrences of sounds with different labels, within the dialogue if enough fit, else the limit."""
    least, most = config.sounds
    count, times = rng.randint(least, most), 1
    if most >= REPEATS[0] and rng.random() < config.repeat:
        count = max(count, REPEATS[0])
        times = rng.randint(REPEATS[0], min(REPEATS[1], count))
    chosen: list[Clip] = []
    for room in (end, max_ms) if end else (max_ms - LEAD_MS[0] - TAIL_MS[0],):
        chosen = _fitting(rng, sounds, count, times, room)
        if len(chosen) >= count:
            break
    return chosen


def _fitting(
    rng: random.Random, sounds: Sequence[BackgroundSound], count: int, times: int, room: int
) -> list[Clip]:
    """Up to `count` occurrences that fit with their gaps; the first sound drawn occurs `times` times."""
    chosen: list[Clip] = []
    labels: frozenset[str] = frozenset()
    while len(chosen) < count:
        gaps = (times - 1) * REPEAT_MS + APART_MS * bool(chosen)
        fitting = [s for s in sounds if times * s.length_ms + gaps <= room and labels.isdisjoint(s.labels)]
        if fitting:
            sound = rng.choice(fitting)
            chosen += [sound.clip] * times
            labels |= sound.labels
            room -= times * sound.length_ms + gaps
        elif times == 1:
            break
        times = 1 if fitting else times - 1
    return chosen


def _scatter(
    rng: random.Random, sounds: Sequence[Clip], end: int, max_ms: int
) -> tuple[list[tuple[Clip, int]], int]:
    """Each sound with its start, in random order with random gaps, and the length of the scene."""
    if not sounds:
        return [], end
    order = rng.sample(list(sounds), len(sounds))
    at = 0 if end else LEAD_MS[0]
    starts = []
    for i, clip in enumerate(order):
        if i:
            at += REPEAT_MS if clip is order[i - 1] else APART_MS
        starts.append(at)
        at += length_on_grid(clip)
    needed = at if end else at + TAIL_MS[0]
    length = end
    if needed > end:
        length = min(max_ms // GRID_MS * GRID_MS, needed + _between(rng, (0, SLACK_MS * len(order))))
    slack = (length - needed) // GRID_MS
    offsets = sorted(rng.randint(0, slack) * GRID_MS for _ in order)
    placed = [(clip, start + offset) for clip, start, offset in zip(order, starts, offsets, strict=True)]
    return placed, length
