"""RTTM, STM and CTM read by meeteval, pyannote and ourselves; lhotse's manifests validated by lhotse."""

import pytest
from builds import make

from paqa.config.recipe import SourceConfig
from paqa.dataset import shards
from paqa.errors import PaqaError
from paqa.publish.export.references import ctm, rttm, stm
from paqa.publish.export.registry import export
from paqa.sources import references
from paqa.types import Scene, Turn, Word


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("build") / "made")


@pytest.fixture(scope="module")
def scenes(made):
    """By split and clip."""
    return {(r["split"], r["clip_id"]): shards.item(r).scene for r in shards.rows(made)}


@pytest.mark.parametrize("split", ["train", "test"])
def test_meeteval_reads_all_three(made, scenes, tmp_path, split):
    meeteval = pytest.importorskip("meeteval")
    job = export("references", made, tmp_path / "out")
    own = {job.names[clip]: scene for (side, clip), scene in scenes.items() if side == split}
    assert job.written[split] == len(own)
    lines = {
        kind: meeteval.io.load(tmp_path / "out" / f"{split}.{kind}").lines for kind in ("rttm", "stm", "ctm")
    }
    assert {line.filename for found in lines.values() for line in found} == set(own)
    for name, scene in own.items():
        turns = [x for x in lines["rttm"] if x.filename == name]
        assert [(float(x.begin_time), float(x.duration)) for x in turns] == [
            (t.start_ms / 1000, (t.end_ms - t.start_ms) / 1000) for t in scene.turns
        ]
        assert [x.transcript for x in lines["stm"] if x.filename == name] == [t.text for t in scene.turns]
        assert [x.word for x in lines["ctm"] if x.filename == name] == [w.text for w in scene.words]
    assert {x.speaker_id for x in lines["rttm"]} == {x.speaker_id for x in lines["stm"]}


def test_pyannote_reads_the_turns(made, scenes, tmp_path):
    util = pytest.importorskip("pyannote.database.util")
    job = export("references", made, tmp_path / "out", splits=("test",))
    found = util.load_rttm(str(tmp_path / "out" / "test.rttm"))
    for (split, clip), scene in scenes.items():
        if split == "test":
            assert len(found[job.names[clip]].labels()) == scene.speakers


def test_our_own_source_reads_them_back(made, scenes, tmp_path):
    job = export("references", made, tmp_path / "out")
    config = SourceConfig("back", "references", str(tmp_path / "out"))
    read = {r.uri: r.truth for r in references.recordings(config, tmp_path / "out")}
    assert len(read) == len(scenes)
    for (_, clip), scene in scenes.items():
        truth = read[f"audio/{job.names[clip]}.flac"]
        assert [(t.start_ms, t.end_ms, t.speaker, t.text) for t in truth.turns] == [
            (t.start_ms, t.end_ms, t.speaker, t.text) for t in scene.turns
        ]
        assert [w.text for w in truth.words] == [w.text for w in scene.words]


def test_lines_of_odd_scenes():
    scene = Scene(
        "c", 2000, (Turn(0, 500, 1, ""), Turn(250, 1001, 2, " two\nlines ")), (Word(10, 50, "New York", 1),)
    )
    assert list(rttm(scene, "c"))[1] == "SPEAKER c 1 0.250 0.751 <NA> <NA> c-speaker2 <NA> <NA>"
    assert list(stm(scene, "c")) == ["c 1 c-speaker2 0.250 1.001 two lines"]
    assert list(ctm(scene, "c")) == ["c 1 0.010 0.020 New 1.00", "c 1 0.030 0.020 York 1.00"]
    assert not [*rttm(Scene("c", 10), "c"), *stm(Scene("c", 10), "c"), *ctm(Scene("c", 10), "c")]


def test_truth_and_what_was_heard_of_a_real_build(built, tmp_path):
    """Truth is exact, hearing is not, and neither is taken for the other."""
    jobs = {
        kind: export("references", built.out, tmp_path / kind, scenes=kind)
        for kind in ("truth", "heard", "rows")
    }
    text = {kind: (tmp_path / kind / "train.rttm").read_text() for kind in jobs}
    assert text["truth"] != text["heard"]
    assert jobs["truth"].skipped["no_truth"] == 2  # the two recordings
    assert jobs["heard"].written.total() == jobs["rows"].written.total() == jobs["truth"].written.total() + 2
    mixed = [line for line in text["rows"].splitlines() if "dialogue-" in line]
    assert mixed == [line for line in text["truth"].splitlines() if "dialogue-" in line]


def test_hearing_wants_the_store(made, tmp_path):
    with pytest.raises(PaqaError, match="no object"):
        export("references", made, tmp_path / "out", scenes="heard")


def test_lhotse_validates_and_loads_everything(made, scenes, tmp_path):
    lhotse = pytest.importorskip("lhotse")
    from lhotse.qa import validate, validate_recordings_and_supervisions

    export("lhotse", made, tmp_path / "out")
    read = {
        kind: getattr(lhotse, name).from_file(tmp_path / "out" / f"{kind}.jsonl.gz").to_eager()
        for kind, name in (
            ("recordings", "RecordingSet"),
            ("supervisions", "SupervisionSet"),
            ("cuts", "CutSet"),
        )
    }
    validate_recordings_and_supervisions(read["recordings"], read["supervisions"], read_data=True)
    validate(read["cuts"], read_data=True)
    items = {i.id: i for i in map(shards.item, shards.rows(made))}
    assert [c.id for c in read["cuts"]] == sorted(items, key=lambda i: [c.id for c in read["cuts"]].index(i))
    assert len(read["recordings"]) == len(scenes)
    for cut in read["cuts"]:
        item = items[cut.id]
        assert cut.custom["choices"] == list(item.choices)
        assert cut.custom["answer_index"] == item.answer_index
        assert [s.text for s in cut.supervisions] == [t.text for t in item.scene.turns]
        assert [w.symbol for s in cut.supervisions for w in s.alignment["word"]] == [
            w.text for w in item.scene.words
        ]
        assert cut.load_audio().shape == (1, cut.num_samples)
    made = lhotse.CutSet.from_manifests(read["recordings"], read["supervisions"])
    assert sum(len(c.supervisions) for c in made) == sum(len(s.turns) for s in scenes.values())
