"""What can be asked of a single sound as well: what kind of sound it is, and whether anybody speaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

from paqa import audioset
from paqa.audioset import KINDS
from paqa.questions.context import MIN_TURN_MS, SAFE_MS, Context
from paqa.questions.english import lower, spans, upper
from paqa.questions.scene_parts import Background
from paqa.questions.sound_names import SPEECH
from paqa.questions.template import Draft, QuestionTemplate
from paqa.spans import merge, total

MUSIC, BELL = "Music or an instrument", "A bell"  # of KINDS
HUMAN = "A person who does not speak"
VOICES = ("Human voice", "Human group actions")  # may say words
SOMEBODY, NOBODY = "Yes, somebody speaks", "No, nobody speaks"


def sound_kind(ctx: Context) -> Iterator[Draft]:
    """Of what kind is a sound? Only where it is known of what kind each sound is."""
    sounds = [event for event in ctx.scene.events if event.label not in SPEECH]
    if ctx.scene.unclear or not all(kinds_of(event.mid) for event in sounds):
        return
    absent = [kind for kind in _drawn_kinds(ctx) if _is_absent(ctx, kind)]
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        kinds = kinds_of(sound.mid)
        if len(kinds) != 1 or (kinds[0] == HUMAN and ctx.speech):
            continue
        evidence = ctx.sound_evidence(sound)
        yield Draft(
            texts=_which_kind(bool(ctx.speech)),
            answer=kinds[0],
            decoys=tuple(absent),
            evidence=evidence,
            plan=ctx.pick(
                "name what sounds and say what kind of thing makes such a sound",
                "recognise the sound and put it under the kind that it belongs to",
            ),
            reasoning=f"{upper(sound.name)} can be heard at {spans(sound.occasions)}: that is"
            f" {lower(kinds[0])}.",
            why_wrong=lambda decoys: (
                f"There is no trace of {', nor of '.join(lower(decoy) for decoy in decoys)}."
            ),
            margin=ctx.margin(evidence),
        )


@cache
def kinds_of(mid: str) -> tuple[str, ...]:
    """The kinds that a sound is of; several for a car alarm, none for a whoosh and for what is unknown."""
    kinds = [kind for kind, groups in KINDS.items() if _is_of(mid, groups)]
    return tuple(kind for kind in kinds if kind != MUSIC or BELL not in kinds)  # bells are music in AudioSet


@cache
def _sounds_of(kind: str) -> tuple[tuple[str, str], ...]:
    """All sounds of a kind, as machine id and label."""
    return tuple((mid, audioset.label(mid)) for mid in audioset.sounds() if kind in kinds_of(mid))


@cache
def _is_of(mid: str, groups: tuple[str, ...]) -> bool:
    """Whether a sound is one of some groups, by label, or below one; False for what is not in AudioSet."""
    if mid not in audioset.sounds():
        return False
    return not {mid, *audioset.ancestors(mid)}.isdisjoint(map(audioset.mid, groups))


def _is_absent(ctx: Context, kind: str) -> bool:
    """Whether no sound of the scene can be taken for one of a kind."""
    if kind == HUMAN and ctx.speech:
        return False
    return all(ctx.is_absent(*sound) for sound in _sounds_of(kind))


def _drawn_kinds(ctx: Context) -> list[str]:
    """All kinds, seeded, those first that more of the build's clips hold, so that no kind is always wrong."""
    counts = Counter(kind for (mid, _), n in ctx.other_clips.sounds.items() for kind in kinds_of(mid) * n)
    return ctx.drawn((kind, counts[kind] + 0.01) for kind in KINDS)


def _which_kind(voiced: bool) -> tuple[str, ...]:
    if voiced:
        return (
            "What kind of sound is there besides the speech?",
            "To which of these kinds does a sound behind the talking belong?",
            "Apart from the voices, what is it that can be heard?",
            "Leaving the speech aside, what makes itself heard?",
        )
    return (
        "What kind of sound is heard?",
        "To which of these kinds does a sound in the recording belong?",
        "What makes itself heard in this clip?",
        "What is it that sounds in the recording?",
    )


def any_speech(ctx: Context) -> Iterator[Draft]:
    """Does anybody speak? Of a clip without speech only where its sounds are no voices."""
    if ctx.speech:
        evidence = ctx.turn_evidence(range(len(ctx.scene.turns)))
        spoken_ms = total(ctx.speech)
        if spoken_ms < MIN_TURN_MS:
            return
        reasoning = f"Somebody talks at {spans(ctx.speech, most=8)}."
        margin = ctx.margin(evidence, spoken_ms / SAFE_MS)
    else:
        sounds: list[Background] = ctx.safe_backgrounds
        if not sounds or any(_is_of(e.mid, VOICES) for e in ctx.scene.events):
            return
        evidence = tuple(e for sound in sounds for e in ctx.sound_evidence(sound))
        heard = merge(occasion for sound in sounds for occasion in sound.occasions)
        reasoning = f"What sounds at {spans(heard, most=8)} is no voice, and nobody says a word."
        margin = ctx.margin(evidence, 0.8 if ctx.scene.heard_by else 1.0)
    yield Draft(
        texts=(
            "Does anybody speak in the recording?",
            "Can a person be heard talking?",
            "Is there any speech in this clip?",
            "Are words spoken at any point of the recording?",
        ),
        answer=SOMEBODY if ctx.speech else NOBODY,
        decoys=(NOBODY if ctx.speech else SOMEBODY,),
        evidence=evidence,
        plan=ctx.pick(
            "listen for a voice that says words", "go through the recording and look for spoken words"
        ),
        reasoning=reasoning,
        why_wrong=lambda _: (
            ctx.pick("So there is speech.", "Hence the recording is not without words.")
            if ctx.speech
            else ctx.pick("So there is no speech.", "Hence nobody is talking.")
        ),
        margin=margin,
        fewest=2,
    )


TEMPLATES = (
    QuestionTemplate(
        "sound_kind", "sounds", "environment", sound_kind, rests_on=frozenset({"sound", "absence"})
    ),
    QuestionTemplate(
        "any_speech",
        "speakers",
        "speaker",
        any_speech,
        closed=True,
        rests_on=frozenset({"speaker_count"}),
    ),
)
