"""Files of one row a line, read line by line: neither a large file nor one endless line is ever held in memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from paqa.errors import PaqaError, Rejected

LONGEST_LINE = 32 << 20  # bytes; a row of ten hours of aligned words has a tenth of it
LARGEST_LIST = 1 << 30  # bytes of a file that has to be read whole
UNPACKED = 200  # times its size is what a compressed text may become; JSON becomes 10 to 30 times
BLOCK = 1 << 20


def rows(path: Path, label: str, wanted: str) -> Iterator[tuple[int, bytes | Rejected]]:
    """Lines that are not blank, with their numbers from 1 and without their ends; `.gz` is unpacked on the way.

    A line that is too long is `Rejected`. Raises PaqaError, which begins with `label` and says what was `wanted`, where
    the file cannot be read or becomes far larger than any text.
    """
    try:
        packed = path.suffix == ".gz"
        most = max(UNPACKED * path.stat().st_size, LONGEST_LINE) if packed else None
        with gzip.open(path) if packed else path.open("rb") as file:
            yield from _rows(cast(IO[bytes], file), label, most)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise PaqaError(f"{label} cannot be read ({why}); {wanted}") from None


def _rows(file: IO[bytes], label: str, most: int | None) -> Iterator[tuple[int, bytes | Rejected]]:
    number = read = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        read += len(line)
        long = len(line) > LONGEST_LINE
        while long and not line.endswith(b"\n") and (line := file.readline(BLOCK)):
            read += len(line)
            _check(label, read, most)
        _check(label, read, most)
        if long:
            wanted = f"expected at most {LONGEST_LINE >> 20} MB"
            yield number, Rejected("bad_row", f"the line has more than {LONGEST_LINE >> 20} MB; {wanted}, divide it")
        elif line.strip():
            yield number, line.rstrip(b"\r\n")


def _check(label: str, read: int, most: int | None) -> None:
    if most is not None and read > most:
        detail = f"becomes more than {UNPACKED} times as large when unpacked, as no manifest does"
        raise PaqaError(f"{label} {detail}; unpack it first if it is one")


def whole(path: Path, label: str, wanted: str) -> bytes:
    """All of a file that cannot be read by lines; PaqaError where it cannot be read or is too large for that."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_LIST + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise PaqaError(f"{label} cannot be read ({why}); {wanted}") from None
    if len(content) > LARGEST_LIST:
        raise PaqaError(f"{label} has over {LARGEST_LIST >> 30} GB; write one JSON object a line")
    return content
