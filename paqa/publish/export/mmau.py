"""MMAU: its JSON list and audio folder, so that its scorer runs on our test split.

Layout and scorer: Sakshi113/MMAU, mmau-test-mini.json and evaluation.py (arXiv 2410.19168). The scorer reads
the predictions from the key `model_output` (its README says `model_prediction`) and knows the tasks sound,
music and speech and the difficulties easy, medium and hard.
"""

from __future__ import annotations

import json

from paqa.publish.export.benchmark import judged, subject
from paqa.publish.export.job import Job
from paqa.types import Item, Split

AUDIO = "wav"
SPLITS: tuple[Split, ...] = ("test",)
LEVELS = ((0.25, "easy"), (0.5, "medium"))  # of Item.difficulty
# the other tasks are reasoning
EXTRACTION = ("content", "counting", "emotion", "sounds", "speakers", "translation")


def export(job: Job) -> None:
    """Write `mmau-test.json` (named after the splits) and `audio/`."""
    name = f"mmau-{'-'.join(job.splits)}.json"
    with (job.part / name).open("w", encoding="utf-8") as file:
        for row in judged(job):
            item = row.item
            value = {
                "id": item.id,
                "audio_id": f"./{job.save(row)}",
                "question": item.question,
                "choices": list(item.choices),
                "answer": item.answer,
                "dataset": "PAQA",
                "task": subject(item),
                "split": item.split,
                "category": "Information Extraction" if item.task in EXTRACTION else "Reasoning",
                "sub-category": item.task,
                "difficulty": difficulty(item),
            }
            file.write(",\n" if job.written else "[\n")
            file.write(json.dumps(value, ensure_ascii=False))
            job.written[item.split] += 1
        file.write("\n]\n")


def difficulty(item: Item) -> str:
    """Easy below 0.25, medium below 0.5, else hard."""
    return next((name for limit, name in LEVELS if item.difficulty < limit), "hard")
