"""Locks on files, on file systems that may have none (some network and FUSE mounts)."""

from __future__ import annotations

import errno
import fcntl
import sys
from collections.abc import Callable
from typing import IO, Any

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # by another process
NONE = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # the file system has no locks


def lock(file: IO[Any], how: int, call: Callable[[Any, int], Any] = fcntl.lockf) -> bool:
    """Lock a file; False where another process holds it (with LOCK_NB), True where it is locked.

    On a file system without locks True as well, and a warning on stderr: nothing keeps a second process away
    there. Raises OSError where anything else is wrong.
    """
    try:
        call(file, how)
    except OSError as error:
        if error.errno in HELD:
            return False
        if error.errno not in NONE:
            raise
        print(
            f"{file.name}: the file system has no locks ({error.strerror}): "
            "see to it that nothing else writes there",
            file=sys.stderr,
            flush=True,
        )
    return True
