"""The folder of a build: it always holds one whole build, whichever process dies while the next is written.

A build writes all its files into `.pending`. Renaming that to `.committed` is the commit point: before it
nothing of the earlier build is touched, after it the new files are moved to their places (rolled forward), by
whoever opens the folder next where that was cut. The shards change all at once: `data` is exchanged as a
whole.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from paqa.errors import PaqaError
from paqa.storage import locks
from paqa.storage.store import write_atomically

DATA, LOCK = "data", ".lock"
PENDING, COMMITTED, FAILED = ".pending", ".committed", "failed"
MANIFEST = "manifest.json"  # in COMMITTED: the names of the tables that the new build has
NEW = ".new"  # in a `data` that has just been committed: tells whether the two folders were exchanged already
OLD = "old"  # in COMMITTED: the earlier `data`, where two folders cannot be exchanged in one step
BUILD, RECIPE, CLIPS, QUARANTINE = "build.json", "recipe.json", "clips.parquet", "quarantine.parquet"
SURVEY, SHORTCUTS, CARD, LICENSES = "survey.json", "shortcuts.json", "README.md", "LICENSE.md"
VERIFIER = "verifier.parquet"  # where the recipe has a verifier
AUDIT = "audit.json"  # written beside a finished build, about which it is
# moved (or removed) in this order
TABLES = (AUDIT, QUARANTINE, CLIPS, SURVEY, VERIFIER, SHORTCUTS, RECIPE, LICENSES, CARD, BUILD)
OF_FAILED = (QUARANTINE, SHORTCUTS, RECIPE)  # what is kept of a build that failed
SHARD_NAME = re.compile(r"(train|validation|test)-[0-9a-f]{16}\.parquet")
WAIT_S, PAUSE_S = 60.0, 0.02  # for a build that is just moving its files to their places
RENAME_EXCHANGE, AT_FDCWD = 2, -100  # of Linux's renameat2
NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


class FolderBusy(PaqaError):
    """Another process writes into the folder."""


def home(out: Path) -> Path:
    """Where the builds beside `out` keep their store and their Prefect history."""
    return out.resolve().parent / ".paqa"


def pending(out: Path) -> Path:
    """Where the next build of a folder writes its files."""
    return out / PENDING


def failed(out: Path) -> Path:
    """Where the tables of the last build lie that failed, until one succeeds."""
    return out / FAILED


def check_contents(out: Path) -> None:
    """PaqaError where a folder holds something else than builds; it may be empty or missing."""
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    ours = RECIPE in names or COMMITTED in names or (LOCK in names and names <= {LOCK, PENDING, FAILED})
    if names and not ours:
        raise PaqaError(
            f"{out}: is not empty and holds no build of paqa; name another --out, or an empty folder"
        )


@contextmanager
def hold_folder(out: Path) -> Iterator[None]:
    """Hold a build's folder: no second build writes there meanwhile, and no foreign files are touched.

    PaqaError where it holds something else than builds, Busy where another process holds it.
    """
    check_contents(out)
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        _roll_forward(out)
        shutil.rmtree(pending(out), ignore_errors=True)  # of a build that was killed
        yield


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    with (out / LOCK).open("a") as lock:
        if not locks.lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.flock):
            raise FolderBusy(f"{out}: another build is writing there; wait for it, or name another --out")
        yield


def begin(out: Path) -> Path:
    """An empty folder for the files of the next build; `commit` or `abandon` ends it."""
    shutil.rmtree(pending(out), ignore_errors=True)
    (pending(out) / DATA).mkdir(parents=True)
    return pending(out)


def commit(out: Path) -> None:
    """Put what was written into `pending(out)` in the place of the earlier build.

    Its files are on the disk before anything of the earlier build is touched.
    """
    new = pending(out)
    names = [name for name in TABLES if (new / name).exists()]
    write_atomically(new / MANIFEST, json.dumps(names).encode())
    (new / DATA / NEW).touch()
    for path in (*new.rglob("*"), new):
        _sync(path)
    os.rename(new, out / COMMITTED)
    _sync(out)
    _roll_forward(out)


def abandon(out: Path) -> None:
    """Move the tables that say why a build failed from `pending(out)` to `failed(out)`."""
    new, kept = pending(out), failed(out)
    if new.is_dir():
        kept.mkdir(exist_ok=True)
        _move(new, kept, OF_FAILED, [name for name in OF_FAILED if (new / name).exists()])
        shutil.rmtree(new)


def finish_commit(out: Path) -> None:
    """Finish a commit that was cut, before a folder is read; nothing happens where there is none.

    Waits for a build that is at it. PaqaError where it cannot be finished.
    """
    deadline = time.monotonic() + WAIT_S
    while (out / COMMITTED).is_dir():
        try:
            with _locked(out):
                _roll_forward(out)
        except FolderBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_S)
        except OSError as error:
            raise PaqaError(
                f"{out}: a build was stopped while its files took their places, and this cannot be finished "
                f"({error.strerror}: {error.filename}); mend that, then run: paqa check {out}"
            ) from None


def _roll_forward(out: Path) -> None:
    """Move the files of a committed build to their places: safe to stop anywhere and to begin again."""
    new = out / COMMITTED
    if not new.is_dir():
        return
    if (new / DATA / NEW).exists():
        _exchange(new / DATA, out / DATA)
    (out / DATA / NEW).unlink(missing_ok=True)
    for earlier in (new / DATA, new / OLD):
        _keep_foreign_files(earlier, out / DATA)
    _move(new, out, TABLES, json.loads((new / MANIFEST).read_bytes()))
    _move(new, failed(out), OF_FAILED, ())
    with suppress(OSError):  # there is none, or somebody keeps files in it
        failed(out).rmdir()
    _sync(out)
    os.rename(new, pending(out))  # in one step: a part of it could not be rolled forward
    shutil.rmtree(pending(out))


def _exchange(new: Path, place: Path) -> None:
    """Put a folder in the place of another, which goes to `new` in one step where Linux can, else to OLD."""
    if os.path.lexists(place) and not _swap(new, place):
        os.rename(place, new.with_name(OLD))
    if new.is_dir() and not place.exists():
        os.rename(new, place)


def _swap(new: Path, place: Path) -> bool:
    """Exchange two paths in one step; False where the system or the file system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(place), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(place))


def _keep_foreign_files(earlier: Path, data: Path) -> None:
    """Move files that no build wrote out of an earlier `data` into the new one."""
    if earlier.is_symlink() or not earlier.is_dir():
        return
    for path in earlier.iterdir():
        if not SHARD_NAME.fullmatch(path.name) and path.suffix != ".tmp":
            os.rename(path, data / path.name)


def _move(source: Path, target: Path, names: Sequence[str], present: Sequence[str]) -> None:
    """Move the files that the source has, `present`; of the other names nothing is left in the target."""
    for name in names:
        if name not in present:
            (target / name).unlink(missing_ok=True)
        elif (source / name).exists():
            os.replace(source / name, target / name)


def _sync(path: Path) -> None:
    """Have a file, or a folder's list of names, written to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems know no fsync of folders
            raise
    finally:
        os.close(handle)
