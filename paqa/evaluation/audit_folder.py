"""The audit of a finished build: predictions against its truth, and the figures beside the shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from paqa.dataset import summary
from paqa.dataset.open_build import open_build
from paqa.evaluation import answer_accuracy, audit, audit_report, row_audit
from paqa.evaluation.answer_accuracy import TemplateAccuracy
from paqa.evaluation.pairs import pairs
from paqa.evaluation.row_audit import RowAudit
from paqa.storage.build_folder import AUDIT
from paqa.storage.store import write_atomically


class Audited(NamedTuple):
    """The figures of a build: of predictions, of truth's questions asked of them, and of rows from them."""

    report: audit_report.AuditReport
    answers: Sequence[TemplateAccuracy]
    rows: RowAudit | None


def measure(folder: Path) -> Audited:
    """The figures of a build; PaqaError where it has no truth, or its store is gone."""
    all_pairs = list(pairs(folder))
    predicted = {pair.clip_id: pair.heard for pair in all_pairs}
    answers = answer_accuracy.measure(answer_accuracy.rows(folder), predicted, open_build(folder)[0])
    return Audited(audit.measure(all_pairs), answers, row_audit.measure(folder))


def save(audited: Audited, path: Path) -> None:
    """Write the figures as JSON."""
    figures = audit_report.to_dict(audited.report)
    figures |= {
        "heard_answers": audit_report.plain(audited.answers),
        "judged": audit_report.plain(audited.rows),
    }
    write_atomically(path, (json.dumps(figures, indent=2) + "\n").encode())


def measure_and_save(folder: Path) -> Audited:
    """Measure a build and write its figures beside the shards, how many rows are right into its summary."""
    audited = measure(folder)
    save(audited, folder / AUDIT)
    if audited.rows:
        rows = audited.rows.overall
        summary.record_right(folder, summary.Right(rows.judged, rows.right, rows.nothing_false))
    return audited
