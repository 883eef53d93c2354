"""`make docs`: a small site with the configuration of ours, and what must stop its build."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

pytest.importorskip("mkdocs")
HOME = """\
# Home

[a class](api/shapes.md#paqa.shapes.Square), [a recipe](../manifests/demo.toml)

[how to help](../CONTRIBUTING.md#tests)

```mermaid
flowchart LR
    clip --> row
```
"""
NAV = "nav: [index.md, contributing.md, changelog.md, api/paqa.md, api/shapes.md, api/flows.md]\n"
MODULE = '''\
"""Shapes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Square:
    """All sides are equal."""

    side: int = 3  # in metres


def area(square: Square) -> int:
    """In square metres."""
    return square.side**2


def bare(): ...
'''


@pytest.fixture
def project(tmp_path):
    """A repository with our mkdocs.yml but for its nav, our hooks, one page and one module."""
    text = (ROOT / "mkdocs.yml").read_text()
    (tmp_path / "mkdocs.yml").write_text(re.sub(r"^nav:\n(?: .*\n)+", NAV, text, flags=re.MULTILINE))
    texts = {
        "docs/index.md": HOME,
        "README.md": "# Demo\n\n[home](docs/index.md#home)\n",
        "CONTRIBUTING.md": "# Contributing\n\n## Tests\n\n[docs](docs/index.md), [code](paqa/shapes.py)\n",
        "CHANGELOG.md": "# Changelog\n",
        "SECURITY.md": "# Security\n",
        "manifests/demo.toml": 'name = "demo"\n',
        "paqa/__init__.py": '"""Made of shapes."""\n',
        "paqa/shapes.py": MODULE,
        "flows/__init__.py": '"""Flows."""\n',
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("hooks.py", "site.css", "iframe-worker.js"):
        shutil.copy(ROOT / "docs" / name, tmp_path / "docs")
    return tmp_path


def build(project):
    command = [sys.executable, "-m", "mkdocs", "build"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1", "PYTHONPATH": ""}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def test_a_site_with_links_diagrams_and_the_api(project):
    done = build(project)
    assert done.returncode == 0, done.stderr
    home = (project / "site" / "index.html").read_text()
    assert all(link in home for link in ('"files/manifests/demo.toml"', '"contributing.html#tests"'))
    assert 'class="diagram"><svg id="diagram-' in home
    assert "unpkg" not in home
    assert (project / "site" / "files" / "manifests" / "demo.toml").read_text() == 'name = "demo"\n'
    assert '"files/paqa/shapes.py"' in (project / "site" / "contributing.html").read_text()
    page = (project / "site" / "api" / "shapes.html").read_text()
    assert "In metres. Default: <code>3</code>." in page
    assert 'id="paqa.shapes.area"' in page
    assert 'id="paqa.shapes.bare"' not in page


def test_links_that_lead_nowhere_stop_the_build(project):
    links = "[1](gone.md), [2](#no-anchor), [3](../CONTRIBUTING.md#no-test), [4](../manifests/gone.toml)"
    (project / "docs" / "index.md").write_text(f"{HOME}\n{links}\n")
    (project / "docs" / "lost.md").write_text("# In no nav\n")
    (project / "paqa" / "circles.py").write_text('"""In no nav."""\n')
    (project / "README.md").write_text("# Demo\n\n[5](docs/missing.md)\n")
    done = build(project)
    assert done.returncode != 0
    for name in ("gone.md", "#no-anchor", "#no-test", "gone.toml", "lost.md", "circles.md", "missing.md"):
        assert name in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("![picture](https://example.org/a.png)", "expected nothing from other hosts"),
        ("- one\n  - two", "found '  - two', expected 4 spaces"),
        ("Two:\n- one\n- two", "expected an empty line before the list that begins with 'one'"),
    ],
)
def test_pages_that_would_not_look_right_stop_the_build(project, text, message):
    (project / "docs" / "index.md").write_text(f"# Home\n\n{text}\n")
    done = build(project)
    assert done.returncode != 0
    assert message in done.stderr
