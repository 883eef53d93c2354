"""The audit of a finished build: what the engines heard against its truth, and its figures beside the
shards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from paqa.evaluation import answer_accuracy, audit
from paqa.evaluation.answer_accuracy import Heard
from paqa.evaluation.pairs import opened, pairs
from paqa.storage.build_folder import AUDIT
from paqa.storage.store import write_atomically

Audited = tuple[audit.Report, Sequence[Heard]]


def measure(folder: Path) -> Audited:
    """The figures of a build; PaqaError where it has no truth, or its store is gone."""
    known = list(pairs(folder))
    heard = {pair.clip_id: pair.heard for pair in known}
    answers = answer_accuracy.measure(answer_accuracy.rows(folder), heard, opened(folder)[0])
    return audit.measure(known), answers


def save(found: Audited, path: Path) -> None:
    """Write the figures as JSON."""
    report, answers = found
    figures = audit.to_dict(report) | {"heard_answers": audit.plain(answers)}
    write_atomically(path, (json.dumps(figures, indent=2) + "\n").encode())


def beside(folder: Path) -> Audited:
    """Measure a build and write its figures beside the shards."""
    found = measure(folder)
    save(found, folder / AUDIT)
    return found
