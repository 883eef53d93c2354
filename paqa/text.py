"""Words and sentences of a text, also where a script has no spaces between its words.

Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without them. Their texts are compared, counted
and cut by characters, each with its marks, as a character error rate does: what a word is there, only a
dictionary knows.
"""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from functools import lru_cache
from itertools import zip_longest

# Thai, Lao, Burmese, Khmer, kana and Han, with what is stacked on or under their letters
_LETTERS = (
    "\u0e01-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
_MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u17b4-\u17d3\u17dd\u3099\u309a"
    "\u102b-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d"
)
_WIDE = "\u3001-\u3003\u3008-\u301f\uff01-\uff0f\uff1a-\uff1f\u104a\u104b\u17d4\u17d5"  # their punctuation
CHARACTER = re.compile(rf"[{_LETTERS}](?:[{_MARKS}]|(?<=[\u1039\u17d2])[{_LETTERS}])*")
UNCLEAR_WORD = "[unclear]"  # stands in a turn's text for words of which nobody is sure
CHARACTERS_A_WORD = 2  # a word of these scripts is about as long as that
_PIECE = re.compile(rf"{CHARACTER.pattern}|[^\s{_LETTERS}]+")
_GAP = re.compile(rf"(?<=[{_LETTERS}{_WIDE}])\s+(?=[{_LETTERS}{_WIDE}])")
_TOKEN = re.compile(r"[^\s。！？]*[。！？]+[」』”’）)]*|[^\s。！？]+")
_CLOSING, _OPENING = "\"'”’»)]」』", "\"'“‘«([¿¡「『-–—"
_ENDS = (".", "?", "!", "…")
_ENDS_ALWAYS = ("。", "！", "？", "؟", "۔", "।", "။", "។")
_ABBREVIATED = frozenset(
    {
        *("mr", "mrs", "ms", "mx", "dr", "prof", "st", "mt", "jr", "sr", "rev", "hon", "gen", "col", "capt"),
        *("lt", "sgt", "maj", "gov", "sen", "vs", "etc", "approx", "e.g", "i.e", "ph.d"),
    }
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # J, U.S, a.m


def length(text: str) -> float:
    """How many words long a text is; of a script without spaces, two characters count as a word."""
    if not CHARACTER.search(text):
        return len(text.split())
    words = sum(any(map(str.isalnum, word)) for word in CHARACTER.sub(" ", text).split())
    return words + len(CHARACTER.findall(text)) / CHARACTERS_A_WORD


def beginning(text: str, words: int) -> str:
    """The first words of a text, as many as its `length` says."""
    if not CHARACTER.search(text):
        return " ".join(text.split()[:words])
    counted = 0.0
    for piece in _PIECE.finditer(text):
        counted += 1 / CHARACTERS_A_WORD if CHARACTER.match(piece[0]) else any(map(str.isalnum, piece[0]))
        if counted >= words:
            return text[: piece.end()]
    return text


def apart(text: str) -> str:
    """The text with a space around every character of a script that has none between its words."""
    return CHARACTER.sub(r" \g<0> ", text)


def without_gaps(text: str) -> str:
    """The text without spaces between such characters, as it is written: transcribers give it in pieces."""
    return _GAP.sub("", text)


def sentence_ends(text: str) -> list[int]:
    """Where the sentences of a text end, as places in it. Where words have no spaces, a space ends one."""
    tokens = list(_TOKEN.finditer(text))
    return [
        token.end()
        for token, after in zip_longest(tokens, tokens[1:])
        if ends_sentence(token[0], after[0] if after else "") or (after and _GAP.match(text, token.end()))
    ]


def ends_sentence(word: str, following: str = "") -> bool:
    """Whether a sentence ends with this word, given the next one.

    None does with an abbreviation ("Mr."), initials ("J. R.", "U.S.") or between digits ("3. 5"), nor with an
    ellipsis or a quotation before a small letter ("well... no").
    """
    bare, after = word.rstrip(_CLOSING), following.lstrip(_OPENING)[:1]
    if bare.endswith(_ENDS_ALWAYS):
        return True
    if not bare.endswith(_ENDS) or (after.islower() and (bare != word or bare.endswith(("..", "…")))):
        return False
    stem = bare[:-1].lstrip(_OPENING).casefold()
    if not bare.endswith(".") or stem == "i":
        return True
    numbered = after.isdigit() and (stem[-1:].isdigit() or stem == "no")
    return not (numbered or stem in _ABBREVIATED or _INITIALS.fullmatch(stem))


def rng_for(*parts: object) -> random.Random:
    """A generator seeded by the SHA-256 of its arguments: the same on every machine, in any order."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


@lru_cache(maxsize=16384)
def clean(text: str) -> str:
    """One line without double quotes or angle brackets, ready to stand between double quotes."""
    text = re.sub(r'["“”„«»]', "'", text).replace("<", "‹").replace(">", "›")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@lru_cache(maxsize=16384)
def normal(text: str) -> str:
    """What two texts are compared by, never what is shown: case, punctuation and spacing removed.

    Characters of scripts without spaces between words stand alone, like words.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else "" if c in "'’" else " " for c in text)
    return " ".join(apart("".join(kept)).split())
