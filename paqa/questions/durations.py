"""How long a sound, a voice or a silence lasts, and what lasts longest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from paqa.questions.context import APART_MS, CLEAR_MS, SAFE_MS, Context
from paqa.questions.english import excerpt, listing, ordinal, seconds, span, spans, the_sound, upper
from paqa.questions.scene_parts import Background, Line
from paqa.questions.template import Draft, QuestionTemplate
from paqa.questions.timing import about
from paqa.spans import Interval, interval, merge, total

# The amounts to choose from, in seconds.
DURATIONS = (2, 4, 6, 8, 11, 14, 18, 23, 29, 37, 47, 60, 76, 97, 123, 156, 198, 251, 319, 405, 514)
NEAR = 0.25  # how near a total must come to a duration, as a share of the distance to the next one
DOMINANCE = 1.3  # what lasts longest must last at least this many times as long as the next
LEAD_MS = 500  # and at least this much longer


def sound_duration(ctx: Context) -> Iterator[Draft]:
    """For about how long is a sound heard in total?"""
    if not ctx.background_clear():
        return
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        if not ctx.unambiguous(sound):
            continue
        evidence = ctx.sound_evidence(sound)
        name = the_sound(sound.label)
        yield from _with_duration(
            ctx,
            _stretches(ctx, sound),
            Draft(
                texts=(
                    f"For about how long is {name} heard in total?",
                    f"Roughly how many seconds of {name} are there, all occasions added up?",
                    f"About how much time does {name} take up altogether?",
                    f"When all its occasions are added up, about how long does {name} last?",
                ),
                answer="",
                decoys=(),
                evidence=evidence,
                plan=ctx.pick(
                    f"note where {name} begins and where it ends and add up the time",
                    f"measure every stretch of {name} and add them together",
                ),
                reasoning=f"{upper(name)} is heard at {spans(_stretches(ctx, sound), most=8)}",
                why_wrong=lambda _: "",
                margin=ctx.margin(evidence),
            ),
        )


def speaking_time(ctx: Context) -> Iterator[Draft]:
    """For about how long does somebody speak in total?"""
    if not ctx.clear_numbers:
        return
    for speaker in ctx.shuffled(ctx.speakers):
        alone = len(ctx.speakers) == 1
        who = "the speaker" if alone else f"the {ordinal(speaker)} person to speak"
        evidence = ctx.turn_evidence(ctx.turns_of(speaker))
        yield from _with_duration(
            ctx,
            ctx.speech_of(speaker),
            Draft(
                texts=(
                    f"For about how long does {who} talk in total?",
                    f"Roughly how much time do the words of {who} take up, pauses not counted?",
                    f"Adding up all turns, about how long does {who} speak?",
                    f"About how many seconds of speech come from {who}?",
                ),
                answer="",
                decoys=(),
                evidence=evidence,
                plan=ctx.pick(
                    f"follow {who} through the recording and add up the time of every turn",
                    f"measure the stretches in which {who} can be heard and add them up",
                ),
                reasoning=f"Speaker {speaker} talks at {spans(ctx.speech_of(speaker), most=8)}",
                why_wrong=lambda _: "",
                margin=ctx.margin(evidence),
            ),
        )


def _with_duration(ctx: Context, stretches: list[Interval], draft: Draft) -> Iterator[Draft]:
    """The draft with the total of some stretches as its answer, where there are enough wrong choices."""
    index = _nearest_duration(total(stretches) / 1000, ctx.lenient)
    possible = [s for s in DURATIONS if 1000 * s <= ctx.scene.duration_ms]
    if index is None or index >= len(possible) or len(decoys := ctx.neighbours(possible, index)) < 2:
        return
    sum_clause = (
        f"; together that is {seconds(total(stretches))}."
        if len(stretches) > 1
        else f", which is {seconds(total(stretches))}."
    )
    yield replace(
        draft,
        answer=about(DURATIONS[index]),
        decoys=tuple(about(s) for s in decoys),
        reasoning=draft.reasoning + sum_clause,
        why_wrong=lambda _: ctx.pick(
            "The other durations are off by more than a second.", "No other duration comes near that."
        ),
    )


def _nearest_duration(length_s: float, lenient: bool) -> int | None:
    """The index of the duration that a length clearly is; the nearest one if `lenient`; None if unclear."""
    index = min(range(len(DURATIONS)), key=lambda i: abs(DURATIONS[i] - length_s))
    apart = min(
        abs(DURATIONS[index] - DURATIONS[i]) for i in (index - 1, index + 1) if 0 <= i < len(DURATIONS)
    )
    return index if lenient or abs(DURATIONS[index] - length_s) <= NEAR * apart else None


def longest_sound(ctx: Context) -> Iterator[Draft]:
    """Which background sound is heard for the longest time in total? Only with a clear lead."""
    if not ctx.background_clear():
        return
    lengths = {b: total(_stretches(ctx, b)) for b in ctx.backgrounds}
    ranked = sorted(lengths, key=lambda b: -lengths[b])
    if len(ranked) < 2 or not ranked[0].safe or not all(ctx.unambiguous(b) for b in ranked):
        return
    sound, first, second = ranked[0], lengths[ranked[0]], lengths[ranked[1]]
    if first < DOMINANCE * second or first - second < LEAD_MS:
        return
    evidence = tuple(e for b in ranked for e in ctx.sound_evidence(b))
    yield Draft(
        texts=(
            "Which background sound is heard for the longest time in total?",
            "Voices not counted, what sounds longest when all its occasions are added up?",
            "What takes up the most time in the background?",
            "Apart from speech, which sound lasts longest altogether?",
        ),
        answer=sound.choice,
        decoys=ctx.decoy_sounds(sound, ctx.other_sounds(sound)),
        evidence=evidence,
        plan=ctx.pick(
            "add up how long each background sound is heard and compare the sums",
            "measure how much of the time each sound of the background takes",
        ),
        reasoning=ctx.pick(
            f"{upper(the_sound(sound.label))} is heard for {seconds(first)} in all, at"
            f" {spans(_stretches(ctx, sound))}.",
            f"At {spans(_stretches(ctx, sound))} one hears {sound.name}, which makes {seconds(first)}.",
        ),
        why_wrong=ctx.why_sounds_wrong(
            "comes to",
            lambda b: f"{seconds(lengths[b])} ({spans(_stretches(ctx, b))})",
            lambda b: the_sound(b.label),
        ),
        margin=ctx.margin(evidence, (first - second) / SAFE_MS),
    )


def _stretches(ctx: Context, sound: Background) -> list[Interval]:
    """Where a sound is heard, overlapping events merged."""
    return merge(interval(ctx.scene.events[i]) for i in sound.events)


def longest_pause(ctx: Context) -> Iterator[Draft]:
    """After which words does nobody speak for longest? Only where one pause is clearly the longest."""
    pauses = sorted(((b[0] - a[1], a[1], b[0]) for a, b in pairwise(ctx.speech)), reverse=True)
    if not pauses or pauses[0][0] < APART_MS:
        return
    length, start, end = pauses[0]
    lead = length - (pauses[1][0] if len(pauses) > 1 else 0)
    ending = [i for i, t in enumerate(ctx.scene.turns) if start - CLEAR_MS < t.end_ms <= start]
    line = next((x for x in ctx.lines if [x.turn] == ending and x.whole), None)
    if line is None or lead < CLEAR_MS:
        return
    following = [i for i, t in enumerate(ctx.scene.turns) if t.start_ms == end]
    evidence = ctx.turn_evidence([line.turn, *following])
    yield Draft(
        texts=(
            "After which words does the longest pause in the talk come?",
            "Which line is followed by the longest silence before anybody speaks again?",
            "What has just been said when the talk pauses for longest?",
            "At one point nobody speaks for longer than anywhere else between turns. Which words come just"
            " before?",
        ),
        answer=line.choice,
        decoys=tuple(x.choice for x in ctx.shuffled(_before_pauses(ctx)) if x != line),
        evidence=evidence,
        plan=ctx.pick(
            "find the longest stretch without a voice between two turns and catch the words before it",
            "measure the pauses between the turns and go to the longest one",
        ),
        reasoning=f"After {excerpt(line.text)}, which ends at {seconds(start)}, nobody speaks until"
        f" {seconds(end)}:"
        f" a pause of {seconds(length)}.",
        why_wrong=lambda decoys: _why_pauses_wrong(ctx, decoys, pauses[1][0] if len(pauses) > 1 else 0),
        margin=ctx.margin(evidence, lead / SAFE_MS, words=True),
    )


def _before_pauses(ctx: Context) -> list[Line]:
    """The lines but for those with which the talk ends: the silence after these is no pause in it."""
    last = max(t.start_ms for t in ctx.scene.turns)
    return [x for x in ctx.lines if x.span[0] < last and x.span[1] < ctx.speech[-1][1]]


def _why_pauses_wrong(ctx: Context, decoys: Sequence[str], second: int) -> str:
    """What follows the other lines: a shorter pause at most."""
    other_lines = listing(
        [f"{excerpt(x.text, 4)} ({span(x.span)})" for x in ctx.lines if x.choice in decoys], "or"
    )
    return (
        f"The pause after {other_lines}, if any, is {seconds(second)} at most."
        if second
        else f"No pause follows {other_lines}."
    )


TEMPLATES = (
    QuestionTemplate(
        "sound_duration",
        "duration",
        "environment",
        sound_duration,
        closed=True,
        rests_on=frozenset({"sound", "sound_time"}),
    ),
    QuestionTemplate(
        "longest_sound",
        "duration",
        "environment",
        longest_sound,
        none=True,
        rests_on=frozenset({"sound", "sound_time", "absence"}),
    ),
    QuestionTemplate(
        "speaking_time",
        "duration",
        "speaker",
        speaking_time,
        closed=True,
        rests_on=frozenset({"speaker", "turn_time"}),
    ),
    QuestionTemplate(
        "longest_pause",
        "duration",
        "speaker",
        longest_pause,
        none=True,
        rests_on=frozenset({"words", "turn_time"}),
    ),
)
