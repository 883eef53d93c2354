"""Where every row comes from: followed back to the file, and held against the licence that the recipe
wants.
"""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import CORPUS, RECIPE, ROOT, build, paqa
from test_compose import heard
from test_walk import rows  # noqa: F401

import paqa as package
from paqa.audio import decode, digest, read_flac
from paqa.config.recipe import Recipe, SourceConfig
from paqa.dataset import check, shards
from paqa.engines.base import engine_class, package_file
from paqa.errors import PaqaError
from paqa.licensing import compatibility
from paqa.mixing.render import render
from paqa.perception import engine_runs, inference, scenes
from paqa.pipeline import ingest, worker_steps
from paqa.pipeline import rows as composing
from paqa.pipeline.recipe_files import change, for_folder, load
from paqa.pipeline.rows import compose_clip
from paqa.sources.paths import locate, root
from paqa.storage.store import Store
from paqa.types import Audio, Clip, Item

pytestmark = pytest.mark.usefixtures("uncalibrated")

RATE = 16000


@pytest.fixture(scope="module")
def items(rows):  # noqa: F811
    return [shards.item(row) for row in rows]


@pytest.fixture(scope="module")
def recipe(corpus) -> Recipe:
    return load(corpus / "small.toml")


def piece(origin, recipe):
    """The samples that an origin names, from the file alone."""
    source = next(s for s in recipe.sources if s.name == origin.corpus)
    audio = decode(locate(origin.uri, root(source, Path(recipe.folder))), recipe.audio)
    first, last = (
        ms * audio.rate // 1000 for ms in (origin.offset_ms, origin.offset_ms + origin.duration_ms)
    )
    return Audio(audio.samples[:, first:last], audio.rate)


def test_every_row_says_where_it_comes_from(items):
    for item in items:
        assert (item.seed, item.paqa_version) == (3, package.__version__)
        assert item.origins
        assert len(set(item.origins)) == len(item.origins)
        assert set(item.license.split("; ")) == {o.license for o in item.origins}
        assert set(item.source.split("; ")) == {o.source for o in item.origins}
        roles = {o.role for o in item.origins}
        assert roles == {"recording"} if item.clip_id.endswith(".flac") else roles <= {"voice", "sound"}


def test_a_row_is_followed_back_to_its_files(items, rows, recipe):  # noqa: F811
    """Every origin's file gives its digest again; a recording's is that of the row's own audio."""
    known = {}
    for item in items:
        for origin in item.origins:
            if origin not in known:
                known[origin] = digest(piece(origin, recipe))
            assert known[origin] == origin.sha256
    for item, row in zip(items, rows, strict=True):
        own = digest(read_flac(row["audio"]["bytes"]))
        assert (own == item.origins[0].sha256) == (item.origins[0].role == "recording")
    assert len(known) > 5


def test_a_composed_scene_lists_all_that_is_heard_in_it(items, rows, recipe):  # noqa: F811
    """Mixed again from the files that its rows name and nothing else, a scene has the same samples."""
    by_clip = {item.clip_id: (item, row) for item, row in zip(items, rows, strict=True)}
    material = {s.name: list(_ingested(recipe, s)) for s in recipe.sources}
    clips = {c.id: c for own in material.values() for c in own}
    again = 0
    for mixture in worker_steps.mixtures(recipe, material, []):
        if mixture.id in by_clip:
            item, row = by_clip[mixture.id]
            named = {o.sha256: piece(o, recipe) for o in item.origins}
            audio, _, _ = render(
                mixture, named.__getitem__, clips
            )  # KeyError for a placement that no origin names
            assert digest(audio) == digest(read_flac(row["audio"]["bytes"]))
            kinds = {p.sha256: "voice" if p.kind == "speech" else "sound" for p in mixture.placements}
            assert {o.sha256: o.role for o in item.origins} == kinds
            again += 1
    assert again >= 5


def _ingested(recipe: Recipe, source: SourceConfig) -> tuple[Clip, ...]:
    found, _ = ingest.gather(recipe)
    store = Store(Path(recipe.folder) / "store")
    return ingest.decode_recordings(found[source.name], source, recipe, store).clips


