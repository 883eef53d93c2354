"""Logistic models from examples, folds without shared groups, and how well probabilities hold."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from paqa.evaluation.calibration_report import HeldOutRow, area, predictions_table, rows_table
from paqa.evaluation.fitting import FEWEST, FEWEST_OF_CLASS, STRENGTH, Example, fit, folds
from paqa.evaluation.reliability import reliability
from paqa.union_find import connected_components

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def examples(values: np.ndarray, outcomes: np.ndarray) -> list[Example]:
    """Examples from `(examples, features)` values."""
    named = [{f"f{i}": float(v) for i, v in enumerate(row)} for row in values]
    return [Example(f, bool(right)) for f, right in zip(named, outcomes, strict=True)]


def material(seed: int, features: int = 3, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Features on different scales, and outcomes that follow from them and from chance."""
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.uniform(-2, 2, features), rng.uniform(0.2, 3, features), (count, features))
    outcomes = (values - values.mean(axis=0)).sum(axis=1) + rng.normal(0, 2, count) > 0
    outcomes[:2] = (True, False)
    return values, outcomes


@FEW
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_probabilities_are_those_of_sklearn(seed: int, features: int) -> None:
    values, outcomes = material(seed, features)
    model = fit(examples(values, outcomes))
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=2000))
    expected = reference.fit(values, outcomes).predict_proba(values)[:, 1]
    fitted = [model.probability(e.features) for e in examples(values, outcomes)]
    assert fitted == pytest.approx(expected, abs=1e-4)
    assert (model.examples, model.right) == (60, outcomes.sum())


@FEW
@given(st.integers(0, 10**6))
def test_probabilities_add_up_to_what_is_right(seed: int) -> None:
    values, outcomes = material(seed)
    model = fit(examples(values, outcomes))
    mean = np.mean([model.probability(e.features) for e in examples(values, outcomes)])
    assert mean == pytest.approx(outcomes.mean(), abs=1e-3)


def test_separable_outcomes_give_rising_probabilities() -> None:
    values = np.linspace(-3, 3, 40)[:, None]
    model = fit(examples(values, values[:, 0] > 0))
    fitted = [model.probability({"f0": float(v)}) for v in np.linspace(-9, 9, 50)]
    assert fitted == sorted(fitted)
    assert fitted[0] < 0.01
    assert fitted[-1] > 0.99
    assert 0.4 < model.probability({"f0": 0.0}) < 0.6


def test_noise_gives_about_the_base_rate() -> None:
    rng = np.random.default_rng(0)
    outcomes = rng.random(600) < 0.8
    model = fit(examples(rng.normal(size=(600, 2)), outcomes))
    for value in (-1.0, 0.0, 1.0):
        assert model.probability({"f0": value, "f1": value}) == pytest.approx(outcomes.mean(), abs=0.08)


def test_a_feature_that_is_always_the_same_says_nothing() -> None:
    values, outcomes = material(0, 1)
    constant = np.hstack([values, np.full((60, 1), 7.0)])
    with_it, without = fit(examples(constant, outcomes)), fit(examples(values, outcomes))
    assert with_it.weights[1] == 0.0
    assert with_it.probability({"f0": 1.0, "f1": 7.0}) == pytest.approx(without.probability({"f0": 1.0}))


@pytest.mark.parametrize(("right", "wrong"), [(0, 0), (2, 1), (0, 3), (FEWEST - 2, 1), (100, 0), (0, 100)])
def test_few_examples_or_one_outcome_give_the_rule_of_succession(right: int, wrong: int) -> None:
    outcomes = np.array([True] * right + [False] * wrong, dtype=bool)
    values = np.arange(right + wrong, dtype=float)[:, None]
    model = fit(examples(values, outcomes))
    assert (model.features, model.examples, model.right) == ((), right + wrong, right)
    assert model.probability({}) == pytest.approx((right + 1) / (right + wrong + 2), abs=1e-6)


def test_from_enough_examples_on_features_count() -> None:
    values = np.arange(FEWEST, dtype=float)[:, None]
    assert fit(examples(values, values[:, 0] > 5)).features == ("f0",)
    assert fit(examples(values[1:], values[1:, 0] > 5)).features == ()


def of_class(mid: str, right: bool) -> Example:
    return Example({"score": 0.0, f"is {mid}": 1.5}, right)


