"""MMAR: its JSONL and audio folder, so that its scorer runs on our test split.

Layout and scorer: ddlBoJack/MMAR, MMAR-meta.jsonl and code/evaluation.py (arXiv 2505.13032). The scorer reads
the predictions from the key `answer_prediction` and knows seven modalities and four layers. `thinking` is the
reference reasoning; its rubric scorer also wants `cue` and `rubric`, which we do not have.
"""

from __future__ import annotations

from paqa.publish.export.benchmark import judged, modality
from paqa.publish.export.job import Job
from paqa.rationale import grammar
from paqa.types import Split

AUDIO = "wav"
SPLITS: tuple[Split, ...] = ("test",)
SEMANTIC = ("content", "dialogue", "emotion", "speakers", "translation")
# the other tasks are of the perception layer
LAYERS = {"prosody": "Signal Layer"} | dict.fromkeys(SEMANTIC, "Semantic Layer")


def export(job: Job) -> None:
    """Write `MMAR-meta.test.jsonl`, ... and `audio/`."""
    with job.lists("MMAR-meta.{split}.jsonl") as add:
        for row in judged(job):
            item = row.item
            trace = grammar.trace_of(item)
            value = {
                "id": item.id,
                "audio_path": f"./{job.save(row)}",
                "question": item.question,
                "choices": list(item.choices),
                "answer": item.answer,
                "modality": modality(item.scene),
                "category": LAYERS.get(item.task, "Perception Layer"),
                "sub-category": item.task,
                "language": item.scene.language,
                "source": item.source,
                "url": None,
                "timestamp": None,
                "thinking": trace.reflect or trace.reasoning,
            }
            add(item.split, value)
