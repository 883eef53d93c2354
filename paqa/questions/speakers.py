"""Who speaks last, who longest, and who at the same time; how many speak is in counting.py."""

from __future__ import annotations

from collections.abc import Iterator

from paqa.questions.context import CLEAR_MS, SAFE_MS, Context
from paqa.questions.english import listing, seconds, span, upper
from paqa.questions.template import A_SPEAKER, Draft, QuestionTemplate
from paqa.spans import intersect, interval, total

NUMBERING = (
    "(Speakers are numbered in the order in which they first speak.)",
    "(Speaker 1 is whoever speaks first, speaker 2 the next new voice, and so on.)",
    "(Numbers follow the order of first appearance.)",
)
DOMINANCE = 1.2  # the longest speaker must speak at least this much longer than the next


def last_speaker(ctx: Context) -> Iterator[Draft]:
    """Who is the last to start and to stop speaking?"""
    if len(ctx.speakers) < 2 or not ctx.clear_numbers:
        return
    ends = sorted(
        ((ctx.speech_of(s)[-1], s) for s in ctx.speakers), key=lambda end_and_speaker: end_and_speaker[0][1]
    )
    (runner_up, _), (final, speaker) = ends[-2:]
    lead = min(
        final[1] - runner_up[1], final[0] - max(ctx.speech_of(s)[-1][0] for s in ctx.speakers if s != speaker)
    )
    if lead < CLEAR_MS:
        return
    evidence = ctx.turn_evidence(ctx.turns_of(s)[-1] for s in ctx.speakers)
    yield Draft(
        texts=tuple(
            f"{q} {ctx.pick(*NUMBERING)}"
            for q in (
                "Who speaks last?",
                "Whose voice is the last to be heard?",
                "Who has the last word?",
                "By whom is the talk brought to its end?",
            )
        ),
        answer=f"Speaker {speaker}",
        decoys=ctx.decoy_speakers(speaker),
        evidence=evidence,
        plan=ctx.pick(
            "go to the end of the talk and recognise whose voice closes it",
            "number the voices as they come in and see which of them is heard at the very end",
        ),
        reasoning=ctx.pick(
            f"The last stretch of speech, {span(final)}, belongs to speaker {speaker}.",
            f"Speaker {speaker} is heard until {seconds(final[1])}, later than anybody else.",
        ),
        why_wrong=ctx.why_speakers_wrong(lambda present: _silent_from(ctx, present)),
        margin=ctx.margin(evidence, lead / SAFE_MS),
        fewest=2,
    )


def _silent_from(ctx: Context, present: list[int]) -> str:
    phrases = [
        f"speaker {s} {'is last heard' if i == 0 else ''} at {span(ctx.speech_of(s)[-1])}"
        for i, s in enumerate(present)
    ]
    return upper(listing([" ".join(t.split()) for t in phrases])) + "."


def longest_speaker(ctx: Context) -> Iterator[Draft]:
    """Who speaks longest in total? Only with a lead of a fifth or more."""
    if len(ctx.speakers) < 2 or not ctx.clear_numbers:
        return
    lengths = {s: total(ctx.speech_of(s)) for s in ctx.speakers}
    second, first = sorted(lengths.values())[-2:]
    if first < DOMINANCE * second or first - second < CLEAR_MS:
        return
    speaker = max(lengths, key=lambda s: lengths[s])
    evidence = ctx.turn_evidence(range(len(ctx.scene.turns)))
    yield Draft(
        texts=tuple(
            f"{q} {ctx.pick(*NUMBERING)}"
            for q in (
                "Who speaks for the longest time in total?",
                "Adding up all turns, who talks most?",
                "Which speaker takes up the most time?",
                "Whose turns last longest when put together?",
            )
        ),
        answer=f"Speaker {speaker}",
        decoys=ctx.decoy_speakers(speaker),
        evidence=evidence,
        plan=ctx.pick(
            "add up how long each voice is heard and compare the sums",
            "keep the voices apart and measure how much of the time each of them takes",
        ),
        reasoning=f"Speaker {speaker} talks for about {seconds(first)}{_stretches(ctx, speaker)}.",
        why_wrong=ctx.why_speakers_wrong(
            lambda present: (
                "By comparison, "
                + listing(
                    [
                        f"speaker {s} {'comes to' if s == present[0] else 'to'} {seconds(lengths[s])}"
                        for s in present
                    ]
                )
                + "."
            )
        ),
        margin=ctx.margin(evidence, (first / max(1, second) - 1) / (2 * (DOMINANCE - 1))),
        fewest=2,
    )


def _stretches(ctx: Context, speaker: int) -> str:
    voice = ctx.speech_of(speaker)
    stretches = [span(i) for i in voice]
    if len(stretches) <= 3:
        return f" ({stretches[0]})" if len(stretches) == 1 else f" in all ({listing(stretches)})"
    return (
        f" in all, in {len(stretches)} stretches between {seconds(voice[0][0])} and {seconds(voice[-1][1])}"
    )