def test_a_class_needs_some_examples_for_a_weight_of_its_own() -> None:
    usual = [of_class("usual", n % 4 > 0) for n in range(40)]
    rare = [of_class("rare", False)] * (FEWEST_OF_CLASS - 1)
    assert fit(usual + rare).features == ("is usual", "score")
    enough = fit([*usual, *rare, of_class("rare", False)])
    assert enough.features == ("is rare", "is usual", "score")
    assert enough.weights[0] < 0
    assert enough.probability({"score": 0.0, "is rare": 1.5}) < enough.probability({"score": 0.0})
    unseen = enough.probability({"score": 0.0, "is unseen": 1.5})
    assert unseen == enough.probability({"score": 0.0})


GROUPS = st.lists(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=2), max_size=30)


@given(GROUPS, st.integers(1, 5))
def test_clips_that_share_a_group_are_in_one_fold(groups: list[list[str]], count: int) -> None:
    chosen = folds(groups, count)
    assert len(chosen) == len(groups)
    for i, names in enumerate(groups):
        for k, others in enumerate(groups):
            if set(names) & set(others):
                assert chosen[i] == chosen[k]
    sizes = Counter(connected_components(groups))
    assert set(chosen) <= set(range(count))
    assert len(set(chosen)) == min(count, len(sizes))
    in_fold = [chosen.count(n) for n in range(count)]
    assert max(in_fold) - min(in_fold) <= max(sizes.values(), default=0)
    assert folds(groups, count) == chosen


def test_folds_of_single_clips_are_equal() -> None:
    assert Counter(folds([[str(i)] for i in range(20)], 5)) == dict.fromkeys(range(5), 4)


def test_confidences_on_the_edges_of_bins() -> None:
    measured = reliability([0.0, 0.1, 0.5, 0.75, 1.0], [False, True, True, False, True], bins=4)
    assert measured is not None
    assert [(b.low, b.high, b.count) for b in measured.bins] == [
        (0.0, 0.25, 2), (0.25, 0.5, 0), (0.5, 0.75, 1), (0.75, 1.0, 2),
    ]  # fmt: skip
    assert measured.bins[1].confidence is measured.bins[1].right is None
    assert measured.error == pytest.approx((2 * 0.45 + 1 * 0.5 + 2 * 0.375) / 5)
    assert measured.brier == pytest.approx((0 + 0.81 + 0.25 + 0.5625 + 0) / 5)
    assert measured.confidence == pytest.approx(0.47)
    assert (measured.right, measured.count) == (0.6, 5)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_errors_are_shares(pairs: list[tuple[float, bool]]) -> None:
    measured = reliability([p for p, _ in pairs], [right for _, right in pairs])
    assert measured is not None
    assert 0 <= measured.error <= 1
    assert 0 <= measured.brier <= 1
    assert abs(measured.confidence - measured.right) <= measured.error + 1e-9
    assert sum(b.count for b in measured.bins) == len(pairs)


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    pairs = [(0.9, True), (0.4, True), (0.6, False), (0.4, False)]
    assert area(pairs) == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert area([(0.9, True), (0.4, True)]) is None


def test_a_table_has_a_line_for_each_kind_with_examples() -> None:
    words = [(0.9, True), (0.9, True), (0.1, False), (0.9, False)]
    lines = predictions_table([("word", words), ("turn", []), ("event", [(0.8, True)])])
    assert [line.split() for line in lines] == [
        ["prediction", "examples", "right", "%", "ECE", "AUC"],
        ["word", "4", "50.0", "0.200", "0.75"],
        ["event", "1", "100.0", "0.200", "-"],
    ]


def test_rows_are_counted_from_the_limit_on() -> None:
    rows = [
        HeldOutRow("talks", "a", 0.95, right=True, all_right=True),
        HeldOutRow("talks", "a", 0.9, right=True, all_right=False),
        HeldOutRow("talks", "b", 0.89, right=False, all_right=False),
        HeldOutRow("mixes", "c", 0.2, right=True, all_right=True),
    ]
    head, talks, mixes, everything, error = rows_table(rows, {"talks": 2, "mixes": 2}, 0.9)
    assert len({len(line) for line in (head, talks, mixes, everything)}) == 1
    assert talks.split() == ["talks", "2", "2", "100.0", "50.0", "1.00"]
    assert mixes.split() == ["mixes", "2", "0", "-", "-", "0.00"]
    assert everything.split() == ["all", "4", "2", "100.0", "50.0", "0.50"]
    expected = (2 * abs(0.925 - 0.5) + 0.89 + 0.8) / 4
    assert error == f"rows, calibration error {expected:.3f} over 4 rows of which 50.0 % are right"
    assert not math.isnan(expected)
    assert rows_table([], {"talks": 0}, 0.9)[1].split() == ["talks", "0", "0", "-", "-", "0.00"]
