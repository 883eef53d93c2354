"""Lhotse manifests (lhotse.readthedocs.io), read without lhotse: cuts, or recordings with supervisions.

`path` is a manifest of cuts (`.jsonl` or `.jsonl.gz`), or a folder with files whose names hold "cuts", or
else "recordings" and "supervisions". Audio paths are relative to that folder.

One recording for each audio file, with truth from all supervisions of it: a cut's own start and end do not
cut the file, and stretches that no cut covers count as without speech, so give all cuts of a recording.
Custom fields are ignored but for `emotion` of supervisions. Mixed and padded cuts, and recordings that lhotse
would transform, stream or put together from several files, are quarantined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.sources import json_reading
from paqa.sources.folder import safe_id
from paqa.sources.groups import groups_by_speaker
from paqa.sources.paths import corpus_file, locate
from paqa.sources.registry import parameters, quarantined
from paqa.sources.rttm_stm_ctm import assign_words
from paqa.sources.truth import NamedTurn, numbered
from paqa.types import Quarantined, Recording, Scene, Word

Seconds = Annotated[float, Meta(ge=-1e7, le=1e7)]
SLACK_S = 0.05  # words may reach so far out of their supervision


class Source(msgspec.Struct, frozen=True):
    """Where audio lies."""

    type: str
    source: str | None = None


class LhotseRecording(msgspec.Struct, frozen=True):
    """A recording of lhotse's."""

    id: str
    sources: tuple[Source, ...]
    transforms: list[Any] | None = None


class Supervision(msgspec.Struct, frozen=True):
    """A labelled stretch, in seconds from the start of its cut, else of its recording."""

    id: str
    recording_id: str
    start: Seconds
    duration: Seconds
    text: str | None = None
    language: str | None = None
    speaker: str | None = None
    alignment: dict[str, list[list[Any]]] | None = None
    custom: dict[str, Any] | None = None


class LhotseCut(msgspec.Struct, frozen=True):
    """A stretch of a recording."""

    type: str
    id: str
    start: Seconds = 0.0
    supervisions: tuple[Supervision, ...] = ()
    recording: LhotseRecording | None = None


@dataclass(frozen=True)
class LhotseParams:
    """`speakers`: one name is one person in all of the corpus, or only in its recording ("spk1")."""

    speakers: Literal["corpus", "recording"] = "corpus"


PARAMS = LhotseParams  # what the registry checks `params` with


@dataclass
class _AnnotatedRecording:
    """A recording with the supervisions about it and where each one's cut begins, in seconds."""

    audio: LhotseRecording
    supervisions: dict[tuple[str, int], tuple[float, Supervision]] = field(default_factory=dict)

    def speakers(self) -> set[str]:
        """The names in its supervisions."""
        return {s.speaker for _, s in self.supervisions.values() if s.speaker}

    def content(self) -> str:
        """All of the recording, for a fingerprint, which must not depend on the names of classes."""
        audio = self.audio
        return f"Audio(id={audio.id!r}, sources={audio.sources!r}, transforms={audio.transforms!r})"

    def add(self, offset: float, supervision: Supervision) -> None:
        """Overlapping cuts hold the same supervision: once is enough."""
        self.supervisions.setdefault(
            (supervision.id, round((offset + supervision.start) * 1000)), (offset, supervision)
        )


def recordings(config: SourceConfig, path: Path) -> Iterator[Recording | Quarantined]:
    """One recording an audio file, in order of the manifest, after the rows that cannot be used.

    The group is that of all recordings with a speaker in common. Raises PaqaError where a manifest cannot be
    read.
    """
    params = parameters(config, LhotseParams)
    annotated: dict[str, _AnnotatedRecording] = {}
    folder = path if path.is_dir() else path.parent
    yield from _cuts(config, path, annotated) if path.is_file() else _folder(config, path, annotated)
    names = {name: recording.speakers() for name, recording in annotated.items()}
    groups = groups_by_speaker(names) if params.speakers == "corpus" else {}
    for name, recording in annotated.items():
        try:
            uri, scene = _uri(recording.audio, folder), _scene(name, recording)
        except Rejected as error:
            located = Rejected(error.reason, f"recording {name!r}: {error.detail}")
            yield quarantined(name, located, recording.content())
            continue
        voice = next(iter(names[name])) if len(names[name]) == 1 and groups else None
        group = groups.get(name, name)
        yield Recording(
            safe_id(name), uri, config.name, config.license, groups=(group,), truth=scene, voice=voice
        )


def _folder(
    config: SourceConfig, folder: Path, annotated: dict[str, _AnnotatedRecording]
) -> Iterator[Quarantined]:
    named = [p for p in sorted(folder.glob("*")) if p.name.endswith((".jsonl", ".jsonl.gz"))]
    files = [p for p in named if corpus_file(p, folder, config.name)]
    if cuts := [p for p in files if "cuts" in p.name]:
        for path in cuts:
            yield from _cuts(config, path, annotated)
        return
    audios, supervisions = ([p for p in files if kind in p.name] for kind in ("recordings", "supervisions"))
    if not audios:
        raise PaqaError(
            f"source {config.name!r}: {folder} holds no lhotse manifest; expected e.g. cuts.jsonl.gz"
        )
    for path in audios:
        for where, audio in _rows(config, path, LhotseRecording):
            if isinstance(audio, Rejected):
                yield quarantined(where, audio, where)
            else:
                annotated.setdefault(audio.id, _AnnotatedRecording(audio))
    for path in supervisions:
        for where, supervision in _rows(config, path, Supervision):
            if isinstance(supervision, Supervision) and supervision.recording_id in annotated:
                annotated[supervision.recording_id].add(0.0, supervision)
                continue
            unknown = Rejected(
                "bad_row", f"{where}: recording_id is in no manifest of recordings; add it there"
            )
            yield quarantined(where, supervision if isinstance(supervision, Rejected) else unknown, where)