def test_the_weights_are_those_of_the_installed_files(items):
    for known in items[0].heard_by:
        files = [Path(package_file(w)) for w in engine_class(known.engine).weights]
        assert list(known.weights) == [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]
        assert known.weights


def test_a_key_is_of_what_a_row_says(tmp_path, monkeypatch):
    """Another version or seed that makes the same rows leaves their keys alone; shards are named after all
    bytes.
    """
    recipe, store = for_folder(tmp_path), Store(tmp_path / "store")
    clip = heard(recipe, store)
    before, _ = compose_clip(clip, recipe, store)
    monkeypatch.setattr(composing, "__version__", "99.0")
    after, _ = compose_clip(clip, recipe, store)
    assert [replace(i, paqa_version="") for i in before] == [replace(i, paqa_version="") for i in after]
    assert {i.paqa_version for i in after} == {"99.0"}
    assert before[0].key == after[0].key
    names = [{p.name for p in shards.plan(found, [clip], recipe.shard)} for found in (before, after)]
    assert names[0].isdisjoint(names[1])
    relicensed, _ = compose_clip(replace(clip, license="CC-BY-4.0"), recipe, store)
    assert relicensed[0].key != after[0].key


def test_check_finds_a_broken_lineage(items):
    whole = next(i for i in items if i.origins[0].role == "recording")

    def wrong(item: Item, samples: str | None = None, wanted: str | None = None) -> str:
        return "\n".join(check._lineage(item, samples, wanted))

    assert not wrong(whole, whole.origins[0].sha256)
    assert "another digest" in wrong(whole, "0" * 64)
    assert "no origins" in wrong(replace(whole, origins=()))
    assert "not what its origins are under" in wrong(replace(whole, license="CC-BY-4.0"))
    assert "may not be published under CC-BY-4.0: unknown" in wrong(whole, wanted="CC-BY-4.0")


def test_check_refuses_a_licence_that_the_rows_do_not_permit(built):
    done = paqa("check", built.out, "--license", "CC-BY-4.0", check=False)
    assert done.returncode == 1
    assert "may not be published under CC-BY-4.0: GPL" in done.stdout
    assert paqa("check", built.out, "--license", "CC-BY", check=False).returncode == 2


def test_show_says_where_a_row_comes_from(built, items):
    shown = paqa("show", built.out, items[0].id).stdout
    assert all(f"{o.role:<12} {o.corpus}: {o.uri} [" in shown for o in items[0].origins)
    assert f"key {items[0].key}" in shown


def test_the_card_rolls_licences_up(built, items, recipe):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.DatasetCard.load(built.out / "README.md")
    data = card.data.to_dict()
    assert (data["license"], data["license_name"], data["license_link"]) == ("other", "mixed", "LICENSE.md")
    assert (built.out / "LICENSE.md").is_file()
    clips = [check.msgspec.convert(r, Clip) for r in pq.read_table(built.out / "clips.parquet").to_pylist()]
    for share in compatibility.shares_by_license(items, clips):
        mine = [
            i
            for i in items
            if share.license in {one.id for o in i.origins for one in compatibility.parts(o.license)}
        ]
        assert (share.rows, share.clips) == (len(mine), len({i.clip_id for i in mine}))
        assert f"| {share.license} | {share.rows} | {share.clips} | {share.minutes:.1f} |" in card.text
    torn = [i for i in items if compatibility.common(compatibility.texts(i)) is None]
    assert f"For {len(torn)} rows no one licence does that either" in card.text
    named = (built.out / "LICENSE.md").read_text()
    assert all(o.license in named for i in items for o in i.origins)
    assert built.summary["by_license"] == {
        s.license: s.rows for s in compatibility.shares_by_license(items, clips)
    }
    assert built.summary["license"] is None


TONES = {"free.wav": "CC0-1.0", "by.wav": "CC-BY-3.0", "nc.wav": "CC-BY-NC-4.0", "who.wav": None}


