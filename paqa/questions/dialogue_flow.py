"""The course of the talk: what comes just before or first, who uses a word, who interrupts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paqa.questions.context import CLEAR_MS, MIN_TURN_MS, SAFE_MS, Context
from paqa.questions.dialogue import clear_next, exchanges
from paqa.questions.english import excerpt, listing, quoted, seconds, span, speakers, upper
from paqa.questions.speakers import NUMBERING
from paqa.questions.template import A_SPEAKER, Draft, QuestionTemplate
from paqa.questions.text_matching import EMPTY, stem
from paqa.spans import Interval, interval, overlap
from paqa.text import UNCLEAR_WORD, normal

WORD = re.compile(r"\w+(?:['’]\w+)*")
WORD_LETTERS = 5  # shorter words are too easily misheard
SLIVER_MS = 100  # an overlap shorter than this does not count as one


def said_before(ctx: Context) -> Iterator[Draft]:
    """What is said right before these words?"""
    for line, reply in ctx.shuffled(exchanges(ctx)):
        clear = min(clear_next(ctx, line), clear_next(ctx, reply))
        if clear < CLEAR_MS or not reply.whole:
            continue
        quote = quoted(reply.text)
        evidence = ctx.turn_evidence([line.turn, reply.turn])
        yield Draft(
            texts=(
                f"What is said right before {quote}?",
                f"Somebody says {quote}. What were the words just before?",
                f"Which line comes immediately before {quote}?",
                f"To which words is {quote} the next thing said?",
            ),
            answer=line.choice,
            decoys=ctx.decoy_lines(line, reply),
            evidence=evidence,
            plan=ctx.pick(
                f"find the words {excerpt(reply.text)} and recall what came straight before them",
                f"follow the talk up to {excerpt(reply.text)} and keep the line before it in mind",
            ),
            reasoning=ctx.pick(
                f"{excerpt(reply.text)} is heard at {span(reply.span)}, and the turn before it, at"
                f" {span(line.span)},"
                f" is {excerpt(line.text)}.",
                f"Before speaker {reply.speaker} says {excerpt(reply.text)} at {seconds(reply.span[0])},"
                " speaker"
                f" {line.speaker} says {excerpt(line.text)} at {seconds(line.span[0])}.",
            ),
            why_wrong=ctx.why_lines_wrong(("The other lines come at other points:", "As for the rest,")),
            margin=ctx.margin(evidence, clear / SAFE_MS, words=True),
        )


def earliest_line(ctx: Context) -> Iterator[Draft]:
    """Which of these lines is said first? The opening line is left out where there are enough others."""
    lines = ctx.lines[1:] if len(ctx.lines) > ctx.config.choices else ctx.lines
    chosen = sorted(ctx.shuffled(lines)[: ctx.config.choices], key=lambda x: x.span)
    if len(chosen) < 3:
        return
    first, rest = chosen[0], chosen[1:]
    lead = min(x.span[0] - first.span[0] for x in rest)
    if lead < CLEAR_MS:
        return
    evidence = ctx.turn_evidence(x.turn for x in chosen)
    yield Draft(
        texts=(
            "Which of these lines is said first?",
            "Put in the order in which they are said, which of these lines comes first?",
            "Which of the following is heard before the others?",
            "Of these lines, which one is the earliest?",
        ),
        answer=first.choice,
        decoys=tuple(x.choice for x in rest),
        evidence=evidence,
        plan=ctx.pick(
            "find each of the lines and compare when they are said",
            "put the lines into the order in which they are said",
        ),
        reasoning=ctx.pick(
            f"{excerpt(first.text)} is said by speaker {first.speaker} at {seconds(first.span[0])}.",
            f"Speaker {first.speaker} says {excerpt(first.text)} at {span(first.span)}.",
        ),
        why_wrong=ctx.why_lines_wrong(
            ("The others come later:", "Only after that", "All the rest is said afterwards:")
        ),
        margin=ctx.margin(evidence, lead / SAFE_MS, words=True),
    )


def who_mentions(ctx: Context) -> Iterator[Draft]:
    """Who uses this word? Only words that a single turn contains and that no other turn has a form of."""
    if len(ctx.speakers) < 2 or not ctx.clear_numbers:
        return
    for index, word in ctx.shuffled(_words_of_one_turn(ctx)):
        turn = ctx.scene.turns[index]
        evidence = ctx.turn_evidence([index])
        yield Draft(
            texts=tuple(
                f"{q} {ctx.pick(*NUMBERING)}"
                for q in (
                    f'Who uses the word "{word}"?',
                    f'Which speaker says "{word}" at some point?',
                    f'In whose words does "{word}" occur?',
                    f'The word "{word}" is said once. By whom?',
                )
            ),
            answer=f"Speaker {turn.speaker}",
            decoys=ctx.decoy_speakers(turn.speaker),
            evidence=evidence,
            plan=ctx.pick(
                f'listen for the word "{word}" and recognise the voice that says it',
                f'catch the moment at which "{word}" is said and tell who is speaking',
            ),
            reasoning=ctx.pick(
                f'The word "{word}" is part of {excerpt(turn.text, 12)}, which speaker {turn.speaker} says at'
                f" {span(interval(turn))}.",
                f'At {span(interval(turn))} speaker {turn.speaker} says {excerpt(turn.text, 12)}; "{word}" is'
                " one of"
                " these words.",
            ),
            why_wrong=ctx.why_speakers_wrong(
                lambda present: ctx.pick(
                    f"That word does not come from {speakers(present)}.",
                    f"It is in none of the turns of {speakers(present)}.",
                )
            ),
            margin=ctx.margin(evidence, 1.0 - ctx.overlapped_share(turn), words=True),
            fewest=2,
        )


def _words_of_one_turn(ctx: Context) -> list[tuple[int, str]]:
    """Meaningful words of a single turn, with its index; at most one a turn, none like a word elsewhere."""
    turns = ctx.scene.turns
    words_by_turn = [normal(t.text.replace(UNCLEAR_WORD, " ")).split() for t in turns]
    turns_by_stem: dict[str, set[int]] = {}
    for i, words in enumerate(words_by_turn):
        for word in words:
            turns_by_stem.setdefault(stem(word), set()).add(i)
    candidates = []
    for i, words in enumerate(words_by_turn):
        turn = turns[i]
        if turn.end_ms - turn.start_ms < MIN_TURN_MS or ctx.overlapped_share(turn) > 0.5:
            continue
        usable = [
            w
            for w in words
            if len(w) >= WORD_LETTERS and w.isalpha() and w not in EMPTY and words.count(w) == 1
        ]
        usable = [
            w for w in usable if turns_by_stem[stem(w)] == {i} and not _part_of_another(w, i, words_by_turn)
        ]
        if usable:
            candidates.append((i, _as_written(ctx.rng.choice(usable), turn.text)))
    return candidates


def _as_written(word: str, text: str) -> str:
    """A word as a text writes it, apostrophes included, but for the capital with which the text begins."""
    raw = next((w for w in WORD.findall(text) if normal(w) == word), word)
    begins = text.startswith(raw) and raw[1:] == raw[1:].lower()
    return raw.lower() if begins else raw


def _part_of_another(word: str, index: int, words_by_turn: list[list[str]]) -> bool:
    others = (
        w for i, words in enumerate(words_by_turn) if i != index for w in words if len(w) >= WORD_LETTERS - 1
    )
    return any(word in w or w in word for w in others)


def interrupter(ctx: Context) -> Iterator[Draft]:
    """Who starts to speak while somebody else is still talking? Asked where only one speaker does so."""
    if len(ctx.speakers) < 2 or not ctx.clear_numbers:
        return
    cases = _interruptions(ctx)
    if (
        not cases
        or len({ctx.scene.turns[b].speaker for _, b, _ in cases}) != 1
        or min(c for *_, c in cases) < CLEAR_MS
    ):
        return
    speaker = ctx.scene.turns[cases[0][1]].speaker
    evidence = ctx.turn_evidence(i for a, b, _ in cases for i in (a, b))
    yield Draft(
        texts=tuple(
            f"{q} {ctx.pick(*NUMBERING)}"
            for q in (
                "Who starts to speak while somebody else is still talking?",
                "Which speaker comes in before another one has finished?",
                "Who talks over somebody by starting too early?",
                "Whose turn begins before the turn of another speaker has ended?",
            )
        ),
        answer=f"Speaker {speaker}",
        decoys=ctx.decoy_speakers(speaker),
        evidence=evidence,
        plan=ctx.pick(
            "find the place where a voice comes in on top of another and tell which of the two is new there",
            "check for every change of speaker whether the new voice waits for the old one",
        ),
        reasoning=f"{upper(listing([_came_in(ctx, a, b) for a, b, _ in cases[:2]]))}.",
        why_wrong=ctx.why_speakers_wrong(
            lambda present: ctx.pick(
                f"{upper(speakers(present))} never {'does' if len(present) == 1 else 'do'} so.",
                f"No turn of {speakers(present)} begins during somebody else's.",
            )
        ),
        margin=ctx.margin(evidence, min(c for *_, c in cases) / SAFE_MS),
        fewest=2,
    )


def _came_in(ctx: Context, a: int, b: int) -> str:
    first, second = ctx.scene.turns[a], ctx.scene.turns[b]
    return (
        f"speaker {second.speaker} comes in at {seconds(second.start_ms)} while speaker {first.speaker} talks"
        " until"
        f" {seconds(first.end_ms)}"
    )


def _interruptions(ctx: Context) -> list[tuple[int, int, int]]:
    """Pairs of turns of which the second begins during the first, and how clearly so in ms."""
    spans: list[Interval] = [interval(t) for t in ctx.scene.turns]
    pairs = []
    for b, turn in enumerate(ctx.scene.turns):
        for a in range(b):
            shared = overlap(spans[a], spans[b])
            if ctx.scene.turns[a].speaker != turn.speaker and shared >= SLIVER_MS:
                pairs.append((a, b, min(spans[b][0] - spans[a][0], spans[a][1] - spans[b][0])))
    return pairs


TEMPLATES = (
    QuestionTemplate(
        "said_before",
        "dialogue",
        "speaker",
        said_before,
        none=True,
        rests_on=frozenset({"words", "turn_time"}),
    ),
    QuestionTemplate(
        "earliest_line", "dialogue", "speaker", earliest_line, rests_on=frozenset({"words", "turn_time"})
    ),
    QuestionTemplate(
        "who_mentions",
        "content",
        "speaker",
        who_mentions,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker", "words"}),
    ),
    QuestionTemplate(
        "interrupter",
        "overlap",
        "speaker",
        interrupter,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker", "turn_time"}),
    ),
)
