"""When a background sound starts: in which part of the clip, at which second, before or after speech."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from paqa.questions.context import CLEAR_MS, SAFE_MS, Context
from paqa.questions.english import seconds, span, the_sound, upper
from paqa.questions.scene_parts import Background
from paqa.questions.template import Draft, QuestionTemplate
from paqa.spans import Interval, gap, overlap

PARTS = ("In the first third", "In the middle third", "In the last third")
BEFORE, DURING, PAUSE, AFTER = PLACES = (
    "Before anyone has spoken",
    "While someone is speaking",
    "In a pause between two stretches of speech",
    "After the last word has been spoken",
)


def onset_part(ctx: Context) -> Iterator[Draft]:
    """In which third of the clip does a sound start?"""
    third = ctx.scene.duration_ms / 3
    if third < SAFE_MS:
        return
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        part, edge = part_of(sound.start_ms, third)
        if edge < CLEAR_MS or not ctx.unambiguous(sound) or not ctx.clear_until(sound.start_ms):
            continue
        evidence = ctx.sound_evidence(sound, 0)
        yield Draft(
            texts=(
                f"In which part of the clip is {the_sound(sound.label)} first heard?",
                f"In which third of the recording does {the_sound(sound.label)} first set in?",
                f"With the recording cut into equal thirds, in which one does {the_sound(sound.label)} first"
                " come up?",
                f"How far into the clip is the first onset of {the_sound(sound.label)}?",
            ),
            answer=PARTS[part],
            decoys=tuple(ctx.shuffled(p for p in PARTS if p != PARTS[part])),
            evidence=evidence,
            plan=ctx.pick(
                f"catch the first moment at which {sound.name} can be heard and see how far into the clip"
                " that is",
                f"mark the onset of {the_sound(sound.label)} and compare it with the length of the clip",
            ),
            reasoning=f"{upper(the_sound(sound.label))} first sets in at {seconds(sound.start_ms)}, and the"
            " clip lasts"
            f" {seconds(ctx.scene.duration_ms)}.",
            why_wrong=_why_parts_wrong(ctx, third),
            margin=ctx.margin(evidence, edge / SAFE_MS),
        )


def part_of(at_ms: int, third: float) -> tuple[int, float]:
    """In which third a moment lies, as an index of PARTS, and how far in ms it is from the others."""
    return min(2, int(at_ms / third)), min(abs(at_ms - third), abs(at_ms - 2 * third))


def ends_of_thirds(third: float) -> str:
    """Where the first two thirds of a clip end, each `third` ms long; without a full stop."""
    return f"The first third ends at {seconds(round(third))} and the second at {seconds(round(2 * third))}"


def _why_parts_wrong(ctx: Context, third: float) -> Callable[[Sequence[str]], str]:
    first, second = seconds(round(third)), seconds(round(2 * third))
    return lambda _: ctx.pick(
        f"{ends_of_thirds(third)}, so the onset lies in only one of them.",
        f"With the cuts at {first} and {second}, only one of the three parts contains that onset.",
    )


def onset_second(ctx: Context) -> Iterator[Draft]:
    """At about which second does a sound start?"""
    step = max(2, round(ctx.scene.duration_ms / 8000))
    last = ctx.scene.duration_ms // 1000 - 1
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        answer = round(sound.start_ms / 1000)
        moments = range(answer % step or step, last + 1, step)
        sure = ctx.unambiguous(sound) and ctx.clear_until(sound.start_ms)
        if answer not in moments or not sure:
            continue
        decoys = ctx.neighbours(moments, moments.index(answer))
        if len(decoys) < 2:
            continue
        evidence = ctx.sound_evidence(sound, 0)
        yield Draft(
            texts=(
                f"About how many seconds into the clip is {the_sound(sound.label)} first heard?",
                f"At roughly which second does {the_sound(sound.label)} first start?",
                f"How long does it take until {sound.name} can be heard for the first time?",
                f"After about how much time does {the_sound(sound.label)} first set in?",
            ),
            answer=about(answer),
            decoys=tuple(about(s) for s in decoys),
            evidence=evidence,
            plan=ctx.pick(
                f"time the first onset of {the_sound(sound.label)}",
                f"wait for {the_sound(sound.label)} and read off the moment at which it first sets in",
            ),
            reasoning=f"{upper(the_sound(sound.label))} is first heard at {span(sound.occasions[0])}, so it"
            " starts"
            f" roughly {about(answer).removeprefix('About ')} in.",
            why_wrong=lambda _: ctx.pick(
                "The other times are too far from that onset to be meant.",
                "None of the other times comes within a second of it.",
            ),
            margin=ctx.margin(evidence, sound.start_ms / SAFE_MS),
        )


def about(second: int) -> str:
    """`About 1 second`, `About 12 seconds`."""
    return f"About {second} second{'' if second == 1 else 's'}"


def sound_and_speech(ctx: Context) -> Iterator[Draft]:
    """Does a sound come before, during, between or after the speech? Only where that is clear."""
    if not ctx.speech or not ctx.background_clear():
        return
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        place, clear = _place(ctx, sound.occasions)
        if not place or not ctx.unambiguous(sound):
            continue
        evidence = (*ctx.sound_evidence(sound), *ctx.turn_evidence(_neighbours(ctx, sound)))
        yield Draft(
            texts=(
                f"When is {the_sound(sound.label)} heard, relative to the speech?",
                f"How does the timing of {the_sound(sound.label)} relate to the talking?",
                f"Where does {the_sound(sound.label)} fall: before, during, between or after the speech?",
                f"How does {the_sound(sound.label)} lie in time to what people say?",
            ),
            answer=place,
            decoys=tuple(ctx.shuffled(p for p in PLACES if p != place)),
            evidence=evidence,
            plan=ctx.pick(
                f"lay the times of {the_sound(sound.label)} beside those of the speech",
                f"compare when {sound.name} can be heard with when people talk",
            ),
            reasoning=_relation(ctx, sound, place),
            why_wrong=lambda _: ctx.pick(
                "The other positions would put it somewhere else in the course of the talk.",
                "That rules out the other positions.",
                "No other position fits these times.",
            ),
            margin=ctx.margin(evidence, clear / SAFE_MS),
        )


def _place(ctx: Context, occasions: Sequence[Interval]) -> tuple[str, int]:
    """Where a sound lies, and the distance in ms from any other reading; ("", 0) where that is unclear."""
    first, last = ctx.speech[0][0], ctx.speech[-1][1]
    start, end = occasions[0][0], occasions[-1][1]
    shared = sum(overlap(o, s) for o in occasions for s in ctx.speech)
    if first - end >= CLEAR_MS:
        return BEFORE, first - end
    if start - last >= CLEAR_MS:
        return AFTER, start - last
    if shared == 0 and len(occasions) == 1:
        slack = min(gap(occasions[0], s) for s in ctx.speech)
        return (PAUSE, slack) if slack >= CLEAR_MS else ("", 0)
    covered = all(sum(overlap(o, s) for s in ctx.speech) >= 0.9 * (o[1] - o[0]) for o in occasions)
    return (DURING, shared) if covered and shared >= CLEAR_MS else ("", 0)


def _neighbours(ctx: Context, sound: Background) -> list[int]:
    """The turns during a sound, or else the nearest ones before and after it."""
    turns = list(enumerate(ctx.scene.turns))
    during = [i for i, t in turns if any(overlap(o, (t.start_ms, t.end_ms)) for o in sound.occasions)]
    before = max(((t.end_ms, i) for i, t in turns if t.end_ms <= sound.start_ms), default=None)
    after = min(((t.start_ms, i) for i, t in turns if t.start_ms >= sound.end_ms), default=None)
    return during or [near[1] for near in (before, after) if near]


def _relation(ctx: Context, sound: Background, place: str) -> str:
    where = " and ".join(span(o) for o in sound.occasions[:3])
    first, last = ctx.speech[0][0], ctx.speech[-1][1]
    statement = f"{upper(the_sound(sound.label))} is heard at {where}"
    if place == BEFORE:
        return f"{statement}; the first word comes only at {seconds(first)}."
    if place == AFTER:
        return f"{statement}; the talking has already come to an end at {seconds(last)}."
    turns = [ctx.scene.turns[i] for i in _neighbours(ctx, sound)]
    if place == DURING:
        talkers = " and ".join(f"speaker {t.speaker} ({span((t.start_ms, t.end_ms))})" for t in turns[:3])
        return f"{statement}. At the same time one hears {talkers} talking."
    return (
        f"{statement}. Speech stops at {seconds(turns[0].end_ms)} and does not go on before"
        f" {seconds(turns[-1].start_ms)}."
    )


TEMPLATES = (
    QuestionTemplate(
        "onset_part",
        "timing",
        "environment",
        onset_part,
        closed=True,
        rests_on=frozenset({"sound", "sound_time"}),
    ),
    QuestionTemplate(
        "onset_second",
        "timing",
        "environment",
        onset_second,
        closed=True,
        rests_on=frozenset({"sound", "sound_time"}),
    ),
    QuestionTemplate(
        "sound_and_speech",
        "timing",
        "environment",
        sound_and_speech,
        closed=True,
        rests_on=frozenset({"turn_time", "sound", "sound_time"}),
    ),
)
