"""`paqa import`: the PAQA rows that the authors of HyPeR released (JSONL), cleaned, as Parquet shards of
their own.

They cannot become `Item`s: they hold no scene (nothing says when anything is heard), their rationales were
written from descriptions, and the released multi-speaker file has no ENV, SPEAKER, ASR or DESCRIPTION in any
row. So they have a table of their own, `Released`, in which what is missing is named row by row. To ask the
same questions of what is really heard, build them instead: `type = "questions"` in a recipe.

Mended: code fences, escaped line breaks, THINK tags out of place, residue of JSON around the text, answers in
prose. What cannot be mended without guessing is quarantined with a reason.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from paqa.config.recipe import AudioConfig, ShardConfig
from paqa.dataset import shards
from paqa.errors import PaqaError, Rejected
from paqa.rationale import grammar
from paqa.sources import json_lines, registry
from paqa.sources.choices import PLACEHOLDER, answer_index, asked
from paqa.sources.questions import ANSWER, AUDIO, CHOICES, TEXT, WRITTEN
from paqa.types import Quarantined

CONFIG = ShardConfig()
LETTERS = "ABCDEFGH"
PERCEPTION = ("ENV", "SPEAKER", "ASR", "DESCRIPTION")
GIVEN = {
    "ENV": ("bgm", "env_tag"),
    "ASR": ("asr",),
    "SPEAKER": ("speaker_analysis",),
}  # keys of other rows of theirs
ORDER = ("PLANNING", "CAPTION", "REASONING", "SUMMARY", "RESPONSE")
REFLECTED = (*ORDER, "REFLECT", "FINAL_ANSWER")
DIGITS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
NUMBERS = {word: str(n) for n, word in enumerate(DIGITS)}
TAG = re.compile(rf"<(/?)(THINK|BGM|{'|'.join((*REFLECTED, *PERCEPTION))})>")
FENCE = re.compile(r"^[ \t]*```[ \t]*(?:\w+[ \t]*)?$\n?|```(?:\w+\n)?", re.MULTILINE)
ESCAPE = re.compile(r"(?<!\\)\\+([nt\"'])")
RESIDUE = re.compile(
    r"[\s`\"'{}\[\],:;.*#-]*(?:json|xml|html|output|markdown)?[\s`\"'{}\[\],:;.*#-]*", re.IGNORECASE
)
LONGEST_RESIDUE = 200  # characters
LONGEST = 1_000_000  # characters of a written out answer
START = shards.FORMAT.to_bytes(4)  # of the digests that name files
LETTER = (
    r"""\**(?:\(([a-h])\)|([b-h])(?=$|[\s.,;:!?"'*)])|(a)(?=\s*$|[.,;:!?"'*)]))"""  # "a dog" has no letter
)
DECLARED = re.compile(
    rf"\b(?:answer|option|choice)(?: is| would be| should be| must be)?\s*(?::\s*)?{LETTER}", re.IGNORECASE
)
CONCLUDED = re.compile(r"\bis\s+\**\(?([A-H])\)?\**[\s.\"']*$")
BRACKETED = re.compile(r"\(([A-Ha-h])\)")
READ = re.compile(
    r"(?:provided|given|auxiliary|pre-existing)\s+(?:text(?:ual)?\s+)?descriptions?"
    r"|\byou can refer to\b|provided answer (?:states|says|is)\b|knowledge of the answer",
    re.IGNORECASE,
)
DOUBT = re.compile(
    r"\bthere (?:is|seems to be|must be|may be) an? (?:typo|mistake|error)\b"
    r"|none of the (?:given |provided |available )?(?:options|choices|answers) (?:is|are) (?:valid|correct|right)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Released:
    """One released row, cleaned. `rationale` has its answer in our form, `response` as it was written.

    `missing` names the perceptual tags that the row lacks (their columns are null), `repairs` what was
    mended.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: str
    answer_index: int
    rationale: str
    planning: str
    caption: str
    env: str | None
    speaker: str | None
    asr: str | None
    description: str | None
    reasoning: str
    summary: str
    response: str
    reflect: str | None
    final_answer: str | None
    missing: tuple[str, ...]
    repairs: tuple[str, ...]
    audio_path: str
    split: str = "train"


@dataclass
class Imported:
    """What an import came to."""

    rows: int = 0
    with_audio: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    lost: list[Quarantined] = field(default_factory=list)


def load(path: Path, out: Path, audio: Path | None = None) -> Imported:
    """Clean a JSONL file into `out`: `data/train-*.parquet`, `quarantine.parquet` and a card.

    With a folder `audio`, each row's file is looked up there by the longest end of its path that fits,
    decoded as a build decodes it and embedded; rows whose file is missing or broken are quarantined.
    PaqaError where none is left.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PaqaError(f"{out}: is not empty; name a new folder")
    if audio is not None and not audio.is_dir():
        raise PaqaError(f"--audio {audio}: no such folder")
    found = Imported()
    writer = _Writer(out / "data")
    for row in _rows(path, found):
        try:
            data = embedded(row.audio_path, audio) if audio else None
        except Rejected as error:
            found.lost.append(Quarantined(row.id, "import", error.reason, error.detail, _print(row)))
            continue
        found.rows += 1
        found.with_audio += data is not None
        found.answers[LETTERS[row.answer_index]] += 1
        found.missing.update(row.missing)
        found.repairs.update(row.repairs)
        writer.add(row, data)
    writer.close()
    shards.write_table(out / "quarantine.parquet", Quarantined, found.lost)
    if not found.rows:
        why = ", ".join(f"{reason} {n}" for reason, n in Counter(q.reason for q in found.lost).most_common(4))
        raise PaqaError(
            f"{path}: no row can be used ({why or 'the file is empty'}); look into {out}/quarantine.parquet"
        )
    (out / "README.md").write_text(card(path, found), encoding="utf-8")
    return found


def _rows(path: Path, found: Imported) -> Iterator[Released]:
    """The rows that can be used, in order; the others go to `found.lost`."""
    ids: set[str] = set()
    known: set[tuple[str, ...]] = set()
    for number, line in json_lines.rows(path, str(path), "expected a file with one JSON object a line"):
        where = f"{path.name}:{number}"
        try:
            if isinstance(line, Rejected):
                raise line
            row = clean(_object(line), f"{path.stem}:{number}", path.stem)
            same = (row.audio_path, row.question, *sorted(row.choices))
            if same in known or row.id in ids:
                what = "question about this audio" if same in known else f"id {row.id!r}"
                raise Rejected("duplicate", f"this {what} was there before; remove one of the two")
        except Rejected as error:
            content = where.encode() if isinstance(line, Rejected) else line.strip()
            digest = hashlib.sha256(content).hexdigest()
            found.lost.append(Quarantined(where, "import", error.reason, f"{where}: {error.detail}", digest))
            continue
        ids.add(row.id)
        known.add(same)
        yield row


def _object(line: bytes) -> dict[str, Any]:
    try:
        row: dict[str, Any] = msgspec.json.decode(line, type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected("broken_json", f"no JSON object ({error}); expected one a line") from None
    return row


def clean(row: Mapping[str, Any], unnamed: str, source: str) -> Released:
    """One row; Rejected says why it cannot be used. `unnamed` is its id where it has none."""
    text = _value(row, TEXT)
    if not isinstance(text, str) or not PLACEHOLDER.sub(" ", text[:LONGEST]).strip():
        found = repr(text)[:80]
        raise Rejected(
            "bad_row", f"the question is {found}; expected its text under one of {', '.join(TEXT)}"
        )
    question, choices = asked(text, _value(row, CHOICES))
    if not 2 <= len(choices) <= len(LETTERS) or len({_plain(c) for c in choices}) < len(choices):
        wanted = f"expected two to {len(LETTERS)} different ones"
        raise Rejected("bad_choices", f"found the choices {str(choices)[:200]}; {wanted}")
    written = _value(row, WRITTEN)
    if not isinstance(written, str):
        keys = ", ".join(WRITTEN)
        raise Rejected(
            "no_rationale", f"expected it under one of {keys}; the question alone: a source of type questions"
        )
    if len(written) > LONGEST:
        raise Rejected("bad_row", f"the rationale has {len(written)} characters; expected at most {LONGEST}")
    leaves, repairs = mended(written)
    _doubts(leaves)
    index = _answer(leaves, choices, _value(row, ANSWER))
    own = {tag: leaves.get(tag) or _text(_value(row, GIVEN.get(tag, ()))) for tag in PERCEPTION}
    name = row.get("id")
    return Released(
        id=unnamed if name is None else f"{source}:{name}",
        question=" ".join(question.split()),
        choices=tuple(choices),
        answer=choices[index],
        answer_index=index,
        rationale=_render(leaves, index, choices),
        planning=leaves["PLANNING"],
        caption=leaves["CAPTION"],
        env=own["ENV"],
        speaker=own["SPEAKER"],
        asr=own["ASR"],
        description=own["DESCRIPTION"],
        reasoning=leaves["REASONING"],
        summary=leaves["SUMMARY"],
        response=leaves["RESPONSE"],
        reflect=leaves.get("REFLECT"),
        final_answer=leaves.get("FINAL_ANSWER"),
        missing=tuple(tag for tag in PERCEPTION if not own[tag]),
        repairs=tuple(repairs),
        audio_path=_audio_path(row),
    )


def _value(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) not in (None, "", [])), None)


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _audio_path(row: Mapping[str, Any]) -> str:
    named = _value(row, AUDIO)
    named = named[0] if isinstance(named, list) else named
    if not isinstance(named, str):
        raise Rejected("bad_row", f"names no audio file; expected one of the keys {', '.join(AUDIO)}")
    return named


def mended(text: str) -> tuple[dict[str, str], list[str]]:
    """What stands in the tags of a written out answer, by tag, and what was mended; Rejected where it is
    unclear.
    """
    repairs = []
    steps: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("escapes", partial(ESCAPE.sub, lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]))),
        ("code_fences", partial(FENCE.sub, "")),
    )
    for name, mend in steps:
        after = mend(text)
        if after != text:
            repairs.append(name)
        text = after
    tags = [(m[1] + m[2].replace("BGM", "ENV"), m.start(), m.end()) for m in TAG.finditer(text)]
    around = [name for name, _, _ in tags if name in ("THINK", "/THINK", "RESPONSE")]
    if around != ["THINK", "/THINK", "RESPONSE"]:
        repairs.append("think_tags")
    tags = [tag for tag in tags if tag[0] not in ("THINK", "/THINK")]
    leaves, outside = _leaves(re.sub(r"</?THINK>", lambda m: " " * len(m[0]), text), tags)
    if outside.strip():
        if len(outside.strip()) > LONGEST_RESIDUE or not RESIDUE.fullmatch(outside.strip()):
            raise Rejected(
                "text_outside_tags", f"found {outside.strip()[:80]!r} outside of the tags; expected nothing"
            )
        repairs.append("residue")
    return leaves, repairs


