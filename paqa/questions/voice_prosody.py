"""How voices differ: who is louder, who talks faster, whose voice is higher, where the lead is safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from paqa.questions.context import Context
from paqa.questions.english import clauses
from paqa.questions.speakers import NUMBERING
from paqa.questions.template import A_SPEAKER, Draft, QuestionTemplate
from paqa.text import UNCLEAR_WORD, length

SAFE_DB = 3.0  # a larger difference in level makes it certain who is louder
SAFE_RATIO = 1.2  # likewise a larger ratio of rates or pitches
SHORTEST_MS = 1000  # of each voice, while nobody else talks for most of it
WORDS = 6  # that each voice must say for its rate


@dataclass(frozen=True)
class Comparison:
    """How voices are compared by one measure: the questions, the argument and when the difference is safe.

    `describe` says in words what a value means; `lead` is how far the first of two values, the larger one,
    is above the second; a lead above `safe` is certain.
    """

    most: tuple[str, ...]
    least: tuple[str, ...]
    plan: str
    describe: Callable[[float], str]
    lead: Callable[[float, float], float]
    safe: float


LOUDNESS = Comparison(
    most=(
        "Who speaks loudest?",
        "Whose voice is the loudest?",
        "Going by the volume of the voices alone, who is louder than everybody else?",
        "Which speaker can be heard most loudly?",
    ),
    least=(
        "Who speaks most softly?",
        "Whose voice is the quietest?",
        "Going by the volume of the voices alone, who is quieter than everybody else?",
        "Which speaker has the lowest volume?",
    ),
    plan="compare how loud the voices are, whatever they say",
    describe=lambda dbfs: f"at about {dbfs:.0f} dBFS",
    lead=lambda high, low: high - low,
    safe=SAFE_DB,
)
RATE = Comparison(
    most=(
        "Who speaks fastest?",
        "Whose words follow one another most quickly?",
        "Which speaker gets out the most words per second?",
        "Comparing how fast they talk, who is quicker than everybody else?",
    ),
    least=(
        "Who speaks most slowly?",
        "Whose words follow one another least quickly?",
        "Which speaker gets out the fewest words per second?",
        "Comparing how fast they talk, who is slower than everybody else?",
    ),
    plan="compare how many words each voice gets out in the time that it takes",
    describe=lambda rate: f"at about {rate:.1f} words per second",
    lead=lambda high, low: high / low - 1,
    safe=SAFE_RATIO - 1,
)
PITCH = Comparison(
    most=(
        "Who has the highest voice?",
        "Whose voice is the highest in pitch?",
        "Which speaker's voice lies above all the others in pitch?",
        "Comparing the pitch of the voices, which one is higher than the rest?",
    ),
    least=(
        "Who has the deepest voice?",
        "Whose voice is the lowest in pitch?",
        "Which speaker's voice lies below all the others in pitch?",
        "Comparing the pitch of the voices, which one is deeper than the rest?",
    ),
    plan="compare the pitch of the voices",
    describe=lambda hz: f"around {hz:.0f} Hz",
    lead=lambda high, low: high / low - 1,
    safe=SAFE_RATIO - 1,
)


def loudest_speaker(ctx: Context) -> Iterator[Draft]:
    """Who speaks loudest, or softest?"""
    yield from _compared(ctx, {s: _mean(ctx, s, "level_db") for s in ctx.speakers}, LOUDNESS)


def fastest_speaker(ctx: Context) -> Iterator[Draft]:
    """Who speaks fastest, or slowest, in words per second?"""
    yield from _compared(ctx, {s: _rate(ctx, s) for s in ctx.speakers}, RATE)


def highest_voice(ctx: Context) -> Iterator[Draft]:
    """Whose voice is highest, or lowest, in pitch?"""
    yield from _compared(ctx, {s: _mean(ctx, s, "pitch_hz") for s in ctx.speakers}, PITCH)


def _compared(ctx: Context, values: dict[int, float | None], comparison: Comparison) -> Iterator[Draft]:
    """A draft about the voice with the largest or the smallest value, where its lead is safe."""
    measured = {s: value for s, value in values.items() if value is not None}
    if len(values) < 2 or not ctx.clear_numbers or len(measured) < len(values):
        return
    ranked = sorted(measured, key=lambda s: measured[s])
    lead_of_most = comparison.lead(measured[ranked[-1]], measured[ranked[-2]])
    lead_of_least = comparison.lead(measured[ranked[1]], measured[ranked[0]])
    ways = ctx.shuffled(
        [(comparison.most, ranked[-1], lead_of_most), (comparison.least, ranked[0], lead_of_least)]
    )
    texts, speaker, lead = ways[0] if ways[0][2] > comparison.safe else ways[1]
    if lead <= comparison.safe:
        return
    evidence = ctx.turn_evidence(range(len(ctx.scene.turns)))
    yield Draft(
        texts=tuple(f"{text} {ctx.pick(*NUMBERING)}" for text in texts),
        answer=f"Speaker {speaker}",
        decoys=ctx.decoy_speakers(speaker),
        evidence=evidence,
        plan=ctx.pick(comparison.plan, f"tell the voices apart and {comparison.plan}"),
        reasoning=f"Speaker {speaker} can be heard {comparison.describe(measured[speaker])}.",
        why_wrong=ctx.why_speakers_wrong(lambda present: _others(present, measured, comparison)),
        margin=ctx.margin(evidence, lead / (2 * comparison.safe)),
        fewest=2,
    )


def _others(present: list[int], measured: dict[int, float], comparison: Comparison) -> str:
    values = [f"speaker {s} is heard {comparison.describe(measured[s])}" for s in present]
    return f"By comparison, {clauses(values)}."


def _mean(ctx: Context, speaker: int, name: str) -> float | None:
    """The mean of a measure of a speaker's turns, weighted by length; None for too little speech."""
    turns = [ctx.scene.turns[i] for i in ctx.turns_of(speaker)]
    clear_turns = [t for t in turns if ctx.overlapped_share(t) <= 0.5]
    measured = [
        (getattr(t, name), t.end_ms - t.start_ms) for t in clear_turns if getattr(t, name) is not None
    ]
    total_ms = sum(ms for _, ms in measured)
    return sum(value * ms for value, ms in measured) / total_ms if total_ms >= SHORTEST_MS else None


def _rate(ctx: Context, speaker: int) -> float | None:
    """A speaker's words per second of talking; None where there is too little, or words are not known."""
    turns = [ctx.scene.turns[i] for i in ctx.turns_of(speaker)]
    words, ms = sum(length(t.text) for t in turns), sum(t.end_ms - t.start_ms for t in turns)
    clear = all(t.text and UNCLEAR_WORD not in t.text for t in turns)
    enough = words >= WORDS and ms >= SHORTEST_MS and clear
    return 1000 * words / ms if enough else None


TEMPLATES = (
    QuestionTemplate(
        "loudest_speaker",
        "prosody",
        "speaker",
        loudest_speaker,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker_count", "speaker"}),
    ),
    QuestionTemplate(
        "fastest_speaker",
        "prosody",
        "speaker",
        fastest_speaker,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker_count", "speaker", "words", "turn_time"}),
    ),
    QuestionTemplate(
        "highest_voice",
        "prosody",
        "speaker",
        highest_voice,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker_count", "speaker"}),
    ),
)
