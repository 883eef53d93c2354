"""Questions, references, lhotse manifests and Hub datasets: written by their own tools, with broken rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sounds import tone
from test_sources_corpora import read

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.sources import answer_choices
from paqa.sources.registry import recordings
from paqa.sources.truth import close_truth
from paqa.types import Quarantined, Recording, Turn, Word


def asked(path: Path, rows: list[Any], **params: Any) -> tuple[list[Recording], dict[str, tuple[str, str]]]:
    """What a question file of one JSON object a line gives."""
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    (path / "list.jsonl").write_text(text)
    return listed(path / "list.jsonl", **params)


def listed(path: Path, **params: Any) -> tuple[list[Recording], dict[str, tuple[str, str]]]:
    found = list(recordings(SourceConfig("qa", "questions", path.name, params=params), path.parent))
    lost = {row.id: (row.reason, row.detail) for row in found if isinstance(row, Quarantined)}
    return [row for row in found if isinstance(row, Recording)], lost


def test_avqa_rows(tmp_path: Path) -> None:
    tone(tmp_path / "clips/-HG3Omg_89c_000030.wav")
    row = {"id": 183, "video_name": "-HG3Omg_89c_000030", "video_id": 341, "question_text": "What is heard?",
           "multi_choice": ["motorboat", "yacht", "sailboat", "raft"], "answer": 1,
           "question_relation": "View",
           "question_type": "Which"}  # fmt: skip
    second = {**row, "id": 184, "question_text": "What comes first?", "answer": 0}
    (tmp_path / "train_qa.json").write_text(json.dumps([row, second, {**row, "video_name": "gone"}, 7]))
    found, lost = listed(tmp_path / "train_qa.json", audio="clips")
    (one,) = found
    assert (one.uri, one.answers, one.truth) == ("clips/-HG3Omg_89c_000030.wav", "heard", None)
    assert [(q.id, q.task, q.choices[q.answer_index]) for q in one.questions] == [
        ("183", "Which", "yacht"), ("184", "Which", "motorboat"),
    ]  # fmt: skip
    assert lost["train_qa.json[2]"][0] == "missing_file"
    assert "'gone' is not below 'clips'" in lost["train_qa.json[2]"][1]
    assert lost["train_qa.json[3]"][0] == "bad_row"


def test_cota_rows(tmp_path: Path) -> None:
    tone(tmp_path / "audio/multiSpeaker/a.wav")
    row = {"id": "m1", "audios": ["/mnt/cluster/CoTA/multiSpeaker/a.wav"],
           "instruction": "<audio>How many people talk?\n"
                          "Choose the correct option from the following options: "
                          "(a) one (b) two (c) three (d) four",
           "output": "<THINK>(a) no ...</THINK> <RESPONSE>(B) two</RESPONSE>"}  # fmt: skip
    late = {
        **row,
        "id": "m2",
        "instruction": "<audio>Who? (a) Ann (b) Bob",
        "output": "<RESPONSE>(a)</RESPONSE><REFLECT>no</REFLECT><FINAL_ANSWER>(b) Bob</FINAL_ANSWER>",
    }
    nested = {**row, "id": "m3", "instruction": "<audio>When? A. now B. later",
              "output": "<RESPONSE><LETTER>B</LETTER><TEXT>later</TEXT></RESPONSE>"}  # fmt: skip
    wrong = {**row, "id": "m4", "output": "<RESPONSE>(B) seven</RESPONSE>"}
    contrary = {**row, "id": "m5", "output": "<RESPONSE>(B) three</RESPONSE>"}
    found, lost = asked(
        tmp_path, [row, late, nested, wrong, contrary, row, {**row, "output": "no idea"}], audio="audio"
    )
    (one,) = found
    assert one.uri == "audio/multiSpeaker/a.wav"
    assert [(q.text, q.choices, q.answer_index) for q in one.questions][:3] == [
        ("How many people talk?", ("one", "two", "three", "four"), 1),
        ("Who?", ("Ann", "Bob"), 1),
        ("When?", ("now", "later"), 1),
    ]
    assert one.questions[3:] == ()
    assert {name: reason for name, (reason, _) in lost.items()} == {
        "list.jsonl:4": "bad_question",
        "list.jsonl:5": "bad_question",
        "list.jsonl:6": "duplicate_question",
        "list.jsonl:7": "bad_question",
    }


def test_paqa_rows_and_broken_ones(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    row = {
        "id": "q",
        "audio_path": "a.wav",
        "question": "Which?",
        "choices": ["C", "D", "E"],
        "answer": 2,
        "asr": "x",
    }
    found, lost = asked(tmp_path, [
        row, '{"id": ', "[1]", {**row, "audio_path": None}, {**row, "answer": "C"}, {**row, "choices": ["C"]},
        {**row, "choices": ["C", "c "]}, {**row, "question": ""}, {**row, "answer": 3},
        {**row, "answer": True},
        {**row, "audio_path": "../../etc/passwd"}, {**row, "question": "Other?", "task": "key"},
    ])  # fmt: skip
    assert [(q.id, q.task) for q in found[0].questions] == [("q", "given"), ("q@list.jsonl:12", "key")]
    reasons = {name.split(":")[1]: reason for name, (reason, _) in lost.items()}
    assert reasons == {
        "2": "broken_json", "3": "bad_row", "4": "bad_row", "5": "bad_question", "6": "bad_question",
        "7": "bad_question", "8": "bad_question", "9": "bad_question", "10": "bad_question",
        "11": "missing_file",
    }  # fmt: skip
    assert "can be read in two ways" in lost["list.jsonl:5"][1]
    assert "twice 'C'" in lost["list.jsonl:7"][1]
    assert lost["list.jsonl:9"][1].startswith("list.jsonl:9: answer '3' names no choice")
    with pytest.raises(PaqaError, match="cannot be read"):
        listed(tmp_path / "no.jsonl")
    (tmp_path / "bad.json").write_text("[1,")
    with pytest.raises(PaqaError, match="is no JSON list"):
        listed(tmp_path / "bad.json")


WORDS = ["dog", "a cat", "two birds", "rain (heavy)", "3", "it's late"]


@given(st.lists(st.sampled_from(WORDS), min_size=2, max_size=5, unique=True), st.data(), st.sampled_from(
    ["({l}) {c}", "({u}) {c}", "{u}. {c}", "{u}) {c}", "{l}) {c}", "{u}: {c}"]))  # fmt: skip
def test_written_choices_come_back(options: list[str], data: st.DataObject, form: str) -> None:
    marked = [form.format(l="abcde"[i], u="ABCDE"[i], c=c) for i, c in enumerate(options)]
    at = data.draw(st.integers(0, len(options) - 1))
    texts = [f"What is it? {' '.join(marked)}", "What is it?\n" + "\n".join(marked)]
    for text in texts:
        question = answer_choices.parse_question("q", "t", f"<audio>{text}", None, marked[at])
        assert (question.text, question.choices, question.answer_index) == ("What is it?", tuple(options), at)
    assert answer_choices.parse_question("q", "t", "What is it?", marked, options[at]).choices == tuple(
        options
    )
    assert answer_choices.inline(f"What is it? Choose one of the options: {options!r}") == (
        "What is it?",
        options,
    )


@pytest.mark.parametrize(("answer", "index"), [
    (1, 1), ("B", 1), ("(b)", 1), ("b.", 1), ("(B) two", 1), ("two", 1), (" Two. ", 1), ("1", 1),
    ("(b): two", 1),
    ("(A) two", None), (4, None), ("E", None), ("seven", None), (None, None), (1.0, None),
    ("(b) two people", 1),
])  # fmt: skip
def test_answers(answer: Any, index: int | None) -> None:
    options = ["one", "two", "three"]
    if index is not None:
        assert answer_choices.answer_index(answer, options) == index
        return
    with pytest.raises(Rejected, match=r"choices: one \| two \| three"):
        answer_choices.answer_index(answer, options)


RTTM = "SPEAKER {0} 1 0.00 0.50 <NA> <NA> {1} <NA> <NA>\nSPEAKER {0} 1 0.60 0.40 <NA> <NA> {2} <NA> <NA>\n"


def test_references(tmp_path: Path) -> None:
    for n, name in enumerate(
        ("wav/a.wav", "wav/b.wav", "wav/c.wav", "wav/d.wav", "wav/e.flac", "wav/alone.wav")
    ):
        tone(tmp_path / name, 1100 + n)
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref/all.rttm").write_text(RTTM.format("a", "ann", "bob") + RTTM.format("gone", "x", "y"))
    (tmp_path / "ref/a.ctm").write_text(
        ";; words\na 1 0.10 0.20 hello 0.9\na 1 0.65 0.1 hi\na 1 1.01 0.05 late NA\na 1 * * <ALT>\n"
    )
    (tmp_path / "wav/b.stm").write_text("b 1 bob 0.0 0.9 <o,f0,male> Good morning.\n")
    (tmp_path / "wav/c.rttm").write_text(RTTM.format("other-name", "cat", "cat"))
    (tmp_path / "wav/d.rttm").write_text("SPEAKER d 1 zero 1 <NA> <NA> s <NA> <NA>\n")
    (tmp_path / "wav/e.ctm").write_text("e 1 0.0 0.2 word\n")
    found, lost = read(tmp_path, "references", params={"language": "en"})
    by_name = {r.id: r for r in found}
    assert list(by_name) == ["wav/a.wav", "wav/b.wav", "wav/c.wav", "wav/e.flac"]
    truth = by_name["wav/a.wav"].truth
    assert truth is not None
    assert truth.turns == (Turn(0, 500, 1, "hello"), Turn(600, 1000, 2, "hi"))
    assert truth.words == (
        Word(100, 300, "hello", 1, 0.9), Word(650, 750, "hi", 2), Word(1010, 1060, "late"),
    )  # fmt: skip
    assert [r.groups for r in found] == [("ann",), ("ann",), ("cat",), ("wav/e.flac",)]
    assert [r.voice for r in found] == [None, "bob", "cat", None]
    assert by_name["wav/e.flac"].truth is not None
    assert by_name["wav/e.flac"].truth.turns == ()
    assert {name: reason for name, (reason, _) in lost.items()} == {
        "wav/d.rttm": "bad_truth", "wav/d.wav": "no_reference", "wav/alone.wav": "no_reference",
        "gone": "missing_file",
    }  # fmt: skip
    assert "wav/d.rttm, line 1" in lost["wav/d.rttm"][1]
    apart, _ = read(tmp_path, "references", params={"speakers": "recording"})
    assert [r.groups for r in apart] == [(r.id,) for r in apart]
    assert {r.voice for r in apart} == {None}


def test_references_need_both(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    with pytest.raises(PaqaError, match=r"1 audio files and 0 of \.rttm \.stm \.ctm"):
        read(tmp_path, "references")


@pytest.fixture
def lhotse(tmp_path: Path) -> Path:
    """Three recordings with supervisions, as lhotse's own objects write them."""
    library = pytest.importorskip("lhotse")
    from lhotse.supervision import AlignmentItem

    home = Path.cwd()
    os.chdir(tmp_path)
    for n, name in enumerate("abc"):
        tone(Path(f"audio/{name}.wav"), 2000 + n)
    files = [library.Recording.from_file(f"audio/{name}.wav") for name in "abc"]
    words = [AlignmentItem("hello", 0.6, 0.2), AlignmentItem("there", 0.9, 0.3, score=0.5)]
    first = library.SupervisionSegment(
        "s1", "a", 0.5, 1.0, text="Hello there.", language="en", speaker="ann", custom={"emotion": "joy"}
    ).with_alignment("word", words)
    said = [
        first,
        library.SupervisionSegment("s2", "a", 1.6, 0.3, text="Hi.", language="en", speaker="bob"),
        library.SupervisionSegment("s3", "b", 0.1, 0.5, text="Me.", language="de", speaker="bob"),
    ]
    library.RecordingSet.from_recordings(files).to_file("recordings.jsonl.gz")
    library.SupervisionSet.from_segments(said).to_file("supervisions.jsonl.gz")
    cuts = library.CutSet.from_manifests(
        library.RecordingSet.from_recordings(files), library.SupervisionSet.from_segments(said)
    )
    cuts.to_file("whole.jsonl")
    (a, b, _) = cuts
    parts = [
        a.truncate(offset=0.4, duration=1.2),
        a.truncate(offset=1.0, duration=0.9),
        b.resample(8000),
        b.pad(3.0),
    ]
    library.CutSet.from_cuts(parts).to_file("parts.jsonl.gz")
    os.chdir(home)
    return tmp_path


