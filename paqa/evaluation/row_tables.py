"""The judged rows of a build as tables for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paqa.evaluation.grids import grid, piped
from paqa.evaluation.judge import JUDGES
from paqa.evaluation.reliability import Reliability
from paqa.evaluation.row_audit import RowAudit, RowCounts

HEADS = (
    "", "rows", "right %", "95 %", "right, nothing false %", "95 %", "wrong", "premise", "misquoted",
    "unjudged",
)  # fmt: skip
TITLE = "Rows answered from predictions, judged by the truth of their clips; shares are of judged rows"


def text(audit: RowAudit) -> str:
    """All tables of the judged rows, for a terminal."""
    parts = [grid(title, heads, rows) for title, heads, rows in _tables(audit)]
    return "\n\n".join([*parts, *_notes(audit)]) + "\n"


def markdown(audit: RowAudit) -> str:
    """The same as Markdown."""
    parts = [f"## {title}\n\n{piped([heads, *rows])}" for title, heads, rows in _tables(audit)]
    return "\n\n".join([*parts, *_notes(audit)]) + "\n"


def _tables(audit: RowAudit) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    groups = [audit.overall, *audit.by_corpus, *audit.by_origin, *audit.by_template]
    tables: list[tuple[str, Sequence[str], list[list[str]]]] = [(TITLE, HEADS, [line(c) for c in groups])]
    if audit.causes:
        tables.append(("Why rows are not right", ("cause", "rows"), _counts(audit.causes)))
    if audit.false_statements:
        title = "What rationales state falsely"
        tables.append((title, ("kind", "rows"), _counts(audit.false_statements)))
    if audit.reliability:
        tables.append(_reliability(audit.reliability))
    return tables


def _reliability(measured: Reliability) -> tuple[str, Sequence[str], list[list[str]]]:
    title = "Confidence of rows, and the share of those that are right and state nothing false"
    rows = [
        [f"{b.low:.1f} - {b.high:.1f}", str(b.count), f"{b.confidence:.2f}", f"{b.right:.2f}"]
        for b in measured.bins
        if b.confidence is not None and b.right is not None
    ]
    rows.append(["all", str(measured.count), f"{measured.confidence:.2f}", f"{measured.right:.2f}"])
    heads = ("confidence", "rows", "mean", "right")
    return f"{title}. Expected calibration error {measured.error:.3f}", heads, rows


def _notes(audit: RowAudit) -> list[str]:
    whole = audit.overall
    per_clip = whole.rows / audit.clips if audit.clips else 0.0
    right = whole.right / audit.clips if audit.clips else 0.0
    notes = [f"{audit.clips} clips with truth: {per_clip:.2f} rows and {right:.2f} right rows a clip"]
    plugins = [c for c in audit.by_template if c.name not in JUDGES and "." in c.name]
    if plugins:
        names = ", ".join(c.name for c in plugins)
        count = sum(c.rows for c in plugins)
        notes.append(f"no oracle for {count} rows of templates of plug-ins ({names}): not known to be right")
    return notes


def _counts(counts: Mapping[str, int]) -> list[list[str]]:
    return [[name.replace("_", " "), str(n)] for name, n in counts.items()]


def line(counts: RowCounts) -> list[str]:
    """The cells of one line of the table."""
    return [
        counts.name,
        str(counts.rows),
        percent(counts.right_share),
        span(counts.right_interval),
        percent(counts.nothing_false_share),
        span(counts.nothing_false_interval),
        str(counts.wrong_answer),
        str(counts.false_premise),
        str(counts.misquoted),
        str(counts.unjudged),
    ]


def percent(share: float | None) -> str:
    """A share in percent, `-` where there is none."""
    return "-" if share is None else f"{100 * share:.1f}"


def span(interval: tuple[float, float] | None) -> str:
    """An interval of shares in percent."""
    return "-" if interval is None else f"{100 * interval[0]:.0f} - {100 * interval[1]:.0f}"
