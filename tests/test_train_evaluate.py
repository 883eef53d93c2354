"""Evaluation counts every question, tells hearing from guessing, and writes what the official scorers
read.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import soundfile
import train_tiny as tiny

torch = pytest.importorskip("torch")
pytest.importorskip("jiwer")

from paqa.cli.train import main  # noqa: E402
from paqa.errors import PaqaError  # noqa: E402
from paqa.evaluation import benchmarks  # noqa: E402
from paqa.evaluation.benchmarks import EvalQuestion  # noqa: E402
from paqa.publish.export.registry import export  # noqa: E402
from paqa.rationale import grammar  # noqa: E402
from paqa.rationale.prompt import PromptQuestion, question  # noqa: E402
from paqa.train import evaluate, model  # noqa: E402
from paqa.train.batch_layout import Tree  # noqa: E402
from paqa.train.config import EvalConfig, PauseConfig  # noqa: E402
from paqa.train.evaluate import Answer, figures  # noqa: E402
from paqa.train.figures import perception_figures, predicted_scene  # noqa: E402
from paqa.train.forced_choice import before_answer, likeliest_choice  # noqa: E402
from paqa.train.pause_tokens import Bounds  # noqa: E402
from paqa.types import Event, Scene, Turn  # noqa: E402

CHOICES = ("a dog barking", "a cat", "a bell", "rain")


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A model that knows four sounds by heart, and rows to test it on."""
    folder = tmp_path_factory.mktemp("eval")
    tiny.folder(folder / "base", head=4.0)
    items = [tiny.item(label, split, n) for label in tiny.HEARD for n, split in enumerate(("train", "test"))]
    items = [
        replace(i, subsets=("ENVQA-hard",)) if "bark" in i.id and i.split == "test" else i for i in items
    ]
    tiny.build(folder / "build", items)
    flags = ["--model", folder / "base", "--data", folder / "build", "--out", folder / "run", "--steps", 80]
    flags += [
        "--learning-rate",
        0.01,
        "--rank",
        16,
        "--alpha",
        32,
        "--batch",
        1,
        "--tokens",
        2000,
        "--warmup",
        2,
    ]
    flags += ["--validation", 0, "--device", "cpu", "--quiet", "--pause-share", 0, "--no-tensorboard"]
    assert main(["sft", *map(str, flags)]) == 0
    return folder


def config(there, out, **changes) -> EvalConfig:
    plain = EvalConfig(
        model=str(there / "run" / "last"), data=str(there / "build"), out=str(out), device="cpu", quiet=True,
        max_new=200, batch=3, hearing=("audio", "silence", "shuffled"), labels=True,
    )  # fmt: skip
    return replace(plain, **changes)


def test_it_tells_hearing_from_guessing(there, tmp_path):
    found = evaluate.run(config(there, tmp_path))
    audio = found["audio"]
    assert audio["accuracy"] == audio["format"] == audio["perception"] == audio["event_f1"] == 1.0
    assert audio["accuracy/ENVQA-hard"] == audio["accuracy/sounds"] == audio["speaker_count"] == 1.0
    assert found["silence"]["accuracy"] <= 0.25
    assert found["shuffled"]["accuracy"] == 0.0  # every clip is that of another answer
    assert audio["pauses"] == 0.0
    assert 100 < audio["tokens"] < 200
    assert found["labels"]["classes"] == 4
    assert 0 < found["labels"]["map"] <= 1
    assert json.loads((tmp_path / "eval.json").read_text()) == found


def test_answers_are_scored_alike_by_score(there, tmp_path, capsys):
    flags = [
        "--model",
        there / "run" / "last",
        "--data",
        there / "build",
        "--out",
        tmp_path,
        "--device",
        "cpu",
    ]
    assert main(["eval", *map(str, flags), "--quiet", "--max-new", "200"]) == 0
    assert "accuracy " in capsys.readouterr().out
    assert main(["score", str(there / "build"), str(tmp_path / "answers-audio.jsonl")]) == 0
    overall = capsys.readouterr().out.splitlines()[1].split()
    assert overall[:4] == ["all", "4", "1.000", "1.000"]  # the four rows of the train split were not asked


def test_with_pause_and_without(there, tmp_path):
    pause = PauseConfig(tokens=3, runs=1, window=4, warmup=4, quantile=0.5)
    found = evaluate.run(config(there, tmp_path, hearing=("audio",), pause=pause, labels=False))
    assert found["audio"]["pauses"] == 0.0
    assert found["audio+pause"]["pauses"] > 0.0
    assert found["audio"]["accuracy"] == 1.0


