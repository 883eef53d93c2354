"""Compose scenes with known truth: dialogue and background sounds at a given SNR.

`plan` decides everything about a scene from clips alone, `render` makes its audio. Every scene has its own
random numbers, from the seed, the mix's name and its number: asking for more scenes never changes the first
ones.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from paqa import spans
from paqa.audio import quantize, rms
from paqa.config.recipe import AudioConfig, MixConfig, SplitConfig
from paqa.errors import PaqaError
from paqa.sources.registry import MOSTLY, Said, in_order, numbered
from paqa.spans import Interval
from paqa.splits.assign import by_share
from paqa.types import AnswersFrom, Audio, Clip, Event, Groups, Scene, Split

GRID_MS = 10
LEAD_MS = (200, 1000)  # silence before the first turn
TAIL_MS = (200, 600)  # and after the last
APART_MS = 300  # least silence between different sounds
REPEAT_MS = 600  # and between occurrences of one
REPEATS = (2, 4)
SHORTEST_MS = 100  # clips under this are no material
SLACK_MS = 1500  # most that is added to a gap where the sounds alone decide the length
SAME_AGAIN = 0.15  # share of turns after which the same speaker goes on, where others could
MOST_OVERLAP = 0.6  # of either turn
LEVEL_DB = -23.0  # RMS of a turn or sound before its gain
GAIN_DB = 3.0  # turns and sounds differ by up to this either way
PEAK = 0.98
FADE_MS = 5
ACTIVE_DB = 40.0  # an utterance begins and ends where it is at most this far below its loudest 10 ms
MERGE_MS = 100  # a sound's own events this close are one
ATTEMPTS = 24  # draws for a scene until it is a new one
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
GOLDEN = (math.sqrt(5) - 1) / 2

Kind = Literal["speech", "sound"]


@dataclass(frozen=True)
class Placement:
    """One clip in a scene, from `start_ms` on. `gain` multiplies it after it was brought to the common level.

    Of a bed, `length_ms` from `from_ms` on are heard; 0 stands for all of the clip.
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
    """A planned scene. `groups` are those of its material; `snr_db` is None where speech or background is
    missing.
    """

    id: str
    split: Split
    placements: tuple[Placement, ...]
    snr_db: float | None
    length_ms: int
    source: str
    license: str
    groups: Groups
    answers: AnswersFrom


@dataclass(frozen=True)
class _Sound:
    """A background clip with what choosing asks about it."""

    clip: Clip
    length_ms: int
    labels: frozenset[str]


@dataclass(frozen=True)
class _Material:
    """What one split has to offer: utterances by voice, the shortest of each, sounds that fit a scene, and
    beds.
    """

    voices: dict[str, list[Clip]]
    shortest: dict[str, int]
    sounds: list[_Sound]
    beds: list[Clip]


@dataclass(frozen=True)
class _Request:
    """What a scene shall be, before its material is drawn."""

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
    materials = _materials(config, speech, sounds, audio.max_clip_ms)
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
        mixtures.append(_new(request, f"{config.name}-{number:05d}", seed, materials[split], used))
    return mixtures


def _random(*seeds: object) -> random.Random:
    text = "/".join(map(str, seeds))
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big"))


def _materials(
    config: MixConfig, speech: Sequence[Clip], sounds: Sequence[Clip], max_ms: int
) -> dict[Split, _Material]:
    """The splits that can make a scene. Content that several clips share counts once, so no two splits share
    it.
    """
    unique = {
        clip.sha256: clip for clip in sorted([*speech, *sounds], key=lambda clip: clip.id, reverse=True)
    }
    room = max_ms - LEAD_MS[1] - TAIL_MS[1]
    clips = sorted((c for c in unique.values() if c.duration_ms >= SHORTEST_MS), key=lambda clip: clip.id)
    splits: dict[Split, _Material] = {}
    for split in SPLITS:
        material = _material(config, [clip for clip in clips if clip.split == split], room)
        enough_sounds = material.sounds or material.beds or not config.background or not config.sounds[1]
        if (material.voices or not config.speech) and enough_sounds and (material.voices or material.sounds):
            splits[split] = material
    if not splits:
        found = f"{len(speech)} clips of speech {config.speech!r}, {len(sounds)} of background {config.background!r}"
        wanted = f"utterances with text and sounds with events, up to {room} ms, in one split"
        raise PaqaError(f"mix {config.name!r} has no material: found {found}; expected {wanted}; add some")
    return splits


def _voice(clip: Clip) -> str:
    """Who speaks in an utterance: its voice, else its groups. A name is one person in its own source alone.

    A group may hold several voices (a session, a voice and what was made from it).
    """
    return "\0".join((clip.corpus, *([clip.voice] if clip.voice else clip.groups)))


