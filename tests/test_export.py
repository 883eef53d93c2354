"""What holds for every export format: whole or not at all, audio once, bounded memory, the same bytes
again.
"""

import io
import tracemalloc
from pathlib import Path

import pytest
import soundfile
from builds import RATE, make
from conftest import paqa

from paqa.audio import digest, read_flac
from paqa.dataset import shards
from paqa.dataset.shards import SPLITS
from paqa.errors import PaqaError
from paqa.publish.export.job import Job, wav
from paqa.publish.export.registry import FORMATS, export


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make(tmp_path_factory.mktemp("build") / "made")


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_build_gives_the_same_bytes(name, built, tmp_path):
    out = tmp_path / "out"
    first = (export(name, built, out), tree(out))[1]
    out.rename(tmp_path / "first")
    export(name, built, out)
    assert tree(out) == first
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", FORMATS)
def test_splits_are_chosen(name, built, tmp_path):
    job = export(name, built, tmp_path / "out", splits=("test",))
    assert set(job.written) == {"test"}
    assert not any("train" in file for file in tree(tmp_path / "out"))


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"webdataset"}))
def test_audio_lies_beside_once_a_clip(name, built, tmp_path):
    job = export(name, built, tmp_path / "out", splits=SPLITS)
    stored = {
        r["clip_id"]: digest(read_flac(r["audio"]["bytes"])) for r in shards.rows(built, ["clip_id", "audio"])
    }
    files = sorted((tmp_path / "out" / "audio").iterdir())
    assert len(files) == len(stored) == len(job.names)
    for clip_id, sha in stored.items():
        path = tmp_path / "out" / "audio" / f"{job.names[clip_id]}.{job.audio}"
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
        written, _ = soundfile.read(io.BytesIO(_flac(built, clip_id)), dtype="int16", always_2d=True)
        assert rate == RATE
        assert (samples == written).all()
        assert sha


def _flac(folder, clip_id):
    return next(
        r["audio"]["bytes"] for r in shards.rows(folder, ["clip_id", "audio"]) if r["clip_id"] == clip_id
    )


def test_wav_holds_the_samples(built):
    row = next(shards.rows(built, ["audio"]))
    data = wav(row["audio"]["bytes"])
    assert data.startswith(b"RIFF")
    samples, _ = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
    assert digest(read_flac(row["audio"]["bytes"])) == digest(_as_audio(samples))


def _as_audio(samples):
    import numpy as np

    from paqa.types import Audio

    return Audio(samples.T.astype(np.float32) / 32768, RATE)


def test_ids_that_differ_in_odd_characters_only_have_files_of_their_own():
    job = Job(Path(), Path(), Path(), SPLITS, "flac", "rows")
    assert [job._name(*p) for p in (("a/b", "a_b.flac"), ("a b", "a_b.flac"), ("a/b", "a_b.flac"))] == [
        "a_b", "a_b~1", "a_b",
    ]  # fmt: skip


def test_a_failing_export_leaves_no_folder(built, tmp_path, monkeypatch):
    def fail(job):
        (job.part / "half").write_text("half")
        raise OSError("the disk is full")

    monkeypatch.setattr("paqa.publish.export.trl.export", fail)
    with pytest.raises(OSError, match="disk"):
        export("trl", built, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    export("trl", built, tmp_path / "out")
    assert "half" not in tree(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "word"),
    [({"name": "kaldi"}, "no such format"), ({"splits": ("dev",)}, "dev"), ({"audio": "mp3"}, "mp3"),
     ({"scenes": "felt"}, "felt"), ({"splits": ("validation",)}, "none in validation")],
)  # fmt: skip
def test_what_cannot_be(built, tmp_path, change, word):
    with pytest.raises(PaqaError, match=word):
        export(**{"name": "trl", "folder": built, "out": tmp_path / "out"} | change)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(built, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(PaqaError, match="not empty"):
        export("trl", built, tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"


def test_memory_does_not_grow_with_the_build(tmp_path):
    """Python's own peak, of twelve times the audio."""
    peaks = []
    for clips in (3, 36):
        folder = make(tmp_path / f"{clips}", clips=clips, per_clip=2)
        tracemalloc.start()
        export("swift", folder, tmp_path / f"out{clips}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_on_the_command_line(built, tmp_path):
    done = paqa("export", "mmau", built, tmp_path / "out")
    assert "skipped      open_ended" in done.stdout
    assert (tmp_path / "out" / "mmau-test.json").exists()
    wrong = paqa("export", "mmau", tmp_path / "none", tmp_path / "out2", check=False)
    assert wrong.returncode == 2
    assert "no shards" in wrong.stderr