@pytest.fixture
def licensed(tmp_path):
    """A folder of four recordings under four licences, and its recipe."""
    lines = []
    for i, (name, license) in enumerate(TONES.items()):
        noise = np.random.default_rng(i).normal(0, 0.1, 2 * RATE)
        soundfile.write(tmp_path / name, noise, RATE)
        event = {"label": "Dog", "mid": "/m/0bt9lr", "start_ms": 0, "end_ms": 2000}
        row = {"id": name, "path": name, "events": [event]} | ({"license": license} if license else {})
        lines.append(json.dumps(row))
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    source = '[[sources]]\nname = "own"\ntype = "jsonl"\npath = "list.jsonl"\n'
    (tmp_path / "r.toml").write_text(f'name = "r"\n{source}')
    return load(tmp_path / "r.toml")


def test_without_a_target_everything_may_go_in(licensed):
    found, lost = ingest.gather(licensed)
    assert ([r.id for r in found["own"]], lost) == (list(TONES), [])


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("CC0-1.0", ["free.wav"]),
        ("CC-BY-4.0", ["free.wav", "by.wav"]),
        ("cc-by-nc-4.0", ["free.wav", "by.wav", "nc.wav"]),
    ],
)
def test_what_the_target_does_not_permit_is_quarantined_before_anything_is_decoded(licensed, target, kept):
    found, lost = ingest.gather(change(licensed, [f"license={target}"]))
    assert [r.id for r in found["own"]] == kept
    assert {(q.id, q.stage, q.reason) for q in lost} == {
        (n, "source", "license") for n in TONES if n not in kept
    }
    assert all(f"{q.id} may not go into a dataset under {target}: " in q.detail for q in lost)
    assert any("say which licence it is (`license` of the row or of its source)" in q.detail for q in lost)


def test_what_the_source_states_of_its_rows_counts(licensed):
    config = replace(licensed.sources[0], license="CC0-1.0")
    found, lost = ingest.gather(replace(licensed, sources=(config,), license="CC-BY-4.0"))
    assert [r.id for r in found["own"]] == ["free.wav", "by.wav", "who.wav"]
    assert [q.id for q in lost] == ["nc.wav"]


def test_a_source_of_which_nothing_may_go_in_ends_the_build_at_its_start(licensed, no_engines):
    lines = [
        line for line in (Path(licensed.folder) / "list.jsonl").read_text().splitlines() if "nc.wav" in line
    ]
    (Path(licensed.folder) / "list.jsonl").write_text("\n".join(lines))
    with pytest.raises(
        PaqaError, match=r"'own': none of its 1 recordings .* CC-BY-4.0, e.g. nc.wav \(CC-BY-NC-4.0:"
    ):
        ingest.gather(change(licensed, ["license=CC-BY-4.0"]))
    out = Path(licensed.folder) / "out"
    recipe = Path(licensed.folder) / "r.toml"
    done = paqa("build", recipe, "--out", out, "--set", "license=CC-BY-4.0", check=False, **no_engines)
    assert done.returncode == 2
    assert 'or set license = "CC-BY-NC-4.0" in the recipe' in done.stderr
    assert not (out / "data").exists()


def test_an_unknown_target_is_refused_with_the_recipe(licensed):
    with pytest.raises(PaqaError, match="license: 'free' is not known"):
        change(licensed, ["license=free"])


def test_a_build_under_a_target(corpus, built, tmp_path):
    """Of the corpus that `built` is made of, what the target does not permit is out, and the rest is a
    dataset.
    """
    path = 'path = "recordings"\n'
    (corpus / "target.toml").write_text(
        f'license = "GPL-3.0-only"\n{RECIPE}'.replace(path, f'{path}license = "MIT"\n')
    )
    hub = pytest.importorskip("huggingface_hub")
    done = build(corpus / "target.toml", tmp_path / "target", "--store", built.store)
    found = [shards.item(row) for row in shards.rows(done.out)]
    assert found
    assert not [o for i in found for o in i.origins if compatibility.refusal(o.license, "GPL-3.0-only")]
    out = [q for q in shards.quarantined(done.out) if q.reason == "license"]
    assert {q.stage for q in out} == {"source"}
    assert any("CC-BY-SA-3.0" in q.detail for q in out)
    card = hub.DatasetCard.load(done.out / "README.md")
    assert card.data.license == "gpl-3.0"
    assert f"{len(out)} recordings were left out" in card.text
    assert "licence      GPL-3.0-only asked of every row" in paqa("check", done.out).stdout
    assert done.summary["license"] == "GPL-3.0-only"


