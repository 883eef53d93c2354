"""Whether predicted or stated spans of a sound are those of its true occurrences, within the tolerances."""

from __future__ import annotations

from collections.abc import Sequence

from paqa.evaluation.known_truth import Rules
from paqa.spans import Interval, intersect, merge, total

SAME_SPAN = 0.5  # intersection over union of spans that are mostly the same


def is_near(span: Interval, occurrences: Sequence[Interval], rules: Rules) -> bool:
    """Whether a span begins and ends about where one occurrence does, or several with short pauses."""
    joined = (*merge(occurrences), *merge(occurrences, max(rules.bridges_ms)))
    return any(
        abs(span[0] - start) <= rules.onset_ms and abs(span[1] - end) <= rules.end_ms for start, end in joined
    )


def mostly_same(spans: Sequence[Interval], occurrences: Sequence[Interval], rules: Rules) -> bool:
    """Whether some spans and all occurrences have at least half of their union in common."""
    ours, theirs = (merge(each, max(rules.bridges_ms)) for each in (spans, occurrences))
    shared = total(intersect(ours, theirs))
    return shared >= SAME_SPAN * (total(ours) + total(theirs) - shared)
