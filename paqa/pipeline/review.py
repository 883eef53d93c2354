"""The stage of a build that leaves out the rows that people reject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paqa.config.recipe import Recipe
from paqa.dataset.summary import Reviewed
from paqa.pipeline.stages import BuildState
from paqa.storage.store import digest
from paqa.types import Item

if TYPE_CHECKING:
    from paqa.review.verdicts import Matched


def without_rejected(state: BuildState, items: list[Item], composed: Sequence[Item]) -> list[Item]:
    """Items without those that the recipe's verdicts reject; `composed` are they before the shortcuts.

    It comes after the shortcuts, so that a rejected row changes no other row. Verdicts on rows that have
    changed are not applied, and a warning counts them.
    """
    if not state.recipe.review.verdicts:
        return items
    from paqa.review import verdicts

    base = {item.id: item.key for item in composed}
    rows = {item.id: verdicts.RowKeys(item.key, base[item.id]) for item in items}
    matched = verdicts.match(verdicts.load(paths(state.recipe)), rows)
    rejected = verdicts.rejections(matched, rows)
    state.quarantined += rejected
    state.reviewed = _figures(state.recipe, matched, len(rejected))
    if matched.stale or matched.missing:
        state.warnings.append(_not_applied(matched, state.out))
    gone = {row.id for row in rejected}
    return [item for item in items if item.id not in gone]


def paths(recipe: Recipe) -> list[Path]:
    """The files of verdicts that a recipe names."""
    return [Path(recipe.folder) / path for path in recipe.review.verdicts]


def _figures(recipe: Recipe, matched: Matched, rejected: int) -> Reviewed:
    from paqa.review import estimate, verdicts

    judged = estimate.judged_rows(matched.current)
    overall = estimate.right_share("all", judged) if judged else None
    outcomes = [verdicts.outcome(of_row) for of_row in verdicts.by_row(matched.current).values()]
    return Reviewed(
        reviewers=len({verdict.reviewer for verdict in matched.current}),
        rows=overall.rows if overall else 0,
        right=overall.right if overall else 0,
        share=round(overall.share, 4) if overall else None,
        interval=overall.interval if overall else None,
        unsure=outcomes.count("unsure"),
        rejected=rejected,
        stale=len(matched.stale) + len(matched.missing),
        files={name: digest(path) for name, path in zip(recipe.review.verdicts, paths(recipe), strict=True)},
    )


def _not_applied(matched: Matched, out: Path) -> str:
    """A warning with examples: which verdicts are about rows that have changed, or are not there."""
    stale, missing = ([verdict.id for verdict in group] for group in (matched.stale, matched.missing))
    parts = [
        f"{len(names)} about rows that {what}, e.g. {names[0]}"
        for names, what in ((stale, "have changed since"), (missing, "the build does not have any more"))
        if names
    ]
    return (
        f"verdicts that were not applied: {'; '.join(parts)}; look again with: paqa report {out} --review 100"
    )
