"""MUSAN (Snyder, Chen and Povey, 2015): music, speech and noise.

`path` is the corpus: `music/*/`, `noise/*/` and `speech/*/` with .wav files, a `LICENSE` in each folder
(blocks divided by lines of `=`, each naming its files and their licence, or one statement about all) and
`ANNOTATIONS` (of music: file, genres, vocals Y/N, artist, composer).

Music is one whole-file event "Music". Noise has no truth: its files are of many kinds, and the corpus gives
titles of some but classes of none. As a bed under a dialogue (`bed` of a mix with `answers = "heard"`) it
needs none. Speech has no truth either: there are no transcripts. The group is the artist of music, else the
file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paqa import audioset
from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.licensing.identify import spdx
from paqa.sources.registry import parameters, quarantined
from paqa.sources.truth import WHOLE_FILE
from paqa.storage import text_files
from paqa.types import Event, Quarantined, Recording, Scene

MUSIC = "/m/04rlf"
Part = Literal["music", "noise", "speech"]
FILE = re.compile(r"(?:music|noise|speech)-[\w-]+-\d+")


@dataclass(frozen=True)
class MUSANParams:
    """`parts` to read; without `vocals`, music that is sung or not annotated is left out."""

    parts: tuple[Part, ...] = ("music", "noise", "speech")
    vocals: bool = True


PARAMS = MUSANParams  # what the registry checks `params` with


@dataclass(frozen=True)
class _Folder:
    """The texts beside some files: licence blocks, the one that is about all files, and annotations."""

    licenses: dict[str, str]
    common: str | None
    annotations: dict[str, list[str]]


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """One recording a file, part by part in order of path. Raises PaqaError where a part is missing or empty.

    A file that its LICENSE does not name, or whose licence is not understood, is quarantined unless the
    recipe says which licence such rows have.
    """
    params = parameters(config, MUSANParams)
    for part in params.parts:
        folders = sorted(path for path in (folder / part).glob("*") if path.is_dir())
        if not any(next(path.glob("*.wav"), None) for path in folders):
            expected = "expected folders of .wav files, e.g. noise/free-sound"
            raise PaqaError(f"source {config.name!r}: {folder / part} holds no recordings; {expected}")
        for subfolder in folders:
            texts = _texts(subfolder)
            for path in sorted(subfolder.glob("*.wav")):
                if (
                    part != "music"
                    or params.vocals
                    or texts.annotations.get(path.stem, ["", "", "Y"])[2:3] == ["N"]
                ):
                    yield _recording(config, part, path, folder, texts)


def _texts(folder: Path) -> _Folder:
    text = _read(folder / "LICENSE")
    blocks = [block.strip() for block in re.split(r"^=+\s*$", text, flags=re.MULTILINE) if block.strip()]
    licenses: dict[str, str] = {}
    for block in blocks:
        for name in FILE.findall(block):
            licenses.setdefault(name, block)
    common = blocks[0] if len(blocks) == 1 and not licenses else None
    rows = [line.split() for line in text_files.lines(_read(folder / "ANNOTATIONS"))]
    return _Folder(licenses, common, {row[0]: row for row in rows})


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig", errors="replace")
    except OSError:
        return ""


def _recording(
    config: SourceConfig, part: str, path: Path, folder: Path, texts: _Folder
) -> Recording | Quarantined:
    uri = path.relative_to(folder).as_posix()
    try:
        license = _license(config, path, texts)
    except Rejected as error:
        return quarantined(path.stem, error, uri)
    artist = texts.annotations.get(path.stem, [])[3:4] if part == "music" else []
    event = Event(0, WHOLE_FILE, audioset.label(MUSIC), MUSIC)
    return Recording(
        id=path.stem,
        uri=uri,
        source=f"{config.name} {path.parent.name}",
        license=license,
        groups=(f"{config.name}-{artist[0]}" if artist else path.stem,),
        truth=Scene(path.stem, 0, events=(event,)) if part == "music" else None,
        author=artist[0].replace("_", " ") if artist else "",
    )


def _license(config: SourceConfig, path: Path, texts: _Folder) -> str:
    block = texts.licenses.get(path.stem) or texts.common
    license = spdx(block) if block else None
    if license or config.license != "unknown":
        return license or config.license
    where = f"{path.parent.name}/LICENSE"
    problem = (
        f"{where} states no known licence for {path.stem}" if block else f"{where} does not name {path.stem}"
    )
    raise Rejected(
        "no_license", f"{problem}; set `license` of the source in the recipe to use it all the same"
    )
