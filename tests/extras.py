"""What every command does where paqa is installed with one extra alone: it works, or one line names an extra.

    python tests/extras.py EXTRA BUILD [--hide]

BUILD is the folder of a finished build. `--hide` makes an environment with everything look like one with
EXTRA alone; without it, this environment is tried as it is (`.ci/extras`). Exits 1 where a command is not as
it should be.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.metadata
import io
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXTRAS = ("none", "audio", "embedded", "audit", "hub", "cluster")
ONE_LINE = re.compile(r"paqa(-train)? \S+: .*run: uv pip install 'paqa\[[a-z0-9,]+\]'\n")
# Words of a command, in which BUILD and OUT stand for folders; the extras with which it has to work, "" for
# all; the
# statuses with which it does.
COMMANDS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("--help", "", (0,)),
    ("init OUT/new.toml", "", (0,)),
    ("doctor", "", (0, 1)),
    ("doctor --profile paper", "", (0, 1)),
    ("check BUILD", "", (0,)),
    ("show BUILD", "", (0,)),
    ("shortcuts BUILD", "", (2,)),  # BUILD has none
    ("report BUILD --out OUT/report", "", (0,)),
    ("report BUILD --review 2 --out OUT/review", "", (0,)),
    ("diff BUILD BUILD --html OUT/diff.html", "", (0,)),
    ("verdicts BUILD OUT/new.toml", "", (2,)),  # no verdicts
    ("export swift BUILD OUT/swift", "", (0,)),
    ("export lmms_eval BUILD OUT/lmms", "", (0,)),
    ("export webdataset BUILD OUT/webdataset", "", (0,)),
    ("import OUT/new.toml --out OUT/released", "", (2,)),  # no rows
    ("audit BUILD", "embedded", (2,)),  # BUILD's store has nothing that was heard
    ("push BUILD somebody/none", "hub", (2,)),  # no network
    ("build --audio OUT --out OUT/build", "embedded", (2,)),  # no certificates, see below
    ("build --audio OUT --out OUT/build --profile paper", "paper", (2,)),
    ("build --audio OUT --out OUT/build --runner ray", "cluster+embedded", (2,)),
    ("ui --out OUT/build --port 99999", "embedded cluster", (2,)),  # no such port
    ("train score BUILD", "", (0,)),
    ("train sft --model OUT --data BUILD --out OUT/sft", "train", (2,)),
    ("train base --out OUT/base", "train", (2,)),
)


def packages(extra: str) -> set[str]:
    """The names of all distributions that paqa with this extra wants, as far as they are installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    waiting, names = [*project["dependencies"], *extras.get(extra, ())], set[tuple[str, str]]()
    while waiting:
        text = waiting.pop()
        head = re.match(r"([\w.-]+)\s*(?:\[([\w, -]+)\])?", text)
        assert head is not None
        name, wanted = normal(head[1]), {part.strip() for part in (head[2] or "").split(",")}
        for part in wanted:
            if (name, part) in names:
                continue
            names.add((name, part))
            if name == "paqa":
                waiting += extras[part]
                continue
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                waiting += [r for r in importlib.metadata.requires(name) or () if applies(r, part)]
    return {name for name, _ in names}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def applies(requirement: str, extra: str) -> bool:
    """Whether a requirement is one without the extra, or of it; other markers count as true."""
    marked = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
    return marked is None or normal(marked[1]) == normal(extra)


class Hidden(importlib.abc.MetaPathFinder):
    """Makes the modules of distributions that an extra does not bring impossible to import, and unknown to
    metadata.
    """

    def __init__(self, extra: str):
        kept = packages(extra) | {"paqa"}
        owners = importlib.metadata.packages_distributions()
        self.modules = {m for m, names in owners.items() if not any(normal(n) in kept for n in names)} - {
            "flows"
        }
        self.kept = kept
        self.find = importlib.metadata.Distribution.from_name

    def install(self) -> None:
        self.others = list(sys.meta_path)
        sys.meta_path[:] = [self]
        importlib.metadata.Distribution.from_name = self.from_name  # type: ignore[method-assign, assignment]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in self.modules:
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.others)
        return next((spec for spec in specs if spec is not None), None)

    def find_distributions(self, *context: Any) -> Iterator[importlib.metadata.Distribution]:
        for finder in self.others:
            yield from getattr(finder, "find_distributions", lambda *_: ())(*context)

    def from_name(self, name: str) -> importlib.metadata.Distribution:
        if normal(name) not in self.kept:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.find(name)


def call(words: list[str]) -> tuple[int, str]:
    """Status and stderr of a command, in this process."""
    from paqa.cli import main as command
    from paqa.cli import train

    main, words = (train.main, words[1:]) if words[0] == "train" else (command.main, words)
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            status = main(words)
        except SystemExit as end:
            status = int(end.code or 0)
    return status, said.getvalue()


def wrong(extra: str, build: Path) -> list[str]:
    """What the commands do that they should not."""
    found = []
    with tempfile.TemporaryDirectory() as out:
        for text, works_with, statuses in COMMANDS:
            words = text.replace("BUILD", str(build)).replace("OUT", out).split()
            status, said = call(words)
            works = not works_with or extra in works_with.split()
            lines = [
                line for line in said.splitlines(True) if not line.startswith(("ALL_PROXY", "all_proxy"))
            ]
            named = status == 2 and ONE_LINE.fullmatch("".join(lines)) is not None
            fine = status in statuses and not named if works else named
            print(
                f"{'ok' if fine else 'WRONG':<6} {text:<60} {status} {''.join(lines)[:300].strip()}",
                flush=True,
            )
            found += [] if fine else [text]
    return found


if __name__ == "__main__":
    os.environ.update({"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "HF_ENDPOINT": "http://127.0.0.1:9"})
    os.environ["SSL_CERT_FILE"] = (
        "/nonexistent"  # ends a build that has all its packages before it starts a server
    )
    if "--hide" in sys.argv:
        Hidden(sys.argv[1]).install()
    sys.exit(1 if wrong(sys.argv[1], Path(sys.argv[2]).resolve()) else 0)
