"""Lists of audio with multiple-choice questions, in the forms of AVQA, CoTA (Audio-Reasoner) and PAQA.

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
from paqa.sources import json_reading
from paqa.sources.answer_choices import parse_question
from paqa.sources.folder import EXTENSIONS, safe_id
from paqa.sources.paths import locate
from paqa.sources.registry import parameters, quarantined
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
class QuestionsParams:
    """`audio` is a folder beside the list; files are looked up in it by the longest end of their path."""

    audio: str = "."
    task: str = "given"  # of rows that state none


PARAMS = QuestionsParams  # what the registry checks `params` with


@dataclass
class _FileQuestions:
    """The questions about one file, in the order of the list."""

    questions: list[GivenQuestion] = field(default_factory=list)
    where: str = ""


def recordings(config: SourceConfig, path: Path) -> Iterator[Recording | Quarantined]:
    """One recording a file with all its questions, in order of first appearance, after the unusable rows.

    A row without an audio file, with a question asked before about the file, or whose choices or answer
    cannot be made out, is quarantined. Raises PaqaError where the list cannot be read.
    """
    params = parameters(config, QuestionsParams)
    by_uri: dict[str, _FileQuestions] = {}
    names: set[str] = set()
    for where, row in _rows(config, path):
        try:
            if isinstance(row, Rejected):
                raise row
            uri = _audio(row, path.parent, params)
            question = _question(row, where, params, names)
            same = [
                q
                for q in by_uri.get(uri, _FileQuestions()).questions
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
        by_uri.setdefault(uri, _FileQuestions(where=where)).questions.append(question)
    for uri, file_questions in by_uri.items():
        name = safe_id(uri)
        yield Recording(
            name, uri, config.name, config.license, groups=(name,), questions=tuple(file_questions.questions)
        )


def _rows(config: SourceConfig, path: Path) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    expected = "expected a JSON list, or one JSON object a line; correct `path` in the recipe"
    return json_reading.objects(path, f"source {config.name!r}: {path}", expected)


def _value(row: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The value of the first of several keys that has one."""
    return next((row[key] for key in keys if row.get(key) not in (None, "", [])), None)


def _audio(row: Mapping[str, Any], folder: Path, params: QuestionsParams) -> str:
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


def _question(row: Mapping[str, Any], where: str, params: QuestionsParams, names: set[str]) -> GivenQuestion:
    answer = _value(row, ANSWER)
    answer = _chosen(_value(row, WRITTEN)) if answer is None else answer
    if answer is None:
        keys = ", ".join(ANSWER)
        raise Rejected(
            "bad_question", f"has no answer; expected one of the keys {keys}, or <RESPONSE> in `output`"
        )
    name = str(_value(row, ("id", "question_id")) or where)[:150]
    task = str(_value(row, TASK) or params.task)
    return parse_question(
        f"{name}@{where}" if name in names else name, task, _value(row, TEXT), _value(row, CHOICES), answer
    )


def _chosen(text: Any) -> str | None:
    """The choice that a written out answer ends with."""
    answers = CHOSEN.findall(text) if isinstance(text, str) and len(text) <= LONGEST_ANSWER else []
    if not answers:
        return None
    last = next((body for tag, body in reversed(answers) if tag.upper() == "FINAL_ANSWER"), answers[-1][1])
    both = LETTER_AND_TEXT.search(last)
    return f"({both[1].strip()}) {both[2].strip()}" if both else last.strip()
