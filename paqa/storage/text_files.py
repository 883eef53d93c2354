"""Text files as people write them: UTF-8 with or without a byte-order mark, lines that end in LF or CRLF.

A line of JSON ends at a line feed only: `str.splitlines` would also end it at U+2028, U+0085 and other
characters that a text may hold.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

MARK = codecs.BOM_UTF8
# UTF-32, little-endian, begins like UTF-16
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def without_bom(start: bytes) -> bytes:
    """A file's first bytes without the byte-order mark; ValueError where they are UTF-16 or UTF-32."""
    if start.startswith(WIDE) or start[:2].count(0) == 1:
        raise ValueError("found UTF-16 or UTF-32; save it as UTF-8, e.g. with iconv -f UTF-16 -t UTF-8")
    return start.removeprefix(MARK)


def decode_text(content: bytes) -> str:
    """The text of a whole file; ValueError where it is not UTF-8."""
    return without_bom(content).decode("utf-8")


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """A text file to be read line by line, `newline` as in `open`; ValueError or OSError if it cannot be."""
    with path.open("rb") as file:
        without_bom(file.peek(4)[:4])
        with io.TextIOWrapper(file, "utf-8-sig", newline=newline) as text:
            yield text


def lines(text: str) -> list[str]:
    """The lines of a text that are not blank, without their ends."""
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]
