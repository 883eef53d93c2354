"""What can be asked of a single sound as well: what kind of sound it is, and whether anybody speaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

from paqa import audioset
from paqa.questions.context import MIN_TURN_MS, SAFE_MS, Context
from paqa.questions.english import listing, lower, spans, upper
from paqa.questions.scene_parts import Background
from paqa.questions.sound_names import CONFUSABLE, KINDS
from paqa.questions.template import Draft, QuestionTemplate
from paqa.spans import total

HUMAN = "A person who does not speak"  # of KINDS
SOMEBODY, NOBODY = "Yes, somebody speaks", "No, nobody speaks"


def sound_kind(ctx: Context) -> Iterator[Draft]:
    """Of what kind is a sound? Only where no other kind could be meant."""
    if ctx.scene.unclear:
        return
    present = {kind for b in ctx.backgrounds for kind in _may_be_of(b.mid, bool(ctx.scene.heard_by))}
    present |= {HUMAN} if ctx.speech else set()
    absent = [kind for kind in _drawn_kinds(ctx) if kind not in present]
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
                f"There is no trace of {listing([lower(decoy) for decoy in decoys], 'or')}."
            ),
            margin=ctx.margin(evidence),
        )


def kinds_of(mid: str) -> tuple[str, ...]:
    """The kinds of KINDS that a sound of AudioSet is of; some are of several, e.g. a church bell."""
    above = {mid, *audioset.ancestors(mid)}
    return tuple(kind for kind, groups in KINDS.items() if any(audioset.mid(g) in above for g in groups))


@cache
def _may_be_of(mid: str, predicted: bool) -> frozenset[str]:
    """The kinds that a sound may be taken for; one that engines predicted may be any kind of its class."""
    mids = {mid, *(k for k in audioset.classes() if predicted and mid in audioset.ancestors(k))}
    labels = {audioset.label(m) for m in mids}
    confusable = {label for group in CONFUSABLE if group & labels for label in group}
    return frozenset(kind for m in (*mids, *map(audioset.mid, confusable)) for kind in kinds_of(m))


def _drawn_kinds(ctx: Context) -> list[str]:
    """All kinds, seeded, those first that more of the build's clips hold, so that no kind is always wrong."""
    counts = Counter(kind for (mid, _), n in ctx.other_clips.sounds.items() for kind in kinds_of(mid) * n)
    return sorted(KINDS, key=lambda kind: ctx.rng.random() ** (1 / (counts[kind] + 0.01)), reverse=True)


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
        if not sounds or any("Human voice" in _labels_above(e.mid) for e in ctx.scene.events):
            return
        evidence = tuple(e for sound in sounds for e in ctx.sound_evidence(sound))
        named = listing([f"{sound.name} ({spans(sound.occasions)})" for sound in sounds])
        reasoning = f"All that can be heard is {named}; no voice says a word."
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


def _labels_above(mid: str) -> set[str]:
    return {audioset.label(m) for m in (mid, *audioset.ancestors(mid))}


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
