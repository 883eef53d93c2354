"""The figures of a build (`build.json`): as data, as the table at its end, and as Markdown."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from paqa.dataset import shards, verifier_table
from paqa.dataset.clip_quality import Figure
from paqa.dataset.verifier_table import VerifierFigures
from paqa.perception.inference import RAW_MIX_FAILED, Cost
from paqa.perception.quality import NOT_MEASURED
from paqa.storage import build_folder
from paqa.storage.build_folder import BUILD, CARD, DATA, RECIPE
from paqa.storage.store import digest, write_atomically
from paqa.types import Item, Quarantined

REJECTED_BY_REVIEW = "rejected_by_review"  # the reason in quarantine
CLIP_KEPT = {RAW_MIX_FAILED, NOT_MEASURED}  # reasons of rows about clips that are not lost
EXAMPLES = 3  # rows shown for each reason of quarantine, in the UI


@dataclass(frozen=True)
class Stage:
    """What one stage did in this run; what the store already had costs nothing and does not count."""

    name: str
    clips: int = 0
    audio_s: float = 0.0
    model_s: float = 0.0  # inside engines, over all workers
    total_s: float = 0.0  # with reading and writing, over all workers

    def __add__(self, spent: Cost) -> Stage:
        return dataclasses.replace(
            self,
            clips=self.clips + spent.clips,
            audio_s=self.audio_s + spent.audio_s,
            model_s=self.model_s + spent.model_s,
            total_s=self.total_s + spent.total_s,
        )

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work per second of audio; below 1 is faster than real time."""
        return self.total_s / self.audio_s if self.audio_s else None


@dataclass(frozen=True)
class Right:
    """Rows from predictions that the truth of their clips could judge, and how many of them are right.

    `nothing_false` are right, and their rationale states nothing that is false.
    """

    judged: int
    right: int
    nothing_false: int


@dataclass(frozen=True)
class Reviewed:
    """What reviewers say of the rows of a build, those included that it leaves out because of it.

    `right` of the `rows` that were drawn and judged are right, which makes `share` of all rows of the build,
    with its 95 % interval; None without drawn rows, or with one clip. `stale` verdicts are about rows that
    have changed or are gone. `files` are the SHA-256s of the files of verdicts, by name in the recipe.
    """

    reviewers: int
    rows: int
    right: int
    share: float | None
    interval: tuple[float, float] | None
    unsure: int
    rejected: int
    stale: int
    files: dict[str, str]


@dataclass(frozen=True)
class ClipKind:
    """Clips of one kind by what is heard in them: how many, how long, and the rows from them."""

    kind: str
    clips: int
    minutes: float
    rows: int

    @property
    def rows_per_minute(self) -> float:
        return self.rows / self.minutes if self.minutes else 0.0


@dataclass(frozen=True)
class Summary:
    """The figures of a build (`build.json`)."""

    name: str
    out: str
    store: str
    clips: int
    composed: int
    audio_s: float
    items: int
    by_split: dict[str, int]
    by_task: dict[str, int]
    by_answer: dict[str, int]
    by_subset: dict[str, int]
    by_reflection: dict[str, int]  # the origins of wrong first responses, e.g. "heard:missed_event"
    difficulty: float  # the mean
    quarantined: dict[str, int]
    stages: tuple[Stage, ...]
    shards: tuple[str, ...]
    shard_bytes: int
    warnings: tuple[str, ...] = ()
    license: str | None = None  # of the whole dataset; None where no one licence covers all
    by_license: dict[str, int] = dataclasses.field(default_factory=dict)  # rows by their material's
    # SHA-256 by path: shards, and tables beside them
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    speakers_unknown: dict[str, int] = dataclasses.field(default_factory=dict)  # clips by source, see split
    predicted: int = 0  # rows answered from predictions
    expected_right: float | None = None  # the mean confidence of these; None without any
    right: Right | None = None  # what truth says about them, after an audit
    by_kind: tuple[ClipKind, ...] = ()  # clips by what is heard in them
    reviewed: Reviewed | None = None  # where the recipe names files of verdicts
    quality: tuple[Figure, ...] = ()  # of the clips, where they are measured
    verifier: VerifierFigures | None = None  # where the recipe has one


def row_figures(items: Sequence[Item]) -> dict[str, Any]:
    """The figures of a Summary that its rows alone decide, by field."""
    return {
        "items": len(items),
        "by_split": counts(i.split for i in items),
        "by_task": counts(i.task for i in items),
        "by_answer": counts("open" if i.answer_index is None else "ABCDEFGH"[i.answer_index] for i in items),
        "by_reflection": counts(i.reflection for i in items if i.reflection),
        "by_subset": counts(name for i in items for name in i.subsets),
        "difficulty": round(sum(i.difficulty for i in items) / max(1, len(items)), 3),
    }


