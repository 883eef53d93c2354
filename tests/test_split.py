"""The side of a group depends on the group alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paqa.errors import PaqaError
from paqa.recipe import SplitConfig
from paqa.split import by_share, side


def test_shares_are_met() -> None:
    counts = Counter(side(f"voice {i}", SplitConfig(validation=0.1, test=0.2), 0) for i in range(5000))
    assert abs(counts["test"] / 5000 - 0.2) < 0.02
    assert abs(counts["validation"] / 5000 - 0.1) < 0.02


def test_known_sides_never_move() -> None:
    known = [side(f"g{i}", SplitConfig(0.2, 0.3), 7) for i in range(8)]
    assert known == ["train", "train", "test", "train", "train", "train", "train", "train"]
    assert len({side("g0", SplitConfig(0.3, 0.3), seed) for seed in range(30)}) == 3


@given(st.text(), st.integers())
def test_a_larger_test_share_keeps_what_is_in_it(group: str, seed: int) -> None:
    if side(group, SplitConfig(0, 0.2), seed) == "test":
        assert side(group, SplitConfig(0, 0.4), seed) == "test"


def test_extremes() -> None:
    assert {side(str(i), SplitConfig(0, 0), 0) for i in range(99)} == {"train"}
    assert {side(str(i), SplitConfig(0, 1), 0) for i in range(99)} == {"test"}
    with pytest.raises(PaqaError, match="lower one of them"):
        by_share(0.5, SplitConfig(0.6, 0.6))
