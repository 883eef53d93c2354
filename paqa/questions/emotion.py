"""How somebody sounds, and who sounds that way: asked where a source labels the emotion of its turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from paqa.questions.context import MIN_TURN_MS, Context
from paqa.questions.english import clauses, excerpt, listing, lower, quoted, span, spans, upper
from paqa.questions.scene_parts import Line
from paqa.questions.speakers import NUMBERING
from paqa.questions.template import A_SPEAKER, Draft, QuestionTemplate
from paqa.spans import interval, total

LABELLED = 0.8  # the certainty of an emotion that annotators chose; they often differ

# How a voice with an emotion sounds. The first seven are MELD's labels.
SOUNDS = {
    "anger": "angry",
    "disgust": "disgusted",
    "fear": "afraid",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprised",
    "calm": "calm",
    "excitement": "excited",
    "frustration": "frustrated",
    "contempt": "contemptuous",
    "boredom": "bored",
}
OFFERED = tuple(SOUNDS)[:7]

# Other names of emotions in corpora.
ALSO = {
    "angry": "anger", "ang": "anger", "disgusted": "disgust", "dis": "disgust", "fearful": "fear",
    "scared": "fear", "afraid": "fear", "fea": "fear", "happy": "joy", "happiness": "joy", "hap": "joy",
    "joyful": "joy", "neu": "neutral", "sad": "sadness", "surprised": "surprise", "sur": "surprise",
    "excited": "excitement", "exc": "excitement", "frustrated": "frustration", "fru": "frustration",
    "bored": "boredom",
}  # fmt: skip

# Pairs of emotions that a listener may take for one another.
NEAR = (
    {"joy", "excitement"},
    {"surprise", "excitement"},
    {"anger", "frustration"},
    {"disgust", "contempt"},
    {"disgust", "frustration"},
    {"anger", "contempt"},
    {"neutral", "calm"},
    {"neutral", "boredom"},
    {"calm", "boredom"},
    {"sadness", "boredom"},
)


def emotion_of_line(ctx: Context) -> Iterator[Draft]:
    """How does the speaker sound when saying these words? Of one voice in one mood, asked of the clip."""
    moods = _moods_by_turn(ctx)
    turns = ctx.scene.turns
    if turns and len(ctx.speakers) == 1 and len({moods.get(i) for i in range(len(turns))}) == 1:
        yield from _mood_of_voice(ctx, moods)
        return
    for line in ctx.shuffled(x for x in ctx.lines if x.turn in moods):
        yield _mood_of_line(ctx, line, moods)


def _moods_by_turn(ctx: Context) -> dict[int, str]:
    """The labelled emotions, as names of SOUNDS, by index of the turn."""
    named = {i: emotion(t.emotion) for i, t in enumerate(ctx.scene.turns)}
    return {i: name for i, name in named.items() if name}


def emotion(label: str | None) -> str | None:
    """The name in SOUNDS of a source's label; None for a label without one."""
    name = (label or "").strip().casefold()
    name = ALSO.get(name, name)
    return name if name in SOUNDS else None


def alike(a: str, b: str) -> bool:
    """Whether one of two emotions may be taken for the other."""
    return a == b or {a, b} in NEAR


def _mood_of_voice(ctx: Context, moods: dict[int, str]) -> Iterator[Draft]:
    """The one emotion of the only voice, asked of the whole clip."""
    mood = moods.get(0)
    if not mood or total(ctx.speech) < MIN_TURN_MS:
        return
    evidence = ctx.turn_evidence(range(len(ctx.scene.turns)))
    yield Draft(
        texts=(
            "How does the speaker sound?",
            "Which emotion does the voice convey?",
            "In what mood is the person who speaks?",
            "Going by the voice, what does the speaker feel?",
        ),
        answer=upper(SOUNDS[mood]),
        decoys=_other_moods(ctx, mood, moods),
        evidence=evidence,
        plan=ctx.pick(
            "listen to the tone of the voice rather than to the words alone",
            "judge the mood of the speaker by how the words are spoken",
        ),
        reasoning=ctx.pick(
            f"The voice, heard at {spans(ctx.speech)}, sounds {SOUNDS[mood]}.",
            f"What is said at {spans(ctx.speech)} is said in a voice that sounds {SOUNDS[mood]}.",
        ),
        why_wrong=_why_moods_wrong(ctx),
        margin=ctx.margin(evidence, LABELLED),
    )


