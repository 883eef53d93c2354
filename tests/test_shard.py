"""Items to Parquet and back: features, names, cuts, and audio that is stored once."""

import hashlib
import json
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from paqa.audio import digest, flac, quantize, read_flac
from paqa.config.recipe import ShardConfig
from paqa.dataset import shards
from paqa.errors import PaqaError
from paqa.storage.store import digest as digest_of
from paqa.storage.store import key
from paqa.types import Audio, Clip, Event, Evidence, HeardBy, Item, Quarantined, Scene, Turn

RATE = 16000
DEFAULT = ShardConfig()


def sound(seed, seconds=2.0):
    noise = np.random.default_rng(seed).normal(0, 0.1, (1, int(seconds * RATE)))
    return Audio(quantize(noise.astype(np.float32)), RATE)


def clip(name, audio, split="train"):
    return Clip(
        name, f"{name}.wav", digest(audio), audio.duration_ms, RATE, "c", "src", "CC0-1.0", (name,), split
    )


def item(clip, n):
    scene = Scene(
        clip.id,
        clip.duration_ms,
        (Turn(0, 500, 1, "Hello <there>"),),
        (),
        (Event(0, 900, "Dog", "/m/0bt9lr", 0.5),),
    )
    row = Item(
        f"{clip.id}:t:{n}", clip.id, "What?", ("a", "b"), "b", 1, "sounds", "t", "<THINK>", scene,
        (Evidence("turn", 0),),
        False, None, None, clip.source, clip.license, clip.groups, clip.split, "truth",
        (HeardBy("tag", "yamnet", "1"),), "0" * 64,
    )  # fmt: skip
    return replace(row, key=key(row))


@pytest.fixture(scope="module")
def made():
    audio = {f"clip-{i:03d}": sound(i) for i in range(12)}
    clips = [clip(n, a, "test" if i % 4 == 0 else "train") for i, (n, a) in enumerate(audio.items())]
    return clips, [item(c, n) for c in clips for n in range(5)], {digest(a): flac(a) for a in audio.values()}


def write(tmp_path, made, config=DEFAULT):
    clips, items, store = made
    plans = shards.plan(items, clips, config)
    for plan in plans:
        shards.write(plan, tmp_path / "data", config, store.__getitem__, RATE)
    return plans


def test_what_is_written_is_read_back(tmp_path, made):
    write(tmp_path, made)
    clips, items, store = made
    rows = {row["id"]: row for row in shards.rows(tmp_path)}
    assert {name: shards.item(row) for name, row in rows.items()} == {i.id: i for i in items}
    by_id = {c.id: c for c in clips}
    for row in rows.values():
        assert row["audio"]["bytes"] == store[by_id[row["clip_id"]].sha256]
        assert digest(read_flac(row["audio"]["bytes"])) == by_id[row["clip_id"]].sha256


def test_features_name_audio_and_every_column(tmp_path, made):
    write(tmp_path, made)
    schema = pq.read_schema(shards.files(tmp_path)[0])
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["audio"] == {"sampling_rate": RATE, "_type": "Audio"}
    assert list(features) == schema.names
    assert set(features) - {"audio"} == set(Item.__dataclass_fields__)
    assert features["choices"] == [{"dtype": "string", "_type": "Value"}]
    assert features["evidence"][0]["index"] == {"dtype": "int64", "_type": "Value"}
    assert kinds(features) == {"Audio", "Value"}  # "List" is unknown to datasets before version 4


def kinds(feature):
    """All names of feature types."""
    inner = (
        feature if isinstance(feature, list) else [v for v in feature.values() if isinstance(v, dict | list)]
    )
    named = (
        {feature["_type"]} if isinstance(feature, dict) and isinstance(feature.get("_type"), str) else set()
    )
    return named.union(*map(kinds, inner))


def test_datasets_loads_every_value(tmp_path, made):
    """As pyarrow reads it; benchmarks/readers.py asks other versions of datasets."""
    datasets = pytest.importorskip("datasets")
    write(tmp_path, made)
    files = [str(path) for path in shards.files(tmp_path)]
    loaded = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    rows = {row["id"]: row for row in loaded.cast_column("audio", datasets.Audio(decode=False))}
    assert rows == {row["id"]: row for row in shards.rows(tmp_path)}


def test_a_clip_is_stored_once_whatever_is_asked_about_it(tmp_path, made):
    write(tmp_path, made)
    stored = sum(p.stat().st_size for p in shards.files(tmp_path))
    assert stored < 1.5 * sum(map(len, made[2].values()))


