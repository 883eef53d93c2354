"""What every exporter is given: rows in a stream, audio files written once, text files, and the counts."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from paqa.dataset import shards
from paqa.errors import PaqaError
from paqa.types import Item, Scene, Split

AUDIO = ("flac", "wav")
SCENES = ("rows", "truth", "heard")
Line = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class ExportRow:
    """One row of the build with its audio as stored, FLAC."""

    item: Item
    flac: bytes
    name: str  # of the audio file, without ending: safe for paths, and one for each clip


@dataclass
class Job:
    """One export. `out` is its final place, absolute; `part` is where it is written meanwhile."""

    folder: Path
    out: Path
    part: Path
    splits: tuple[Split, ...]
    audio: str
    scenes: str
    written: Counter[str] = field(default_factory=Counter)  # rows by split
    skipped: Counter[str] = field(default_factory=Counter)  # rows by reason
    names: dict[str, str] = field(default_factory=dict)  # clip id -> audio name
    taken: set[str] = field(default_factory=set)
    saved: set[str] = field(default_factory=set)
    _scenes: dict[str, Scene | None] = field(default_factory=dict)

    def rows(self) -> Iterator[ExportRow]:
        """The rows of the chosen splits, in the order of the shards; one row group is in memory at a time."""
        for path in shards.files(self.folder):
            if path.name.partition("-")[0] not in self.splits:
                continue
            file = shards.open_shard(path)
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group).to_pylist():
                    item = shards.item(row)
                    name = self._name(item.clip_id, row["audio"]["path"])
                    yield ExportRow(item, row["audio"]["bytes"], name)

    def _name(self, clip_id: str, path: str) -> str:
        """The clip's file name; a second clip whose id differs in odd characters only gets a number."""
        if clip_id not in self.names:
            plain = re.sub(r"[^\w.@~-]", "_", str(path).rpartition(".")[0])[:200]
            stem = plain.lstrip(".") or "clip"  # "../../x" may not lead out of the folder
            free = (f"{stem}~{n}" if n else stem for n in count())
            self.names[clip_id] = next(name for name in free if name not in self.taken)
            self.taken.add(self.names[clip_id])
        return self.names[clip_id]

    def save(self, row: ExportRow) -> str:
        """Write the row's audio, once a clip; returns its path below `out`, `audio/NAME.flac`."""
        path = f"audio/{row.name}.{self.audio}"
        if row.name not in self.saved:
            self.saved.add(row.name)
            (self.part / "audio").mkdir(exist_ok=True)
            (self.part / path).write_bytes(row.flac if self.audio == "flac" else wav(row.flac))
        return path

    def absolute(self, path: str) -> str:
        """The final place of a path below `out`."""
        return str(self.out / path)

    @contextmanager
    def lists(self, name: str) -> Iterator[Callable[[Split, dict[str, Any]], None]]:
        """Write JSON lines into one file a split, `name` with `{split}` in it; each line counts as a row."""
        files: dict[str, Any] = {}

        def add(split: Split, value: dict[str, Any]) -> None:
            if split not in files:
                files[split] = (self.part / name.format(split=split)).open("w", encoding="utf-8")
            files[split].write(json.dumps(value, ensure_ascii=False) + "\n")
            self.written[split] += 1

        try:
            yield add
        finally:
            for file in files.values():
                file.close()

    def clips(self) -> Iterator[tuple[ExportRow, Scene]]:
        """Each clip once, as its first row, with its scene; clips without one are skipped."""
        seen: set[str] = set()
        for row in self.rows():
            if row.item.clip_id in seen:
                continue
            seen.add(row.item.clip_id)
            scene = self.scene(row.item)
            if scene is None:
                self.skipped[f"no_{self.scenes}"] += 1
                continue
            self.written[row.item.split] += 1
            yield row, scene

    def scene(self, item: Item) -> Scene | None:
        """The row's scene, the clip's truth (None without) or its prediction, by the job's choice.

        PaqaError where the build's tables or store are gone.
        """
        if self.scenes == "rows":
            return item.scene
        if item.clip_id not in self._scenes:
            # only this one: rows of a clip follow each other
            self._scenes = {item.clip_id: self._stored_scene(item.clip_id)}
        return self._scenes[item.clip_id]

    def _stored_scene(self, clip_id: str) -> Scene | None:
        from paqa.perception import scenes

        recipe, store, clips = self._opened
        clip = clips.get(clip_id)
        if clip is None:
            raise PaqaError(
                f"{self.folder}: clips.parquet lacks {clip_id!r}, which the shards hold; build again"
            )
        return clip.truth if self.scenes == "truth" else scenes.predicted_scene(clip, recipe, store)

    @cached_property
    def _opened(self) -> Any:
        from paqa.dataset.open_build import open_build

        recipe, store, clips = open_build(self.folder)
        return recipe, store, {clip.id: clip for clip in clips}


def wav(flac: bytes) -> bytes:
    """The same 16-bit samples as a WAV file."""
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(flac), dtype="int16", always_2d=True)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
