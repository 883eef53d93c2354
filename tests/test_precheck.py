"""What can be seen to be wrong before anything is started is said then, in the words of the build itself."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from builds import make
from conftest import paqa

from paqa.config.recipe import BenchmarkConfig, GatesConfig, Recipe, SourceConfig
from paqa.curation import contamination
from paqa.curation.answer_balance import Survey
from paqa.dataset import open_build
from paqa.errors import PaqaError
from paqa.pipeline import growth, ingest, precheck
from paqa.sources import registry
from paqa.storage import build_folder
from paqa.types import Recording


def message(call, *args):
    with pytest.raises(PaqaError) as error:
        call(*args)
    return str(error.value)


def claim(out):
    with build_folder.hold_folder(out):
        pass


def recipe_of(folder, **changes):
    return replace(Recipe("r", (SourceConfig("a", "folder", "audio"),), folder=str(folder)), **changes)


@pytest.fixture
def audio(tmp_path):
    (tmp_path / "audio").mkdir()
    for name in ("b.wav", "a.wav"):
        (tmp_path / "audio" / name).touch()  # nothing is decoded
    return tmp_path


def test_a_recipe_that_can_be_built_passes_and_nothing_is_written(audio):
    precheck.check(recipe_of(audio), audio / "out" / "x")
    assert not (audio / "out").exists()


def test_a_folder_of_somebody_else(audio):
    assert message(precheck.check, recipe_of(audio), audio / "audio") == message(claim, audio / "audio")
    assert sorted(path.name for path in (audio / "audio").iterdir()) == ["a.wav", "b.wav"]


@pytest.mark.parametrize("path", ["nowhere", "empty", "empty/list.jsonl"])
def test_a_source_that_is_missing(path, audio):
    (audio / "empty").mkdir()
    kind = "jsonl" if path.endswith(".jsonl") else "folder"
    recipe = recipe_of(audio, sources=(SourceConfig("a", kind, path),))
    assert message(precheck.check, recipe, audio / "out") == message(ingest.gather, recipe)


def test_of_a_source_that_is_there_one_recording_is_read(audio, monkeypatch):
    rows = [Recording(f"{i}.wav", f"{i}.wav", "a", "MIT", (f"{i}",)) for i in range(9)]
    read = []

    def recordings(config, folder):
        for row in rows:
            read.append(row.id)
            yield row

    monkeypatch.setattr(registry, "recordings", recordings)
    precheck.check(recipe_of(audio), audio / "out")
    assert read == ["0.wav"]
    read.clear()
    rows[:2] = [replace(row, license="CC-BY-NC-4.0") for row in rows[:2]]
    precheck.check(recipe_of(audio, license="MIT"), audio / "out")
    assert read == ["0.wav", "1.wav", "2.wav"]


def test_a_source_of_which_the_licence_permits_nothing(audio):
    rows = [{"id": name, "path": f"audio/{name}.wav", "license": "CC-BY-NC-4.0"} for name in "ab"]
    (audio / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = recipe_of(audio, sources=(SourceConfig("a", "jsonl", "list.jsonl"),), license="MIT")
    assert "none of its 2 recordings" in message(precheck.check, recipe, audio / "out")
    assert message(precheck.check, recipe, audio / "out") == message(ingest.gather, recipe)


@pytest.mark.parametrize("files", [{"audio": "nowhere"}, {"questions": "nowhere.json"}])
def test_a_benchmark_that_is_missing(files, audio):
    """Its questions are asked for when all else is done, hours later."""
    benchmark = BenchmarkConfig("bench", **files)
    recipe = recipe_of(audio, gates=GatesConfig(benchmarks=(benchmark,)))
    later = contamination.recordings if "audio" in files else contamination.questions
    assert message(precheck.check, recipe, audio / "out") == message(later, benchmark, audio)


@pytest.fixture
def earlier(tmp_path):
    """A finished build that can grow, without engines."""
    out = make(tmp_path / "made", clips=1)
    growth.save(out, Survey(), [])
    return out


def test_a_build_that_cannot_grow(earlier, audio):
    recipe = replace(open_build.open_build(earlier)[0], mix=())
    growth.check(earlier, recipe)
    for out, other in ((audio / "none", recipe), (earlier, replace(recipe, seed=1))):
        assert message(precheck.check, other, out, True) == message(growth.load, out, other)
    (earlier / build_folder.CLIPS).unlink()
    assert message(growth.check, earlier, recipe) == message(growth.load, earlier, recipe)


def test_a_commit_that_was_cut_is_finished_before_it_is_looked_at(tmp_path, monkeypatch):
    """Until its files are in their places there is no survey."""
    out = make(tmp_path / "made", clips=1)
    recipe = replace(open_build.open_build(out)[0], mix=())
    settled = []
    monkeypatch.setattr(
        build_folder, "finish_commit", lambda folder: settled.append(growth.save(folder, Survey(), []))
    )
    monkeypatch.setattr(growth, "_need_whole", lambda out: None)
    growth.check(out, recipe)
    assert settled


def test_no_server_is_started_for_a_build_that_cannot_be(tmp_path: Path):
    out = tmp_path / "builds" / "x"
    done = paqa("build", "--audio", tmp_path / "nowhere", "--out", out, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"{tmp_path / 'nowhere'} is no folder" in done.stderr
    assert not (tmp_path / "builds").exists()