def test_lhotse_recordings_and_supervisions(lhotse: Path) -> None:
    found, lost = read(lhotse, "lhotse")
    assert not lost
    assert [(r.id, r.groups, r.voice) for r in found] == [
        ("a", ("ann",), None), ("b", ("ann",), "bob"), ("c", ("c",), None),
    ]  # fmt: skip
    truth = found[0].truth
    assert truth is not None
    assert truth.turns == (Turn(500, 1500, 1, "Hello there.", "joy"), Turn(1600, 1900, 2, "Hi."))
    assert truth.words == (Word(600, 800, "hello", 1), Word(900, 1200, "there", 1, 0.5))
    assert truth.language == "en"
    assert found[2].truth is None
    whole = [
        r
        for r in recordings(SourceConfig("set", "lhotse", "whole.jsonl"), lhotse)
        if isinstance(r, Recording)
    ]
    assert whole == found


def test_lhotse_cuts_are_put_back_together(lhotse: Path) -> None:
    rows = list(recordings(SourceConfig("set", "lhotse", "parts.jsonl.gz"), lhotse))
    one = next(row for row in rows if isinstance(row, Recording))
    assert one.truth is not None
    closed = close_truth(one.truth, 2000)
    assert [(t.start_ms, t.end_ms, t.text) for t in closed.turns] == [
        (500, 1500, "Hello there."),
        (1600, 1900, "Hi."),
    ]
    assert [w.start_ms for w in closed.words] == [600, 900]
    lost = {row.id: (row.reason, row.detail) for row in rows if isinstance(row, Quarantined)}
    assert lost["parts.jsonl.gz:4"][0] == "unsupported_cut"
    assert lost["b"] == (
        "unsupported_audio",
        "recording 'b': lhotse would transform it (Resample); save the audio first",
    )


