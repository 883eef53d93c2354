"""An opened file, or a stretch of one, as decoders read it: by position, and with no way to anything beside
it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from paqa.errors import Rejected

JOINED = "several recordings follow each other in the file: all are used"


class Part:
    """A stretch of a file that is decoded as a file of its own; `patches` are bytes that stand for those
    there.

    `least` frames are known to be in it, whatever its header says. `note` tells a person why it is read like
    this.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        start: int,
        end: int,
        patches: Sequence[tuple[int, bytes]] = (),
        least: int = 0,
        note: str = "",
    ):
        self.path, self.file, self.start, self.end = path, file, start, end
        self.patches, self.least, self.note = patches, least, note
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
    ) -> Part:
        """A stretch of this one, by positions in it."""
        return Part(self.path, self.file, self.start + start, self.start + end, patches, least, note)

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
        """Where the part is then, or FFmpeg's error: PyAV writes exceptions to stderr."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}.get(whence)
        if base is None or not 0 <= base + offset < 1 << 63:
            return -errno.EINVAL
        self.at = base + offset
        return self.at


def opened(path: Path) -> BinaryIO:
    """The file, if it is one: a pipe would be waited for, and a device never ends. Raises `Rejected`."""
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
