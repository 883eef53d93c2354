"""The rows of a clip that has been heard: labels and given questions of its source beside the templates'
own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from paqa import __version__
from paqa.audio import digest, flac, quantize
from paqa.config.recipe import GatesConfig, QuestionsConfig, Recipe
from paqa.perception import engine_runs
from paqa.perception.engine_runs import StoredOutput
from paqa.pipeline import rows as composing
from paqa.pipeline.recipe_files import change, for_folder
from paqa.pipeline.rows import compose, compose_clip, sketch, whole
from paqa.questions.generate import TEMPLATES, OtherClips
from paqa.storage.store import Store
from paqa.types import Audio, Clip, Event, GivenQuestion, Origin, Scene, Turn, Word

pytestmark = pytest.mark.usefixtures("uncalibrated")

RATE = 16000
SAID = "We went down to the river together."
DOG = Event(3000, 3800, "Dog", "/m/0bt9lr")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return for_folder(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def heard(recipe: Recipe, store: Store, **changes: object) -> Clip:
    """A clip of 4 s in which the store says that one voice and a dog were heard."""
    samples = np.random.default_rng(0).normal(0, 0.1, (1, 4 * RATE)).astype(np.float32)
    audio = Audio(quantize(samples), RATE)
    store.put(digest(audio), ".flac", flac(audio))
    made = Clip("c", "c.wav", digest(audio), 4000, RATE, "meld", "MELD", "GPL-3.0", ("g",), "train")
    clip = replace(made, **changes)  # type: ignore[arg-type]
    separation, *nodes = engine_runs.engine_runs(recipe)
    store.put(
        engine_runs.output_key(clip, separation, separation),
        ".flac",
        flac(Audio(quantize(samples / 2), RATE)),
    )
    words = tuple(Word(200 + 300 * i, 480 + 300 * i, w) for i, w in enumerate(SAID.split()))
    turns = (Turn(200, 2400, 1),)
    for node in nodes:
        store.put_json(
            engine_runs.output_key(clip, node, separation),
            StoredOutput(turns=turns, events=(DOG,), words=words, language="en"),
        )
    return clip


def truth(**labels: str) -> Scene:
    turn = replace(Turn(0, 4000, 1, SAID), **labels)  # type: ignore[arg-type]
    return Scene(
        "c", 4000, turns=(turn,), language="en", translated_to="de" if "translation" in labels else None
    )


def test_labels_of_a_heard_clip_are_asked_about(recipe: Recipe, store: Store) -> None:
    plain = heard(recipe, store)
    labelled = replace(
        plain, truth=truth(emotion="anger", translation="Wir gingen zusammen zum Fluss hinunter.")
    )
    pool = ("Wir kommen morgen wieder.", "Er hat das Fenster nicht zugemacht.", "Das Brot war schon alt.")
    many = replace(recipe, questions=QuestionsConfig(per_clip=50))
    rows, lost = compose_clip(labelled, many, store, OtherClips(pool))
    by_template = {row.template: row for row in rows}
    assert not lost
    assert by_template["emotion_of_line"].answer == "Angry"
    assert by_template["translation_of_line"].answer == '"Wir gingen zusammen zum Fluss hinunter."'
    assert {row.answers_from for row in rows if row.task in ("emotion", "translation")} == {"truth"}
    assert {row.answers_from for row in rows if row.task not in ("emotion", "translation")} == {"heard"}
    assert by_template["emotion_of_line"].scene.turns[0].text == SAID
    before, _ = compose_clip(plain, many, store)
    assert {row.id for row in before} <= {row.id for row in rows}
    assert not {row.task for row in before} & {"emotion", "translation"}
    (batch,) = [compose([labelled], many, store, {"c": OtherClips(pool)})]
    assert batch.items == tuple(rows)


GIVEN = (
    GivenQuestion("a", "avqa", "What is the animal?", ("cat", "dog", "cow"), 1),
    GivenQuestion("a", "cota", "How many people are speaking?", ("One", "Two", "Three"), 0),
    GivenQuestion("b", "avqa", "What colour is it?", ("brown", "black"), 0),
    GivenQuestion("x" * 200, "avqa", "Where do they go?", ("to the river", "to the lake"), 0),
    GivenQuestion("d", "avqa", "Which?", ("dog", "Dog!"), 0),
)


@pytest.mark.parametrize("name", ["c", "long" * 40])
def test_given_questions_come_beside_the_templated_ones(recipe: Recipe, store: Store, name: str) -> None:
    few = replace(recipe, questions=QuestionsConfig(per_clip=2))
    plain = replace(heard(recipe, store), id=name)
    before, _ = compose_clip(plain, few, store)
    rows, lost = compose_clip(replace(plain, questions=GIVEN), few, store)
    assert len(before) == 2
    assert rows[:2] == before
    assert [(row.task, row.answer, row.template, row.answers_from) for row in rows[2:]] == [
        ("avqa", "dog", "given", "truth"),
        ("cota", "One", "given", "truth"),
        ("avqa", "to the river", "given", "truth"),
    ]
    assert [(q.stage, q.reason) for q in lost] == [("questions", "answer_not_heard")] * 2
    ids = [*(row.id for row in rows), *(q.id for q in lost)]
    assert len(set(ids)) == len(ids)
    assert all(len(i) <= 200 for i in ids)
    assert compose_clip(replace(plain, questions=GIVEN), few, store) == (rows, lost)
    openings = [" ".join(row.rationale.split("<PLANNING>")[1].split()[:6]) for row in rows]
    assert len(set(openings)) == len(openings)


def test_given_questions_are_kept_where_no_template_asks(recipe: Recipe, store: Store) -> None:
    none = replace(recipe, questions=QuestionsConfig(skip=tuple(TEMPLATES)))
    clip = heard(recipe, store)
    rows, lost = compose_clip(replace(clip, questions=GIVEN[:1]), none, store)
    assert ([row.answer for row in rows], lost) == (["dog"], [])
    rows, lost = compose_clip(clip, none, store)
    assert ([*rows], [q.reason for q in lost]) == ([], ["nothing_to_ask"])


def test_known_rows_are_read_again_and_not_composed(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = heard(recipe, store)
    first = compose([clip], recipe, store)
    composed = []
    monkeypatch.setattr(composing, "compose_clip", lambda clip, *rest: composed.append(clip.id) or ([], []))
    assert compose([clip], recipe, store).items == first.items
    assert composed == []
    for other in (replace(clip, license="CC-BY-4.0"), replace(clip, truth=truth(emotion="joy"))):
        compose([other], recipe, store)
    compose([clip], replace(recipe, seed=1), store)
    compose([clip], recipe, store, {"c": OtherClips(digest="of another build")})
    monkeypatch.setattr(composing, "code", lambda: "of another version")
    compose([clip], recipe, store)
    assert composed == ["c"] * 5


def test_light_items_become_whole_again(recipe: Recipe, store: Store) -> None:
    clip = replace(
        heard(recipe, store),
        origins=(Origin("recording", "meld", "c", "c.wav", 0, 4000, "0" * 64, "M", "GPL"),),
    )
    full = compose([clip], recipe, store)
    short = sketch([clip], recipe, store, {})
    assert all(not item.rationale and not item.scene.turns and not item.evidence for item in short.items)
    marked = [replace(item, audio_dependence=0.5, key="1" * 64) for item in short.items]
    again = list(whole(marked, short.row_keys, store))
    assert again == [replace(item, audio_dependence=0.5, key="1" * 64) for item in full.items]


def test_all_that_decides_the_rows_of_a_clip_moves_them(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composing, "compose_clip", lambda *_: ([], []))
    recipe = change(recipe, ["hear.diarize.stem=speech"])
    clip = heard(recipe, store)
    others = [
        (replace(clip, license="CC-BY-4.0"), recipe, OtherClips()),
        (replace(clip, sha256="1" * 64), recipe, OtherClips()),
        (clip, recipe, OtherClips(foreign=("Bonjour.",))),
        (clip, recipe, OtherClips(digest="of another build")),
        (clip, replace(recipe, seed=1), OtherClips()),
        (clip, replace(recipe, gates=GatesConfig(min_margin=0.5)), OtherClips()),
        (clip, replace(recipe, questions=QuestionsConfig(per_clip=3)), OtherClips()),
    ]

    def place(clip: Clip, recipe: Recipe, elsewhere: OtherClips) -> str:
        return compose([clip], recipe, store, {clip.id: elsewhere}).row_keys[clip.id]

    usual = place(clip, recipe, OtherClips())
    places = {usual, *(place(*other) for other in others)}
    assert len(places) == 1 + len(others)
    assert compose([clip], recipe, store).row_keys == {"c": usual}  # elsewhere is for other clips only
    assert compose([clip], recipe, store, {"d": OtherClips(digest="of another build")}).row_keys == {
        "c": usual
    }
    separation, *nodes = engine_runs.engine_runs(recipe)
    (spare, *_) = engine_runs.optional_runs(recipe)
    assert spare in nodes
    store.remove(engine_runs.output_key(clip, spare, separation), ".json")
    assert place(clip, recipe, OtherClips()) not in places  # what nobody has misheard is no first response


def test_rows_of_several_clips_stay_their_own(recipe: Recipe, store: Store) -> None:
    clips = [heard(recipe, store, id=name, license=name.upper()) for name in ("b", "a", "c")]
    full, short = compose(clips, recipe, store), sketch(clips, recipe, store, {})
    assert list(full.row_keys) == list(short.row_keys) == ["b", "a", "c"]
    assert list(dict.fromkeys(item.clip_id for item in full.items)) == ["b", "a", "c"]
    assert all(item.license == item.clip_id.upper() for item in full.items)
    assert list(whole(short.items, short.row_keys, store)) == list(full.items)
    for few in (short.items[:1], [item for item in short.items if item.clip_id != "a"][1:]):
        assert list(whole(few, short.row_keys, store)) == [
            i for i in full.items if i.id in {f.id for f in few}
        ]
    assert full.cost.clips == 3
    assert full.cost.audio_s == 12.0


def test_what_a_gate_keeps_out_is_told_and_told_again(recipe: Recipe, store: Store) -> None:
    strict = replace(recipe, gates=GatesConfig(min_score=1.1))
    clip = heard(recipe, store)
    every = compose([clip], recipe, store)
    first, again = (compose([clip], strict, store) for _ in range(2))
    assert first.quarantined
    assert (again.items, again.quarantined) == (first.items, first.quarantined)
    assert {(q.stage, q.reason, q.fingerprint) for q in first.quarantined} == {
        ("gates", "low_score", clip.sha256)
    }
    rows, lost = {i.id for i in first.items}, {q.id for q in first.quarantined}
    assert not rows & lost
    assert rows | lost == {i.id for i in every.items}


def test_rows_say_what_they_hold(recipe: Recipe, store: Store) -> None:
    """What a row says of itself is what is in it; its key is of the clip's samples and of what it says."""
    clip, recipe = heard(recipe, store, voice="anna"), replace(recipe, seed=5)
    rows, _ = compose_clip(clip, recipe, store)
    assert any(row.subsets for row in rows)
    for row in rows:
        assert row.answer == (row.choices[row.answer_index] if row.choices else row.answer)
        assert row.reflected == (row.reflection is not None) == ("<REFLECT>" in row.rationale)
        assert (row.clip_id, row.split, row.groups) == ("c", "train", ("g",))
        assert (row.source, row.license) == ("MELD", "GPL-3.0")
        assert (row.seed, row.paqa_version, row.audio_dependence) == (5, __version__, None)
        assert row.scene.turns
        assert {by.stage for by in row.heard_by} == {"separate", "diarize", "tag", "transcribe"}
    assert len({row.key for row in rows}) == len(rows)
    assert any(row.reflected for row in rows)
    other, _ = compose_clip(replace(clip, license="MIT"), recipe, store)
    assert {row.key for row in other}.isdisjoint(row.key for row in rows)


