"""`paqa calibrate`: confidences for a recipe's engines, fitted on a build of clips with truth.

The models of single predictions are fitted first, then that of rows, on rows that are made with them. For the
figures all of it is fitted once for each fold of the material, without the voices and recordings of the fold,
and measured on the fold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paqa.config.recipe import Recipe
from paqa.dataset.open_build import open_build
from paqa.errors import PaqaError
from paqa.evaluation import fitting, prediction_labels
from paqa.evaluation.fitting import Example
from paqa.evaluation.pairs import KnownTruth, known_truth
from paqa.perception import calibration as calibrations
from paqa.perception import confidence, scenes
from paqa.perception.calibration import Calibration, Kind, LogisticModel
from paqa.perception.confidence import Extras
from paqa.pipeline.rows import compose_clip
from paqa.questions.generate import rests_on
from paqa.questions.row_confidence import row_features
from paqa.storage.store import Store
from paqa.types import Clip, Item, Scene

FOLDS = 5
PREDICTIONS: tuple[Kind, ...] = ("word", "turn", "speaker_count", "event", "event_span", "background")
UNFITTED = LogisticModel((), (), 30.0)  # keeps every row


@dataclass(frozen=True)
class LabelledClip:
    """A clip with truth, what the engines predict, and the fold that it is held out in."""

    clip: Clip
    truth: KnownTruth
    scene: Scene
    extras: Extras
    fold: int


@dataclass(frozen=True)
class JudgedRow:
    """A row of predictions with its held-out confidence; None where its truth does not say."""

    item: Item
    right: bool | None  # the answer
    all_right: bool | None  # the answer, and all that the rationale states
    confidence: float
    group: str


Judge = Callable[[Item, KnownTruth], tuple[bool | None, bool | None]]


def labelled_clips(folder: Path) -> tuple[Recipe, Store, list[LabelledClip]]:
    """The clips of a build that have truth; PaqaError where there are none."""
    recipe, store, clips = open_build(folder)
    with_truth = [clip for clip in clips if clip.truth is not None]
    if not with_truth:
        raise PaqaError(
            f"{folder}: no clip has truth to calibrate with; mix scenes, or give turns and events"
        )
    folds = fitting.folds([clip.groups for clip in with_truth], FOLDS)
    labelled = []
    for clip, fold in zip(with_truth, folds, strict=True):
        scene, extras = scenes.scored_scene(clip, recipe, store)
        labelled.append(LabelledClip(clip, known_truth(clip), scene, extras, fold))
    return recipe, store, labelled


def prediction_examples(clips: Iterable[LabelledClip]) -> dict[Kind, list[Example]]:
    """Every prediction that truth says something about, by kind."""
    examples: dict[Kind, list[Example]] = {kind: [] for kind in PREDICTIONS}
    for clip in clips:
        for kind, features, right in _of_clip(clip):
            examples[kind].append(Example(features, right, clip.clip.groups[0]))
    return examples


def _of_clip(clip: LabelledClip) -> Iterable[tuple[Kind, Mapping[str, float], bool]]:
    scene, truth, extras = clip.scene, clip.truth, clip.extras
    if truth.turns_known:
        word_labels = prediction_labels.words(scene, truth.scene)
        for features, said in zip(confidence.word_features(scene), word_labels, strict=True):
            if said is not None:
                yield "word", features, said
        turn_labels = prediction_labels.turns(scene, truth.scene)
        for features, right in zip(confidence.turn_features(scene, extras), turn_labels, strict=True):
            yield "turn", features, right
        right_count = prediction_labels.speaker_count(scene, truth.scene)
        yield "speaker_count", confidence.count_features(scene, extras), right_count
    if truth.events_known:
        event_labels = prediction_labels.events(scene, truth.scene, truth.spans_known)
        for features, (there, placed) in zip(confidence.event_features(scene), event_labels, strict=True):
            yield "event", features, there
            if placed is not None:
                yield "event_span", features, placed
        complete = prediction_labels.nothing_missed(scene, truth.scene)
        yield "background", confidence.background_features(scene, extras), complete


def fit_predictions(clips: Sequence[LabelledClip], recipe: Recipe, row: LogisticModel) -> Calibration:
    """A calibration with the models of predictions fitted on some clips, and a given one of rows."""
    examples = prediction_examples(clips)
    models: dict[Kind, LogisticModel] = {kind: fitting.fit(examples[kind], kind) for kind in PREDICTIONS}
    models["row"] = row
    return Calibration(calibrations.engines(recipe), models)


def rows_of(
    clips: Iterable[LabelledClip], recipe: Recipe, store: Store, fitted: Calibration, judge: Judge
) -> list[JudgedRow]:
    """The rows that clips give where their predictions are asked about and all rows are kept."""
    open_gate = replace(recipe, gates=replace(recipe.gates, min_confidence=0.0))
    rows = []
    for labelled in clips:
        clip = replace(labelled.clip, answers="heard")
        for item in compose_clip(clip, open_gate, store, calibration=fitted)[0]:
            right, all_right = judge(item, labelled.truth)
            rows.append(JudgedRow(item, right, all_right, item.confidence or 0.0, clip.groups[0]))
    return rows


def row_example(row: JudgedRow) -> Example:
    """A judged row as an example for the model of rows."""
    features = row_features(row.item.scene, rests_on(row.item), row.item.evidence)
    return Example(features, bool(row.all_right), row.group)


def held_out_rows(
    clips: Sequence[LabelledClip], recipe: Recipe, store: Store, judge: Judge
) -> list[JudgedRow]:
    """All rows, each with the confidence of models that know nothing of its clip's voices and recordings."""
    by_fold: dict[int, list[JudgedRow]] = defaultdict(list)
    for fold in sorted({clip.fold for clip in clips}):
        fitted = fit_predictions([c for c in clips if c.fold != fold], recipe, UNFITTED)
        by_fold[fold] = rows_of([c for c in clips if c.fold == fold], recipe, store, fitted, judge)
    rows = []
    for fold, own_rows in by_fold.items():
        others = [row_example(r) for f, group in by_fold.items() for r in group if f != fold and known(r)]
        model = fitting.fit(others, "row")
        for row in own_rows:
            probability = model.probability(row_example(row).features)
            rows.append(replace(row, confidence=round(probability, 4)))
    return rows


def known(row: JudgedRow) -> bool:
    """Whether truth says whether a row is right."""
    return row.all_right is not None


def calibrate(
    clips: Sequence[LabelledClip], recipe: Recipe, held_out: Sequence[JudgedRow], material: str
) -> Calibration:
    """The calibration to be used: predictions fitted on all clips, rows on all held-out rows."""
    row = fitting.fit([row_example(r) for r in held_out if known(r)], "row")
    return replace(fit_predictions(clips, recipe, row), material=material)
