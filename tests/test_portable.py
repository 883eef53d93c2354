"""No path of this machine in what leaves it, and nothing else lost."""

import pytest

from paqa.storage import redact


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/a/build.toml: no such file", "build.toml: no such file"),
        ("look into /srv/x/out.", "look into out."),
        (
            "'/data/set one/a.wav' leads out",
            "'set one/a.wav' leads out",
        ),  # a blank ends a path that nobody named
        ("see ~/models and C:\\Users\\me\\a.wav", "see models and a.wav"),
        ("and/or, 1/2, a / b, s3://bucket/x, demo/a.wav", "and/or, 1/2, a / b, s3://bucket/x, demo/a.wav"),
        ("(/tmp/x)", "(x)"),
    ],
)
def test_prose(text, left):
    assert redact.shorten_paths_in_text(text) == left


def test_known_paths_may_hold_blanks():
    assert (
        redact.shorten_paths_in_text("in /data/set one/a.wav, /data/set one", "/data/set one")
        == "in set one/a.wav, set one"
    )


def test_values():
    given = {"path": "/a/b", "list": ["~/c/d", "e/f"], "n": 1, "to": "C:\\x\\y", "said": "at /a/b"}
    assert redact.shorten_paths(given) == {
        "path": "b",
        "list": ["d", "e/f"],
        "n": 1,
        "to": "y",
        "said": "at /a/b",
    }
