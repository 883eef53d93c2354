"""Decode, resample, loudness, FLAC; the only place that opens an audio file.

Everything that leaves this module lies on the 16-bit grid (float32 multiples of 1/32768), so a FLAC round trip is
exact and `digest` is stable. What cannot be used raises `Rejected`; its reason is one of `missing_file`,
`unreadable`, `empty_file`, `not_audio`, `truncated`, `not_finite`, `bad_rate`, `too_many_channels`, `too_short`,
`too_long`, `silent`, `clipped`.

Files are data from strangers: a decoder is given the one opened file and nothing else. Containers that only point
elsewhere (playlists, ffconcat, DASH, SDP, QuickTime's external tracks) are no audio here, and no protocol but this file
is spoken, so nothing beside the file is read and nothing is asked of a network.
"""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from paqa.errors import Rejected
from paqa.recipe import AudioConfig
from paqa.spans import Interval
from paqa.types import Audio

BLOCK = 1 << 18  # frames read at a time, fewer of more than WIDE channels
WIDE = 8
LOUDEST = 1e10  # times full scale: resampling what float32 cannot hold gives NaN; 32-bit integers as floats are below
MOST_CHANNELS = 64  # 7th order ambisonics; libsndfile reads up to 1024
RATES = (1000, 768_000)  # Hz that recordings have; at 1 Hz, a file of 20 kB would be hours
SILENT_PEAK = 10 ** (-60 / 20)  # a file that never gets louder than this (-60 dBFS) is silence
FULL_SCALE = 0.999
CLIPPED_SHARE = 0.01  # a file with this share of its samples flat at full scale is clipped
DECLARED_SLACK_MS = 200  # headers of lossy formats count encoder padding
STEP = 1 / 32768
UNKNOWN_FRAMES = 1 << 48  # libsndfile reports about 2**63 frames where a header does not tell
TIMED_CONTAINERS = ("mp4", "matroska", "asf", "wav", "flac", "aiff", "caf")  # demuxers whose duration is no estimate
CONTAINERS = (  # FFmpeg's demuxers of one file; what is not here cannot be opened, however a file is called
    "aac,ac3,eac3,aiff,amr,ape,asf,au,avi,caf,dts,dtshd,flac,flv,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,oma,"
    "rm,shn,tak,truehd,tta,voc,w64,wav,wv"
)

