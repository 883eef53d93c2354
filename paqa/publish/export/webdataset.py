"""WebDataset: tars of samples `KEY.flac` (or wav) and `KEY.json`, one sample a clip, with all its questions.

Layout: webdataset/webdataset, README ("The WebDataset Format"): files of one sample follow each other and
share the name up to the first dot. A clip whose rows lie in two shards is two samples. Same build, same
bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import msgspec

from paqa.dataset.shards import SPLITS
from paqa.publish.export.job import ExportRow, Job, wav

__all__ = ["AUDIO", "SPLITS", "export"]

AUDIO = "flac"
MAX_BYTES = 500_000_000  # of a tar
SHARED = ("clip_id", "scene", "source", "license", "groups", "split", "answers_from", "heard_by")


def export(job: Job) -> None:
    """Write `train-000000.tar`, ...; the JSON has a shard's columns for each row, and what all share once."""
    tars: dict[str, _Tars] = {}
    try:
        for _, group in groupby(job.rows(), key=lambda row: row.item.clip_id):
            first, questions = _questions(group)
            split = first.item.split
            if split not in tars:
                tars[split] = _Tars(job, split)
            value = {name: msgspec.to_builtins(getattr(first.item, name)) for name in SHARED}
            value["questions"] = questions
            audio = first.flac if job.audio == "flac" else wav(first.flac)
            tars[split].add(first.name.replace(".", "_"), {job.audio: audio, "json": _json(value)})
            job.written[split] += len(questions)
    finally:
        for tar in tars.values():
            tar.close()


def _questions(group: Iterator[ExportRow]) -> tuple[ExportRow, list[dict[str, Any]]]:
    """The first row of a clip, and the questions of all; no audio but the first one's is kept."""
    first = next(group)
    return first, [_question(first), *(_question(row) for row in group)]


def _question(row: ExportRow) -> dict[str, Any]:
    columns: dict[str, Any] = msgspec.to_builtins(row.item)
    return {name: value for name, value in columns.items() if name not in SHARED}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


class _Tars:
    """The tars of one split; a full one is followed by the next."""

    def __init__(self, job: Job, split: str):
        self.job, self.split = job, split
        self.number = self.size = 0
        self.keys: set[str] = set()
        self.file = self._open()

    def _open(self) -> tarfile.TarFile:
        return tarfile.open(
            self.job.part / f"{self.split}-{self.number:06d}.tar", "w", format=tarfile.PAX_FORMAT
        )

    def add(self, key: str, files: dict[str, bytes]) -> None:
        """Add a sample; a key that was used gets a number."""
        size = sum(map(len, files.values()))
        if self.size and self.size + size > MAX_BYTES:
            self.file.close()
            self.number, self.size = self.number + 1, 0
            self.file = self._open()
        key = next(k for n in range(len(self.keys) + 1) if (k := f"{key}~{n}" if n else key) not in self.keys)
        self.keys.add(key)
        self.size += size
        for ending, data in files.items():
            member = tarfile.TarInfo(f"{key}.{ending}")
            member.size = len(data)
            self.file.addfile(member, io.BytesIO(data))

    def close(self) -> None:
        self.file.close()
