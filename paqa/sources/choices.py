"""Multiple-choice questions as other datasets write them, brought into one form.

Choices are a list or stand in the question: "(a) dog (b) cat", "A. dog B. cat", one a line, or "['dog', 'cat']". The
answer is an index from 0, a letter, the text of a choice, or a letter with its text; where readings contradict each
other the question cannot be used. Everything raises `Rejected` with `bad_question`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from paqa.errors import Rejected
from paqa.types import GivenQuestion

PLACEHOLDER = re.compile(r"<\|?/?(?:audio|sound|speech|AUDIO)[^<>]*>(?:\s*</\w+>)?")
LISTED = re.compile(r"\[\s*['\"].*?['\"]\s*\]", re.DOTALL)
INVITATION = re.compile(
    r"[\s\n]*(?:please\s+)?(?:choose|select|pick)[^.?!\n]*(?:options?|choices?|answers?)[^.?!\n]*[:.]?\s*$"
    r"|\s*(?:choices|options)\s*:\s*$",
    re.IGNORECASE,
)
MARKS = (
    re.compile(r"\(([A-Ha-h])\)\s*"),
    re.compile(r"(?<![\w(])([A-H])[.):]\s+"),
    re.compile(r"(?<![\w(])([a-h])\)\s+"),
)
LETTER = re.compile(r"\(?([A-Ha-h])(?:\)|\.|:|\)\.|\):)?")
LETTERED = re.compile(r"\(?([A-Ha-h])[.):]+\s*(.+)", re.DOTALL)


def given(name: str, task: str, text: Any, choices: Any, answer: Any) -> GivenQuestion:
    """The question under the id `name`; Rejected where text, choices or answer are missing or unclear."""
    if not isinstance(text, str) or not PLACEHOLDER.sub(" ", text).strip():
        raise Rejected("bad_question", f"the question is {text!r}; expected its text")
    if choices is None:
        question, options = inline(PLACEHOLDER.sub(" ", text))
    else:
        question, options = PLACEHOLDER.sub(" ", text), listed(choices)
    same = [option for option in options if [_plain(o) for o in options].count(_plain(option)) > 1]
    if len(options) < 2 or same or not all(options):
        found = f"{len(options)} choices, {'twice ' + repr(same[0]) if same else repr(options)[:80]}"
        raise Rejected("bad_question", f"found {found}; expected at least two different ones")
    return GivenQuestion(name, task, " ".join(question.split()), tuple(options), answer_index(answer, options))


def listed(choices: Any) -> list[str]:
    """Choices of a list, or of a text that holds one or names them by letters; letters before them are taken off."""
    if isinstance(choices, str):
        return inline(choices)[1]
    if not isinstance(choices, Sequence):
        raise Rejected("bad_question", f"choices are {choices!r}; expected a list")
    texts = [" ".join(str(choice).split()) for choice in choices]
    marks = [LETTERED.fullmatch(text) for text in texts]
    if all(mark and _index(mark[1]) == i for i, mark in enumerate(marks)):
        return [mark[2].strip() for mark in marks if mark]
    return texts


def inline(text: str) -> tuple[str, list[str]]:
    """The question before its choices, and these; [] where the text holds none."""
    if found := list(LISTED.finditer(text)):
        try:
            values = ast.literal_eval(found[-1][0])
        except (ValueError, SyntaxError):
            values = []
        if len(values) > 1:
            return INVITATION.sub("", text[: found[-1].start()]), [" ".join(str(v).split()) for v in values]
    for mark in MARKS:
        marks = list(mark.finditer(text))
        begin = max((i for i, m in enumerate(marks[:-1]) if _index(m[1]) == 0), default=None)
        if begin is None:
            continue
        run = marks[begin:]
        run = [m for i, m in enumerate(run) if [_index(n[1]) for n in run[: i + 1]] == list(range(i + 1))]
        ends = [m.start() for m in run[1:]] + [
            marks[begin + len(run)].start() if begin + len(run) < len(marks) else None
        ]
        options = [_tidy(text[m.end() : end]) for m, end in zip(run, ends, strict=True)]
        if len(options) > 1:
            return INVITATION.sub("", text[: run[0].start()]), options
    return text, []


def answer_index(answer: Any, choices: Sequence[str]) -> int:
    """Which choice an answer names, from 0."""
    readings = _readings(answer, choices)
    if len(readings) != 1:
        problem = "names no choice" if not readings else "can be read in two ways"
        raise Rejected("bad_question", f"answer {str(answer)[:80]!r} {problem}; choices: {' | '.join(choices)[:120]}")
    return readings.pop()


def _readings(answer: Any, choices: Sequence[str]) -> set[int]:
    if isinstance(answer, int) and not isinstance(answer, bool):
        return {answer} & set(range(len(choices)))
    if not isinstance(answer, str):
        return set()
    text = answer.strip()
    exact = {i for i, choice in enumerate(choices) if _plain(choice) == _plain(text)}
    if letter := LETTER.fullmatch(text):
        return exact | ({_index(letter[1])} & set(range(len(choices))))
    if exact:
        return exact
    if lettered := LETTERED.fullmatch(text):
        named = {_index(lettered[1])} & set(range(len(choices)))
        return {i for i in named if _agree(_plain(choices[i]), _plain(lettered[2]))}
    return {int(text)} & set(range(len(choices))) if text.isdecimal() else set()


def _agree(choice: str, text: str) -> bool:
    """Whether a text after a letter is its choice, whole, shortened or lengthened."""
    return choice.startswith(text) or text.startswith(choice)


def _index(letter: str) -> int:
    return ord(letter.lower()) - ord("a")


def _tidy(text: str) -> str:
    return " ".join(text.split()).strip(" ,;|")


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().strip(" .,;:!?\"'")
