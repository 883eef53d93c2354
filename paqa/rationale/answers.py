"""The answer of a completion: which choice its one answer block names. Nothing is read from prose."""

from __future__ import annotations

import re
from collections.abc import Sequence

from paqa.rationale import grammar
from paqa.rationale.escaping import unescape
from paqa.rationale.trace import Response
from paqa.text import normal

_BLOCK = re.compile(r"<(RESPONSE|FINAL_ANSWER)>(.*?)</\1>", re.DOTALL)
_ANSWER_TAG = re.compile(r"</?(?:RESPONSE|FINAL_ANSWER)>")
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)
_LEAD = re.compile(
    r"(?:the )?(?:(?:correct|right|final|best) )?(?:answer|choice|option)(?: is)?:?\s+", re.IGNORECASE
)
_LETTERED = re.compile(r"\(?([A-Za-z])(?:[).:]+\s*|$)(.*)", re.DOTALL)  # (B) a cat, B. a cat, (b), B


def accuracies(
    completion: str,
    choices: Sequence[str],
    answer_index: int | None,
    answer: str = "",
    letters: bool = True,
) -> dict[str, float]:
    """Whether the answer of a completion is right, each as 1.0 or 0.0.

    `accuracy`: it names the right choice and no other (see `chosen`). `accuracy_strict`: it is letter and
    exact text of the right choice, the text alone without `letters`. Where there are choices, also
    `accuracy_by_letter` (its letter is right, whatever its words), `accuracy_by_text` (its words are right,
    whatever its letter), and `chance`, the probability that a random choice is right. An open-ended answer
    (`answer_index` None) must be `answer` but for case, punctuation and spacing.
    """
    text = answer_text(completion) or ""
    if answer_index is None:
        right = normal(answer) != "" and normal(text) == normal(answer)
        return dict.fromkeys(("accuracy", "accuracy_strict"), float(right))
    exact = answer_of(completion, letters)
    letter, words = lettered(text)
    rights = {
        "accuracy": chosen(text, choices) == answer_index,
        "accuracy_strict": exact is not None
        and exact.index == (answer_index if letters else None)
        and exact.text in choices[answer_index : answer_index + 1],
        "accuracy_by_letter": letter == answer_index < len(choices),
        "accuracy_by_text": answer_index in _with_words(words, choices),
    }
    return {name: float(right) for name, right in rights.items()} | {"chance": 1 / max(1, len(choices))}


def answer_text(completion: str) -> str | None:
    """The text of a completion's one answer: its single RESPONSE, or its single FINAL_ANSWER after that.

    None where there are none or several.
    """
    block = _block(completion)
    return None if block is None else unescape(block.strip())


def answer_of(completion: str, letters: bool = True) -> Response | None:
    """The one answer of a completion, read strictly as `(B) exact choice text`; None where it is not that.

    Without `letters` any text is an answer.
    """
    block = _block(completion)
    try:
        return None if block is None else grammar.parse_response(block, letters)
    except grammar.GrammarError:
        return None


def chosen(text: str, choices: Sequence[str]) -> int | None:
    """The one choice that an answer names; None where it names none, or more than one.

    It is named by its letter (`(B)`, `b.`, `B`), by its words but for case, punctuation and spacing, or by
    both. Choices that differ in nothing else are told apart by their letters, or their exact words. A letter
    with the words of another choice, or with words that are no choice's, names none: else an answer could be
    a letter beside words that fit every question.
    """
    for i, choice in enumerate(choices):
        if text == f"{grammar.letter(i)} {choice}":  # the exact form, whatever else it could be read as
            return i
    letter, words = lettered(text)
    named = _with_words(text, choices)
    if letter is not None and letter < len(choices):
        of_words = _with_words(words, choices)
        if letter in of_words or not (of_words or normal(words)):
            named.add(letter)
    return named.pop() if len(named) == 1 else None


def choice_in_free_text(text: str, choices: Sequence[str]) -> int | None:
    """The one choice that a model names which was not trained on our grammar; None as of `chosen`.

    Of a rationale its answer counts. Of any other text the whole, else its last line, else its first, without
    Markdown, "The answer is" and what a reasoning model thinks before it.
    """
    if _ANSWER_TAG.search(text):
        return chosen(answer_text(text) or "", choices)
    plain = re.sub(r"[*`_]", "", without_thought(text)).strip()
    lines = [line.strip() for line in plain.splitlines() if line.strip()] or [""]
    texts = (text for part in (plain, lines[-1], lines[0]) for text in (part, _LEAD.sub("", part, count=1)))
    tried = (chosen(text.strip(), choices) for text in texts)
    return next((index for index in tried if index is not None), None)


def without_thought(text: str) -> str:
    """A reply without what a reasoning model thinks before it."""
    return _THOUGHT.sub("", text).strip()


def lettered(text: str) -> tuple[int | None, str]:
    """The letter that an answer begins with, as an index (None without one), and the words that follow."""
    match = _LETTERED.fullmatch(text)
    return (ord(match[1].upper()) - ord("A"), match[2]) if match else (None, text)


def _with_words(words: str, choices: Sequence[str]) -> set[int]:
    """The choices with exactly these words, else those that differ in case, punctuation and spacing alone."""
    exact = {i for i, choice in enumerate(choices) if words and choice == words}
    wanted = normal(words)
    return exact or {i for i, choice in enumerate(choices) if wanted and normal(choice) == wanted}


def _block(completion: str) -> str | None:
    tags = _ANSWER_TAG.findall(completion)
    # Many opening tags would also make the search below slow: each is searched for up to the end.
    if len(tags) not in (2, 4):
        return None
    blocks = _BLOCK.findall(completion)
    names = [name for name, _ in blocks]
    if names not in (["RESPONSE"], ["RESPONSE", "FINAL_ANSWER"]) or len(tags) != 2 * len(names):
        return None
    return str(blocks[-1][1])
