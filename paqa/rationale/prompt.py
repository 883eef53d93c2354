"""What a model is asked about a row: the question and its choices, one a line.

`prompt` and `answer` are what exported lists hold. `question` is what `paqa-train` asks, in training and
evaluation alike: the same lines, in which no text can forge a token of the model, and how to answer them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from paqa.rationale import grammar
from paqa.rationale.escaping import escape
from paqa.types import Item

PLACEHOLDER = re.compile(r"<(/?(?:audio|image|video|bbox|ref-object)[^<>]*)>", re.IGNORECASE)
OUTLINE, BRIEF_OUTLINE = "".join(grammar.SKELETON), "".join(grammar.BRIEF_SKELETON)
REFLECTION = "".join(grammar.REFLECTION)


@dataclass(frozen=True)
class PromptQuestion:
    """A question as the model meets it; open-ended where there are no choices.

    `reflect` asks to check the first answer and to answer again: rows that reflect are asked so, no others.
    `brief` asks for a brief rationale, `plain` for the answer alone, as benchmarks ask. Without `letters`
    choices are listed and named by their words alone.
    """

    id: str
    question: str
    choices: tuple[str, ...] = ()
    reflect: bool = False
    brief: bool = False
    plain: bool = False
    letters: bool = True

    @classmethod
    def of(cls, item: Item) -> PromptQuestion:
        """What a row of the dataset asks, in the style of its rationale."""
        brief = grammar.is_brief(item.rationale)
        letters = grammar.by_letter(item.choices, item.rationale)
        return cls(item.id, item.question, item.choices, item.reflected, brief, letters=letters)

    @property
    def by_letter(self) -> bool:
        """Whether an answer begins with a letter."""
        return self.letters and bool(self.choices)


def question(asked: PromptQuestion) -> str:
    """The text beside the sound. Choices look as RESPONSE must repeat them."""
    lines = _lines(escape(asked.question), map(escape, asked.choices), asked.letters)
    return "\n".join([*lines, instruction(asked)])


def instruction(asked: PromptQuestion) -> str:
    """How to answer."""
    named = "letter and words" if asked.letters else "words"
    how = f"with the {named} of one choice" if asked.choices else "with a few words"
    if asked.plain:
        return f"Answer {how}, and say nothing else."
    outline = BRIEF_OUTLINE if asked.brief else OUTLINE
    text = f"Listen, fill in these tags, and answer in RESPONSE {how}: {outline}"
    if asked.reflect:
        text += (
            "\nThen listen again, say in REFLECT what was wrong, and answer in FINAL_ANSWER: " + REFLECTION
        )
    return text


def prompt(item: Item) -> str:
    """The question and its choices; an open-ended question stands alone."""
    letters = grammar.by_letter(item.choices, item.rationale)
    return literal("\n".join(_lines(item.question, item.choices, letters)))


def answer(item: Item) -> str:
    """What RESPONSE (of a reflected row: FINAL_ANSWER) has to say, `(B) exact choice text` or the text."""
    index = item.answer_index if grammar.by_letter(item.choices, item.rationale) else None
    return literal(grammar.response(index, item.answer))


def literal(text: str) -> str:
    """The text with what trainers take for a place to put media, `<audio>`, in other brackets."""
    return PLACEHOLDER.sub(r"‹\1›", text)


def _lines(asked: str, choices: Iterable[str], letters: bool) -> list[str]:
    return [asked, *(f"{grammar.letter(i) if letters else '-'} {choice}" for i, choice in enumerate(choices))]
