"""Benchmarks of today in their own layouts: what is asked, what is not, and what their scorers are given."""

import json
import math
import typing
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from paqa.errors import PaqaError
from paqa.evaluation import benchmarks
from paqa.evaluation.benchmarks import BENCHMARKS, EvalQuestion
from paqa.evaluation.choice_orders import in_orders, order_figures
from paqa.rationale.prompt import PromptQuestion

RATE = 16000
CHOICES = ["A dog", "A cat", "A bell", "Rain"]


@pytest.fixture
def ramp(tmp_path):
    """Four seconds of which each sample tells its time."""
    samples = np.linspace(0, 0.9, 4 * RATE, dtype=np.float32)
    soundfile.write(tmp_path / "ramp.wav", samples, RATE, subtype="FLOAT")
    return samples


def read(name, path):
    return benchmarks.read(name, path, path if path.is_dir() else path.parent, RATE)


def test_the_command_line_knows_every_benchmark():
    config = pytest.importorskip("paqa.train.config")
    assert set(typing.get_args(config.Benchmark)) == {"paqa", *BENCHMARKS}


def test_mmau_pro_is_read_from_parquet_and_answered_there(tmp_path, ramp):
    """Rows without choices and with several recordings cannot be asked; their answers are empty."""
    row = {"id": "a", "audio_path": ["ramp.wav"], "question": "Which?", "choices": CHOICES, "answer": "A cat"}
    row |= {"category": "sound", "perceptual_skills": ["timbre"]}
    rows = [
        row,
        {**row, "id": "b", "audio_path": ["ramp.wav", "ramp.wav"], "category": "multi"},
        {**row, "id": "c", "choices": [], "answer": "It is a cat.", "category": "open"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    asked, unasked = read("mmau_pro", tmp_path / "test.parquet")
    assert [(a.asked.id, a.answer_index, a.task) for a in asked] == [("a", 1, "sound")]
    assert [(u.where, u.reason) for u in unasked] == [
        ("test.parquet[1]", "several_recordings"),
        ("test.parquet[2]", "no_choices"),
    ]
    assert np.allclose(asked[0].listen(), ramp, atol=1e-4)
    benchmarks.write("mmau_pro", tmp_path / "out.json", asked, ["<RESPONSE>(B) A cat</RESPONSE>"], unasked)
    written = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(r["id"], r["model_output"]) for r in written] == [("a", "A cat"), ("b", ""), ("c", "")]
    assert written[0]["perceptual_skills"] == ["timbre"]


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "test.parquet").write_text("no")
    with pytest.raises(PaqaError, match=r"test.parquet cannot be read .*expected Parquet"):
        read("mmau_pro", tmp_path / "test.parquet")


def test_adqa_keeps_the_answers_of_its_evaluation_set(tmp_path, ramp):
    """Rows without an answer are asked and written, and count as nothing in the figures."""
    row = {"id": "dev_1", "audio_path": "ramp.wav", "question_text": "Which?", "multi_choice": CHOICES}
    lines = [json.dumps({**row, "answer": "Rain"}), json.dumps({**row, "id": "eval_1"})]
    (tmp_path / "dev.jsonl").write_text("\n".join(lines))
    asked, unasked = read("adqa", tmp_path / "dev.jsonl")
    assert not unasked
    assert [(a.answer_index, a.scored) for a in asked] == [(3, True), (None, False)]
    benchmarks.write(
        "adqa", tmp_path / "out.json", asked, ["<RESPONSE>D</RESPONSE>", "<RESPONSE>A bell</RESPONSE>"]
    )
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [r["answer_prediction"] for r in written] == ["Rain", "A bell"]
    evaluate = pytest.importorskip("paqa.train.evaluate")
    right = evaluate.Answer("<RESPONSE>(D) Rain</RESPONSE>")
    figures = evaluate.figures(asked, [right, right])
    assert (figures["accuracy"], figures["rows"], figures["unscored"]) == (1.0, 2.0, 1.0)
    assert "accuracy" not in evaluate.figures(asked[1:], [right])


def msu(folder):
    """A folder as merge_cn_en.py writes it, with a question of each kind."""
    part = {"start_time": 1.0, "end_time": 1.5}
    options = [f"{letter}. {choice}" for letter, choice in zip("ABCD", CHOICES, strict=True)]
    plain = {"question": "Who?", "options": options, "answer": "B", "rationale": ["unknown"] * 4}
    questions = [
        {"speaker_meta": {"spk_a": [part, part], "spk_b": [part]}},
        {**plain, "question_type": "time_index"},
        {**plain, "question_type": "no_index"},
        {**plain, "question_type": "no_index", "pair": {"left": "spk_a[0]", "right": "spk_b[0]"}},
    ]
    path = folder / "en" / "film" / "QA_short" / "s1" / "level1" / "accent.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"source_audio": "ramp.wav", "qa_result": questions}))
    return path.relative_to(folder).as_posix()


