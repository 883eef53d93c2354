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

from paqa.audio.file_part import FilePart, open_file
from paqa.audio.joined_files import parts
from paqa.audio.pcm import SILENT_PEAK, STEP, pcm
from paqa.audio.readers import Reader, StoppedError, open_reader, too_long
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
    """How a file is taken: which of its tracks, the mean of the channels or one, and what full scale is."""

    track: int = 0
    channel: int | None = None
    scale: float = 1.0


@dataclass
class _Progress:
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
    # of each channel, over the blocks in which the channels cancel each other out
    opposed_powers: np.ndarray = field(default_factory=lambda: np.zeros(MOST_CHANNELS))
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
    return decode_with_notes(path, config).audio


def decode_with_notes(path: Path, config: AudioConfig) -> Decoded:
    """The same as `decode`, and notes where the file is not taken as it states itself.

    Sound that the header does not count is decoded all the same; the first track that sounds is taken, the
    default one before others; of channels that cancel each other out the loudest (for stereo, too: engines
    take their mean); integers written as float are scaled.
    """
    with open_file(path) as file:
        whole = FilePart(path, file, 0, path.stat().st_size)
        if not whole.size:
            raise Rejected("empty_file", f"{path} has 0 bytes; expected audio, copy or download it again")
        next_choice: _Choice | None = _Choice()
        while next_choice:
            choice = next_choice
            progress = _decode_all(whole, choice, config)
            next_choice = _better_choice(progress, choice)
    _check(path, progress, config)
    notes = dict.fromkeys([*progress.notes, *_notes(choice, progress)])
    return Decoded(Audio(_assemble(progress.blocks, config.channels), config.rate), tuple(notes))


def _decode_all(whole: FilePart, choice: _Choice, config: AudioConfig) -> _Progress:
    """All parts of a file, one after the other."""
    progress = _Progress()
    for part in parts(whole):
        with ExitStack() as stack:
            source = open_reader(part, choice.track, config, stack)
            if source is None:
                raise _not_opened(part)
            _check_header(part, source, progress, config)
            _decode_part(part, source, progress, choice, config)
        progress.notes += [part.note, *source.notes] if part.note else source.notes
    return progress


def _better_choice(progress: _Progress, choice: _Choice) -> _Choice | None:
    """How else the file has to be taken, now that all of it was decoded; None where this choice was right."""
    scale = _integer_scale(progress)
    if scale and choice.scale == 1:
        return replace(choice, scale=scale)
    if choice.channel is None and progress.mean_power < CANCELLED * progress.unrelated_power:
        powers = progress.opposed_powers
        return replace(choice, channel=int(np.argmax(powers >= AS_LOUD * powers.max())))
    if progress.is_silent and choice.track + 1 < progress.tracks:
        return _Choice(choice.track + 1)
    return None


def _integer_scale(progress: _Progress) -> float | None:
    """The full scale of integers that were written as float."""
    loudest = progress.loudest
    for full in INTEGERS if loudest > OVERDRIVEN else ():
        near = full / 16 < loudest < 1.25 * full  # resampling overshoots
        if near or (progress.whole_numbers and full * SILENT_PEAK <= loudest <= full):
            return full
    return None


def _notes(choice: _Choice, progress: _Progress) -> list[str]:
    notes = []
    if progress.track or choice.track:
        why = "the default one is silent" if choice.track else "it is the default one"
        notes.append(f"audio track {progress.track + 1} of {progress.tracks} is used: {why}")
    if choice.scale != 1:
        notes.append(f"float samples are integers: they were divided by {choice.scale:.0f}")
    if choice.channel is not None:
        notes.append(
            f"the channels cancel each other out: channel {choice.channel + 1} is used, not their mean"
        )
    return notes


def _check_header(part: FilePart, source: Reader, progress: _Progress, config: AudioConfig) -> None:
    """Refuse before decoding what no recording is, or what says that it is too long."""
    if not RATES[0] <= source.rate <= RATES[1]:
        detail = (
            f"{part.path} says that it has {source.rate} Hz; expected {RATES[0]} to {RATES[1]} Hz, "
            "resample or repair it"
        )
        raise Rejected("bad_rate", detail)
    if source.channels > MOST_CHANNELS:
        detail = (
            f"{part.path} has {source.channels} channels; expected at most {MOST_CHANNELS}, mix it down first"
        )
        raise Rejected("too_many_channels", detail)
    if source.coming and source.coming > _most_frames(source, progress, config):
        raise too_long(part, f"declares {progress.ms + source.coming * 1000 // source.rate} ms", config)


def _most_frames(source: Reader, progress: _Progress, config: AudioConfig) -> int:
    """The frames that a part may have after what was decoded before it."""
    return (config.max_file_ms - progress.ms) * source.rate // 1000


def _not_opened(part: FilePart) -> Rejected:
    """No library could open it: damaged audio if it begins like audio, something else otherwise."""
    head = part.peek(0, 64)
    kind = next((name for magic, name in AUDIO_MAGIC.items() if head.startswith(magic)), None)
    kind = "MP4" if head[4:8] == b"ftyp" else kind
    if kind or part.start:
        where = f"from byte {part.start} on " if part.start else ""
        what = f"begins like {kind or 'MP3'} but none of its {part.size} bytes decode; copy it again"
        return Rejected("truncated", f"{part.path} {where}{what}")
    content = next((name for magic, name in OTHER_MAGIC.items() if head.startswith(magic)), None)
    if content is None:
        text = head[:32].decode("utf-8", "ignore").replace("\n", " ")
        printable = text.isprintable() and len(text) >= min(len(head), 32) // 2
        content = f"text that begins {text!r}" if printable else f"bytes that begin {head[:8].hex(' ')}"
    return Rejected(
        "not_audio",
        f"{part.path} is no audio: found {content}; expected WAV, FLAC, MP3, Ogg, M4A or the like",
    )


