"""English phrases: numbers, lists, times, sound names and quotations that fit into sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

from paqa.questions.sound_names import BARE, SPOKEN
from paqa.spans import Interval
from paqa.text import UNCLEAR_WORD, beginning, clean, length, sentence_ends

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
PROPER = ("Afrobeat", "Carnatic", "Middle Eastern")
QUOTE_WORDS = (3, 25)  # shorter texts say too little, longer ones cannot be kept in mind
SURE_WORDS = 4  # that a text begins with before words that are unclear, to be quoted up to there
ORDINALS = (
    "", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth",
)  # fmt: skip


def number(n: int) -> str:
    """A small whole number as a word, a large one as digits."""
    return NUMBERS[n] if 0 <= n < len(NUMBERS) else str(n)


def ordinal(n: int) -> str:
    """First, second, ... twelfth, 13th, 21st."""
    if 0 < n < len(ORDINALS):
        return ORDINALS[n]
    suffix = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"


def times(n: int) -> str:
    """Once, twice, three times."""
    return {1: "once", 2: "twice"}.get(n, f"{number(n)} times")


def listing(items: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def clauses(items: Sequence[str]) -> str:
    """A list of longer parts, with a comma before the last one too."""
    return ", and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def seconds(ms: int) -> str:
    """A moment, to a tenth of a second: `1.2 s`."""
    return f"{ms / 1000:.1f} s"


def span(interval: Interval) -> str:
    """A stretch of time, to a tenth of a second: `1.2-3.4 s`."""
    return f"{interval[0] / 1000:.1f}-{interval[1] / 1000:.1f} s"


def spans(intervals: Iterable[Interval], most: int = 4) -> str:
    """Several stretches: `1.2-3.4 s, 5.0-6.1 s and 8.0-8.4 s`."""
    stretches = [span(i) for i in intervals]
    if len(stretches) > most:
        stretches = [*stretches[:most], f"{len(stretches) - most} more"]
    return listing(stretches)


def speakers(numbers: Sequence[int]) -> str:
    """`speaker 2`, `speakers 1 and 3`."""
    return f"speaker{'s' if len(numbers) > 1 else ''} {listing([str(n) for n in numbers])}"


def upper(text: str) -> str:
    """The text with a capital first letter, whatever follows left alone."""
    return text[:1].upper() + text[1:]


def lower(text: str) -> str:
    """The text with a small first letter, for use inside a sentence."""
    return text if text.startswith(PROPER) else text[:1].lower() + text[1:]


def quoted(text: str) -> str:
    """The text between double quotes, as prose does."""
    return f'"{clean(text)}"'


def excerpt(text: str, words: int = 6) -> str:
    """The first words of a text between double quotes, with an ellipsis where it goes on.

    Words that are unclear are never quoted: of a text with such words, the first ones before these, else some
    after them.
    """
    line = clean(text)
    if UNCLEAR_WORD in line:
        head, *rest = (stretch.strip() for stretch in line.split(UNCLEAR_WORD))
        stretch = head or max(rest, key=length)
        quoted_words = beginning(stretch, words).rstrip(".,;:，、；：")
        return f'"{"" if head else "... "}{quoted_words} ..."' if stretch else '"..."'
    if length(line) > words + 1:
        return f'"{beginning(line, words).rstrip(".,;:，、；：")} ..."'
    return quoted(line.rstrip("."))


@lru_cache(maxsize=16384)
def tidy(text: str) -> str:
    """Punctuation at closing quotation marks: no full stop before a comma, no mark doubled."""
    text = re.sub(r'(?<!\.)\.("[?,;:])', r"\1", text)
    return re.sub(r'([.!?…]")[.?]', r"\1", text)


def opening(text: str) -> tuple[str, bool]:
    """What a question can quote of a text, and whether that is all of it.

    The text itself where it is of good length; of a longer one as many first sentences as fit; else nothing.
    A text with words that are unclear is quoted up to these, if SURE_WORDS or more come before.
    """
    low, high = QUOTE_WORDS
    line = clean(text)
    before, unclear, _ = line.partition(UNCLEAR_WORD)
    if unclear:
        line = before.rstrip(" ,;:-–—")
        if length(line) < SURE_WORDS:
            return "", False
        if length(line) <= high:
            return line, False
    if low <= length(line) <= high:
        return line, True
    kept = ""
    for end in sentence_ends(line):
        if length(line[:end]) > high:
            break
        kept = line[:end]
    return (kept, False) if length(kept) >= low else ("", False)


@cache
def spoken(label: str) -> str:
    """An AudioSet label as a noun phrase with its article where it needs one: `a dog`, `rain`, `footsteps`.

    Made for frames in which number does not matter: "the sound of ...", "... can be heard".
    """
    if label in SPOKEN:
        return SPOKEN[label]
    parts = [p.strip() for p in re.sub(r"\([^)]*\)", "", label).split(",")]
    phrase = " ".join(next((p for p in parts if p), label).split()) or "unnamed sound"
    phrase = phrase if phrase[1:2].isupper() else lower(phrase)
    return phrase if _needs_no_article(phrase) else f"{article(phrase)} {phrase}"


def article(phrase: str) -> str:
    """`a` or `an`, by the first letter (and the few words that fool it)."""
    vowel = phrase[:1].lower() in "aeiou" and not re.match(r"(?i)(uni|use|eu|one\b|ukul)", phrase)
    return "an" if vowel or re.match(r"(?i)(hour|honest)", phrase) else "a"


def the_sound(label: str) -> str:
    """`the sound of a dog`: a singular subject whatever the label."""
    return f"the sound of {spoken(label)}"


def _needs_no_article(phrase: str) -> bool:
    head = phrase.split()[-1].lower()
    if head in BARE:
        return True
    gerund = head.endswith("ing") and len(head) > 5 and head not in ("string", "spring")
    many = head.endswith("s") and not head.endswith(("ss", "us", "is"))
    return gerund or many
