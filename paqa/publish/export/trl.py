"""TRL: conversational prompts whose content holds the audio, and the columns that a reward needs.

Layout: huggingface/trl, docs/source/dataset_formats.md ("Prompt-only", "Conversational"); columns beside
`prompt` reach the reward functions as keyword arguments (docs/source/grpo_trainer.md). `completion` makes the
same file one for SFT.

    rows = load_dataset("json", data_files="train.jsonl")
    GRPOTrainer(..., reward_funcs=paqa.publish.export.trl.reward, train_dataset=rows)

References are in the columns alone, never in the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from paqa.dataset.shards import SPLITS
from paqa.publish.export.job import Job
from paqa.rationale import rewards
from paqa.rationale.prompt import prompt
from paqa.rationale.rewards import Reference

__all__ = ["AUDIO", "SPLITS", "export", "reward"]

AUDIO = "flac"


def export(job: Job) -> None:
    """Write `train.jsonl`, ... and `audio/`.

    `reference` is JSON text: `datasets` would pad its lists.
    """
    with job.lists("{split}.jsonl") as add:
        for row in job.rows():
            item = row.item
            audio = {"type": "audio", "audio": job.absolute(job.save(row))}
            prompt_messages = [{"role": "user", "content": [audio, {"type": "text", "text": prompt(item)}]}]
            completion = [{"role": "assistant", "content": [{"type": "text", "text": item.rationale}]}]
            columns: dict[str, Any] = {"prompt": prompt_messages, "completion": completion}
            columns["reference"] = msgspec.json.encode(Reference.of(item)).decode()
            for name in ("id", "task", "answer", "reflected", "mistaken"):
                columns[name] = getattr(item, name)
            add(item.split, columns)


def reward(completions: Sequence[Any], *, reference: Sequence[str], **_: Any) -> list[float]:
    """`paqa.rationale.rewards.reward` as a reward function of TRL: one value a completion."""
    return [
        rewards.reward(_text(completion), msgspec.json.decode(text, type=Reference))
        for completion, text in zip(completions, reference, strict=True)
    ]


def _text(completion: Any) -> str:
    """The text of a completion: it is text, or messages with text or blocks of text."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
