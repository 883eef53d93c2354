"""Which background sound comes first, last, or next."""

from __future__ import annotations

from collections.abc import Iterator

from paqa.questions.context import CLEAR_MS, SAFE_MS, Context
from paqa.questions.english import listing, seconds, the_sound, upper
from paqa.questions.scene_parts import Background
from paqa.questions.template import Draft, QuestionTemplate


def first_sound(ctx: Context) -> Iterator[Draft]:
    """Which sound sets in first?"""
    if not ctx.safe_backgrounds:
        return
    sound = min(ctx.safe_backgrounds, key=lambda b: b.start_ms)
    others = ctx.other_sounds(sound)
    lead = min((b.start_ms - sound.start_ms for b in others), default=0)
    if lead < CLEAR_MS or not ctx.clear_until(sound.start_ms):
        return
    evidence = (*ctx.sound_evidence(sound, 0), *(e for b in others for e in ctx.sound_evidence(b, 0)))
    yield Draft(
        texts=(
            "Which background sound is heard first?",
            "Voices not counted, which sound sets in first?",
            "In the background, which sound starts before all the others?",
            "What is the earliest sound in the background?",
        ),
        answer=sound.choice,
        decoys=ctx.decoy_sounds(sound, others),
        evidence=evidence,
        plan=ctx.pick(
            "put the background sounds in the order in which they start",
            "note the moment at which each background sound sets in and take the earliest",
        ),
        reasoning=ctx.pick(
            f"{upper(the_sound(sound.label))} sets in at {seconds(sound.start_ms)}, before any other.",
            f"At {seconds(sound.start_ms)}, {sound.name} can already be heard, and nothing else in the"
            " background"
            " starts earlier.",
        ),
        why_wrong=ctx.why_sounds_wrong(
            "only starts", lambda b: f"at {seconds(b.start_ms)}", lambda b: the_sound(b.label)
        ),
        margin=ctx.margin(evidence, lead / SAFE_MS),
    )


def last_sound(ctx: Context) -> Iterator[Draft]:
    """Which sound is the last to set in?"""
    if not ctx.safe_backgrounds:
        return
    sound = max(ctx.safe_backgrounds, key=_last_onset)
    others = ctx.other_sounds(sound)
    lag = min((_last_onset(sound) - max(starts(ctx, b)) for b in others), default=0)
    if lag < CLEAR_MS or not ctx.clear_from(_last_onset(sound)):
        return
    evidence = tuple(e for b in (sound, *others) for e in ctx.sound_evidence(b, len(b.occasions) - 1))
    yield Draft(
        texts=(
            "Which background sound is the last to start?",
            "In the background, which sound sets in after all the others?",
            "Not counting speech, what is the last sound to begin?",
            "What starts last in the background?",
        ),
        answer=sound.choice,
        decoys=ctx.decoy_sounds(sound, others),
        evidence=evidence,
        plan=ctx.pick(
            "follow the background to the end and catch the last sound to begin",
            "note when each background sound last sets in and take the latest",
        ),
        reasoning=ctx.pick(
            f"The last new onset in the background, at {seconds(_last_onset(sound))}, is"
            f" {the_sound(sound.label)}.",
            f"At {seconds(_last_onset(sound))} {sound.name} can be heard starting, and no background sound"
            " begins"
            " after that.",
        ),
        why_wrong=ctx.why_sounds_wrong(
            "starts for the last time",
            lambda b: f"at {seconds(_last_onset(b))}",
            lambda b: the_sound(b.label),
        ),
        margin=ctx.margin(evidence, lag / SAFE_MS),
    )


def sound_after(ctx: Context) -> Iterator[Draft]:
    """Which sound starts next after another one? Asked from a sound's first onset."""
    for earlier in ctx.shuffled(ctx.safe_backgrounds):
        marks = sorted((at, b.label, b) for b in ctx.other_sounds(earlier) for at in starts(ctx, b))
        later = [x for x in marks if x[0] > earlier.start_ms - CLEAR_MS]
        if not later or not ctx.unambiguous(earlier):
            continue
        onset, _, sound = later[0]
        rivals = [x[0] - onset for x in later if not ctx.alike(x[2], sound)]
        clear = min([onset - earlier.start_ms, *rivals])
        occasion = next((i for i, o in enumerate(sound.occasions) if o[0] == onset), None)
        sure = sound.safe and ctx.clear_until(onset)
        if clear < CLEAR_MS or not sure or occasion is None:
            continue
        evidence = (*ctx.sound_evidence(earlier, 0), *ctx.sound_evidence(sound, occasion))
        yield Draft(
            texts=_next_texts(earlier),
            answer=sound.choice,
            decoys=ctx.decoy_sounds(sound, [b for b in ctx.other_sounds(earlier) if not ctx.alike(b, sound)]),
            evidence=evidence,
            plan=ctx.pick(
                f"find the place where {earlier.name} can first be heard and wait for the next different"
                " sound",
                f"start from {the_sound(earlier.label)} and catch what sets in next",
            ),
            reasoning=ctx.pick(
                f"{upper(the_sound(earlier.label))} first comes at {seconds(earlier.start_ms)}; the next"
                " different"
                f" sound to set in, at {seconds(onset)}, is {the_sound(sound.label)}.",
                f"After {the_sound(earlier.label)} has started at {seconds(earlier.start_ms)}, no other"
                " background"
                f" sound sets in until {seconds(onset)}, when {sound.name} can be heard.",
            ),
            why_wrong=ctx.why_sounds_wrong(
                "starts", lambda b: f"at {onsets(b)}", lambda b: the_sound(b.label)
            ),
            margin=ctx.margin(evidence, clear / SAFE_MS),
        )


def _next_texts(earlier: Background) -> tuple[str, ...]:
    return (
        f"Which other background sound is the first to start after {the_sound(earlier.label)} has first set"
        " in?",
        f"Once {the_sound(earlier.label)} has first set in, which different sound starts next in the"
        " background?",
        f"Voices not counted, what starts next after the first onset of {the_sound(earlier.label)}?",
        f"After {the_sound(earlier.label)} has first set in, what is the next different sound to begin?",
    )


def onsets(sound: Background) -> str:
    """The moments at which a sound starts."""
    moments = [seconds(start) for start, _ in sound.occasions]
    return listing(moments if len(moments) <= 4 else [*moments[:4], f"{len(moments) - 4} later moments"])


def starts(ctx: Context, sound: Background) -> list[int]:
    """Where a sound starts, including those starts that follow too closely to be an occasion of their own."""
    return [ctx.scene.events[i].start_ms for i in sound.events]


def _last_onset(sound: Background) -> int:
    return sound.occasions[-1][0]


TEMPLATES = (
    QuestionTemplate(
        "first_sound",
        "sound_order",
        "environment",
        first_sound,
        none=True,
        rests_on=frozenset({"sound", "sound_time", "absence"}),
    ),
    QuestionTemplate(
        "last_sound",
        "sound_order",
        "environment",
        last_sound,
        none=True,
        rests_on=frozenset({"sound", "sound_time", "absence"}),
    ),
    QuestionTemplate(
        "sound_after",
        "sound_order",
        "environment",
        sound_after,
        none=True,
        rests_on=frozenset({"sound", "sound_time", "absence"}),
    ),
)
