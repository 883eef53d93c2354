"""Judged rows as figures and tables, and the real recordings that `make truth` judges rows of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from truth import active_spans, sound_list, written_rows

from paqa import audioset
from paqa.dataset.summary import Right, right_text
from paqa.errors import PaqaError
from paqa.evaluation import row_tables
from paqa.evaluation.judge import Verdict
from paqa.evaluation.row_audit import JudgedRow, summarize
from paqa.evaluation.row_question import Cause, Outcome
from paqa.evaluation.statements import Statement
from paqa.pipeline import recipe_files
from paqa.pipeline.clip_kinds import by_kind, scene_kind
from paqa.sources.jsonl import recordings
from paqa.types import Clip, Event, Recording, Scene, Turn

REAL = Path(__file__).parents[1] / "manifests" / "real"


def row(
    n: int, outcome: Outcome, cause: Cause | None = None, *false: str, confidence: float = 0.95
) -> JudgedRow:
    statements = tuple(Statement("wrong_words", text) for text in false)
    verdict = Verdict(outcome, cause, "", statements)
    return JudgedRow(f"r{n}", f"c{n // 2}", "set", "who_says", None, confidence, verdict)


ROWS = [
    row(0, "right"),
    row(1, "right", None, "said otherwise"),
    row(2, "wrong_answer", "attribution"),
    row(3, "false_premise", "wrong_class", confidence=0.15),
    row(4, "misquoted", "wrong_words"),
    row(5, "unjudged"),
]


def test_judged_rows_are_counted() -> None:
    audit = summarize(ROWS, 4)
    whole = audit.overall
    assert (whole.rows, whole.judged, whole.right, whole.nothing_false) == (6, 5, 2, 1)
    assert (whole.wrong_answer, whole.false_premise, whole.misquoted, whole.unjudged) == (1, 1, 1, 1)
    assert whole.right_share == pytest.approx(0.4)
    assert whole.right_interval is not None
    assert whole.right_interval[0] <= 0.4 <= whole.right_interval[1]
    assert audit.causes == {"attribution": 1, "wrong_class": 1, "wrong_words": 1}
    assert audit.false_statements == {"wrong_words": 1}
    assert audit.reliability is not None
    assert audit.reliability.count == 5
    assert [c.name for c in audit.by_template] == ["who_says"]


def test_tables_of_judged_rows() -> None:
    audit = summarize(ROWS, 4)
    text, markdown = row_tables.text(audit), row_tables.markdown(audit)
    for shown in (text, markdown):
        assert "4 clips with truth: 1.50 rows and 0.50 right rows a clip" in shown
        assert "40.0" in shown
        assert "wrong class" in shown
    assert "| all | 6 | 40.0 |" in markdown
    assert row_tables.percent(summarize(ROWS[5:], 1).overall.right_share) == "-"
    line = json.loads(written_rows("set", ROWS)[1])
    assert (line["outcome"], line["false"]) == ("right", [["wrong_words", "said otherwise"]])


def test_kinds_of_clips() -> None:
    turns = (Turn(0, 900, 1), Turn(1000, 2000, 2))
    sounds = (Event(0, 900, "Rain", audioset.mid("Rain")),)
    kinds = [
        scene_kind(Scene("c", 3000, turns=t, events=e))
        for t, e in (((), ()), ((), sounds), (turns[:1], ()), (turns, sounds))
    ]
    assert kinds == [
        "nothing heard",
        "background alone",
        "one speaker, no background",
        "several speakers over a background",
    ]
    clips = [Clip(f"c{n}", "c.wav", "0" * 64, 30_000, 16_000, "s", "s", "MIT", ("g",), "train") for n in "ab"]
    (kind,) = by_kind(clips, {"ca": kinds[2], "cb": kinds[2]}, [])
    assert (kind.clips, kind.minutes, kind.rows, kind.rows_per_minute) == (2, 1.0, 0, 0.0)


def test_the_summary_says_what_is_expected_and_what_is_measured() -> None:
    class Figures:
        expected_right, predicted, right = None, 0, None

    assert right_text(Figures) == ""  # type: ignore[arg-type]
    Figures.expected_right, Figures.predicted = 0.93, 200  # type: ignore[assignment]
    assert right_text(Figures).startswith("93% of 200 from predictions expected; measured by an audit")  # type: ignore[arg-type]
    Figures.right = Right(50, 46, 41)  # type: ignore[assignment]
    assert "of 50 that truth can judge, 92% are right and 82% right" in right_text(Figures)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sentences", "meetings", "mixed"])
def test_the_real_recordings_are_whole(name: str) -> None:
    recipe = recipe_files.load(REAL / f"{name}.toml")
    for source in recipe.sources:
        rows = list(recordings(source, REAL / source.path))
        assert rows
        assert all(isinstance(r, Recording) and r.truth for r in rows)
        assert all(((REAL / source.path).parent / r.uri).exists() for r in rows if isinstance(r, Recording))
    if name != "mixed":
        assert {r.license for r in rows if isinstance(r, Recording)} == {"CC-BY-4.0"}
        covered = {r.truth_covers for r in rows if isinstance(r, Recording)}
        assert covered == {("turns", "events")}


def test_the_real_recordings_are_small_and_their_origin_is_named() -> None:
    files = [path for path in REAL.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10_000_000
    licences = (REAL / "LICENSES.md").read_text(encoding="utf-8")
    for path in files:
        if path.suffix == ".flac":
            assert path.stem.rpartition("-")[0] in licences or path.stem.startswith("trn")


def test_sounds_of_a_folder(tmp_path: Path) -> None:
    import soundfile

    samples = np.zeros(32_000, np.float32)
    samples[4000:8000] = 0.5
    samples[16_000:24_000] = 0.4
    (tmp_path / "given").mkdir()
    soundfile.write(tmp_path / "given" / "dog_bark-1.wav", samples, 16_000)
    assert active_spans(samples, 16_000) == [(250, 500), (1000, 1500)]
    whole = json.loads(sound_list(tmp_path / "given", tmp_path / "whole.jsonl", whole=True).read_text())
    assert [(e["label"], e["start_ms"], e["end_ms"]) for e in whole["events"]] == [("Dog", 0, 2000)]
    active = json.loads(sound_list(tmp_path / "given", tmp_path / "active.jsonl", whole=False).read_text())
    assert [e["start_ms"] for e in active["events"]] == [250, 1000]
    (tmp_path / "none").mkdir()
    with pytest.raises(PaqaError, match=r"found no \.wav"):
        sound_list(tmp_path / "none", tmp_path / "x.jsonl", whole=True)
