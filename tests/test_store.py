"""The store: complete or absent, on a disk and on any fsspec URL; damage is found, errors are tried again."""

import errno
import json
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from paqa.audio import flac, quantize, read_flac
from paqa.errors import DamagedObject, DiskFull, MissingObject
from paqa.storage import store as stores
from paqa.storage.store import Store, is_transient, key, remove_stale, unsealed, write_atomically
from paqa.types import Audio


@dataclass(frozen=True)
class Thing:
    a: int
    b: tuple[str, ...]


@pytest.fixture(params=["folder", "memory", "file"])
def store(request, tmp_path):
    """On a disk, on what has whole puts as S3 has, and on what is written to by renaming."""
    urls = {
        "folder": str(tmp_path / "store"),
        "memory": f"memory://{tmp_path.name}",
        "file": f"file://{tmp_path}/far",
    }
    return Store(urls[request.param])


@pytest.fixture
def local(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(stores, "PAUSES", (0.0, 0.0))


def raw(store, name, suffix):
    return Path(store._path(name, suffix))


def test_round_trip(store):
    name = key("stage", 1)
    assert not store.has(name, ".json")
    store.put_json(name, Thing(1, ("x",)))
    assert store.has(name, ".json")
    assert store.get_json(name, Thing) == Thing(1, ("x",))
    assert not store.has(name, ".flac")


def test_a_missing_object_is_named(store):
    with pytest.raises(KeyError, match="no object"):
        store.get(key("nothing"), ".json")


@pytest.mark.parametrize("data", [b"", b"1", b"\n", bytes(1000), stores.sealed(b"sealed before")])
def test_putting_again_changes_nothing(store, data):
    name = key("x")
    store.put(name, ".bin", data)
    store.put(name, ".bin", data)
    assert store.get(name, ".bin") == data


def test_keys_depend_on_every_part_and_not_on_the_order_of_dicts():
    assert key("a", {"x": 1, "y": 2}) == key("a", {"y": 2, "x": 1})
    variants = {
        key("a", "b"),
        key("ab"),
        key("a", ["b"]),
        key("b", "a"),
        key("a", Thing(1, ())),
        key("a", Thing(2, ())),
    }
    assert len(variants) == 6


def test_an_object_opens_without_paqa(local):
    """Decoders of FLAC stop before the seal, and a JSON object is its file without the last line."""
    samples = quantize(np.random.default_rng(1).normal(0, 0.1, (1, 5000)).astype(np.float32))
    local.put(key("sound"), ".flac", flac(Audio(samples, 16000)))
    path = raw(local, key("sound"), ".flac")
    assert np.array_equal(soundfile.read(path, dtype="float32", always_2d=True)[0].T, samples)
    assert np.array_equal(read_flac(path.read_bytes()).samples, samples)
    local.put_json(key("thing"), Thing(1, ("x",)))
    first, last = raw(local, key("thing"), ".json").read_text().splitlines()
    assert json.loads(first) == {"a": 1, "b": ["x"]}
    assert last.startswith("paqa sha256 ")


def test_every_damaged_byte_and_every_cut_is_found():
    whole = stores.sealed(b"payload")
    assert unsealed(whole) == b"payload"
    for at in range(len(whole)):
        assert unsealed(whole[:at]) is None
        for bit in range(8):
            assert unsealed(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]) is None
    assert unsealed(whole + b"\0") is None


def test_a_damaged_object_is_said_once_and_then_missing(store):
    name = key("x")
    store.put(name, ".bin", b"payload")
    damaged = b"paylaod" + stores.sealed(b"payload")[7:]
    if store.local:
        raw(store, name, ".bin").write_bytes(damaged)
    else:
        store.fs.pipe_file(store._path(name, ".bin"), damaged)
    with pytest.raises(DamagedObject, match="was damaged"):
        store.get(name, ".bin")
    assert not store.has(name, ".bin")
    with pytest.raises(MissingObject, match="no object"):
        store.get(name, ".bin")


def test_verifying_reads_everything(store):
    for i in range(5):
        store.put(key(i), ".bin", bytes([i]))
    path = store._path(key(3), ".bin")
    if store.local:
        Path(path).write_bytes(b"")
    else:
        store.fs.pipe_file(path, b"")
    assert {Path(name).name: whole for name, whole in store.verified()} == {
        f"{key(i)}.bin": i != 3 for i in range(5)
    }
    assert all(whole for _, whole in store.verified())


def test_what_an_early_version_stored_is_absent_not_damaged(local):
    """Objects without seals lie in folders of two letters: they are made again."""
    old = Path(local.url, key("x")[:2], f"{key('x')}.json")
    write_atomically(old, b"{}")
    assert not local.has(key("x"), ".json")
    assert list(local.verified()) == []
    assert old.exists()


class Failing:
    """Calls through to a function, but for the first few times."""

    def __init__(self, call, *errors):
        self.call, self.errors, self.times = call, list(errors), 0

    def __call__(self, *args, **kwargs):
        self.times += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.call(*args, **kwargs)


