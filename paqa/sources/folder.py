"""Any folder of audio files, without truth."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.sources.paths import locate
from paqa.sources.registry import quarantined
from paqa.types import Quarantined, Recording

EXTENSIONS = (  # of everything that paqa.audio opens; names without an ending are looked up in this order
    ".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mka", ".mp3", ".mp4", ".oga", ".ogg",
    ".opus", ".wav", ".weba", ".webm", ".wma",
    ".3g2", ".3gp", ".aa3", ".ac3", ".adts", ".amr", ".ape", ".asf", ".avi", ".awb", ".bwf", ".dts", ".dtshd",
    ".eac3", ".ec3", ".f4a", ".f4v", ".flv", ".isma", ".ismv", ".latm", ".loas", ".m2a", ".m2ts", ".m4b",
    ".m4r", ".m4v", ".mac", ".mk3d", ".mkv", ".mov", ".mp1", ".mp2", ".mpa", ".mpc", ".mpeg", ".mpg", ".mpga",
    ".mts", ".nist", ".ogv", ".ogx", ".oma", ".omg", ".qt", ".ra", ".rf64", ".rm", ".rmvb", ".shn", ".snd",
    ".sph", ".spx", ".tak", ".thd", ".ts", ".tta", ".vob", ".voc", ".w64", ".wave", ".wmv", ".wv",
)  # fmt: skip
TEXTS = (".textgrid", ".eaf", ".lab", ".srt", ".vtt", ".txt")
READERS = {  # what may lie beside the audio, and how it gets into a build
    (".rttm", ".stm", ".ctm"): "a source of type references reads them",
    TEXTS: "a list of type jsonl takes their words as turns or text",
    (".jsonl",): "a source of type jsonl, questions or lhotse reads such a list",
    (".parquet",): "a source of type hub reads such a table",
}
MOST_ENDINGS = 12  # in one line
LONGEST_ID = 160


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """One recording for each audio file at any depth, in order of path; hidden files and folders are skipped.

    The group is the recording itself: a folder does not tell who speaks, so a speaker heard in several files
    may end up on both sides of the split. With `group = "folder"` it is the sub-folder that a file is in, at
    any depth (one folder a reader); files in no sub-folder stay alone. Else use a jsonl source with `group`.
    Raises PaqaError where the folder is missing or holds no audio file.
    """
    if not folder.is_dir():
        raise PaqaError(
            f"source {config.name!r}: {folder} is no folder; create it or correct `path` in the recipe"
        )
    empty = True
    for path in files_below(folder):
        if is_audio(path) or (folder / path).is_dir():
            empty = False
            yield _recording(config, folder, path)
    if empty:
        content = _listed(_endings(folder)) or "no file at all"
        expected = "expected sound or film, such as .wav .flac .mp3 .m4a .ogg .mkv"
        raise PaqaError(f"source {config.name!r}: {folder} holds no audio file, but {content}; {expected}")


def skipped(config: SourceConfig, folder: Path, read: tuple[str, ...] = ()) -> str:
    """What a folder holds besides audio and files with the endings `read`; empty where there is nothing."""
    counts = {ending: count for ending, count in _endings(folder).items() if ending not in read}
    if not counts:
        return ""
    present = [([e for e in endings if e in counts], text) for endings, text in READERS.items()]
    advice = [f"{' '.join(endings)}: {text}" for endings, text in present if endings]
    line = f"source {config.name!r}: skipped {_listed(counts)}, which are no audio"
    return "; ".join([line, *advice])


def _endings(folder: Path) -> Counter[str]:
    """How many files there are that are no audio, by ending."""
    names = (name for name in files_below(folder) if not is_audio(name) and not (folder / name).is_dir())
    return Counter(PurePosixPath(name).suffix.lower() for name in names)


def _listed(counts: Mapping[str, int]) -> str:
    """The counts as text, the highest first: "3 .pdf, 1 .docx"."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    texts = [f"{count} {ending or 'without an ending'}" for ending, count in ordered[:MOST_ENDINGS]]
    rest = sum(count for _, count in ordered[MOST_ENDINGS:])
    return ", ".join([*texts, *([f"{rest} others"] if rest else [])])


def is_audio(name: str) -> bool:
    """Whether a file is sound or film by its ending."""
    return name.lower().endswith(EXTENSIONS)


def files_below(folder: Path) -> list[str]:
    """Paths relative to the folder, sorted; hidden files and folders (macOS adds some) are left out.

    Links to folders are listed as if they were files where they lead out.
    """
    paths = []
    for top, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in files if not name.startswith(".")]
        names += [name for name in folders if _leads_out(Path(top, name), folder)]
        paths += [Path(top, name).relative_to(folder).as_posix() for name in names]
    return sorted(paths)


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
    """An id from a relative path: the path itself where it is plain, else cleaned up with its hash."""
    clean = re.sub(r"[^\w./-]", "_", path)[:LONGEST_ID]
    if clean == path:
        return path
    return f"{clean}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:10]}"
