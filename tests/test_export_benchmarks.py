"""MMAU's and MMAR's layouts, as their scorers read them, and the rows that these scorers could not judge."""

import json
from dataclasses import replace

import jsonschema
import pytest
from builds import make

from paqa.dataset import shards
from paqa.publish.export.benchmark import modality, subject, unfit, words
from paqa.publish.export.registry import export
from paqa.types import Event, Evidence, Scene, Turn

TEXT = {"type": "string", "minLength": 1}
CHOICES = {"type": "array", "items": TEXT, "minItems": 2}
MMAU = {  # the keys of Sakshi113/MMAU, mmau-test-mini.json, and what evaluation.py counts by
    "type": "object",
    "properties": {
        "id": TEXT, "audio_id": {"pattern": r"^\./audio/.+\.wav$"}, "question": TEXT, "choices": CHOICES,
        "answer": TEXT, "dataset": TEXT, "task": {"enum": ["sound", "music", "speech"]}, "split": TEXT,
        "category": TEXT,
        "sub-category": TEXT, "difficulty": {"enum": ["easy", "medium", "hard"]},
    },
    "additionalProperties": False,
}  # fmt: skip
MMAU["required"] = list(MMAU["properties"])
MODALITIES = (
    "sound", "music", "speech", "mix-sound-music", "mix-sound-speech", "mix-music-speech",
    "mix-sound-music-speech",
)  # fmt: skip
MMAR = {  # the keys of ddlBoJack/MMAR, MMAR-meta.jsonl, and what code/evaluation.py counts by
    "type": "object",
    "properties": {
        "id": TEXT, "audio_path": {"pattern": r"^\./audio/.+\.wav$"}, "question": TEXT, "choices": CHOICES,
        "answer": TEXT, "modality": {"enum": list(MODALITIES)},
        "category": {"enum": ["Signal Layer", "Perception Layer", "Semantic Layer", "Cultural Layer"]},
        "sub-category": TEXT, "language": {"type": ["string", "null"]}, "source": TEXT,
        "url": {"type": "null"},
        "timestamp": {"type": "null"}, "thinking": TEXT,
    },
    "additionalProperties": False,
}  # fmt: skip
MMAR["required"] = list(MMAR["properties"])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make(tmp_path_factory.mktemp("build") / "made")


@pytest.fixture(scope="module")
def items(built):
    return {i.id: i for i in map(shards.item, shards.rows(built))}


def rows(out, name):
    text = (out / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("name", "file", "schema", "audio"),
    [("mmau", "mmau-test.json", MMAU, "audio_id"), ("mmar", "MMAR-meta.test.jsonl", MMAR, "audio_path")],
)
def test_rows_keep_to_the_layout(built, items, tmp_path, name, file, schema, audio):
    job = export(name, built, tmp_path / "out")
    found = rows(tmp_path / "out", file)
    tested = [i for i in items.values() if i.split == "test"]
    assert len(found) == job.written["test"]
    assert len(found) + job.skipped.total() == len(tested)
    assert job.skipped["open_ended"] == sum(not i.choices for i in tested) > 0
    assert any(items[row["id"]].reflected for row in found)
    for row in found:
        jsonschema.validate(row, schema)
        item = items[row["id"]]
        assert row["answer"] == row["choices"][item.answer_index] == item.answer
        assert (tmp_path / "out" / row[audio]).is_file()


@pytest.mark.parametrize(("name", "file"), [("mmau", "mmau-test.json"), ("mmar", "MMAR-meta.test.jsonl")])
def test_their_rule_tells_right_from_wrong_in_every_row(built, tmp_path, name, file):
    """Right: every word of the answer, and no word that wrong choices alone have (our words for their
    rule).
    """
    export(name, built, tmp_path / "out")
    for row in rows(tmp_path / "out", file):
        right = words(row["answer"])
        foreign = frozenset().union(*(words(c) for c in row["choices"] if words(c) != right)) - right
        verdicts = {c: right <= words(c) and not words(c) & foreign for c in row["choices"]}
        assert [c for c, good in verdicts.items() if good] == [row["answer"]]


def test_rows_that_they_cannot_judge(items):
    item = next(i for i in items.values() if i.choices)
    order = replace(
        item,
        choices=("Rain, then a dog", "A dog, then rain", "Rain"),
        answer="Rain, then a dog",
        answer_index=0,
    )
    assert unfit(order) == "choices_of_the_same_words"
    assert unfit(replace(order, answer="Rain", answer_index=2)) is None
    assert unfit(replace(order, choices=("…", "a"), answer="…")) == "answer_without_words"
    assert unfit(replace(item, choices=(), answer_index=None)) == "open_ended"


def test_what_a_row_is_about(items):
    item = next(iter(items.values()))
    dog, guitar = Event(0, 9, "Dog", "/m/0bt9lr"), Event(0, 9, "Guitar", "/m/0342h")
    own = Event(0, 9, "Squeak of the lab door", "lab/1")
    scene = Scene("c", 1000, (Turn(0, 5, 1),), (), (dog, guitar, own))
    about = replace(item, scene=scene, evidence=())
    assert subject(replace(about, evidence=(Evidence("event", 0),))) == "sound"
    assert subject(replace(about, evidence=(Evidence("event", 1),))) == "music"
    assert subject(replace(about, evidence=(Evidence("event", 2),))) == "sound"
    assert subject(replace(about, evidence=(Evidence("event", 1), Evidence("turn", 0)))) == "speech"
    assert modality(scene) == "mix-sound-music-speech"
    assert modality(replace(scene, turns=(), events=(guitar,))) == "music"
    assert modality(replace(scene, events=())) == "speech"
    assert modality(replace(scene, turns=(), events=())) == "sound"
