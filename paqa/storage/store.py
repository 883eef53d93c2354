"""Content-addressed objects, local or on any fsspec URL: the only resume rule.

A key is a digest of everything that decides the content, so an object is never rewritten with other bytes:
one that exists is complete and right. Writes go to a temporary name and are renamed. An object ends with a
line that holds the SHA-256 of what is before it: one that was cut or changed on the disk is found when it is
read, removed, and made again. Decoders of FLAC stop before that line; `head -n -1` shows a JSON object
without it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from paqa.errors import DamagedObject, DiskFull, MissingObject
from paqa.storage.filesystems import filesystem
from paqa.storage.redact import refuse_secrets

P = ParamSpec("P")
R = TypeVar("R")
SEAL = b"\npaqa sha256 "  # and 64 hex digits and a newline, at the end of every object
SEALED = len(SEAL) + 65  # bytes that an object has more than its data
READS = 6  # until an object with a wrong seal counts as damaged: a read may be cut where the object is not
PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0)  # seconds before another try at a store that answers with an error
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LASTING = FULL | {  # errors that another try does not mend
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP,
}  # fmt: skip
LASTING_KINDS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
# protocols under which an object appears whole or not at all
WHOLE_PUTS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "hf", "memory"}
TEMPORARY = ".tmp"  # the folder, in the store, of what is being written
FAR = 16  # objects asked for at once where each answer takes its time
STALE_SECONDS = 86_400  # after which nobody is writing to a temporary file any more


def key(*parts: Any) -> str:
    """A SHA-256 in hex of the parts (strings, numbers, lists, dicts, dataclasses), canonically encoded."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_transient(error: BaseException | None) -> bool:
    """Whether an error may be gone in a moment: of disk and network, not a wrong path or no room."""
    return isinstance(error, OSError) and not isinstance(error, LASTING_KINDS) and error.errno not in LASTING


