"""In which part of the clip the speech begins and ends."""

from __future__ import annotations

from collections.abc import Iterator

from paqa.questions.context import CLEAR_MS, SAFE_MS, Context
from paqa.questions.english import seconds
from paqa.questions.template import Draft, QuestionTemplate
from paqa.questions.timing import PARTS, ends_of_thirds, part_of


def speech_begins(ctx: Context) -> Iterator[Draft]:
    """In which third of the clip does somebody start to speak?"""
    if not ctx.speech:
        return
    texts = (
        "In which part of the clip does the speech begin?",
        "In which third of the recording is the first word said?",
        "With the recording cut into equal thirds, in which one does anybody start to talk?",
        "How far into the clip does the talking begin?",
    )
    yield from _in_part(ctx, ctx.speech[0][0], texts, "begins", "first")


def speech_ends(ctx: Context) -> Iterator[Draft]:
    """In which third of the clip does the last of the speech end?"""
    if not ctx.speech:
        return
    texts = (
        "In which part of the clip does the speech come to its end?",
        "In which third of the recording is the last word said?",
        "With the recording cut into equal thirds, in which one does the talking stop for good?",
        "How far into the clip does the talking end?",
    )
    yield from _in_part(ctx, ctx.speech[-1][1], texts, "ends", "last")


def _in_part(ctx: Context, at_ms: int, texts: tuple[str, ...], verb: str, which: str) -> Iterator[Draft]:
    third = ctx.scene.duration_ms / 3
    part, edge = part_of(at_ms, third)
    if third < 2 * SAFE_MS or edge < CLEAR_MS:
        return
    turns = ctx.scene.turns
    evidence = ctx.turn_evidence(i for i, t in enumerate(turns) if at_ms in (t.start_ms, t.end_ms))
    yield Draft(
        texts=texts,
        answer=PARTS[part],
        decoys=tuple(ctx.shuffled(p for p in PARTS if p != PARTS[part])),
        evidence=evidence,
        plan=ctx.pick(
            f"catch the {which} word and see how far into the clip it comes",
            f"note where the talking {verb} and compare that with the length of the clip",
        ),
        reasoning=f"The speech {verb} at {seconds(at_ms)}, and the clip lasts"
        f" {seconds(ctx.scene.duration_ms)}.",
        why_wrong=lambda _: f"{ends_of_thirds(third)}.",
        margin=ctx.margin(evidence, edge / SAFE_MS),
    )


TEMPLATES = (
    QuestionTemplate(
        "speech_begins",
        "timing",
        "speaker",
        speech_begins,
        closed=True,
        rests_on=frozenset({"turn_time"}),
    ),
    QuestionTemplate(
        "speech_ends", "timing", "speaker", speech_ends, closed=True, rests_on=frozenset({"turn_time"})
    ),
)
