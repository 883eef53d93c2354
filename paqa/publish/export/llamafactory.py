"""LLaMA-Factory: sharegpt JSONL with an `audios` column, and `dataset_info.json` about the files.

Layout: hiyouga/LLaMA-Factory, data/README.md ("Sharegpt Format", "OpenAI Format", "Multimodal Audio
Dataset"). Give OUT as `dataset_dir` and `media_dir`, and `paqa_train` as `dataset`: paths are relative to it.
"""

from __future__ import annotations

import json
from typing import Any

from paqa.dataset.shards import SPLITS
from paqa.publish.export.job import Job
from paqa.rationale.prompt import literal, prompt

__all__ = ["AUDIO", "SPLITS", "export"]

AUDIO = "flac"
TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


def export(job: Job) -> None:
    """Write `paqa_train.jsonl`, ..., `dataset_info.json` and `audio/`."""
    with job.lists("paqa_{split}.jsonl") as add:
        for row in job.rows():
            messages = [
                {"role": "user", "content": f"<audio>{prompt(row.item)}"},
                {"role": "assistant", "content": literal(row.item.rationale)},
            ]
            add(row.item.split, {"messages": messages, "audios": [job.save(row)]})
    info = {f"paqa_{split}": _described(f"paqa_{split}.jsonl") for split in job.written}
    (job.part / "dataset_info.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _described(name: str) -> dict[str, Any]:
    columns = {"messages": "messages", "audios": "audios"}
    return {"file_name": name, "formatting": "sharegpt", "columns": columns, "tags": TAGS}
