"""Builds that grow: earlier rows stay byte for byte, what is new is asked about, and nothing is composed
twice.
"""

import json
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from builds import make
from conftest import build, paqa
from test_labels import clip

from paqa.config.recipe import MixConfig, QuestionsConfig, SourceConfig
from paqa.curation.answer_balance import Survey, elsewhere
from paqa.dataset import open_build, shards
from paqa.errors import PaqaError
from paqa.pipeline import growth
from paqa.types import Quarantined


@pytest.fixture
def grown(built, corpus, tmp_path):
    """A copy of the finished build over a corpus with one more recording, and a copy of one that it has."""
    more = tmp_path / "corpus"
    shutil.copytree(corpus, more, symlinks=True)
    (more / "recordings" / "cow.flac").write_bytes((more / "demo" / "sounds" / "cow-02.flac").read_bytes())
    (more / "recordings" / "a-copy.flac").write_bytes((more / "recordings" / "dog-01.flac").read_bytes())
    shutil.copytree(built.out, tmp_path / "small")
    return build(more / "small.toml", tmp_path / "small", "--store", built.store, "--grow")


def rows(out):
    return {row["id"]: row for row in shards.rows(out)}


def test_earlier_rows_stay_and_only_the_new_clip_adds_some(built, grown):
    before, after = rows(built.out), rows(grown.out)
    assert {name: after[name] for name in before} == before
    added = {row["clip_id"] for name, row in after.items() if name not in before}
    assert added == {"cow.flac"}
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


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A finished build that can grow, without engines."""
    out = make(tmp_path_factory.mktemp("earlier") / "made", clips=3)
    growth.save(out, Survey(), [])
    return out


@pytest.fixture
def recipe(earlier):
    return replace(open_build.open_build(earlier)[0], mix=())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed is 1, was 0"),
        (
            {"questions": QuestionsConfig(4, open_rate=0.3, reflect=0.5, none_rate=0.2)},
            "questions.none_rate is 0.2, was 0.1",
        ),
        (
            {"sources": (SourceConfig("voices", "jsonl", "there"),)},
            "sources.voices.type is jsonl, was folder",
        ),
        ({"sources": ()}, "sources.voices.name is not there, was voices"),
        ({"profile": "paper"}, "profile is paper, was embedded"),
    ],
)
def test_another_recipe_is_refused_and_its_keys_are_named(earlier, recipe, change, said):
    with pytest.raises(
        PaqaError, match=r"the recipe is not that of the build in .*or run once more without --grow"
    ) as e:
        growth.load(earlier, replace(recipe, **change))
    assert said in str(e.value)


def test_a_recipe_may_grow_too(earlier, recipe):
    """Sources and mixes are added, folders move, and what does not decide about rows changes."""
    (voices,) = recipe.sources
    sources = (replace(voices, path="elsewhere", limit=9), SourceConfig("more.of_them", "folder", "more"))
    gates = replace(recipe.gates, max_quarantined=0.9)
    grown = replace(
        recipe,
        name="grown",
        description="x",
        folder="y",
        sources=sources,
        gates=gates,
        mix=(MixConfig("mix", 3),),
    )
    assert growth.load(earlier, grown).clips == {c.id: c.sha256 for c in open_build.open_build(earlier)[2]}
    assert list(growth.changed(grown, replace(grown, mix=(MixConfig("mix", 9),)))) == []
    assert list(growth.changed(grown, replace(grown, mix=(MixConfig("mix", 3, overlap=0.5),))))


def test_a_row_that_would_be_lost_or_changed_ends_the_build(earlier, recipe):
    known = growth.load(earlier, recipe)
    items = [shards.item(row) for row in shards.rows(earlier)]
    added = replace(items[0], id="new", key="0" * 64)
    known.stays([*items, added], [], earlier)
    last = max(items, key=lambda item: item.id)
    rest = [item for item in items if item is not last]
    with pytest.raises(
        PaqaError, match=rf"1 of {len(items)} rows .* e\.g\. {last.id} \(no source has its clip"
    ):
        known.stays(rest, [], earlier)
    with pytest.raises(PaqaError, match=rf"{last.id} \(what is heard or asked about its clip has changed"):
        known.stays([*rest, replace(last, key="0" * 64)], [], earlier)
    why = Quarantined(last.clip_id, "hear", "engine_failed", "the engine crashed", "")
    with pytest.raises(PaqaError, match=r"\(the engine crashed\); it was left as it is"):
        known.stays(rest, [why], earlier)


def test_a_build_with_a_shard_missing_cannot_grow(earlier, recipe, tmp_path):
    shutil.copytree(earlier, tmp_path / "out")
    shards.files(tmp_path / "out")[0].unlink()
    with pytest.raises(PaqaError, match=r"--grow: .* is missing, build\.json lists it"):
        growth.load(tmp_path / "out", recipe)


def test_clips_are_known_by_the_recording_that_is_heard(earlier, recipe):
    known = growth.load(earlier, recipe)
    (clip, *_) = open_build.open_build(earlier)[2]
    (origin,) = clip.origins
    assert known.holds(replace(clip, id="as material", groups=("other",)))
    assert not known.holds(replace(clip, origins=(replace(origin, recording="a copy"),)))


def test_wrong_translations_stay_however_often_a_build_grows(tmp_path):
    clips = [clip(n) for n in range(1, 121, 2)]
    told, earlier = {}, None
    for size in (20, 40, 60):
        own = clips[:size]
        others = elsewhere(own, Survey(), earlier.generations if earlier else ())
        assert {name: others[name].foreign for name in told} == told
        told = {name: one.foreign for name, one in others.items()}
        growth.save(tmp_path, Survey(), [], own, earlier)
        counts = json.loads((tmp_path / "survey.json").read_text())
        earlier = growth.Earlier(
            Survey(), {}, {}, {c.id: c.sha256 for c in own}, added=tuple(counts["added"])
        )
    assert [len(ids) for ids in counts["added"]] == [20, 20]
    counted_anew = elsewhere(clips, Survey())
    assert any(counted_anew[name].foreign != texts for name, texts in told.items())