def test_row_groups_are_bounded_as_a_reader_unpacks_them(tmp_path, made):
    write(tmp_path, made, ShardConfig(row_group_mb=1))
    for path in shards.files(tmp_path):
        file = pq.ParquetFile(path)
        for i in range(file.num_row_groups):
            assert sum(len(a["bytes"].as_py()) for a in file.read_row_group(i)["audio"]) <= 1_000_000


def test_same_items_same_names_and_bytes(tmp_path, made):
    first, again = write(tmp_path / "a", made), write(tmp_path / "b", made)
    assert [p.name for p in first] == [p.name for p in again]
    for plan in first:
        assert (tmp_path / "a/data" / plan.name).read_bytes() == (
            tmp_path / "b/data" / plan.name
        ).read_bytes()


def test_a_new_clip_leaves_most_files_alone():
    clips = [clip(f"c{i:04d}", Audio(np.zeros((1, 1), np.float32), RATE)) for i in range(1000)]
    clips = [replace(c, duration_ms=10_000, sha256=key(c.id)) for c in clips]
    config = ShardConfig(max_mb=20)
    before = {p.name for p in shards.plan([item(c, 0) for c in clips], clips, config)}
    grown = [*clips, replace(clips[0], id="c0500x", sha256=key("new"))]
    after = {p.name for p in shards.plan([item(c, 0) for c in grown], grown, config)}
    assert len(before) > 10
    assert len(before - after) <= 2


def test_files_keep_to_the_limit_where_no_digest_cuts_them():
    ids = (f"c{i:04d}" for i in range(10_000))
    ids = [i for i in ids if int(hashlib.sha256(i.encode()).hexdigest(), 16) % 16][:200]  # of these none does
    clips = [replace(clip(i, Audio(np.zeros((1, 1), np.float32), RATE)), duration_ms=10_000) for i in ids]
    plans = shards.plan([item(c, n) for c in clips for n in range(3)], clips, ShardConfig(max_mb=5))
    sizes = [len(p.items) * shards.ROW_BYTES + len(p.clips) * 10 * RATE * 2 for p in plans]
    assert sum(len(p.items) for p in plans) == 600
    assert max(sizes) <= 5_000_000
    assert min(sizes[:-1]) > 4_000_000  # and are filled


def test_shards_on_the_disk_keep_to_the_limit(tmp_path):
    sounds = [sound(seed, 8.0) for seed in range(24)]
    clips = [clip(f"clip-{i:03d}", audio) for i, audio in enumerate(sounds)]
    store = {digest(audio): flac(audio) for audio in sounds}
    plans = write(
        tmp_path, (clips, [item(c, 0) for c in clips], store), ShardConfig(max_mb=1, row_group_mb=1)
    )
    assert len(plans) > 3
    assert max(p.stat().st_size for p in shards.files(tmp_path)) <= 1_000_000


def test_a_shard_of_an_earlier_build_is_taken_over_only_where_it_is_whole(tmp_path, made):
    (first, *_) = write(tmp_path, made)
    path, new = tmp_path / "data" / first.name, tmp_path / "new"
    new.mkdir()
    sha256 = digest_of(path)
    assert not shards.take_over(path.with_name("train-0.parquet"), new, sha256)
    assert shards.take_over(path, new, sha256)
    assert (new / first.name).samefile(path)
    (new / first.name).unlink()
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:1000] + bytes(len(whole) - 2000) + whole[-1000:], b""):
        path.write_bytes(damaged)
        assert not shards.take_over(path, new, sha256)
        assert not list(new.iterdir())


def test_splits_have_files_of_their_own(made):
    plans = shards.plan(made[1], made[0], ShardConfig())
    assert {p.split for p in plans} == {"train", "test"}
    for plan in plans:
        assert plan.name.startswith(f"{plan.split}-")
        assert {i.split for i in plan.items} == {plan.split}


def test_quarantine_round_trip(tmp_path):
    rows = [Quarantined("a", "ingest", "silent", "a.wav is silent", "f" * 64)]
    shards.write_table(tmp_path / "quarantine.parquet", Quarantined, rows)
    assert shards.quarantined(tmp_path) == rows


def test_an_empty_quarantine_still_has_its_columns(tmp_path):
    shards.write_table(tmp_path / "quarantine.parquet", Quarantined, [])
    assert pq.read_schema(tmp_path / "quarantine.parquet").names == list(Quarantined.__dataclass_fields__)


def test_a_broken_shard_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-x.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(PaqaError, match=r"train-x\.parquet"):
        list(shards.rows(tmp_path))


