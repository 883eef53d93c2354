"""FSD50K (Fonseca et al., 2022): Freesound clips with AudioSet classes.

`path` is a folder with `FSD50K.ground_truth/` (dev.csv, eval.csv, vocabulary.csv), `FSD50K.dev_audio/`,
`FSD50K.eval_audio/` and, for licences and uploaders, `FSD50K.metadata/` (dev_clips_info_FSD50K.json and that
of eval).

Labels say that a class is heard in a clip, not when: each becomes one event over the whole file, and only the
most specific ones do ("Dog" is dropped beside "Bark"). They are complete in eval only; in dev a clip may hold
more. Nothing is said about speech but by its classes, so truth alone never answers. The group is the
uploader, else the clip.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from paqa import audioset
from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.licensing.identify import spdx
from paqa.sources import json_reading, tables
from paqa.sources.paths import locate
from paqa.sources.registry import parameters, quarantined
from paqa.sources.truth import WHOLE_FILE, in_order
from paqa.storage import text_files
from paqa.types import Event, Quarantined, Recording, Scene

COLUMNS = ("fname", "labels", "mids")


@dataclass(frozen=True)
class FSD50KParams:
    """`skip` names classes whose clips, and those of their subclasses, are left out: by default all speech.

    As background under a dialogue, speech would be turns that the truth does not know.
    """

    splits: tuple[Literal["dev", "eval"], ...] = ("dev", "eval")
    skip: tuple[str, ...] = ("Speech",)


PARAMS = FSD50KParams  # what the registry checks `params` with


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """One recording a clip, in order of the tables. Raises PaqaError where a table is missing or broken."""
    params = parameters(config, FSD50KParams)
    skipped = {audioset.mid(label) for label in params.skip}
    vocabulary = _vocabulary(config, folder / "FSD50K.ground_truth" / "vocabulary.csv")
    for split in params.splits:
        clips = _clips(config, folder / "FSD50K.metadata" / f"{split}_clips_info_FSD50K.json")
        for row in tables.rows(folder / "FSD50K.ground_truth" / f"{split}.csv", config.name, COLUMNS):
            try:
                mids = _mids(row, vocabulary)
                if not any(skipped & {mid, *audioset.ancestors(mid)} for mid in mids):
                    yield _recording(config, folder, split, row, mids, clips)
            except Rejected as error:
                yield quarantined(row.where, error, row.content)


def _vocabulary(config: SourceConfig, path: Path) -> set[str]:
    """The machine ids of the corpus, from lines `index,label,mid`; empty where the file is not there."""
    try:
        rows = text_files.lines(text_files.decode_text(path.read_bytes()))
    except FileNotFoundError:
        return set()
    except (OSError, ValueError) as error:
        raise PaqaError(f"source {config.name!r}: {path} cannot be read ({error}); unpack it again") from None
    return {row.rsplit(",", 1)[-1].strip() for row in rows}


def _clips(config: SourceConfig, path: Path) -> dict[str, Any]:
    """What Freesound says about the clips of a split, by their number; {} where the file is not there."""
    try:
        if not path.is_file():
            return {}
        clips = json.loads(json_reading.whole(path, f"source {config.name!r}: {path}", "unpack it again"))
    except (ValueError, RecursionError) as error:
        raise PaqaError(f"source {config.name!r}: {path} cannot be read ({error}); unpack it again") from None
    if not isinstance(clips, dict):
        raise PaqaError(f"source {config.name!r}: {path} holds no object; expected clips by their number")
    return clips


def _mids(row: tables.TableRow, vocabulary: set[str]) -> list[str]:
    """A clip's most specific classes."""
    mids = row["mids"].split(",")
    for mid in mids:
        try:
            audioset.label(mid)
        except PaqaError:
            raise Rejected(
                "unknown_class", f"{row.where}: {mid!r} is no AudioSet id; correct the row"
            ) from None
        if vocabulary and mid not in vocabulary:
            raise Rejected(
                "unknown_class", f"{row.where}: {mid!r} is not in vocabulary.csv; correct one of the two"
            )
    implied = frozenset[str]().union(*(audioset.ancestors(mid) for mid in mids))
    return [mid for mid in dict.fromkeys(mids) if mid not in implied]


def _recording(
    config: SourceConfig,
    folder: Path,
    split: str,
    row: tables.TableRow,
    mids: list[str],
    clips: dict[str, Any],
) -> Recording:
    name = row["fname"]
    uri = f"FSD50K.{split}_audio/{name}.wav"
    if not locate(uri, folder).is_file():
        raise Rejected(
            "missing_file", f"{row.where}: {uri} does not exist; unpack the audio of {split} there"
        )
    clip = clips.get(name)
    clip = clip if isinstance(clip, dict) else {}
    license, uploader = str(clip.get("license") or ""), str(clip.get("uploader") or "")
    events = in_order(Event(0, WHOLE_FILE, audioset.label(mid), mid) for mid in mids)
    return Recording(
        id=name,
        uri=uri,
        source=config.name,
        license=spdx(license) or license or config.license,
        groups=(f"{config.name}-{uploader or name}",),
        truth=Scene(name, 0, events=events),
        author=uploader,
    )
