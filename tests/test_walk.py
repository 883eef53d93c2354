"""The walk end to end, with the real embedded engines, through the command line."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import time

import msgspec
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import ROOT, SERVER, build, command, environment, paqa

from paqa.audio import read_flac
from paqa.dataset import shards
from paqa.rationale import grammar


@pytest.fixture(scope="session")
def rows(built):
    return list(shards.rows(built.out))


def test_every_row_is_valid_and_cites_what_exists(built):
    done = paqa("check", built.out)
    assert "problems     none" in done.stdout


def test_rows_carry_audio_scene_and_provenance(rows):
    assert len(rows) > 15
    for row in rows:
        item = shards.item(row)
        audio = read_flac(row["audio"]["bytes"])
        assert abs(audio.duration_ms - item.scene.duration_ms) <= 10
        assert item.license != "unknown" or item.source.startswith("recordings")
        assert {h.stage for h in item.heard_by} == {"separate", "diarize", "tag", "transcribe"}
        assert item.answers_from == ("truth" if item.clip_id.startswith(("dialogue", "events")) else "heard")


def test_rows_are_ordered_by_id_within_a_shard(built):
    for path in shards.files(built.out):
        ids = pq.read_table(path, columns=["id"])["id"].to_pylist()
        assert ids == sorted(ids)
        assert len(set(ids)) == len(ids)


def test_no_material_is_on_two_sides(built):
    sides = {}
    for row in pq.read_table(built.out / "clips.parquet").to_pylist():
        for group in row["groups"]:
            assert sides.setdefault(group, row["split"]) == row["split"]


def test_no_two_rationales_of_a_clip_start_alike(rows):
    openings = {}
    for row in rows:
        opening = " ".join(grammar.parse(row["rationale"], letters=bool(row["choices"])).planning.split()[:6])
        assert openings.setdefault((row["clip_id"], opening), row["id"]) == row["id"]


def test_datasets_loads_the_folder(built):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(built.out), cache_dir=str(built.out.parent / "hf"))
    summary = built.summary
    assert {name: len(split) for name, split in loaded.items()} == summary["by_split"]
    split = next(iter(loaded.values()))
    assert isinstance(split.features["audio"], datasets.Audio)
    row = split.cast_column("audio", datasets.Audio(decode=False))[0]
    samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
    assert rate == split.features["audio"].sampling_rate == 16000
    assert abs(len(samples) / rate * 1000 - row["scene"]["duration_ms"]) <= 10
    assert row["answer"] == (row["choices"][row["answer_index"]] if row["choices"] else row["answer"])


def test_datasets_decodes_the_audio(built):
    datasets = pytest.importorskip("datasets")
    decoders = pytest.importorskip("torchcodec.decoders", exc_type=(ImportError, RuntimeError, OSError))
    files = [str(p) for p in shards.files(built.out)]
    stored = pq.read_table(files[0], columns=["audio"])["audio"][0].as_py()["bytes"]
    try:
        decoders.AudioDecoder(stored)
    except RuntimeError as error:  # it looks for the libraries only now
        if "libtorchcodec" not in str(error):
            raise
        pytest.skip("torchcodec finds no FFmpeg libraries: apt-get install ffmpeg")
    split = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(built.out.parent / "hf")
    )
    row = split[0]
    samples = row["audio"].get_all_samples()
    assert samples.sample_rate == 16000
    assert abs(samples.data.shape[1] / 16 - row["scene"]["duration_ms"]) <= 10
    streamed = next(iter(datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)))
    assert streamed["id"] == row["id"]


def test_a_second_build_loads_no_engine_and_keeps_every_byte(built, corpus, no_engines, tmp_path):
    out = tmp_path / "small"
    shutil.copytree(built.out, out)
    stamps = {p: p.stat().st_mtime_ns for p in shards.files(out)}
    again = build(corpus / "small.toml", out, "--store", built.store, **no_engines)
    assert again.heard == {}
    assert again.shards == built.shards
    assert {p: p.stat().st_mtime_ns for p in shards.files(out)} == stamps


def test_a_rebuild_that_fails_leaves_the_build_as_it_was(built, corpus, tmp_path, no_engines):
    """One broken file more, and no loss is allowed."""
    shutil.copytree(built.out, tmp_path / "small")
    shutil.copytree(corpus, tmp_path / "corpus", symlinks=True)
    (tmp_path / "corpus" / "recordings" / "broken.flac").write_bytes(b"fLaC")
    changes = ["--set", "name=other", "--set", "gates.max_quarantined=0.0", "--store", built.store]
    recipe = tmp_path / "corpus" / "small.toml"
    variables = SERVER.variables() | no_engines
    done = paqa("build", recipe, "--out", tmp_path / "small", *changes, check=False, **variables)
    failed = tmp_path / "small" / "failed"
    assert done.returncode == 2
    assert f"look into {failed / 'quarantine.parquet'}" in done.stderr
    left = {
        p.relative_to(tmp_path / "small"): p.read_bytes()
        for p in (tmp_path / "small").rglob("*")
        if p.is_file()
    }
    kept = {path: data for path, data in left.items() if path.parts[0] != "failed"}
    assert kept == {p.relative_to(built.out): p.read_bytes() for p in built.out.rglob("*") if p.is_file()}
    assert {q.reason for q in shards.quarantined(failed)} >= {"truncated"}
    assert json.loads((failed / "recipe.json").read_bytes())["name"] == "other"


def test_the_number_of_workers_does_not_change_a_byte(built, corpus, tmp_path):
    alone = build(corpus / "small.toml", tmp_path / "small", "--workers", "1")
    assert alone.shards == built.shards
    assert alone.heard == built.heard | alone.heard


def test_another_template_wording_loads_no_engine(built, corpus, tmp_path, no_engines):
    """An edited question template changes questions, and nothing that was heard."""
    for package in ("paqa", "flows"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    template = tmp_path / "paqa" / "questions" / "counting.py"
    text = template.read_text()
    assert "How many" in text
    template.write_text(text.replace("How many", "Just how many"))
    variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), no_engines["PYTHONPATH"]])}
    edited = build(corpus / "small.toml", tmp_path / "out", "--store", built.store, cwd=tmp_path, **variables)
    assert edited.heard == {}
    assert any("Just how many" in row["question"] for row in shards.rows(edited.out))


def test_one_more_clip_is_all_that_is_heard(built, corpus, tmp_path):
    grown = tmp_path / "corpus"
    shutil.copytree(corpus, grown, symlinks=True)
    (grown / "recordings" / "sheep.flac").write_bytes(
        (grown / "demo" / "sounds" / "sheep-01.flac").read_bytes()
    )
    more = build(grown / "small.toml", tmp_path / "small", "--store", built.store)
    assert more.heard == dict.fromkeys(more.heard, 1)
    assert len(more.heard) == 6  # four, a second transcription of the speech, and the tagger on the mix
    assert more.summary["clips"] == built.summary["clips"] + 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_build_goes_on_to_the_same_bytes(built, corpus, tmp_path, seed):
    """SIGKILL at random moments, then an undisturbed run: byte-identical shards, no process left behind.

    The first seed is with a server of its own, which has to go, too.
    """
    moments = random.Random(seed)
    out = tmp_path / "small"
    arguments = command("build", corpus / "small.toml", "--out", out, "--quiet")
    variables = environment() if seed == 1 else environment(**SERVER.variables())
    killed = 0
    for _ in range(3):
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(moments.uniform(3, 12))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed
    deadline = time.monotonic() + 15
    while (left := _processes_over(out)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left
    assert build(corpus / "small.toml", out).shards == built.shards


def _processes_over(folder):
    """Processes that name the build's folder or its Prefect home on their command line."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if str(folder.parent) in line and "ps -eo" not in line]


def test_quarantine_names_reason_and_detail(built):
    for row in shards.quarantined(built.out):
        assert row.reason
        assert row.detail
        assert len(row.fingerprint) == 64
    lost = sum(built.summary["quarantined"].values())
    assert lost == len(shards.quarantined(built.out))


def test_show_prints_one_item(built, rows):
    done = paqa("show", built.out, rows[-1]["id"])
    assert rows[-1]["question"] in done.stdout
    assert "<THINK>" in done.stdout


def test_audit_prints_figures_for_the_composed_scenes(built, tmp_path):
    done = paqa("audit", built.out, "--json", tmp_path / "a.json")
    assert "DER" in done.stdout
    assert json.loads((tmp_path / "a.json").read_text())["slices"]


def test_schema_of_every_clip_and_scene(built):
    from paqa.config.schema import problems
    from paqa.types import Clip

    for row in pq.read_table(built.out / "clips.parquet").to_pylist():
        assert list(problems("clip", row)) == []
        clip = msgspec.convert(row, Clip)
        if clip.truth:
            assert list(problems("scene", msgspec.json.decode(msgspec.json.encode(clip.truth)))) == []
