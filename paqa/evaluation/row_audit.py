"""How many rows from predictions are right: every row of a build whose clip has truth, judged and counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path

from paqa.config.recipe import Recipe
from paqa.dataset import shards, verifier_table
from paqa.dataset.open_build import open_build
from paqa.evaluation import bootstrap
from paqa.evaluation.judge import Verdict, judge
from paqa.evaluation.known_truth import KnownTruth, truth_of, with_measured
from paqa.evaluation.reliability import Reliability, reliability
from paqa.perception import scenes
from paqa.storage.store import Store
from paqa.types import Clip, Item

MEASURED = ("loudest_speaker", "highest_voice")  # templates that need levels and pitches of the truth


@dataclass(frozen=True)
class JudgedRow:
    """What counts of a row: its clip, template and confidence, and the verdict on it."""

    id: str
    clip_id: str
    corpus: str
    template: str
    reflection: str | None
    confidence: float | None
    verdict: Verdict


@dataclass(frozen=True)
class RowCounts:
    """Rows by what came of judging them; `nothing_false` are right, with no false statement.

    The intervals are of the shares of judged rows (95 %, over clips), None with fewer than two clips.
    """

    name: str
    clips: int
    rows: int
    right: int
    nothing_false: int
    wrong_answer: int
    false_premise: int
    misquoted: int
    unjudged: int
    right_interval: tuple[float, float] | None
    nothing_false_interval: tuple[float, float] | None

    @property
    def judged(self) -> int:
        return self.rows - self.unjudged

    @property
    def right_share(self) -> float | None:
        """The share of judged rows whose answer is right."""
        return self.right / self.judged if self.judged else None

    @property
    def nothing_false_share(self) -> float | None:
        """The share of judged rows that are right and state nothing false."""
        return self.nothing_false / self.judged if self.judged else None


@dataclass(frozen=True)
class RowAudit:
    """The rows of a build from predictions, as judged; `clips` had truth, with rows or without.

    `causes` of rows that are not right, and the kinds of false statements by the rows that make them.
    """

    clips: int
    overall: RowCounts
    by_corpus: tuple[RowCounts, ...]
    by_template: tuple[RowCounts, ...]
    by_origin: tuple[RowCounts, ...]
    causes: dict[str, int]
    false_statements: dict[str, int]
    reliability: Reliability | None


def judged_rows(folder: Path) -> Iterator[JudgedRow]:
    """The rows of a build from predictions whose clip has truth, judged, clip by clip."""
    recipe, store, clips = open_build(folder)
    by_id = {clip.id: clip for clip in clips if clip.truth is not None}
    columns = [field.name for field in fields(Item)]
    in_shards = sorted(map(shards.item, shards.rows(folder, columns)), key=lambda row: row.id)
    rows = verifier_table.with_originals(in_shards, verifier_table.load(folder))
    predicted = sorted(
        (row for row in rows if row.answers_from == "heard" and row.clip_id in by_id), key=lambda r: r.clip_id
    )
    for clip_id, items in groupby(predicted, key=lambda row: row.clip_id):
        clip, of_clip = by_id[clip_id], list(items)
        truth = _truth(clip, of_clip, recipe, store)
        for row in of_clip:
            verdict = judge(row, truth)
            yield JudgedRow(
                row.id, clip_id, clip.corpus, row.template, row.reflection, row.confidence, verdict
            )


def _truth(clip: Clip, rows: Sequence[Item], recipe: Recipe, store: Store) -> KnownTruth:
    truth = truth_of(clip)
    assert truth is not None
    if any(row.template in MEASURED for row in rows):
        measured = scenes.with_prosody(clip, truth.scene, recipe, store, clip.reference_sha256)
        return with_measured(truth, measured)
    return truth


def measure(folder: Path) -> RowAudit | None:
    """The figures of a build; None where no row from predictions has a clip with truth."""
    rows = list(judged_rows(folder))
    return summarize(rows, clips_with_truth(folder)) if rows else None


def clips_with_truth(folder: Path) -> int:
    """How many clips of a build are answered from predictions and have truth, with rows or without."""
    return sum(clip.truth is not None and clip.answers == "heard" for clip in open_build(folder)[2])


def summarize(rows: Sequence[JudgedRow], clips: int) -> RowAudit:
    """The figures of judged rows; `clips` counts the clips that were asked about, those without rows too."""
    judged = [row for row in rows if row.verdict.outcome != "unjudged"]
    kinds = Counter(kind for row in rows for kind in {s.kind for s in row.verdict.false})
    return RowAudit(
        clips=clips,
        overall=counted("all", rows),
        by_corpus=_groups(rows, lambda row: row.corpus),
        by_template=tuple(sorted(_groups(rows, lambda row: row.template), key=_worst_first)),
        by_origin=_groups(rows, _origin),
        causes=dict(Counter(row.verdict.cause for row in judged if row.verdict.cause).most_common()),
        false_statements=dict(kinds.most_common()),
        reliability=_reliability(judged),
    )


def _reliability(judged: Iterable[JudgedRow]) -> Reliability | None:
    """Of the rows that have a confidence."""
    pairs = [(row.confidence, row.verdict.nothing_false) for row in judged if row.confidence is not None]
    return reliability([confidence for confidence, _ in pairs], [right for _, right in pairs])


def counted(name: str, rows: Iterable[JudgedRow]) -> RowCounts:
    """Rows counted by their verdicts."""
    members = list(rows)
    outcomes = Counter(row.verdict.outcome for row in members)
    by_clip: dict[str, list[JudgedRow]] = defaultdict(list)
    for row in members:
        if row.verdict.outcome != "unjudged":
            by_clip[row.clip_id].append(row)
    right = [(sum(r.verdict.right for r in clip), len(clip)) for clip in by_clip.values()]
    nothing_false = [(sum(r.verdict.nothing_false for r in clip), len(clip)) for clip in by_clip.values()]
    return RowCounts(
        name=name,
        clips=len({row.clip_id for row in members}),
        rows=len(members),
        right=outcomes["right"],
        nothing_false=sum(row.verdict.nothing_false for row in members),
        wrong_answer=outcomes["wrong_answer"],
        false_premise=outcomes["false_premise"],
        misquoted=outcomes["misquoted"],
        unjudged=outcomes["unjudged"],
        right_interval=bootstrap.of_ratio(right),
        nothing_false_interval=bootstrap.of_ratio(nothing_false),
    )


def _groups(rows: Sequence[JudgedRow], name_of: Callable[[JudgedRow], str]) -> tuple[RowCounts, ...]:
    groups: dict[str, list[JudgedRow]] = defaultdict(list)
    for row in rows:
        groups[name_of(row)].append(row)
    return tuple(counted(name, members) for name, members in sorted(groups.items()))


def _origin(row: JudgedRow) -> str:
    """Where the mistake of a reflected row comes from."""
    return f"reflects on {row.reflection.partition(':')[0]}" if row.reflection else "not reflected"


def _worst_first(counts: RowCounts) -> tuple[float, str]:
    return (2.0 if counts.right_share is None else counts.right_share), counts.name
