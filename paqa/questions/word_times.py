"""When words are said and where the talk pauses: by the times of single words, of a single voice too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from paqa.questions.context import CLEAR_MS, SAFE_MS, Context
from paqa.questions.english import clauses, quoted, seconds, span
from paqa.questions.spoken_words import (
    PHRASE_WORDS,
    Phrase,
    SpokenWord,
    evidence_of,
    phrase_at,
    quote_of,
    said_once,
    text_of,
    timed_words,
    words_by_turn,
)
from paqa.questions.template import Draft, QuestionTemplate
from paqa.questions.timing import PARTS, ends_of_thirds, part_of
from paqa.spans import interval
from paqa.types import Evidence, Word

APART_MS = 1500  # words from which one is chosen by its time are at least this far from one another
ABOUT_MS = 300  # how far from a full second a word may be that is said "about" then
PAUSE_MS = 400  # a shorter silence between two words is not asked about
# The lengths of pauses to choose from, and how near to one of them a pause must be.
PAUSES_MS = (500, 1000, 2000, 4000)
NEAR = 0.25


def word_part(ctx: Context) -> Iterator[Draft]:
    """In which third of the clip is a word said?"""
    third = ctx.scene.duration_ms / 3
    if third < 2 * SAFE_MS:
        return
    for word, timed in ctx.shuffled(timed_words(ctx)):
        part, edge = part_of(_middle(timed), third)
        if edge < CLEAR_MS + (timed.end_ms - timed.start_ms) / 2:
            continue
        quote, evidence = quoted(word.text), evidence_of(ctx, [(word,)])
        yield Draft(
            texts=(
                f"In which part of the clip is the word {quote} said?",
                f"In which third of the recording does the word {quote} fall?",
                f"With the recording cut into equal thirds, in which one can {quote} be heard?",
                f"How far into the clip does somebody say {quote}?",
            ),
            answer=PARTS[part],
            decoys=tuple(ctx.shuffled(p for p in PARTS if p != PARTS[part])),
            evidence=evidence,
            plan=ctx.pick(
                f"catch the word {quote} and see how far into the clip it comes",
                f"wait for {quote} and compare its time with the length of the clip",
            ),
            reasoning=f"The word {quote} is said at {span(interval(timed))}, and the clip lasts"
            f" {seconds(ctx.scene.duration_ms)}.",
            why_wrong=lambda _: f"{ends_of_thirds(third)}, so the word lies in only one of them.",
            margin=ctx.margin(evidence, edge / SAFE_MS),
        )


def word_at_second(ctx: Context) -> Iterator[Draft]:
    """Which of some words is said at about a certain second?"""
    words = list(timed_words(ctx))
    for word, timed in ctx.shuffled(words):
        second = round(_middle(timed) / 1000)
        near = abs(_middle(timed) - 1000 * second) <= ABOUT_MS
        rest = _far_apart(ctx, words, timed)
        if second < 1 or not near or len(rest) < 2:
            continue
        chosen = [(word, timed), *rest]
        evidence = evidence_of(ctx, [(w,) for w, _ in chosen])
        after = f"{second} second{'' if second == 1 else 's'}"
        quote = quoted(word.text)
        yield Draft(
            texts=(
                f"Which word is said about {after} into the recording?",
                f"When the clip has run for about {after}, which word can be heard?",
                f"About {after} after the beginning of the clip, which word is spoken?",
                f"Which word falls at about {after} from the start?",
            ),
            answer=quote,
            decoys=tuple(quoted(w.text) for w, _ in rest),
            evidence=evidence,
            plan=ctx.pick(
                f"go about {after} into the clip and catch the word that is said there",
                "find each of the words and compare their times with the one in the question",
            ),
            reasoning=f"At {span(interval(timed))} the word {quote} is said.",
            why_wrong=partial(_when_said, rest),
            margin=ctx.margin(evidence),
        )


TimedWord = tuple[SpokenWord, Word]


def _far_apart(ctx: Context, words: Sequence[TimedWord], one: Word) -> list[TimedWord]:
    """As many other words as there are wrong choices, each far from the one and from all others."""
    chosen: list[TimedWord] = []
    for word in ctx.shuffled(words):
        taken = [one, *(timed for _, timed in chosen)]
        apart = all(abs(_middle(word[1]) - _middle(other)) >= APART_MS for other in taken)
        if apart and len(chosen) < ctx.config.choices - 1:
            chosen.append(word)
    return chosen


def _when_said(words: Sequence[TimedWord], decoys: Sequence[str]) -> str:
    offered = [(w, timed) for w, timed in words if quoted(w.text) in decoys]
    offered.sort(key=lambda pair: pair[1].start_ms)
    phrases = [f"{quoted(w.text)} at {seconds(timed.start_ms)}" for w, timed in offered]
    return f"By comparison, one hears {clauses(phrases)}." if phrases else ""


def _middle(word: Word) -> int:
    return (word.start_ms + word.end_ms) // 2


@dataclass(frozen=True)
class Pause:
    """A silence between two words, and the phrase that ends with the first of them."""

    before: Word
    after: Word
    phrase: Phrase
    evidence: tuple[Evidence, ...]

    @property
    def length_ms(self) -> int:
        return self.after.start_ms - self.before.end_ms


def pauses(ctx: Context) -> list[Pause]:
    """The silences between words that follow one another, in order; [] where any word or its times are not
    known.
    """
    turns = words_by_turn(ctx)
    indexed = [w for words in turns for w in words if w and w.index is not None]
    if not all(turns) or len(indexed) < sum(map(len, turns)) or len(indexed) < len(ctx.scene.words):
        return []
    indexed.sort(key=lambda w: ctx.scene.words[w.index or 0].start_ms)
    silences = []
    for a, b in pairwise(indexed):
        words = (ctx.scene.words[a.index or 0], ctx.scene.words[b.index or 0])
        phrase = phrase_at(turns[a.turn], a.place - PHRASE_WORDS + 1, PHRASE_WORDS)
        rows = [w.index for w in (*phrase, b) if w.index is not None]
        silences.append(Pause(*words, phrase, tuple(Evidence("word", i) for i in sorted(rows))))
    return silences


def pause_after_words(ctx: Context) -> Iterator[Draft]:
    """After which words does the speaker pause longest? Only where one pause is clearly the longest."""
    silences = sorted(pauses(ctx), key=lambda p: -p.length_ms)
    if len(silences) < 2 or silences[0].length_ms < PAUSE_MS or not silences[0].phrase:
        return
    longest, second = silences[:2]
    lead = longest.length_ms - max(0, second.length_ms)
    once = said_once(ctx.scene)
    if lead < CLEAR_MS or not once(text_of(longest.phrase)):
        return
    quote = quote_of(longest.phrase)
    others = _other_phrases(ctx, silences)
    yield Draft(
        texts=(
            "After which words comes the longest silence between two words?",
            "Where does the voice pause for longest before it goes on? After which words?",
            "Which words come just before the longest break in what is said?",
            "At one point the talk stops for longer than anywhere else. Which words come just before?",
        ),
        answer=quote,
        decoys=tuple(quote_of(p) for p in others),
        evidence=longest.evidence,
        plan=ctx.pick(
            "compare the silences between the words and go to the longest one",
            "listen for the longest gap between two words and catch what comes before it",
        ),
        reasoning=f"After {quote}, which ends at {seconds(longest.before.end_ms)}, nothing is said until"
        f" {seconds(longest.after.start_ms)}: a pause of {seconds(longest.length_ms)}.",
        why_wrong=lambda _: ctx.pick(
            "After the other words the voice goes on sooner.", "No other pause is as long as that."
        ),
        margin=ctx.margin(longest.evidence, lead / SAFE_MS, words=True),
    )


def _other_phrases(ctx: Context, silences: Sequence[Pause]) -> list[Phrase]:
    """The phrases before shorter pauses, in a drawn order: each said once, no two with a word in common."""
    once = said_once(ctx.scene)
    used = set(silences[0].phrase)
    chosen: list[Phrase] = []
    for pause in ctx.shuffled(silences[1:]):
        if pause.phrase and once(text_of(pause.phrase)) and not used & set(pause.phrase):
            chosen.append(pause.phrase)
            used |= set(pause.phrase)
    return chosen


def pause_length(ctx: Context) -> Iterator[Draft]:
    """About how long is the pause after certain words?"""
    once = said_once(ctx.scene)
    for pause in ctx.shuffled(pauses(ctx)):
        answer = _nearest_length(pause.length_ms, ctx.lenient)
        if answer is None or not pause.phrase or not once(text_of(pause.phrase)):
            continue
        quote = quote_of(pause.phrase)
        yield Draft(
            texts=(
                f"About how long is the pause after the words {quote}?",
                f"Roughly how much time passes between {quote} and the next word?",
                f"After {quote}, for about how long is nothing said?",
                f"About how long does it take until the talk goes on after {quote}?",
            ),
            answer=_about(answer),
            decoys=tuple(ctx.shuffled(_about(ms) for ms in PAUSES_MS if ms != answer)),
            evidence=pause.evidence,
            plan=ctx.pick(
                f"find where {quote} ends and time the silence until the next word",
                f"measure the gap between {quote} and what is said next",
            ),
            reasoning=f"{quote} ends at {seconds(pause.before.end_ms)}, and the next word begins at"
            f" {seconds(pause.after.start_ms)}, {seconds(pause.length_ms)} later.",
            why_wrong=lambda _: ctx.pick(
                "The other lengths are less than half or about twice that and more.",
                "No other length comes near that.",
            ),
            margin=ctx.margin(pause.evidence, pause.length_ms / PAUSE_MS, words=True),
        )


def _nearest_length(length_ms: int, lenient: bool) -> int | None:
    """The length on offer that a pause clearly has; the nearest if `lenient`; None where unclear."""
    nearest = min(PAUSES_MS, key=lambda ms: abs(ms - length_ms))
    clear = length_ms >= PAUSE_MS and abs(nearest - length_ms) <= NEAR * nearest
    return nearest if clear or lenient else None


def _about(ms: int) -> str:
    return {500: "About half a second", 1000: "About one second"}.get(ms, f"About {ms // 1000} seconds")


TEMPLATES = (
    QuestionTemplate(
        "word_part",
        "word_times",
        "speaker",
        word_part,
        closed=True,
        rests_on=frozenset({"words", "word_time"}),
    ),
    QuestionTemplate(
        "word_at_second",
        "word_times",
        "speaker",
        word_at_second,
        none=True,
        rests_on=frozenset({"words", "word_time"}),
    ),
    QuestionTemplate(
        "pause_after_words",
        "word_times",
        "speaker",
        pause_after_words,
        none=True,
        rests_on=frozenset({"words", "word_time"}),
    ),
    QuestionTemplate(
        "pause_length",
        "word_times",
        "speaker",
        pause_length,
        closed=True,
        rests_on=frozenset({"words", "word_time"}),
    ),
)