AUDIO_MAGIC = {
    b"RIFF": "WAV",
    b"RF64": "WAV",
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


class _StoppedError(Exception):
    """The decoder gave up in the middle of a file: the library's message, and frames decoded since the last block."""

    def __init__(self, message: str, frames: int = 0):
        super().__init__(message)
        self.frames = frames


@dataclass
class _Reader:
    """An opened file: float32 blocks `(frames, channels)` at `rate`; `declared` frames where the header tells.

    `coming` frames are those that the library means to decode: fewer than declared where it sees that a file was cut.
    """

    rate: int
    channels: int
    declared: int | None
    coming: int | None
    blocks: Iterator[np.ndarray]


@dataclass
class _Gathered:
    """What decoding accumulates: int16 blocks `(n, kept channels)`, and counts of the input."""

    blocks: list[np.ndarray] = field(default_factory=list)
    frames: int = 0
    flat: int = 0
    seen: int = 0
    peak: int = 0


def decode(path: Path, config: AudioConfig) -> Audio:
    """The whole file as float32 `(config.channels, n)` at `config.rate`, on the 16-bit grid.

    Reads block-wise: libsndfile first, PyAV (with its own FFmpeg libraries) for the rest; a long file needs at most
    its result as int16 on top of the result, and is given up as soon as it is longer than `config.max_file_ms`,
    whatever its header says. More channels than wanted are averaged, mono is doubled for stereo.
    Raises `Rejected` with the reasons of this module; `clipped` means that at least 1 % of the file's samples lie
    in runs of three or more at full scale (|x| >= 0.999) that are flat to one 16-bit step, which a full-scale tone
    is not.
    """
    with ExitStack() as stack:
        file = stack.enter_context(_open(path))
        head = file.read(64)
        if not head:
            raise Rejected("empty_file", f"{path} has 0 bytes; expected audio, copy or download it again")
        reader = _by_soundfile(path, file, stack) or _by_av(_Alone(path.name, file), stack)
        if reader is None:
            raise _not_opened(path, head)
        _admit(path, reader, config)
        gathered = _gather(path, reader, config)
    _check(path, gathered, reader.rate, config)
    return Audio(_assemble(gathered.blocks, config.channels), config.rate)


def _open(path: Path) -> BinaryIO:
    """The file, if it is one: a pipe would be waited for, and a device never ends."""
    wanted = "expected a readable file, check `ls -l`"
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Rejected("missing_file", f"{path} does not exist; check the path in the source") from None
    except (OSError, ValueError) as error:
        why = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise Rejected("unreadable", f"{path} {why}; {wanted}") from None
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        what = "folder" if stat.S_ISDIR(mode) else "pipe or device"
        raise Rejected("unreadable", f"{path} is a {what}; {wanted}")
    return os.fdopen(number, "rb", buffering=0)


def _admit(path: Path, reader: _Reader, config: AudioConfig) -> None:
    """Refuse before decoding what no recording is, or what says that it is too long."""
    if not RATES[0] <= reader.rate <= RATES[1]:
        wanted = f"expected {RATES[0]} to {RATES[1]} Hz"
        raise Rejected("bad_rate", f"{path} says that it has {reader.rate} Hz; {wanted}, resample or repair it")
    if reader.channels > MOST_CHANNELS:
        wanted = f"expected at most {MOST_CHANNELS}"
        raise Rejected("too_many_channels", f"{path} has {reader.channels} channels; {wanted}, mix it down first")
    if reader.coming and reader.coming > _most(reader.rate, config):
        raise _too_long(path, f"declares {reader.coming * 1000 // reader.rate} ms", config)


def _most(rate: int, config: AudioConfig) -> int:
    """The frames that a file may have."""
    return config.max_file_ms * rate // 1000


def _too_long(path: Path, found: str, config: AudioConfig) -> Rejected:
    wanted = f"expected at most audio.max_file_ms = {config.max_file_ms} ms"
    return Rejected("too_long", f"{path} {found}; {wanted}, cut it first or raise that key in the recipe")


def _not_opened(path: Path, head: bytes) -> Rejected:
    """Nobody could open it: damaged audio if it begins like audio, something else otherwise."""
    kind = next((name for magic, name in AUDIO_MAGIC.items() if head.startswith(magic)), None)
    kind = "MP4" if head[4:8] == b"ftyp" else kind
    if kind:
        size = path.stat().st_size
        return Rejected("truncated", f"{path} begins like {kind} but none of its {size} bytes decode; copy it again")
    found = next((name for magic, name in OTHER_MAGIC.items() if head.startswith(magic)), None)
    if found is None:
        text = head[:32].decode("utf-8", "ignore").replace("\n", " ")
        printable = text.isprintable() and len(text) >= min(len(head), 32) // 2
        found = f"text that begins {text!r}" if printable else f"bytes that begin {head[:8].hex(' ')}"
    return Rejected("not_audio", f"{path} is no audio: found {found}; expected WAV, FLAC, MP3, Ogg, M4A or the like")


def _by_soundfile(path: Path, opened: BinaryIO, stack: ExitStack) -> _Reader | None:
    import soundfile

    opened.seek(0)
    try:
        file = stack.enter_context(soundfile.SoundFile(opened.fileno(), closefd=False))
    except soundfile.LibsndfileError:
        return None
    coming: int | None = file.frames if 0 <= file.frames < UNKNOWN_FRAMES else None
    if file.format == "MP3" and not _counts_frames(path):
        coming = None
    declared = _wav_declared(path, file.frames) if file.format in ("WAV", "WAVEX") else coming
    size = BLOCK * WIDE // max(WIDE, file.channels)

    def blocks() -> Iterator[np.ndarray]:
        try:
            at = 0
            while len(block := file.read(size, dtype="float32", always_2d=True)):
                at += len(block)
                yield block
        except soundfile.LibsndfileError as error:
            raise _StoppedError(error.error_string.strip("."), file.tell() - at) from None

    return _Reader(file.samplerate, file.channels, declared, coming, blocks())


def _counts_frames(path: Path) -> bool:
    """Whether an MP3 file has a Xing or VBRI header; without one its length is an estimate from the bit rate."""
    with open(path, "rb") as file:
        start = file.read(10)
        tag = 0
        if start.startswith(b"ID3"):
            tag = 10 + sum(byte << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
        file.seek(tag)
        frame = file.read(512)
    return any(magic in frame for magic in (b"Xing", b"Info", b"VBRI"))


def _wav_declared(path: Path, frames: int) -> int:
    """Frames that a RIFF header promises. libsndfile quietly corrects a data chunk longer than the file."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], "little")
            present = size - file.tell()
            if chunk[:4] == b"data":
                streamed = length >= 0x7FFFF000  # written to a pipe: the length was not known
                return frames if streamed or length <= present or not present else round(frames * length / present)
            file.seek(length + length % 2, 1)
    return frames


class _Alone:
    """A file for FFmpeg: its last name, which tells a little of its form, and no way to anything beside it."""

    def __init__(self, name: str, file: BinaryIO):
        self.name = name
        self.read, self.tell = file.read, file.tell
        self._file = file

    def seek(self, offset: int, whence: int = 0) -> int:
        """Where the file is then, or FFmpeg's error: PyAV writes exceptions to stderr."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL


def _by_av(opened: _Alone, stack: ExitStack) -> _Reader | None:
    import av

    opened.seek(0)
    alone = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
    try:
        container = av.open(opened, "r", metadata_errors="replace", container_options=alone, buffer_size=1 << 18)
        stream = next(iter(stack.enter_context(container).streams.audio), None)
    except (av.FFmpegError, OSError, ValueError):
        return None
    if stream is None or not stream.codec_context or not stream.rate:
        return None
    seconds = None
    if any(name in container.format.name for name in TIMED_CONTAINERS):
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration and len(container.streams) == 1:
            seconds = container.duration / av.time_base

    channels = stream.layout.nb_channels
    size = BLOCK * WIDE // max(WIDE, channels)

    def blocks() -> Iterator[np.ndarray]:  # interleaved: PyAV reads beyond memory where more than 8 planes are
        resampler = av.AudioResampler(format="flt", rate=stream.rate, layout=stream.layout)
        first: tuple[Any, ...] | None = None
        held: list[np.ndarray] = []
        stopped = ""
        try:
            for frame in container.decode(stream):
                form = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
                first = first or form
                if form != first:
                    raise ValueError(f"the sound changes from {first} to {form}")
                held += [part.to_ndarray().reshape(-1, channels) for part in resampler.resample(frame)]
                if sum(map(len, held)) >= size:
                    yield np.concatenate(held)
                    held = []
        except (av.FFmpegError, ValueError) as error:  # ValueError: see above; PyAV has its own for the same
            stopped = getattr(error, "strerror", None) or str(error) or "unknown error"
        if held:
            yield np.concatenate(held)
        if stopped:
            raise _StoppedError(stopped)

    declared = None if seconds is None else round(seconds * stream.rate)
    return _Reader(stream.rate, channels, declared, declared, blocks())


def _gather(path: Path, reader: _Reader, config: AudioConfig) -> _Gathered:
    """All blocks, downmixed, resampled and quantized; raises `not_finite`, `too_long` and `truncated` on the way."""
    gathered, stream, stopped = _Gathered(), None, ""
    limit = _most(reader.rate, config)
    try:
        for block in reader.blocks:
            gathered.frames += len(block)
            if gathered.frames > limit:
                raise _too_long(path, "goes on", config)
            if not np.abs(block).max() < LOUDEST:  # NaN is not smaller
                found = "NaN, infinite or endlessly loud samples"
                raise Rejected("not_finite", f"{path} has {found}; expected numbers, write it again")
            gathered.flat += _flat(block)
            gathered.seen += block.size
            kept = block if config.channels == 2 == block.shape[1] else block.mean(axis=1, keepdims=True)
            stream = stream or _Stream(reader.rate, config.rate, kept.shape[1])
            _keep(gathered, stream(kept))
        if stream:
            _keep(gathered, stream.end())
    except _StoppedError as error:
        stopped = f" ({error})"
        gathered.frames += error.frames
    decoded, declared = gathered.frames, reader.declared
    if stopped or (declared and decoded < declared - DECLARED_SLACK_MS * reader.rate // 1000):
        found = f"{decoded * 1000 // reader.rate} ms decode{stopped}"
        promised = f"the header declares {declared * 1000 // reader.rate} ms" if declared else "more follows"
        raise Rejected("truncated", f"{path} is cut or damaged: {found}, {promised}; copy or download it again")
    return gathered


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
    pcm = _pcm(block)
    if pcm.size:
        gathered.peak = max(gathered.peak, int(pcm.max()), -int(pcm.min()))
        gathered.blocks.append(pcm)


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


def _check(path: Path, gathered: _Gathered, rate: int, config: AudioConfig) -> None:
    duration = gathered.frames * 1000 // rate
    if duration < config.min_clip_ms or not gathered.blocks:
        wanted = f"expected at least min_clip_ms = {config.min_clip_ms} ms"
        raise Rejected("too_short", f"{path} has {duration} ms of audio; {wanted}, join it with others or lower it")
    peak = gathered.peak * STEP
    if peak < SILENT_PEAK:
        found = f"peak {20 * math.log10(peak):.0f} dBFS" if peak else "every sample is 0"
        raise Rejected("silent", f"{path} is silent: {found}; expected a peak above -60 dBFS, check the recording")
    share = gathered.flat / gathered.seen
    if share >= CLIPPED_SHARE:
        raise Rejected(
            "clipped",
            f"{path} is clipped: {share:.1%} of its samples stay flat at full scale; "
            f"expected under {CLIPPED_SHARE:.0%}, record it again at a lower level",
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


def _pcm(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as int16 of the same shape."""
    return np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype("<i2")


def quantize(samples: np.ndarray) -> np.ndarray:
    """Samples of any shape snapped to the 16-bit grid: float32 multiples of 1/32768 in [-1, 32767/32768]."""
    return _pcm(samples).astype(np.float32) * np.float32(STEP)


def resample(audio: Audio, rate: int) -> Audio:
    """The same sound at another rate, float32 and not snapped to the grid; the same object where rates agree."""
    if audio.rate == rate:
        return audio
    import soxr

    samples = soxr.resample(np.ascontiguousarray(audio.samples.T), audio.rate, rate)
    return Audio(np.ascontiguousarray(samples.T, dtype=np.float32), rate)


def flac(audio: Audio) -> bytes:
    """16-bit FLAC; the same samples give the same bytes. At most 8 channels."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, _pcm(audio.samples).T, audio.rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def read_flac(data: bytes) -> Audio:
    """The audio of `flac`'s bytes, exactly; raises `Rejected` with `not_audio` where they are damaged."""
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        detail = f"{len(data)} bytes are no FLAC ({error.error_string}); delete the object and build again"
        raise Rejected("not_audio", detail) from None
    return Audio(np.ascontiguousarray(samples.T).astype(np.float32) * np.float32(STEP), rate)


def digest(audio: Audio) -> str:
    """SHA-256 in hex of the rate, the number of channels and the interleaved 16-bit samples."""
    channels, n = audio.samples.shape
    sha = hashlib.sha256(f"{audio.rate} {channels} ".encode())
    for start in range(0, n, BLOCK):
        sha.update(_pcm(audio.samples[:, start : start + BLOCK]).T.tobytes())
    return sha.hexdigest()


def is_silent(audio: Audio) -> bool:
    """Whether nothing gets louder than -60 dBFS."""
    return not audio.samples.size or float(np.abs(audio.samples).max()) < SILENT_PEAK


def rms(samples: np.ndarray) -> float:
    """Root mean square over all samples of any shape; 0 where there are none."""
    return math.sqrt(float(np.mean(np.square(samples), dtype=np.float64))) if samples.size else 0.0


def dbfs(samples: np.ndarray) -> float:
    """RMS level in dB relative to full scale; minus infinity for digital silence."""
    level = rms(samples)
    return 20 * math.log10(level) if level else -math.inf


def windows(audio: Audio, max_ms: int) -> list[Interval]:
    """Pieces of at most `max_ms` that cover `[0, duration)`: as even as quiet places to cut allow.

    Pieces are planned at no more than 90 % of `max_ms`, so that each cut may move by up to a fifth of a piece to the
    middle of the quietest 200 ms there.
    """
    duration = audio.duration_ms
    if duration <= max_ms:
        return [(0, duration)]
    count = math.ceil(duration / (0.9 * max_ms))
    even = duration / count
    centres, energy = _energy(audio)
    cuts = [0]
    for k in range(1, count):
        low = max(k * even - even / 5, duration - (count - k) * max_ms)
        high = min(k * even + even / 5, cuts[-1] + max_ms)
        cuts.append(_quietest(centres, energy, low, high, k * even))
    return list(zip(cuts, [*cuts[1:], duration], strict=True))


def _energy(audio: Audio) -> tuple[np.ndarray, np.ndarray]:
    """The middle in ms, and the energy, of every 200 ms stretch, one each 10 ms."""
    hop = max(1, audio.rate // 100)
    frames = audio.samples.shape[1] // hop
    framed = audio.samples[:, : frames * hop].reshape(len(audio.samples), frames, hop)
    total = np.concatenate([[0.0], np.cumsum(np.einsum("cfh,cfh->f", framed, framed), dtype=np.float64)])
    width = min(20, frames)
    starts = np.arange(frames - width + 1)
    return (starts + width / 2) * hop * 1000 / audio.rate, total[width:] - total[:-width]


def _quietest(centres: np.ndarray, energy: np.ndarray, low: float, high: float, middle: float) -> int:
    """The centre in `[low, high]` ms with the least energy; of equals the one nearest to the middle."""
    first, last = np.searchsorted(centres, [math.ceil(low), math.floor(high)])
    if last <= first:
        return round(min(max(middle, math.ceil(low)), math.floor(high)))
    levels = energy[first:last]
    quiet = first + np.flatnonzero(levels <= levels.min() + 1e-9)
    return round(float(centres[quiet[np.argmin(np.abs(centres[quiet] - middle))]]))
