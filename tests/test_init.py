"""`paqa init`: what it writes loads, says what is the default anyway, and explains every key."""

import dataclasses
import re
import tomllib
from dataclasses import replace

import pytest
from sounds import tone

from paqa.cli.main import main
from paqa.config import recipe
from paqa.config.recipe import Recipe, SourceConfig
from paqa.config.schema import problems, schema
from paqa.pipeline import init_recipe, recipe_files


def uncommented(text):
    """The recipe with all keys set that it only names."""
    return re.sub(r"^#(?=[a-z\[])", "", text, flags=re.MULTILINE)


def test_it_loads_and_is_what_is_the_default(tmp_path):
    path = init_recipe.write(tmp_path / "mine.toml", None)
    plain = Recipe("mine", (SourceConfig("audio", "folder", "recordings"),))
    assert recipe_files.load(path) == replace(plain, folder=str(tmp_path))


def test_every_key_is_there_and_explained():
    for name, definition in schema("recipe")["$defs"].items():
        if name in vars(recipe) and definition.get("type") == "object":
            missing = set(definition["properties"]) - set(init_recipe.meanings(getattr(recipe, name)))
            assert not missing, (name, missing)
    whole = tomllib.loads(uncommented(init_recipe.text("x", "y")))
    assert set(whole) == set(schema("recipe")["$defs"]["Recipe"]["properties"])
    for name, kind in (("gates", recipe.GatesConfig), ("questions", recipe.QuestionsConfig)):
        assert set(whole[name]) == {f.name for f in dataclasses.fields(kind)}
    assert set(whole["mix"][0]) == {f.name for f in dataclasses.fields(recipe.MixConfig)}
    assert set(whole["hear"]["transcribe"]) == {f.name for f in dataclasses.fields(recipe.HearConfig)}


def test_keys_that_are_not_set_are_keys_that_could_be():
    assert list(problems("recipe", tomllib.loads(uncommented(init_recipe.text("x", "y"))))) == []


def test_every_line_says_what_it_means():
    for line in init_recipe.text("x", "y").splitlines():
        assert (
            not line or line.startswith(("# ", "[", "#[")) or re.fullmatch(r"#?\w+ = \S.*  # \S.*", line)
        ), line


def test_a_folder_is_wired_in(tmp_path, monkeypatch, capsys):
    tone(tmp_path / "my talks" / "sub" / "a.wav")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert main(["init", "../my talks"]) == 0
    assert "paqa build my-talks.toml" in capsys.readouterr().out
    found = recipe_files.load(tmp_path / "work" / "my-talks.toml")
    assert found.sources[0].path == "../my talks"
    assert (tmp_path / "work" / found.sources[0].path / "sub" / "a.wav").exists()
    assert main(["init", "../my talks", "--out", "other.toml"]) == 0
    assert recipe_files.load(tmp_path / "work" / "other.toml").name == "my-talks"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["there.toml"], "exists already"),
        (["nowhere"], "no such folder"),
        (["empty"], "holds no audio file"),
        (["no/where.toml"], "make it first"),
        (["new.toml", "--out", "there.toml"], "exists already"),
    ],
)
def test_what_cannot_be(tmp_path, monkeypatch, capsys, arguments, words):
    (tmp_path / "there.toml").write_text("mine")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["init", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert (tmp_path / "there.toml").read_text() == "mine"
