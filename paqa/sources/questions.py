"""Lists of audio with multiple-choice questions, as AVQA, CoTA (Audio-Reasoner) and PAQA's own rows have
them.

`path` is a JSON list or a file with one JSON object a line. Keys go by several names (see the constants
below): AVQA's `video_name, question_text, multi_choice, answer`; CoTA's `<audio>QUESTION (a) .. (b) ..` in
`instruction` or `query`, with the answer in the `<RESPONSE>` of `output`; PAQA's `audio_path, question,
choices, answer`. Of a written out answer only the chosen option is taken: such texts were made from
descriptions, not from listening.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from paqa.config.recipe import SourceConfig
from paqa.errors import Rejected
from paqa.sources import json_lines
from paqa.sources.choices import given
from paqa.sources.folder import EXTENSIONS, safe_id
from paqa.sources.registry import locate, parameters, quarantined
from paqa.types import GivenQuestion, Quarantined, Recording

AUDIO = ("audio_path", "audio", "audios", "path", "wav", "video_name", "audio_id")
TEXT = ("question_text", "question", "instruction", "query", "prompt")
CHOICES = ("choices", "multi_choice", "options")
ANSWER = ("answer_index", "answer", "golden")
WRITTEN = ("output", "response", "target")
TASK = ("task", "category", "question_type")
LONGEST_ANSWER = 100_000  # characters of an answer that is written out, and of its tags a few
CHOSEN = re.compile(r"<(FINAL_ANSWER|RESPONSE)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
LETTER_AND_TEXT = re.compile(r"<LETTER>(.*?)</LETTER>\s*<TEXT>(.*?)</TEXT>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Params:
    """`audio` is a folder beside the list in which files are looked up by the longest end of their path that
    fits.
    """

    audio: str = "."
    task: str = "given"  # of rows that state none


@dataclass
class _Asked:
    """What is asked about one file, in the order of the list."""

    questions: list[GivenQuestion] = field(default_factory=list)
    where: str = ""


def recordings(config: SourceConfig, path: Path) -> Iterator[Recording | Quarantined]:
    """One recording a file with all its questions, in order of first appearance, after the rows that have
    none.

    A row without an audio file, with a question asked before about the file, or whose choices or answer
    cannot be made out, is quarantined. Raises PaqaError where the list cannot be read.
    """
    params = parameters(config, Params)
    asked: dict[str, _Asked] = {}
    names: set[str] = set()
    for where, row in _rows(config, path):
        try:
            if isinstance(row, Rejected):
                raise row
            uri = _audio(row, path.parent, params)
            question = _question(row, where, params, names)
            same = [
                q
                for q in asked.get(uri, _Asked()).questions
                if (q.text, q.choices) == (question.text, question.choices)
            ]
            if same:
                raise Rejected(
                    "duplicate_question", f"asks what {same[0].id} asks about {uri}; remove one of the two"
                )
        except Rejected as error:
            yield quarantined(where, Rejected(error.reason, f"{where}: {error.detail}"), repr(row))
            continue
        names.add(question.id)
        asked.setdefault(uri, _Asked(where=where)).questions.append(question)
    for uri, about in asked.items():
        name = safe_id(uri)
        yield Recording(
            name, uri, config.name, config.license, groups=(name,), questions=tuple(about.questions)
        )


def _rows(config: SourceConfig, path: Path) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    wanted = "expected a JSON list, or one JSON object a line; correct `path` in the recipe"
    return json_lines.objects(path, f"source {config.name!r}: {path}", wanted)


def _value(row: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """What the first of several keys holds that has a value."""
    return next((row[key] for key in keys if row.get(key) not in (None, "", [])), None)


def _audio(row: Mapping[str, Any], folder: Path, params: Params) -> str:
    """The row's file, relative to the list's folder."""
    named = _value(row, AUDIO)
    named = named[0] if isinstance(named, list) else named
    named = (named.get("path") or named.get("name")) if isinstance(named, dict) else named
    if not isinstance(named, str):
        raise Rejected("bad_row", f"names no audio file; expected one of the keys {', '.join(AUDIO)}")
    parts = [part for part in PurePosixPath(named).parts if part not in ("/", "..")]
    for first in range(len(parts)):
        for suffix in ("", *(EXTENSIONS if not named.lower().endswith(EXTENSIONS) else ())):
            uri = PurePosixPath(params.audio, *parts[first:]).as_posix() + suffix
            if locate(uri, folder).is_file():
                return uri
    raise Rejected(
        "missing_file", f"{named!r} is not below {params.audio!r}; put it there, or correct params.audio"
    )


def _question(row: Mapping[str, Any], where: str, params: Params, names: set[str]) -> GivenQuestion:
    answer = _value(row, ANSWER)
    answer = _chosen(_value(row, WRITTEN)) if answer is None else answer
    if answer is None:
        keys = ", ".join(ANSWER)
        raise Rejected(
            "bad_question", f"has no answer; expected one of the keys {keys}, or <RESPONSE> in `output`"
        )
    name = str(_value(row, ("id", "question_id")) or where)[:150]
    task = str(_value(row, TASK) or params.task)
    return given(
        f"{name}@{where}" if name in names else name, task, _value(row, TEXT), _value(row, CHOICES), answer
    )


def _chosen(text: Any) -> str | None:
    """What a written out answer chooses in the end."""
    found = CHOSEN.findall(text) if isinstance(text, str) and len(text) <= LONGEST_ANSWER else []
    if not found:
        return None
    last = next((body for tag, body in reversed(found) if tag.upper() == "FINAL_ANSWER"), found[-1][1])
    both = LETTER_AND_TEXT.search(last)
    return f"({both[1].strip()}) {both[2].strip()}" if both else last.strip()
