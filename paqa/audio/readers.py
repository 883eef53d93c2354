"""Blocks of samples out of a file: libsndfile first, PyAV (with its own FFmpeg libraries) for the rest.

Files are untrusted input: a decoder is given the one opened file and nothing else. Containers that only
point elsewhere (playlists, ffconcat, DASH, SDP, QuickTime's external tracks) are no audio here, and no
protocol but this file is spoken, so nothing beside the file is read and nothing is asked of a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paqa.audio import riff
from paqa.audio.file_part import FilePart
from paqa.audio.mp3 import tag_size
from paqa.audio.pcm import BLOCK
from paqa.audio.timeline import Timeline, lead
from paqa.config.recipe import AudioConfig
from paqa.errors import Rejected

WIDE = 8  # blocks of more channels have fewer frames
UNKNOWN_FRAMES = 1 << 48  # libsndfile reports about 2**63 frames where a header does not tell
UNCOUNTED_S = 0.2  # frames of an MP3 file that libsndfile does not play: the encoder's delay
# demuxers whose duration is no estimate
TIMED_CONTAINERS = ("mp4", "matroska", "asf", "wav", "flac", "aiff", "caf")
# demuxers whose stamps are the recorder's
STAMPED_CONTAINERS = ("mp4", "matroska", "mpegts", "mpeg", "asf", "flv")
SILENCE = "its time stamps leave gaps: they are silence"
CONTAINERS = (  # FFmpeg's demuxers of one file; what is not here cannot be opened, however a file is called
    "aac,ac3,eac3,aiff,amr,ape,asf,au,avi,caf,dts,dtshd,flac,flv,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,wv"
)


class StoppedError(Exception):
    """The decoder gave up inside a file: the library's message, and frames decoded since the last block."""

    def __init__(self, message: str, frames: int = 0):
        super().__init__(message)
        self.frames = frames


@dataclass
class Reader:
    """An opened file: float32 blocks `(frames, channels)` at `rate` Hz; the header says `declared` frames.

    `coming` frames are those that the library means to decode: fewer than declared where it sees that a file
    was cut. Of `tracks`, the one read is at index `track` of the file. `notes` tell a person what was done.
    """

    rate: int
    channels: int
    declared: int | None
    coming: int | None
    blocks: Iterator[np.ndarray]
    track: int = 0
    tracks: int = 1
    notes: list[str] = field(default_factory=list)  # complete when all is read


def open_reader(part: FilePart, track: int, config: AudioConfig, stack: ExitStack) -> Reader | None:
    """The part, opened; its `track` counts from the default one. None where no library can open it."""
    return _by_soundfile(part, stack) or _by_av(part, track, config, stack)


def too_long(part: FilePart, finding: str, config: AudioConfig) -> Rejected:
    """The error about a file that is longer than the recipe allows; `finding` says what shows it."""
    expected = f"expected at most audio.max_file_ms = {config.max_file_ms} ms"
    return Rejected(
        "too_long", f"{part.path} {finding}; {expected}, cut it first or raise that key in the recipe"
    )


def _block_size(channels: int) -> int:
    return BLOCK * WIDE // max(WIDE, channels)


def _by_soundfile(part: FilePart, stack: ExitStack) -> Reader | None:
    import soundfile

    part.seek(0)
    part.file.seek(0)
    try:
        opened = part.file.fileno() if part.is_file else part
        file = stack.enter_context(soundfile.SoundFile(opened, closefd=False))
    except soundfile.LibsndfileError:
        return None
    if file.frames < part.least - UNCOUNTED_S * file.samplerate:
        return None
    coming: int | None = file.frames if 0 <= file.frames < UNKNOWN_FRAMES else None
    if file.format == "MP3" and not _counts_frames(part):
        coming = None
    declared = _wav_declared(part, file.frames) if file.format in ("WAV", "WAVEX") else coming
    return Reader(file.samplerate, file.channels, declared, coming, _soundfile_blocks(file))


def _soundfile_blocks(file: Any) -> Iterator[np.ndarray]:
    """Blocks `(frames, channels)` of an opened `soundfile.SoundFile`; raises StoppedError."""
    import soundfile

    size = _block_size(file.channels)
    try:
        at = 0
        while len(block := file.read(size, dtype="float32", always_2d=True)):
            at += len(block)
            yield block
    except soundfile.LibsndfileError as error:
        raise StoppedError(error.error_string.strip("."), file.tell() - at) from None


