"""A folder of audio with reference annotations: RTTM (who speaks when), STM (who says what), CTM (single
words).

The annotations lie anywhere below the folder, one file a recording or one for many; a line is about the audio
file whose name, without its ending, it states. An annotation about one recording only, called like the audio
file, counts whatever name it states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.sources import folder as folder_source
from paqa.sources.folder import files_below, is_audio, safe_id
from paqa.sources.registry import Said, linked, numbered, parameters, quarantined
from paqa.sources.rttm_stm_ctm import Annotation, attach, ctm_line, parse, rttm_line, spoken, stm_line
from paqa.types import Quarantined, Recording, Scene, Word

KINDS = (".rttm", ".stm", ".ctm")
T = TypeVar("T")


@dataclass(frozen=True)
class Params:
    """`speakers` says whether one name is one person in all of the corpus, or only in its recording ("spk1").

    Recordings that share a speaker of the corpus are one group.
    """

    speakers: Literal["corpus", "recording"] = "corpus"
    language: str | None = None


@dataclass
class _Annotations:
    """What all annotation files say, by name of the recording."""

    rttm: dict[str, list[Said]] = field(default_factory=dict)
    stm: dict[str, list[Said]] = field(default_factory=dict)
    ctm: dict[str, list[Word]] = field(default_factory=dict)

    def names(self) -> set[str]:
        return {*self.rttm, *self.stm, *self.ctm}


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """One recording an audio file, in order of path; broken annotations first.

    An audio file that no annotation is about, and an annotation without audio, are quarantined.
    Raises PaqaError where the folder holds no audio or no annotation.
    """
    params = parameters(config, Params)
    files = files_below(folder)
    audio, texts = [f for f in files if is_audio(f)], [f for f in files if f.lower().endswith(KINDS)]
    if not audio or not texts:
        found = f"{len(audio)} audio files and {len(texts)} of {' '.join(KINDS)}"
        raise PaqaError(
            f"source {config.name!r}: {folder} holds {found}; expected both, correct `path` in the recipe"
        )
    known = _Annotations()
    for uri in texts:
        try:
            yield from _read(uri, folder, {PurePosixPath(path).stem for path in audio}, known)
        except Rejected as error:
            yield quarantined(uri, error, uri)
    scenes: dict[str, Scene] = {}
    wrong: dict[str, Rejected] = {}
    for uri in audio:
        try:
            if PurePosixPath(uri).stem in known.names():
                scenes[uri] = _scene(uri, known, params)
        except Rejected as error:
            wrong[uri] = Rejected(error.reason, f"{uri}: {error.detail}")
    groups = _groups(scenes, known) if params.speakers == "corpus" else {}
    for uri in audio:
        name = safe_id(uri)
        if uri in wrong:
            yield quarantined(name, wrong[uri], uri)
            continue
        if uri not in scenes:
            detail = f"{uri}: no annotation is about {PurePosixPath(uri).stem!r}; a source of type folder needs none"
            yield quarantined(name, Rejected("no_reference", detail), uri)
            continue
        yield Recording(
            name, uri, config.name, config.license, groups=(groups.get(uri, name),), truth=scenes[uri],
            voice=_voice(uri, known, groups),
        )  # fmt: skip
    for name in sorted(known.names() - {PurePosixPath(uri).stem for uri in audio}):
        detail = f"annotations are about {name!r}, but no audio file below {folder} is called so; add it"
        yield quarantined(name, Rejected("missing_file", detail), name)


def skipped(config: SourceConfig, folder: Path) -> str:
    """What the folder holds besides audio and annotations; empty where there is nothing."""
    return folder_source.skipped(config, folder, KINDS)


def _read(uri: str, folder: Path, stems: set[str], known: _Annotations) -> list[Quarantined]:
    """Add what a file says; the rows are those of its lines that are left out or cut."""
    kind = PurePosixPath(uri).suffix.lower()
    if kind == ".rttm":
        return _add(known.rttm, parse(uri, folder, rttm_line), uri, stems)
    if kind == ".stm":
        return _add(known.stm, parse(uri, folder, stm_line), uri, stems)
    return _add(known.ctm, parse(uri, folder, ctm_line), uri, stems)


def _add(all_of: dict[str, list[T]], more: Annotation[T], uri: str, stems: set[str]) -> list[Quarantined]:
    """An annotation about one recording that has another name counts for that of its own file where audio has
    it.
    """
    stem = PurePosixPath(uri).stem
    renamed = len(more.said) == 1 and stem in stems and stem not in more.said
    for name, values in more.said.items():
        all_of.setdefault(stem if renamed else name, []).extend(values)
    return [row for rows in more.odd.values() for row in rows]


def _said(uri: str, known: _Annotations) -> list[Said]:
    stem = PurePosixPath(uri).stem
    turns, texts = sorted(known.rttm.get(stem, [])), sorted(known.stm.get(stem, []))
    return attach(turns, texts) if turns else texts


def _scene(uri: str, known: _Annotations, params: Params) -> Scene:
    turns, words = spoken(numbered(_said(uri, known)), known.ctm.get(PurePosixPath(uri).stem, []))
    return Scene(safe_id(uri), 0, turns=turns, words=words, language=params.language)


def _groups(scenes: Mapping[str, Scene], known: _Annotations) -> dict[str, str]:
    return linked({uri: {turn.name for turn in _said(uri, known)} for uri in scenes})


def _voice(uri: str, known: _Annotations, groups: Mapping[str, str]) -> str | None:
    """The one speaker of a recording, where names hold for the corpus."""
    names = {turn.name for turn in _said(uri, known)}
    return names.pop() if len(names) == 1 and groups else None