def _leaves(text: str, tags: Sequence[tuple[str, int, int]]) -> tuple[dict[str, str], str]:
    """Contents by tag, and what stands outside of all tags. Perceptual tags lie inside of CAPTION."""
    top = [tag for tag in tags if tag[0].lstrip("/") not in PERCEPTION]
    inner = [tag for tag in tags if tag[0].lstrip("/") in PERCEPTION]
    names = [name for name, _, _ in top]
    for order in (ORDER, REFLECTED):
        if names == [slash + tag for tag in order for slash in ("", "/")]:
            break
    else:
        raise Rejected(
            "bad_structure", f"found the tags {' '.join(names)[:160]}; expected {' '.join(ORDER)} once each"
        )
    spans = {top[i][0]: (top[i][2], top[i + 1][1]) for i in range(0, len(top), 2)}
    for opened, closed in zip(inner[::2], inner[1::2], strict=False):
        if (
            f"/{opened[0]}" != closed[0]
            or opened[0] in spans
            or not _inside(opened, closed, spans["CAPTION"])
        ):
            raise Rejected("bad_structure", f"<{opened[0]}> is not closed, stands twice or is not in CAPTION")
        spans[opened[0]] = (opened[2], closed[1])
    if len(inner) % 2:
        raise Rejected("bad_structure", f"<{inner[-1][0]}> has no other half")
    leaves = {name: text[start:end].strip() for name, (start, end) in spans.items()}
    if empty := [name for name in order if not leaves[name]]:
        raise Rejected("empty_tag", f"<{empty[0]}> is empty; expected text")
    bounds = [0, *(end for i in range(0, len(top), 2) for end in (top[i][1], top[i + 1][2])), len(text)]
    outside = "".join(text[a:b] for a, b in zip(bounds[::2], bounds[1::2], strict=True))
    return leaves, outside


