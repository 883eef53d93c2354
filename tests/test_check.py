"""`paqa check` against what was done to a finished build: each is one line that says what to run next."""

import json
import shutil
from dataclasses import replace

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builds import make

from paqa.dataset import check, shards, summary
from paqa.errors import PaqaError
from paqa.publish import hub
from paqa.version import __version__


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make(tmp_path_factory.mktemp("build") / "whole", clips=3)


@pytest.fixture
def out(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def rewritten(path, change):
    """A shard with other rows, under its name; build.json is made to list it."""
    rows = list(change(pq.read_table(path).to_pylist()))
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)
    out = path.parents[1]
    done = summary.load(out)
    done = replace(done, files=done.files | {f"data/{path.name}": hub.digest(path)})
    rows = sum(pq.read_metadata(p).num_rows for p in shards.files(out))
    (out / "build.json").write_bytes(msgspec.json.encode(replace(done, items=rows)))


def test_nothing_is_wrong_with_a_whole_build(out):
    assert check.check(out).problems == []


def test_shards_alone_are_a_build_without_recipe_too(out):
    for name in ("build.json", "recipe.json"):
        (out / name).unlink()
    assert check.check(out).problems == []


def test_a_shard_that_is_gone_is_missed(out):
    path = shards.files(out)[0]
    path.unlink()
    (problem,) = check.check(out).problems
    assert problem.startswith(
        f"data/{path.name} is missing, build.json lists it; run: paqa build RECIPE.toml --out {out}"
    )


def test_a_shard_of_another_build_is_a_stranger(out):
    path = shards.files(out)[0]
    other = path.with_name("train-0123456789abcdef.parquet")
    other.write_bytes(path.read_bytes())
    problems = check.check(out).problems
    assert f"data/{other.name} is not of this build: build.json does not list it; remove it" in problems


@pytest.mark.parametrize("name", ["recipe.json", "clips.parquet", "quarantine.parquet"])
def test_a_table_of_another_build_is_noticed(out, name):
    """As a build that failed left its recipe and quarantine beside the shards of the one before."""
    path = out / name
    if name == "recipe.json":
        path.write_bytes(msgspec.json.encode(json.loads(path.read_bytes()) | {"name": "other"}))
    else:
        pq.write_table(pq.read_table(path), path, compression="none")
    (problem,) = check.check(out).problems
    assert problem.startswith(f"{name} has changed: its SHA-256 is ")
    assert "run: paqa build" in problem
    with pytest.raises(PaqaError, match=rf"not those of one build: {name} has changed"):
        hub.plan(out, "somebody/made", hub.connect("http://127.0.0.1:9"))


def test_a_build_without_its_figures_was_not_finished(out):
    (out / "build.json").unlink()
    (problem,) = check.check(out).problems
    assert problem.startswith("build.json is missing beside recipe.json")


def test_figures_of_other_rows_are_noticed(out):
    done = summary.load(out)
    (out / "build.json").write_bytes(msgspec.json.encode(replace(done, items=done.items + 1)))
    (problem,) = check.check(out).problems
    assert f"data has {done.items} rows, build.json counts {done.items + 1}" in problem


@pytest.mark.parametrize(
    ("column", "value"),
    [("question", "Who else?"), ("difficulty", 0.9), ("audio_dependence", 0.5), ("key", "f" * 64)],
)
def test_keys_are_those_of_the_rows(out, column, value):
    path = shards.files(out)[0]
    rewritten(path, lambda rows: [rows[0] | {column: value}, *rows[1:]])
    first = next(shards.rows_of(path, ["id"]))["id"]
    keys = [p for p in check.check(out).problems if p.startswith(f"{first}: key ")]
    assert len(keys) == 1
    assert "is not that of its columns and audio" in keys[0]
    rewritten(path, lambda rows: [row | {"paqa_version": f"{__version__}.dev9"} for row in rows])
    assert not [p for p in check.check(out).problems if ": key " in p]  # of another version nothing is known


def test_a_key_is_that_of_the_audio(out):
    path = shards.files(out)[0]
    sound = next(r["audio"] for r in shards.rows(out, ["audio", "clip_id"]) if r["clip_id"] != "clip 0000")
    rewritten(path, lambda rows: [row | {"audio": sound} for row in rows])
    assert any("is not that of its columns and audio" in p for p in check.check(out).problems)


def test_a_shard_has_the_name_of_its_rows(out):
    path = shards.files(out)[0]
    rewritten(path, lambda rows: rows[1:])
    (problem,) = check.check(out).problems
    assert problem.startswith(f"{path.name}: its rows make the name {path.name.partition('-')[0]}-")


def test_rows_are_in_order_and_of_the_split_of_their_shard(out):
    path = next(p for p in shards.files(out) if p.name.startswith("train-"))
    rewritten(path, lambda rows: [rows[-1] | {"split": "test"}, *rows[:-1]])
    problems = check.check(out).problems
    assert f"{path.name}: its rows are not in order of id; run: paqa build again" in problems
    assert any(p.startswith(f"{path.name}: 1 rows are of another split, e.g. ") for p in problems)