def _material(config: MixConfig, clips: Sequence[Clip], room: int) -> _Material:
    voices: dict[str, list[Clip]] = defaultdict(list)
    sounds = []
    fitting = [clip for clip in clips if clip.duration_ms <= room]
    for clip in fitting:
        if config.speech and _is_utterance(clip):
            voices[_voice(clip)].append(clip)
        elif config.background and clip.truth and _is_sound(clip):
            labels = frozenset(name for event in clip.truth.events for name in (event.label, event.mid))
            sounds.append(_Sound(clip, _length(clip), labels))
    shortest = {voice: min(map(_length, own)) for voice, own in voices.items()}
    beds = [clip for clip in clips if config.bed and _is_bed(clip, config)]
    return _Material(dict(voices), shortest, sounds, beds)


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


def _split(point: float, materials: Mapping[Split, _Material], shares: SplitConfig) -> Split:
    wanted = by_share(point, shares)
    return wanted if wanted in materials else next(iter(materials))


def _new(request: _Request, name: str, seed: int, material: _Material, used: set[tuple[str, ...]]) -> Mixture:
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


def _draw(request: _Request, name: str, rng: random.Random, material: _Material) -> Mixture:
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
    )


def _bed(config: MixConfig, rng: random.Random, beds: Sequence[Clip], end: int) -> Clip | None:
    """The continuous sound under a dialogue of `end` ms; None where sounds shall be scattered or no bed is as
    long.
    """
    if not beds or not end or rng.random() >= config.bed:
        return None
    able = [clip for clip in beds if clip.duration_ms >= end]
    return rng.choice(able) if able else None


def _place(rng: random.Random, clip: Clip, start_ms: int, kind: Kind) -> Placement:
    gain = 10 ** (rng.uniform(-GAIN_DB, GAIN_DB) / 20)
    return Placement(clip.id, clip.sha256, start_ms, round(gain, 4), kind)


