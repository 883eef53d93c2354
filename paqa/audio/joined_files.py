"""The recordings that follow each other in one file: decoders play the first and leave out the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise

from paqa.audio import mp3, riff
from paqa.audio.file_part import JOINED, FilePart

PAGE = 27  # bytes of an Ogg page before its table of segments
BEGINS = 2  # the flag of an Ogg page with which a stream begins
FLAC = b"fLaC\x00\x00\x00\x22"  # how a FLAC file begins
WINDOW = 1 << 16
READ_AHEAD = 1 << 16  # bytes that libsndfile may have read behind the last frame


def parts(whole: FilePart) -> Iterator[FilePart]:
    """The parts of a file that each are to be decoded, in order; mostly the file itself.

    The next one is looked for when the one before it was decoded.
    """
    head = whole.peek(0, 12)
    if head[:4] in riff.FORMS:
        yield from riff.parts(whole)
    elif head[:4] == b"OggS":
        yield from _chained(whole)
    elif head[:8] == FLAC:
        yield from _flacs(whole)
    elif head[:3] == b"ID3" or head[:1] == b"\xff":
        yield from mp3.parts(whole)
    else:
        yield whole


def _chained(whole: FilePart) -> Iterator[FilePart]:
    """The links of a chained Ogg file."""
    starts = [0, *_links(whole), whole.size]
    if len(starts) == 2:
        yield whole
        return
    for start, end in pairwise(starts):
        yield whole.cut(start, end, note=JOINED)


def _links(whole: FilePart) -> Iterator[int]:
    """Where streams begin after others have been going on; streams that are multiplexed begin together."""
    at, going_on = 0, False
    while len(page := whole.peek(at, PAGE + 255)) >= PAGE:
        if page[:4] != b"OggS":
            at = _next_place(whole, b"OggS", at + 1)
            continue
        begins = bool(page[5] & BEGINS)
        if begins and going_on:
            yield at
        going_on = not begins
        at += PAGE + page[26] + sum(page[PAGE : PAGE + page[26]])


def _next_place(whole: FilePart, magic: bytes, at: int) -> int:
    """Where these bytes are next, or the end of the file."""
    while len(data := whole.peek(at, WINDOW)) >= len(magic):
        place = data.find(magic)
        if place >= 0:
            return at + place
        at += len(data) - len(magic) + 1
    return whole.size


def _flacs(whole: FilePart) -> Iterator[FilePart]:
    """FLAC files one after the other: libsndfile stops at the end of each, where the next is looked for."""
    start = 0
    while start < whole.size:
        part = whole.cut(start, whole.size, note=JOINED if start else "")
        yield part
        stopped = os.lseek(whole.file.fileno(), 0, os.SEEK_CUR) if part.is_file else start + part.at
        start = _next_place(whole, FLAC, max(start + len(FLAC), stopped - READ_AHEAD))
