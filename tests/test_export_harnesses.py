"""Tasks for evaluation harnesses: loaded and asked by the real packages where they are installed."""

import base64
import io
import json

import numpy as np
import pytest
import soundfile
from builds import make

from paqa.dataset import shards
from paqa.publish.export import harness
from paqa.publish.export.job import Job
from paqa.publish.export.registry import export
from paqa.rationale import grammar
from paqa.rationale.answers import choice_in_free_text


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make(tmp_path_factory.mktemp("build") / "made")


@pytest.fixture(scope="module")
def items(built):
    return {i.id: i for i in map(shards.item, shards.rows(built))}


@pytest.fixture(scope="module")
def folder(built, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "tasks"
    export("lmms_eval", built, out)
    return out


def rows(folder):
    return [json.loads(line) for line in (folder / harness.ROWS).read_text(encoding="utf-8").splitlines()]


def test_rows_hold_their_question_and_the_audio_of_another_clip(folder, items):
    closed = [i for i in items.values() if i.split == "test" and i.choices]
    assert {row["id"] for row in rows(folder)} == {i.id for i in closed}
    for row in rows(folder):
        item = items[row["id"]]
        assert row["choices"][row["answer_index"]] == row["answer"] == item.answer
        assert all(f"{grammar.letter(i)} {choice}" in row["prompt"] for i, choice in enumerate(item.choices))
        assert (folder / row["audio"]).is_file()
        assert row["other_audio"] != row["audio"]
        assert (folder / row["other_audio"]).is_file()


def test_what_is_played(folder):
    row = rows(folder)[0]
    clip, rate = soundfile.read(folder / row["audio"], dtype="float32", always_2d=True)
    other, _ = soundfile.read(folder / row["other_audio"], dtype="float32", always_2d=True)
    played = {name: harness.samples(folder, row, name) for name in harness.HEARINGS}
    assert np.allclose(played["audio"]["array"], clip.mean(1))
    assert np.allclose(played["another_clip"]["array"], other.mean(1))
    assert played["silence"]["array"].shape == played["audio"]["array"].shape
    assert not played["silence"]["array"].any()
    assert {p["sampling_rate"] for p in played.values()} == {rate}


def test_one_clip_has_no_other(built, tmp_path, monkeypatch):
    """Then there is no task that would play another one."""
    monkeypatch.setattr(Job, "rows", one_clip(Job.rows))
    export("lmms_eval", built, tmp_path / "out")
    assert {row["other_audio"] for row in rows(tmp_path / "out")} == {None}
    names = {p.name for p in (tmp_path / "out").glob("*.yaml")}
    assert names == {"paqa_all.yaml", "paqa_audio.yaml", "paqa_silence.yaml"}
    assert "another_clip" not in (tmp_path / "out" / "paqa_all.yaml").read_text()


def one_clip(rows):
    """The rows of the first clip alone."""

    def first(job):
        given = list(rows(job))
        return (row for row in given if row.item.clip_id == given[0].item.clip_id)

    return first


@pytest.mark.parametrize(
    ("completion", "named"),
    [
        ("(B) A cat", 1),
        ("B", 1),
        ("a cat.", 1),
        ("The answer is (B) A cat.", 1),
        ("**B. A cat**", 1),
        ("It meows at 2 s.\n\nFinal answer: B", 1),
        ("<THINK>(A) A dog</THINK><RESPONSE>(B) A cat</RESPONSE>", 1),
        ("<RESPONSE>(A) A dog</RESPONSE><FINAL_ANSWER>(B) A cat</FINAL_ANSWER>", 1),
        ("<RESPONSE>neither</RESPONSE>\nB", None),
        ("A dog or a cat", None),
        ("(A) A cat", None),
        ("I cannot tell.", None),
        ("", None),
    ],
)
def test_the_choice_that_free_text_names(completion, named):
    row = {"choices": ["A dog", "A cat"], "answer_index": 1}
    assert choice_in_free_text(completion, row["choices"]) == named
    assert harness.score(row, completion) == {
        "accuracy": float(named == 1),
        "unclear": float(named is None),
        "chance": 0.5,
    }


def test_lmms_eval_loads_the_tasks_and_scores_answers(folder, monkeypatch):
    """Its own task manager reads the YAML; its task objects give prompts, sound and scores."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tasks = pytest.importorskip("lmms_eval.tasks")
    manager = tasks.TaskManager("ERROR", include_path=str(folder), include_defaults=False)
    assert "paqa_all" in manager.all_groups
    loaded = manager.load_task_or_group(["paqa_all"])
    by_name = {
        name: task
        for group in loaded.values()
        for name, task in (group.items() if hasattr(group, "items") else ())
    }
    assert set(by_name) == {f"paqa_{hearing}" for hearing in harness.HEARINGS}
    for name, task in by_name.items():
        docs = list(task.test_docs())
        assert len(docs) == len(rows(folder))
        (sound,) = task.doc_to_visual(docs[0])
        expected = harness.samples(folder, docs[0], name.removeprefix("paqa_"))
        assert np.array_equal(sound["array"], expected["array"])
        assert task.doc_to_text(docs[0]) == docs[0]["prompt"]
        right = grammar.response(docs[0]["answer_index"], docs[0]["answer"])
        assert task.process_results(docs[0], [right])["accuracy"] == 1.0
        assert task.process_results(docs[0], ["no idea"])["unclear"] == 1.0


def test_inspect_ai_asks_a_model(built, tmp_path, monkeypatch):
    """Its own runner asks a model that answers (A); the scores are those of answering (A)."""
    inspect_ai = pytest.importorskip("inspect_ai")
    from inspect_ai.model import ModelAPI, ModelOutput, ModelUsage, modelapi

    out = tmp_path / "tasks"
    export("inspect_ai", built, out)
    played = {}

    @modelapi(name="first_choice")
    class FirstChoice(ModelAPI):
        async def generate(self, input, tools, tool_choice, config):
            sound, text = input[-1].content
            played.setdefault(sound.audio.partition(",")[2], text.text)
            output = ModelOutput.from_content("first_choice", "The answer is (A).")
            output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
            return output

    monkeypatch.chdir(out)
    logs = inspect_ai.eval("paqa_tasks.py", model="first_choice/x", log_dir=str(tmp_path), display="none")
    expected = np.mean([row["answer_index"] == 0 for row in rows(out)])
    assert {log.eval.task for log in logs} == set(harness.HEARINGS)
    for log in logs:
        assert log.status == "success"
        (scores,) = [s for s in log.results.scores if s.name == "accuracy"]
        assert scores.metrics["mean"].value == pytest.approx(expected)
    samples = [soundfile.read(io.BytesIO(base64.b64decode(sound)))[0] for sound in played]
    assert any(not s.any() for s in samples)
    assert any(s.any() for s in samples)
