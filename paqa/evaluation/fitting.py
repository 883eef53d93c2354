"""Logistic models from features and outcomes, and how well their probabilities hold on other material."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from paqa.perception.calibration import LogisticModel, is_indicator
from paqa.union_find import connected_components

FEWEST_OF_CLASS = 3  # examples without which a class has no weight of its own
FEWEST = 20  # examples, below which features are not looked at
STRENGTH = 1.0  # inverse of the L2 penalty, on standardised features


@dataclass(frozen=True)
class Example:
    """One prediction: its features and whether it is right."""

    features: Mapping[str, float]
    right: bool


def fit(examples: Sequence[Example]) -> LogisticModel:
    """The model of some examples; for few of them, or where all have one outcome, a cautious constant."""
    outcomes = np.array([e.right for e in examples], dtype=bool)
    right = int(outcomes.sum())
    if len(examples) < FEWEST or right in (0, len(outcomes)):
        share = (right + 1) / (len(outcomes) + 2)  # rule of succession
        return LogisticModel((), (), round(math.log(share / (1 - share)), 6), len(outcomes), right)
    names = _names(examples)
    from sklearn.linear_model import LogisticRegression

    values = np.array([[e.features.get(name, 0.0) for name in names] for e in examples])
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation[deviation < 1e-9] = 1.0
    indicators = [is_indicator(name) for name in names]
    mean[indicators], deviation[indicators] = 0.0, 1.0  # rare ones would escape the penalty
    model = LogisticRegression(C=STRENGTH, max_iter=2000).fit((values - mean) / deviation, outcomes)
    weights = model.coef_[0] / deviation
    intercept = float(model.intercept_[0] - (weights * mean).sum())
    rounded = tuple(round(float(w), 6) for w in weights)
    return LogisticModel(names, rounded, round(intercept, 6), len(outcomes), right)


def _names(examples: Sequence[Example]) -> tuple[str, ...]:
    """The features of all examples, and the indicators that enough of them have."""
    counts = Counter(name for example in examples for name in example.features)
    rare = {name for name, count in counts.items() if is_indicator(name) and count < FEWEST_OF_CLASS}
    return tuple(sorted(counts.keys() - rare))


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
