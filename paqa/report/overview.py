"""The figures of the overview: counts and histograms over rows and clips, ready to be drawn.

What has a name that a user chose is a list of pairs, never a dict: no label can collide with a key.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from paqa.curation.shortcuts import ShortcutReport
from paqa.dataset import clip_quality
from paqa.dataset.summary import Summary, predicted_figures
from paqa.evaluation.audit_report import AuditReport
from paqa.evaluation.plots import figure_of
from paqa.evaluation.row_audit import RowAudit, RowCounts
from paqa.report.collect import Build
from paqa.storage.build_folder import AUDIT
from paqa.types import Item, Quarantined, Scene

BINS = (8, 24)  # at least, at most; in between twice the root of the number of values
STEPS = (1, 2, 2.5, 5, 10)
FIGURES = (
    ("DER", "who spoke when: error, collar 0.25 s", "%"),
    ("JER", "the same, every speaker counting alike", "%"),
    ("count", "clips with the right number of speakers", "%"),
    ("WER", "words: error", "%"),
    ("cpWER", "words by the right speaker: error", "%"),
    ("segment F1", "sounds in 1 s segments: F1", "%"),
    ("event F1", "sounds with onset and offset: F1", "%"),
    ("mAP", "sounds of a clip: mean average precision", "%"),
    ("gain", "speech stem over mix: SI-SDR gain", "dB"),
)
BETTER_LOW = {"DER", "JER", "WER", "cpWER"}


def overview(build: Build) -> dict[str, Any]:
    """Everything on the first page."""
    rows = [row for clip_rows in build.items.values() for row in clip_rows]
    scenes = [clip_rows[0].scene for clip_rows in build.items.values()]
    return {
        "name": build.name,
        "description": build.recipe.description if build.recipe else "",
        "notes": build.notes,
        "facts": _facts(rows, scenes, build),
        "durations": histogram([s.duration_ms / 1000 for s in scenes]),
        "speakers": _pairs(Counter(s.speakers for s in scenes)),
        "snr": histogram([s.snr_db for s in scenes if s.snr_db is not None]),
        "no_snr": sum(s.snr_db is None for s in scenes),
        "quality": _quality(build),
        "labels": _most(Counter(label for s in scenes for label in {e.label for e in s.events})),
        "tasks": _by_split(rows, "task"),
        "templates": _by_split(rows, "template"),
        "answers": _answers(rows),
        "difficulty": histogram([r.difficulty for r in rows], 0.05),
        "dependence": histogram([r.audio_dependence for r in rows if r.audio_dependence is not None], 0.05),
        "subsets": _most(Counter(name for r in rows for name in r.subsets)),
        "reflections": _most(Counter(r.reflection for r in rows if r.reflection)),
        "quarantine": _quarantine(build.quarantined),
        "licenses": _licenses(build),
        "engines": _engines(rows),
        "audit": _audit(build.audit) if build.audit else None,
        "judged": _judged(build.judged) if build.judged else None,
        "audit_file": AUDIT,
        "shortcuts": _shortcuts(build.shortcuts) if build.shortcuts else None,
    }


def histogram(values: Sequence[float], step: float | None = None) -> dict[str, Any] | None:
    """Counts in bins of `step`, or of a round width: `{"from", "step", "counts"}`; None without values."""
    if not values:
        return None
    bins = min(BINS[1], max(BINS[0], round(2 * len(values) ** 0.5)))
    width = step or _round_step((max(values) - min(values)) / bins)
    first = math.floor(min(values) / width + 1e-9)
    counts = Counter(math.floor(v / width + 1e-9) - first for v in values)
    return {
        "from": round(first * width, 6),
        "step": width,
        "counts": [counts[i] for i in range(max(counts) + 1)],
    }


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 or 5 times a power of ten that is at least `least`; 1 for no spread."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return float(next(s * power for s in STEPS if s * power >= least * (1 - 1e-9)))


def _facts(rows: Sequence[Item], scenes: Sequence[Scene], build: Build) -> list[list[str]]:
    """Value, label and a line of detail."""
    seconds = sum(s.duration_ms for s in scenes) / 1000
    splits = Counter(r.split for r in rows)
    reflected = sum(r.reflected for r in rows)
    misheard = sum(r.reflection.startswith("heard:") for r in rows if r.reflection)
    truth = sum(r.answers_from == "truth" for r in rows)
    lost = len(build.quarantined)
    return [
        [f"{len(rows):,}", "questions", ", ".join(f"{n:,} {name}" for name, n in sorted(splits.items()))],
        [
            f"{len(scenes):,}",
            "clips",
            _composed(build.summary) or f"{len(rows) / max(1, len(scenes)):.1f} questions each",
        ],
        [_length(seconds), "of audio", f"{seconds / max(1, len(scenes)):.1f} s a clip"],
        [
            f"{truth / max(1, len(rows)):.0%}",
            "answered from ground truth",
            f"{len(rows) - truth:,} from predictions",
        ],
        [f"{reflected / max(1, len(rows)):.0%}", "reflected upon", f"{misheard:,} after a real mishearing"],
        *_expected(rows),
        [f"{lost:,}", "quarantined", f"{lost / max(1, lost + len(rows)):.1%} of all rows"],
    ]


def _expected(rows: Sequence[Item]) -> list[list[str]]:
    """The share of rows from predictions that should be right, by their confidences."""
    figures = predicted_figures(rows)
    if figures["expected_right"] is None:
        return []
    share, count = figures["expected_right"], figures["predicted"]
    return [[f"{share:.0%}", "expected right", f"of {count:,} rows from predictions"]]


def _composed(summary: Summary | None) -> str:
    return f"{summary.composed:,} composed scenes" if summary and summary.composed else ""


def _length(seconds: float) -> str:
    """`2.5 h`, `16 min` or `40 s`."""
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _pairs(counts: Counter[Any]) -> list[list[Any]]:
    return [[name, n] for name, n in sorted(counts.items())]


def _most(counts: Counter[str]) -> list[list[Any]]:
    """Pairs, the most frequent first."""
    return [[name, n] for name, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def _by_split(rows: Sequence[Item], column: str) -> list[list[Any]]:
    """Name, and rows in train, validation and test; the most frequent first."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        table[getattr(row, column)][row.split] += 1
    ordered = sorted(table.items(), key=lambda pair: (-pair[1].total(), pair[0]))
    return [[name, [n["train"], n["validation"], n["test"]]] for name, n in ordered]


