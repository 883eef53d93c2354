"""RIFF files (WAV, RF64, BW64): how much sound they hold, whatever the header says.

Recorders that pass 4 GB or are switched off leave headers that declare less than the file holds, or nothing.
What follows the declared end is sound, too, unless it is more chunks, a tag, or padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from paqa.audio.file_part import JOINED, FilePart

FORMS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
WRAP = 1 << 32  # a 32-bit length is the true one but for a multiple of this
STREAMED = 0x7FFFF000  # lengths from here on were written before the end was known
MOST_CHUNKS = 10_000
SLACK_S = 0.2  # less than this behind the declared end is no sound that a recorder lost
LATER = {  # chunks that follow the samples; the last one may be cut
    b"LIST", b"id3 ", b"ID3 ", b"bext", b"junk", b"JUNK", b"PAD ", b"FLLR", b"fact", b"cue ", b"smpl",
    b"iXML", b"axml", b"_PMX", b"inst", b"acid", b"cart", b"umid", b"minf", b"elm1", b"regn", b"DISP",
    b"PEAK", b"plst", b"chna", b"afsp",
}  # fmt: skip
TAGS = (b"TAG", b"ID3", b"APETAGEX")


@dataclass(frozen=True)
class DataChunk:
    """The data chunk: where its samples begin, the declared length, and the length of a second, in bytes."""

    begin: int
    length: int
    second: int
    order: Literal["little", "big"]


def data_chunk(part: FilePart) -> DataChunk | None:
    """Where the samples are; None where this is no RIFF file with a data chunk."""
    head = part.peek(0, 12)
    if head[:4] not in FORMS or head[8:] != b"WAVE":
        return None
    order: Literal["little", "big"] = "big" if head[:4] == b"RIFX" else "little"
    at, second, wide = 12, 0, None
    for _ in range(MOST_CHUNKS):
        chunk = part.peek(at, 24)
        if len(chunk) < 8:
            return None
        length = int.from_bytes(chunk[4:8], order)
        if chunk[:4] == b"data":
            return DataChunk(at + 8, length if wide is None or length != WRAP - 1 else wide, second, order)
        if chunk[:4] == b"fmt ":
            second = int.from_bytes(chunk[16:20], order)
        if chunk[:4] == b"ds64":
            wide = int.from_bytes(chunk[16:24], "little")
        at += 8 + length + length % 2
    return None


def parts(whole: FilePart) -> Iterator[FilePart]:
    """All the sound of a RIFF file: more than its header declares, and that of other ones that follow it."""
    rest: FilePart | None = whole
    if data_chunk(whole) is None:
        yield whole
    while rest and (data := data_chunk(rest)):
        declared = data.begin + data.length
        end, after = _end_of_samples(rest, declared, data.order)
        if end - declared > SLACK_S * data.second and not _is_padding(rest, declared):
            yield _unclosed(rest, data, end)
        else:
            yield rest if after == rest.size else rest.cut(0, after)
        rest = rest.cut(after, rest.size, note=JOINED) if after < rest.size else None


def _end_of_samples(part: FilePart, declared: int, order: Literal["little", "big"]) -> tuple[int, int]:
    """Where the samples end, and where the chunks after them do: both with the file where no chunks follow.

    The header's length may be short of a multiple of 4 GB.
    """
    for end in range(declared, part.size, WRAP):
        if after := _after_chunks(part, end, order):
            return end, after
    return part.size, part.size


def _after_chunks(part: FilePart, at: int, order: Literal["little", "big"]) -> int | None:
    """Where the chunks that begin here end: at another RIFF file, or with the file; None for no chunks."""
    for _ in range(MOST_CHUNKS):
        chunk = part.peek(at, 12)
        if len(chunk) < 8:
            return part.size
        if chunk[:4] in FORMS and chunk[8:] == b"WAVE":
            return at
        if not all(0x20 <= byte < 0x7F for byte in chunk[:4]):
            return _after_chunks(part, at + 1, order) if at % 2 and not chunk[0] else None
        length = int.from_bytes(chunk[4:8], order)
        at += 8 + length + length % 2
        if at > part.size + 1:
            return part.size if chunk[:4] in LATER else None
    return None


def _is_padding(part: FilePart, at: int) -> bool:
    """Whether no sound begins here: a tag, or zeros at both ends."""
    first, last = part.peek(at, 4096), part.peek(max(at, part.size - 4096), 4096)
    return first.startswith(TAGS) or not (any(first) or any(last))


def _unclosed(part: FilePart, data: DataChunk, end: int) -> FilePart:
    """The part up to `end` with the header of an unclosed recording, of which decoders read all there is."""
    form = b"RIFX" if data.order == "big" else b"RIFF"
    patches = [(0, form + (8).to_bytes(4, data.order)), (data.begin - 4, bytes(4))]
    note = "the header declares less sound than the file holds: all of it is used"
    return part.cut(0, end, patches, note=note)
