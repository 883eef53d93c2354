"""Lists of JSON, one row a line or one list; long files and endless lines are never held in memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from paqa.errors import PaqaError, Rejected
from paqa.storage import text_files

LONGEST_LINE = 32 << 20  # bytes; a row of ten hours of aligned words has a tenth of it
LARGEST_LIST = 1 << 30  # bytes of a file that has to be read whole
UNPACKED = 200  # times its size is what a compressed text may become; JSON becomes 10 to 30 times
BLOCK = 1 << 20
BROKEN = (ValueError, RecursionError)  # what reading JSON may raise; msgspec's errors are ValueErrors


def rows(path: Path, label: str, expected: str) -> Iterator[tuple[int, bytes | Rejected]]:
    """Lines that are not blank, without their ends, and their numbers from 1; `.gz` is unpacked on the way.

    Lines end at line feeds. A byte-order mark before a line, as in files that were concatenated, is removed.

    A line that is too long is `Rejected`. Raises PaqaError, which begins with `label` and says what was
    `expected`, where the file cannot be read or becomes far larger than any text.
    """
    try:
        packed = path.suffix == ".gz"
        limit = max(UNPACKED * path.stat().st_size, LONGEST_LINE) if packed else None
        with gzip.open(path) if packed else path.open("rb") as file:
            yield from _rows(cast(IO[bytes], file), label, limit)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise PaqaError(f"{label} cannot be read ({why}); {expected}") from None


def _rows(file: IO[bytes], label: str, limit: int | None) -> Iterator[tuple[int, bytes | Rejected]]:
    number = read = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        line = text_files.without_bom(line) if number == 1 else line.removeprefix(text_files.MARK)
        read += len(line)
        long = len(line) > LONGEST_LINE
        while long and not line.endswith(b"\n") and (line := file.readline(BLOCK)):
            read += len(line)
            _check(label, read, limit)
        _check(label, read, limit)
        if long:
            expected = f"expected at most {LONGEST_LINE >> 20} MB"
            detail = f"the line has more than {LONGEST_LINE >> 20} MB; {expected}, divide it"
            yield number, Rejected("bad_row", detail)
        elif line.strip():
            yield number, line.rstrip(b"\r\n")


def _check(label: str, read: int, limit: int | None) -> None:
    if limit is not None and read > limit:
        detail = f"becomes more than {UNPACKED} times as large when unpacked, as no manifest does"
        raise PaqaError(f"{label} {detail}; unpack it first if it is one")


def whole(path: Path, label: str, expected: str) -> bytes:
    """All of a file that cannot be read by lines; PaqaError where it is unreadable or too large for that."""
    try:
        with path.open("rb") as file:
            content = text_files.without_bom(file.read(LARGEST_LIST + 1))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise PaqaError(f"{label} cannot be read ({why}); {expected}") from None
    if len(content) >= LARGEST_LIST:
        raise PaqaError(f"{label} has over {LARGEST_LIST >> 30} GB; write one JSON object a line")
    return content


def objects(
    path: Path, label: str, expected: str, decode: Callable[[bytes], Any] = msgspec.json.decode
) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """The objects of a JSON list or of JSON lines, each with its place: "FILE:LINE" or "FILE[INDEX]".

    What is no object is `Rejected` with `broken_json` or `bad_row`. Raises PaqaError as `rows` does, and for
    a list that is no JSON.
    """
    first = next(rows(path, label, expected), (0, b""))[1]
    if isinstance(first, Rejected) or not first.lstrip().startswith(b"["):
        for number, line in rows(path, label, expected):
            yield f"{path.name}:{number}", line if isinstance(line, Rejected) else _object(line, decode)
        return
    try:
        values = decode(whole(path, label, expected))
    except BROKEN as error:
        raise PaqaError(f"{label} is no JSON list: {error}; check it with `jq`") from None
    for number, value in enumerate(values):
        yield f"{path.name}[{number}]", _checked(value)


def _object(line: bytes, decode: Callable[[bytes], Any]) -> dict[str, Any] | Rejected:
    try:
        return _checked(decode(line))
    except BROKEN as error:
        return Rejected("broken_json", f"no JSON: {error}; every line must be an object, check it with `jq`")


def _checked(value: Any) -> dict[str, Any] | Rejected:
    if isinstance(value, dict):
        return value
    return Rejected("bad_row", f"found {str(value)[:60]!r}, expected an object")
