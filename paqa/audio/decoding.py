"""A file's sound, whole, in the form that everything after it expects.

What cannot be used raises `Rejected`; its reason is one of `missing_file`, `unreadable`, `empty_file`,
`not_audio`, `truncated`, `not_finite`, `bad_rate`, `too_many_channels`, `too_short`, `too_long`, `silent`,
`clipped`.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from paqa.audio.joined import parts
from paqa.audio.part import Part, opened
from paqa.audio.pcm import SILENT_PEAK, STEP, pcm
from paqa.audio.readers import Reader, StoppedError, reader, too_long
from paqa.config.recipe import AudioConfig
from paqa.errors import Rejected
from paqa.types import Audio

# times full scale: resampling what float32 cannot hold gives NaN; 32-bit integers as floats are below
LOUDEST = 1e10
MOST_CHANNELS = 64  # 7th order ambisonics; libsndfile reads up to 1024
RATES = (1000, 768_000)  # Hz that recordings have; at 1 Hz, a file of 20 kB would be hours
FULL_SCALE = 0.999
CLIPPED_SHARE = 0.01  # a file with this share of its samples flat at full scale is clipped
DECLARED_SLACK_MS = 200  # headers of lossy formats count encoder padding
CANCELLED = 0.1  # a mean with this share of the power that unrelated channels would leave: they are opposed
AS_LOUD = 0.9  # a channel with this share of the loudest one's power is as loud
OVERDRIVEN = 2.0  # samples beyond this are no sound with peaks, but integers or a mistake
INTEGERS = (2.0**15, 2.0**31)  # what full scale is where integers were written as float

AUDIO_MAGIC = {
    b"RIFF": "WAV",
    b"RF64": "WAV",
    b"BW64": "WAV",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3": "MP3",
    b"FORM": "AIFF",
    b"\x1aE\xdf\xa3": "WebM/Matroska",
    b"0&\xb2u": "WMA",
}
OTHER_MAGIC = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet table",
    b"version https://git-lfs": "a Git LFS pointer (fetch the file with `git lfs pull`)",
    b"<!DOCTYPE": "an HTML page",
    b"<html": "an HTML page",
}


@dataclass(frozen=True)
class Decoded:
    """A file's sound, and what a person should know about how it was taken, one sentence each."""

    audio: Audio
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Choice:
    """What of a file is taken: which of its tracks, the mean of the channels or one, and what its full scale
    is.
    """

    track: int = 0
    channel: int | None = None
    scale: float = 1.0


@dataclass
class _Gathered:
    """What decoding accumulates: int16 blocks `(n, kept channels)`, and counts of the input."""

    blocks: list[np.ndarray] = field(default_factory=list)
    ms: int = 0
    flat: int = 0
    seen: int = 0
    peak: int = 0
    loudest: float = 0.0  # before anything is scaled
    whole_numbers: bool = True  # whether all samples of overdriven blocks are
    mean_power: float = 0.0  # of the mean of the channels
    unrelated_power: float = 0.0  # that it would have were the channels unrelated
    opposed_powers: np.ndarray = field(
        default_factory=lambda: np.zeros(MOST_CHANNELS)
    )  # where they cancel out
    track: int = 0
    tracks: int = 1
    notes: list[str] = field(default_factory=list)

    @property
    def is_silent(self) -> bool:
        return self.peak * STEP < SILENT_PEAK


def decode(path: Path, config: AudioConfig) -> Audio:
    """The whole file as float32 `(config.channels, n)` at `config.rate`, on the 16-bit grid.

    Reads block-wise; a long file needs at most its result as int16 on top of the result, and is given up as
    soon as it is longer than `config.max_file_ms`, whatever its header says. More channels than wanted are
    averaged, mono is doubled for stereo. Raises `Rejected` with the reasons of this module; `clipped` means
    that at least 1 % of the file's samples lie in runs of three or more at full scale (|x| >= 0.999) that are
    flat to one 16-bit step, which a full-scale tone is not.
    """
    return decode_noted(path, config).audio


