"""The suite's own rules: what launches a build is marked, and `make quick` leaves it out."""

import re

import pytest
from conftest import LONGEST, ROOT, build


def test_a_test_that_is_not_marked_launches_no_build(tmp_path):
    with pytest.raises(AssertionError, match=r"mark it with pytest\.mark\.build"):
        build("nothing.toml", tmp_path / "out")


def test_what_uses_the_shared_build_is_marked(request):
    """Where all tests were collected, which is so but for chosen files."""
    users = [item for item in request.session.items if "built" in item.fixturenames]
    shared = [item for item in users if not hasattr(item.module, "built")]
    assert all(item.get_closest_marker("build") for item in shared)
    assert not [item for item in users if item not in shared and item.get_closest_marker("build")]


def test_the_files_that_go_first_are_there():
    assert [name for name in LONGEST if not (ROOT / "tests" / f"{name}.py").exists()] == []


def test_quick_leaves_builds_out():
    recipe = re.search(r"^quick:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert '-m "not build and not slow"' in recipe[1]
