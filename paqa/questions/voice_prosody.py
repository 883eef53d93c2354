"""How voices differ: who is louder, who talks faster, whose voice is higher. Only where the difference is
safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from paqa.questions.context import Context
from paqa.questions.english import clauses
from paqa.questions.speakers import NUMBERING
from paqa.questions.template import A_SPEAKER, Draft, QuestionTemplate
from paqa.text import length

SAFE_DB = 3.0  # a difference in level from which it is certain who is louder
SAFE_RATIO = 1.2  # likewise for rates and pitches
SHORTEST_MS = 1000  # of each voice, alone
WORDS = 6  # that each voice must say for its rate


def loudest_speaker(ctx: Context) -> Iterator[Draft]:
    """Who speaks loudest, or softest?"""
    levels = {s: _mean(ctx, s, "level_db") for s in ctx.speakers}
    louder = (
        "Who speaks loudest?",
        "Whose voice is the loudest?",
        "Going by the volume of the voices alone, who is louder than everybody else?",
        "Which speaker can be heard most loudly?",
    )
    softer = (
        "Who speaks most softly?",
        "Whose voice is the quietest?",
        "Going by the volume of the voices alone, who is quieter than everybody else?",
        "Which speaker has the lowest volume?",
    )
    plan = "compare how loud the voices are, whatever they say"
    yield from _compared(
        ctx, levels, louder, softer, plan, lambda x: f"at about {x:.0f} dBFS", lambda a, b: a - b, SAFE_DB
    )


def fastest_speaker(ctx: Context) -> Iterator[Draft]:
    """Who speaks fastest, or slowest, in words per second?"""
    rates = {s: _rate(ctx, s) for s in ctx.speakers}
    faster = (
        "Who speaks fastest?",
        "Whose words follow one another most quickly?",
        "Which speaker gets out the most words per second?",
        "Comparing how fast they talk, who is quicker than everybody else?",
    )
    slower = (
        "Who speaks most slowly?",
        "Whose words follow one another least quickly?",
        "Which speaker gets out the fewest words per second?",
        "Comparing how fast they talk, who is slower than everybody else?",
    )
    plan = "compare how many words each voice gets out in the time that it takes"
    tell: Callable[[float], str] = lambda x: f"at about {x:.1f} words per second"  # noqa: E731
    yield from _compared(ctx, rates, faster, slower, plan, tell, lambda a, b: a / b - 1, SAFE_RATIO - 1)


def highest_voice(ctx: Context) -> Iterator[Draft]:
    """Whose voice is highest, or lowest, in pitch?"""
    pitches = {s: _mean(ctx, s, "pitch_hz") for s in ctx.speakers}
    higher = (
        "Who has the highest voice?",
        "Whose voice is the highest in pitch?",
        "Which speaker's voice lies above all the others in pitch?",
        "Comparing the pitch of the voices, which one is higher than the rest?",
    )
    deeper = (
        "Who has the deepest voice?",
        "Whose voice is the lowest in pitch?",
        "Which speaker's voice lies below all the others in pitch?",
        "Comparing the pitch of the voices, which one is deeper than the rest?",
    )
    plan = "compare the pitch of the voices"
    yield from _compared(
        ctx,
        pitches,
        higher,
        deeper,
        plan,
        lambda x: f"around {x:.0f} Hz",
        lambda a, b: a / b - 1,
        SAFE_RATIO - 1,
    )


def _compared(
    ctx: Context,
    values: dict[int, float | None],
    most: tuple[str, ...],
    least: tuple[str, ...],
    plan: str,
    tell: Callable[[float], str],
    lead: Callable[[float, float], float],
    safe: float,
) -> Iterator[Draft]:
    """A draft about the voice with the largest or the smallest value, where it is safely apart from all
    others.
    """
    known = {s: value for s, value in values.items() if value is not None}
    if len(values) < 2 or not ctx.clear_numbers or len(known) < len(values):
        return
    ranked = sorted(known, key=lambda s: known[s])
    ways = ctx.shuffled([(most, ranked[-1], lead(known[ranked[-1]], known[ranked[-2]])),
                         (least, ranked[0], lead(known[ranked[1]], known[ranked[0]]))])  # fmt: skip
    texts, speaker, apart = ways[0] if ways[0][2] > safe else ways[1]
    if apart <= safe:
        return
    evidence = ctx.turn_evidence(range(len(ctx.scene.turns)))
    yield Draft(
        texts=tuple(f"{text} {ctx.pick(*NUMBERING)}" for text in texts),
        answer=f"Speaker {speaker}",
        decoys=ctx.decoy_speakers(speaker),
        evidence=evidence,
        plan=ctx.pick(plan, f"tell the voices apart and {plan}"),
        reasoning=f"Speaker {speaker} can be heard {tell(known[speaker])}.",
        why_wrong=ctx.why_speakers_wrong(lambda present: _others(present, known, tell)),
        margin=ctx.margin(evidence, apart / (2 * safe)),
        fewest=2,
    )


def _others(present: list[int], known: dict[int, float], tell: Callable[[float], str]) -> str:
    return f"By comparison, {clauses([f'speaker {s} is heard {tell(known[s])}' for s in present])}."


def _mean(ctx: Context, speaker: int, name: str) -> float | None:
    """The mean of what was measured of a speaker's turns, by their lengths; None where that is too little."""
    turns = [ctx.scene.turns[i] for i in ctx.turns_of(speaker)]
    known = [(getattr(t, name), t.end_ms - t.start_ms) for t in turns if ctx.overlapped_share(t) <= 0.5]
    weights = sum(ms for value, ms in known if value is not None)
    return sum(v * ms for v, ms in known if v is not None) / weights if weights >= SHORTEST_MS else None


def _rate(ctx: Context, speaker: int) -> float | None:
    """A speaker's words per second of talking; None where there is too little of it, or a turn without
    words.
    """
    turns = [ctx.scene.turns[i] for i in ctx.turns_of(speaker)]
    words, ms = sum(length(t.text) for t in turns), sum(t.end_ms - t.start_ms for t in turns)
    enough = words >= WORDS and ms >= SHORTEST_MS and all(t.text for t in turns)
    return 1000 * words / ms if enough else None


TEMPLATES = (
    QuestionTemplate(
        "loudest_speaker", "prosody", "speaker", loudest_speaker, closed=True, none=True, open=A_SPEAKER
    ),
    QuestionTemplate(
        "fastest_speaker", "prosody", "speaker", fastest_speaker, closed=True, none=True, open=A_SPEAKER
    ),
    QuestionTemplate(
        "highest_voice", "prosody", "speaker", highest_voice, closed=True, none=True, open=A_SPEAKER
    ),
)