def _length(clip: Clip) -> int:
    """The clip's duration, up to the next grid point."""
    return -(-clip.duration_ms // GRID_MS) * GRID_MS


def _between(rng: random.Random, limits: tuple[int, int]) -> int:
    """Milliseconds on the grid, uniform between two limits, rounded down."""
    return rng.randint(*limits) // GRID_MS * GRID_MS


def _dialogue(request: _Request, rng: random.Random, material: _Material) -> list[Clip]:
    """Utterances in order, with every speaker in at least one; what does not fit in time is left out."""
    pause = max(request.config.pause_ms)
    room = request.max_ms - LEAD_MS[1] - TAIL_MS[1]
    shortest = {voice: least + pause for voice, least in material.shortest.items()}
    speakers = max(1, request.speakers)
    while speakers > 1 and sum(ms <= room // speakers for ms in shortest.values()) < speakers:
        speakers -= 1
    able = [voice for voice in sorted(shortest) if speakers == 1 or shortest[voice] <= room // speakers]
    chosen = rng.sample(able, speakers)
    turns = rng.randint(*(max(limit, speakers) for limit in request.config.turns))
    said: list[Clip] = []
    missing = set(chosen)
    for voice in _order(rng, chosen, turns):
        kept = sum(shortest[other] for other in missing - {voice}) + pause * bool(said)
        clip = _utterance(rng, material.voices[voice], said, room - kept, voice in missing)
        if clip:
            room -= _length(clip) + pause * bool(said)
            said.append(clip)
            missing.discard(voice)
    return said


def _order(rng: random.Random, voices: Sequence[str], turns: int) -> list[str]:
    """Who speaks in which turn: all of them at least once, mostly another one than just before."""
    order: list[str] = []
    while len(order) < turns:
        missing = [voice for voice in voices if voice not in order]
        able = missing if len(missing) >= turns - len(order) else list(voices)
        others = [voice for voice in able if voice not in order[-1:]]
        again = not others or (not missing and rng.random() < SAME_AGAIN)
        order.append(rng.choice(able if again else others))
    return order


def _utterance(
    rng: random.Random, clips: Sequence[Clip], said: Sequence[Clip], room: int, needed: bool
) -> Clip | None:
    """One that fits and whose words nobody in the scene has said, unless the voice has no other and is
    needed.
    """
    texts = {_words(clip) for clip in said}
    fitting = [clip for clip in clips if _length(clip) <= room and clip not in said]
    fresh = [clip for clip in fitting if _words(clip) not in texts]
    able = fresh or (fitting if needed else [])
    return rng.choice(able) if able else None


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
    ends = [0, start + _length(utterances[0])]
    for before, clip in itertools.pairwise(utterances):
        pause = _between(rng, config.pause_ms)
        start = ends[-1] + pause
        if _voice(clip) != _voice(before) and rng.random() < config.overlap:
            most = int(MOST_OVERLAP * min(before.duration_ms, clip.duration_ms)) // GRID_MS * GRID_MS
            early = ends[-1] - min(most, _between(rng, config.overlap_ms))
            start = min(start, max(early, ends[-2] + pause))
        placed.append((clip, start))
        ends.append(start + _length(clip))
    return placed, ends[-1] + _between(rng, TAIL_MS)


def _sounds(
    config: MixConfig, rng: random.Random, sounds: Sequence[_Sound], end: int, max_ms: int
) -> list[Clip]:
    """Occurrences of sounds with different labels, within the dialogue if enough fit there, else within the
    limit.
    """
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


def _fitting(rng: random.Random, sounds: Sequence[_Sound], count: int, times: int, room: int) -> list[Clip]:
    """Up to `count` occurrences that fit with their gaps; the first sound drawn occurs `times` times."""
    chosen: list[Clip] = []
    labels: frozenset[str] = frozenset()
    while len(chosen) < count:
        gaps = (times - 1) * REPEAT_MS + APART_MS * bool(chosen)
        able = [s for s in sounds if times * s.length_ms + gaps <= room and labels.isdisjoint(s.labels)]
        if able:
            sound = rng.choice(able)
            chosen += [sound.clip] * times
            labels |= sound.labels
            room -= times * sound.length_ms + gaps
        elif times == 1:
            break
        times = 1 if able else times - 1
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
        at += _length(clip)
    needed = at if end else at + TAIL_MS[0]
    length = end
    if needed > end:
        length = min(max_ms // GRID_MS * GRID_MS, needed + _between(rng, (0, SLACK_MS * len(order))))
    slack = (length - needed) // GRID_MS
    offsets = sorted(rng.randint(0, slack) * GRID_MS for _ in order)
    return [
        (clip, start + offset) for clip, start, offset in zip(order, starts, offsets, strict=True)
    ], length


Load = Callable[[str], Audio]


@dataclass
class _Track:
    """One kind of material, mixed: samples `(channels, n)` and where it is active."""

    samples: np.ndarray
    active: list[Interval]

    def level(self, rate: int) -> float:
        """RMS over the active spans."""
        return rms(_over(self.samples, rate, self.active))


def render(mixture: Mixture, load: Load, clips: Mapping[str, Clip]) -> tuple[Audio, Audio, Scene]:
    """The mix, its clean speech (zeros where nobody speaks) and the truth.

    `load` gives the audio of a sha256; all of one rate and number of channels, else PaqaError. Mix and speech
    have the same shape, lie on the 16-bit grid, and differ by exactly the background. `clips` holds every
    placed clip by id. A turn's span is where its utterance is active, an event's that of the sound's own
    truth; the SNR is the RMS of all speech over its turns against that of the background over its events.
    """
    audios = {p.sha256: load(p.sha256) for p in mixture.placements}
    forms = {(audio.rate, len(audio.samples)) for audio in audios.values()}
    if len(forms) != 1:
        found = f"found rates and channels {sorted(forms)}"
        raise PaqaError(f"mixture {mixture.id}: {found}; expected one form, decode its material again")
    rate, channels = forms.pop()
    empty = np.zeros((channels, mixture.length_ms * rate // 1000), np.float32)
    speech, background = _Track(empty, []), _Track(empty.copy(), [])
    turns, events = [], []
    for placement in mixture.placements:
        clip, audio = clips[placement.clip_id], audios[placement.sha256]
        if placement.kind == "speech":
            start, end = _extent(clip, audio)
            _add(speech, placement, audio, [(start, end)])
            at = placement.start_ms
            turns.append(_said(clip, at + start, at + end))
        else:
            window = (placement.from_ms, placement.from_ms + (placement.length_ms or _length(clip)))
            own = _own_events(clip, window)
            audio = _part(audio, window)
            _add(background, placement, audio, [spans.interval(e) for e in own] or [(0, audio.duration_ms)])
            events += [_shifted(event, placement.start_ms) for event in own]
    _balance(speech, background, mixture.snr_db, rate)
    clean, rest = quantize(speech.samples), quantize(background.samples)
    spoken = [truth for p in mixture.placements if p.kind == "speech" and (truth := clips[p.clip_id].truth)]
    translated_to = _common(truth.translated_to for truth in spoken)
    scene = Scene(
        clip_id=mixture.id,
        duration_ms=mixture.length_ms,
        turns=numbered(turns if translated_to else [turn._replace(translation=None) for turn in turns]),
        events=in_order(events),
        language=_common(truth.language for truth in spoken),
        translated_to=translated_to,
        snr_db=mixture.snr_db,
    )
    return Audio(clean + rest, rate), Audio(clean, rate), scene


def _add(track: _Track, placement: Placement, audio: Audio, own: list[Interval]) -> None:
    """Put a clip, brought to the common level over its own active spans and faded at its ends, on a track."""
    level = rms(_over(audio.samples, audio.rate, own)) or 1.0
    sound = audio.samples * np.float32(placement.gain * 10 ** (LEVEL_DB / 20) / level)
    fade = min(audio.rate * FADE_MS // 1000, sound.shape[1] // 2)
    ramp = (np.arange(fade, dtype=np.float32) + 1) / (fade + 1)
    sound[:, :fade] *= ramp
    sound[:, sound.shape[1] - fade :] *= ramp[::-1]
    first = placement.start_ms * audio.rate // 1000
    part = track.samples[:, first : first + sound.shape[1]]
    part += sound[:, : part.shape[1]]
    track.active += [(start + placement.start_ms, end + placement.start_ms) for start, end in own]


def _over(samples: np.ndarray, rate: int, active: list[Interval]) -> np.ndarray:
    """The samples `(channels, m)` within the union of spans."""
    parts = [samples[:, start * rate // 1000 : end * rate // 1000] for start, end in spans.merge(active)]
    return np.concatenate(parts, axis=1) if parts else samples[:, :0]


def _balance(speech: _Track, background: _Track, snr_db: float | None, rate: int) -> None:
    """Scale the background to the SNR, k = Ps / (Pn 10^(SNR/20)) in RMS, then both by one factor below the
    peak.
    """
    noise = background.level(rate)
    if snr_db is not None and noise:
        background.samples *= np.float32(speech.level(rate) / (noise * 10 ** (snr_db / 20)))
    tracks = (speech.samples, background.samples)
    peak = max(float(np.abs(samples).max()) for samples in (*tracks, speech.samples + background.samples))
    for samples in tracks:
        samples *= np.float32(PEAK / max(peak, PEAK))


def _extent(clip: Clip, audio: Audio) -> Interval:
    """From the first to the last active 10 ms of an utterance, within its turns where its truth has narrower
    ones.
    """
    hop = audio.rate * GRID_MS // 1000
    count = audio.samples.shape[1] // hop
    energy = (
        np.square(audio.samples[:, : count * hop]).reshape(len(audio.samples), count, hop).sum(axis=(0, 2))
    )
    on = np.flatnonzero(energy >= energy.max() * 10 ** (-ACTIVE_DB / 10))
    scale = hop * 1000 / audio.rate
    start, end = _grid(on[0] * scale), _grid((on[-1] + 1) * scale)
    turns = clip.truth.turns if clip.truth else ()
    said = (min((t.start_ms for t in turns), default=0), max((t.end_ms for t in turns), default=end))
    if spans.overlap((start, end), said) >= SHORTEST_MS:
        start, end = max(start, _grid(said[0])), min(end, _grid(said[1]))
    return start, end


def _grid(ms: float) -> int:
    return round(ms / GRID_MS) * GRID_MS


def _part(audio: Audio, window: Interval) -> Audio:
    start, end = (ms * audio.rate // 1000 for ms in window)
    return (
        audio
        if window[0] == 0 and end >= audio.samples.shape[1]
        else Audio(audio.samples[:, start:end], audio.rate)
    )


def _own_events(clip: Clip, window: Interval) -> list[Event]:
    """A sound's truth on the grid, from the window's start on; occurrences of one label closer than 100 ms
    are one.
    """
    kinds: dict[tuple[str, str], list[Interval]] = defaultdict(list)
    for event in clip.truth.events if clip.truth else ():
        start = _grid(event.start_ms)
        if own := spans.clip((start, max(start + GRID_MS, _grid(event.end_ms))), window):
            kinds[event.label, event.mid].append(own)
    return [Event(*span, *kind) for kind, found in kinds.items() for span in spans.merge(found, MERGE_MS)]


def _shifted(event: Event, by: int) -> Event:
    return replace(event, start_ms=event.start_ms + by, end_ms=event.end_ms + by)


def _said(clip: Clip, start_ms: int, end_ms: int) -> Said:
    """An utterance as one turn; it keeps an emotion that all its turns share, and a translation that misses
    none.
    """
    turns = [turn for turn in clip.truth.turns if turn.text] if clip.truth else []
    translations = [turn.translation for turn in turns if turn.translation]
    return Said(
        start_ms,
        end_ms,
        _voice(clip),
        " ".join(turn.text for turn in turns),
        _common(turn.emotion for turn in turns),
        " ".join(translations) if turns and len(translations) == len(turns) else None,
    )


def _common(values: Iterable[str | None]) -> str | None:
    """What all are, e.g. the language of all utterances; None where they differ or do not tell."""
    found = set(values)
    return found.pop() if len(found) == 1 else None
