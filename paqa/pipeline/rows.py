"""Clips that have been heard to rows: scene, questions, rationales, reflections and gates, kept in the store.

What a clip came to is an object under the digest of all that decides it, paqa's own code among it: a clip
whose rows are there is not composed again, and a build holds only what is short about each row (`light`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from paqa import __version__
from paqa.config.recipe import Recipe
from paqa.config.schema import problems
from paqa.curation import gates
from paqa.dataset.keys import item_key
from paqa.errors import MissingObject, Rejected
from paqa.perception import engine_runs, scenes
from paqa.perception.inference import Cost
from paqa.questions import source_questions
from paqa.questions.difficulty import difficulty, subsets
from paqa.questions.generate import (
    NO_OTHER_CLIPS,
    TEMPLATES,
    OtherClips,
    config_for,
    generate,
    level,
    question_id,
)
from paqa.rationale import grammar
from paqa.rationale import reflection as reflections
from paqa.storage.store import Store, key
from paqa.types import Clip, HeardBy, Item, Origin, Quarantined, Question, Scene


@dataclass(frozen=True)
class Composed:
    """What became of a batch of clips; `made` says where the store keeps the rows of a clip, by its id."""

    items: tuple[Item, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    made: Mapping[str, str] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Composition:
    """What the store keeps of one clip: rows without what all of them share."""

    scene: Scene | None
    heard_by: tuple[HeardBy, ...]
    items: tuple[Item, ...]
    quarantined: tuple[Quarantined, ...]


def compose(
    clips: Sequence[Clip], recipe: Recipe, store: Store, elsewhere: Mapping[str, OtherClips] | None = None
) -> Composed:
    """Scenes, questions, rationales and gates for a batch of clips that have been heard; known rows are read
    again.

    `elsewhere` is what other clips hold, by id of the clip.
    """
    began = time.perf_counter()
    items: list[Item] = []
    lost: list[Quarantined] = []
    made = {}
    for clip in clips:
        others = (elsewhere or {}).get(clip.id, NO_OTHER_CLIPS)
        made[clip.id] = where = _where(clip, recipe, store, others)
        try:
            kept, dropped = _read(where, clip.origins, store)
        except MissingObject:
            kept, dropped = compose_clip(clip, recipe, store, others)
            _put(where, kept, dropped, store)
        items += kept
        lost += dropped
    return Composed(tuple(items), tuple(lost), made, Cost.since(began, clips))


def sketch(
    clips: Sequence[Clip], recipe: Recipe, store: Store, elsewhere: Mapping[str, OtherClips]
) -> Composed:
    """As `compose`, with items that are light enough for one process to hold those of a whole build."""
    done = compose(clips, recipe, store, elsewhere)
    return replace(done, items=tuple(map(light, done.items)))


def light(item: Item) -> Item:
    """An item without what is long, its rationale, scene and evidence: `whole` reads them again."""
    return replace(_bare(item), rationale="", evidence=())


def whole(items: Sequence[Item], row_keys: Mapping[str, str], store: Store) -> Iterator[Item]:
    """Light items, those of a clip one after the other, as they were, with their later dependence and key."""
    for clip_id, group in groupby(items, key=lambda item: item.clip_id):
        rows = list(group)
        stored = {item.id: item for item in _read(row_keys[clip_id], rows[0].origins, store)[0]}
        for row in rows:
            yield replace(stored[row.id], audio_dependence=row.audio_dependence, key=row.key)


@cache
def code() -> str:
    """A digest of this package's files: another version of any of them composes anew."""
    folder = Path(__file__).parents[1]
    files = sorted(p for p in folder.rglob("*") if p.suffix != ".pyc" and p.is_file())
    return key(
        [(p.relative_to(folder).as_posix(), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]
    )


def _where(clip: Clip, recipe: Recipe, store: Store, elsewhere: OtherClips) -> str:
    """The key of a clip's rows: a digest of all that decides them."""
    nodes = engine_runs.engine_runs(recipe)
    heard = [engine_runs.output_key(clip, node, nodes[0]) for node in nodes]
    lacking = [
        node.name
        for node in engine_runs.optional_runs(recipe)
        if engine_runs.without_output([clip], node, nodes[0], store)
    ]
    others = (elsewhere.digest, elsewhere.foreign)
    wanted = (config_for(recipe, clip.corpus), recipe.questions, recipe.gates, recipe.seed)
    return key("compose", code(), clip, heard, engine_runs.engines_used(recipe), lacking, others, wanted)


def _put(where: str, items: Sequence[Item], lost: Sequence[Quarantined], store: Store) -> None:
    first = items[0] if items else None
    rows = tuple(replace(_bare(item), heard_by=(), origins=()) for item in items)
    scene, heard_by = (first.scene, first.heard_by) if first else (None, ())
    store.put_json(where, Composition(scene, heard_by, rows, tuple(lost)))


def _read(where: str, origins: tuple[Origin, ...], store: Store) -> tuple[list[Item], list[Quarantined]]:
    """The rows of a clip, all with the same scene, engines and origins, and what fell out."""
    found: Composition = store.get_json(where, Composition)
    shared: dict[str, Any] = {"scene": found.scene, "heard_by": found.heard_by, "origins": origins}
    return [replace(item, **shared) for item in found.items], list(found.quarantined)


def compose_clip(
    clip: Clip, recipe: Recipe, store: Store, elsewhere: OtherClips = NO_OTHER_CLIPS
) -> tuple[list[Item], list[Quarantined]]:
    """The rows of one clip, and what a gate kept out. Given questions come beside the templates' own."""
    heard = scenes.predicted_scene(clip, recipe, store)
    if invalid := _invalid("clip", clip) or _invalid("scene", heard):
        return [], [Quarantined(clip.id, "compose", "schema", f"{clip.uri}: {invalid}", clip.sha256)]
    scene = scenes.scene_for_questions(clip, heard, recipe, store)
    questions = generate(scene, config_for(recipe, clip.corpus), recipe.seed, elsewhere)
    if not questions and not clip.questions:
        detail = f"{clip.uri}: no question can be asked safely ({len(scene.turns)} turns, {len(scene.events)} events)"
        return [], [Quarantined(clip.id, "questions", "nothing_to_ask", detail, clip.sha256)]
    items, lost = [], []
    for n, brought in enumerate(clip.questions):
        name = question_id(clip.id, source_questions.NAME, n)
        question = source_questions.ask(scene, brought, name, recipe.questions, recipe.seed)
        if isinstance(question, Rejected):
            lost.append(Quarantined(name, "questions", question.reason, question.detail, clip.sha256))
        else:
            questions.append(question)
    known = (
        [heard] if clip.answers == "truth" and clip.truth else []
    )  # what was misheard even with decoupling
    misheard = reflections.compare(scene, [*scenes.raw_mix_scenes(clip, recipe, store), *known])
    kept: list[Question] = []
    for variant, question in enumerate(questions):
        reflection = reflections.reflect(scene, question, misheard, recipe.questions, recipe.seed, elsewhere)
        row = _row(clip, scene, heard, question, variant, reflection, recipe, kept)
        if isinstance(row, Item):
            items.append(row)
            kept.append(question)
        else:
            lost.append(row)
    return items, lost


def _row(
    clip: Clip,
    scene: Scene,
    heard: Scene,
    question: Question,
    variant: int,
    reflection: grammar.Reflection | None,
    recipe: Recipe,
    earlier: Sequence[Question],
) -> Item | Quarantined:
    """A question with its rationale as a row, or why it cannot be one."""
    text = grammar.render(scene, question, variant, reflection)
    snippets = [t.text for t in heard.turns if t.text]
    if rejected := gates.judge(question, text, scene, snippets, recipe.gates, earlier):
        return Quarantined(question.id, "gates", rejected.reason, rejected.detail, clip.sha256)
    told = (
        question.template == source_questions.NAME or TEMPLATES[question.template].labelled
    )  # by the source, not by engines
    row = Item(
        id=question.id,
        clip_id=clip.id,
        question=question.text,
        choices=question.choices,
        answer=question.answer,
        answer_index=question.answer_index,
        task=question.task,
        template=question.template,
        rationale=text,
        scene=scene,
        evidence=question.evidence,
        reflected=reflection is not None,
        reflection=reflection.origin if reflection else None,
        audio_dependence=None,
        source=clip.source,
        license=clip.license,
        groups=clip.groups,
        split=clip.split,
        answers_from="truth" if told else clip.answers,
        heard_by=heard.heard_by,
        key="0" * 64,
        origins=clip.origins,
    )
    hard = subsets(scene, level(question))
    row = replace(row, difficulty=difficulty(scene, question), subsets=hard)
    row = replace(row, key=item_key(row, clip.sha256))
    row = replace(row, seed=recipe.seed, paqa_version=__version__)
    if invalid := _invalid("item", _bare(row)):
        return Quarantined(row.id, "compose", "schema", invalid, clip.sha256)
    return row


def _invalid(kind: str, value: Clip | Scene | Item) -> str | None:
    """The first violation of a checked-in JSON Schema, or None. The types hold the same rules and check
    faster.
    """
    encoded = msgspec.json.encode(value)
    try:
        msgspec.json.decode(encoded, type=type(value))
    except msgspec.ValidationError as error:
        return next(problems(kind, msgspec.json.decode(encoded)), str(error))
    return None


def _bare(row: Item) -> Item:
    """The row with its scene emptied: a scene is validated once a clip, not once a question."""
    return replace(row, scene=replace(row.scene, turns=(), words=(), events=(), disagreements=()))
