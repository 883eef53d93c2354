"""Whether words name something that was heard: a sound by its label, its kind or its everyday name, or what
is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from paqa import audioset
from paqa.errors import PaqaError
from paqa.questions.english import spoken
from paqa.text import normal
from paqa.types import Turn

Words = frozenset[str]

# Words that say nothing about which sound or which words are meant.
EMPTY = frozenset(
    """a an the this that these those some any of in on at to from for by with as into over out and or but if so than
    is are was were be been being am do does did done have has had can could may might will would shall should must
    i you he she it we they his her its their my your our who whom whose what which when where why how there here
    etc very just also sound sounds sounding noise noises hear hears heard hearing listen audio audible clip recording
    recorded record video background foreground happen happens happening occur occurs present""".split()  # noqa: SIM905
)
PEOPLE = frozenset(
    """people person persons speaker speakers voice voices somebody someone anybody anyone individual individuals
    participant participants""".split()  # noqa: SIM905
)
TALKING = frozenset("speak speaks speaking spoken speech talk talks talking human humans".split())  # noqa: SIM905

EXACT, NAMED, KIND = (
    3,
    2,
    1,
)  # the very name; the name among other words, or what it is a kind of; something related


def stem(word: str) -> str:
    """A word without the usual English endings: "dogs", "barking" and "bark" meet, whatever else becomes of
    them.
    """
    for ending in ("s", "ing", "ed", "e"):
        cut = word.removesuffix(ending)
        if len(cut) >= 3 and not (ending == "s" and cut.endswith(("s", "u", "i"))):
            word = cut
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def words(text: str) -> Words:
    """The stems of the words that carry meaning."""
    return frozenset(stem(w) for w in normal(text).split() if w not in EMPTY)


SPEECH_WORDS = frozenset(stem(w) for w in PEOPLE | TALKING)


@cache
def names(label: str) -> frozenset[Words]:
    """The names of a sound, each as its words: "Chicken, rooster" is a chicken, a rooster, and both."""
    parts = [re.sub(r"\([^)]*\)", "", part) for part in label.split(",")]
    return frozenset(found for text in (label, spoken(label), *parts) if (found := words(text)))


@cache
def above(mid: str) -> tuple[str, ...]:
    """The labels of everything that a sound is a kind of; none for a sound that is not in AudioSet."""
    try:
        return tuple(sorted(audioset.label(m) for m in audioset.ancestors(mid)))
    except PaqaError:
        return ()


@cache
def below(mid: str) -> tuple[str, ...]:
    """The labels of all kinds of a sound; none for the roots ("Animal"), whose kinds have too little in
    common.
    """
    try:
        rooted = not audioset.parents(mid)
    except PaqaError:
        return ()
    kinds = audioset.classes()
    return () if rooted else tuple(audioset.label(m) for m in kinds if mid in audioset.ancestors(m))


def described(mid: str, label: str) -> Words:
    """All words that may be said of a sound: those of its names and of what it is a kind of."""
    return frozenset().union(*(name for known in (label, *above(mid)) for name in names(known)))


def meant(wanted: Words) -> list[tuple[str, str]]:
    """The AudioSet sounds, as machine id and label, that words describe by their own names."""
    if not wanted:
        return []
    known = [(mid, audioset.label(mid)) for mid in audioset.classes()]
    return [(mid, label) for mid, label in known if wanted <= frozenset().union(*names(label))]


def strength(wanted: Words, mid: str, label: str) -> int:
    """How well words name a sound, 0 to EXACT."""
    if not wanted:
        return 0
    own = _fit(wanted, names(label))
    kinds = max((_fit(wanted, names(known)) - 1 for known in above(mid)), default=0)
    special = KIND if any(wanted in names(known) for known in below(mid)) else 0
    return max(own, kinds, special)


def _fit(wanted: Words, known: Iterable[Words]) -> int:
    fits = (EXACT if n == wanted else NAMED if n < wanted else KIND if wanted < n else 0 for n in known)
    return max(fits, default=0)


def parts(text: str) -> list[Words]:
    """The words of each thing that a text lists: "a dog and a cat" are two."""
    found = [words(part) for part in re.split(r",|;|&|\+|/|\band\b", text, flags=re.IGNORECASE)]
    return [part for part in found if part]


def said_in(text: str, turn: Turn) -> int:
    """How well a turn says a text: EXACT where it contains it, NAMED where all of its words come in it, else
    0.
    """
    wanted = words(text)
    if not wanted or not turn.text:
        return 0
    phrase = re.sub(r"^(the|an?) ", "", normal(text))
    if f" {phrase} " in f" {normal(turn.text)} ":
        return EXACT
    return NAMED if wanted <= words(turn.text) else 0


def place(text: str, turn: Turn, reach: int = 3) -> str:
    """The words of a turn around those of a text, in order to quote them."""
    heard = turn.text.split()
    wanted = words(text)
    at = [i for i, w in enumerate(heard) if words(w) & wanted] or [0]
    first, last = max(0, at[0] - reach), min(len(heard), at[-1] + 1 + reach)
    if last - first > 4 * reach:
        last = first + 4 * reach
    return " ".join(["..."] * (first > 0) + heard[first:last] + ["..."] * (last < len(heard)))


def number_in(text: str, known: Sequence[str]) -> int | None:
    """The one number in a text, in digits or as one of the `known` words; None where there is none or
    several.
    """
    found = [w for w in normal(text).split() if w.isdecimal() or w in known]
    if len(found) != 1 or len(found[0]) > 5:
        return None
    return int(found[0]) if found[0].isdecimal() else known.index(found[0])