def test_lhotse_broken_rows(lhotse: Path) -> None:
    (lhotse / "audio/b.wav").unlink()
    (lhotse / "broken.jsonl").write_text(
        (lhotse / "whole.jsonl").read_text() + '{"id": \n{"id": 1, "type": "MonoCut"}\n'
        '{"id": "f", "type": "MonoCut", "start": 0}\n'
    )
    rows = list(recordings(SourceConfig("set", "lhotse", "broken.jsonl"), lhotse))
    assert {row.id: row.reason for row in rows if isinstance(row, Quarantined)} == {
        "broken.jsonl:4": "broken_json", "broken.jsonl:5": "bad_row", "broken.jsonl:6": "unsupported_cut",
        "b": "missing_file",
    }  # fmt: skip
    with pytest.raises(PaqaError, match=r"no lhotse manifest; expected e\.g\. cuts\.jsonl\.gz"):
        read(lhotse / "audio", "lhotse")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Parquet dataset with an Audio feature, written by `datasets`; nothing is decoded and nothing is
    online.
    """
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    content = [tone(tmp_path / f"source/{n}.wav", 300 + n).read_bytes() for n in range(3)]
    features = datasets.Features({
        "clip": datasets.Audio(), "words": datasets.Value("string"), "who": datasets.Value("string"),
        "mood": datasets.ClassLabel(names=["joy", "anger"]), "english": datasets.Value("string"),
        "terms": datasets.Value("string"), "ask": datasets.Value("string"), "gold": datasets.Value("string"),
        "options": datasets.List(datasets.Value("string")),
    })  # fmt: skip
    audio = [{"bytes": content[0], "path": "x.wav"}, {"bytes": content[1], "path": None},
             None, {"bytes": content[0], "path": "y.wav"}]  # fmt: skip
    columns = {
        "clip": audio, "words": ["Eins.", "Zwei.", "Drei.", "Eins."], "who": ["p", "q", "p", "p"],
        "mood": [1, 0, 0, 1], "english": ["One.", "Two.", "Three.", "One."],
        "terms": ["CC0-1.0", "CC-BY-4.0", "", ""],
        "ask": ["How many?", "How many?", "How many?", "Who is it?"], "gold": ["B", "one", "A", "(a)"],
        "options": [["one", "two"]] * 3 + [["a man", "a woman"]],
    }  # fmt: skip
    made = datasets.Dataset.from_dict(columns).cast(features)  # encoding by the feature would need torchcodec
    (tmp_path / "data").mkdir()
    made.to_parquet(tmp_path / "data/train-00000.parquet")
    made.select([1]).to_parquet(tmp_path / "data/test-00000.parquet")
    made.save_to_disk(tmp_path / "saved")
    return tmp_path


SPEECH = {
    "dataset": "../data", "text": "words", "speaker": "who", "emotion": "mood", "translation": "english",
    "language": "de", "translated_to": "en", "license": "terms",
}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"streaming": True}, {"dataset": "../saved"}])
def test_hub_dataset_of_speech(dataset: Path, changes: dict[str, Any]) -> None:
    config = SourceConfig("set", "hub", "here", license="MIT", params=SPEECH | changes)
    rows = list(recordings(config, dataset))
    found = [row for row in rows if isinstance(row, Recording)]
    assert [(r.id, r.voice, r.groups, r.license) for r in found] == [
        ("train-0000000", "p", ("p",), "CC0-1.0"), ("train-0000001", "q", ("q",), "CC-BY-4.0"),
        ("train-0000003", "p", ("p",), "MIT"),
    ]  # fmt: skip
    assert found[0].truth is not None
    assert found[0].truth.turns == (Turn(0, 0, 1, "Eins.", "anger", "One."),)
    assert (found[0].truth.language, found[0].truth.translated_to) == ("de", "en")
    assert [(r.id, r.reason) for r in rows if isinstance(r, Quarantined)] == [
        ("train-0000002", "missing_audio")
    ]
    files = sorted(p.relative_to(dataset / "here").as_posix() for p in (dataset / "here").rglob("*.*"))
    assert files == sorted({r.uri for r in found})
    assert (dataset / "here" / found[0].uri).read_bytes() == (dataset / "source/0.wav").read_bytes()
    times = [(dataset / "here" / uri).stat().st_mtime_ns for uri in files]
    assert list(recordings(config, dataset)) == rows
    assert [(dataset / "here" / uri).stat().st_mtime_ns for uri in files] == times


def test_hub_dataset_of_questions(dataset: Path) -> None:
    params = {"dataset": "data", "question": "ask", "choices": "options", "answer": "gold", "streaming": True}
    found, lost = read(dataset, "hub", params=params)
    assert [[(q.text, q.choices[q.answer_index]) for q in r.questions] for r in found] == [
        [("How many?", "two"), ("Who is it?", "a man")], [("How many?", "one")],
    ]  # fmt: skip
    assert [reason for reason, _ in lost.values()] == ["missing_audio"]
    some, _ = read(dataset, "hub", params={"dataset": "data", "split": "test", "streaming": True, "rows": 5})
    assert [r.id for r in some] == ["test-0000000"]
    assert some[0].truth is None


@pytest.mark.parametrize(("changes", "use", "words"), [
    ({"text": "word"}, "clips", ["params.text is 'word'", "clip, words, who"]),
    ({"speaker": None}, "material", ["params.speaker is missing"]),
    ({"dataset": "nobody/nothing"}, "clips", ["nobody/nothing cannot be loaded", "params.dataset"]),
    ({"dataset": "../source/0.wav"}, "clips", ["cannot be loaded"]),
])  # fmt: skip
def test_hub_says_what_is_wrong(dataset: Path, changes: dict[str, Any], use: Any, words: list[str]) -> None:
    with pytest.raises(PaqaError) as error:
        list(recordings(SourceConfig("set", "hub", "here", use=use, params=SPEECH | changes), dataset))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_no_source_imports_anything_heavy() -> None:
    code = (
        "import sys; from paqa.sources.registry import SOURCES, check\n"
        "from paqa.config.recipe import SourceConfig\n"
        "for kind in SOURCES: check(SourceConfig('s', kind, '.'))\n"
        "heavy = 'numpy', 'soundfile', 'datasets', 'lhotse', 'pyarrow', 'torch'\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