def _inside(opened: tuple[str, int, int], closed: tuple[str, int, int], span: tuple[int, int]) -> bool:
    return span[0] <= opened[1] and closed[2] <= span[1]


def _doubts(leaves: Mapping[str, str]) -> None:
    """Reject what admits that it was read and not heard, or that no choice is right."""
    whole = "\n".join(leaves.values())
    if match := READ.search(whole):
        raise Rejected("read_not_heard", f"speaks of what its writer was given: {_near(whole, match)!r}")
    if match := DOUBT.search(whole):
        raise Rejected("doubts_the_choices", f"says that the question is wrong: {_near(whole, match)!r}")


def _near(text: str, match: re.Match[str]) -> str:
    return " ".join(text[max(0, match.start() - 40) : match.end() + 40].split())


def _answer(leaves: Mapping[str, str], choices: Sequence[str], stated: Any) -> int:
    """Which choice is given in the end; where letter, text and a stated answer differ, nobody knows which is
    right.
    """
    said = chosen(leaves.get("FINAL_ANSWER") or leaves["RESPONSE"], choices)
    if stated is None:
        return said
    other = answer_index(stated, choices)
    if other != said:
        raise Rejected("contradiction", f"the row says {choices[other]!r}, its rationale {choices[said]!r}")
    return other


