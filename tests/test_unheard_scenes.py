"""Scenes of which the truth is all that is known: `listen = false` on a mix."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import BACKGROUNDS, CORPUS, VOICES

import paqa
from paqa.config.recipe import Recipe
from paqa.dataset import shards
from paqa.dataset.check import check
from paqa.dataset.open_build import open_build
from paqa.errors import PaqaError
from paqa.perception import engine_runs
from paqa.pipeline import recipe_files
from paqa.rationale import prompt, rewards
from paqa.rationale.escaping import escape
from paqa.rationale.prompt import PromptQuestion
from paqa.rationale.rewards import Reference
from paqa.report import write as reports

RECIPE = f"""
name = "unheard"
seed = 5

{VOICES}
{BACKGROUNDS}
[[mix]]
name = "scene"
scenes = 12
speech = "voices"
background = "backgrounds"
listen = false

[gates]
shortcuts = "warn"
"""


def load(folder: Path, text: str = RECIPE) -> Recipe:
    (folder / "demo").symlink_to(CORPUS)
    (folder / "unheard.toml").write_text(text)
    return recipe_files.load(folder / "unheard.toml")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unheard")
    paqa.build(load(folder), folder / "out", store=str(folder / "store"), workers=1)
    return folder / "out"


def rows(folder: Path) -> Sequence[dict[str, object]]:
    return [row for path in sorted(folder.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_no_engine_runs_and_rows_are_valid(built: Path) -> None:
    assert not check(built).problems
    recipe, store, clips = open_build(built)
    assert len(clips) == 12
    assert not any(clip.listen for clip in clips)
    runs = engine_runs.engine_runs(recipe)
    assert all(engine_runs.without_output(clips, run, runs[0], store) == clips for run in runs)
    made = rows(built)
    assert len(made) > 60
    assert {row["answers_from"] for row in made} == {"truth"}
    assert all(row["heard_by"] == [] for row in made)
    assert {str(row["reflection"]).split(":")[0] for row in made if row["reflected"]} == {"typed"}


def test_brief_rationales_are_valid_and_short(built: Path, tmp_path: Path) -> None:
    text = RECIPE.replace("scenes = 12", "scenes = 6") + '\n[questions]\nstyle = "brief"\n'
    paqa.build(load(tmp_path, text), tmp_path / "out", store=str(tmp_path / "store"), workers=1)
    assert not check(tmp_path / "out").problems
    lengths = [[len(str(row["rationale"])) for row in rows(folder)] for folder in (tmp_path / "out", built)]
    assert max(lengths[0]) < 1.5 * sum(lengths[1]) / len(lengths[1])
    assert sum(lengths[0]) / len(lengths[0]) < 0.7 * sum(lengths[1]) / len(lengths[1])
    assert any(row["reflected"] and "SUMMARY" not in row["mistaken"] for row in rows(tmp_path / "out"))
    assert reports.write(tmp_path / "out", tmp_path / "report").clips == 6


def test_answers_are_words_alone_where_choices_have_no_letters(built: Path, tmp_path: Path) -> None:
    text = RECIPE.replace("scenes = 12", "scenes = 6") + "\n[questions]\nletters = false\nopen_rate = 0.5\n"
    paqa.build(load(tmp_path, text), tmp_path / "out", store=str(tmp_path / "store"), workers=1)
    assert not check(tmp_path / "out").problems
    items = [shards.item(row) for row in shards.rows(tmp_path / "out")]
    chosen = [item for item in items if item.choices]
    assert any(item.reflected for item in chosen)
    assert any(not item.choices for item in items)
    for item in chosen:
        assert not re.search(r"\([A-D]\)", prompt.question(PromptQuestion.of(item)) + item.rationale)
        assert item.rationale.count(f">{escape(item.answer)}</") == 1
        earned = rewards.terms(item.rationale, Reference.of(item))
        assert earned["accuracy"] == earned["format"] == earned["perception"] == earned["alignment"] == 1.0
        first = f">{escape(next(c for c in item.choices if c != item.answer))}</"
        wrong = item.rationale.replace(f">{escape(item.answer)}</", first)
        assert rewards.terms(wrong, Reference.of(item))["accuracy"] == 0.0
    assert reports.write(tmp_path / "out", tmp_path / "report").clips == 6


def test_scenes_without_words_state_who_speaks_when(tmp_path: Path) -> None:
    text = RECIPE.replace("scenes = 12", "scenes = 6\nwords = false")
    paqa.build(load(tmp_path, text), tmp_path / "out", store=str(tmp_path / "store"), workers=1)
    assert not check(tmp_path / "out").problems
    made = rows(tmp_path / "out")
    turns = [turn for row in made for turn in row["scene"]["turns"]]  # type: ignore[index]
    assert len({turn["speaker"] for turn in turns}) > 1
    assert {turn["text"] for turn in turns} == {""}
    assert not {"words", "lexical"} & {str(row["task"]) for row in made}
    assert all("No words can be made out." in str(row["rationale"]) for row in made)


def test_its_report_has_no_predictions(built: Path, tmp_path: Path) -> None:
    written = reports.write(built, tmp_path / "report")
    assert (written.clips, written.stems) == (12, 0)
    assert written.notes == ()


def test_an_audit_says_that_there_is_nothing_to_compare(built: Path) -> None:
    from paqa.evaluation.pairs import pairs

    with pytest.raises(PaqaError, match="no clip that engines listen to has truth"):
        list(pairs(built))


def test_what_nobody_hears_has_no_predicted_answers(tmp_path: Path) -> None:
    text = RECIPE.replace("listen = false", 'listen = false\nanswers = "heard"')
    with pytest.raises(PaqaError, match=r'mix\.scene\.listen: found false with answers = "heard"'):
        load(tmp_path, text)