def predicted_figures(items: Sequence[Item]) -> dict[str, Any]:
    """How many rows are answered from predictions, and how many of them are expected to be right."""
    predicted = [item for item in items if item.answers_from == "heard"]
    confidences = [item.confidence for item in predicted if item.confidence is not None]
    mean = round(sum(confidences) / len(confidences), 4) if confidences else None
    return {"predicted": len(predicted), "expected_right": mean}


def right_text(summary: Summary) -> str:
    """The expected and, after an audit, the measured share of right rows; "" where truth answers all."""
    if summary.expected_right is None:
        return ""
    expected = f"{summary.expected_right:.0%} of {summary.predicted} from predictions expected"
    measured = summary.right
    if measured is None or not measured.judged:
        return f"{expected}; measured by an audit, where clips have truth"
    shares = (measured.right / measured.judged, measured.nothing_false / measured.judged)
    return (
        f"{expected}; of {measured.judged} that truth can judge, {shares[0]:.0%} are right and"
        f" {shares[1]:.0%} right with nothing false in the rationale"
    )


def reviewed_text(summary: Summary) -> str:
    """The measured share of right rows and the number of rejected ones; "" without verdicts of people."""
    by = summary.reviewed
    if by is None:
        return ""
    rejected = f"{by.rejected} that reviewers reject {'is' if by.rejected == 1 else 'are'} left out"
    if by.share is None:
        return rejected
    spread = f" ({by.interval[0]:.0%} to {by.interval[1]:.0%})" if by.interval else ""
    people = f"{by.reviewers} reviewer{'s' * (by.reviewers != 1)}"
    return f"{by.share:.0%} of all rows are right{spread}, by {people} on a sample of {by.rows}; {rejected}"


def record_right(out: Path, measured: Right) -> None:
    """Add what an audit measured to the summary and the card of a finished build."""
    before = load(out)
    after = dataclasses.replace(before, right=measured)
    if before.right == measured:
        return
    write_atomically(out / BUILD, msgspec.json.format(msgspec.json.encode(after)))
    card = out / CARD
    if card.exists() and (line := right_text(before)):
        text = card.read_text(encoding="utf-8").replace(line, right_text(after))
        write_atomically(card, text.encode())


