"""`paqa import`: each flaw of the released rows is mended or quarantined, and never guessed away."""

import json

import pytest
from builds import noise
from conftest import paqa
from hypothesis import given, settings
from hypothesis import strategies as st

from paqa.audio import flac, read_flac
from paqa.cli.main import main
from paqa.dataset import hyper_rows, import_hyper, shards
from paqa.errors import PaqaError, Rejected
from paqa.rationale.rewards import accuracy

QUESTION = "<audio>How many people speak? (a) two (b) three (c) four (d) five"
GOOD = """<THINK>
<PLANNING>
Listen for voices.
</PLANNING>
<CAPTION>
- **Speaker 1:** "Is it a dream?"
</CAPTION>
<REASONING>
1. Three voices differ.
</REASONING>
<SUMMARY>
Three people.
</SUMMARY>
</THINK>
<RESPONSE>
Three people speak. The answer is B.
</RESPONSE>
"""


def row(output=GOOD, number=0, question=QUESTION, **more):
    named = {"instruction": question, "output": output, "audios": [f"/cluster/set/audio/clip_{number}.wav"]}
    return named | {"id": number} | more


def imported(tmp_path, *rows, audio=None):
    path = tmp_path / "part1.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), encoding="utf-8")
    imported = import_hyper.load(path, tmp_path / "out", audio)
    return imported, list(shards.rows(tmp_path / "out"))


def one(tmp_path, output, **more):
    """The single row, beside a good one that keeps the import alive; or the reason why it fell out."""
    found, rows = imported(tmp_path, row(number=99), row(output, **more))
    return rows[1] if len(rows) == 2 else found.lost[0].reason


def test_a_good_row_is_taken_as_it_is(tmp_path):
    found, (read,) = imported(tmp_path, row())
    assert read["id"] == "part1:0"
    assert read["question"] == "How many people speak?"
    assert read["choices"] == ["two", "three", "four", "five"]
    assert (read["answer"], read["answer_index"]) == ("three", 1)
    assert read["planning"] == "Listen for voices."
    assert read["response"] == "Three people speak. The answer is B."
    assert read["rationale"].endswith("</THINK>\n<RESPONSE>(B) three</RESPONSE>")
    assert read["missing"] == ["ENV", "SPEAKER", "ASR", "DESCRIPTION"]
    assert read["env"] is None
    assert read["repairs"] == []
    assert read["audio"] == {"bytes": None, "path": "/cluster/set/audio/clip_0.wav"}
    assert found.lost == []


@pytest.mark.parametrize("command", ["report", "check", "show", "push", "export"])
def test_what_needs_scenes_says_so_of_imported_rows(tmp_path, command, capsys):
    imported(tmp_path, row())
    arguments = {"push": ["made/up"], "export": [str(tmp_path / "new")]}.get(command, [])
    first = ["export", "trl"] if command == "export" else [command]
    assert main([*first, str(tmp_path / "out"), *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"paqa {command}: {tmp_path / 'out'}: its rows have no scene")
    assert "paqa build RECIPE.toml" in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "out" / "report").exists()


