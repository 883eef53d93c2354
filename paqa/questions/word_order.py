"""Which words are said, which of them first, last, or next to others: asked of a single voice too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from paqa.questions.context import Context
from paqa.questions.english import listing, quoted
from paqa.questions.spoken_words import (
    CUE_WORDS,
    PHRASE_WORDS,
    Phrase,
    SpokenWord,
    clear_words,
    confusable,
    evidence_of,
    phrase_at,
    phrases,
    quote_of,
    said_once,
    single_words,
    telling,
    text_of,
    when,
    words_by_turn,
)
from paqa.questions.template import Draft, QuestionTemplate
from paqa.text import UNCLEAR_WORD, normal

FEWEST = 3  # phrases to choose from


def earliest_words(ctx: Context) -> Iterator[Draft]:
    """Which of these pieces of the talk is said first?"""
    texts = (
        "Which of these pieces of the talk is said first?",
        "Put in the order in which they are said, which of these comes first?",
        "Which of the following is heard before the others?",
        "Of these pieces of what is said, which one comes earliest?",
    )
    yield from _in_order(ctx, texts, last=False)


def latest_words(ctx: Context) -> Iterator[Draft]:
    """Which of these pieces of the talk is said last?"""
    texts = (
        "Which of these pieces of the talk is said last?",
        "Put in the order in which they are said, which of these comes at the end?",
        "Which of the following is heard after all the others?",
        "Of these pieces of what is said, which one comes latest?",
    )
    yield from _in_order(ctx, texts, last=True)


def _in_order(ctx: Context, texts: tuple[str, ...], last: bool) -> Iterator[Draft]:
    """Drafts about the first or last of some phrases drawn from the talk, of a short one some words."""
    pieces = phrases(ctx)
    if len(pieces) < ctx.config.choices:
        pieces = max(pieces, single_words(ctx), key=len)
    for _ in range(2):
        chosen = ctx.shuffled(pieces)[: ctx.config.choices]
        chosen.sort(key=lambda p: (p[0].turn, p[0].place))
        if len(chosen) < FEWEST:
            return
        answer, *rest = reversed(chosen) if last else chosen
        evidence = evidence_of(ctx, chosen)
        yield Draft(
            texts=texts,
            answer=quote_of(answer),
            decoys=tuple(quote_of(p) for p in rest),
            evidence=evidence,
            plan=ctx.pick(
                "find each of the pieces in the talk and compare when they are said",
                "follow what is said and note the order in which these pieces come",
            ),
            reasoning=f"One hears {quote_of(answer)} {when(ctx, answer)}.",
            why_wrong=_why_order_wrong(ctx, rest, last),
            margin=ctx.margin(evidence, words=True),
        )


def _why_order_wrong(ctx: Context, rest: Sequence[Phrase], last: bool) -> Callable[[Sequence[str]], str]:
    head = ctx.pick("Before that come", "Earlier are") if last else ctx.pick("After that come", "Later are")

    def why_wrong(decoys: Sequence[str]) -> str:
        offered = [quote_of(p) for p in rest if quote_of(p) in decoys]
        return f"{head} {listing(offered)}." if offered else ""

    return why_wrong


def words_after(ctx: Context) -> Iterator[Draft]:
    """Which words come right after these?"""
    pieces = phrases(ctx)
    for cue, answer in _neighbours(ctx, after=True):
        quote = quote_of(cue)
        texts = (
            f"Which words come right after {quote}?",
            f"How does the speaker go on after {quote}?",
            f"Somebody says {quote}. Which words follow at once?",
            f"What is the continuation of {quote}?",
        )
        yield _next_to(ctx, cue, answer, pieces, texts)


def words_before(ctx: Context) -> Iterator[Draft]:
    """Which words come right before these?"""
    pieces = phrases(ctx)
    for cue, answer in _neighbours(ctx, after=False):
        quote = quote_of(cue)
        texts = (
            f"Which words come right before {quote}?",
            f"What does the speaker say just before {quote}?",
            f"Somebody says {quote}. Which words lead up to that?",
            f"By which words is {quote} preceded?",
        )
        yield _next_to(ctx, cue, answer, pieces, texts)


def _neighbours(ctx: Context, after: bool) -> Iterator[tuple[Phrase, Phrase]]:
    """Pairs of a phrase that is said once and the words that follow it, or come before it, in its turn."""
    once = said_once(ctx.scene)
    turns = words_by_turn(ctx)
    places = [(words, at) for words in turns for at in range(len(words) - CUE_WORDS + 1)]
    for words, at in ctx.shuffled(places):
        cue = phrase_at(words, at, CUE_WORDS)
        answer = phrase_at(words, at + CUE_WORDS if after else at - PHRASE_WORDS, PHRASE_WORDS)
        if telling(cue) and telling(answer) and once(text_of(cue)) and once(text_of(answer)):
            yield cue, answer


def _next_to(
    ctx: Context, cue: Phrase, answer: Phrase, pieces: Sequence[Phrase], texts: tuple[str, ...]
) -> Draft:
    """A draft about the words next to a phrase, with other pieces of the talk as wrong choices."""
    used = {*cue, *answer}
    others = [p for p in ctx.shuffled(pieces) if not used & set(p)]
    evidence = evidence_of(ctx, [cue, answer])
    verb = "follow" if answer[0].place > cue[0].place else "come before"
    return Draft(
        texts=texts,
        answer=quote_of(answer),
        decoys=tuple(quote_of(p) for p in others),
        evidence=evidence,
        plan=ctx.pick(
            f"find the words {quote_of(cue)} and catch those that {verb}",
            f"wait for {quote_of(cue)} and listen for the words next to that",
        ),
        reasoning=f"The words {quote_of(cue)} are said {when(ctx, cue)}, and those that {verb} are"
        f" {quote_of(answer)}.",
        why_wrong=lambda _: ctx.pick(
            "The other words are said at other points.", "The rest is said elsewhere."
        ),
        margin=ctx.margin(evidence, words=True),
    )


def word_said(ctx: Context) -> Iterator[Draft]:
    """Which of these words is said? The others are words of other clips.

    They are drawn by the number of clips that have them, and only words of several clips are asked about: a
    word is offered as often where it is not said as where it is.
    """
    if any(UNCLEAR_WORD in turn.text or not normal(turn.text) for turn in ctx.scene.turns):
        return  # any word may be said there
    counts = ctx.other_clips.words_of(ctx.scene.language)
    spoken_words = [w for turn in ctx.scene.turns for w in normal(turn.text).split()]
    for word in ctx.shuffled(clear_words(ctx)):
        if counts.get(word.normal, 0) >= 2:
            yield _word_said(ctx, word, _unsaid(ctx, counts, spoken_words))


def _unsaid(ctx: Context, counts: dict[str, int], said: Sequence[str]) -> list[str]:
    """Words of other clips, no form of which is said here, and no two forms of one another."""
    drawn = sorted(counts.items(), key=lambda counted: ctx.rng.random() ** (1 / counted[1]), reverse=True)
    chosen: list[str] = []
    for word, count in drawn:
        if len(chosen) == ctx.config.choices - 1:
            break
        if count >= 2 and not any(confusable(word, other) for other in (*said, *chosen)):
            chosen.append(word)
    return chosen


def _word_said(ctx: Context, word: SpokenWord, unsaid: Sequence[str]) -> Draft:
    quote = quoted(word.normal)
    evidence = evidence_of(ctx, [(word,)])
    return Draft(
        texts=(
            "Which of these words is said?",
            "Which of the following words can be heard?",
            "One of these words occurs in what is said. Which one?",
            "Which word is part of the talk?",
        ),
        answer=quote,
        decoys=tuple(quoted(w) for w in unsaid),
        evidence=evidence,
        plan=ctx.pick(
            "follow what is said and check it for each of the words",
            "listen to the talk word by word and see which of these comes up",
        ),
        reasoning=f"The word {quote} is said {when(ctx, (word,))}.",
        why_wrong=lambda decoys: (
            f"Nobody says {listing(list(decoys), 'or')}."
            if decoys
            else ctx.pick("No other word is offered.", "There is nothing else to choose.")
        ),
        margin=ctx.margin(evidence, words=True),
    )


TEMPLATES = (
    QuestionTemplate("earliest_words", "wording", "speaker", earliest_words, rests_on=frozenset({"words"})),
    QuestionTemplate("latest_words", "wording", "speaker", latest_words, rests_on=frozenset({"words"})),
    QuestionTemplate(
        "words_after", "wording", "speaker", words_after, none=True, rests_on=frozenset({"words"})
    ),
    QuestionTemplate(
        "words_before", "wording", "speaker", words_before, none=True, rests_on=frozenset({"words"})
    ),
    QuestionTemplate("word_said", "content", "speaker", word_said, rests_on=frozenset({"words"})),
)
