"""What tasks of evaluation harnesses share: rows with their audio, the sound that is played, and the score.

The tasks that `lmms_eval` and `inspect_ai` write beside `rows.jsonl` call these functions where they run, so
that every harness asks the same questions and judges answers by the same rule.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from paqa.publish.export.job import Job
from paqa.rationale.answers import choice_in_free_text
from paqa.rationale.prompt import PromptQuestion, question

Hearing = Literal["audio", "silence", "another_clip"]
HEARINGS: dict[Hearing, str] = {
    "audio": "with the audio",
    "silence": "with silence of the same length",
    "another_clip": "with the audio of another clip",
}
ROWS = "rows.jsonl"


def write_rows(job: Job) -> tuple[Hearing, ...]:
    """Write `rows.jsonl` and `audio/`: all rows with choices, each with the audio of its clip and of another.

    Returns the ways to ask; where all rows are about one clip, there is no other.
    """
    rows: list[dict[str, Any]] = []
    for exported in job.rows():
        item = exported.item
        if item.answer_index is None:
            job.skipped["open_ended"] += 1
            continue
        text = question(PromptQuestion(item.id, item.question, item.choices, plain=True))
        columns = {"id": item.id, "prompt": text, "choices": list(item.choices), "answer": item.answer}
        labels = {"answer_index": item.answer_index, "task": item.task, "template": item.template}
        rows.append({**columns, **labels, "split": item.split, "audio": job.save(exported)})
        job.written[item.split] += 1
    others = _next_clip([row["audio"] for row in rows])
    with (job.part / ROWS).open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(
                json.dumps({**row, "other_audio": others.get(row["audio"])}, ensure_ascii=False) + "\n"
            )
    return tuple(name for name in HEARINGS if others or name != "another_clip")


def _next_clip(audio: list[str]) -> dict[str, str]:
    """For each file of audio the next one, for the last the first; {} for one alone."""
    clips = list(dict.fromkeys(audio))
    return dict(pairwise([*clips, *clips[:1]])) if len(clips) > 1 else {}


def samples(folder: Path, row: dict[str, Any], hearing: Hearing) -> dict[str, Any]:
    """What is played with a row: `array`, mono float32 in [-1, 1], and `sampling_rate` in Hz."""
    import numpy as np
    import soundfile

    path = folder / row["other_audio" if hearing == "another_clip" else "audio"]
    channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    array = channels.mean(1)
    return {"array": np.zeros_like(array) if hearing == "silence" else array, "sampling_rate": rate}


def score(row: dict[str, Any], completion: str) -> dict[str, float]:
    """`accuracy`: the right choice is named and no other; `unclear`: none is, or several; and `chance`."""
    named = choice_in_free_text(completion, row["choices"])
    return {
        "accuracy": float(named == row["answer_index"]),
        "unclear": float(named is None),
        "chance": 1 / len(row["choices"]),
    }
