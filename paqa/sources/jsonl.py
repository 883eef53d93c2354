"""A list of recordings with what is known about them: one JSON object a line, see `Row` for its keys.

A line that cannot be used becomes a `Quarantined` row that names the list and the line, and the rest goes on.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from paqa import spans
from paqa.errors import PaqaError, Rejected
from paqa.recipe import SourceConfig
from paqa.sources import WHOLE_FILE, in_order, locate, numbered, quarantined
from paqa.types import Event, Identifier, Ms, Quarantined, Recording, Scene


class SpanRow(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What turns and events have in common."""

    start_ms: Ms
    end_ms: Ms


class TurnRow(SpanRow, forbid_unknown_fields=True, frozen=True):
    """One turn of `turns`; `speaker` is any name."""

    speaker: str
    text: str = ""


class EventRow(SpanRow, forbid_unknown_fields=True, frozen=True):
    """One sound of `events`; `mid` is its AudioSet machine id."""

    label: str
    mid: str


class Row(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One line. `path` is relative to the list's folder, or `package:NAME/FILE`, as are `rttm` and `stm`.

    Who speaks comes in one form at most: `text` + `speaker` (the whole file is one turn), `turns`, or `rttm` and/or
    `stm`; `events` may join any of them. `group` is by default the speaker beside `text`, else the id. Answers
    come from truth only where both who speaks and `events` are given (an empty list says that there is none): what a
    row does not mention may still be heard. `synthetic`
    speech or sound is marked in the recording's source, where it does not say so itself: "NAME (synthetic)".
    """

    id: Identifier
    path: str
    license: str | None = None
    source: str | None = None
    group: str | None = None
    language: str | None = None
    topic: str | None = None
    synthetic: bool = False
    text: str | None = None
    speaker: str | None = None
    turns: tuple[TurnRow, ...] | None = None
    events: tuple[EventRow, ...] | None = None
    rttm: str | None = None
    stm: str | None = None


KNOWN_KEYS = tuple({*Row.__struct_fields__, *TurnRow.__struct_fields__, *EventRow.__struct_fields__})


class Said(NamedTuple):
    """A turn with its speaker's name, as annotations have it."""

    start_ms: int
    end_ms: int
    name: str
    text: str


def recordings(config: SourceConfig, path: Path) -> Iterator[Recording | Quarantined]:
    """The rows of a list, in its order; blank lines are skipped. Raises PaqaError where the list cannot be read."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        wanted = "expected a file with one JSON object a line; correct `path` in the recipe"
        raise PaqaError(f"source {config.name!r}: {path} cannot be read ({error.strerror}); {wanted}") from None
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            row = _row(line)
            if row.id in seen:
                raise Rejected("duplicate_id", f"id {row.id!r} is already on line {seen[row.id]}; ids must differ")
            seen[row.id] = number
            yield _recording(config, row, path.parent)
        except Rejected as error:
            located = Rejected(error.reason, f"{path}, line {number}: {error.detail}")
            yield quarantined(where, located, line.decode("utf-8", "surrogateescape"))


def _row(line: bytes) -> Row:
    """One checked line; raises `Rejected` with `broken_json` or `bad_row`."""
    try:
        row = msgspec.json.decode(line, type=Row)
    except msgspec.ValidationError as error:
        raise Rejected("bad_row", f"{error}{_hint(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected("broken_json", f"no JSON object: {error}; every line must be one, check it with `jq`") from None
    forms = [name for name in ("text", "turns", "rttm", "stm") if getattr(row, name) is not None]
    if len(forms) > 1 and forms != ["rttm", "stm"]:
        raise Rejected("bad_row", f"{' and '.join(forms)} both say who speaks; keep one of them, or rttm with stm")
    if (row.text is None) != (row.speaker is None):
        raise Rejected("bad_row", "`text` and `speaker` come together; add the missing one")
    spanned: tuple[SpanRow, ...] = (*(row.turns or ()), *(row.events or ()))
    for span in spanned:
        if span.end_ms <= span.start_ms:
            found = f"a span from {span.start_ms} to {span.end_ms} ms"
            raise Rejected("bad_row", f"found {found}; expected end_ms after start_ms, correct it")
    return row


def _hint(message: str) -> str:
    unknown = re.search(r"unknown field `(.*?)`", message)
    near = difflib.get_close_matches(unknown[1], KNOWN_KEYS, 1, 0.5) if unknown else []
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known keys: {', '.join(Row.__struct_fields__)}"


def _recording(config: SourceConfig, row: Row, folder: Path) -> Recording:
    locate(row.path, folder)
    source = row.source or config.name
    truth = _truth(row, folder)
    spoken = any(given is not None for given in (row.text, row.turns, row.rttm, row.stm))
    whole = spoken and row.events is not None
    return Recording(
        id=row.id,
        uri=row.path,
        source=f"{source} (synthetic)" if row.synthetic and "synthetic" not in source else source,
        license=row.license or config.license,
        group=row.group or row.speaker or row.id,
        answers=config.answers if whole else "heard",
        truth=truth,
        voice=row.speaker,
    )


def _truth(row: Row, folder: Path) -> Scene | None:
    said = _said(row, folder)
    if said is None and row.events is None:
        return None
    events = [Event(e.start_ms, e.end_ms, e.label, e.mid) for e in row.events or ()]
    turns = numbered(said or ())
    return Scene(row.id, duration_ms=0, turns=turns, events=in_order(events), language=row.language)


def _said(row: Row, folder: Path) -> list[Said] | None:
    """Who speaks according to the row; None where it does not tell."""
    if row.text is not None and row.speaker is not None:
        return [Said(0, WHOLE_FILE, row.speaker, row.text)]
    if row.turns is not None:
        return [Said(turn.start_ms, turn.end_ms, turn.speaker, turn.text) for turn in row.turns]
    turns = _annotation(row.rttm, row.path, folder, _rttm_line) if row.rttm else None
    texts = _annotation(row.stm, row.path, folder, _stm_line) if row.stm else None
    if turns is None:
        return texts
    return turns if texts is None else attach(turns, texts)


Parsed = tuple[str, Said]  # the recording's name in the annotation, and one turn


def _annotation(uri: str, path: str, folder: Path, parse: Callable[[str], Parsed | None]) -> list[Said]:
    """The turns of an annotation file that are about one recording.

    Where it covers several, the one named like the audio file counts. Raises `Rejected` with `bad_truth`.
    """
    try:
        lines = locate(uri, folder).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected("bad_truth", f"{uri} cannot be read ({error}); expected a UTF-8 text file, check it") from None
    found: dict[str, list[Said]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        try:
            parsed = parse(line)
        except (ValueError, IndexError):
            raise Rejected("bad_truth", f"{uri}, line {number}: {line[:80]!r} has another format; correct it") from None
        if parsed:
            found[parsed[0]].append(parsed[1])
    stem = PurePosixPath(path).stem
    if stem not in found and len(found) != 1:
        names = ", ".join(sorted(found)[:5]) or "nothing"
        raise Rejected("bad_truth", f"{uri} has no turns of {stem!r}, found {names}; name the recording like its file")
    return sorted(found.get(stem) or next(iter(found.values())))


def _rttm_line(line: str) -> Parsed | None:
    """`SPEAKER file channel start duration <NA> <NA> name …`, seconds; other types of line do not count."""
    fields = line.split()
    if not fields or fields[0] != "SPEAKER":
        return None
    start, duration = float(fields[3]), float(fields[4])
    return fields[1], _checked(start, start + duration, fields[7], "")


def _stm_line(line: str) -> Parsed | None:
    """`file channel name start end [<label>] text`, seconds; comments and unscored segments do not count."""
    fields = line.split(maxsplit=5)
    if not fields or line.startswith(";;"):
        return None
    text = re.sub(r"^<[^>]*>\s*", "", fields[5]) if len(fields) > 5 else ""
    if text == "ignore_time_segment_in_scoring" or fields[2] == "inter_segment_gap":
        return None
    return fields[0], _checked(float(fields[3]), float(fields[4]), fields[2], text)


def _checked(start: float, end: float, name: str, text: str) -> Said:
    if not 0 <= start < end < 1e7:
        raise ValueError
    return Said(round(start * 1000), round(end * 1000), name, text.strip())


def attach(turns: Sequence[Said], texts: Sequence[Said]) -> list[Said]:
    """Turns with the texts of another annotation whose speaker names may differ.

    A name stands for the speaker it overlaps most over the whole file. A text goes to that speaker's turn with the
    largest overlap, several to one turn in order of start; a text that overlaps none becomes a turn of its own.
    """
    names = _same_speaker(turns, texts)
    said: list[list[str]] = [[] for _ in turns]
    alone = []
    for text in sorted(texts):
        name = names.get(text.name, text.name)
        shared = [spans.overlap(turn[:2], text[:2]) if turn.name == name else 0 for turn in turns]
        best = max(range(len(turns)), key=shared.__getitem__, default=0)
        if turns and shared[best]:
            said[best].append(text.text)
        else:
            alone.append(text._replace(name=name))
    joined = [turn._replace(text=" ".join(filter(None, parts))) for turn, parts in zip(turns, said, strict=True)]
    return sorted([*joined, *alone])


def _same_speaker(turns: Sequence[Said], texts: Sequence[Said]) -> dict[str, str]:
    shared: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for text in texts:
        for turn in turns:
            shared[text.name][turn.name] += spans.overlap(turn[:2], text[:2])
    return {name: max(sorted(of), key=of.__getitem__) for name, of in shared.items() if any(of.values())}
