"""A file's bytes are read once, and again wherever they may have changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

from paqa.storage import file_digests
from paqa.storage.store import Store


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose bytes were read."""
    names: list[str] = []
    read = file_digests.digest
    monkeypatch.setattr(file_digests, "digest", lambda path: names.append(path.name) or read(path))
    return names


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if files had been written long ago."""
    monkeypatch.setattr(file_digests, "SETTLED_NS", -1)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_bytes_are_read_once(tmp_path: Path, reads: list[str], settled: None) -> None:
    path, store = tmp_path / "a.wav", Store(str(tmp_path / "store"))
    path.write_text("one")
    assert [file_digests.file_digest(path, store) for _ in range(3)] == [sha256("one")] * 3
    assert reads == ["a.wav"]


def test_a_file_that_was_just_written_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    path, store = tmp_path / "a.wav", Store(str(tmp_path / "store"))
    for text in ("one", "two"):  # perhaps within one tick of the clock, and of one size
        path.write_text(text)
        assert file_digests.file_digest(path, store) == sha256(text)
    assert len(reads) == 2


@pytest.mark.parametrize("way", ["rewritten", "times kept", "replaced", "moved"])
def test_a_file_that_may_have_changed_is_read_again(
    tmp_path: Path, way: str, reads: list[str], settled: None
) -> None:
    path, store = tmp_path / "a.wav", Store(str(tmp_path / "store"))
    path.write_text("one")
    file_digests.file_digest(path, store)
    before = path.stat()
    time.sleep(0.02)  # more than a tick
    if way == "replaced":
        other = tmp_path / "b.wav"
        other.write_text("two")
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(path)
    elif way == "moved":
        shutil.move(path, tmp_path / "c.wav")
        path = tmp_path / "c.wav"
    else:
        path.write_text("two")
    if way == "times kept":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_digests.file_digest(path, store) == sha256("one" if way == "moved" else "two")
    assert len(reads) == 2


def test_a_store_elsewhere_is_not_asked(tmp_path: Path, reads: list[str], settled: None) -> None:
    path, store = tmp_path / "a.wav", Store("memory://digests")
    path.write_text("one")
    assert [file_digests.file_digest(path, store) for _ in range(2)] == [sha256("one")] * 2
    assert len(reads) == 2
    assert not list(store.fs.find("/digests"))
