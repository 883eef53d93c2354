"""The words of a scene one by one: as its turns write them, with their times where these are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from paqa.questions.context import MIN_TURN_MS, Context
from paqa.questions.english import quoted, seconds
from paqa.questions.text_matching import EMPTY, stem
from paqa.spans import interval, overlap
from paqa.text import CHARACTER, UNCLEAR_WORD, clean, ends_sentence, normal
from paqa.types import Evidence, Scene, Turn, Word

PHRASE_WORDS = 2  # that are offered together as a choice
CUE_WORDS = 3  # that are quoted together to ask what is next to them
WORD_LETTERS = 5  # shorter words are too easily misheard
PART_LETTERS = 4  # words of so many letters must not be part of one another
AROUND = " \"'“”‘’«»„.,;:!?…()[]-–—"  # what a word is quoted without


@dataclass(frozen=True)
class SpokenWord:
    """A word of a turn by its place in it, as a question quotes it; `index` is its row in `Scene.words`, None
    where its times are not known.
    """

    turn: int
    place: int
    text: str
    index: int | None

    @property
    def normal(self) -> str:
        return normal(self.text)


Phrase = tuple[SpokenWord, ...]


def turn_words(scene: Scene, index: int) -> list[SpokenWord | None]:
    """The words of a turn in order, None for a stretch that is unclear; [] where no spaces part the words."""
    turn = scene.turns[index]
    if CHARACTER.search(turn.text):
        return []
    timed = [(i, w) for i, w in enumerate(scene.words) if _belongs(w, turn)]
    english = (scene.language or "en").startswith("en")
    words: list[SpokenWord | None] = []
    begins = True  # a sentence
    for raw in turn.text.split():
        text = clean(raw).strip(AROUND)
        if UNCLEAR_WORD in raw:
            words.append(None)
        elif normal(text):
            match = next((n for n, (_, w) in enumerate(timed) if normal(w.text) == normal(text)), None)
            row = None if match is None else timed[match][0]
            timed = timed if match is None else timed[match + 1 :]
            words.append(SpokenWord(index, len(words), _inside(text) if begins and english else text, row))
        begins = ends_sentence(raw)
    return words


def _belongs(word: Word, turn: Turn) -> bool:
    return word.speaker == turn.speaker and turn.start_ms <= word.start_ms < turn.end_ms


def _inside(text: str) -> str:
    """A word as it is written within a sentence, as far as that can be told from its beginning one."""
    first_person = text == "I" or text[:2] in ("I'", "I’")
    return text if first_person or text[1:] != text[1:].lower() else text.lower()


def words_by_turn(ctx: Context) -> list[list[SpokenWord | None]]:
    """The words of every turn; [] for one that is too short, or that another turn of any speaker overlaps."""
    turns = ctx.scene.turns
    words: list[list[SpokenWord | None]] = []
    for i, turn in enumerate(turns):
        others = (interval(t) for t in (*turns[:i], *turns[i + 1 :]))
        alone = not any(overlap(interval(turn), other) for other in others)
        words.append(turn_words(ctx.scene, i) if alone and turn.end_ms - turn.start_ms >= MIN_TURN_MS else [])
    return words


def phrases(ctx: Context) -> list[Phrase]:
    """Groups of PHRASE_WORDS words in order, no two with a word in common, each `telling` and said once.

    Where the first group of a turn begins is drawn: it is not always the beginning of a sentence.
    """
    once = said_once(ctx.scene)
    groups: list[Phrase] = []
    for words in words_by_turn(ctx):
        start = ctx.rng.randrange(PHRASE_WORDS)
        for at in range(start, len(words) - PHRASE_WORDS + 1, PHRASE_WORDS):
            group = phrase_at(words, at, PHRASE_WORDS)
            if telling(group) and once(text_of(group)):
                groups.append(group)
    return groups


def single_words(ctx: Context) -> list[Phrase]:
    """The words that are `telling` and said once, each as a phrase of its own."""
    once = said_once(ctx.scene)
    words = [w for turn in words_by_turn(ctx) for w in turn if w and telling((w,))]
    return [(w,) for w in words if once(w.text)]


def phrase_at(words: Sequence[SpokenWord | None], at: int, size: int) -> Phrase:
    """The words from a place on; () where some of them are unclear or missing."""
    group = tuple(w for w in words[max(0, at) : at + size] if w)
    return group if at >= 0 and len(group) == size else ()


def telling(phrase: Phrase) -> bool:
    """Whether any of the words says something: "of the" is hardly heard, and easily misheard."""
    return any(len(w.normal) >= PART_LETTERS and w.normal not in EMPTY for w in phrase)


def said_once(scene: Scene) -> Callable[[str], bool]:
    """Whether a text is said exactly once in a scene."""
    # Two spaces between words, so that every word has its own on either side.
    whole = " " + "  ".join(" ".join(normal(t.text) for t in scene.turns).split()) + " "
    return lambda text: whole.count(" " + "  ".join(normal(text).split()) + " ") == 1


def clear_words(ctx: Context) -> list[SpokenWord]:
    """Meaningful words that are said once, in no other form, and are not part of another word."""
    everything = [w for t in ctx.scene.turns for w in normal(t.text.replace(UNCLEAR_WORD, " ")).split()]
    words = [w for turn in words_by_turn(ctx) for w in turn if w and meaningful(w.text.casefold())]
    return [w for w in words if not any(confusable(w.normal, x) for x in _without(everything, w.normal))]


def _without(words: Sequence[str], one: str) -> list[str]:
    """The words but for one occurrence of one of them."""
    at = words.index(one)
    return [*words[:at], *words[at + 1 :]]


def meaningful_words(text: str) -> set[str]:
    """The meaningful words of a text, in small letters."""
    return {w for raw in clean(text).split() if meaningful(w := raw.strip(AROUND).casefold())}


def meaningful(word: str) -> bool:
    """Whether a word in small letters is long enough and says something; none with an apostrophe does."""
    return len(word) >= WORD_LETTERS and word.isalpha() and word not in EMPTY


def confusable(a: str, b: str) -> bool:
    """Whether two normalised words are forms of one another, or one is part of the other."""
    return stem(a) == stem(b) or (min(len(a), len(b)) >= PART_LETTERS and (a in b or b in a))


def text_of(phrase: Iterable[SpokenWord]) -> str:
    """The words as one text."""
    return " ".join(w.text for w in phrase)


def quote_of(phrase: Iterable[SpokenWord]) -> str:
    """The words between double quotes."""
    return quoted(text_of(phrase))


def evidence_of(ctx: Context, groups: Iterable[Phrase]) -> tuple[Evidence, ...]:
    """References to the words, where the times of all of them are known, else to their turns."""
    words = [w for group in groups for w in group]
    rows = sorted({w.index for w in words if w.index is not None})
    if len(rows) == len(set(words)):
        return tuple(Evidence("word", i) for i in rows)
    return ctx.turn_evidence(w.turn for w in words)


def when(ctx: Context, phrase: Phrase) -> str:
    """Where a phrase begins, or else where its turn does: `at 1.2 s`, `in the turn that begins at 0.4 s`."""
    first = phrase[0]
    if first.index is not None:
        return f"at {seconds(ctx.scene.words[first.index].start_ms)}"
    return f"in the turn that begins at {seconds(ctx.scene.turns[first.turn].start_ms)}"


def timed_words(ctx: Context) -> Iterator[tuple[SpokenWord, Word]]:
    """The clear words whose times are known."""
    for word in clear_words(ctx):
        if word.index is not None:
            yield word, ctx.scene.words[word.index]