def test_a_row_of_another_shape_is_named(made):
    row = msgspec.to_builtins(made[1][0])
    row["answer_index"] = "one"
    with pytest.raises(PaqaError, match=r"clip-000:t:0.*answer_index"):
        shards.item(row)


def test_rows_are_in_order_of_id_whatever_came_first(tmp_path, made):
    clips, items, store = made
    write(tmp_path / "a", made)
    write(tmp_path / "b", (clips[::-1], items[::-1], store))
    for folder in ("a", "b"):
        for path in shards.files(tmp_path / folder):
            ids = [row["id"] for row in pq.read_table(path, columns=["id"]).to_pylist()]
            assert ids == sorted(ids)
    names = [[p.name for p in shards.files(tmp_path / folder)] for folder in ("a", "b")]
    assert names[0] == names[1]


@pytest.mark.parametrize(("max_mb", "seconds"), [(400, 2), (2, 20)])
def test_no_row_is_lost_or_doubled_wherever_files_and_row_groups_are_cut(tmp_path, made, max_mb, seconds):
    """Into row groups of one file, and into files: as a plan counts, 20 s are 640 kB."""
    clips, items, store = made
    clips = [replace(c, duration_ms=1000 * seconds) for c in clips]
    plans = write(tmp_path, (clips, items, store), ShardConfig(max_mb=max_mb, row_group_mb=1))
    assert sorted(i.id for p in plans for i in p.items) == sorted(i.id for i in items)
    assert sorted(row["id"] for row in shards.rows(tmp_path)) == sorted(i.id for i in items)
    files = shards.files(tmp_path)
    assert sum(pq.ParquetFile(p).num_row_groups for p in files) > 3
    assert len({p.name for p in plans}) == len(plans) == len(files)
    assert (len(files) > 4) == (max_mb == 2)


def test_the_name_of_a_file_says_all_that_is_in_its_bytes(made):
    clips, items, _ = made
    name = {p.split: p.name for p in shards.plan(items, clips, DEFAULT)}["train"]
    train = next(n for n, i in enumerate(items) if i.split == "train")
    for change in ({"key": "1" * 64}, {"paqa_version": "9.9"}, {"seed": 5}):
        changed = [*items[:train], replace(items[train], **change), *items[train + 1 :]]
        plans = {p.split: p.name for p in shards.plan(changed, clips, DEFAULT)}
        assert plans["train"] != name
    assert {p.split: p.name for p in shards.plan(items, clips, ShardConfig(row_group_mb=3))}["train"] != name


def test_a_sound_that_is_lost_leaves_no_shard(tmp_path, made):
    clips, items, store = made
    (plan, *_) = shards.plan(items, clips, DEFAULT)
    some = dict(list(store.items())[:-1])
    lacking = replace(plan, clips=dict.fromkeys(plan.clips, "0" * 64))
    with pytest.raises(KeyError):
        shards.write(lacking, tmp_path, DEFAULT, some.__getitem__, RATE)
    assert list(tmp_path.iterdir()) == []


def test_light_rows_are_filled_before_they_are_written(tmp_path, made):
    clips, items, store = made
    (plan, *_) = shards.plan([replace(i, rationale="") for i in items], clips, DEFAULT)
    by_id = {i.id: i for i in items}
    shards.write(
        plan, tmp_path / "data", DEFAULT, store.__getitem__, RATE, lambda rows: (by_id[r.id] for r in rows)
    )
    assert {row["rationale"] for row in shards.rows(tmp_path)} == {"<THINK>"}


def test_sound_is_stored_as_it_is_and_all_else_compressed(tmp_path, made):
    write(tmp_path, made)
    group = pq.ParquetFile(shards.files(tmp_path)[0]).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    kinds = {c.path_in_schema: c.compression for c in columns}
    assert kinds.pop("audio.bytes") == "UNCOMPRESSED"
    assert set(kinds.values()) == {"ZSTD"}
    assert all(c.has_offset_index for c in columns)


def test_the_names_of_sounds_are_safe_file_names(tmp_path):
    audio = sound(0)
    odd = [replace(clip("x", audio), id="s/../a b:c@0.wav")]
    write(tmp_path, (odd, [item(odd[0], 0)], {digest(audio): flac(audio)}))
    (row,) = shards.rows(tmp_path)
    assert row["audio"]["path"] == "s_.._a_b_c@0.wav.flac"
    assert list(next(shards.rows(tmp_path, ["id"]))) == ["id"]