def test_msu_bench_is_asked_about_the_part_that_its_own_pipeline_plays(tmp_path, ramp):
    name = msu(tmp_path)
    asked, unasked = read("msu_bench", tmp_path)
    assert [a.asked.choices for a in asked] == [tuple(CHOICES)] * 2
    assert [(a.answer_index, a.task) for a in asked] == [(1, "accent")] * 2
    assert [(u.where, u.reason) for u in unasked] == [(f"{name}[3]", "several_recordings")]
    assert len(asked[0].listen()) == 4 * RATE
    assert np.allclose(asked[1].listen(), ramp[RATE : RATE + RATE // 2], atol=1e-4)
    said = ["<RESPONSE>(B) A cat</RESPONSE>", "<RESPONSE>no idea</RESPONSE>"]
    benchmarks.write("msu_bench", tmp_path / "out.json", asked, said)
    written = json.loads((tmp_path / "out" / name).read_text())["qa_result"]
    assert [(r["reference_result"], r["answer"], r["rationale"]) for r in written] == [
        ("B", "B", ["unknown"] * 4),
        ("", "B", ["unknown"] * 4),
    ]


def test_a_folder_without_questions_is_named(tmp_path):
    with pytest.raises(
        PaqaError, match=r"expected the folder of JSON files that MSU-Bench's merge_cn_en\.py"
    ):
        read("msu_bench", tmp_path)
    (tmp_path / "broken.json").write_text("{")
    _, unasked = read("msu_bench", tmp_path)
    assert [(u.where, u.reason) for u in unasked] == [("broken.json", "broken_json")]


def test_what_figures_are_of_is_kept(tmp_path):
    (tmp_path / "q.json").write_text("[]")
    origin = benchmarks.origin("mmau", tmp_path / "q.json", 0)
    assert origin["release"] == "MMAU v05.15.25"
    assert (origin["file"], len(origin["sha256"])) == ("q.json", 64)
    (tmp_path / "q.json").write_text("[ ]")
    assert benchmarks.origin("mmau", tmp_path / "q.json", 0)["sha256"] != origin["sha256"]


def question(name="q", choices=tuple(CHOICES), index=1):
    return EvalQuestion(PromptQuestion(name, "Which?", choices), index, choices[index], lambda: None, {})


@pytest.mark.parametrize(("choices", "orders", "expected"), [(4, 1, 1), (4, 6, 6), (4, 99, 24), (2, 5, 2)])
def test_orders_of_choices_differ_and_keep_the_answer(choices, orders, expected):
    asked = list(in_orders(question(choices=tuple(CHOICES[:choices])), orders, 0))
    assert asked[0] == question(choices=tuple(CHOICES[:choices])) or asked[0].asked.id == "q"
    assert len({a.asked.choices for a in asked}) == len({a.asked.id for a in asked}) == expected
    assert expected <= math.factorial(choices)
    assert all(a.asked.choices[a.answer_index] == "A cat" for a in asked)
    again = [a.asked for a in in_orders(question(choices=tuple(CHOICES[:choices])), orders, 0)]
    assert [a.asked for a in asked] == again
    assert [a.order for a in asked] == list(range(expected))


def test_an_answer_that_depends_on_the_order_is_inconsistent():
    asked = [a for name in ("p", "q") for a in in_orders(question(name), 4, 0)]
    same_words = ["<RESPONSE>A cat</RESPONSE>"] * 8
    assert order_figures(asked, same_words) == {"consistency": 1.0, "accuracy_every_order": 1.0}
    same_letter = ["<RESPONSE>(A)</RESPONSE>"] * 4 + same_words[:4]
    assert order_figures(asked, same_letter) == {"consistency": 0.5, "accuracy_every_order": 0.5}
    wrong = ["<RESPONSE>A dog</RESPONSE>"] * 4 + ["nothing"] * 4
    assert order_figures(asked, wrong) == {"consistency": 0.5, "accuracy_every_order": 0.0}
    assert order_figures([replace(question(), order=0)], ["<RESPONSE>A cat</RESPONSE>"]) == {}