def decode_noted(path: Path, config: AudioConfig) -> Decoded:
    """The same as `decode`, and notes where the file is not taken as it states itself.

    Sound that the header does not count is decoded all the same; the first track that sounds is taken, the
    default one before others; of channels that cancel each other out the loudest (for stereo, too: what
    listens takes their mean); integers written as float are scaled.
    """
    with opened(path) as file:
        whole = Part(path, file, 0, path.stat().st_size)
        if not whole.size:
            raise Rejected("empty_file", f"{path} has 0 bytes; expected audio, copy or download it again")
        choice: _Choice | None = _Choice()
        while choice:
            taken, gathered = choice, _decoded(whole, choice, config)
            choice = _better(gathered, choice, config)
    _check(path, gathered, config)
    notes = dict.fromkeys([*gathered.notes, *_notes(taken, gathered)])
    return Decoded(Audio(_assemble(gathered.blocks, config.channels), config.rate), tuple(notes))


def _decoded(whole: Part, choice: _Choice, config: AudioConfig) -> _Gathered:
    """All parts of a file, one after the other."""
    gathered = _Gathered()
    for part in parts(whole):
        with ExitStack() as stack:
            source = reader(part, choice.track, config, stack)
            if source is None:
                raise _not_opened(part)
            _admit(part, source, gathered, config)
            _gather(part, source, gathered, choice, config)
        gathered.notes += [part.note, *source.notes] if part.note else source.notes
    return gathered


def _better(gathered: _Gathered, choice: _Choice, config: AudioConfig) -> _Choice | None:
    """How else the file has to be taken, now that all of it was heard; None where it is well as it is."""
    scale = _integer_scale(gathered)
    if scale and choice.scale == 1:
        return replace(choice, scale=scale)
    if choice.channel is None and gathered.mean_power < CANCELLED * gathered.unrelated_power:
        powers = gathered.opposed_powers
        return replace(choice, channel=int(np.argmax(powers >= AS_LOUD * powers.max())))
    if gathered.is_silent and choice.track + 1 < gathered.tracks:
        return _Choice(choice.track + 1)
    return None


def _integer_scale(gathered: _Gathered) -> float | None:
    """The full scale of integers that were written as float."""
    loudest = gathered.loudest
    for full in INTEGERS if loudest > OVERDRIVEN else ():
        near = full / 16 < loudest < 1.25 * full  # resampling overshoots
        if near or (gathered.whole_numbers and full * SILENT_PEAK <= loudest <= full):
            return full
    return None


def _notes(choice: _Choice, gathered: _Gathered) -> list[str]:
    notes = []
    if gathered.track or choice.track:
        why = "the default one is silent" if choice.track else "it is the default one"
        notes.append(f"audio track {gathered.track + 1} of {gathered.tracks} is used: {why}")
    if choice.scale != 1:
        notes.append(f"float samples are integers: they were divided by {choice.scale:.0f}")
    if choice.channel is not None:
        notes.append(
            f"the channels cancel each other out: channel {choice.channel + 1} is used, not their mean"
        )
    return notes


def _admit(part: Part, source: Reader, gathered: _Gathered, config: AudioConfig) -> None:
    """Refuse before decoding what no recording is, or what says that it is too long."""
    if not RATES[0] <= source.rate <= RATES[1]:
        wanted = f"expected {RATES[0]} to {RATES[1]} Hz"
        raise Rejected(
            "bad_rate", f"{part.path} says that it has {source.rate} Hz; {wanted}, resample or repair it"
        )
    if source.channels > MOST_CHANNELS:
        wanted = f"expected at most {MOST_CHANNELS}"
        raise Rejected(
            "too_many_channels", f"{part.path} has {source.channels} channels; {wanted}, mix it down first"
        )
    if source.coming and source.coming > _most(source, gathered, config):
        raise too_long(part, f"declares {gathered.ms + source.coming * 1000 // source.rate} ms", config)


