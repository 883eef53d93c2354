"""Multiple-choice questions as other datasets write them, brought into one form.

Choices are a list or stand in the question: "(a) dog (b) cat", "A. dog B. cat", one a line, or "['dog',
'cat']". The answer is an index from 0, a letter, the text of a choice, or a letter with its text; where
readings contradict each other the question cannot be used. Everything raises `Rejected` with `bad_question`.
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
INVITED = 400  # characters at the end of a question in which it may invite to choose
LONGEST = 10_000  # characters of a question with its choices, and of its choices
MOST = 26  # choices, as letters go
MARKS = (
    re.compile(r"\(([A-Ha-h])\)\s*"),
    re.compile(r"(?<![\w(])([A-H])[.):]\s+"),
    re.compile(r"(?<![\w(])([a-h])\)\s+"),
)
LETTER = re.compile(r"\(?([A-Ha-h])(?:\)|\.|:|\)\.|\):)?")
LETTERED = re.compile(r"\(?([A-Ha-h])[.):]+\s*(.+)", re.DOTALL)


def parse_question(name: str, task: str, text: Any, choices: Any, answer: Any) -> GivenQuestion:
    """The question under the id `name`; Rejected where text, choices or answer are missing or unclear."""
    question, options = question_and_choices(text, choices)
    plain = [_plain(option) for option in options]
    repeated = [option for option in options if plain.count(_plain(option)) > 1]
    if len(options) < 2 or repeated or not all(options):
        which = f"twice {repeated[0]!r}" if repeated else repr(options)[:80]
        detail = f"found {len(options)} choices, {which}; expected at least two different ones"
        raise Rejected("bad_question", detail)
    index = answer_index(answer, options)
    return GivenQuestion(name, task, " ".join(question.split()), tuple(options), index)


def question_and_choices(text: Any, choices: Any) -> tuple[str, list[str]]:
    """The question without its choices, and these, which may stand in it.

    Rejected where there are none, or they are endless.
    """
    if not isinstance(text, str) or not text.strip():
        raise Rejected("bad_question", f"the question is {str(text)[:80]!r}; expected its text")
    if len(text) > LONGEST:
        raise Rejected("bad_question", f"the question has {len(text)} characters; expected at most {LONGEST}")
    bare = PLACEHOLDER.sub(" ", text)
    if not bare.strip():
        raise Rejected("bad_question", f"the question is {text[:80]!r}; expected its text")
    question, options = inline(bare) if choices is None else (bare, listed(choices))
    if len(options) > MOST or any(len(option) > LONGEST for option in options):
        raise Rejected(
            "bad_question", f"found {len(options)} choices; expected at most {MOST}, each of one line"
        )
    return question, options


def listed(choices: Any) -> list[str]:
    """Choices of a list, or of a text with a list or lettered choices; letters before them are removed."""
    if isinstance(choices, str):
        if len(choices) > LONGEST:
            raise Rejected(
                "bad_question", f"the choices have {len(choices)} characters; expected at most {LONGEST}"
            )
        return inline(choices)[1]
    if not isinstance(choices, Sequence) or not all(
        isinstance(c, str | int | float) for c in choices[: MOST + 1]
    ):
        raise Rejected("bad_question", f"choices are {repr(choices)[:80]}; expected a list of texts")
    texts = [" ".join(_text(choice).split()) for choice in choices[: MOST + 1]]
    marks = [LETTERED.fullmatch(text) for text in texts]
    if all(mark and _index(mark[1]) == i for i, mark in enumerate(marks)):
        return [mark[2].strip() for mark in marks if mark]
    return texts


def inline(text: str) -> tuple[str, list[str]]:
    """The question before its choices, and these; [] where the text holds none."""
    if lists := list(LISTED.finditer(text)):
        try:
            values = ast.literal_eval(lists[-1][0])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            values = []
        if len(values) > 1:
            return _uninvited(text[: lists[-1].start()]), [" ".join(_text(v).split()) for v in values]
    for mark in MARKS:
        marks, options = _lettered(text, mark)
        if len(options) > 1:
            return _uninvited(text[: marks[0].start()]), options
    return text, []


def _lettered(text: str, mark: re.Pattern[str]) -> tuple[list[re.Match[str]], list[str]]:
    """The last run of marks a, b, c, ... in a text, and the choices after them."""
    marks = list(mark.finditer(text))
    first = max((i for i, m in enumerate(marks[:-1]) if _index(m[1]) == 0), default=len(marks))
    run: list[re.Match[str]] = []
    for m in marks[first:]:
        if _index(m[1]) != len(run):
            break
        run.append(m)
    following = marks[first + 1 : first + 1 + len(run)]
    ends = [m.start() for m in following] + [len(text)]
    return run, [_tidy(text[m.end() : end]) for m, end in zip(run, ends, strict=False)]


def _uninvited(question: str) -> str:
    """The question without "choose one of these options" at its end."""
    return question[:-INVITED] + INVITATION.sub("", question[-INVITED:])


def _text(value: Any) -> str:
    """A choice as text; Rejected for a number of thousands of digits, which Python does not write out."""
    try:
        return str(value)
    except ValueError:
        raise Rejected(
            "bad_question", "a choice is a number of thousands of digits; expected a text"
        ) from None


def answer_index(answer: Any, choices: Sequence[str]) -> int:
    """Which choice an answer names, from 0."""
    readings = _readings(answer, choices)
    if len(readings) != 1:
        problem = "names no choice" if not readings else "can be read in two ways"
        raise Rejected(
            "bad_question", f"answer {str(answer)[:80]!r} {problem}; choices: {' | '.join(choices)[:120]}"
        )
    return readings.pop()


def _readings(answer: Any, choices: Sequence[str]) -> set[int]:
    if isinstance(answer, int) and not isinstance(answer, bool):
        return {answer} & set(range(len(choices)))
    if not isinstance(answer, str):
        return set()
    text = answer.strip()[: 2 * LONGEST]
    exact = {i for i, choice in enumerate(choices) if _plain(choice) == _plain(text)}
    if letter := LETTER.fullmatch(text):
        return exact | ({_index(letter[1])} & set(range(len(choices))))
    if exact:
        return exact
    if lettered := LETTERED.fullmatch(text):
        named = {_index(lettered[1])} & set(range(len(choices)))
        return {i for i in named if _agree(_plain(choices[i]), _plain(lettered[2]))}
    return {int(text)} & set(range(len(choices))) if text.isdecimal() and len(text) < 9 else set()


def _agree(choice: str, text: str) -> bool:
    """Whether a text after a letter is its choice, whole, shortened or lengthened."""
    return choice.startswith(text) or text.startswith(choice)


def _index(letter: str) -> int:
    return ord(letter.lower()) - ord("a")


def _tidy(text: str) -> str:
    return " ".join(text.split()).strip(" ,;|")


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().strip(" .,;:!?\"'")
