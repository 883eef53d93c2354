"""Content-addressed objects, local or on any fsspec URL: the only resume rule.

A key is a digest of everything that decides the content, so an object is never rewritten with other bytes: one that
exists is complete and right. Writes go to a temporary name and are renamed.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import Any

import msgspec

from paqa.errors import MissingObject
from paqa.portable import without_secrets


def key(*parts: Any) -> str:
    """A SHA-256 hex digest of the parts (strings, numbers, lists, dicts, dataclasses), canonically encoded."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


class Store:
    """Objects by key and suffix, e.g. `ab/abcd….flac`; safe for any number of writers."""

    def __init__(self, url: str | Path):
        """`url` is a local folder, or anything fsspec opens (`s3://bucket/prefix`); workers must reach it."""
        self.url = without_secrets(str(url), "--store")
        self.local = "://" not in self.url
        if not self.local:
            import fsspec

            self.fs, self.root = fsspec.core.url_to_fs(self.url)

    def _path(self, key: str, suffix: str) -> str:
        root = self.url if self.local else self.root
        return f"{root.rstrip('/')}/{key[:2]}/{key}{suffix}"

    def has(self, key: str, suffix: str) -> bool:
        """Whether the object exists, and so is complete."""
        path = self._path(key, suffix)
        return os.path.exists(path) if self.local else bool(self.fs.exists(path))

    def get(self, key: str, suffix: str) -> bytes:
        """The object's bytes; MissingObject (a KeyError) where there is none."""
        path = self._path(key, suffix)
        try:
            return Path(path).read_bytes() if self.local else self.fs.cat_file(path)
        except FileNotFoundError:
            lost = f"no object {key}{suffix} in {self.url}"
            raise MissingObject(f"{lost}; if somebody pruned the store, remove it and build again") from None

    def put(self, key: str, suffix: str, data: bytes) -> None:
        """Write the object whole or not at all."""
        path = self._path(key, suffix)
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        if not self.local:
            self.fs.makedirs(os.path.dirname(path), exist_ok=True)
            self.fs.pipe_file(temporary, data)
            self.fs.mv(temporary, path)
            return
        write_atomically(Path(path), data, Path(temporary))

    def get_json(self, key: str, kind: Any) -> Any:
        """A `.json` object as the dataclass (or other type) `kind`."""
        return msgspec.json.decode(self.get(key, ".json"), type=kind)

    def put_json(self, key: str, value: Any) -> None:
        """Store a dataclass (or a list of them) as a `.json` object."""
        self.put(key, ".json", msgspec.json.encode(value))


def write_atomically(path: Path, data: bytes, temporary: Path | None = None) -> None:
    """Write a file so that nobody ever sees half of it."""
    temporary = temporary or path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
