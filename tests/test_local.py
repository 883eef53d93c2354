"""`paqa.build`: the same dataset as the command makes, from plain Python, without Prefect."""

import subprocess
import sys

import pytest

from paqa.dataset.check import check

SCRIPT = """
import json, sys
import paqa
{guard}
    summary = paqa.build({recipe!r}, {out!r}, workers=1, store={store!r}, quiet=True)
    loaded = [name for name in ("prefect", "flows") if name in sys.modules]
    print(json.dumps({{"questions": summary.items, "loaded": loaded}}))
"""


def script(tmp_path, corpus, store, guard):
    """The output of a script that builds the small corpus into `tmp_path / "out"`."""
    path = tmp_path / "script.py"
    recipe, out = str(corpus / "small.toml"), str(tmp_path / "out")
    path.write_text(SCRIPT.format(guard=guard, recipe=recipe, out=out, store=str(store)))
    return subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=600)


def test_a_build_from_python_equals_that_of_the_command(tmp_path, corpus, built):
    done = script(tmp_path, corpus, built.store, 'if __name__ == "__main__":')
    assert done.returncode == 0, done.stderr
    shards = {p.name: p.read_bytes() for p in sorted((tmp_path / "out" / "data").glob("*.parquet"))}
    assert shards == built.shards
    assert '"loaded": []' in done.stdout
    assert not (tmp_path / ".paqa").exists()  # no server, no store of its own
    assert check(tmp_path / "out").problems == []


@pytest.mark.build
def test_a_script_without_a_guard_is_told_so(tmp_path, corpus):
    done = script(tmp_path, corpus, tmp_path / "store", "if True:")
    assert done.returncode != 0
    assert 'put it under if __name__ == "__main__":' in done.stderr


def test_what_the_command_refuses_is_refused_here(tmp_path):
    import paqa
    from paqa.errors import PaqaError

    with pytest.raises(PaqaError, match="no such recipe"):
        paqa.build(tmp_path / "none.toml", tmp_path / "out")
    assert not (tmp_path / "out").exists()
