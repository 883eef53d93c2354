"""schemas/ equals the types, and violations are said in words."""

import subprocess
import sys
from pathlib import Path

import pytest

from paqa.config.schema import KINDS, problems, text

SCHEMAS = Path(__file__).parents[1] / "schemas"
GOOD = {"name": "x", "sources": [{"name": "a", "type": "folder", "path": "."}]}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_checked_in_schema_equals_the_types(kind):
    found = (SCHEMAS / f"{kind}.schema.json").read_text(encoding="utf-8")
    assert found == text(kind), "run: make schemas"


def test_no_other_files_lie_in_schemas():
    assert {p.name for p in SCHEMAS.iterdir()} == {f"{kind}.schema.json" for kind in KINDS}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sorces": []}, ["sorces", "did you mean 'sources'"]),
        ({"audio": {"rate": "high"}}, ["audio.rate", '"high"', "integer"]),
        ({"audio": {"rate": 100}}, ["audio.rate", "100", "8000"]),
        ({"mix": [{"name": "m", "scenes": 0}]}, ["mix.0.scenes", "0", "1"]),
        ({"hear": {"tag": {"engin": "yamnet"}}}, ["hear.tag", "engin", "engine"]),
        ({"hear": {"smell": {}}}, ["smell"]),
        ({"profile": "gold"}, ["profile", "gold"]),
    ],
)
def test_a_violation_names_place_found_and_expected(change, words):
    found = " ".join(problems("recipe", {**GOOD, **change}))
    assert all(word in found for word in words), found


def test_a_good_recipe_has_no_problems():
    assert list(problems("recipe", GOOD)) == []


def test_schemas_do_not_depend_on_what_was_imported_before():
    """Of two equal annotations (a limit of 0 and of 0.0) typing keeps the one that it met first."""
    code = """
import importlib, typing
import paqa.train.config
from paqa.config.schema import KINDS, text
for forget in typing._cleanups:
    forget()
importlib.reload(paqa.train.config)
print(*map(text, sorted(KINDS)), sep="")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "".join(text(kind) for kind in sorted(KINDS)) + "\n"