def _most(source: Reader, gathered: _Gathered, config: AudioConfig) -> int:
    """The frames that a part may have after what was gathered."""
    return (config.max_file_ms - gathered.ms) * source.rate // 1000


def _not_opened(part: Part) -> Rejected:
    """Nobody could open it: damaged audio if it begins like audio, something else otherwise."""
    head = part.peek(0, 64)
    kind = next((name for magic, name in AUDIO_MAGIC.items() if head.startswith(magic)), None)
    kind = "MP4" if head[4:8] == b"ftyp" else kind
    if kind or part.start:
        where = f"from byte {part.start} on " if part.start else ""
        what = f"begins like {kind or 'MP3'} but none of its {part.size} bytes decode; copy it again"
        return Rejected("truncated", f"{part.path} {where}{what}")
    found = next((name for magic, name in OTHER_MAGIC.items() if head.startswith(magic)), None)
    if found is None:
        text = head[:32].decode("utf-8", "ignore").replace("\n", " ")
        printable = text.isprintable() and len(text) >= min(len(head), 32) // 2
        found = f"text that begins {text!r}" if printable else f"bytes that begin {head[:8].hex(' ')}"
    return Rejected(
        "not_audio", f"{part.path} is no audio: found {found}; expected WAV, FLAC, MP3, Ogg, M4A or the like"
    )


