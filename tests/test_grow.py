"""Builds that grow: earlier rows stay byte for byte, what is new is asked about, and nothing is composed twice."""

import shutil

import pyarrow.parquet as pq
import pytest
from conftest import build, paqa

from paqa import shard


@pytest.fixture
def grown(built, corpus, tmp_path):
    """A copy of the finished build over a corpus with one more recording."""
    more = tmp_path / "corpus"
    shutil.copytree(corpus, more, symlinks=True)
    (more / "recordings" / "sheep.flac").write_bytes((more / "demo" / "sounds" / "sheep-01.flac").read_bytes())
    shutil.copytree(built.out, tmp_path / "small")
    return build(more / "small.toml", tmp_path / "small", "--store", built.store, "--grow")


def rows(out):
    return {row["id"]: row for row in shard.rows(out)}


def test_earlier_rows_stay_and_only_the_new_clip_adds_some(built, grown):
    before, after = rows(built.out), rows(grown.out)
    assert {name: after[name] for name in before} == before
    added = {row["clip_id"] for name, row in after.items() if name not in before}
    assert added == {"sheep.flac"}
    assert grown.summary["clips"] == built.summary["clips"] + 1
    assert grown.heard == dict.fromkeys(grown.heard, 1)


def test_growing_by_nothing_changes_no_byte(built, corpus, tmp_path):
    shutil.copytree(built.out, tmp_path / "small")
    again = build(corpus / "small.toml", tmp_path / "small", "--store", built.store, "--grow")
    assert again.shards == built.shards
    assert pq.read_table(again.out / "quarantine.parquet") == pq.read_table(built.out / "quarantine.parquet")


def test_there_must_be_something_to_grow(corpus, tmp_path):
    done = paqa("build", corpus / "small.toml", "--out", tmp_path / "none", "--grow", check=False)
    assert done.returncode == 2
    assert "holds no finished build" in done.stderr
    assert "without --grow" in done.stderr
