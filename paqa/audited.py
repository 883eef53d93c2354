"""The audit of a finished build: what the engines heard against its truth, and its figures beside the shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from paqa import audit, heard_answers
from paqa.heard_answers import Heard
from paqa.storage.build_folder import AUDIT
from paqa.storage.store import write_atomically
from paqa.truth import opened, pairs

Audited = tuple[audit.Report, Sequence[Heard]]


def measure(folder: Path) -> Audited:
    """The figures of a build; PaqaError where it has no truth, or its store is gone."""
    known = list(pairs(folder))
    heard = {pair.clip_id: pair.heard for pair in known}
    answers = heard_answers.measure(heard_answers.rows(folder), heard, opened(folder)[0])
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
