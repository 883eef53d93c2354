"""Any folder of audio files, without truth."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from paqa.errors import PaqaError, Rejected
from paqa.recipe import SourceConfig
from paqa.sources import locate, quarantined
from paqa.types import Quarantined, Recording

EXTENSIONS = (
    ".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mka", ".mp3", ".mp4",
    ".oga", ".ogg", ".opus", ".wav", ".weba", ".webm", ".wma",
)  # fmt: skip
LONGEST_ID = 160


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """One recording for each audio file at any depth, in order of path; hidden files and folders are skipped.

    The group is the recording itself: a folder does not tell who speaks, so a speaker heard in several files may
    end up on both sides of the split. With `group = "folder"` it is the sub-folder that a file is in, at any depth
    (one folder a reader); files in no sub-folder stay alone. Else use a jsonl source with `group`.
    Raises PaqaError where the folder is missing or holds no audio file.
    """
    if not folder.is_dir():
        raise PaqaError(f"source {config.name!r}: {folder} is no folder; create it or correct `path` in the recipe")
    empty = True
    for path in _files(folder):
        empty = False
        yield _recording(config, folder, path)
    if empty:
        known = " ".join(EXTENSIONS)
        raise PaqaError(f"source {config.name!r}: {folder} holds no audio file; expected files ending in {known}")


def _files(folder: Path) -> list[str]:
    """Paths relative to the folder, sorted. Links to folders are listed as if they were files where they lead out."""
    found = []
    for top, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in files if not name.startswith(".") and name.lower().endswith(EXTENSIONS)]
        names += [name for name in folders if _leads_out(Path(top, name), folder)]
        found += [Path(top, name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def _leads_out(path: Path, folder: Path) -> bool:
    return path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())


def _recording(config: SourceConfig, folder: Path, path: str) -> Recording | Quarantined:
    name = safe_id(path)
    try:
        path.encode("utf-8")
        locate(path, folder)
    except UnicodeEncodeError:
        detail = f"{folder}: the name {os.fsencode(path)!r} is not UTF-8; rename the file"
        return quarantined(name, Rejected("bad_name", detail), path)
    except Rejected as error:
        return quarantined(name, error, path)
    top, _, below = path.partition("/")
    group = top if config.group == "folder" and below else name
    return Recording(name, path, config.name, config.license, groups=(group,), answers=config.answers)


def safe_id(path: str) -> str:
    """An id from a relative path alone: the path itself where it is plain, else cleaned up with a hash of it."""
    clean = re.sub(r"[^\w./-]", "_", path)[:LONGEST_ID]
    if clean == path:
        return path
    return f"{clean}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:10]}"
