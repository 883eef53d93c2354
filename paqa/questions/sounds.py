"""What is in the background, and what is not."""

from __future__ import annotations

from collections.abc import Iterator

from paqa.questions.context import Context
from paqa.questions.english import listing, spans, spoken, upper
from paqa.questions.scene_parts import Background
from paqa.questions.template import Draft, QuestionTemplate
from paqa.spans import overlap, total


def background_sound(ctx: Context) -> Iterator[Draft]:
    """Which of these sounds is in the background?"""
    voiced = bool(ctx.speech)
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        evidence = ctx.sound_evidence(sound)
        yield Draft(
            texts=_which_sound(voiced),
            answer=sound.choice,
            decoys=tuple(upper(spoken(label)) for label in ctx.absent_labels(ctx.config.choices - 1)),
            evidence=evidence,
            plan=ctx.pick(
                "set the voices aside and recognise what lies behind them",
                "hear past the words and name what else is sounding",
                "separate the voices from the rest and say what the rest is",
            )
            if voiced
            else ctx.pick("recognise the sounds one by one", "name the sounds that do occur"),
            reasoning=f"{upper(sound.name)} can be heard at"
            f" {spans(sound.occasions)}{_under_speech(ctx, sound)}.",
            why_wrong=ctx.why_sounds_wrong("can be heard", _where),
            margin=ctx.margin(evidence),
        )


def absent_sound(ctx: Context) -> Iterator[Draft]:
    """Which of these sounds is not there? Less certain in a scene that engines predicted."""
    present: list[Background] = []
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        if not any(ctx.alike(sound, p) for p in present):
            present.append(sound)
    if len(present) < 2:
        return
    present = present[: ctx.config.choices - 1]
    evidence = tuple(e for sound in present for e in ctx.sound_evidence(sound))
    for label in ctx.absent_labels(2):
        yield Draft(
            texts=(
                "Which of these sounds is not heard in the recording?",
                "All but one of these sounds are in the recording. Which one is missing?",
                "Which of the following cannot be heard at any point?",
                "One of these sounds never occurs in the clip. Which one?",
            ),
            answer=upper(spoken(label)),
            decoys=tuple(p.choice for p in present),
            evidence=evidence,
            plan=ctx.pick(
                "tick off every sound that does occur and see which one is left over",
                "look for each of the sounds in turn and find the one that never comes",
            ),
            reasoning=ctx.pick(
                f"At no point is there any trace of {spoken(label)}.",
                f"From beginning to end, nothing sounds like {spoken(label)}.",
                f"I listen for {spoken(label)} and find nothing of the kind.",
            ),
            why_wrong=ctx.why_sounds_wrong("can be heard", _where),
            margin=ctx.margin(evidence, 0.8 if ctx.scene.heard_by else 1.0),
        )


def any_background(ctx: Context) -> Iterator[Draft]:
    """Does anything sound in the background of the speech?"""
    if not ctx.speech or not (ctx.safe_backgrounds or ctx.background_quiet):
        return
    sounds = ctx.safe_backgrounds
    present = tuple(e for sound in sounds for e in ctx.sound_evidence(sound))
    evidence = present or ctx.turn_evidence(range(len(ctx.scene.turns)))
    yes, no = "Yes, there is another sound", "No, there is nothing but speech"
    named = listing([f"{sound.name} ({spans(sound.occasions)})" for sound in sounds])
    yield Draft(
        texts=(
            "Does anything besides speech sound in the recording?",
            "Can another sound be heard, apart from the talking?",
            "Is there any background sound to be made out behind the speech?",
            "Leaving the voices aside, is there a sound in the clip?",
        ),
        answer=yes if sounds else no,
        decoys=(no if sounds else yes,),
        evidence=evidence,
        plan=ctx.pick(
            "hear past the voices and find out whether anything else sounds",
            "listen to the pauses and behind the words for another sound",
        ),
        reasoning=f"Besides the speech one hears {named}."
        if sounds
        else f"Somebody speaks at {spans(ctx.speech)}, and nothing else stands out there or in between.",
        why_wrong=lambda _: (
            ctx.pick("So the speech is not all that there is.", "Hence there is more than speech.")
            if sounds
            else ctx.pick("So there is only speech.", "Hence there is no other sound.")
        ),
        margin=ctx.margin(evidence, 1.0 if sounds or not ctx.scene.heard_by else 0.8),
        fewest=2,
    )


def _which_sound(voiced: bool) -> tuple[str, ...]:
    if voiced:
        return (
            "Which of these sounds can be heard in the background?",
            "Besides the speech, which of these is heard?",
            "What can be heard apart from the voices?",
            "Which of the following sounds belongs to the background of this recording?",
        )
    return (
        "Which of these sounds can be heard?",
        "Which of the following occurs in the recording?",
        "What is heard in this clip?",
        "Which of the following sounds is in the recording?",
    )


def _under_speech(ctx: Context, sound: Background) -> str:
    """How a sound lies to the speech: under it, beside it, or partly both."""
    if not ctx.speech:
        return ""
    shared = sum(overlap(o, s) for o in sound.occasions for s in ctx.speech)
    if shared == 0:
        return ", while nobody is speaking"
    return ", behind the voices" if shared > 0.8 * total(sound.occasions) else ", partly behind the voices"


def _where(sound: Background) -> str:
    return f"at {spans(sound.occasions)}"


TEMPLATES = (
    QuestionTemplate(
        "background_sound",
        "sounds",
        "environment",
        background_sound,
        none=True,
        rests_on=frozenset({"sound", "absence"}),
    ),
    QuestionTemplate(
        "any_background",
        "sounds",
        "environment",
        any_background,
        closed=True,
        rests_on=frozenset({"sound", "absence"}),
    ),
    QuestionTemplate(
        "absent_sound", "sounds", "environment", absent_sound, rests_on=frozenset({"sound", "absence"})
    ),
)
