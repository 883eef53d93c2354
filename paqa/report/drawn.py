"""What a report has for the verdicts of people: the name of its build, and the sample to be judged."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from paqa.report.collect import Build
from paqa.types import Item


@dataclass(frozen=True)
class ToReview:
    """A build with the drawn rows alone, in the order of the draw, and what the index says of them."""

    build: Build
    columns: dict[str, Any]


def build_id(build: Build) -> str:
    """Names a build by its rows: verdicts are kept by it in the browser, and it stands in each of them."""
    keys = sorted(row.key for rows in build.items.values() for row in rows)
    return hashlib.sha256("".join(keys).encode()).hexdigest()[:16]


def to_review(build: Build, size: int, seed: int) -> ToReview:
    """The rows that `paqa.review.sample.draw` draws; PaqaError where `size` is below 1."""
    from paqa.review.sample import draw

    rows = {row.id: row for clip_rows in build.items.values() for row in clip_rows}
    drawn = draw(list(rows.values()), size, seed)
    items: dict[str, list[Item]] = defaultdict(list)
    for one in drawn:
        items[one.clip_id].append(rows[one.id])
    columns = {
        "sample": f"{build_id(build)}/{size}/{seed}",
        "stratum": [one.stratum for one in drawn],
        "stratum_rows": [one.stratum_rows for one in drawn],
        "weight": [one.weight for one in drawn],
        "key": [rows[one.id].key for one in drawn],
    }
    return ToReview(replace(build, items=dict(items)), columns)