def _answers(rows: Iterable[Item]) -> list[dict[str, Any]]:
    """Rows by position of the answer, for each number of choices; open-ended ones last, as 0 choices."""
    table: dict[int, Counter[int]] = defaultdict(Counter)
    for row in rows:
        table[len(row.choices)][row.answer_index or 0] += 1
    ordered = sorted(table.items(), reverse=True)
    return [{"choices": size, "at": [at[i] for i in range(max(1, size))]} for size, at in ordered]


def _quarantine(lost: Sequence[Quarantined]) -> list[list[Any]]:
    """Stage, reason, rows, and the details of the first few."""
    table: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in sorted(lost, key=lambda q: q.id):
        table[row.stage, row.reason].append(f"{row.id}: {row.detail}")
    ordered = sorted(table.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [[stage, reason, len(details), details[:3]] for (stage, reason), details in ordered]


def _licenses(build: Build) -> list[list[Any]]:
    """Each licence, and the clips that carry it; a composed clip carries those of all its material."""
    clips = [rows[0].license for rows in build.items.values()]
    return _most(Counter(name for text in clips for name in dict.fromkeys(text.split("; "))))


def _engines(rows: Sequence[Item]) -> list[list[str]]:
    engines = dict.fromkeys((h.stage, h.engine, h.revision) for r in rows for h in r.heard_by)
    return [list(row) for row in engines]


def _quality(build: Build) -> list[dict[str, Any]]:
    """The histogram of each measure over the clips that have it, and the query that its bins lead to."""
    qualities = [build.qualities[name] for name in build.items if name in build.qualities]
    drawn = []
    for name, label, unit, _ in clip_quality.MEASURES:
        if of_clips := clip_quality.values(qualities, name):
            columns = {"name": name, "label": label, "unit": unit.strip(), "clips": len(of_clips)}
            drawn.append(columns | {"histogram": histogram(of_clips)})
    return drawn


def _audit(audit: AuditReport) -> list[dict[str, Any]]:
    """Each figure with its value and 95 % interval in every slice that has it, in the figure's unit."""
    figures = []
    for name, label, unit in FIGURES:
        scale = 100 if unit == "%" else 1
        rows = []
        for part in audit.slices:
            value = figure_of(part, name)
            if value is not None:
                span = part.intervals.get(name, (value, value))
                rows.append([part.by, part.name, part.clips, *(round(scale * v, 2) for v in (value, *span))])
        if rows:
            low = name in BETTER_LOW
            figures.append({"name": name, "label": label, "unit": unit, "low_is_better": low, "rows": rows})
    return figures


def _judged(audit: RowAudit) -> dict[str, Any]:
    """How many rows from predictions are right, over groups of them; why not; and their confidences."""
    groups = [
        ("all", audit.overall),
        *(("group", counts) for counts in (*audit.by_corpus, *audit.by_origin)),
        *(("template", counts) for counts in audit.by_template),
    ]
    right = [_share(by, c, c.right_share, c.right_interval) for by, c in groups if c.judged]
    whole = [_share(by, c, c.nothing_false_share, c.nothing_false_interval) for by, c in groups if c.judged]
    figures = [
        {"name": "right", "label": "rows whose answer is right", "unit": "%", "rows": right},
        {"name": "nothing false", "label": "right, and nothing false is stated", "unit": "%", "rows": whole},
    ]
    measured = audit.reliability
    bins = measured.bins if measured else ()
    return {
        "figures": [figure | {"low_is_better": False} for figure in figures],
        "causes": _most(Counter(audit.causes)),
        "false": _most(Counter(audit.false_statements)),
        "error": measured.error if measured else None,
        "bins": [[b.low, b.high, b.count, b.confidence, b.right] for b in bins if b.count],
    }


def _share(
    by: str, counts: RowCounts, share: float | None, interval: tuple[float, float] | None
) -> list[Any]:
    """A row of a figure: group, name, clips, and the share with its interval in percent."""
    value = share or 0.0
    spread = interval or (value, value)
    return [by, counts.name, counts.clips, *(round(100 * v, 2) for v in (value, *spread))]


def _shortcuts(report: ShortcutReport) -> dict[str, Any]:
    """How often each guesser is right from the text alone, over the build, and the best one by template."""
    overall = [[name, g.accuracy, g.chance, g.limit] for name, g in report.guessers.items()]
    templates = [
        [t.name, t.rows, t.worst, t.guessers[t.worst].accuracy, t.guessers[t.worst].chance]
        for t in report.templates
    ]
    return {"overall": overall, "templates": templates, "failing": report.failing}
