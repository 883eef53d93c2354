"""The paper's recipe is a valid one, and `paqa build` goes from native layouts to shards."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf
from conftest import CORPUS, ROOT, build
from sounds import tone

from paqa import audioset
from paqa.config.recipe import AudioConfig, Recipe, SourceConfig
from paqa.dataset import shards
from paqa.pipeline import fault_isolation, ingest
from paqa.pipeline.recipe_files import load
from paqa.storage.store import Store
from paqa.types import GivenQuestion, Recording

RECIPE = """
name = "paper"
seed = 1

[[sources]]
name = "meld"
type = "meld"
path = "meld"
use = "material"
license = "GPL-3.0"

[[sources]]
name = "fsd50k"
type = "fsd50k"
path = "fsd50k"
use = "material"

[[sources]]
name = "asked"
type = "questions"
path = "cota.jsonl"

[[mix]]
name = "meld-over-fsd50k"
scenes = 4
speech = ["meld"]
background = ["fsd50k"]
speakers = [1, 2]
turns = [1, 2]
sounds = [1, 2]
bed = 0.5
snr_db = [0.0, 20.0]

[split]
validation = 0.0
test = 0.0

[gates]
max_quarantined = 0.9
"""


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CORPUS / name).read_text().splitlines()]


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """The demo corpus' voices as MELD, its sounds as FSD50K, and a CoTA question about one of them."""
    said = [row for row in rows("speech.jsonl") if row["language"] == "en"][:40:4]
    table = ["Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID"]
    clips = tmp_path / "meld/train/train_splits"
    clips.mkdir(parents=True)
    for n, row in enumerate(said):
        (clips / f"dia{n}_utt0.flac").write_bytes((CORPUS / row["path"]).read_bytes())
        table.append(f'{n},"{row["text"]}",{row["speaker"]},{("joy", "anger")[n % 2]},x,{n},0')
    (tmp_path / "meld/train_sent_emo.csv").write_text("\n".join(table))
    (tmp_path / "fsd50k/FSD50K.dev_audio").mkdir(parents=True)
    (tmp_path / "fsd50k/FSD50K.ground_truth").mkdir()
    lines = ["fname,labels,mids,split"]
    for n, row in enumerate(rows("sounds.jsonl")[:30:4]):
        samples, rate = sf.read(CORPUS / row["path"])
        sf.write(tmp_path / f"fsd50k/FSD50K.dev_audio/{n}.wav", samples, rate)
        mids = [e["mid"] for e in row["events"]][:1]
        mids += sorted(audioset.ancestors(mids[0]))
        labels = ",".join(audioset.label(m).replace(",", "").replace(" ", "_") for m in mids)
        lines.append(f'{n},"{labels}","{",".join(mids)}",train')
    (tmp_path / "fsd50k/FSD50K.ground_truth/dev.csv").write_text("\n".join(lines))
    (tmp_path / "fsd50k/FSD50K.ground_truth/eval.csv").write_text("fname,labels,mids\n")
    (tmp_path / "call.flac").write_bytes((CORPUS / said[1]["path"]).read_bytes())
    asked = {"id": "c1", "audios": ["/cluster/call.flac"], "output": "<RESPONSE>(a) one</RESPONSE>",
             "instruction": "<audio>How many people are speaking? (a) one (b) two (c) three"}  # fmt: skip
    (tmp_path / "cota.jsonl").write_text(json.dumps(asked) + "\n{broken\n")
    (tmp_path / "paper.toml").write_text(RECIPE)
    return tmp_path


@pytest.mark.build
def test_build_from_native_layouts(corpora: Path) -> None:
    built = build(corpora / "paper.toml", corpora / "out")
    items = list(shards.rows(corpora / "out"))
    mixed = [item for item in items if item["clip_id"].startswith("meld-over-fsd50k")]
    assert {item["answers_from"] for item in mixed} == {"truth"}
    assert {item["source"] for item in mixed} == {"fsd50k; meld"}
    scenes = [item["scene"] for item in mixed]
    assert all(turn["emotion"] in ("joy", "anger") for scene in scenes for turn in scene["turns"])
    assert all(0 <= scene["snr_db"] <= 20 for scene in scenes)
    assert Counter(item["task"] for item in items)["emotion"] >= 2
    (given,) = (item for item in items if item["template"] == "given")
    assert (given["source"], given["answer"], given["choices"][given["answer_index"]]) == (
        "asked",
        "one",
        "one",
    )
    assert built.summary["quarantined"] == {"broken_json": 1}


def test_what_was_done_about_a_file_reaches_the_build(tmp_path: Path) -> None:
    """Also from the store, where a file is known already."""
    for name in ("a.wav", "b.wav", "sub/c.wav", "d.wav", "e.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tone(tmp_path / name, 1000 + len(name))
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data if name == "e.wav" else data[:40] + bytes(4) + data[44:])
    (tmp_path / "notes.txt").touch()
    source = SourceConfig("here", "folder", ".")
    recipe = Recipe("r", (source,), folder=str(tmp_path))
    found, _ = ingest.gather(recipe)
    inputs = (found["here"], source, recipe, Store(tmp_path / ".store"))
    for _ in range(2):
        tracker = fault_isolation.CrashTracker()
        done = fault_isolation.DecodeBatch(*inputs, lambda seconds, call, *more: call(*more), tracker)()
        (line,) = ingest.note_warnings(done.notes)
        assert line.startswith("a.wav, b.wav, d.wav and 1 other file: the header declares less")
    (line,) = ingest.skipped(recipe)
    assert "skipped 1 .txt" in line


def test_a_cut_recording_loses_its_questions(tmp_path: Path) -> None:
    tone(tmp_path / "long.wav", 2600)
    source = SourceConfig("qa", "questions", "list.jsonl")
    recipe = Recipe("r", (source,), audio=AudioConfig(max_clip_ms=1500), folder=str(tmp_path))
    asked = (GivenQuestion("q1", "t", "Why?", ("a", "b"), 0), GivenQuestion("q2", "t", "Who?", ("a", "b"), 1))
    recording = Recording("long", "long.wav", "qa", "MIT", ("long",), questions=asked)
    store = Store(tmp_path / "store")
    cut = ingest.decode_recordings([recording], source, recipe, store)
    assert [clip.questions for clip in cut.clips] == [(), ()]
    assert [(row.id, row.reason) for row in cut.quarantined] == [
        ("q1", "question_needs_whole_file"), ("q2", "question_needs_whole_file"),
    ]  # fmt: skip
    assert "raise audio.max_clip_ms" in cut.quarantined[0].detail
    whole = ingest.decode_recordings([recording], source, replace(recipe, audio=AudioConfig()), store)
    assert ([clip.questions for clip in whole.clips], whole.quarantined) == ([asked], ())


def test_the_papers_recipe() -> None:
    path = ROOT / "manifests/paqa.toml"
    recipe = load(path)
    scenes = {mix.name: mix.scenes * recipe.questions.per_clip for mix in recipe.mix}
    assert scenes == {"multi-speaker": 2900, "meld": 2900, "covost2": 1400}
    assert {mix.snr_db for mix in recipe.mix} == {(0.0, 20.0)}
    assert tomllib.loads(path.read_text())["profile"] == "paper"
