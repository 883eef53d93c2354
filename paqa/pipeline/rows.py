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

from paqa.config.recipe import Recipe
from paqa.config.schema import problems
from paqa.curation import gates
from paqa.dataset.keys import item_key
from paqa.errors import MissingObject, Rejected
from paqa.perception import calibration as calibrations
from paqa.perception import engine_runs, scenes
from paqa.perception.calibration import Calibration
from paqa.perception.inference import Cost
from paqa.pipeline.clip_kinds import kind_of
from paqa.questions import families, source_questions
from paqa.questions.difficulty import difficulty, subsets
from paqa.questions.generate import (
    NO_OTHER_CLIPS,
    OtherClips,
    config_for,
    generate,
    level,
    question_id,
    rests_on,
    template_named,
)
from paqa.questions.row_confidence import row_probability
from paqa.rationale import grammar
from paqa.rationale import reflection as reflections
from paqa.storage.store import Store, key
from paqa.types import Clip, HeardBy, Item, Origin, Quarantined, Question, Scene
from paqa.version import __version__


@dataclass(frozen=True)
class Composed:
    """What became of a batch of clips; `row_keys` says where the store has the rows of a clip, by its id.

    `kinds` has the kind of each clip, by id.
    """

    items: tuple[Item, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    row_keys: Mapping[str, str] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    kinds: Mapping[str, str] = field(default_factory=dict)


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
    """Scenes, questions, rationales and gates for a batch of clips; rows that the store has are read again.

    The store has the outputs of all engines for the clips. `elsewhere` is what other clips hold, by id.
    """
    began = time.perf_counter()
    items: list[Item] = []
    quarantined: list[Quarantined] = []
    row_keys, kinds = {}, {}
    for clip in clips:
        others = (elsewhere or {}).get(clip.id, NO_OTHER_CLIPS)
        row_keys[clip.id] = where = _where(clip, recipe, store, others)
        try:
            kept, dropped = _read(where, clip.origins, store)
        except MissingObject:
            kept, dropped = compose_clip(clip, recipe, store, others)
            _put(where, kept, dropped, store)
        kinds[clip.id] = kind_of(clip, kept, recipe, store)
        items += kept
        quarantined += dropped
    return Composed(tuple(items), tuple(quarantined), row_keys, Cost.since(began, clips), kinds)


def sketch(
    clips: Sequence[Clip], recipe: Recipe, store: Store, elsewhere: Mapping[str, OtherClips]
) -> Composed:
    """As `compose`, with items that are light enough for one process to hold those of a whole build."""
    composed = compose(clips, recipe, store, elsewhere)
    return replace(composed, items=tuple(map(light, composed.items)))


def light(item: Item) -> Item:
    """An item without what is long, its rationale, scene and evidence: `whole` reads them again."""
    return replace(_bare(item), rationale="", evidence=())


def whole(items: Sequence[Item], row_keys: Mapping[str, str], store: Store) -> Iterator[Item]:
    """Light items, those of a clip one after the other, as they were, with their later dependence and key.

    Those that have a rationale were reworded: it, and their question, take the place of what was stored.
    """
    for clip_id, group in groupby(items, key=lambda item: item.clip_id):
        rows = list(group)
        stored = {item.id: item for item in _read(row_keys[clip_id], rows[0].origins, store)[0]}
        for row in rows:
            item = replace(stored[row.id], audio_dependence=row.audio_dependence, key=row.key)
            yield replace(item, question=row.question, rationale=row.rationale) if row.rationale else item


@cache
def code() -> str:
    """A digest of this package's files: another version of any of them composes anew."""
    return folder_digest(Path(__file__).parents[1])


def folder_digest(folder: Path) -> str:
    """A digest of the files below a folder, without what Python compiles there while others look."""
    files = sorted(p for p in folder.rglob("*") if "__pycache__" not in p.parts and p.is_file())
    return key(
        [(p.relative_to(folder).as_posix(), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]
    )


def _where(clip: Clip, recipe: Recipe, store: Store, elsewhere: OtherClips) -> str:
    """The key of a clip's rows: a digest of all that decides them."""
    runs = engine_runs.engine_runs(recipe)
    outputs = [engine_runs.output_key(clip, run, runs[0]) for run in runs if clip.listen]
    missing = []
    for run in engine_runs.optional_runs(recipe):
        if clip.listen and engine_runs.without_output([clip], run, runs[0], store):
            missing.append(run.name)
    others = (elsewhere.digest, elsewhere.foreign, calibrations.for_recipe(recipe, store))
    config = (config_for(recipe, clip.corpus), recipe.questions, recipe.gates, recipe.seed)
    used = engine_runs.engines_used(recipe)
    plugins = families.revisions(recipe.questions.families)
    return key("compose", code(), clip, outputs, used, missing, others, config, *plugins)


def _put(where: str, items: Sequence[Item], lost: Sequence[Quarantined], store: Store) -> None:
    first = items[0] if items else None
    rows = tuple(replace(_bare(item), heard_by=(), origins=()) for item in items)
    scene, heard_by = (first.scene, first.heard_by) if first else (None, ())
    store.put_json(where, Composition(scene, heard_by, rows, tuple(lost)))


def _read(where: str, origins: tuple[Origin, ...], store: Store) -> tuple[list[Item], list[Quarantined]]:
    """The rows of a clip, all with the same scene, engines and origins, and what fell out."""
    stored: Composition = store.get_json(where, Composition)
    shared: dict[str, Any] = {"scene": stored.scene, "heard_by": stored.heard_by, "origins": origins}
    return [replace(item, **shared) for item in stored.items], list(stored.quarantined)


def compose_clip(
    clip: Clip,
    recipe: Recipe,
    store: Store,
    elsewhere: OtherClips = NO_OTHER_CLIPS,
    calibration: Calibration | None = None,
) -> tuple[list[Item], list[Quarantined]]:
    """The rows of one clip, and what a gate kept out. Given questions come beside the templates' own.

    `calibration` takes the place of the one for the recipe's engines.
    """
    calibration = calibration or calibrations.for_recipe(recipe, store)
    predicted = _predicted(clip, recipe, store, calibration)
    if invalid := _invalid("clip", clip) or _invalid("scene", predicted):
        return [], [Quarantined(clip.id, "compose", "schema", f"{clip.uri}: {invalid}", clip.sha256)]
    scene = scenes.scene_for_questions(clip, predicted, recipe, store, calibration)
    unsure: list[Quarantined] = []
    confidences: dict[str, float | None] = {}  # by id of the question

    def is_sure(question: Question) -> bool:
        confidences[question.id] = _confidence(clip, question, scene, calibration)
        rejected = gates.uncertain(question, confidences[question.id], recipe.gates)
        if rejected:
            unsure.append(_rejected(clip, question, rejected))
        return rejected is None

    questions = generate(scene, config_for(recipe, clip.corpus), recipe.seed, elsewhere, is_sure)
    if not questions and not clip.questions and not unsure:
        held = f"{len(scene.turns)} turns, {len(scene.events)} events"
        detail = f"{clip.uri}: no question can be asked safely ({held})"
        return [], [Quarantined(clip.id, "questions", "nothing_to_ask", detail, clip.sha256)]
    from_source, quarantined = _source_questions(clip, scene, recipe)
    questions += filter(is_sure, from_source)
    quarantined += unsure
    mistaken = list(scenes.raw_mix_scenes(clip, recipe, store))
    if clip.answers == "truth" and clip.truth and clip.listen:  # what engines get wrong even with separation
        mistaken.append(predicted)
    brief = recipe.questions.style == "brief"
    mistakes = reflections.compare(scene, mistaken, recipe.gates.min_confidence)
    items: list[Item] = []
    kept: list[Question] = []
    for variant, question in enumerate(questions):
        reflection = reflections.reflect(scene, question, mistakes, recipe.questions, recipe.seed, elsewhere)
        text = grammar.render(scene, question, variant, reflection, brief, recipe.questions.letters)
        snippets = [turn.text for turn in predicted.turns if turn.text]
        first_scene = reflection.scene if reflection else None
        if rejected := gates.judge(question, text, scene, snippets, recipe.gates, kept, first_scene):
            quarantined.append(_rejected(clip, question, rejected))
            continue
        item = replace(_item(clip, scene, question, text), confidence=confidences[question.id])
        if reflection:
            item = _reflected(item, question, reflection)
        item = _finished(item, clip, predicted.heard_by, recipe)
        if invalid := _invalid("item", _bare(item)):
            quarantined.append(Quarantined(item.id, "compose", "schema", invalid, clip.sha256))
            continue
        items.append(item)
        kept.append(question)
    return items, quarantined


def _predicted(clip: Clip, recipe: Recipe, store: Store, calibration: Calibration | None) -> Scene:
    """What the engines predicted; of a clip on which none ran its truth."""
    if clip.truth and not clip.listen:
        return clip.truth
    return scenes.predicted_scene(clip, recipe, store, calibration)


def _rejected(clip: Clip, question: Question, rejected: Rejected) -> Quarantined:
    return Quarantined(question.id, "gates", rejected.reason, rejected.detail, clip.sha256)


def _source_questions(clip: Clip, scene: Scene, recipe: Recipe) -> tuple[list[Question], list[Quarantined]]:
    """The questions that came with a clip, as far as its scene supports their answers."""
    questions: list[Question] = []
    rejected: list[Quarantined] = []
    for number, given_question in enumerate(clip.questions):
        name = question_id(clip.id, source_questions.NAME, number)
        question = source_questions.ask(scene, given_question, name, recipe.questions, recipe.seed)
        if isinstance(question, Rejected):
            row = Quarantined(name, "questions", question.reason, question.detail, clip.sha256)
            rejected.append(row)
        else:
            questions.append(question)
    return questions, rejected


def _confidence(
    clip: Clip, question: Question, scene: Scene, calibration: Calibration | None
) -> float | None:
    """The probability that a row is right: 1 where truth answers, None without a calibration."""
    if clip.answers == "truth":
        return 1.0
    if calibration is None:
        return None
    answers = calibration.models["answer"]
    return round(row_probability(scene, rests_on(question), question.template, answers), 4)


def _item(clip: Clip, scene: Scene, question: Question, rationale: str) -> Item:
    """A question with its rationale as a row, without what `_finished` adds."""
    template = template_named(question.template)
    labelled = template is None or template.labelled  # None: a question of the source
    return Item(
        id=question.id,
        clip_id=clip.id,
        question=question.text,
        choices=question.choices,
        answer=question.answer,
        answer_index=question.answer_index,
        task=question.task,
        template=question.template,
        rationale=rationale,
        scene=scene,
        evidence=question.evidence,
        reflected=False,
        reflection=None,
        audio_dependence=None,
        source=clip.source,
        license=clip.license,
        groups=clip.groups,
        split=clip.split,
        answers_from="truth" if labelled else clip.answers,  # labels are the source's, not engines'
        heard_by=(),
        key="0" * 64,
        origins=clip.origins,
        difficulty=difficulty(scene, question),
        subsets=subsets(scene, level(question)),
    )


def _reflected(item: Item, question: Question, reflection: grammar.Reflection) -> Item:
    """The row with where its mistake comes from, and in which tags it stands."""
    mistaken = grammar.mistaken_tags(grammar.trace_of(item), item.scene, question)
    return replace(item, reflected=True, reflection=reflection.origin, mistaken=mistaken)


def _finished(item: Item, clip: Clip, engines: tuple[HeardBy, ...], recipe: Recipe) -> Item:
    """The row with its engines and key; seed and version are no part of the key."""
    item = replace(item, heard_by=engines)
    item = replace(item, key=item_key(item, clip.sha256))
    return replace(item, seed=recipe.seed, paqa_version=__version__)


def _invalid(kind: str, value: Clip | Scene | Item) -> str | None:
    """The first violation of a checked-in JSON Schema, or None; the types hold the same rules, faster."""
    encoded = msgspec.json.encode(value)
    try:
        msgspec.json.decode(encoded, type=type(value))
    except msgspec.ValidationError as error:
        return next(problems(kind, msgspec.json.decode(encoded)), str(error))
    return None


def _bare(row: Item) -> Item:
    """The row with its scene emptied: a scene is validated once a clip, not once a question."""
    return replace(row, scene=replace(row.scene, turns=(), words=(), events=(), disagreements=()))
