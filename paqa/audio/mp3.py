"""MP3 files: which recordings follow each other in them, and how long each really is.

A Xing header counts the frames of the recording that it begins, not those of others that were joined to it;
without one, decoders guess the length from the first bit rate, and stop there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from paqa.audio.file_part import JOINED, FilePart

WINDOW = 1 << 20  # bytes read at a time
LONGEST = 4096  # no frame is longer
SLACK_BYTES = 4096  # behind what a Xing header counts: tags, or a second of a low bit rate
SLACK_S = 0.2  # frames that headers do not count
SURE = 3  # frames in a row
BIT_RATES = {  # kbit/s by (MPEG 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = (44_100, 48_000, 32_000)
SYNC = re.compile(rb"\xff[\xe2-\xff]")


@dataclass(frozen=True)
class Frame:
    """What the header of a frame holds: bytes, sample frames, Hz, and where a Xing header would be in it."""

    size: int
    samples: int
    rate: int
    tag: int
    mono: bool


@dataclass(frozen=True)
class Xing:
    """What a Xing header counts; None for what it leaves out."""

    frames: int | None
    size: int | None


@lru_cache(1 << 14)
def _frame(header: bytes) -> Frame | None:
    """The frame that four bytes begin; None where they are no header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    first, mono = version == 3, header[3] >> 6 == 3
    hertz = RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]  # MPEG 1, 2, 2.5: each half of the one before
    samples = _samples(first, layer)
    slot = 4 if layer == 1 else 1
    padding = header[2] >> 1 & 1
    size = (samples // 8 * 1000 * BIT_RATES[first, layer][bits - 1] // hertz // slot + padding) * slot
    side_information = {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}
    return Frame(size, samples, hertz, 4 + side_information[first, mono], mono)


def _samples(first: bool, layer: int) -> int:
    """Sample frames in a frame, `first` for MPEG 1."""
    if layer == 1:
        return 384
    return 576 if layer == 3 and not first else 1152


def _xing(data: bytes, at: int, frame: Frame) -> Xing | None:
    place = at + frame.tag
    if data[place : place + 4] not in (b"Xing", b"Info"):
        return None
    flags = data[place + 7] if len(data) > place + 7 else 0
    numbers = [int.from_bytes(data[p : p + 4], "big") for p in (place + 8, place + 12)]
    frames = numbers.pop(0) if flags & 1 else None
    return Xing(frames, numbers[0] if flags & 2 else None)


def tag_size(head: bytes) -> int:
    """Bytes of an ID3v2 tag that begins here; 0 where none does."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def parts(whole: FilePart) -> Iterator[FilePart]:
    """The recordings of an MP3 file: mostly one; a Xing header that counts all of it settles that at once."""
    at = tag_size(whole.peek(0, 10))
    data = whole.peek(at, LONGEST)
    frame = _frame(data[:4])
    if frame is None:
        yield whole
        return
    xing = _xing(data, 0, frame)
    if xing and xing.size and whole.size - at - xing.size <= SLACK_BYTES:
        yield whole
        return
    runs = [run for run in _runs(whole, at) if run.samples > SLACK_S * run.rate]
    if len(runs) < 2:
        yield whole.cut(0, whole.size, least=0 if xing or not runs else runs[0].samples)
        return
    for run, end in zip(runs, [*(later.start for later in runs[1:]), whole.size], strict=True):
        yield whole.cut(run.start, end, least=0 if run.counted else run.samples, note=JOINED)


@dataclass
class _Run:
    """Frames that belong together: their first byte, whether a Xing header counts them, and sample frames."""

    start: int
    rate: int
    mono: bool
    counted: bool
    left: float  # frames that its header still counts
    samples: int = 0


def _runs(whole: FilePart, at: int) -> Iterator[_Run]:
    """The file cut at Xing headers, changes of form and tags, and where a header's count ends."""
    run: _Run | None = None
    for place, frame, xing, after_tag in _frames(whole, at):
        changed = run and (run.rate, run.mono) != (frame.rate, frame.mono)
        if run is None or changed or xing or after_tag or run.left <= 0:
            if run:
                yield run
            count = xing.frames if xing and xing.frames else None
            run = _Run(
                place, frame.rate, frame.mono, xing is not None, float("inf") if count is None else count + 1
            )
        run.left -= 1
        run.samples += frame.samples
    if run:
        yield run


def _frames(whole: FilePart, at: int) -> Iterator[tuple[int, Frame, Xing | None, bool]]:
    """All frames with their places, and whether a tag lies before them; what is no frame is stepped over."""
    data, base, after_tag = b"", at, False
    while at < whole.size:
        i = at - base
        if i + LONGEST > len(data) and base + len(data) < whole.size:
            data, base, i = whole.peek(at, WINDOW), at, 0
        frame = _frame(data[i : i + 4])
        if frame:
            yield at, frame, _xing(data, i, frame), after_tag
            at, after_tag = at + frame.size, False
        elif size := tag_size(data[i : i + 10]):
            at, after_tag = at + size, True
        else:
            at = base + _next(data, i + 1)


def _next(data: bytes, at: int) -> int:
    """Where a row of frames or a tag begins next, or near the end of the data."""
    while True:
        sync = SYNC.search(data, at)
        tag = data.find(b"ID3", at, sync.start() if sync else len(data))
        if tag >= 0 and tag_size(data[tag : tag + 10]):
            return tag
        if not sync:
            return max(at, len(data) - 9)
        if _is_row(data, sync.start()):
            return sync.start()
        at = sync.start() + 1


def _is_row(data: bytes, at: int) -> bool:
    for _ in range(SURE):
        frame = _frame(data[at : at + 4])
        if frame is None:
            return at >= len(data)
        at += frame.size
    return True