def test_it_pauses_as_the_model_was_trained_to(there, tmp_path):
    trained = PauseConfig(tokens=3, runs=1, window=4, warmup=4, tau_pause=0.5)
    assert evaluate.pause_config_of(PauseConfig(mode="always"), trained) == replace(trained, mode="always")
    assert evaluate.pause_config_of(PauseConfig(tokens=5), trained) == PauseConfig(tokens=5)
    assert evaluate.pause_config_of(PauseConfig(), None) == PauseConfig()
    policy = model.load(str(there / "run" / "last"), "cpu")
    policy.pause_config, policy.bounds = trained, Bounds(0.5)
    policy.save(tmp_path / "saved")
    again = model.load(str(tmp_path / "saved"), "cpu")
    assert (again.pause_config, again.bounds) == (trained, Bounds(0.5))
    many = replace(trained, tau_pause=900.0)  # said explicitly, against what the model knows
    found = evaluate.run(
        config(
            there,
            tmp_path / "out",
            model=str(tmp_path / "saved"),
            hearing=("audio",),
            pause=many,
            labels=False,
        )
    )
    assert found["audio+pause"]["pauses"] == 1.0


def test_an_empty_split_is_named(there, tmp_path):
    with pytest.raises(PaqaError, match=r"nothing to ask in its split validation \(found test 4, train 4\)"):
        evaluate.run(config(there, tmp_path, split="validation"))


def test_clips_that_are_too_long_count_as_wrong(there, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.Rows, "samples", lambda self, row: tiny.sounds(2.5)[0])
    found = evaluate.run(config(there, tmp_path, hearing=("audio",), labels=False))
    assert (found["audio"]["rows"], found["audio"]["accuracy"], found["audio"]["cut"]) == (4.0, 0.0, 1.0)


def test_perceptual_fields_by_hand():
    turns = (Turn(0, 900, 1, "Please open the"), Turn(1000, 1900, 2, "Window."))
    scene = Scene("c", 3000, turns, (), (Event(0, 9, "Rain", "/r"), Event(0, 9, "Bark", "/b")))
    item = replace(tiny.item("Rain"), scene=scene)
    env = "<ENV>Rain [0.00-1.00 s]\nMoo [0.00-1.00 s]</ENV>"
    text = f'{env}<SPEAKER>Speaker 1 [0.00-0.90 s]: "x"</SPEAKER><ASR>please close the window now</ASR>'
    stated = predicted_scene(scene, text)
    assert [(e.start_ms, e.end_ms, e.label) for e in stated.events] == [(0, 1000, "rain"), (0, 1000, "moo")]
    assert stated.turns == (Turn(0, 900, 1, "x"),)
    found = perception_figures([(item, text)])
    assert found["wer"] == pytest.approx(2 / 4)
    assert found["event_f1"] == pytest.approx(0.5)
    assert found["event_f1_timed"] == 0.0  # 9 ms of rain are not 1 s
    assert found["speaker_count"] == 0.0
    assert found["speaker_overlap"] == pytest.approx(0.5)  # the second speaker's 900 ms of 1800 are missed
    assert found["perception"] == 0.0  # it does not keep to the grammar
    timed = perception_figures([(item, text.replace("[0.00-1.00 s]\n", "[0.01-0.20 s]\n"))])
    assert timed["event_f1_timed"] == pytest.approx(0.5)
    broken = predicted_scene(scene, "<ENV>Rain, about now\n(unclear) [0.00-1.00 s]</ENV><SPEAKER>x</SPEAKER>")
    assert [(e.label, e.end_ms) for e in broken.events] == [("rain about now", 0)]
    assert broken.turns == ()
    empty = perception_figures([(item, "")])
    assert (empty["wer"], empty["event_f1"], empty["speaker_count"]) == (1.0, 0.0, 0.0)