def _cuts(
    config: SourceConfig, path: Path, annotated: dict[str, _AnnotatedRecording]
) -> Iterator[Quarantined]:
    for where, cut in _rows(config, path, LhotseCut):
        if isinstance(cut, LhotseCut) and cut.type in ("MonoCut", "MultiCut") and cut.recording:
            recording = annotated.setdefault(cut.recording.id, _AnnotatedRecording(cut.recording))
            for supervision in cut.supervisions:
                recording.add(cut.start, supervision)
            continue
        if isinstance(cut, LhotseCut):
            description = f"{cut.type} {cut.id!r}" + ("" if cut.recording else " without a recording")
            cut = Rejected(
                "unsupported_cut",
                f"{where}: found {description}; expected MonoCut or MultiCut with a recording",
            )
        yield quarantined(where, cut, where)


def _rows(config: SourceConfig, path: Path, kind: Any) -> Iterator[tuple[str, Any]]:
    """Each row with where it stands, or with why it cannot be read."""
    for number, line in json_reading.rows(
        path, f"source {config.name!r}: {path}", "expected a lhotse manifest"
    ):
        where = f"{path.name}:{number}"
        if isinstance(line, Rejected):
            yield where, Rejected(line.reason, f"{where}: {line.detail}")
            continue
        try:
            yield where, msgspec.json.decode(line, type=kind)
        except msgspec.ValidationError as error:
            yield where, Rejected("bad_row", f"{where}: {error}; expected a row as lhotse writes it")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield where, Rejected("broken_json", f"{where}: no JSON object: {error}; check it with `jq`")


def _uri(audio: LhotseRecording, folder: Path) -> str:
    if audio.transforms:
        names = ", ".join(str(t.get("name", "?") if isinstance(t, dict) else t) for t in audio.transforms)
        raise Rejected("unsupported_audio", f"lhotse would transform it ({names}); save the audio first")
    if len(audio.sources) != 1 or audio.sources[0].type != "file" or not audio.sources[0].source:
        kinds = ", ".join(source.type for source in audio.sources) or "none"
        raise Rejected(
            "unsupported_audio", f"its sources are {kinds}; expected one file, save the audio first"
        )
    uri = audio.sources[0].source
    if not locate(uri, folder).is_file():
        raise Rejected(
            "missing_file", f"{uri} does not exist below {folder}; copy it there or correct the manifest"
        )
    return uri


def _scene(name: str, recording: _AnnotatedRecording) -> Scene | None:
    """The truth; None where nothing is annotated, or several stretches of which one names no speaker."""
    supervisions = recording.supervisions.values()
    nameless = any(supervision.speaker is None for _, supervision in supervisions)
    if not supervisions or (len(supervisions) > 1 and nameless):
        return None
    named_turns: list[NamedTurn] = []
    words: list[Word] = []
    languages = set()
    for offset, supervision in supervisions:
        start, end = _ms(offset + supervision.start), _ms(offset + supervision.start + supervision.duration)
        if end > start:
            emotion = (supervision.custom or {}).get("emotion")
            emotion = emotion if isinstance(emotion, str) else None
            named_turns.append(
                NamedTurn(start, end, supervision.speaker or "?", supervision.text or "", emotion)
            )
        words += _words(offset, supervision)
        languages.add(supervision.language)
    turns, placed = assign_words(numbered(named_turns), words)
    return Scene(safe_id(name), 0, turns, placed, language=languages.pop() if len(languages) == 1 else None)


def _words(offset: float, supervision: Supervision) -> Iterator[Word]:
    """Aligned words `[symbol, start, duration, score]`.

    Lhotse moves a supervision with its cut but not its alignment, which so remains in the recording's time;
    tools that align cut by cut write the cut's. The one of the two that lies within the supervision counts,
    none if neither does.
    """
    aligned = (supervision.alignment or {}).get("word", [])
    rows = [row for row in aligned if len(row) >= 3 and row[0] and all(_is_time(x) for x in row[1:3])]
    start, end = offset + supervision.start, offset + supervision.start + supervision.duration
    for shift in (0.0, offset):
        times = [(float(row[1]) + shift, float(row[1]) + float(row[2]) + shift) for row in rows]
        if all(start - SLACK_S <= a and b <= end + SLACK_S for a, b in times):
            for row, (a, b) in zip(rows, times, strict=True):
                score = row[3] if len(row) > 3 and isinstance(row[3], float) and 0 <= row[3] <= 1 else 1.0
                yield Word(_ms(a), max(_ms(b), _ms(a) + 1), str(row[0]), None, score)
            return


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and -1e7 <= value <= 1e7


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
