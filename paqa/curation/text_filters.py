"""Swear words and personal data, which a recipe may keep out of questions and answers."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from paqa.text import normal

ENDINGS = ("", "s", "es", "ed", "er", "ers", "ing", "y")
DIGITS = "zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple"
PERSONAL = {
    "e-mail address": re.compile(
        r"[\w.+-]+ ?(?:@| at (?=\S+ dot )) ?[\w-]+ ?(?:\.| dot ) ?[A-Za-z]{2,}", re.IGNORECASE
    ),
    "telephone number": re.compile(
        r"(?<![\w.])(?!\d+\.\d+(?![.\d]))\+?\(?\d(?:[ ()./-]{0,2}\d){6,14}(?!\w)"
        rf"|\b(?:(?:{DIGITS})[\s,-]+){{6,}}(?:{DIGITS})\b",
        re.IGNORECASE,
    ),
    "postal address": re.compile(
        r"\b\d{1,5}[a-z]?,? (?:[A-Z][\w'.]+ ){1,3}"
        r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Drive|Boulevard|Blvd|Court"
        r"|Square|Close|Way|Place)\b"
    ),
}


@cache
def _swear_words() -> frozenset[str]:
    """The words of `paqa/data/profanity.txt` with their usual endings."""
    lines = resources.files("paqa").joinpath("data/profanity.txt").read_text(encoding="utf-8").splitlines()
    stems = [line for line in lines if line and not line.startswith("#")]
    doubled = [stem + stem[-1] for stem in stems if stem[-1] in "t"]  # shitty, titties
    return frozenset(stem + ending for stem in [*stems, *doubled] for ending in ENDINGS)


def profanity(text: str) -> str | None:
    """The first swear word of a text, or None."""
    return next((word for word in normal(text).split() if word in _swear_words()), None)


def personal_data(text: str) -> str | None:
    """What kind of data about a person a text holds and where, or None."""
    matches = ((kind, pattern.search(text)) for kind, pattern in PERSONAL.items())
    return next((f"{kind} {match[0]!r}" for kind, match in matches if match), None)