def test_the_likeliest_choice_is_that_of_the_whole_text(there):
    """Its mean log-probability is that of the answer's tokens after the completion, scored one by one."""
    policy = model.load(str(there / "base"), "cpu")
    asked = PromptQuestion("q", "Which sound?", CHOICES)
    prompt = policy.prompt(asked, policy.encode(tiny.sounds(1.0)[0]))
    text = "<THINK>I hear it.</THINK><RESPONSE>(B) never read"
    means = []
    for i, choice in enumerate(CHOICES):
        answer = grammar.response(i, choice)
        ids = policy.completion_ids(f"<THINK>I hear it.</THINK><RESPONSE>{answer}</RESPONSE>")[:-1]
        letter = next(n for n in range(len(ids)) if policy.tokenizer.decode(ids[: n + 1]).endswith("ABCD"[i]))
        learn = torch.arange(len(ids)) >= letter
        with torch.no_grad():
            means.append(float(policy.score([Tree(prompt, (ids,), (learn,))])[0].mean()))
    assert len(set(means)) == 4
    assert likeliest_choice(policy, prompt, text, asked) == means.index(max(means))
    assert likeliest_choice(policy, prompt, text, PromptQuestion("q", "Which?")) is None


def test_plain_questions_ask_for_the_answer_alone(there, tmp_path):
    asked, _ = evaluate.questions(config(there, tmp_path, plain=True))
    text = question(asked[0].asked)
    assert "<" not in text
    assert text.endswith("Answer with the letter and words of one choice, and say nothing else.")
    values = evaluate.run(config(there, tmp_path, plain=True, hearing=("audio",), labels=False, max_new=3))
    lines = (tmp_path / "answers-audio.jsonl").read_text().splitlines()
    assert all(json.loads(line)["completion"].startswith("<RESPONSE>") for line in lines)
    assert "accuracy_forced" not in values["audio"]


def test_a_choice_stands_in_the_last_answer_that_is_opened():
    assert before_answer("a<RESPONSE>(A) b</RESPONSE>c") == ("a<RESPONSE>", "RESPONSE")
    assert before_answer("a<RESPONSE>b</RESPONSE><FINAL_ANSWER>c")[1] == "FINAL_ANSWER"
    assert before_answer("cut off") == ("cut off<RESPONSE>", "RESPONSE")


def with_class(item, mid):
    """A row about a sound of this class."""
    (event,) = item.scene.events
    return replace(item, scene=replace(item.scene, events=(replace(event, mid=mid),)))


def test_questions_on_classes_that_were_not_trained_on_are_counted_apart(tmp_path):
    rows = [("Bark", "train"), ("Meow", "train"), ("Meow", "test"), ("Bell", "test")]
    items = [with_class(tiny.item(label, split), f"/m/{label}") for label, split in rows]
    asked = evaluate.build_questions(EvalConfig(data=str(tiny.build(tmp_path / "b", items))))
    parts = {a.item.scene.events[0].label: a.parts for a in asked}
    assert parts == {"Meow": (), "Bell": (evaluate.NEW_CLASSES,)}
    right = [f"<RESPONSE>{grammar.response(a.answer_index, a.answer)}</RESPONSE>" for a in asked]
    values = figures(asked, [Answer("" if a.parts else text) for a, text in zip(asked, right, strict=True)])
    assert (values[f"accuracy/{evaluate.NEW_CLASSES}"], values["accuracy"]) == (0.0, 0.5)


def test_figures_count_every_question():
    asked = [
        EvalQuestion(PromptQuestion(str(i), "?", CHOICES), 1, "a cat", lambda: None, {"task": "t"})
        for i in range(4)
    ]
    said = [
        Answer("<RESPONSE>(B) a cat</RESPONSE>", 5),
        Answer("It is B."),
        Answer(""),
        Answer("<RESPONSE>(A) a dog</RESPONSE>"),
    ]
    found = figures(asked, said)
    assert found["accuracy"] == found["accuracy/t"] == 0.25
    assert found["rows"] == 4


def test_figures_stand_beside_chance():
    """Three ways to be right, and what a random choice gets; an open-ended question has no chance."""
    choices = [("a dog", "a cat"), CHOICES, CHOICES, ()]
    asked = [
        EvalQuestion(PromptQuestion(str(i), "?", c), 1 if c else None, "a cat", lambda: None, {"task": "t"})
        for i, c in enumerate(choices)
    ]
    said = [Answer(f"<RESPONSE>{text}</RESPONSE>") for text in ("(B) a cat", "B", "(A) a cat", "A cat.")]
    found = figures(asked, said)
    assert (found["accuracy"], found["accuracy_strict"]) == (0.75, 0.5)
    assert (found["accuracy/choice"], found["accuracy/open-ended"]) == (pytest.approx(2 / 3), 1.0)
    assert found["accuracy_by_letter"] == found["accuracy_by_text"] == pytest.approx(2 / 3)
    assert found["chance"] == pytest.approx((1 / 2 + 1 / 4 + 1 / 4) / 3)