class Store:
    """Objects by key and suffix, e.g. `abc/abcd….flac`; safe for any number of writers.

    An error that may pass is tried again for some seconds; then it is an OSError, of whatever kind the
    store's own was.
    """

    def __init__(self, url: str | Path):
        """`url` is a local folder, or anything fsspec opens (`s3://bucket/prefix`); workers must reach it."""
        self.url = refuse_secrets(str(url), "--store")
        self.local = "://" not in self.url
        self.width = 1 if self.local else FAR  # how many objects to ask for at once
        self.root = self.url.rstrip("/")
        if not self.local:
            self.fs, root = filesystem(self.url)
            self.root = root.rstrip("/")
            protocol = self.fs.protocol
            self.whole = not WHOLE_PUTS.isdisjoint([protocol] if isinstance(protocol, str) else protocol)

    def _path(self, key: str, suffix: str) -> str:
        return f"{self.root}/{key[:3]}/{key}{suffix}"  # stores without seals, of early versions, had key[:2]

    def has(self, key: str, suffix: str) -> bool:
        """Whether the object exists, and so is complete."""
        path = self._path(key, suffix)
        if self.local:
            return os.path.exists(path)
        try:
            self._retried(self.fs.info, path)  # fsspec's own `exists` takes every error for an absence
            return True
        except FileNotFoundError:
            return False

    def has_each(self, keys: Sequence[str], suffix: str) -> list[bool]:
        """For each key whether the object exists; a store that is far is asked about many at once."""
        if self.local:
            return [self.has(key, suffix) for key in keys]
        with ThreadPoolExecutor(self.width) as pool:
            return list(pool.map(self.has, keys, repeat(suffix)))

    def get(self, key: str, suffix: str) -> bytes:
        """The object's bytes. Raises MissingObject (a KeyError) where there is none, and DamagedObject."""
        path = self._path(key, suffix)
        try:
            data = self._whole(path)
        except FileNotFoundError:
            raise MissingObject(
                f"no object {key}{suffix} in {self.url}; "
                "if somebody pruned the store, build again and it is made anew"
            ) from None
        if data is None:
            self._remove(path)
            raise DamagedObject(
                f"{path} was damaged: its bytes are not those that were written; it has been removed"
            )
        return data

    def put(self, key: str, suffix: str, data: bytes) -> None:
        """Write the object whole or not at all; DiskFull where there is no room."""
        path = self._path(key, suffix)
        self._retried(self._put, path, sealed(data))

    def remove(self, key: str, suffix: str) -> None:
        """Remove the object; nothing happens where there is none."""
        self._remove(self._path(key, suffix))

    def get_json(self, key: str, kind: Any) -> Any:
        """A `.json` object as the dataclass (or other type) `kind`."""
        return msgspec.json.decode(self.get(key, ".json"), type=kind)

    def put_json(self, key: str, content: Any) -> None:
        """Store a dataclass (or a list of them) as a `.json` object."""
        self.put(key, ".json", msgspec.json.encode(content))

    def verified(self) -> Iterator[tuple[str, bool]]:
        """The path of every object, and whether it is whole; those that are not are removed."""
        for path in self._objects():
            try:
                whole = self._whole(path) is not None
            except FileNotFoundError:  # removed meanwhile
                continue
            if not whole:
                self._remove(path)
            yield path, whole

    def remove_stale(self) -> None:
        """Remove what writers that were killed a day ago or earlier have left."""
        if self.local:
            remove_stale(Path(self.root, TEMPORARY), STALE_SECONDS)
        elif not self.whole:
            folder = f"{self.root}/{TEMPORARY}"
            if not self._retried(self.fs.exists, folder):
                return
            for path in self._retried(self.fs.find, folder):
                if time.time() - self._retried(self.fs.modified, path).timestamp() > STALE_SECONDS:
                    self._remove(path)

    def _objects(self) -> Iterator[str]:
        """The paths of all objects, in order."""
        if self.local:
            yield from map(str, sorted(Path(self.root).glob("???/*")))
        else:
            for path in self._retried(self.fs.find, self.root):
                if len(path.split("/")[-2]) == 3:
                    yield path

    def _whole(self, path: str) -> bytes | None:
        """What an object holds without its seal; None where they do not fit, however often it is read."""
        for _ in range(READS):
            data = unsealed(self._retried(self._read, path))
            if data is not None:
                return data
        return None

    def _read(self, path: str) -> bytes:
        return Path(path).read_bytes() if self.local else self.fs.cat_file(path)

    def _put(self, path: str, data: bytes) -> None:
        temporary = f"{self.root}/{TEMPORARY}/{uuid.uuid4().hex}.tmp"
        if self.local:
            write_atomically(Path(path), data, Path(temporary))
        elif self.whole:
            self.fs.pipe_file(path, data)
        else:
            for folder in (os.path.dirname(path), os.path.dirname(temporary)):
                self.fs.makedirs(folder, exist_ok=True)
            self.fs.pipe_file(temporary, data)
            self.fs.mv(temporary, path)

    def _remove(self, path: str) -> None:
        """Remove a file that may be gone already."""
        with suppress(FileNotFoundError):
            os.unlink(path) if self.local else self._retried(self.fs.rm_file, path)

    def _retried(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the store, and again after errors that are transient; raises OSError or DiskFull."""
        caught = OSError if self.local else Exception  # fsspec's backends raise what their libraries raise
        for pause in (*PAUSES, None):
            try:
                return call(*args, **kwargs)
            except DiskFull:
                raise
            except caught as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise _full(self.url, error) from None
                if isinstance(error, OSError) and (pause is None or not is_transient(error)):
                    raise
                if pause is None:
                    raise OSError(errno.EIO, f"{type(error).__name__}: {error}", self.url) from error
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")


def sealed(data: bytes) -> bytes:
    """An object as it is stored: the data and the line with their SHA-256."""
    return data + _seal(data)


def unsealed(stored: bytes) -> bytes | None:
    """The data of an object as it is stored; None where they are not what was sealed."""
    data = stored[: max(len(stored) - SEALED, 0)]
    return data if stored[len(data) :] == _seal(data) else None


def _seal(data: bytes) -> bytes:
    return SEAL + hashlib.sha256(data).hexdigest().encode() + b"\n"


def write_atomically(path: Path, data: bytes, temporary: Path | None = None) -> None:
    """Write a file so that nobody ever sees half of it; DiskFull where there is no room."""
    with atomic_file(path, temporary, len(data)) as unfinished:
        unfinished.write_bytes(data)


@contextmanager
def atomic_file(path: Path, temporary: Path | None = None, size: int | None = None) -> Iterator[Path]:
    """A temporary file to write to, which becomes `path` at the end; nothing is left of it where that fails.

    DiskFull where there is no room for it, whose message holds the `size` in bytes, where it is known.
    """
    temporary = temporary or path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        for folder in {path.parent, temporary.parent}:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise _full(path.parent, error, size) from None
        raise


def _full(folder: str | Path, error: OSError, size: int | None = None) -> DiskFull:
    """The error for a folder without room for `size` bytes."""
    problem = error.strerror or "no room"
    if os.path.isdir(folder):
        problem += f", {shutil.disk_usage(folder).free:,} bytes are free"
    if size is not None:
        problem += f", {size:,} bytes were to be written"
    return DiskFull(
        f"{folder}: {problem}; make room there (or name another --out or --store) and run the same command "
        "again: what was finished is kept"
    )


def remove_stale(folder: Path, older: float = 0) -> None:
    """Remove a folder's temporary files that have not been written to for so many seconds."""
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            if path.suffix == ".tmp" and time.time() - path.stat().st_mtime >= older:
                path.unlink()
        except FileNotFoundError:  # whoever wrote it has renamed it
            continue
