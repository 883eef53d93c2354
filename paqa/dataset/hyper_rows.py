"""One row that the authors of HyPeR released: cleaned, or rejected with a reason.

Mended: code fences, escaped line breaks, THINK tags out of place, residue of JSON around the text, answers in
prose. What cannot be mended without guessing is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import msgspec

from paqa.errors import Rejected
from paqa.rationale import grammar
from paqa.sources.answer_choices import PLACEHOLDER, answer_index, question_and_choices
from paqa.sources.questions import ANSWER, AUDIO, CHOICES, TEXT, WRITTEN

LETTERS = "ABCDEFGH"
PERCEPTION = ("ENV", "SPEAKER", "ASR", "DESCRIPTION")
# where rows without a perceptual tag may have its content instead
OTHER_KEYS = {
    "ENV": ("bgm", "env_tag"),
    "ASR": ("asr",),
    "SPEAKER": ("speaker_analysis",),
}
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
# the article in "a dog" is no letter
LETTER = r"""\**(?:\(([a-h])\)|([b-h])(?=$|[\s.,;:!?"'*)])|(a)(?=\s*$|[.,;:!?"'*)]))"""
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
    r"|none of the (?:given |provided |available )?(?:options|choices|answers) (?:is|are)"
    r" (?:valid|correct|right)",
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


def parsed(line: bytes) -> dict[str, Any]:
    """A line as a JSON object; Rejected where it is none."""
    try:
        row: dict[str, Any] = msgspec.json.decode(line, type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected("broken_json", f"no JSON object ({error}); expected one a line") from None
    return row


def clean(row: Mapping[str, Any], unnamed: str, source: str) -> Released:
    """One row of the file; Rejected says why it cannot be used.

    `unnamed` is the id of a row without one, `source` the prefix of all other ids.
    """
    text = _value(row, TEXT)
    if not isinstance(text, str) or not PLACEHOLDER.sub(" ", text[:LONGEST]).strip():
        shown = repr(text)[:80]
        raise Rejected(
            "bad_row", f"the question is {shown}; expected its text under one of {', '.join(TEXT)}"
        )
    question, choices = question_and_choices(text, _value(row, CHOICES))
    if not 2 <= len(choices) <= len(LETTERS) or len({_plain(c) for c in choices}) < len(choices):
        expected = f"expected two to {len(LETTERS)} different ones"
        raise Rejected("bad_choices", f"found the choices {str(choices)[:200]}; {expected}")
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
    perception = {tag: leaves.get(tag) or _text(_value(row, OTHER_KEYS.get(tag, ()))) for tag in PERCEPTION}
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
        env=perception["ENV"],
        speaker=perception["SPEAKER"],
        asr=perception["ASR"],
        description=perception["DESCRIPTION"],
        reasoning=leaves["REASONING"],
        summary=leaves["SUMMARY"],
        response=leaves["RESPONSE"],
        reflect=leaves.get("REFLECT"),
        final_answer=leaves.get("FINAL_ANSWER"),
        missing=tuple(tag for tag in PERCEPTION if not perception[tag]),
        repairs=tuple(repairs),
        audio_path=_audio_path(row),
    )


def _value(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) not in (None, "", [])), None)


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _audio_path(row: Mapping[str, Any]) -> str:
    path = _value(row, AUDIO)
    path = path[0] if isinstance(path, list) else path
    if not isinstance(path, str):
        raise Rejected("bad_row", f"names no audio file; expected one of the keys {', '.join(AUDIO)}")
    return path


def mended(text: str) -> tuple[dict[str, str], list[str]]:
    """The text in each tag of a written out answer, and what was mended; Rejected where it is unclear."""
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
    tags = [_Tag(m[1] + m[2].replace("BGM", "ENV"), m.start(), m.end()) for m in TAG.finditer(text)]
    around = [tag.name for tag in tags if tag.name in ("THINK", "/THINK", "RESPONSE")]
    if around != ["THINK", "/THINK", "RESPONSE"]:
        repairs.append("think_tags")
    tags = [tag for tag in tags if tag.name not in ("THINK", "/THINK")]
    leaves, outside = _leaves(re.sub(r"</?THINK>", lambda m: " " * len(m[0]), text), tags)
    if outside.strip():
        if len(outside.strip()) > LONGEST_RESIDUE or not RESIDUE.fullmatch(outside.strip()):
            raise Rejected(
                "text_outside_tags", f"found {outside.strip()[:80]!r} outside of the tags; expected nothing"
            )
        repairs.append("residue")
    return leaves, repairs


class _Tag(NamedTuple):
    """A tag such as `/CAPTION`, and where it stands in the text."""

    name: str
    start: int
    end: int


def _leaves(text: str, tags: Sequence[_Tag]) -> tuple[dict[str, str], str]:
    """Contents by tag, and the text outside of all tags. Perceptual tags lie inside of CAPTION."""
    top = [tag for tag in tags if tag.name.lstrip("/") not in PERCEPTION]
    inner = [tag for tag in tags if tag.name.lstrip("/") in PERCEPTION]
    names = [tag.name for tag in top]
    for order in (ORDER, REFLECTED):
        if names == [slash + tag for tag in order for slash in ("", "/")]:
            break
    else:
        raise Rejected(
            "bad_structure", f"found the tags {' '.join(names)[:160]}; expected {' '.join(ORDER)} once each"
        )
    spans = {}
    outside, at = "", 0
    for opening, closing in zip(top[::2], top[1::2], strict=True):
        spans[opening.name] = (opening.end, closing.start)
        outside += text[at : opening.start]
        at = closing.end
    outside += text[at:]
    first, last = spans["CAPTION"]
    for opening, closing in zip(inner[::2], inner[1::2], strict=False):
        inside = first <= opening.start and closing.end <= last
        if f"/{opening.name}" != closing.name or opening.name in spans or not inside:
            raise Rejected(
                "bad_structure", f"<{opening.name}> is not closed, stands twice or is not in CAPTION"
            )
        spans[opening.name] = (opening.end, closing.start)
    if len(inner) % 2:
        raise Rejected("bad_structure", f"<{inner[-1].name}> has no other half")
    leaves = {name: text[start:end].strip() for name, (start, end) in spans.items()}
    if empty := [name for name in order if not leaves[name]]:
        raise Rejected("empty_tag", f"<{empty[0]}> is empty; expected text")
    return leaves, outside


def _doubts(leaves: Mapping[str, str]) -> None:
    """Reject a rationale that quotes a description instead of the audio, or doubts every choice."""
    rationale = "\n".join(leaves.values())
    if match := READ.search(rationale):
        raise Rejected("read_not_heard", f"speaks of what its writer was given: {_near(rationale, match)!r}")
    if match := DOUBT.search(rationale):
        raise Rejected("doubts_the_choices", f"says that the question is wrong: {_near(rationale, match)!r}")


def _near(text: str, match: re.Match[str]) -> str:
    return " ".join(text[max(0, match.start() - 40) : match.end() + 40].split())


def _answer(leaves: Mapping[str, str], choices: Sequence[str], stated: Any) -> int:
    """The index of the final answer; Rejected where the rationale and the row's `stated` answer differ."""
    index = chosen(leaves.get("FINAL_ANSWER") or leaves["RESPONSE"], choices)
    if stated is None:
        return index
    stated_index = answer_index(stated, choices)
    if stated_index != index:
        raise Rejected(
            "contradiction", f"the row says {choices[stated_index]!r}, its rationale {choices[index]!r}"
        )
    return stated_index


def chosen(text: str, choices: Sequence[str]) -> int:
    """The index of the choice that prose gives; Rejected where it names none or several of them.

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
        text_choice = choices[cited.pop()]
        raise Rejected(
            "contradiction", f"gives {grammar.letter(index)} {choices[index]!r}, but says {text_choice!r}"
        )
    return index


def _cited(text: str, choices: Sequence[str]) -> set[int]:
    """The choices whose words stand in the text, without those that are part of a longer such choice."""
    words = _plain(text)
    present = {i for i, choice in enumerate(choices) if f" {_plain(choice)} " in f" {words} "}
    contained = {i for i in present for j in present if j != i and _plain(choices[i]) in _plain(choices[j])}
    return present - contained


def _plain(text: str) -> str:
    return " ".join(NUMBERS.get(w, w) for w in re.findall(r"[^\W_]+(?:'\w+)?", text.lower()))


def _render(leaves: Mapping[str, str], index: int, choices: Sequence[str]) -> str:
    """The rationale in our tags, its answer as `(B) exact choice text`; a first response stays."""
    final = shown = grammar.response(index, choices[index])
    more = ""
    if "REFLECT" in leaves:
        first = chosen(leaves["RESPONSE"], choices)
        shown = grammar.response(first, choices[first])
        more = f"\n<REFLECT>{leaves['REFLECT']}</REFLECT>\n<FINAL_ANSWER>{final}</FINAL_ANSWER>"
    thought = "\n".join(f"<{tag}>{leaves[tag]}</{tag}>" for tag in ORDER[:-1])
    return f"<THINK>{thought}</THINK>\n<RESPONSE>{shown}</RESPONSE>{more}"
