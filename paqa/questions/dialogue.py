"""Who says what, and what comes next in the talk."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from paqa.questions.context import CLEAR_MS, SAFE_MS, Context
from paqa.questions.english import excerpt, ordinal, quoted, seconds, span, speakers
from paqa.questions.scene_parts import Line
from paqa.questions.speakers import NUMBERING
from paqa.questions.template import A_SPEAKER, Draft, QuestionTemplate


def who_says(ctx: Context) -> Iterator[Draft]:
    """Who says these words?"""
    if len(ctx.speakers) < 2 or not ctx.clear_numbers:
        return
    for line in ctx.shuffled(ctx.lines):
        quote = quoted(line.text)
        evidence = ctx.turn_evidence([line.turn])
        yield Draft(
            texts=tuple(
                f"{q} {ctx.pick(*NUMBERING)}"
                for q in (
                    f"Who says {quote}?",
                    f"Whose words are these: {quote}?",
                    f"Which speaker says {quote}?",
                    f"Whose voice says {quote}?",
                )
            ),
            answer=f"Speaker {line.speaker}",
            decoys=ctx.decoy_speakers(line.speaker),
            evidence=evidence,
            plan=ctx.pick(
                f"find the words {excerpt(line.text)} and recognise the voice that says them",
                f"number the voices in order of appearance and see which of them says {excerpt(line.text)}",
            ),
            reasoning=ctx.pick(
                f"The words {excerpt(line.text)} come at {span(line.span)}, in the voice of speaker"
                f" {line.speaker}.",
                f"From {seconds(line.span[0])} to {seconds(line.span[1])} it is speaker {line.speaker} who is"
                " talking,"
                f" and the words are {excerpt(line.text)}.",
            ),
            why_wrong=ctx.why_speakers_wrong(
                lambda present: ctx.pick(
                    f"Nothing of the kind comes from {speakers(present)}.",
                    f"In the turns of {speakers(present)} these words do not occur.",
                )
            ),
            margin=ctx.margin(evidence, _share_alone(ctx, line), words=True),
            fewest=2,
        )


def first_words(ctx: Context) -> Iterator[Draft]:
    """What does a speaker say first?"""
    if not ctx.clear_numbers:
        return
    for speaker in ctx.shuffled(ctx.speakers):
        line = next((x for x in ctx.lines if x.turn == ctx.turns_of(speaker)[0]), None)
        if not line:
            continue
        who = "the person who speaks first" if speaker == 1 else f"the {ordinal(speaker)} person to speak"
        evidence = ctx.turn_evidence([line.turn])
        yield Draft(
            texts=(
                f"What does {who} say first?",
                f"With which words does {who} begin?",
                f"What are the first words of {who}?",
                f"How does {who} start?",
            ),
            answer=line.choice,
            decoys=ctx.decoy_lines(line),
            evidence=evidence,
            plan=ctx.pick(
                f"wait for the {ordinal(speaker)} voice to come in and catch its first words",
                f"recognise speaker {speaker} and listen to how that voice begins",
            ),
            reasoning=ctx.pick(
                f"Speaker {speaker} comes in at {seconds(line.span[0])} and begins with"
                f" {excerpt(line.text)}.",
                f"The {ordinal(speaker)} voice, heard at {span(line.span)}, begins by saying"
                f" {excerpt(line.text)}.",
            ),
            why_wrong=ctx.why_lines_wrong(
                ("Elsewhere,", "The other lines come at other places:", "By contrast,")
            ),
            margin=ctx.margin(evidence, _share_alone(ctx, line), words=True),
        )


def last_words(ctx: Context) -> Iterator[Draft]:
    """What is said last?"""
    turns = ctx.scene.turns
    final = max(range(len(turns)), key=lambda i: turns[i].start_ms, default=-1)
    line = next((x for x in ctx.lines if x.turn == final and x.whole), None)
    if not line:
        return
    rest = [t for i, t in enumerate(turns) if i != final]
    lead = min((min(line.span[0] - t.start_ms, line.span[1] - t.end_ms) for t in rest), default=0)
    if lead < CLEAR_MS:
        return
    evidence = ctx.turn_evidence([final])
    yield Draft(
        texts=(
            "What is said last?",
            "Which line closes the conversation?",
            "With which words does the talk end?",
            "What are the last words that anybody speaks?",
        ),
        answer=line.choice,
        decoys=ctx.decoy_lines(line),
        evidence=evidence,
        plan=ctx.pick(
            "go to the end of the talk and catch the last thing said",
            "follow the speech through to its last turn",
        ),
        reasoning=ctx.pick(
            f"The last turn, {span(line.span)}, is {excerpt(line.text)}, and nobody speaks after it.",
            f"Nobody speaks after {seconds(line.span[1])}, and the turn that ends there is"
            f" {excerpt(line.text)}.",
        ),
        why_wrong=ctx.why_lines_wrong(("Everything else is said earlier:", "Before that,", "Earlier on,")),
        margin=ctx.margin(evidence, lead / SAFE_MS, words=True),
    )


def said_after(ctx: Context) -> Iterator[Draft]:
    """What is said right after these words?"""
    for line, reply in ctx.shuffled(exchanges(ctx)):
        evidence = ctx.turn_evidence([line.turn, reply.turn])
        quote = quoted(line.text)
        yield Draft(
            texts=(
                f"What is said right after {quote}?",
                f"Somebody says {quote}. What are the next words?",
                f"Which line follows immediately on {quote}?",
                f"After {quote}, what does one hear next from a speaker?",
            ),
            answer=reply.choice,
            decoys=ctx.decoy_lines(line, reply),
            evidence=evidence,
            plan=ctx.pick(
                f"find the words {excerpt(line.text)} and listen to what comes straight after them",
                f"locate {excerpt(line.text)} in the talk and catch the next line",
            ),
            reasoning=ctx.pick(
                f"{excerpt(line.text)} is heard at {span(line.span)}, and the next thing anyone says, at"
                f" {span(reply.span)}, is {excerpt(reply.text)}.",
                f"Speaker {line.speaker} says {excerpt(line.text)} at {seconds(line.span[0])}; the next line"
                " comes from"
                f" speaker {reply.speaker} at {seconds(reply.span[0])}: {excerpt(reply.text)}.",
            ),
            why_wrong=ctx.why_lines_wrong(
                ("The other lines do not follow it:", "The rest is said at other points:", "As for the rest,")
            ),
            margin=ctx.margin(evidence, clear_next(ctx, reply) / SAFE_MS, words=True),
        )


def who_answers(ctx: Context) -> Iterator[Draft]:
    """Who is the next to speak after these words?"""
    if len(ctx.speakers) < 3 or not ctx.clear_numbers:
        return
    for line, reply in ctx.shuffled(exchanges(ctx)):
        if reply.speaker == line.speaker:
            continue
        evidence = ctx.turn_evidence([line.turn, reply.turn])
        quote = quoted(line.text)
        yield Draft(
            texts=tuple(
                f"{q} {ctx.pick(*NUMBERING)}"
                for q in (
                    f"Who is the next to speak after {quote}?",
                    f"After the words {quote}, who speaks next?",
                    f"Somebody says {quote}. Who takes over?",
                    f"Whose voice follows on the words {quote}?",
                )
            ),
            answer=f"Speaker {reply.speaker}",
            decoys=ctx.decoy_speakers(reply.speaker),
            evidence=evidence,
            plan=ctx.pick(
                f"find the words {excerpt(line.text)} and recognise the voice that comes next",
                f"follow the talk up to {excerpt(line.text)} and see whose turn comes after it",
            ),
            reasoning=f"Speaker {line.speaker} says {excerpt(line.text)} at {span(line.span)}; the voice that"
            f" comes next, at {seconds(reply.span[0])}, is that of speaker {reply.speaker}.",
            why_wrong=ctx.why_speakers_wrong(partial(_why_not_next, ctx, line)),
            margin=ctx.margin(evidence, clear_next(ctx, reply) / SAFE_MS, words=True),
        )


def _why_not_next(ctx: Context, line: Line, present: list[int]) -> str:
    others = [s for s in present if s != line.speaker]
    just_spoken = f"speaker {line.speaker} is the one who has just spoken" if line.speaker in present else ""
    others_elsewhere = (
        f"{speakers(others)} {'comes' if len(others) == 1 else 'come'} in at other moments" if others else ""
    )
    text = ", and ".join(x for x in (others_elsewhere, just_spoken) if x)
    return text[:1].upper() + text[1:] + "."


def exchanges(ctx: Context) -> list[tuple[Line, Line]]:
    """Pairs of a whole line and the line that safely follows it: no other turn starts in between or near."""
    by_turn = {x.turn: x for x in ctx.lines}
    pairs = [(by_turn[i], by_turn[i + 1]) for i in by_turn if i + 1 in by_turn]
    return [
        (a, b)
        for a, b in pairs
        if a.whole and b.span[0] >= a.span[1] - 200 and clear_next(ctx, b) >= CLEAR_MS
    ]


def clear_next(ctx: Context, reply: Line) -> int:
    """How clearly a line comes next: milliseconds to the nearest other onset."""
    others = [t.start_ms for i, t in enumerate(ctx.scene.turns) if i != reply.turn]
    return min((abs(reply.span[0] - at) for at in others), default=SAFE_MS)


def _share_alone(ctx: Context, line: Line) -> float:
    """The share of a line during which its speaker is the only one to talk."""
    return 1.0 - ctx.overlapped_share(ctx.scene.turns[line.turn])


TEMPLATES = (
    QuestionTemplate(
        "who_says",
        "dialogue",
        "speaker",
        who_says,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker", "words"}),
    ),
    QuestionTemplate(
        "first_words", "dialogue", "speaker", first_words, none=True, rests_on=frozenset({"speaker", "words"})
    ),
    QuestionTemplate(
        "last_words", "dialogue", "speaker", last_words, none=True, rests_on=frozenset({"words", "turn_time"})
    ),
    QuestionTemplate(
        "said_after", "dialogue", "speaker", said_after, none=True, rests_on=frozenset({"words", "turn_time"})
    ),
    QuestionTemplate(
        "who_answers",
        "dialogue",
        "speaker",
        who_answers,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker", "words", "turn_time"}),
    ),
)