@pytest.mark.parametrize(
    ("output", "repair"),
    [
        (f"```xml\n{GOOD}```", "code_fences"),
        (GOOD.replace("1. Three", "```\n1. Three").replace("differ.", "differ.\n```"), "code_fences"),
        (GOOD.replace("\n", "\\n"), "escapes"),
        (GOOD.replace('"Is', '\\"Is').replace('?"', '?\\"'), "escapes"),
        (GOOD + '"\n}', "residue"),
        ("json\n{" + GOOD, "residue"),
        (GOOD.replace("<THINK>", "<THINK>\n<THINK>"), "think_tags"),
        (GOOD.replace("</THINK>\n", "") + "</THINK>", "think_tags"),
        (GOOD.replace("</THINK>\n", ""), "think_tags"),
    ],
)
def test_what_can_be_mended_is(tmp_path, output, repair):
    read = one(tmp_path, output)
    assert read["repairs"] == [repair]
    clean = hyper_rows.clean(row(), "x", "part1")
    assert (read["rationale"], read["caption"]) == (clean.rationale, clean.caption)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (GOOD.replace("answer is B", "answer is C"), "contradiction"),
        (GOOD.replace("The answer is B.", "The answer is B. No, the answer is C."), "several_answers"),
        (GOOD.replace("Three people speak. The answer is B.", "Many people speak."), "no_answer"),
        (GOOD.replace("Three people speak. The answer is B.", "The answer is H."), "no_answer"),
        (GOOD.replace("Three people speak. The answer is B.", "A family, as heard."), "no_answer"),
        (GOOD.replace("Three people speak. The answer is B.", ""), "empty_tag"),
        (GOOD + GOOD, "bad_structure"),
        (GOOD.replace("</SUMMARY>", ""), "bad_structure"),
        (GOOD.replace("1. Three", "<CAPTION>1. Three"), "bad_structure"),
        (GOOD.replace("- **Sp", "<ASR>- **Sp"), "bad_structure"),
        (GOOD.replace("</PLANNING>", "</PLANNING>\nHere is the caption."), "text_outside_tags"),
        (GOOD.replace("Listen for", "The provided description names three, listen for"), "read_not_heard"),
        (GOOD.replace("1. Three", "There seems to be a typo. Three"), "doubts_the_choices"),
        (GOOD.replace("1. Three", "None of the given options are valid. Three"), "doubts_the_choices"),
    ],
)  # fmt: skip
def test_what_cannot_be_mended_is_quarantined(tmp_path, output, reason):
    assert one(tmp_path, output) == reason


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('{"instruction": "x"', "broken_json"),
        ("[1, 2]", "broken_json"),
        (row(question=""), "bad_row"),
        (row(question="<audio>How many people speak?"), "bad_choices"),
        (row(question="<audio>Who? (a) Tom (b) Tom"), "bad_choices"),
        ({k: v for k, v in row().items() if k != "output"}, "no_rationale"),
        ({k: v for k, v in row().items() if k != "audios"}, "bad_row"),
        (row(number=99), "duplicate"),
        (row() | {"id": 99}, "duplicate"),
        (row(answer="four"), "contradiction"),
    ],
)
def test_rows_that_are_none(tmp_path, broken, reason):
    found, rows = imported(tmp_path, row(number=99), broken)
    assert [r["id"] for r in rows] == ["part1:99"]
    assert [(q.reason, q.stage) for q in found.lost] == [(reason, "import")]
    assert found.lost[0].id == "part1.jsonl:2"
    assert shards.quarantined(tmp_path / "out") == found.lost


def test_perceptual_tags_are_kept_where_there_are_any(tmp_path):
    tags = "<BGM>rain</BGM><SPEAKER>two men</SPEAKER>"
    read = one(tmp_path, GOOD.replace("<CAPTION>\n", f"<CAPTION>\n{tags}\n"), asr="is it a dream")
    assert (read["env"], read["speaker"], read["asr"]) == ("rain", "two men", "is it a dream")
    assert read["missing"] == ["DESCRIPTION"]


def test_a_reflected_row_keeps_both_answers(tmp_path):
    end = "<REFLECT>I missed a voice.</REFLECT><FINAL_ANSWER>(c) four</FINAL_ANSWER>"
    read = one(tmp_path, GOOD + end)
    assert (read["answer"], read["final_answer"], read["reflect"]) == (
        "four",
        "(c) four",
        "I missed a voice.",
    )
    assert "<RESPONSE>(B) three</RESPONSE>" in read["rationale"]
    assert read["rationale"].endswith("<FINAL_ANSWER>(C) four</FINAL_ANSWER>")
    assert accuracy(read["rationale"], read["choices"], read["answer_index"]) == 1.0


def test_the_other_form_of_their_rows(tmp_path):
    other = {
        "id": "q1", "audio_path": "a/clip_7.wav", "question": "How many people speak?",
        "choices": ["two", "three", "four", "five"], "answer": 1, "env_tag": "street", "asr": "hello",
        "speaker_analysis": "three voices", "target": GOOD,
    }  # fmt: skip
    _, (read,) = imported(tmp_path, other)
    assert (read["id"], read["answer_index"], read["env"], read["missing"]) == (
        "part1:q1",
        1,
        "street",
        ["DESCRIPTION"],
    )


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("The answer is B.", 1), ("the answer is (b)", 1), ("**Answer: B**", 1), ("(b) A dog", 1), ("B", 1),
        ("(B).", 1), ("The answer is a.", 0), ("Answer: A", 0), ("the answer is B because of the barking", 1),
        ("It is A dog, as heard.", 1), ("The most likely setting is C.", 2),
        ("Option C fits. The answer is C.", 2),
        ("A dog barks, so the answer is B", 1), ("answer is A dog", 1),
    ],
)  # fmt: skip
def test_answers_in_prose(text, index):
    assert hyper_rows.chosen(text, ["A cat", "A dog", "Two cows"]) == index


