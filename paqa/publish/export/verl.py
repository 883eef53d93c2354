"""verl: one JSONL file a split for `data.train_files`, and the reward for its GRPO.

Layout: verl-project/verl, verl/utils/dataset/rl_dataset.py (`prompt`, `audios`) and its reward managers
(`data_source`, `reward_model.ground_truth`, `extra_info`). The prompt is that of `paqa-train`, so that the
completion is a rationale; what a reward compares it with is in `extra_info`, never in the prompt.

    data.train_files=OUT/train.jsonl data.audio_key=audios
    reward.custom_reward_function.path=.../paqa/publish/export/verl.py

SFT in verl reads other columns; for that, export swift or llamafactory.
"""

from __future__ import annotations

from typing import Any

import msgspec

from paqa.dataset.shards import SPLITS
from paqa.publish.export.job import Job
from paqa.rationale.prompt import PromptQuestion, answer, question
from paqa.rationale.rewards import Reference, terms

__all__ = ["AUDIO", "SPLITS", "compute_score", "export"]

AUDIO = "flac"


def export(job: Job) -> None:
    """Write `train.jsonl`, ... and `audio/`.

    `extra_info.reference` is JSON text: `datasets` would pad its lists.
    """
    with job.lists("{split}.jsonl") as add:
        for row in job.rows():
            item = row.item
            reference = msgspec.json.encode(Reference.of(item)).decode()
            columns = {
                "data_source": "paqa",
                "prompt": [{"role": "user", "content": f"<audio>{question(PromptQuestion.of(item))}"}],
                "audios": [job.absolute(job.save(row))],
                "ability": item.task,
                "reward_model": {"style": "rule", "ground_truth": answer(item)},
                "extra_info": {"id": item.id, "split": item.split, "reference": reference},
            }
            add(item.split, columns)


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any], **_: Any
) -> dict[str, float]:
    """The terms of `paqa.rationale.rewards` and their sum as `score`: a custom reward function of verl.

    Length is left out: verl has penalties of its own.
    """
    scores = terms(solution_str, msgspec.json.decode(extra_info["reference"], type=Reference))
    return {"score": scores.pop("reward")} | {name: x for name, x in scores.items() if name != "length"}
