"""`paqa show`: one item as a person wants to read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paqa.curation.verifier import VerifiedRow
from paqa.dataset import shards, verifier_table
from paqa.errors import PaqaError
from paqa.types import Origin


def find(folder: Path, name: str | None) -> dict[str, Any]:
    """The row with this item or clip id, else the first one; PaqaError with near ids where there is none."""
    near: list[str] = []
    for path in shards.with_scenes(folder):
        file = shards.open_shard(path)
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["id", "clip_id"]).to_pylist()
            for i, row in enumerate(ids):
                if name in (None, row["id"], row["clip_id"]):
                    item: dict[str, Any] = file.read_row_group(group).slice(i, 1).to_pylist()[0]
                    return item
                if name and name in row["id"]:
                    near.append(row["id"])
    hint = f"did you mean {near[0]}?" if near else "ids: paqa check, or column id"
    raise PaqaError(f"{folder}: no item {name!r}; {hint}")


def _origin(origin: Origin) -> str:
    """One recording of the audio: its role, its file, which part of it, and its licence."""
    span = f"{origin.offset_ms / 1000:.2f}-{(origin.offset_ms + origin.duration_ms) / 1000:.2f} s"
    return f"{origin.role:<12} {origin.corpus}: {origin.uri} [{span}], {origin.license}"


def _verifier(row: VerifiedRow, question: str) -> list[str]:
    """What the verifier replied, and the question if it was another one before; the first has the heading."""
    lines = [f"{name}: {reply}" for name, reply in verifier_table.row_lines(row)]
    if row.original_question not in (None, question):
        lines.append(f"question before: {row.original_question}")
    return [f"{'' if i else 'verifier':<12} {line}" for i, line in enumerate(lines)]


def text(row: dict[str, Any], verified: VerifiedRow | None = None) -> str:
    """The item, its choices with the right one marked, its rationale and its sources.

    `verified` is what a verifier replied to it, where one was asked.
    """
    item = shards.item(row)
    choices = []
    for i, choice in enumerate(item.choices):
        mark = "->" if i == item.answer_index else "  "
        choices.append(f" {mark} ({chr(65 + i)}) {choice}")
    if not choices:
        choices = [f" -> {item.answer}"]
    flac = f"{len(row['audio']['bytes'])} bytes of FLAC"
    snr = "" if item.scene.snr_db is None else f", SNR {item.scene.snr_db:g} dB"
    labels = ", ".join((item.split, item.task, *item.subsets))
    lines = [
        f"{item.id}  ({labels}, difficulty {item.difficulty:.2f})",
        f"audio        {item.scene.duration_ms / 1000:.2f} s, {flac}{snr}",
        f"source       {item.source}",
        f"licence      {item.license}",
        f"answers from {item.answers_from}; heard by {', '.join(h.engine for h in item.heard_by)}",
        *([f"reflection   {item.reflection}"] if item.reflection else []),
        *([f"mistaken     {', '.join(item.mistaken)}"] if item.mistaken else []),
        *(_verifier(verified, item.question) if verified else []),
        *(_origin(origin) for origin in item.origins),
        f"made by      paqa {item.paqa_version}, seed {item.seed}; key {item.key}",
        "",
        item.question,
        *choices,
        "",
        item.rationale,
    ]
    return "\n".join(lines)