def overlapping_pair(ctx: Context) -> Iterator[Draft]:
    """Which two people talk at the same time? Only where exactly one of three or more pairs clearly does."""
    pairs = overlaps(ctx)
    clear = [p for p, ms in pairs.items() if ms >= CLEAR_MS]
    if (
        len(ctx.speakers) < 3
        or not ctx.clear_numbers
        or len(clear) != 1
        or any(100 < ms < CLEAR_MS for ms in pairs.values())
    ):
        return
    a, b = clear[0]
    evidence = ctx.turn_evidence(_talking_over(ctx, a, b))
    shared = [span(i) for i in both(ctx, a, b)]
    yield Draft(
        texts=tuple(
            f"{q} {ctx.pick(*NUMBERING)}"
            for q in (
                "Which two people talk at the same time?",
                "Whose speech overlaps?",
                "Which two voices can be heard at once?",
                "At some point two people talk over each other. Which two?",
            )
        ),
        answer=_pair((a, b)),
        decoys=tuple(_pair(p) for p in ctx.shuffled(p for p in pairs if p != (a, b))),
        evidence=evidence,
        plan=ctx.pick(
            "find the place where two voices sound at once and tell which two they are",
            "listen for a new voice that comes in before the old one has stopped",
        ),
        reasoning=f"At {listing(shared)}, speaker {a} and speaker {b} are both talking.",
        why_wrong=lambda _: ctx.pick(
            "Everyone else waits for their turn.",
            "The other pairs never talk over each other.",
            "All other changes of speaker happen without an overlap.",
        ),
        margin=ctx.margin(evidence, pairs[a, b] / SAFE_MS),
    )


def two_at_once(ctx: Context) -> Iterator[Draft]:
    """Do the two speakers of a dialogue ever talk at the same time?"""
    if len(ctx.speakers) != 2:
        return
    a, b = ctx.speakers
    ms = overlaps(ctx)[a, b]
    if 0 < ms < CLEAR_MS:
        return
    shared = both(ctx, a, b)
    evidence = ctx.turn_evidence(_talking_over(ctx, a, b) or range(len(ctx.scene.turns)))
    yes, no = "Yes, their speech overlaps", "No, they never overlap"
    yield Draft(
        texts=(
            "Do the two speakers ever talk at the same time?",
            "Is there a moment at which both people talk at once?",
            "Does either of the two start while the other is still talking?",
            "Are both voices ever heard at once?",
        ),
        answer=yes if ms else no,
        decoys=(no if ms else yes,),
        evidence=evidence,
        plan=ctx.pick(
            "check every change of speaker for a moment with both voices in it",
            "hear whether one voice always stops before the other begins",
        ),
        reasoning=f"Both voices are heard at once at {listing([span(i) for i in shared[:3]])}."
        if ms
        else "At every change of speaker one voice has stopped before the other begins.",
        why_wrong=lambda _: (
            ctx.pick("So they do not simply take turns.", "That is more than one turn following another.")
            if ms
            else ctx.pick("The two simply take turns.", "Nowhere do I hear both voices at once.")
        ),
        margin=ctx.margin(evidence, *([ms / SAFE_MS] if ms else [])),
        fewest=2,
    )


def overlaps(ctx: Context) -> dict[tuple[int, int], int]:
    """For each pair of speakers, how many milliseconds both talk."""
    return {(a, b): total(both(ctx, a, b)) for a in ctx.speakers for b in ctx.speakers if a < b}


def both(ctx: Context, a: int, b: int) -> list[tuple[int, int]]:
    """Where two speakers both talk."""
    return intersect(ctx.speech_of(a), ctx.speech_of(b))


def _talking_over(ctx: Context, a: int, b: int) -> list[int]:
    shared = both(ctx, a, b)
    turns = [i for s in (a, b) for i in ctx.turns_of(s)]
    return [i for i in turns if intersect([interval(ctx.scene.turns[i])], shared)]


def _pair(pair: tuple[int, int]) -> str:
    return f"Speakers {pair[0]} and {pair[1]}"


TEMPLATES = (
    QuestionTemplate(
        "last_speaker",
        "speakers",
        "speaker",
        last_speaker,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker_count", "speaker", "turn_time"}),
    ),
    QuestionTemplate(
        "longest_speaker",
        "speakers",
        "speaker",
        longest_speaker,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker_count", "speaker", "turn_time"}),
    ),
    QuestionTemplate(
        "overlapping_pair",
        "overlap",
        "speaker",
        overlapping_pair,
        closed=True,
        none=True,
        rests_on=frozenset({"speaker_count", "speaker", "turn_time"}),
    ),
    QuestionTemplate(
        "two_at_once",
        "overlap",
        "speaker",
        two_at_once,
        closed=True,
        rests_on=frozenset({"speaker_count", "speaker", "turn_time"}),
    ),
)