def questions(folder, kind):
    """Two questions in a benchmark's own layout, and their audio."""
    for name in ("a", "b"):
        soundfile.write(folder / f"{name}.wav", tiny.sound_of("Meow"), 16000)
    if kind == "mmsu":
        rows = [
            {"id": n, "question": "?", **dict(zip(("choice_a", "choice_b"), CHOICES, strict=False)),
             "answer_gt": g, "audio_path": f"{n}.wav", "category": "Perception"}
            for n, g in (("a", "a cat"), ("b", "B"))
        ]  # fmt: skip
        (folder / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return folder / "q.jsonl"
    path = {"mmau": "audio_id", "mmar": "audio_path"}[kind]
    rows = [
        {"id": n, path: f"./{n}.wav", "question": "?", "choices": CHOICES, "answer": "a cat", "task": "sound"}
        for n in "ab"
    ]
    (folder / "q.json").write_text(json.dumps(rows))
    return folder / "q.json"


@pytest.mark.parametrize("kind", ["mmau", "mmar", "mmsu"])
def test_official_answers(tmp_path, kind):
    asked, _ = evaluate.listed(config_of(tmp_path, kind))
    assert [a.answer_index for a in asked] == [1, 1]
    assert asked[0].listen().shape == (16000,)
    key = {"mmau": "model_output", "mmar": "answer_prediction", "mmsu": "response"}[kind]
    right = "B" if kind == "mmsu" else "a cat"
    for said in (
        ["<THINK>x</THINK><RESPONSE>(B) a cat</RESPONSE>", "I cannot tell"],
        ["<RESPONSE>A cat.</RESPONSE>", "<RESPONSE>(B) a dog barking</RESPONSE>"],
        ["<RESPONSE>(B)</RESPONSE>", "<RESPONSE>(B) what fits</RESPONSE>"],
    ):
        benchmarks.write(kind, tmp_path / "out.json", asked, said)
        if kind == "mmsu":
            rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        else:
            rows = json.loads((tmp_path / "out.json").read_text())
        assert [r[key] for r in rows] == [right, ""]
        ours = figures(asked, [Answer(text) for text in said])
        assert (
            ours["accuracy"] == sum(r[key] != "" for r in rows) / 2
        )  # what is written is what is right here
    assert all(r["id"] == a.raw["id"] and r["question"] == "?" for r, a in zip(rows, asked, strict=True))


def config_of(folder, kind) -> EvalConfig:
    return EvalConfig(model="m", out="o", benchmark=kind, questions=str(questions(folder, kind)))


def test_a_benchmark_is_answered_end_to_end(there, tmp_path):
    run = config(there, tmp_path / "out", hearing=("audio",), labels=False, data="")
    found = evaluate.run(replace(run, benchmark="mmau", questions=str(questions(tmp_path, "mmau"))))
    assert found["audio"]["rows"] == 2
    assert len(json.loads((tmp_path / "out" / "mmau-audio.json").read_text())) == 2


@pytest.mark.parametrize(("name", "file"), [("mmau", "mmau-test.json"), ("mmar", "MMAR-meta.test.jsonl")])
def test_what_export_writes_is_asked_and_answered(tmp_path, name, file):
    """The rows of `paqa export` come back as they were, with the benchmark's answer keys beside."""
    from builds import make

    export(name, make(tmp_path / "build"), tmp_path / "lists")
    run = EvalConfig(benchmark=name, questions=str(tmp_path / "lists" / file))
    asked, unasked = evaluate.listed(run)
    assert len(asked) > 3
    assert not unasked
    assert asked[0].listen().shape == (160_000,)
    told = [f"<RESPONSE>{grammar.response(a.answer_index, a.answer)}</RESPONSE>" for a in asked]
    benchmarks.write(name, tmp_path / "answers.json", asked, told)
    for row, a in zip(json.loads((tmp_path / "answers.json").read_text()), asked, strict=True):
        assert row.items() >= a.raw.items()
        assert {row[key] for key in benchmarks.BENCHMARKS[name].keys} == {a.raw["answer"]}


def test_what_is_wrong_with_a_benchmark_is_named(tmp_path):
    (tmp_path / "q.json").write_text(
        json.dumps([{"question": "?", "choices": ["x", "y"], "answer": "z", "audio_id": "a"}])
    )
    run = EvalConfig(benchmark="mmau", questions=str(tmp_path / "q.json"))
    with pytest.raises(PaqaError, match=r"q.json\[0\]: the answer 'z' is none of \['x', 'y'\]"):
        evaluate.questions(run)
    (tmp_path / "q.json").write_text('[{"id": 1}]')
    with pytest.raises(PaqaError, match=r"q.json\[0\]: found id; expected question, choices"):
        evaluate.questions(run)
    with pytest.raises(PaqaError, match="No such file"):
        evaluate.listed(replace(run, questions=str(tmp_path / "none.json")))


def faulty(folder):
    """A benchmark with two questions, and rows of every kind that cannot be asked."""
    good = json.loads(questions(folder, "mmau").read_text())
    bad = [
        {**good[0], "id": "gone", "audio_id": "none.wav"},
        {**good[0], "id": "text", "audio_id": "q.json"},
        {**good[0], "id": "other", "answer": "a cow"},
        {**good[0], "id": "string", "choices": "ab"},
        {"id": "empty"},
    ]
    lines = [json.dumps(row) for row in (good[0], *bad)] + ["{", "7", json.dumps(good[1]), "", ""]
    (folder / "q.jsonl").write_text("\n".join(lines))
    return str(folder / "q.jsonl")


def test_rows_that_cannot_be_asked_are_reported_and_the_rest_is_answered(there, tmp_path, capsys):
    flags = ["--model", there / "run" / "last", "--benchmark", "mmau", "--questions", faulty(tmp_path)]
    flags += ["--out", tmp_path / "out", "--device", "cpu", "--quiet", "--max-new", "4"]
    assert main(["eval", *map(str, flags)]) == 1
    shown = capsys.readouterr()
    assert "7 of 9 rows are not asked" in shown.err
    assert "unasked" in shown.out
    reasons = [json.loads(x) for x in (tmp_path / "out" / "unasked.jsonl").read_text().splitlines()]
    assert {row["row"]: row["reason"] for row in reasons} == {
        "gone": "missing_file", "text": "not_audio", "q.jsonl:4": "bad_row", "q.jsonl:5": "bad_row",
        "q.jsonl:6": "bad_row", "q.jsonl:7": "broken_json", "q.jsonl:8": "bad_row",
    }  # fmt: skip
    found = json.loads((tmp_path / "out" / "eval.json").read_text())["audio"]
    assert (found["rows"], found["unasked"]) == (2.0, 7.0)
    answers = json.loads((tmp_path / "out" / "mmau-audio.json").read_text())
    assert {row["id"] for row in answers} == {"a", "b", "gone", "text", "other", "string", "empty"}
    assert all(row["model_output"] == "" for row in answers if row["id"] not in "ab")


def test_nothing_is_loaded_or_written_before_the_questions_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(model, "load", lambda *_: pytest.fail("the model was loaded"))
    good = questions(tmp_path, "mmau")
    run = EvalConfig(
        model="m", out=str(tmp_path / "out"), benchmark="mmau", questions=str(good), device="cpu"
    )
    rows = json.loads(good.read_text())
    good.write_text(json.dumps([{**row, "audio_id": "none.wav"} for row in rows]))
    with pytest.raises(PaqaError, match=r"none of 2 rows can be, e\.g\. a: .*none\.wav"):
        evaluate.run(run)
    with pytest.raises(PaqaError, match="cannot be read"):
        evaluate.run(replace(run, questions=str(tmp_path / "no.json")))
    assert not (tmp_path / "out").exists()


def test_a_refused_run_can_be_put_right(there, tmp_path):
    """A run that ended before it made anything does not hold the next one to its settings."""
    flags = ["--model", there / "base", "--data", there / "build", "--out", tmp_path / "run", "--steps", 1]
    flags += [
        "--validation",
        0,
        "--device",
        "cpu",
        "--quiet",
        "--pause-share",
        0,
        "--no-tensorboard",
        "--tokens",
        2000,
    ]
    assert main(["sft", *map(str, flags), "--mix", "nosuch=2"]) == 2
    assert not (tmp_path / "run").exists()
    assert main(["sft", *map(str, flags), "--learning-rate", "1e30", "--steps", "5"]) == 2  # no longer finite
    assert main(["sft", *map(str, flags), "--learning-rate", "1e-4"]) == 0
    assert main(["sft", *map(str, flags), "--learning-rate", "1e-3"]) == 2  # now there is a run