def test_a_raw_mix_that_cannot_be_heard_loses_its_mishearing_only(tmp_path):
    """The clip's questions go on; the same clip with the raw mix heard has the same ones."""
    recipe = change(for_folder(tmp_path), ["hear.diarize.stem=speech", "questions.mishear_share=1"])
    store = Store(tmp_path / "store")
    clip = heard(recipe, store)
    everything, _ = compose_clip(clip, recipe, store)
    assert scenes.raw_mix_scenes(clip, recipe, store)
    separation = engine_runs.engine_run(recipe, "separate")
    (gone, *_) = engine_runs.optional_runs(recipe)
    Path(store._path(engine_runs.output_key(clip, gone, separation), ".json")).unlink()
    assert scenes.raw_mix_scenes(clip, recipe, store) == []
    left, lost = compose_clip(clip, recipe, store)
    assert lost == []
    assert [(i.id, i.question) for i in left] == [(i.id, i.question) for i in everything]


def test_spare_hearings_are_those_for_mishearing_alone(tmp_path):
    assert engine_runs.optional_runs(for_folder(tmp_path)) == []
    recipe = change(for_folder(tmp_path), ["hear.diarize.stem=speech"])
    assert [(n.stage, n.stem) for n in engine_runs.optional_runs(recipe)] == [("diarize", "mix")]
    assert [(n.stage, n.stem) for n in engine_runs.optional_runs(change(recipe, ["hear.tag.stem=mix"]))] == [
        ("diarize", "mix")
    ]
    assert engine_runs.optional_runs(change(recipe, ["questions.mishear=false"])) == []


PICKY = """
import os
from paqa.audio import digest
from paqa.engines.segmentation_campplus import SegmentationCampPlus

hear = SegmentationCampPlus.__call__

def picky(self, batch):
    if any(digest(audio) == os.environ["PAQA_TEST_RAW"] for audio in batch):
        raise RuntimeError("this mix is too much")
    return hear(self, batch)

SegmentationCampPlus.__call__ = picky
"""


@pytest.mark.build
def test_an_engine_that_fails_on_a_raw_mix_leaves_the_clip_its_questions(tmp_path):
    """In a real build, the diarizer fails on the raw mix of one recording, and not on its speech stem."""
    (tmp_path / "own").mkdir()
    for name in ("dog-01.flac", "rooster-01.flac"):
        shutil.copy(CORPUS / "sounds" / name, tmp_path / "own" / name)
    (tmp_path / "sitecustomize.py").write_text(PICKY)
    source = '[[sources]]\nname = "own"\ntype = "folder"\npath = "own"\n'
    stem = '[hear.diarize]\nstem = "speech"\n[questions]\nmishear_share = 1.0\n'
    (tmp_path / "raw.toml").write_text(f'name = "raw"\n{source}{stem}[gates]\nshortcuts = "off"\n')
    raw = digest(decode(tmp_path / "own" / "dog-01.flac", Recipe("r", ()).audio))
    python = {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT))), "PAQA_TEST_RAW": raw}
    done = build(tmp_path / "raw.toml", tmp_path / "out", "--workers", "1", **python)
    out = [q for q in shards.quarantined(done.out) if q.id == "dog-01.flac"]
    assert [(q.stage, q.reason) for q in out] == [("diarize", inference.RAW_MIX_FAILED)]
    assert "this mix is too much" in out[0].detail
    assert "the clip is asked about all the same" in out[0].detail
    assert {row["clip_id"] for row in shards.rows(done.out)} == {"dog-01.flac", "rooster-01.flac"}
    assert "warning      engines failed on the raw mix of 1 clips" in done.output
