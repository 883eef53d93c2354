"""What verdicts say of a finished build: `paqa verdicts DIR FILES`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from paqa.config.recipe import decode_recipe
from paqa.dataset import shards
from paqa.dataset.keys import item_key
from paqa.dataset.summary import REJECTED_BY_REVIEW
from paqa.errors import PaqaError
from paqa.review.estimate import (
    Agreement,
    RightShare,
    agreements,
    by_template,
    covered,
    judged_rows,
    right_share,
)
from paqa.review.verdicts import (
    Decision,
    Matched,
    RowKeys,
    Verdict,
    by_row,
    load,
    match,
    outcome,
)
from paqa.storage import build_folder
from paqa.types import Clip, Item, Quarantined


@dataclass(frozen=True)
class Disagreement:
    """A row on which reviewers do not agree, with what each of them says."""

    id: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Review:
    """The figures of verdicts on a build of `build_rows` rows.

    `overall` and `by_template` are of drawn rows, None and empty without any. `rejected` are the rows that
    the next build leaves out, `left_out` those that this one has left out already. `stale` verdicts are about
    rows that have changed since, `missing` ones about rows that are not in the build: they do not count.
    """

    files: tuple[str, ...]
    build_rows: int
    reviewers: dict[str, int]  # verdicts that count, by reviewer
    rows: int  # with a verdict that counts
    picked: int  # of these, without a sample: picked by hand, no part of the estimate
    unsure: int  # of these, no reviewer is sure
    covered: int  # rows of the build in strata with a judged row
    overall: RightShare | None
    by_template: tuple[RightShare, ...]
    agreements: tuple[Agreement, ...]
    disagreements: tuple[Disagreement, ...]
    rejected: tuple[str, ...]
    left_out: tuple[str, ...]
    stale: tuple[str, ...]
    missing: tuple[str, ...]


def files_of(folder: Path, named: Sequence[Path]) -> list[Path]:
    """The files that are named, else those of the build's recipe; PaqaError where there are none."""
    if named:
        return list(named)
    try:
        recipe = decode_recipe((folder / build_folder.RECIPE).read_bytes())
        paths = [Path(recipe.folder) / path for path in recipe.review.verdicts]
    except FileNotFoundError:
        paths = []
    except msgspec.DecodeError as error:
        raise PaqaError(f"{folder / build_folder.RECIPE}: {error}; run the build again") from None
    if not paths:
        raise PaqaError(
            f"found no file of verdicts, expected one that a report saved: paqa verdicts {folder} FILE.jsonl "
            f"(paqa report {folder} --review 100 makes such a report)"
        )
    return paths


def measure(folder: Path, files: Sequence[Path]) -> Review:
    """The figures of the verdicts in `files` on the build in `folder`.

    PaqaError where a file holds something else, or the folder no build.
    """
    verdicts = load(files)
    rows, left_out = _row_keys(folder, verdicts)
    matched = match(verdicts, rows | left_out)
    of_rows = by_row(matched.current)
    outcomes = {name: outcome(of_row) for name, of_row in of_rows.items()}
    judged = judged_rows(matched.current)
    return Review(
        files=tuple(map(str, files)),
        build_rows=len(rows),
        reviewers=dict(sorted(Counter(v.reviewer for v in matched.current).items())),
        rows=len(of_rows),
        picked=sum(not any(v.sample for v in of_row) for of_row in of_rows.values()),
        unsure=sum(decision == "unsure" for decision in outcomes.values()),
        covered=covered(matched.current),
        overall=right_share("all", judged) if judged else None,
        by_template=tuple(by_template(judged)),
        agreements=tuple(agreements(matched.current)),
        disagreements=tuple(
            Disagreement(name, tuple(of_row))
            for name, of_row in of_rows.items()
            if len({v.verdict for v in of_row}) > 1
        ),
        **_outside(outcomes, matched, left_out.keys()),
    )


def _outside(
    outcomes: dict[str, Decision], matched: Matched, left_out: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """The rows that are rejected, left out already, changed, or not in the build."""
    wrong = [name for name, decision in outcomes.items() if decision == "wrong"]
    gone = set(left_out)
    return {
        "rejected": tuple(name for name in wrong if name not in gone),
        "left_out": tuple(name for name in wrong if name in gone),
        "stale": tuple(by_row(matched.stale)),
        "missing": tuple(by_row(matched.missing)),
    }


def _row_keys(folder: Path, verdicts: Sequence[Verdict]) -> tuple[dict[str, RowKeys], dict[str, RowKeys]]:
    """The keys of all rows by id, and of those that reviewers have had left out."""
    shards.with_scenes(folder)
    rows = {row["id"]: RowKeys(row["key"], None) for row in shards.rows(folder, ["id", "key"])}
    moved = {v.id for v in verdicts if v.id in rows and v.key != rows[v.id].key}
    if moved:
        rows |= _with_base(folder, moved)
    gone: dict[str, RowKeys] = {}
    for lost in shards.table_rows(folder / build_folder.QUARANTINE, Quarantined):
        if lost.reason == REJECTED_BY_REVIEW and lost.id not in rows:
            gone[lost.id] = RowKeys("", lost.fingerprint)
    return rows, gone


def _with_base(folder: Path, names: set[str]) -> dict[str, RowKeys]:
    """Rows of these ids, with their keys before the dependence on the audio, where clips.parquet has them."""
    digests = {clip.id: clip.sha256 for clip in shards.table_rows(folder / build_folder.CLIPS, Clip)}
    columns = [field.name for field in fields(Item)]
    items = (shards.item(row) for row in shards.rows(folder, columns) if row["id"] in names)
    return {
        item.id: RowKeys(item.key, item_key(item, digests[item.clip_id]))
        for item in items
        if item.clip_id in digests
    }