def _gather(part: Part, source: Reader, gathered: _Gathered, choice: _Choice, config: AudioConfig) -> None:
    """All blocks, downmixed, resampled and quantized; raises `not_finite`, `too_long` and `truncated` on the
    way.
    """
    stream, stopped, frames = None, "", 0
    limit = _most(source, gathered, config)
    gathered.track, gathered.tracks = source.track, source.tracks
    try:
        for block in source.blocks:
            frames += len(block)
            if frames > limit:
                raise too_long(part, "goes on", config)
            kept = _kept(part, block, gathered, choice, config)
            stream = stream or _Stream(source.rate, config.rate, kept.shape[1])
            _keep(gathered, stream(kept))
        if stream:
            _keep(gathered, stream.end())
    except StoppedError as error:
        stopped = f" ({error})"
        frames += error.frames
    declared = source.declared
    if stopped or (declared and frames < declared - DECLARED_SLACK_MS * source.rate // 1000):
        found = f"{frames * 1000 // source.rate} ms decode{stopped}"
        promised = f"the header declares {declared * 1000 // source.rate} ms" if declared else "more follows"
        where = f" from byte {part.start} on" if part.start else ""
        raise Rejected(
            "truncated",
            f"{part.path} is cut or damaged{where}: {found}, {promised}; copy or download it again",
        )
    gathered.ms += frames * 1000 // source.rate


def _kept(
    part: Part, block: np.ndarray, gathered: _Gathered, choice: _Choice, config: AudioConfig
) -> np.ndarray:
    """A block in the channels that are kept, counted; raises `not_finite`."""
    loudest = float(np.abs(block).max())
    if not loudest < LOUDEST:  # NaN is not smaller
        found = "NaN, infinite or endlessly loud samples"
        raise Rejected("not_finite", f"{part.path} has {found}; expected numbers, write it again")
    gathered.loudest = max(gathered.loudest, loudest)
    if loudest > OVERDRIVEN:
        gathered.whole_numbers &= bool((block == np.rint(block)).all())
    if choice.scale != 1:
        block = block * np.float32(1 / choice.scale)
    gathered.flat += _flat(block)
    gathered.seen += block.size
    channels = block.shape[1]
    if channels == 1:
        return block
    if choice.channel is not None:
        return block[:, [min(choice.channel, channels - 1)]]
    mean = _mean(block)
    _compare(mean, block, gathered)
    return block if config.channels == 2 == channels else mean


def _mean(block: np.ndarray) -> np.ndarray:
    """The mean of the channels, `(n, 1)`; of two the same numbers as NumPy's in a fiftieth of the time."""
    if block.shape[1] == 2:
        return (block[:, :1] + block[:, 1:]) * np.float32(0.5)
    mean: np.ndarray = block.mean(axis=1, keepdims=True)
    return mean


def _compare(mean: np.ndarray, block: np.ndarray, gathered: _Gathered) -> None:
    """Count how much of the channels is left in their mean."""
    channels = block.shape[1]
    mean_power, unrelated_power = float(np.vdot(mean, mean)), float(np.vdot(block, block)) / channels**2
    gathered.mean_power += mean_power
    gathered.unrelated_power += unrelated_power
    if mean_power < CANCELLED * unrelated_power:
        gathered.opposed_powers[:channels] += np.einsum("fc,fc->c", block, block)


class _Stream:
    """Streaming resampler of `(n, channels)` blocks; passes them through where the rates agree."""

    def __init__(self, source: int, target: int, channels: int):
        self.channels = channels
        self.soxr = None
        if source != target:
            import soxr

            self.soxr = soxr.ResampleStream(source, target, channels, dtype="float32")

    def __call__(self, block: np.ndarray) -> np.ndarray:
        return self.soxr.resample_chunk(np.ascontiguousarray(block)) if self.soxr else block

    def end(self) -> np.ndarray:
        empty = np.zeros((0, self.channels), np.float32)
        return self.soxr.resample_chunk(empty, last=True) if self.soxr else empty


def _keep(gathered: _Gathered, block: np.ndarray) -> None:
    samples = pcm(block)
    if samples.size:
        gathered.peak = max(gathered.peak, int(samples.max()), -int(samples.min()))
        gathered.blocks.append(samples)


def _flat(block: np.ndarray) -> int:
    """The number of samples in runs of at least three at full scale, flat to one 16-bit step."""
    hot = np.abs(block) >= FULL_SCALE
    if not hot.any():
        return 0
    limited = np.clip(block, -1, 1)
    pair = hot[1:] & hot[:-1] & (np.abs(np.diff(limited, axis=0)) <= STEP)
    run = pair[1:] & pair[:-1]
    inside = np.zeros_like(hot)
    for shift in range(3):
        inside[shift : len(hot) - 2 + shift] |= run
    return int(inside.sum())


def _check(path: Path, gathered: _Gathered, config: AudioConfig) -> None:
    """Refuse what is too short, silent or clipped."""
    if gathered.ms < config.min_clip_ms or not gathered.blocks:
        wanted = f"expected at least min_clip_ms = {config.min_clip_ms} ms"
        raise Rejected(
            "too_short", f"{path} has {gathered.ms} ms of audio; {wanted}, join it with others or lower it"
        )
    if gathered.is_silent:
        peak = gathered.peak * STEP
        found = f"peak {20 * math.log10(peak):.0f} dBFS" if peak else "every sample is 0"
        found += f" in each of its {gathered.tracks} audio tracks" if gathered.tracks > 1 else ""
        raise Rejected(
            "silent", f"{path} is silent: {found}; expected a peak above -60 dBFS, check the recording"
        )
    share = gathered.flat / gathered.seen
    if share >= CLIPPED_SHARE:
        found = f"{share:.1%} of its samples stay flat at full scale"
        advice = "record it again at a lower level"
        if gathered.loudest > OVERDRIVEN:
            found += f", float samples go up to {gathered.loudest:g} times it"
            advice = "write it at a lower level"
        raise Rejected("clipped", f"{path} is clipped: {found}; expected under {CLIPPED_SHARE:.0%}, {advice}")


def _assemble(blocks: list[np.ndarray], channels: int) -> np.ndarray:
    """The blocks as one float32 `(channels, n)`, letting go of each as it is copied."""
    samples = np.empty((channels, sum(len(block) for block in blocks)), np.float32)
    at = 0
    blocks.reverse()
    while blocks:
        block = blocks.pop()
        np.multiply(block.T, np.float32(STEP), out=samples[:, at : at + len(block)])
        at += len(block)
    return samples
