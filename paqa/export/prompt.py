"""How a row is put to a model in the exported lists: the question, then its choices by letter, one a line."""

from __future__ import annotations

import re

from paqa import rationale
from paqa.types import Item

PLACEHOLDER = re.compile(r"<(/?(?:audio|image|video|bbox|ref-object)[^<>]*)>", re.IGNORECASE)


def prompt(item: Item) -> str:
    """The question and its choices; an open-ended question stands alone."""
    lines = [item.question, *(f"{rationale.letter(i)} {choice}" for i, choice in enumerate(item.choices))]
    return literal("\n".join(lines))


def answer(item: Item) -> str:
    """What RESPONSE (of a reflected row: FINAL_ANSWER) has to say, `(B) exact choice text`."""
    return literal(rationale.response(item.answer_index, item.answer))


def literal(text: str) -> str:
    """The text with what trainers take for a place to put media, `<audio>`, in other brackets."""
    return PLACEHOLDER.sub(r"‹\1›", text)