def chosen(text: str, choices: Sequence[str]) -> int:
    """The choice that an answer in prose gives, from 0; Rejected where it names none, several, or contradicts
    itself.

    >>> chosen("They speak of a dog. The answer is B.", ["A cat", "A dog"])
    1
    """
    letters = (
        ["".join(groups) for groups in DECLARED.findall(text)]
        or CONCLUDED.findall(text)
        or BRACKETED.findall(text)
    )
    letters = letters or ([text.strip(" .()*")] if re.fullmatch(r"[\s(*]*[A-Ha-h][\s).*]*", text) else [])
    named = {ord(letter.lower()) - ord("a") for letter in letters}
    cited = _cited(text, choices)
    if not named and len(cited) == 1:
        return cited.pop()
    if len(named) != 1:
        raise Rejected(
            "no_answer" if not named else "several_answers", f"found {text[-120:]!r}; expected one choice"
        )
    index = named.pop()
    if index >= len(choices):
        raise Rejected("no_answer", f"there is no choice {grammar.letter(index)} among {len(choices)}")
    if len(cited) == 1 and index not in cited:
        other = choices[cited.pop()]
        raise Rejected(
            "contradiction", f"gives {grammar.letter(index)} {choices[index]!r}, but says {other!r}"
        )
    return index


def _cited(text: str, choices: Sequence[str]) -> set[int]:
    """The choices whose words stand in the text, numbers as digits; not those within a longer one that does
    too.
    """
    there = _plain(text)
    found = {i for i, choice in enumerate(choices) if f" {_plain(choice)} " in f" {there} "}
    return {i for i in found if not any(j != i and _plain(choices[i]) in _plain(choices[j]) for j in found)}


def _plain(text: str) -> str:
    return " ".join(NUMBERS.get(w, w) for w in re.findall(r"[^\W_]+(?:'\w+)?", text.lower()))