@pytest.mark.parametrize(
    "text", ["", "A family, as heard.", "(a) or (b)", "A cat, a dog", "It may be B or C."]
)
def test_letters_are_not_read_out_of_words(text):
    with pytest.raises(Rejected):
        hyper_rows.chosen(text, ["A cat", "A dog", "Two cows"])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(GOOD.split()), max_size=30).map(" ".join))
def test_any_text_is_cleaned_or_rejected(text):
    try:
        clean = hyper_rows.clean(row(text), "x", "part1")
    except Rejected:
        return
    assert accuracy(clean.rationale, clean.choices, clean.answer_index) == 1.0


def test_audio_is_embedded_or_its_row_quarantined(tmp_path):
    folder = tmp_path / "recordings" / "set" / "audio"
    folder.mkdir(parents=True)
    (folder / "clip_0.wav").write_bytes(flac(noise("zero", 1.0)))
    (folder / "clip_1.wav").write_bytes(b"this is no audio")
    found, (read,) = imported(tmp_path, *(row(number=n) for n in range(3)), audio=tmp_path / "recordings")
    assert (read_flac(read["audio"]["bytes"]).samples == noise("zero", 1.0).samples).all()
    assert read["audio"]["path"] == "clip_0.flac"
    assert [q.reason for q in found.lost] == ["not_audio", "missing_file"]


def test_datasets_loads_it(tmp_path):
    datasets = pytest.importorskip("datasets")
    (tmp_path / "clip_0.wav").write_bytes(flac(noise("zero", 1.0)))
    (tmp_path / "clip_1.wav").write_bytes(flac(noise("one", 1.0)))
    imported(tmp_path, row(number=0), row(GOOD.replace("B.", "B"), number=1), audio=tmp_path)
    loaded = datasets.load_dataset(str(tmp_path / "out"), "released", cache_dir=str(tmp_path / "cache"))[
        "train"
    ]
    assert isinstance(loaded.features["audio"], datasets.Audio)
    assert [len(c) for c in loaded["choices"]] == [4, 4]


def test_many_rows_go_into_several_groups_and_files_of_the_same_names_again(tmp_path, monkeypatch):
    monkeypatch.setattr(import_hyper, "CONFIG", shards.ShardConfig(max_mb=1, row_group_mb=1))
    monkeypatch.setattr(hyper_rows, "OTHER_KEYS", {})
    long = GOOD.replace("Listen", "Listen " * 40_000)
    names = []
    for again in ("a", "b"):
        (tmp_path / again).mkdir()
        _, rows = imported(tmp_path / again, *(row(long, number=n) for n in range(6)))
        assert [r["id"] for r in sorted(rows, key=lambda r: r["id"])] == [f"part1:{n}" for n in range(6)]
        names.append([p.name for p in shards.files(tmp_path / again / "out")])
    assert names[0] == names[1]
    assert len(names[0]) > 1


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(PaqaError, match="no row can be used"):
        imported(tmp_path, row("nothing"))
    assert shards.quarantined(tmp_path / "out")[0].reason == "bad_structure"


def test_on_the_command_line(tmp_path):
    (tmp_path / "part1.jsonl").write_text(json.dumps(row()) + "\n" + json.dumps(row("nothing", 1)))
    done = paqa("import", tmp_path / "part1.jsonl", "--out", tmp_path / "out")
    assert "1 of 2" in done.stdout
    assert "bad_structure 1" in done.stdout
    again = paqa("import", tmp_path / "part1.jsonl", "--out", tmp_path / "out", check=False)
    assert (again.returncode, "not empty" in again.stderr) == (2, True)
    gone = paqa("import", tmp_path / "gone.jsonl", "--out", tmp_path / "out2", check=False)
    assert (gone.returncode, "No such file" in gone.stderr) == (2, True)
