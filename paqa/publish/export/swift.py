"""ms-swift: one JSONL file a split, with `messages` and `audios`, for `swift sft --dataset`.

Layout: modelscope/ms-swift, docs/source_en/Customization/Custom-dataset.md ("Multimodal", "PPO/GRPO").
`<audio>` says where the clip goes; paths are absolute, as it recommends. SFT ignores the other keys, and GRPO
passes them to its reward functions. A reflected row's target holds its wrong response, the reflection and the
final answer.
"""

from __future__ import annotations

from paqa.dataset.shards import SPLITS
from paqa.publish.export.job import Job
from paqa.rationale.prompt import answer, literal, prompt

__all__ = ["AUDIO", "SPLITS", "export"]

AUDIO = "flac"


def export(job: Job) -> None:
    """Write `train.jsonl`, ... and `audio/`."""
    with job.lists("{split}.jsonl") as add:
        for row in job.rows():
            item = row.item
            messages = [
                {"role": "user", "content": f"<audio>{prompt(item)}"},
                {"role": "assistant", "content": literal(item.rationale)},
            ]
            columns = {"id": item.id, "task": item.task, "reflected": item.reflected}
            audios = [job.absolute(job.save(row))]
            add(item.split, {"messages": messages, "audios": audios, "solution": answer(item), **columns})
