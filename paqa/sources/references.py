"""A folder of audio with RTTM (who speaks when), STM (who says what) and CTM (single words) annotations.

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
from paqa.sources.groups import groups_by_speaker
from paqa.sources.registry import parameters, quarantined
from paqa.sources.rttm_stm_ctm import (
    Annotation,
    assign_words,
    attach_texts,
    ctm_line,
    parse,
    rttm_line,
    stm_line,
)
from paqa.sources.truth import NamedTurn, numbered
from paqa.types import Quarantined, Recording, Scene, Word

KINDS = (".rttm", ".stm", ".ctm")
T = TypeVar("T")


@dataclass(frozen=True)
class ReferencesParams:
    """`speakers` says whether one name is one person in all of the corpus, or only in its recording ("spk1").

    Recordings that share a speaker of the corpus are one group.
    """

    speakers: Literal["corpus", "recording"] = "corpus"
    language: str | None = None


PARAMS = ReferencesParams  # what the registry checks `params` with


@dataclass
class _Annotations:
    """The entries of all annotation files, by name of the recording."""

    rttm: dict[str, list[NamedTurn]] = field(default_factory=dict)
    stm: dict[str, list[NamedTurn]] = field(default_factory=dict)
    ctm: dict[str, list[Word]] = field(default_factory=dict)

    def names(self) -> set[str]:
        return {*self.rttm, *self.stm, *self.ctm}


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """One recording an audio file, in order of path; broken annotations first.

    An audio file that no annotation is about, and an annotation without audio, are quarantined.
    Raises PaqaError where the folder holds no audio or no annotation.
    """
    params = parameters(config, ReferencesParams)
    files = files_below(folder)
    audio, texts = [f for f in files if is_audio(f)], [f for f in files if f.lower().endswith(KINDS)]
    if not audio or not texts:
        counts = f"{len(audio)} audio files and {len(texts)} of {' '.join(KINDS)}"
        raise PaqaError(
            f"source {config.name!r}: {folder} holds {counts}; expected both, correct `path` in the recipe"
        )
    annotations = _Annotations()
    stems = {PurePosixPath(uri).stem for uri in audio}
    for uri in texts:
        try:
            yield from _read(uri, folder, stems, annotations)
        except Rejected as error:
            yield quarantined(uri, error, uri)
    scenes: dict[str, Scene] = {}
    wrong: dict[str, Rejected] = {}
    for uri in audio:
        try:
            if PurePosixPath(uri).stem in annotations.names():
                scenes[uri] = _scene(uri, annotations, params)
        except Rejected as error:
            wrong[uri] = Rejected(error.reason, f"{uri}: {error.detail}")
    groups = _groups(scenes, annotations) if params.speakers == "corpus" else {}
    for uri in audio:
        name = safe_id(uri)
        if uri in scenes:
            voice, group = _voice(uri, annotations, groups), groups.get(uri, name)
            yield Recording(
                name, uri, config.name, config.license, groups=(group,), truth=scenes[uri], voice=voice
            )
        elif uri in wrong:
            yield quarantined(name, wrong[uri], uri)
        else:
            stem = PurePosixPath(uri).stem
            detail = f"{uri}: no annotation is about {stem!r}; a source of type folder needs none"
            yield quarantined(name, Rejected("no_reference", detail), uri)
    for name in sorted(annotations.names() - stems):
        detail = f"annotations are about {name!r}, but no audio file below {folder} is called so; add it"
        yield quarantined(name, Rejected("missing_file", detail), name)


def skipped(config: SourceConfig, folder: Path) -> str:
    """What the folder holds besides audio and annotations; empty where there is nothing."""
    return folder_source.skipped(config, folder, KINDS)


def _read(uri: str, folder: Path, stems: set[str], annotations: _Annotations) -> list[Quarantined]:
    """Add the entries of a file; returns rows for its lines that are left out or cut."""
    kind = PurePosixPath(uri).suffix.lower()
    if kind == ".rttm":
        return _add(annotations.rttm, parse(uri, folder, rttm_line), uri, stems)
    if kind == ".stm":
        return _add(annotations.stm, parse(uri, folder, stm_line), uri, stems)
    return _add(annotations.ctm, parse(uri, folder, ctm_line), uri, stems)


def _add(
    all_of: dict[str, list[T]], annotation: Annotation[T], uri: str, stems: set[str]
) -> list[Quarantined]:
    """Add the entries of an annotation; returns rows for its lines that are left out or cut.

    An annotation about one recording that has another name counts for the audio file called like it.
    """
    stem = PurePosixPath(uri).stem
    renamed = len(annotation.entries) == 1 and stem in stems and stem not in annotation.entries
    for name, values in annotation.entries.items():
        all_of.setdefault(stem if renamed else name, []).extend(values)
    return [row for rows in annotation.problem_rows.values() for row in rows]


def _named_turns(uri: str, annotations: _Annotations) -> list[NamedTurn]:
    stem = PurePosixPath(uri).stem
    turns, texts = sorted(annotations.rttm.get(stem, [])), sorted(annotations.stm.get(stem, []))
    return attach_texts(turns, texts) if turns else texts


def _scene(uri: str, annotations: _Annotations, params: ReferencesParams) -> Scene:
    turns, words = assign_words(
        numbered(_named_turns(uri, annotations)), annotations.ctm.get(PurePosixPath(uri).stem, [])
    )
    return Scene(safe_id(uri), 0, turns=turns, words=words, language=params.language)


def _groups(scenes: Mapping[str, Scene], annotations: _Annotations) -> dict[str, str]:
    return groups_by_speaker({uri: {turn.name for turn in _named_turns(uri, annotations)} for uri in scenes})


def _voice(uri: str, annotations: _Annotations, groups: Mapping[str, str]) -> str | None:
    """The one speaker of a recording, where names hold for the corpus."""
    names = {turn.name for turn in _named_turns(uri, annotations)}
    return names.pop() if len(names) == 1 and groups else None
