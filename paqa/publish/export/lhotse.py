"""lhotse: recordings, supervisions (one a turn, with word times), and cuts with a question in `custom`.

Layout: lhotse's manifests as its `to_dict` writes them (lhotse-speech/lhotse, docs: corpus, cuts); audio
paths are absolute. `CutSet.from_file(OUT/cuts.jsonl.gz)` for questions, `CutSet.from_manifests(recordings,
supervisions)` for speech. `job.scenes` says whose turns and words these are.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import msgspec

from paqa.dataset.shards import SPLITS
from paqa.publish.export.job import ExportRow, Job
from paqa.types import Scene, Turn

__all__ = ["AUDIO", "SPLITS", "export"]

AUDIO = "flac"
KINDS = ("recordings", "supervisions", "cuts")


def export(job: Job) -> None:
    """Write `recordings.jsonl.gz`, `supervisions.jsonl.gz`, `cuts.jsonl.gz` and `audio/`."""
    with ExitStack() as stack:
        # without a time stamp in the header, the same build gives the same bytes
        raw = {kind: stack.enter_context((job.part / f"{kind}.jsonl.gz").open("wb")) for kind in KINDS}
        files = {k: stack.enter_context(gzip.GzipFile("", "wb", 6, f, mtime=0)) for k, f in raw.items()}
        for row, scene, first in _rows(job):
            recording = _recording(job, row)
            supervisions = list(_supervisions(scene, row.name, recording))
            if first:
                _add(files["recordings"], recording)
                for supervision in supervisions:
                    _add(files["supervisions"], supervision)
            _add(files["cuts"], _cut(row, scene, recording, supervisions))
            job.written[row.item.split] += 1


def _rows(job: Job) -> Iterator[tuple[ExportRow, Scene, bool]]:
    """All rows with their scenes, and whether the clip is met for the first time."""
    seen: set[str] = set()
    for row in job.rows():
        scene = job.scene(row.item)
        if scene is None:
            job.skipped[f"no_{job.scenes}"] += 1
            continue
        yield row, scene, row.name not in seen
        seen.add(row.name)


def _recording(job: Job, row: ExportRow) -> dict[str, Any]:
    import soundfile

    info = soundfile.info(io.BytesIO(row.flac))
    source = {"type": "file", "channels": list(range(info.channels)), "source": job.absolute(job.save(row))}
    return {
        "id": row.name,
        "sources": [source],
        "sampling_rate": info.samplerate,
        "num_samples": info.frames,
        "duration": info.frames / info.samplerate,
        "channel_ids": source["channels"],
    }


def _supervisions(scene: Scene, name: str, recording: dict[str, Any]) -> Iterator[dict[str, Any]]:
    channels = recording["channel_ids"]
    for n, turn in enumerate(scene.turns):
        end = min(turn.end_ms / 1000, recording["duration"])
        alignment = [
            [w.text, w.start_ms / 1000, round((w.end_ms - w.start_ms) / 1000, 3), w.score]
            for w in scene.words
            if _within(w, turn)
        ]
        yield {
            "id": f"{name}-{n}",
            "recording_id": name,
            "start": turn.start_ms / 1000,
            "duration": round(end - turn.start_ms / 1000, 8),
            "channel": channels[0] if len(channels) == 1 else channels,
            "text": turn.text,
            "speaker": f"{name}-speaker{turn.speaker}",
            **({"language": scene.language} if scene.language else {}),
            **({"alignment": {"word": alignment}} if alignment else {}),
        }


def _within(word: Any, turn: Turn) -> bool:
    """Whether a word is said in a turn, by its middle and its speaker."""
    middle = (word.start_ms + word.end_ms) / 2
    return word.speaker in (None, turn.speaker) and turn.start_ms <= middle < turn.end_ms


def _cut(
    row: ExportRow, scene: Scene, recording: dict[str, Any], supervisions: list[dict[str, Any]]
) -> dict[str, Any]:
    """The whole clip as a cut; it begins where the recording does, and so do times of supervisions."""
    item, channels = row.item, recording["channel_ids"]
    names = (
        "question",
        "choices",
        "answer",
        "answer_index",
        "task",
        "split",
        "rationale",
        "reflected",
        "mistaken",
        "license",
    )
    custom = {name: msgspec.to_builtins(getattr(item, name)) for name in names}
    custom["events"] = [
        {"start": e.start_ms / 1000, "end": e.end_ms / 1000, "label": e.label} for e in scene.events
    ]
    return {
        "id": item.id,
        "start": 0,
        "duration": recording["duration"],
        "channel": channels[0] if len(channels) == 1 else channels,
        "supervisions": supervisions,
        "recording": recording,
        "custom": custom,
        "type": "MonoCut" if len(channels) == 1 else "MultiCut",
    }


def _add(file: gzip.GzipFile, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
