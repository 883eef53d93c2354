"""`paqa calibrate`: confidences for a recipe's engines, fitted on a build of clips with truth.

The models of single predictions are fitted first, then that of answers, on rows that are made with them. For
the figures all of it is fitted once for each fold of the material, without the voices and recordings of the
fold, and measured on the fold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paqa import audioset
from paqa.config.recipe import Recipe
from paqa.dataset.open_build import open_build
from paqa.errors import PaqaError
from paqa.evaluation import calibration_report, fitting, prediction_labels
from paqa.evaluation.calibration_report import HeldOutRow
from paqa.evaluation.fitting import Example
from paqa.evaluation.judge import judge
from paqa.evaluation.known_truth import KnownTruth, truth_of
from paqa.perception import calibration as calibrations
from paqa.perception import confidence, scenes
from paqa.perception.calibration import Calibration, Kind, LogisticModel
from paqa.perception.confidence import Extras
from paqa.pipeline.rows import compose_clip
from paqa.questions.generate import rests_on
from paqa.questions.row_confidence import answer_features, row_probability
from paqa.storage.store import Store
from paqa.types import Clip, Item, Scene

FOLDS = 5
ROWS_A_CLIP = 16  # asked of a clip, to fit the model of answers on
PREDICTIONS: tuple[Kind, ...] = (
    "word",
    "turn",
    "speaker_count",
    "event",
    "event_span",
    "ancestor",
    "background",
)
UNFITTED = LogisticModel((), (), 30.0)  # of answers: all are right


@dataclass(frozen=True)
class LabelledClip:
    """A clip with truth, what the engines predict, and the fold that it is held out in."""

    clip: Clip
    truth: KnownTruth
    scene: Scene
    extras: Extras
    fold: int


@dataclass(frozen=True)
class LabelledRow:
    """A row of predictions, judged; `known` says that truth knows of all that it states."""

    item: Item
    corpus: str
    fold: int
    right: bool  # its answer
    stated_right: bool  # all that its rationale states
    known: bool


@dataclass(frozen=True)
class Result:
    """A fitted calibration, and how its models did on what was held out.

    `predictions` are held-out probabilities with outcomes, by kind.
    """

    calibration: Calibration
    store: Store
    predictions: Mapping[Kind, Sequence[tuple[float, bool]]]
    rows: Sequence[HeldOutRow]
    clips: Mapping[str, int]  # by corpus


def labelled_clips(folder: Path) -> tuple[Recipe, Store, list[LabelledClip]]:
    """The clips of a build that have truth; PaqaError where there are none."""
    recipe, store, clips = open_build(folder)
    with_truth = [clip for clip in clips if clip.truth is not None and clip.listen]
    if not with_truth:
        raise PaqaError(
            f"{folder}: no clip has truth to calibrate with; mix scenes, or give turns and events"
        )
    folds = fitting.folds([clip.groups for clip in with_truth], FOLDS)
    labelled = []
    for clip, fold in zip(with_truth, folds, strict=True):
        if truth := truth_of(clip):
            scene, extras = scenes.scored_scene(clip, recipe, store)
            labelled.append(LabelledClip(clip, truth, scene, extras, fold))
    return recipe, store, labelled


def prediction_examples(clips: Iterable[LabelledClip]) -> dict[Kind, list[Example]]:
    """Every prediction that truth says something about, by kind."""
    examples: dict[Kind, list[Example]] = {kind: [] for kind in PREDICTIONS}
    for clip in clips:
        for kind, features, right in _of_clip(clip):
            examples[kind].append(Example(features, right))
    return examples


def _of_clip(clip: LabelledClip) -> Iterable[tuple[Kind, Mapping[str, float], bool]]:
    scene, truth, extras = clip.scene, clip.truth, clip.extras
    if truth.words_known:
        word_labels = prediction_labels.words(scene, truth.scene)
        yield from _labelled("word", confidence.word_features(scene), word_labels)
    if truth.turns_known:
        turn_labels = prediction_labels.turns(scene, truth.scene)
        yield from _labelled("turn", confidence.turn_features(scene, extras), turn_labels)
        right = prediction_labels.speaker_count(scene, truth.scene)
        yield "speaker_count", confidence.count_features(scene, extras), right
    if truth.events_known or truth.scene.events:
        event_labels = prediction_labels.events(scene, truth.scene, truth.times_known)
        features = confidence.event_features(scene, extras)
        yield from _labelled("event", features, [there for there, _ in event_labels])
        spans = confidence.span_features(scene, extras)
        yield from _labelled("event_span", spans, [placed for _, placed in event_labels])
        yield from _of_ancestors(clip)
    if truth.events_known:
        complete = prediction_labels.nothing_missed(scene, truth.scene)
        yield "background", confidence.background_features(scene, extras), complete


def _of_ancestors(clip: LabelledClip) -> Iterable[tuple[Kind, Mapping[str, float], bool]]:
    truth = clip.truth
    for event, above in zip(
        clip.scene.events, confidence.ancestor_features(clip.scene, clip.extras.tagging), strict=True
    ):
        for mid, features in above.items():
            broader = replace(event, mid=mid, label=audioset.label(mid))
            right = prediction_labels.is_there(broader, truth.scene, truth.times_known)
            yield "ancestor", features, right


def _labelled(
    kind: Kind, features: Sequence[Mapping[str, float]], labels: Sequence[bool | None]
) -> Iterable[tuple[Kind, Mapping[str, float], bool]]:
    for values, label in zip(features, labels, strict=True):
        if label is not None:
            yield kind, values, label


def fit_predictions(clips: Sequence[LabelledClip], recipe: Recipe, answers: LogisticModel) -> Calibration:
    """A calibration with the models of predictions fitted on some clips, and a given one of answers."""
    examples = prediction_examples(clips)
    models: dict[Kind, LogisticModel] = {kind: fitting.fit(examples[kind]) for kind in PREDICTIONS}
    models["answer"] = answers
    return Calibration(calibrations.engines(recipe), models, features=calibrations.FEATURES)


def rows_of(
    clips: Iterable[LabelledClip], recipe: Recipe, store: Store, fitted: Calibration
) -> list[LabelledRow]:
    """The rows that clips give where their predictions are asked about and all rows are kept."""
    every_row = replace(recipe, gates=replace(recipe.gates, min_confidence=0.0))
    every_row = replace(every_row, questions=replace(recipe.questions, per_clip=ROWS_A_CLIP, reflect=0.0))
    rows = []
    for labelled in clips:
        clip = replace(labelled.clip, answers="heard")
        for item in compose_clip(clip, every_row, store, calibration=fitted)[0]:
            verdict = judge(item, labelled.truth)
            is_known = verdict.outcome != "unjudged" and (not verdict.unknown or bool(verdict.false))
            outcome = (verdict.right, not verdict.false, is_known)
            rows.append(LabelledRow(item, clip.corpus, labelled.fold, *outcome))
    return rows


def fitted_without_fold(clips: Sequence[LabelledClip], recipe: Recipe) -> dict[int, Calibration]:
    """By fold, models of predictions that know nothing of its voices and recordings."""
    folds = sorted({clip.fold for clip in clips})
    return {fold: fit_predictions([c for c in clips if c.fold != fold], recipe, UNFITTED) for fold in folds}


def judged_rows(
    clips: Sequence[LabelledClip], recipe: Recipe, store: Store, fitted: Mapping[int, Calibration]
) -> list[LabelledRow]:
    """All rows, made with the models that are fitted without the fold of their clip."""
    rows = []
    for fold, calibration in fitted.items():
        rows += rows_of([c for c in clips if c.fold == fold], recipe, store, calibration)
    return rows


def held_out_rows(rows: Sequence[LabelledRow]) -> Iterator[HeldOutRow]:
    """The rows that truth knows all about, with confidences by models fitted on the other folds."""
    for fold in sorted({row.fold for row in rows}):
        answers = fit_answers([row for row in rows if row.fold != fold])
        for row in rows:
            if row.fold == fold and row.known:
                item = row.item
                probability = row_probability(item.scene, rests_on(item), item.template, answers)
                all_right = row.right and row.stated_right
                yield HeldOutRow(row.corpus, item.clip_id, probability, row.right, all_right)


def fit_answers(rows: Iterable[LabelledRow]) -> LogisticModel:
    """The model of answers, fitted on rows whose rationale states nothing false."""
    usable = [row for row in rows if row.known and row.stated_right]
    return fitting.fit([Example(_answer_features(row.item), row.right) for row in usable])


def _answer_features(item: Item) -> Mapping[str, float]:
    return answer_features(item.scene, rests_on(item), item.template)


def held_out_predictions(
    clips: Sequence[LabelledClip], fitted: Mapping[int, Calibration]
) -> dict[Kind, list[tuple[float, bool]]]:
    """The probability of each prediction by models fitted without its fold, and whether it is right."""
    outcomes: dict[Kind, list[tuple[float, bool]]] = {kind: [] for kind in PREDICTIONS}
    for fold, calibration in fitted.items():
        for kind, examples in prediction_examples(c for c in clips if c.fold == fold).items():
            model = calibration.models[kind]
            outcomes[kind] += [(model.probability(e.features), e.right) for e in examples]
    return outcomes


def calibrate(folder: Path) -> Result:
    """Fit a calibration on a finished build of material with truth, and measure it on what was held out."""
    recipe, store, clips = labelled_clips(folder)
    without_fold = fitted_without_fold(clips, recipe)
    rows = judged_rows(clips, recipe, store, without_fold)
    fitted = fit_predictions(clips, recipe, fit_answers(rows))
    counted = Counter(clip.clip.corpus for clip in clips)
    material = f"{recipe.name}: {len(clips)} clips, {len(rows)} rows"
    predictions = held_out_predictions(clips, without_fold)
    return Result(replace(fitted, material=material), store, predictions, list(held_out_rows(rows)), counted)


def text(result: Result, limit: float) -> str:
    """How the models did on what was held out; `limit` is `gates.min_confidence`."""
    head = f"held out, by voices and recordings; rows from a confidence of {limit:g}"
    predictions = calibration_report.predictions_table(result.predictions.items())
    rows = calibration_report.rows_table(result.rows, result.clips, limit)
    return "\n".join([head, "", *predictions, "", *rows])
