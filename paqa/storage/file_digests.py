"""The SHA-256 of files, whose bytes are read again only where a file may have changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from paqa.storage.store import Store, digest, key

VERSION = 1  # raise when other properties tell whether a file has changed
SETTLED_NS = 2_000_000_000  # a file may change again within one tick of its file system's clock


def file_digest(path: Path, store: Store) -> str:
    """The SHA-256 of a file's bytes, in hex; OSError where it cannot be read.

    A local store keeps it by path, size, inode and both times (the second one cannot be set by hand). One on
    another machine is not asked: the way there may take longer than reading the file.
    """
    if not store.local:
        return digest(path)
    status = path.stat()
    where = _key(path, status)
    if store.has(where, ".json"):
        return str(store.get_json(where, str))
    sha256 = digest(path)
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS:
        store.put_json(where, sha256)
    return sha256


def _key(path: Path, status: os.stat_result) -> str:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return key("file digest", VERSION, str(path.absolute()), status.st_size, status.st_ino, times)
