"""The measure of other tests: a difference of one step is one, at any size and precision, and NaN passes no
limit.
"""

import math

import numpy as np
import pytest
from closeness import steps


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [1.0, 2.0**-9, 2.0**9])
def test_a_step_is_the_precision_of_the_type_at_the_size_of_the_numbers(kind, size):
    expected = np.array([[0, -size], [size / 2, 0]], kind)
    step = size * np.finfo(kind).eps
    assert steps(expected, expected) == 0
    assert steps(expected + np.array(3 * step, kind), expected) == 3
    assert steps(expected + np.array(3 * step, kind), expected, size=3 * size) == pytest.approx(1)


def test_the_coarser_type_counts():
    expected = np.ones(3, np.float32)
    assert steps(expected.astype(np.float64) + np.finfo(np.float32).eps, expected) == 1


def test_what_is_no_number_passes_no_limit():
    expected = np.ones(2, np.float32)
    assert not steps(expected * np.float32(math.nan), expected) < 1e9
    assert not steps(expected, np.array([1, math.nan], np.float32)) < 1e9
    assert steps(expected, 0 * expected) == math.inf
    with pytest.raises(AssertionError, match="found the shape"):
        steps(np.ones(1, np.float32), expected)
    with pytest.raises(AssertionError, match="nothing to compare"):
        steps(expected[:0], expected[:0])


def test_tensors_are_compared_too():
    torch = pytest.importorskip("torch")
    expected = torch.ones(2, requires_grad=True)
    assert steps(expected * (1 + torch.finfo(torch.float32).eps), expected) == 1


def test_what_was_seen_is_written_down(tmp_path, monkeypatch):
    monkeypatch.setenv("PAQA_STEPS", str(tmp_path / "steps"))
    steps(np.float32(1) + np.finfo(np.float32).eps, np.float32(1))
    name, number = (tmp_path / "steps").read_text().split("\t")
    assert name == "tests/test_closeness.py::test_what_was_seen_is_written_down"
    assert number == "1\n"
