"""The audit of a finished build: predictions against its truth, and the figures beside the shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from paqa.dataset.open_build import open_build
from paqa.evaluation import answer_accuracy, audit, audit_report
from paqa.evaluation.answer_accuracy import TemplateAccuracy
from paqa.evaluation.pairs import pairs
from paqa.storage.build_folder import AUDIT
from paqa.storage.store import write_atomically

Audited = tuple[audit_report.AuditReport, Sequence[TemplateAccuracy]]


def measure(folder: Path) -> Audited:
    """The figures of a build; PaqaError where it has no truth, or its store is gone."""
    all_pairs = list(pairs(folder))
    predicted = {pair.clip_id: pair.heard for pair in all_pairs}
    answers = answer_accuracy.measure(answer_accuracy.rows(folder), predicted, open_build(folder)[0])
    return audit.measure(all_pairs), answers


def save(audited: Audited, path: Path) -> None:
    """Write the figures as JSON."""
    report, answers = audited
    figures = audit_report.to_dict(report) | {"heard_answers": audit_report.plain(answers)}
    write_atomically(path, (json.dumps(figures, indent=2) + "\n").encode())


def measure_and_save(folder: Path) -> Audited:
    """Measure a build and write its figures beside the shards."""
    audited = measure(folder)
    save(audited, folder / AUDIT)
    return audited
