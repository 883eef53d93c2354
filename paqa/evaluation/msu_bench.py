"""MSU-Bench (ASLP-lab/MSU-Bench, 2026): a folder of JSON files, each with the questions about one recording.

The folder is what its `merge_cn_en.py` writes: LANGUAGE/SCENARIO/LENGTH/SEGMENT/LEVEL/TASK.json, each with
`source_audio` and a list of questions after the times of its speakers. Questions that speak of no time
(`no_index`) are about parts of the recording: one that is about the first part of a speaker alone is asked
about this part; those that compare two parts, or a part with the whole, need several recordings at once.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paqa.errors import PaqaError, Rejected
from paqa.storage.store import write_atomically

LISTS = ("qa_result", "result", "questions")
FILE, PLACE, SPAN = "_file", "_place", "_span"  # of a question: its file, its place in the list, its seconds


def rows(folder: Path) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """Every question with its place; PaqaError where the folder holds no questions."""
    files = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    if not files:
        raise PaqaError(f"{folder}: expected the folder of JSON files that MSU-Bench's merge_cn_en.py writes")
    for path in files:
        where = path.relative_to(folder).as_posix()
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            yield where, Rejected("broken_json", f"no JSON: {error}; check it with `jq`")
            continue
        listed: list[dict[str, Any]] = next((content[name] for name in LISTS if content.get(name)), [])
        speakers: dict[str, Any] = next(
            (entry["speaker_meta"] for entry in listed if "speaker_meta" in entry), {}
        )
        for place, entry in enumerate(listed):
            if "question" in entry:
                yield f"{where}[{place}]", _row(content, entry, speakers, where, place)


def _row(
    content: dict[str, Any], entry: dict[str, Any], speakers: dict[str, Any], where: str, place: int
) -> dict[str, Any] | Rejected:
    """A question as a flat row; Rejected where it needs several recordings at once."""
    level = Path(where).parent.name
    row = {**entry, "id": f"{where}[{place}]", "audio_path": content.get("source_audio")}
    row |= {"task": Path(where).stem, FILE: where, PLACE: place}
    if entry.get("question_type") != "no_index":
        return row
    if entry.get("pair") or level != "level1":
        return Rejected("several_recordings", "asks about several parts of a recording; expected one")
    first = next(iter(speakers.get("spk_a") or next(iter(speakers.values()), [])), None)
    times = (first or {}).get("start_time"), (first or {}).get("end_time")
    if None in times:
        return Rejected("bad_row", "asks about a part of a speaker; found no start_time and end_time of it")
    return {**row, SPAN: times}


def write(folder: Path, rows: list[dict[str, Any]], key: str) -> None:
    """The same files with their questions, each with its answer: what `summarize.py` reads."""
    by_file: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_file[row[FILE]].append(row)
    for name, entries in by_file.items():
        ordered = sorted(entries, key=lambda row: int(row[PLACE]))
        shown = [{k: v for k, v in row.items() if k not in (FILE, PLACE, SPAN)} for row in ordered]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        body = json.dumps({"qa_result": shown}, ensure_ascii=False, indent=1)
        write_atomically(folder / name, body.encode("utf-8", "replace"))