def _render(leaves: Mapping[str, str], index: int, choices: Sequence[str]) -> str:
    """The rationale in our tags, its answer as `(B) exact choice text`; of a reflected row the first response
    stays.
    """
    final = shown = grammar.response(index, choices[index])
    more = ""
    if "REFLECT" in leaves:
        first = chosen(leaves["RESPONSE"], choices)
        shown = grammar.response(first, choices[first])
        more = f"\n<REFLECT>{leaves['REFLECT']}</REFLECT>\n<FINAL_ANSWER>{final}</FINAL_ANSWER>"
    thought = "\n".join(f"<{tag}>{leaves[tag]}</{tag}>" for tag in ORDER[:-1])
    return f"<THINK>{thought}</THINK>\n<RESPONSE>{shown}</RESPONSE>{more}"


def embedded(named: str, folder: Path) -> bytes:
    """The named audio as FLAC, as a build decodes it; Rejected where it is not in the folder or does not
    decode.
    """
    from paqa.audio import decode, flac

    parts = [part for part in PurePosixPath(named).parts if part not in ("/", "..")]
    for first in range(len(parts)):
        if folder.joinpath(*parts[first:]).is_file():
            return flac(decode(registry.locate("/".join(parts[first:]), folder), AudioConfig()))
    raise Rejected(
        "missing_file", f"{named!r} is not below {folder}; put it there, or import without --audio"
    )


def _print(row: Released) -> str:
    return hashlib.sha256(msgspec.json.encode(row)).hexdigest()


class _Writer:
    """Rows into Parquet files named after their content, a row group in memory at a time."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.schema = shards.row_schema(Released, AudioConfig().rate)
        self.rows: list[dict[str, Any]] = []
        self.waiting = self.written = 0
        self.digest = hashlib.sha256(START)
        self.file: pq.ParquetWriter | None = None

    def add(self, row: Released, data: bytes | None) -> None:
        audio = {
            "bytes": data,
            "path": f"{PurePosixPath(row.audio_path).stem}.flac" if data else row.audio_path,
        }
        self.rows.append({**msgspec.to_builtins(row), "audio": audio})
        self.digest.update(msgspec.json.encode([row, hashlib.sha256(data or b"").hexdigest()]))
        self.waiting += len(data or b"") + 3 * len(row.rationale)
        if self.waiting > CONFIG.row_group_mb * 1_000_000:
            self._flush()
        if self.written > CONFIG.max_mb * 1_000_000:
            self.close()

    def _flush(self) -> None:
        if self.rows:
            if self.file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                options = shards.parquet_options(self.schema, CONFIG.row_group_mb * 1_000_000)
                self.file = pq.ParquetWriter(self.folder / ".part", self.schema, **options)
            self.file.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
            self.written += self.waiting
            self.rows, self.waiting = [], 0

    def close(self) -> None:
        """Finish a file under its name; further rows begin another one."""
        self._flush()
        if self.file is not None:
            self.file.close()
            (self.folder / ".part").replace(self.folder / f"train-{self.digest.hexdigest()[:16]}.parquet")
            self.file, self.written, self.digest = None, 0, hashlib.sha256(START)


def facts(found: Imported) -> list[tuple[str, str]]:
    """The figures worth reading, label and value."""
    lost = Counter(q.reason for q in found.lost)
    return [
        ("rows", f"{found.rows} of {found.rows + len(found.lost)}, {found.with_audio} with audio"),
        ("answers", _listed(dict(sorted(found.answers.items())))),
        ("mended", _listed(found.repairs) or "nothing"),
        ("lacking", _listed(found.missing) or "nothing"),
        ("quarantined", _listed(dict(lost.most_common())) or "none"),
    ]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def card(path: Path, found: Imported) -> str:
    """The README.md, with the header by which `datasets` finds the files."""
    header = json.dumps(
        [{"config_name": "released", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}]
    )
    table = "\n".join(f"| {label} | {value} |" for label, value in facts(found))
    return (
        f"---\nconfigs: {header}\n---\n\n# {path.stem}, cleaned\n\nRows that the authors of HyPeR released "
        "(arXiv 2604.14806), cleaned by `paqa import`. They have no scene, and their rationales were written from "
        f"descriptions: this is not a build of paqa.\n\n| | |\n|---|---|\n{table}\n"
    )


def text(found: Imported) -> str:
    """What is printed."""
    return "\n".join(f"{label:<12} {value}" for label, value in facts(found))
