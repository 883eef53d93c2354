"""Inspect AI: three tasks that ask any of its models with audio input our questions.

Layout: UKGovernmentBEIS/inspect_ai 0.3, tasks and `ContentAudio`. The tasks ask with the audio, with silence
of the same length, and with the audio of another clip. Its environment needs paqa without extras.

    inspect eval OUT/paqa_tasks.py --model google/... (or @audio, @silence, @another_clip for one of them)
"""

from __future__ import annotations

import base64
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

from paqa.publish.export import harness
from paqa.publish.export.job import Job
from paqa.types import Split

AUDIO = "wav"
SPLITS: tuple[Split, ...] = ("test",)
TASKS = "paqa_tasks.py"

HEAD = '''\
"""PAQA's questions for Inspect AI; paqa has to be installed in its environment."""

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.scorer import Score, mean, scorer, stderr
from inspect_ai.solver import generate

from paqa.publish.export import harness
from paqa.publish.export.inspect_ai import samples

FOLDER = Path(__file__).parent


@scorer(metrics={"accuracy": [mean(), stderr()], "unclear": [mean()], "chance": [mean()]})
def named_choice():
    async def score(state, target):
        completion = state.output.completion
        return Score(value=harness.score(state.metadata, completion), answer=completion)

    return score
'''
TASK = """\


@task
def {hearing}():
    return Task(samples(FOLDER, "{hearing}"), solver=generate(), scorer=named_choice())
"""


def export(job: Job) -> None:
    """Write `rows.jsonl`, `audio/` and `paqa_tasks.py`."""
    hearings = harness.write_rows(job)
    tasks = HEAD + "".join(TASK.format(hearing=hearing) for hearing in hearings)
    (job.part / TASKS).write_text(tasks, encoding="utf-8")


def samples(folder: Path, hearing: harness.Hearing) -> list[Any]:
    """Inspect's samples of an exported folder; the row is the sample's metadata."""
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageUser, ContentAudio, ContentText

    sound = cache(lambda path: _silence(folder / path))
    lines = (folder / harness.ROWS).read_text(encoding="utf-8").splitlines()
    result = []
    for row in map(json.loads, lines):
        path = row["other_audio" if hearing == "another_clip" else "audio"]
        audio = sound(path) if hearing == "silence" else str(folder / path)
        content = [ContentAudio(audio=audio, format="wav"), ContentText(text=row["prompt"])]
        message = ChatMessageUser(content=content)
        result.append(Sample(input=[message], target=row["answer"], id=row["id"], metadata=row))
    return result


def _silence(path: Path) -> str:
    """Silence as long as a WAV file, of its sampling rate, as a data URI."""
    import numpy as np
    import soundfile

    info, buffer = soundfile.info(path), io.BytesIO()
    soundfile.write(buffer, np.zeros(info.frames, np.int16), info.samplerate, format="WAV", subtype="PCM_16")
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"
