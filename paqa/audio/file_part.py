"""An opened file, or a stretch of one, as decoders read it: by position, and nothing beside it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from paqa.errors import Rejected

JOINED = "several recordings follow each other in the file: all are used"


@dataclass(frozen=True)
class Reading:
    """How a part is read: `patches` are (position, bytes) that stand for those of the file.

    `least` frames are in it, whatever its header says. `note` tells a person why it is read like this.
    """

    patches: Sequence[tuple[int, bytes]] = ()
    least: int = 0
    note: str = ""


class FilePart:
    """A stretch of a file, `start` to `end` in bytes, that is decoded as a file of its own."""

    def __init__(self, path: Path, file: BinaryIO, start: int, end: int, reading: Reading = Reading()):
        self.path, self.file, self.start, self.end = path, file, start, end
        self.patches, self.least, self.note = reading.patches, reading.least, reading.note
        self.name = path.name  # which tells FFmpeg a little of its form
        self.at = 0

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def is_file(self) -> bool:
        """Whether this is all of the file as it is, which libsndfile then reads by itself."""
        return not self.start and not self.patches and self.end == os.fstat(self.file.fileno()).st_size

    def cut(
        self, start: int, end: int, patches: Sequence[tuple[int, bytes]] = (), least: int = 0, note: str = ""
    ) -> FilePart:
        """A stretch of this one, by positions in it."""
        reading = Reading(patches, least, note)
        return FilePart(self.path, self.file, self.start + start, self.start + end, reading)

    def peek(self, at: int, count: int) -> bytes:
        """At most `count` bytes from a position; the next `read` is not moved."""
        count = min(count, self.size - at)
        data = os.pread(self.file.fileno(), count, self.start + at) if count > 0 else b""
        for place, patch in self.patches:
            first, last = max(place, at), min(place + len(patch), at + len(data))
            if first < last:
                data = data[: first - at] + patch[first - place : last - place] + data[last - at :]
        return data

    def read(self, count: int = -1) -> bytes:
        data = self.peek(self.at, self.size - self.at if count < 0 else count)
        self.at += len(data)
        return data

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position, or FFmpeg's code of an error: PyAV would write an exception to stderr."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}.get(whence)
        if base is None or not 0 <= base + offset < 1 << 63:
            return -errno.EINVAL
        self.at = base + offset
        return self.at


def open_file(path: Path) -> BinaryIO:
    """The file, if it is one: a pipe would be waited for, and a device never ends. Raises `Rejected`."""
    expected = "expected a readable file, check `ls -l`"
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Rejected("missing_file", f"{path} does not exist; check the path in the source") from None
    except (OSError, ValueError) as error:
        why = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise Rejected("unreadable", f"{path} {why}; {expected}") from None
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        what = "folder" if stat.S_ISDIR(mode) else "pipe or device"
        raise Rejected("unreadable", f"{path} is a {what}; {expected}")
    return os.fdopen(number, "rb", buffering=0)
