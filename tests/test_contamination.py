"""Nothing of a named benchmark gets into a build: not its questions, not its recordings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
from conftest import build
from test_shortcuts import item
from test_split import clip

from paqa.audio.fingerprint import Match
from paqa.config.recipe import AudioConfig, BenchmarkConfig
from paqa.curation import contamination
from paqa.dataset import shards
from paqa.errors import PaqaError
from paqa.pipeline import worker_steps
from paqa.storage.store import Store
from paqa.text import normal

MMAU = [
    {"id": "1", "audio_id": "./a.wav", "question": "What animal is heard at the end?",
     "choices": ["Dog", "Cat", "Cow"], "answer": "Dog"},
    {"question": "How many speakers are there?", "choices": ["One", "Two", "Three", "Four"], "answer": "Two"},
]  # fmt: skip
CONFIG = BenchmarkConfig("mmau", "mmau.json")


def known(tmp_path: Path, rows: list[dict], lines: bool = False) -> list[contamination.BenchmarkQuestion]:
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows, indent=1)
    (tmp_path / "mmau.json").write_text(text)
    return contamination.questions(CONFIG, tmp_path)


@pytest.mark.parametrize("lines", [False, True])
def test_json_and_json_lines(tmp_path: Path, lines: bool) -> None:
    questions = known(tmp_path, MMAU, lines)
    assert [k.question for k in questions] == [
        "what animal is heard at the end",
        "how many speakers are there",
    ]
    assert questions[0].choices == {"dog", "cat", "cow"}


def test_the_columns_of_other_benchmarks(tmp_path: Path) -> None:
    mmsu = {"question": "Who?", "choice_a": "Ann", "choice_b": "Ben"}
    avqa = {"question_text": "What?", "multi_choice": ["x", "y"], "answer": 0}
    assert [k.choices for k in known(tmp_path, [mmsu, avqa])] == [{"ann", "ben"}, {"x", "y"}]


@pytest.mark.parametrize(
    "offered",
    [
        {"options": ["Ann", "Ben"]},
        {"choices": ["(A) Ann", "(B) Ben"]},
        {"choices": "A. Ann\nB. Ben"},
        {"choices": [], "choice_a": "Ann", "choice_b": "Ben", "choice_c": ""},
    ],
)
def test_choices_are_read_as_the_evaluation_reads_them(tmp_path: Path, offered: dict) -> None:
    (question,) = known(tmp_path, [{"question": "Who?", **offered}])
    assert question.choices == {"ann", "ben"}
    other = replace(item("other", ("Cem", "Dee")), question="Who?")
    assert contamination.copied_questions([other], [question], {"mmau": 0.9}) == []


@pytest.mark.parametrize(
    ("offered", "choices"), [([None, "Ann"], {"none", "ann"}), ("anything", {"anything"}), (7, {"7"})]
)
def test_odd_choices_end_nothing(tmp_path: Path, offered: object, choices: set) -> None:
    (question,) = known(tmp_path, [{"question": "Who?", "choices": offered}])
    assert question.choices == choices


def test_a_benchmark_in_parquet_is_compared(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(MMAU), tmp_path / "test.parquet")
    questions = contamination.questions(BenchmarkConfig("pro", "test.parquet"), tmp_path)
    assert [len(question.choices) for question in questions] == [3, 4]
    (tmp_path / "test.parquet").write_text("no table")
    with pytest.raises(PaqaError, match=r"gates.benchmarks 'pro': .*expected Parquet"):
        contamination.questions(BenchmarkConfig("pro", "test.parquet"), tmp_path)


def test_a_question_with_its_choices_is_a_copy_and_a_common_wording_is_not(tmp_path: Path) -> None:
    animals = ("A dog", "Cat", "Cow", "Dog")
    rows = [
        replace(item("copy", animals), question="What animal was heard at the end?"),
        replace(
            item("other choices", ("Siren", "Bell", "Horn", "Dog")),
            question="What animal is heard at the end?",
        ),
        replace(item("other question", animals), question="Which of these sounds comes first?"),
        replace(item("count", ("Five", "Six", "Seven", "Two")), question="How many speakers are there?"),
        replace(item("same count", ("Four", "One", "Three", "Two")), question="How many speakers are there?"),
    ]
    lost = contamination.copied_questions(rows, known(tmp_path, MMAU), {"mmau": 0.9})
    assert [(q.id, q.reason) for q in lost] == [("copy", "contaminated"), ("same count", "contaminated")]
    assert "benchmark 'mmau'" in lost[0].detail
    assert [q.id for q in contamination.copied_questions(rows, known(tmp_path, MMAU), {"mmau": 1.0})] == [
        "same count"
    ]
    assert contamination.copied_questions(rows, [], {}) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "mmau.json:1: no JSON"), ("[]", "holds no row with a `question`"),
        ("[1, 2]", r"mmau.json\[0\]: found '1', expected an object"), ("[1, 2", "is no JSON list"),
    ],
)  # fmt: skip
def test_a_file_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mmau.json").write_text(text)
    with pytest.raises(PaqaError, match=message):
        contamination.questions(CONFIG, tmp_path)
    with pytest.raises(PaqaError, match=r"cannot be read \(No such file.*relative to the recipe"):
        contamination.questions(CONFIG, tmp_path / "elsewhere")


def test_recordings_of_a_benchmark(tmp_path: Path) -> None:
    config = BenchmarkConfig("mmau", audio="audio")
    with pytest.raises(PaqaError, match="holds no audio"):
        contamination.recordings(config, tmp_path)
    (tmp_path / "audio" / "deep").mkdir(parents=True)
    (tmp_path / "audio" / "deep" / "x.WAV").touch()
    for name in ("notes.txt", "._x.wav", "a.aif", "b.caf", "c.au", "d.mka", "e.oga", "f.weba"):
        (tmp_path / "audio" / name).touch()
    names = ["a.aif", "b.caf", "c.au", "d.mka", "deep/x.WAV", "e.oga", "f.weba"]
    assert contamination.recordings(config, tmp_path) == [tmp_path / "audio" / name for name in names]
    assert contamination.recordings(BenchmarkConfig("none"), tmp_path) == []


def test_a_recording_of_a_benchmark_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 32_000), 16_000)
    files = [tmp_path / "noise.wav", tmp_path / "text.wav", tmp_path / "no.wav"]
    prints = worker_steps.file_prints(files, AudioConfig(), Store(tmp_path / "store"))
    assert [len(frames) > 0 for frames, _ in prints] == [True, False, False]
    (line,) = contamination.not_compared(files, [why for _, why in prints])
    assert line.startswith(
        f"2 of 3 recordings of benchmarks were not compared with the clips: {tmp_path}/text.wav is no"
    )
    assert line.endswith("(and 1 more)")
    assert contamination.not_compared(files, ["", "", ""]) == []


def test_a_clip_of_a_benchmark_takes_its_whole_file_along() -> None:
    clips = [clip("a@0", "g", "a.wav"), clip("a@30000", "g", "a.wav"), clip("b", "g"), clip("c", "h")]
    files = [Path("x.wav"), Path("y.wav")]
    matches = [Match(0, 5, 3000, 0.3, 0.2), Match(2, 3, 3000, 1, 1), Match(4, 5, 3000, 1, 1)]
    lost = contamination.clips_with_recordings(clips, matches, files)
    assert sorted(lost) == [0, 1]
    assert {q.reason for q in lost.values()} == {"contaminated"}
    assert "y.wav" in lost[0].detail


def test_a_build_leaves_a_benchmark_out(corpus: Path, built, tmp_path: Path) -> None:
    """A benchmark that has a sound of the recipe, louder and resampled, and questions of an earlier build."""
    (tmp_path / "demo").symlink_to(corpus / "demo")
    (tmp_path / "recordings").symlink_to(corpus / "recordings")
    samples, rate = soundfile.read(corpus / "recordings" / "rooster-01.flac")
    (tmp_path / "bench").mkdir()
    soundfile.write(tmp_path / "bench" / "1.wav", 0.4 * soxr.resample(samples, rate, 44_100), 44_100)
    (tmp_path / "bench" / "broken.aif").write_text("no sound")
    earlier = [row for row in shards.rows(built.out, ("question", "choices", "answer")) if row["choices"]]
    (tmp_path / "bench.json").write_text(json.dumps([{**row, "audio_id": "1"} for row in earlier]))
    recipe = tmp_path / "small.toml"
    more = '\n[[gates.benchmarks]]\nname = "bench"\nquestions = "bench.json"\naudio = "bench"\n'
    recipe.write_text((corpus / "small.toml").read_text() + more)
    done = build(recipe, tmp_path / "out", "--store", built.store, "--workers", "1")
    lost = [q for q in shards.quarantined(done.out) if q.reason == "contaminated"]
    assert {q.id for q in lost if q.stage == "split"} >= {"rooster-01.flac"}
    assert any(q.stage == "gates" for q in lost)
    (warning,) = (w for w in done.summary["warnings"] if "benchmarks" in w)
    assert warning.startswith("1 of 2 recordings of benchmarks were not compared")
    asked = {(normal(row["question"]), frozenset(map(normal, row["choices"]))) for row in earlier}
    kept = list(shards.rows(done.out, ("question", "choices")))
    assert kept
    assert not [r for r in kept if (normal(r["question"]), frozenset(map(normal, r["choices"]))) in asked]
