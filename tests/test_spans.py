"""Interval algebra, against sets of milliseconds."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from paqa import spans

point = st.integers(0, 60)
span = st.tuples(point, point).map(lambda p: (min(p), max(p)))
many = st.lists(span, max_size=8)


def covered(intervals):
    return {ms for start, end in intervals for ms in range(start, end)}


@given(span, span)
def test_overlap_counts_shared_milliseconds(a, b):
    assert spans.overlap(a, b) == spans.overlap(b, a) == len(covered([a]) & covered([b]))


@given(span, span)
def test_overlap_and_gap_exclude_each_other(a, b):
    assert not (spans.overlap(a, b) and spans.gap(a, b))


@given(many, st.integers(0, 5))
def test_merge_is_a_sorted_union_with_gaps_wider_than_asked(intervals, within):
    merged = spans.merge(intervals, within)
    assert covered(intervals) <= covered(merged)
    assert all(b[0] - a[1] > within for a, b in pairwise(merged))
    assert spans.merge(merged, within) == merged
    if within == 0:
        assert covered(merged) == covered(intervals)
        assert spans.total(intervals) == len(covered(intervals))


@given(many, many)
def test_intersect_is_what_both_cover(a, b):
    assert covered(spans.intersect(a, b)) == covered(a) & covered(b)


@given(span, span)
def test_clip_is_relative_to_the_window(a, window):
    found = spans.clip(a, window)
    shifted = {ms - window[0] for ms in covered([a]) & covered([window])}
    assert covered([found] if found else []) == shifted


@given(st.lists(st.booleans(), max_size=30))
def test_runs_of_frames(active):
    runs = spans.from_frames(active, 10.0)
    assert covered([(s // 10, e // 10) for s, e in runs]) == {i for i, on in enumerate(active) if on}
    assert all(b[0] > a[1] for a, b in pairwise(runs))
