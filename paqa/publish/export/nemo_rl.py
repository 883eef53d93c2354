"""NeMo RL: one JSONL file a split of general conversations, for SFT with audio.

Layout: NVIDIA-NeMo/RL, nemo_rl/data/datasets/response_datasets/general_conversations_dataset.py; `<sound>`
says where the clip goes. The prompt is that of `paqa-train`, the target a whole rationale. Its GRPO knows
audio sets by name alone (nemo_rl/data/processors.py, August 2026), so it reads no export.
"""

from __future__ import annotations

from paqa.dataset.shards import SPLITS
from paqa.publish.export.job import Job
from paqa.rationale.prompt import PromptQuestion, question

__all__ = ["AUDIO", "SPLITS", "export"]

AUDIO = "wav"


def export(job: Job) -> None:
    """Write `train.jsonl`, ... and `audio/`."""
    with job.lists("{split}.jsonl") as add:
        for row in job.rows():
            item = row.item
            turns = [
                {"from": "user", "value": f"<sound>{question(PromptQuestion.of(item))}"},
                {"from": "assistant", "value": item.rationale},
            ]
            add(item.split, {"sound": job.absolute(job.save(row)), "conversations": turns, "id": item.id})
