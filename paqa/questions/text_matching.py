"""Whether words name something in a scene: a sound by its label, kind or everyday name, or what is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from paqa import audioset
from paqa.errors import PaqaError
from paqa.questions.english import spoken
from paqa.text import UNCLEAR_WORD, normal
from paqa.types import Turn

Words = frozenset[str]

# Words that say nothing about which sound or which words are meant.
EMPTY = frozenset(
    """a an the this that these those some any of in on at to from for by with as into over out and or but if
    so than is are was were be been being am do does did done have has had can could may might will would
    shall should must i you he she it we they his her its their my your our who whom whose what which when
    where why how there here etc very just also sound sounds sounding noise noises hear hears heard hearing
    listen audio audible clip recording recorded record video background foreground happen happens happening
    occur occurs present""".split()  # noqa: SIM905
)
PEOPLE = frozenset(
    """people person persons speaker speakers voice voices somebody someone anybody anyone individual
    individuals participant participants""".split()  # noqa: SIM905
)
TALKING = frozenset(
    "speak speaks speaking spoken speech talk talks talking human humans".split()  # noqa: SIM905
)

EXACT = 3  # the words are the very name
NAMED = 2  # the name among other words, or what the sound is a kind of
KIND = 1  # something related


def stem(word: str) -> str:
    """A word without the usual English endings: "dogs" and "dog", "barking" and "bark" have one stem each."""
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
    return frozenset(name_words for text in (label, spoken(label), *parts) if (name_words := words(text)))


@cache
def ancestor_labels(mid: str) -> tuple[str, ...]:
    """The labels of everything that a sound is a kind of; none for a sound that is not in AudioSet."""
    try:
        return tuple(sorted(audioset.label(m) for m in audioset.ancestors(mid)))
    except PaqaError:
        return ()


@cache
def descendant_labels(mid: str) -> tuple[str, ...]:
    """The labels of all kinds of a sound; none for the roots ("Animal"), whose kinds differ too much."""
    try:
        rooted = not audioset.parents(mid)
    except PaqaError:
        return ()
    kinds = audioset.classes()
    return () if rooted else tuple(audioset.label(m) for m in kinds if mid in audioset.ancestors(m))


def words_for_sound(mid: str, label: str) -> Words:
    """All words that may name a sound: those of its own names and of what it is a kind of."""
    words_of_names: set[str] = set()
    for name in (label, *ancestor_labels(mid)):
        words_of_names.update(*names(name))
    return frozenset(words_of_names)


def sounds_named(named: Words) -> list[tuple[str, str]]:
    """The AudioSet sounds, as machine id and label, that words describe by their own names."""
    if not named:
        return []
    sounds = [(mid, audioset.label(mid)) for mid in audioset.classes()]
    return [(mid, label) for mid, label in sounds if named <= frozenset().union(*names(label))]


def name_match(named: Words, mid: str, label: str) -> int:
    """How well words name a sound: EXACT, NAMED, KIND, or 0 for not at all."""
    if not named:
        return 0
    direct = _fit(named, names(label))
    kinds = max((_fit(named, names(kind)) - 1 for kind in ancestor_labels(mid)), default=0)
    special = KIND if any(named in names(kind) for kind in descendant_labels(mid)) else 0
    return max(direct, kinds, special)


def _fit(named: Words, name_words: Iterable[Words]) -> int:
    return max((_fit_one(named, name) for name in name_words), default=0)


def _fit_one(named: Words, name: Words) -> int:
    if name == named:
        return EXACT
    if name < named:
        return NAMED
    return KIND if named < name else 0


def listed_words(text: str) -> list[Words]:
    """The words of each part of a list: "a dog and a cat" has two."""
    word_sets = [words(part) for part in re.split(r",|;|&|\+|/|\band\b", text, flags=re.IGNORECASE)]
    return [part for part in word_sets if part]


def match_in_turn(text: str, turn: Turn) -> int:
    """How well a turn says a text: EXACT where it contains it, NAMED where it has all its words, else 0."""
    named = words(text)
    if not named or not turn.text:
        return 0
    phrase = re.sub(r"^(the|an?) ", "", normal(text))
    if f" {phrase} " in f" {normal(turn.text)} ":
        return EXACT
    return NAMED if named <= words(turn.text) else 0


def quote_around(text: str, turn: Turn, reach: int = 3) -> str:
    """The part of a turn that has the words of a text, with `reach` words on either side, for a quotation."""
    spoken_words = turn.text.replace(UNCLEAR_WORD, "...").split()
    named = words(text)
    at = [i for i, w in enumerate(spoken_words) if words(w) & named] or [0]
    first, last = max(0, at[0] - reach), min(len(spoken_words), at[-1] + 1 + reach)
    if last - first > 4 * reach:
        last = first + 4 * reach
    return " ".join(["..."] * (first > 0) + spoken_words[first:last] + ["..."] * (last < len(spoken_words)))


def number_in(text: str, number_words: Sequence[str]) -> int | None:
    """The one number in a text, in digits or as one of `number_words`; None where there is not just one."""
    candidates = [w for w in normal(text).split() if w.isdecimal() or w in number_words]
    if len(candidates) != 1 or len(candidates[0]) > 5:
        return None
    return int(candidates[0]) if candidates[0].isdecimal() else number_words.index(candidates[0])
