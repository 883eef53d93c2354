"""Logistic models from features and outcomes, and how well their probabilities hold on other material."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from paqa.errors import PaqaError
from paqa.perception.calibration import LogisticModel
from paqa.union_find import connected_components

FEWEST = 20  # examples without which nothing is fitted
STRENGTH = 1.0  # inverse of the L2 penalty, on standardised features


@dataclass(frozen=True)
class Example:
    """One prediction: its features, whether it is right, and the group (voices, recordings) it belongs to."""

    features: Mapping[str, float]
    right: bool
    group: str


def fit(examples: Sequence[Example], kind: str) -> LogisticModel:
    """The model of some examples; a constant where all are right, or all wrong. PaqaError for too few."""
    if len(examples) < FEWEST:
        raise PaqaError(
            f"calibration: {len(examples)} examples of {kind}, expected at least {FEWEST}; "
            "give the recipe more material with truth"
        )
    outcomes = np.array([e.right for e in examples])
    names = tuple(sorted(examples[0].features))
    right = int(outcomes.sum())
    if right in (0, len(outcomes)):
        share = (right + 1) / (len(outcomes) + 2)  # rule of succession
        constant = float(np.log(share / (1 - share)))
        return LogisticModel(names, (0.0,) * len(names), constant, len(outcomes), right)
    from sklearn.linear_model import LogisticRegression

    values = np.array([[e.features[name] for name in names] for e in examples])
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation[deviation < 1e-9] = 1.0
    model = LogisticRegression(C=STRENGTH, max_iter=2000).fit((values - mean) / deviation, outcomes)
    weights = model.coef_[0] / deviation
    intercept = float(model.intercept_[0] - (weights * mean).sum())
    rounded = tuple(round(float(w), 6) for w in weights)
    return LogisticModel(names, rounded, round(intercept, 6), len(outcomes), right)


def folds(groups: Sequence[Sequence[str]], count: int) -> list[int]:
    """A fold for each clip, so that clips that share a group are in one; about equally many in each."""
    members: dict[str, list[int]] = {}
    for i, component in enumerate(connected_components(groups)):
        members.setdefault(component, []).append(i)
    sizes = [0] * count
    chosen = [0] * len(groups)
    for indices in sorted(members.values(), key=lambda m: (-len(m), m)):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(indices)
        for i in indices:
            chosen[i] = fold
    return chosen
