"""`paqa show --quarantine`: what a build left out and why, as a person wants to read it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from paqa.dataset import shards
from paqa.errors import PaqaError
from paqa.storage.build_folder import FAILED, QUARANTINE
from paqa.types import Quarantined

EXAMPLES = 5  # of a reason that are shown where no id is given


def table(folder: Path) -> Path:
    """The quarantine of the last build in a folder: that of a build that failed, where one did."""
    for path in (folder / FAILED / QUARANTINE, folder / QUARANTINE):
        if path.is_file():
            return path
    raise PaqaError(f"{folder}: no {QUARANTINE}; run: paqa build RECIPE.toml --out {folder}")


def text(folder: Path, name: str | None) -> str:
    """Counts by stage and reason with examples; with a name, every row of that reason or about it."""
    path = table(folder)
    rows = list(dict.fromkeys(shards.table_rows(path, Quarantined)))
    if name:
        rows = [
            row for row in rows if name in (row.reason, row.stage) or name in row.id or name in row.detail
        ]
    if name and not rows:
        raise PaqaError(f"{path}: nothing about {name!r}; without a name all reasons are shown")
    by_reason: dict[tuple[str, str], list[Quarantined]] = defaultdict(list)
    for row in rows:
        by_reason[row.stage, row.reason].append(row)
    lines = [f"quarantine   {len(rows)} of {path}"]
    for (stage, reason), some in sorted(by_reason.items(), key=lambda group: -len(group[1])):
        shown = some if name else some[:EXAMPLES]
        lines += ["", f"{reason} ({stage}): {len(some)}"]
        lines += [f"  {row.detail if row.id in row.detail else f'{row.id}: {row.detail}'}" for row in shown]
        if len(shown) < len(some):
            lines.append(f"  and {len(some) - len(shown)} more: paqa show {folder} {reason} --quarantine")
    return "\n".join(lines)
