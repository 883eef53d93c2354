"""Text files of every kind with a byte-order mark, CRLF, blank last lines, and in UTF-16: read, or refused by
name.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paqa.cli.train import completions
from paqa.config.recipe import BenchmarkConfig, SourceConfig
from paqa.curation import contamination
from paqa.dataset import import_hyper
from paqa.engines import weights
from paqa.errors import PaqaError
from paqa.evaluation.benchmarks import read
from paqa.pipeline import recipe_files
from paqa.sources import tables
from paqa.sources.registry import recordings
from paqa.types import Quarantined, Recording

RECIPE = 'name = "n"\n\n[[sources]]\nname = "a"\ntype = "folder"\npath = "."\n'
ASKED = {
    "id": "q",
    "audio_path": "a.wav",
    "question": "Which\u2028one?",
    "choices": ["x", "y"],
    "answer": "x",
}
SEPARATORS = "a\u2028b\u2029c\x85d"


def _of_source(kind: str, path: Path) -> Any:
    folder = path.parent
    found = list(recordings(SourceConfig("s", kind, "." if kind == "references" else path.name), folder))
    wrong = [f"{row.reason}: {row.detail}" for row in found if isinstance(row, Quarantined)]
    if wrong:
        raise PaqaError("; ".join(wrong))
    return [(row.truth, row.questions) for row in found if isinstance(row, Recording)]


def _models(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PAQA_MODELS", str(path.parent))
    return weights.model_choices("whisper")


def _of_benchmark(path: Path) -> Any:
    return contamination.questions(BenchmarkConfig("b", questions=path.name), path.parent)


def _asked(path: Path) -> Any:
    return [(a.asked, a.answer) for a in read("mmau", path, path.parent, 16000)[0]]


def _imported(path: Path) -> Any:
    out = path.parent / "out"
    found = import_hyper.load(path, out)
    return found.rows, [row.reason for row in found.lost]


def rationale(answer: str) -> str:
    inside = "".join(f"<{tag}>x</{tag}>" for tag in ("PLANNING", "CAPTION", "REASONING", "SUMMARY"))
    return f"<THINK>{inside}</THINK><RESPONSE>{answer}</RESPONSE>"


FILES: dict[str, tuple[str, str, Any]] = {
    "recipe": ("r.toml", RECIPE, recipe_files.load),
    "jsonl": ("l.jsonl", json.dumps({"id": "r", "path": "a.wav", "text": SEPARATORS, "speaker": "s"},
              ensure_ascii=False) + "\n", lambda path: _of_source("jsonl", path)),
    "questions": ("q.jsonl", json.dumps(ASKED, ensure_ascii=False) + "\n",
                  lambda p: _of_source("questions", p)),
    "question list": ("q.json", json.dumps([ASKED]) + "\n", lambda p: _of_source("questions", p)),
    "rttm": ("a.rttm", "SPEAKER a 1 0 1 <NA> <NA> x <NA> <NA>\nSPEAKER a 1 1 1 <NA> <NA> y <NA> <NA>\n",
             lambda p: _of_source("references", p)),
    "stm": ("a.stm", "a 1 x 0 1 one\na 1 y 1 2 two\n", lambda p: _of_source("references", p)),
    "ctm": ("a.ctm", "a 1 0 1 one\na 1 1 1 two\n", lambda p: _of_source("references", p)),
    "csv": ("t.csv", "a,b\n1,2\n", lambda p: [dict(row.fields) for row in tables.rows(p, "s", ("a", "b"))]),
    "tsv": ("t.tsv", "a\tb\n1\t2\n",
            lambda p: [dict(row.fields) for row in tables.rows(p, "s", ("a", "b"), True)]),
    "benchmark": ("b.jsonl", json.dumps(ASKED, ensure_ascii=False) + "\n", _asked),
    "benchmark list": ("b.json", json.dumps([ASKED]) + "\n", _asked),
    "benchmark's copies": ("b.jsonl", json.dumps(ASKED, ensure_ascii=False) + "\n", _of_benchmark),
    "completions": ("c.jsonl", json.dumps({"id": "i", "completion": SEPARATORS}, ensure_ascii=False) + "\n",
                    completions),
    "released rows": ("r.jsonl", json.dumps({**ASKED, "output": rationale("(A) x")}) + "\n", _imported),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """A new folder with one audio file, at each call."""
    numbers = iter(range(9))

    def make() -> Path:
        path = tmp_path / str(next(numbers)) / "f"
        path.mkdir(parents=True)
        (path / "a.wav").write_bytes(b"x")
        return path

    return make


@pytest.mark.parametrize("kind", FILES)
def test_marks_line_ends_and_blank_lines_change_nothing(folder: Any, kind: str) -> None:
    name, text, reader = FILES[kind]

    def from_bytes(data: bytes) -> Any:
        path = folder() / name
        path.write_bytes(data)
        found = reader(path)
        return replace(found, folder="") if kind == "recipe" else found

    plain = from_bytes(text.encode())
    assert plain
    assert from_bytes(b"\xef\xbb\xbf" + text.encode()) == plain
    assert from_bytes(text.replace("\n", "\r\n").encode()) == plain
    assert from_bytes(text.encode() + b"\n \n\n") == plain


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_named(folder: Any, kind: str, encoding: str) -> None:
    name, text, reader = FILES[kind]
    path = folder() / name
    path.write_bytes(text.encode(encoding))
    with pytest.raises(PaqaError, match=r"UTF-16.*save it as UTF-8") as caught:
        reader(path)
    assert name in str(caught.value)


def test_models_list_with_a_mark(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder() / "models.toml"
    path.write_bytes(b'\xef\xbb\xbf[whisper]\nmodel = "tiny"\r\n')
    assert _models(path, monkeypatch) == {"model": "tiny"}
    path.write_bytes("[whisper]\n".encode("utf-16"))
    path.touch()
    with pytest.raises(PaqaError, match=r"models\.toml.*UTF-16"):
        _models(path, monkeypatch)