def _decode_part(
    part: FilePart, source: Reader, progress: _Progress, choice: _Choice, config: AudioConfig
) -> None:
    """All blocks, downmixed, resampled and quantized; raises `not_finite`, `too_long` and `truncated`."""
    stream, stopped, frames = None, "", 0
    limit = _most_frames(source, progress, config)
    progress.track, progress.tracks = source.track, source.tracks
    try:
        for block in source.blocks:
            frames += len(block)
            if frames > limit:
                raise too_long(part, "goes on", config)
            kept = _kept_channels(part, block, progress, choice, config)
            stream = stream or _Resampler(source.rate, config.rate, kept.shape[1])
            _append(progress, stream(kept))
        if stream:
            _append(progress, stream.end())
    except StoppedError as error:
        stopped = f" ({error})"
        frames += error.frames
    declared = source.declared
    if stopped or (declared and frames < declared - DECLARED_SLACK_MS * source.rate // 1000):
        decoded = f"{frames * 1000 // source.rate} ms decode{stopped}"
        promised = f"the header declares {declared * 1000 // source.rate} ms" if declared else "more follows"
        where = f" from byte {part.start} on" if part.start else ""
        raise Rejected(
            "truncated",
            f"{part.path} is cut or damaged{where}: {decoded}, {promised}; copy or download it again",
        )
    progress.ms += frames * 1000 // source.rate


def _kept_channels(
    part: FilePart, block: np.ndarray, progress: _Progress, choice: _Choice, config: AudioConfig
) -> np.ndarray:
    """A block in the channels that are kept, counted; raises `not_finite`."""
    loudest = float(np.abs(block).max())
    if not loudest < LOUDEST:  # NaN is not smaller
        broken = "NaN, infinite or endlessly loud samples"
        raise Rejected("not_finite", f"{part.path} has {broken}; expected numbers, write it again")
    progress.loudest = max(progress.loudest, loudest)
    if loudest > OVERDRIVEN:
        progress.whole_numbers &= bool((block == np.rint(block)).all())
    if choice.scale != 1:
        block = block * np.float32(1 / choice.scale)
    progress.flat += full_scale_samples(block)
    progress.seen += block.size
    channels = block.shape[1]
    if channels == 1:
        return block
    if choice.channel is not None:
        return block[:, [min(choice.channel, channels - 1)]]
    mean = _mean(block)
    _compare(mean, block, progress)
    return block if config.channels == 2 == channels else mean


def _mean(block: np.ndarray) -> np.ndarray:
    """The mean of the channels, `(n, 1)`; of two the same numbers as NumPy's in a fiftieth of the time."""
    if block.shape[1] == 2:
        return (block[:, :1] + block[:, 1:]) * np.float32(0.5)
    mean: np.ndarray = block.mean(axis=1, keepdims=True)
    return mean


def _compare(mean: np.ndarray, block: np.ndarray, progress: _Progress) -> None:
    """Count how much of the channels is left in their mean."""
    channels = block.shape[1]
    mean_power, unrelated_power = float(np.vdot(mean, mean)), float(np.vdot(block, block)) / channels**2
    progress.mean_power += mean_power
    progress.unrelated_power += unrelated_power
    if mean_power < CANCELLED * unrelated_power:
        progress.opposed_powers[:channels] += np.einsum("fc,fc->c", block, block)


class _Resampler:
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
        """The last frames `(n, channels)`, which the resampler still holds."""
        empty = np.zeros((0, self.channels), np.float32)
        return self.soxr.resample_chunk(empty, last=True) if self.soxr else empty


def _append(progress: _Progress, block: np.ndarray) -> None:
    samples = pcm(block)
    if samples.size:
        progress.peak = max(progress.peak, int(samples.max()), -int(samples.min()))
        progress.blocks.append(samples)


def full_scale_samples(block: np.ndarray) -> int:
    """How many samples `(n, channels)` are in runs of three or more at full scale, flat to a 16-bit step."""
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


def _check(path: Path, progress: _Progress, config: AudioConfig) -> None:
    """Refuse what is too short, silent or clipped."""
    if progress.ms < config.min_clip_ms or not progress.blocks:
        expected = f"expected at least min_clip_ms = {config.min_clip_ms} ms"
        raise Rejected(
            "too_short", f"{path} has {progress.ms} ms of audio; {expected}, join it with others or lower it"
        )
    if progress.is_silent:
        peak = progress.peak * STEP
        level = f"peak {20 * math.log10(peak):.0f} dBFS" if peak else "every sample is 0"
        level += f" in each of its {progress.tracks} audio tracks" if progress.tracks > 1 else ""
        raise Rejected(
            "silent", f"{path} is silent: {level}; expected a peak above -60 dBFS, check the recording"
        )
    share = progress.flat / progress.seen
    if share >= CLIPPED_SHARE:
        clipping = f"{share:.1%} of its samples stay flat at full scale"
        advice = "record it again at a lower level"
        if progress.loudest > OVERDRIVEN:
            clipping += f", float samples go up to {progress.loudest:g} times it"
            advice = "write it at a lower level"
        raise Rejected(
            "clipped", f"{path} is clipped: {clipping}; expected under {CLIPPED_SHARE:.0%}, {advice}"
        )


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
