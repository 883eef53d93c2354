"""CONTRIBUTING.md names files and registries that exist."""

import re

from conftest import ROOT

from paqa.engines.base import ENGINES
from paqa.publish.export.registry import FORMATS
from paqa.questions.generate import FAMILIES
from paqa.sources.registry import SOURCES

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_files_exist():
    paths = set(re.findall(r"\b(?:paqa|tests|benchmarks)/[\w/]+\.py", TEXT))
    assert len(paths) > 15
    for path in paths:
        assert "NAME" in path or (ROOT / path).exists(), path


def test_registries_are_where_it_says():
    registries = {"ENGINES": ENGINES, "SOURCES": SOURCES, "FAMILIES": FAMILIES, "FORMATS": FORMATS}
    for name, registry in registries.items():
        assert f"`{name}`" in TEXT
        assert registry


def test_make_targets_exist():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"^make ([a-z]+)", TEXT, re.MULTILINE)) <= {*targets, "quick"}