def _mood_of_line(ctx: Context, line: Line, moods: dict[int, str]) -> Draft:
    evidence = ctx.turn_evidence([line.turn])
    quote, sounds = quoted(line.text), SOUNDS[moods[line.turn]]
    return Draft(
        texts=(
            f"How does the speaker sound when saying {quote}?",
            f"Which emotion is in the voice that says {quote}?",
            f"Somebody says {quote}. In what mood are they?",
            f"Somebody says {quote}. Going by the voice, what do they feel?",
        ),
        answer=upper(sounds),
        decoys=_other_moods(ctx, moods[line.turn], moods),
        evidence=evidence,
        plan=ctx.pick(
            f"find the words {excerpt(line.text)} and listen to the tone in which they are said",
            f"hear how the voice that says {excerpt(line.text)} sounds at that moment",
        ),
        reasoning=ctx.pick(
            f"The words {excerpt(line.text)} come at {span(line.span)}; there, speaker {line.speaker} sounds"
            f" {sounds}.",
            f"At {span(line.span)} speaker {line.speaker} says {excerpt(line.text)} in a voice that sounds"
            f" {sounds}.",
        ),
        why_wrong=_why_moods_wrong(ctx),
        margin=ctx.margin(
            evidence, LABELLED, 1.0 - ctx.overlapped_share(ctx.scene.turns[line.turn]), words=True
        ),
    )


def _other_moods(ctx: Context, answer: str, moods: dict[int, str]) -> tuple[str, ...]:
    """Emotions of other turns, then the rest of those commonly labelled; no two alike."""
    chosen: list[str] = []
    for name in [*ctx.shuffled(sorted(set(moods.values()))), *ctx.shuffled(OFFERED)]:
        if not any(alike(name, taken) for taken in (answer, *chosen)):
            chosen.append(name)
    return tuple(upper(SOUNDS[name]) for name in chosen)


def _why_moods_wrong(ctx: Context) -> Callable[[Sequence[str]], str]:
    def why_wrong(decoys: Sequence[str]) -> str:
        others = listing([lower(d) for d in decoys], "or")
        return ctx.pick(
            f"It does not sound {others}.",
            f"Nothing in that voice is {others}.",
            f"I cannot hear it as {others}.",
        )

    return why_wrong


def who_sounds(ctx: Context) -> Iterator[Draft]:
    """Which speaker sounds like this? Only where every turn is labelled and nobody else sounds alike."""
    moods = _moods_by_turn(ctx)
    turns = ctx.scene.turns
    if len(ctx.speakers) < 2 or not ctx.clear_numbers or len(moods) < len(turns):
        return
    for mood in ctx.shuffled(sorted(set(moods.values()) - {"neutral"})):
        same_mood = [i for i in moods if moods[i] == mood]
        speaker = turns[same_mood[0]].speaker
        long_enough = total(interval(turns[i]) for i in same_mood) >= MIN_TURN_MS
        if long_enough and not any(alike(moods[i], mood) and turns[i].speaker != speaker for i in moods):
            yield _who_has_mood(ctx, speaker, same_mood, moods)


def _who_has_mood(ctx: Context, speaker: int, same_mood: list[int], moods: dict[int, str]) -> Draft:
    turns = ctx.scene.turns
    sounds = SOUNDS[moods[same_mood[0]]]
    evidence = ctx.turn_evidence([*same_mood, *(i for i in moods if turns[i].speaker != speaker)])
    at = spans([interval(turns[i]) for i in same_mood])
    return Draft(
        texts=tuple(
            f"{q} {ctx.pick(*NUMBERING)}"
            for q in (
                f"Which speaker sounds {sounds}?",
                f"Who sounds {sounds} at some point?",
                f"In whose voice can it be heard that they are {sounds}?",
                f"One of the speakers sounds {sounds}. Which one?",
            )
        ),
        answer=f"Speaker {speaker}",
        decoys=ctx.decoy_speakers(speaker),
        evidence=evidence,
        plan=ctx.pick(
            f"number the voices as they come in and listen for the one that sounds {sounds}",
            f"compare the tone of the voices and find the one that sounds {sounds}",
        ),
        reasoning=ctx.pick(
            f"At {at} speaker {speaker} sounds {sounds}.",
            f"The voice of speaker {speaker} sounds {sounds} at {at}.",
        ),
        why_wrong=ctx.why_speakers_wrong(lambda present: _moods_of(ctx, present, moods)),
        margin=ctx.margin(evidence, LABELLED, 1.0 - max(ctx.overlapped_share(turns[i]) for i in same_mood)),
        fewest=2,
    )


def _moods_of(ctx: Context, present: list[int], moods: dict[int, str]) -> str:
    names = {s: sorted({SOUNDS[moods[i]] for i in ctx.turns_of(s)}) for s in present}
    phrases = [f"speaker {s} {'sounds' if s == present[0] else ''} {listing(names[s])}" for s in present]
    return upper(clauses([" ".join(t.split()) for t in phrases])) + "."


TEMPLATES = (
    QuestionTemplate(
        "emotion_of_line",
        "emotion",
        "speaker",
        emotion_of_line,
        closed=True,
        labelled=True,
        rests_on=frozenset({"words"}),
    ),
    QuestionTemplate(
        "who_sounds",
        "emotion",
        "speaker",
        who_sounds,
        closed=True,
        labelled=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker_count", "speaker"}),
    ),
)