def _counts_frames(part: FilePart) -> bool:
    """Whether an MP3 file has a Xing or VBRI header; without one its length is guessed from the bit rate."""
    frame = part.peek(tag_size(part.peek(0, 10)), 512)
    return any(magic in frame for magic in (b"Xing", b"Info", b"VBRI"))


def _wav_declared(part: FilePart, frames: int) -> int:
    """Frames that a RIFF header promises. libsndfile quietly corrects a data chunk longer than the file."""
    data = riff.data_chunk(part)
    present = part.size - data.begin if data else 0
    if not data or present <= 0 or data.length >= riff.STREAMED or data.length <= present:
        return frames
    return round(frames * data.length / present)


def _by_av(part: FilePart, track: int, config: AudioConfig, stack: ExitStack) -> Reader | None:
    import av

    part.seek(0)
    alone = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
    try:
        container = av.open(
            part, "r", metadata_errors="replace", container_options=alone, buffer_size=1 << 18
        )
        streams = [s for s in stack.enter_context(container).streams.audio if s.codec_context and s.rate]
    except (av.FFmpegError, OSError, ValueError):
        return None
    if track >= len(streams):
        return None
    stream = sorted(streams, key=_is_default, reverse=True)[track]
    ahead = lead(container, stream, av.time_base)
    seconds = None
    if any(name in container.format.name for name in TIMED_CONTAINERS):
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base) + ahead / stream.rate
        elif container.duration and len(container.streams) == 1:
            seconds = (container.duration - max(0, container.start_time or 0)) / av.time_base
    declared = None if seconds is None else round(seconds * stream.rate)
    notes: list[str] = []
    blocks = _av_blocks(part, container, stream, ahead, config, notes)
    place = streams.index(stream)
    return Reader(
        stream.rate, stream.layout.nb_channels, declared, declared, blocks, place, len(streams), notes
    )


def _is_default(stream: Any) -> bool:
    disposition = getattr(stream, "disposition", None)  # which early versions of PyAV 14 lack
    return disposition is not None and bool(disposition.value & 1)


def _av_blocks(
    part: FilePart, container: Any, stream: Any, ahead: int, config: AudioConfig, notes: list[str]
) -> Iterator[np.ndarray]:
    """Blocks of a stream; interleaved, since PyAV reads beyond memory where more than 8 planes are."""
    import av

    channels = stream.layout.nb_channels
    size, held, count, stopped = _block_size(channels), [], 0, ""
    try:
        for piece in _av_pieces(part, container, stream, ahead, config, notes):
            held.append(piece)
            count += len(piece)
            if count >= size:
                yield np.concatenate(held)
                held, count = [], 0
    except (av.FFmpegError, ValueError) as error:  # ValueError: see _av_pieces; PyAV has its own for the same
        stopped = getattr(error, "strerror", None) or str(error) or "unknown error"
    if held:
        yield np.concatenate(held)
    if stopped:
        raise StoppedError(stopped)


def _av_pieces(
    part: FilePart, container: Any, stream: Any, ahead: int, config: AudioConfig, notes: list[str]
) -> Iterator[np.ndarray]:
    """What each frame holds, and silence where the stamps leave gaps; ValueError where the form changes."""
    import av

    rate, channels = stream.rate, stream.layout.nb_channels
    size = _block_size(channels)
    resampler = av.AudioResampler(format="flt", rate=rate, layout=stream.layout)
    stamped = any(name in container.format.name for name in STAMPED_CONTAINERS)
    timeline = Timeline(rate, ahead if stamped else 0)
    frames = container.decode(stream)
    first: tuple[Any, ...] | None = None
    for gap, frame in timeline.gaps(frames) if stamped else ((0, frame) for frame in frames):
        form = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        first = first or form
        if form != first:
            raise ValueError(f"the sound changes from {first} to {form}")
        if gap and (timeline.at + gap) * 1000 > config.max_file_ms * rate:
            jump = f"has a time stamp {gap * 1000 // rate} ms after {timeline.at * 1000 // rate} ms of sound"
            raise too_long(part, jump, config)
        if gap and SILENCE not in notes:
            notes.append(SILENCE)
        for start in range(0, gap, size):
            yield np.zeros((min(size, gap - start), channels), np.float32)
        for resampled in resampler.resample(frame):
            yield resampled.to_ndarray().reshape(-1, channels)
