"""The rows of a clip that has been heard: labels and given questions of its source beside the templates' own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from paqa import compose as composing
from paqa import hear
from paqa.audio import digest, flac, quantize
from paqa.compose import compose, compose_clip, sketch, whole
from paqa.hear import Perception
from paqa.questions import TEMPLATES, Elsewhere
from paqa.recipe import QuestionsConfig, Recipe, for_folder
from paqa.store import Store
from paqa.types import Audio, Clip, Event, GivenQuestion, Origin, Scene, Turn, Word

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
    separation, *nodes = hear.hearings(recipe)
    store.put(hear.heard_key(clip, separation, separation), ".flac", flac(Audio(quantize(samples / 2), RATE)))
    words = tuple(Word(200 + 300 * i, 480 + 300 * i, w) for i, w in enumerate(SAID.split()))
    turns = (Turn(200, 2400, 1),)
    for node in nodes:
        store.put_json(
            hear.heard_key(clip, node, separation), Perception(turns=turns, events=(DOG,), words=words, language="en")
        )
    return clip


def truth(**labels: str) -> Scene:
    turn = replace(Turn(0, 4000, 1, SAID), **labels)  # type: ignore[arg-type]
    return Scene("c", 4000, turns=(turn,), language="en", translated_to="de" if "translation" in labels else None)


def test_labels_of_a_heard_clip_are_asked_about(recipe: Recipe, store: Store) -> None:
    plain = heard(recipe, store)
    labelled = replace(plain, truth=truth(emotion="anger", translation="Wir gingen zusammen zum Fluss hinunter."))
    pool = ("Wir kommen morgen wieder.", "Er hat das Fenster nicht zugemacht.", "Das Brot war schon alt.")
    many = replace(recipe, questions=QuestionsConfig(per_clip=50))
    rows, lost = compose_clip(labelled, many, store, Elsewhere(pool))
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
    (batch,) = [compose([labelled], many, store, {"c": Elsewhere(pool)})]
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
    compose([clip], recipe, store, {"c": Elsewhere(digest="of another build")})
    monkeypatch.setattr(composing, "code", lambda: "of another version")
    compose([clip], recipe, store)
    assert composed == ["c"] * 5


def test_light_items_become_whole_again(recipe: Recipe, store: Store) -> None:
    clip = replace(
        heard(recipe, store), origins=(Origin("recording", "meld", "c", "c.wav", 0, 4000, "0" * 64, "M", "GPL"),)
    )
    full = compose([clip], recipe, store)
    short = sketch([clip], recipe, store, {})
    assert all(not item.rationale and not item.scene.turns and not item.evidence for item in short.items)
    marked = [replace(item, audio_dependence=0.5, key="1" * 64) for item in short.items]
    again = list(whole(marked, short.made, store))
    assert again == [replace(item, audio_dependence=0.5, key="1" * 64) for item in full.items]