def test_a_clip_that_is_none_is_kept_out_whole(recipe: Recipe, store: Store) -> None:
    clip = heard(recipe, store, offset_ms=-1)
    rows, (lost,) = compose_clip(clip, recipe, store)
    assert (rows, lost.id, lost.stage, lost.reason) == ([], "c", "compose", "schema")
    assert "offset_ms: found -1" in lost.detail


def test_of_questions_that_are_the_same_one_is_kept(recipe: Recipe, store: Store) -> None:
    none = replace(recipe, questions=QuestionsConfig(skip=tuple(TEMPLATES)))
    same = (GIVEN[0], replace(GIVEN[0], id="again"))
    rows, lost = compose_clip(replace(heard(recipe, store), questions=same), none, store)
    assert len(rows) == 1
    assert [(q.stage, q.reason) for q in lost] == [("gates", "duplicate_question")]
    one = compose(
        [replace(heard(recipe, store), questions=same[:1])], none, store
    )  # a clip with a single row
    assert one.items == tuple(rows)


def test_what_python_compiles_meanwhile_is_no_code(tmp_path: Path) -> None:
    """Another process may write `__pycache__/a.cpython-311.pyc.140` and rename it at any moment."""
    (tmp_path / "a.py").write_text("x = 1\n")
    before = composing.folder_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.cpython-311.pyc.140").write_bytes(b"half")
    assert composing.folder_digest(tmp_path) == before
    (tmp_path / "a.py").write_text("x = 2\n")
    assert composing.folder_digest(tmp_path) != before