def counts(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, in order of the values."""
    return dict(sorted(Counter(values).items()))


def load(out: Path) -> Summary:
    """The summary of a finished build."""
    build_folder.finish_commit(out)
    summary: Summary = msgspec.json.decode((out / BUILD).read_bytes(), type=Summary)
    return summary


def digests(out: Path) -> dict[str, str]:
    """The SHA-256s of a build's files, by path; none where there is no build, or one that cannot be read."""
    try:
        return load(out).files
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def mismatches(out: Path) -> Iterator[str]:
    """Where the files of a build are not those that its build.json lists, in one line each.

    Shards without a build.json and a recipe beside them (downloaded ones, say) are not tested.
    """
    remedy = f"run: paqa build RECIPE.toml --out {out}"
    build_folder.finish_commit(out)
    if not (out / BUILD).exists():
        if (out / RECIPE).exists():
            yield f"{BUILD} is missing beside {RECIPE}: no build was finished here; {remedy}"
        return
    try:
        summary = load(out)
    except msgspec.DecodeError as error:
        yield f"{BUILD} cannot be read ({error}); {remedy}"
        return
    expected, present = (
        {f"{DATA}/{name}" for name in summary.shards},
        {f"{DATA}/{path.name}" for path in shards.files(out)},
    )
    foreign = sorted(present - expected)
    yield from (f"{name} is not of this build: {BUILD} does not list it; remove it" for name in foreign)
    missing = sorted(name for name in expected | set(summary.files) if not (out / name).exists())
    yield from (f"{name} is missing, {BUILD} lists it; {remedy}" for name in missing)
    current = {name: digest(out / name) for name in summary.files if name not in missing}
    changed = sorted(name for name in current if current[name] != summary.files[name])
    for name in changed:
        digests = f"its SHA-256 is {current[name][:16]}, {BUILD} has {summary.files[name][:16]}"
        yield f"{name} has changed: {digests}; {remedy}"
    if not (foreign or missing or changed):
        rows = sum(shards.open_shard(path).metadata.num_rows for path in shards.files(out))
        if rows != summary.items:
            yield f"{DATA} has {rows} rows, {BUILD} counts {summary.items}; {remedy}"


def stage_rows(
    stages: Mapping[str, Stage], passed: Sequence[tuple[str, int, str, float]]
) -> list[dict[str, Any]]:
    """One dict per stage in order, for tables.

    `passed` has of each stage its name, the count and unit of what it did, and its seconds.
    """
    return [_stage_row(stages.get(name, Stage(name)), n, unit, seconds) for name, n, unit, seconds in passed]


def _stage_row(stage: Stage, count: int, unit: str, seconds: float) -> dict[str, Any]:
    factor = stage.real_time_factor if stage.model_s else None
    return {
        "stage": stage.name,
        "done": f"{count} {unit}",
        "seconds": round(seconds, 1),
        "audio s": round(stage.audio_s, 1) or "",
        "engine s": round(stage.model_s, 1) or "",
        "real-time factor": "" if factor is None else round(factor, 4),
    }


def quarantine_markdown(lost: Sequence[Quarantined]) -> str:
    """The quarantine as a Prefect artifact: counts by stage and reason, frequent first, then examples."""
    table: dict[tuple[str, str], list[Quarantined]] = defaultdict(list)
    for row in sorted(dict.fromkeys(lost), key=lambda q: q.id):
        table[row.stage, row.reason].append(row)
    ordered = sorted(table.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    lines = ["# What fell out", "", "| stage | reason | rows |", "|---|---|---|"]
    lines += [f"| {stage} | {reason} | {len(rows)} |" for (stage, reason), rows in ordered]
    for (_, reason), rows in ordered:
        lines += ["", f"**{reason}**, for example", ""]
        lines += [
            f"- `{row.id}`: {_plain(row.detail.removeprefix(f'{row.id}: '))}" for row in rows[:EXAMPLES]
        ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Untrusted text with every character escaped that Markdown gives a meaning."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def facts(summary: Summary) -> list[tuple[str, str]]:
    """The figures worth reading first, label and value."""
    rows = summary.items + sum(summary.quarantined.values())
    quarantined = f"{rows - summary.items} of {rows}"
    reasons = ", ".join(
        f"{reason} {n}" for reason, n in sorted(summary.quarantined.items(), key=lambda r: -r[1])
    )
    difficulty = (f"{summary.difficulty:.2f} on average", _listed(summary.by_subset))
    return [
        ("clips", f"{summary.clips} ({summary.composed} composed scenes), {summary.audio_s:,.0f} s of audio"),
        ("questions", f"{summary.items} ({_listed(summary.by_split)})"),
        ("tasks", _listed(summary.by_task)),
        ("answers", _listed(summary.by_answer)),
        ("difficulty", ", ".join(filter(None, difficulty))),
        ("reflected", _reflected(summary)),
        *([("right", right_text(summary))] if summary.expected_right is not None else []),
        *([("reviewed", reviewed_text(summary))] if summary.reviewed else []),
        *([("rows a minute", _by_kind(summary))] if summary.by_kind else []),
        *([("quality", quality_text(summary))] if summary.quality else []),
        *([("verifier", verifier_table.text(summary.verifier))] if summary.verifier else []),
        ("licence", summary.license or f"no one covers all ({', '.join(summary.by_license)})"),
        ("quarantined", f"{quarantined}: {reasons}" if reasons else quarantined),
        ("shards", f"{len(summary.shards)} in {summary.out}/data, {summary.shard_bytes / 1e6:.1f} MB"),
    ]


def _reflected(summary: Summary) -> str:
    """How many questions are answered wrong at first, and how many of these after an engine's mistake."""
    misheard = sum(n for name, n in summary.by_reflection.items() if name.startswith("heard:"))
    reflected = sum(summary.by_reflection.values())
    return f"{reflected} of {summary.items}, {misheard} of them after a real mishearing"


def _by_kind(summary: Summary) -> str:
    return ", ".join(f"{k.kind} {k.rows_per_minute:.1f} ({k.clips} clips)" for k in summary.by_kind)


def quality_text(summary: Summary) -> str:
    """The median of each measure, and how many clips have it."""
    return ", ".join(f"{f.label} {f.median:g}{f.unit} (median of {f.clips} clips)" for f in summary.quality)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def text(summary: Summary) -> str:
    """The short table at the end of a build."""
    lines = [f"{label:<12} {value}" for label, value in facts(summary)]
    stages = [s for s in summary.stages if s.model_s]
    if stages:
        lines += ["", f"{'stage':<22} {'clips':>6} {'audio s':>9} {'engine s':>9} {'real-time factor':>17}"]
        lines += [
            f"{s.name:<22} {s.clips:>6} {s.audio_s:>9.0f} {s.model_s:>9.1f} {s.real_time_factor or 0:>17.4f}"
            for s in stages
        ]
        factor = sum(s.real_time_factor or 0 for s in stages)
        lines += [
            f"{'all engines':<22} {'':>6} {'':>9} {sum(s.model_s for s in stages):>9.1f} {factor:>17.4f}"
        ]
    else:
        lines += ["", "heard        everything was in the store already: no engine was loaded"]
    lines += [f"\nwarning      {warning}" for warning in summary.warnings]
    return "\n".join(lines)


def markdown(summary: Summary) -> str:
    """The summary as a Prefect artifact; a list, since the UI does not break lines in tables."""
    rows = "\n".join(f"- **{label}** {_plain(value)}" for label, value in facts(summary))
    warnings = "".join(f"\n> **Warning:** {_plain(warning)}\n" for warning in summary.warnings)
    return f"# {summary.name}\n{warnings}\n{rows}\n"
