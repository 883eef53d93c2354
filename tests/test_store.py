"""The store: complete or absent, on a disk and on any fsspec URL."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass

import pytest

from paqa.store import Store, key


@dataclass(frozen=True)
class Thing:
    a: int
    b: tuple[str, ...]


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    return Store(tmp_path / "store" if request.param == "folder" else f"memory://{tmp_path.name}")


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


def test_putting_again_changes_nothing(store):
    name = key("x")
    store.put(name, ".bin", b"1")
    store.put(name, ".bin", b"1")
    assert store.get(name, ".bin") == b"1"


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
    assert all(p.stat().st_size == 200_000 for p in found)
