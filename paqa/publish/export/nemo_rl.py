"""NeMo RL: general conversations for SFT with audio, and the layout of AudioMCQ for GRPO.

Layouts: NVIDIA-NeMo/RL, nemo_rl/data/datasets/response_datasets, general_conversations_dataset.py (`<sound>`
says where the clip goes; the prompt is that of `paqa-train`, the target a whole rationale) and audiomcq.py
(`data.jsonl`, the train split's questions with choices). Its GRPO knows audio sets by name alone: see
docs/training.md for how it reads this one.
"""

from __future__ import annotations

import json

from paqa.dataset.shards import SPLITS
from paqa.publish.export.job import Job
from paqa.rationale.prompt import PromptQuestion, question

__all__ = ["AUDIO", "SPLITS", "export"]

AUDIO = "wav"


def export(job: Job) -> None:
    """Write `train.jsonl`, ..., `data.jsonl` and `audio/`."""
    path = job.part / "data.jsonl"
    with job.lists("{split}.jsonl") as add, path.open("w", encoding="utf-8") as questions:
        for row in job.rows():
            item = row.item
            if item.split == "train" and item.choices:
                asked = {"id": item.id, "question": item.question, "choices": item.choices}
                columns = {**asked, "answer": item.answer, "audio_path": job.save(row)}
                questions.write(json.dumps(columns, ensure_ascii=False) + "\n")
            turns = [
                {"from": "user", "value": f"<sound>{question(PromptQuestion.of(item))}"},
                {"from": "assistant", "value": item.rationale},
            ]
            add(item.split, {"sound": job.absolute(job.save(row)), "conversations": turns, "id": item.id})
    if not path.stat().st_size:  # no train row is exported
        path.unlink()
