"""What turns scores of engines into probabilities: logistic models, fitted on material with truth.

`paqa calibrate` fits them for the engines of a recipe. Those of the profiles are in
`paqa/data/calibration`; a set that a user has fitted lies in the store, and goes before them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Literal

import msgspec

from paqa.config.recipe import Recipe
from paqa.errors import MissingObject
from paqa.perception.engine_runs import STAGES, engine_run, identity
from paqa.storage.store import Store, key
from paqa.types import Stage, Stem

# What a probability is given for. "ancestor": that a sound of a broader class than an event's own is there.
# "answer": that an answer is right which follows from a scene in which all is right.
Kind = Literal["word", "turn", "speaker_count", "event", "event_span", "ancestor", "background", "answer"]
FOLDER = "data/calibration"
INDICATOR = "is "  # begins the names of features of one class alone
FEATURES = 2  # raise it when a feature changes its name or its meaning: older models no longer hold then
MAX_LOGIT = 30.0  # beyond it a probability is 0 or 1 to all digits

NOT_CALIBRATED = (
    "nobody has calibrated these engines: rows of predictions have no confidence, and gates.min_confidence "
    "keeps none of them out; run: paqa calibrate RECIPE.toml, with material that has truth"
)


@dataclass(frozen=True)
class LogisticModel:
    """A probability from named features: 1 / (1 + exp(-(intercept + sum of weight * value))).

    `examples` and `right` count what it was fitted on. An indicator (`is /m/0bt9lr`) that a prediction does
    not have is 0.
    """

    features: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float
    examples: int = 0
    right: int = 0

    def probability(self, values: Mapping[str, float]) -> float:
        """The probability for one prediction; KeyError where a feature is missing that is no indicator."""
        logit = self.intercept
        for name, weight in zip(self.features, self.weights, strict=True):
            logit += weight * (values.get(name, 0.0) if is_indicator(name) else values[name])
        return 1 / (1 + math.exp(-min(MAX_LOGIT, max(-MAX_LOGIT, logit))))


def is_indicator(name: str) -> bool:
    """Whether a feature says which class a prediction is of; most predictions do not have it."""
    return name.startswith(INDICATOR)


@dataclass(frozen=True)
class CalibratedEngine:
    """An engine whose scores a calibration is for; on another stem, or with other parameters or another
    revision, the same score may mean something else. `parameters` are canonical JSON.
    """

    stage: Stage
    stem: Stem
    engine: str
    revision: str
    parameters: str


@dataclass(frozen=True)
class Calibration:
    """The models of one set of engines; `material` says what they were fitted on.

    `features` is FEATURES as it was when they were fitted.
    """

    engines: tuple[CalibratedEngine, ...]
    models: dict[Kind, LogisticModel]
    material: str = ""
    features: int = 1  # of files that do not say it


def for_recipe(recipe: Recipe, store: Store) -> Calibration | None:
    """The calibration for a recipe's engines: the user's own, else the package's, else None."""
    return _for_engines(engines(recipe), store)


@lru_cache(maxsize=16)
def _for_engines(engines: tuple[CalibratedEngine, ...], store: Store) -> Calibration | None:
    try:
        calibration: Calibration = store.get_json(store_key(engines), Calibration)
        return calibration
    except MissingObject:
        return packaged().get(engines)


def keep(calibration: Calibration, store: Store) -> None:
    """Put the user's own calibration into the store, where builds with the same engines find it."""
    store.put_json(store_key(calibration.engines), calibration)
    _for_engines.cache_clear()


def encoded(calibration: Calibration) -> bytes:
    """A calibration as the JSON of a file, one model a line."""
    return msgspec.json.format(msgspec.json.encode(calibration), indent=1) + b"\n"


def store_key(engines: tuple[CalibratedEngine, ...]) -> str:
    """Where the store keeps the user's own calibration of some engines."""
    return key("calibration", FEATURES, engines)


def engines(recipe: Recipe) -> tuple[CalibratedEngine, ...]:
    """The engines of a recipe's stages, on the stems of the recipe; loads no model."""
    calibrated = []
    for stage in STAGES:
        run = engine_run(recipe, stage)
        revision, parameters = identity(run.engine, run.params)
        calibrated.append(CalibratedEngine(stage, run.stem, run.engine, revision, parameters))
    return tuple(calibrated)


@cache
def packaged() -> dict[tuple[CalibratedEngine, ...], Calibration]:
    """The calibrations that come with paqa, by their engines."""
    calibrations = {}
    for file in (resources.files("paqa") / FOLDER).iterdir():
        if file.name.endswith(".json"):
            calibration = msgspec.json.decode(file.read_bytes(), type=Calibration)
            if calibration.features == FEATURES:
                calibrations[calibration.engines] = calibration
    return calibrations
