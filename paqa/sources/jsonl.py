"""A list of recordings with their annotations: one JSON object a line, see `RecordingRow` for its keys.

A line that cannot be used becomes a `Quarantined` row that names the list and the line, and the rest goes on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from paqa.config.recipe import SourceConfig
from paqa.errors import Rejected
from paqa.sources import json_reading, rttm_stm_ctm
from paqa.sources.groups import groups_of
from paqa.sources.paths import locate
from paqa.sources.registry import quarantined
from paqa.sources.rttm_stm_ctm import rttm_line, stm_line
from paqa.sources.truth import WHOLE_FILE, NamedTurn, in_order, numbered
from paqa.types import Event, Identifier, Ms, Quarantined, Recording, Scene, TruthPart


class SpanRow(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What turns and events have in common."""

    start_ms: Ms
    end_ms: Ms


class TurnRow(SpanRow, forbid_unknown_fields=True, frozen=True):
    """One turn of `turns`; `speaker` is any name."""

    speaker: str
    text: str = ""
    emotion: str | None = None
    translation: str | None = None


class EventRow(SpanRow, forbid_unknown_fields=True, frozen=True):
    """One sound of `events`; `mid` is its AudioSet machine id."""

    label: str
    mid: str


class RecordingRow(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One line. `path` is relative to the list's folder, or `package:NAME/FILE`, as are `rttm` and `stm`.

    Who speaks comes in one form at most: `text` + `speaker` (the whole file is one turn), `turns`, or `rttm`
    and/or `stm`; `events` may join any of them. `group` is one name or a list of them, of which the first
    decides the split; by default the speaker beside `text`, else the id. Answers come from truth only where
    both who speaks and `events` are given (an empty list says that there is none): what a row does not
    mention may still be heard. `emotion` and `translation` (in the language `translated_to`) belong to
    `text`. `synthetic` speech or sound is marked in the recording's source: "NAME (synthetic)".
    """

    id: Identifier
    path: str
    license: str | None = None
    source: str | None = None
    group: str | tuple[str, ...] | None = None
    language: str | None = None
    topic: str | None = None
    synthetic: bool = False
    text: str | None = None
    speaker: str | None = None
    emotion: str | None = None
    translation: str | None = None
    translated_to: str | None = None
    turns: tuple[TurnRow, ...] | None = None
    events: tuple[EventRow, ...] | None = None
    rttm: str | None = None
    stm: str | None = None


KNOWN_KEYS = tuple({*RecordingRow.__struct_fields__, *TurnRow.__struct_fields__, *EventRow.__struct_fields__})


def recordings(config: SourceConfig, path: Path) -> Iterator[Recording | Quarantined]:
    """The rows of a list, in its order; blank lines are skipped. PaqaError where the list cannot be read."""
    expected = "expected a file with one JSON object a line; correct `path` in the recipe"
    seen: dict[str, int] = {}
    for number, line in json_reading.rows(path, f"source {config.name!r}: {path}", expected):
        where = f"{path.name}:{number}"
        try:
            if isinstance(line, Rejected):
                raise line
            row = _row(line)
            if row.id in seen:
                raise Rejected(
                    "duplicate_id", f"id {row.id!r} is already on line {seen[row.id]}; ids must differ"
                )
            seen[row.id] = number
            locate(row.path, path.parent)
            turns, problem_rows = _named_turns(row, path.parent)
            yield from problem_rows
            yield _recording(config, row, turns)
        except Rejected as error:
            located = Rejected(error.reason, f"{path}, line {number}: {error.detail}")
            content = where if isinstance(line, Rejected) else line.decode("utf-8", "surrogateescape")
            yield quarantined(where, located, content)


def _row(line: bytes) -> RecordingRow:
    """One checked line; raises `Rejected` with `broken_json` or `bad_row`."""
    try:
        row = msgspec.json.decode(line, type=RecordingRow)
    except msgspec.ValidationError as error:
        raise Rejected("bad_row", f"{error}{_hint(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(
            "broken_json", f"no JSON object: {error}; every line must be one, check it with `jq`"
        ) from None
    forms = [name for name in ("text", "turns", "rttm", "stm") if getattr(row, name) is not None]
    if len(forms) > 1 and forms != ["rttm", "stm"]:
        raise Rejected(
            "bad_row", f"{' and '.join(forms)} both say who speaks; keep one of them, or rttm with stm"
        )
    if (row.text is None) != (row.speaker is None):
        raise Rejected("bad_row", "`text` and `speaker` come together; add the missing one")
    if row.text is None and (row.emotion or row.translation):
        raise Rejected("bad_row", "`emotion` and `translation` belong to `text`; move them into `turns`")
    spanned: tuple[SpanRow, ...] = (*(row.turns or ()), *(row.events or ()))
    if len(spanned) > rttm_stm_ctm.MOST_SPANS:
        raise Rejected(
            "bad_row", f"found {len(spanned)} spans; expected at most {rttm_stm_ctm.MOST_SPANS}, divide it"
        )
    for span in spanned:
        if span.end_ms <= span.start_ms:
            span_text = f"a span from {span.start_ms} to {span.end_ms} ms"
            raise Rejected("bad_row", f"found {span_text}; expected end_ms after start_ms, correct it")
    return row


def _hint(message: str) -> str:
    unknown = re.search(r"unknown field `(.*?)`", message)
    near = difflib.get_close_matches(unknown[1], KNOWN_KEYS, 1, 0.5) if unknown else []
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known keys: {', '.join(RecordingRow.__struct_fields__)}"


def _recording(config: SourceConfig, row: RecordingRow, turns: list[NamedTurn] | None) -> Recording:
    source = row.source or config.name
    complete = turns is not None and row.events is not None
    return Recording(
        id=row.id,
        uri=row.path,
        source=f"{source} (synthetic)" if row.synthetic and "synthetic" not in source else source,
        license=row.license or config.license,
        groups=groups_of(row.group) or (row.speaker or row.id,),
        answers=config.answers if complete else "heard",
        truth=_truth(row, turns),
        voice=row.speaker,
        truth_covers=_covered(row, turns),
    )


def _covered(row: RecordingRow, turns: list[NamedTurn] | None) -> tuple[TruthPart, ...]:
    """What a row lists all of: who speaks, what sounds, or both."""
    listed: list[TruthPart] = []
    if turns is not None:
        listed.append("turns")
    if row.events is not None:
        listed.append("events")
    return tuple(listed)


def _truth(row: RecordingRow, named_turns: list[NamedTurn] | None) -> Scene | None:
    if named_turns is None and row.events is None:
        return None
    events = [Event(e.start_ms, e.end_ms, e.label, e.mid) for e in row.events or ()]
    turns = numbered(named_turns or ())
    return Scene(
        row.id,
        0,
        turns=turns,
        events=in_order(events),
        language=row.language,
        translated_to=row.translated_to,
    )


def _named_turns(row: RecordingRow, folder: Path) -> tuple[list[NamedTurn] | None, list[Quarantined]]:
    """The turns that a row gives, None where it gives none, and a row for each bad annotation line."""
    if row.text is not None and row.speaker is not None:
        return [NamedTurn(0, WHOLE_FILE, row.speaker, row.text, row.emotion, row.translation)], []
    if row.turns is not None:
        return [
            NamedTurn(t.start_ms, t.end_ms, t.speaker, t.text, t.emotion, t.translation) for t in row.turns
        ], []
    turns, odd_turns = _turns_of_file(row.rttm, rttm_line, row.path, folder)
    texts, odd_texts = _turns_of_file(row.stm, stm_line, row.path, folder)
    attached = rttm_stm_ctm.attach_texts(turns, texts) if turns and texts else turns or texts
    return attached, [*odd_turns, *odd_texts]


def _turns_of_file(
    uri: str | None, line: rttm_stm_ctm.Line[NamedTurn], path: str, folder: Path
) -> tuple[list[NamedTurn] | None, list[Quarantined]]:
    """The turns of an annotation about the recording at `path`; None where the row names no annotation."""
    return rttm_stm_ctm.turns_about(path, rttm_stm_ctm.parse(uri, folder, line), uri) if uri else (None, [])