class CloudError(Exception):
    """As botocore has them: no OSError."""


def test_errors_that_may_pass_are_tried_again(store, quick, monkeypatch):
    store.put(key("x"), ".bin", b"1")
    read = Failing(store._read, OSError(errno.EIO, "I/O error"), ConnectionResetError("by peer"))
    monkeypatch.setattr(store, "_read", read)
    assert store.get(key("x"), ".bin") == b"1"
    assert read.times == 3
    monkeypatch.setattr(store, "_put", Failing(store._put, TimeoutError("slow")))
    store.put(key("y"), ".bin", b"2")
    assert store.get(key("y"), ".bin") == b"2"


def test_a_short_read_is_no_damage(store, quick, monkeypatch):
    store.put(key("x"), ".bin", b"12345")
    whole = store._read
    short = iter([3, 80, None])
    monkeypatch.setattr(store, "_read", lambda path: whole(path)[: next(short)])
    assert store.get(key("x"), ".bin") == b"12345"
    assert store.has(key("x"), ".bin")


def test_errors_that_stay_are_raised_as_what_they_are(store, quick, monkeypatch):
    for error in (
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
    ):
        failing = Failing(store._put, error)
        monkeypatch.setattr(store, "_put", failing)
        with pytest.raises(type(error)) as raised:
            store.put(key("x"), ".bin", b"1")
        assert (raised.value, failing.times, is_transient(raised.value)) == (error, 1, False)


def test_an_error_of_a_clouds_own_kind_becomes_an_oserror(quick, monkeypatch, tmp_path):
    far = Store(f"memory://{tmp_path.name}")
    monkeypatch.setattr(far.fs, "info", Failing(far.fs.info, *[CloudError("503 Slow Down")] * 3))
    with pytest.raises(OSError, match="CloudError: 503 Slow Down") as raised:
        far.has(key("x"), ".bin")
    assert is_transient(raised.value)
    assert not far.has(key("x"), ".bin")  # and no error counts as an absence


def test_no_room_is_one_clear_line_and_nothing_torn(store, monkeypatch):
    full = Failing(None, OSError(errno.ENOSPC, "No space left on device"))
    if store.local:
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        monkeypatch.setattr(store.fs, "pipe_file", full)
    with pytest.raises(
        DiskFull, match=r"No space left on device.*; make room there .* run the same command again"
    ):
        store.put(key("x"), ".bin", b"1")
    monkeypatch.undo()
    assert full.times == 1
    assert not store.has(key("x"), ".bin")
    assert not store.local or list(Path(store.url, stores.TEMPORARY).iterdir()) == []


def test_temporary_files_of_the_dead_are_swept_when_old(tmp_path):
    for url in (str(tmp_path / "near"), f"file://{tmp_path}/far"):
        store = Store(url)
        store.put(key("x"), ".bin", b"1")
        old, new = (Path(store.root, stores.TEMPORARY, name) for name in ("old.tmp", "new.tmp"))
        for path in (old, new):
            write_atomically(path, b"half an obj")
        os.utime(old, (0, 0))
        store.remove_stale()
        assert (old.exists(), new.exists()) == (False, True)
        assert store.get(key("x"), ".bin") == b"1"
    Store(tmp_path / "none").remove_stale()


def test_a_file_is_renamed_into_its_place(local, tmp_path):
    """Whoever has opened it reads on in the old one: no byte of a file that is there is ever changed."""
    local.put(key("x"), ".bin", b"old object")
    path = tmp_path / "table.json"
    write_atomically(path, b"old table")
    with raw(local, key("x"), ".bin").open("rb") as stored, path.open("rb") as table:
        local.put(key("x"), ".bin", b"an object")
        write_atomically(path, b"a table")
        assert (unsealed(stored.read()), table.read()) == (b"old object", b"old table")
    with stores.atomic_file(path) as temporary:
        temporary.write_bytes(b"this very file")
        written = temporary.stat().st_ino
    assert path.stat().st_ino == written
    assert (local.get(key("x"), ".bin"), path.read_bytes()) == (b"an object", b"this very file")


def test_sweeping_a_folder_touches_only_temporary_files(tmp_path):
    for name in (".train-1.parquet.abc.tmp", "train-1.parquet", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    remove_stale(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt", "train-1.parquet"]


def _write_for_ever(folder):
    store = Store(folder)
    for i in range(10**9):
        store.put(key(i), ".bin", bytes(200_000))


@pytest.mark.parametrize("delay", [0.05, 0.11, 0.23])
def test_a_killed_writer_leaves_only_whole_objects(tmp_path, delay):
    process = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(tmp_path,))
    process.start()
    while not list(tmp_path.rglob("*.bin")):
        time.sleep(0.01)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    found = list(tmp_path.rglob("*.bin"))
    assert found
    assert all(unsealed(p.read_bytes()) == bytes(200_000) for p in found)
