"""The bank of synthesised sounds: classes of AudioSet, instances that differ, equal bytes again, a build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import generated_sounds as bank
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import CORPUS, VOICES

import paqa
from paqa import audio, audioset
from paqa.dataset.check import check
from paqa.pipeline import recipe_files

RECIPE = f"""
name = "generated"
seed = 1

{VOICES}
[[sources]]
name = "sounds"
type = "jsonl"
path = "bank/sounds.jsonl"
use = "material"

[[mix]]
name = "scene"
scenes = 24
speech = "voices"
background = "sounds"
listen = false

[gates]
shortcuts = "warn"

[split]
validation = 0.0
test = 0.3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated")
    assert bank.write(path / "bank", 4, seed=0) == 4 * len(bank.CLASSES)
    return path


def lines(bank_folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bank_folder / "sounds.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("label", bank.CLASSES)
def test_a_class_is_audiosets_and_its_instances_differ(label: str) -> None:
    assert audioset.mid(label) in audioset.classes()
    sounds = [bank.instance(label, number, seed=0) for number in range(8)]
    spectra = [np.abs(np.fft.rfft(x, 65536)) for x in sounds]
    for i, x in enumerate(spectra):
        for y in spectra[:i]:
            assert np.vdot(x, y) < 0.98 * np.linalg.norm(x) * np.linalg.norm(y)
    for x in sounds:
        assert 0.4 < len(x) / bank.RATE < 4.0
        assert np.abs(x).max() == pytest.approx(bank.PEAK)


def test_events_are_where_the_sound_is(folder: Path) -> None:
    for row in lines(folder / "bank"):
        samples = audio.read_flac((folder / "bank" / row["path"]).read_bytes()).samples[0]
        (event,) = row["events"]
        start, end = (event[key] * bank.RATE // 1000 for key in ("start_ms", "end_ms"))
        assert event["start_ms"] % 10 == event["end_ms"] % 10 == 0
        assert 0 < start < end < len(samples)
        outside = np.concatenate([samples[:start], samples[end:]])
        assert np.square(outside).mean() < 1e-3 * np.square(samples[start:end]).mean()
        assert row["license"] == "CC0-1.0"
        assert row["synthetic"]


def test_the_same_seed_gives_the_same_bytes_and_more_instances_change_none(
    folder: Path, tmp_path: Path
) -> None:
    bank.write(tmp_path / "more", 5, seed=0)
    bank.write(tmp_path / "other", 4, seed=1)
    files = sorted((folder / "bank" / "sounds").iterdir())
    assert all(f.read_bytes() == (tmp_path / "more" / "sounds" / f.name).read_bytes() for f in files)
    assert all(f.read_bytes() != (tmp_path / "other" / "sounds" / f.name).read_bytes() for f in files)
    again = lines(tmp_path / "more")
    assert [row for row in again if not row["id"].endswith("004")] == lines(folder / "bank")


def test_scenes_of_it_build_without_engines(folder: Path) -> None:
    (folder / "demo").symlink_to(CORPUS)
    (folder / "generated.toml").write_text(RECIPE)
    recipe = recipe_files.load(folder / "generated.toml")
    paqa.build(recipe, folder / "out", store=str(folder / "store"), workers=1)
    assert not check(folder / "out").problems
    rows = [
        row for path in (folder / "out" / "data").glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert {row["split"] for row in rows} == {"train", "test"}
    sides = [
        {event["label"] for row in rows if row["split"] == side for event in row["scene"]["events"]}
        for side in ("train", "test")
    ]
    assert sides[0] & sides[1], "the test side has other instances of the same classes"
    assert sides[0] | sides[1] <= set(bank.CLASSES)
