"""Speech and background at once: which sound while somebody talks, who talks and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from paqa.questions.context import CLEAR_MS, SAFE_MS, Context
from paqa.questions.english import clauses, excerpt, ordinal, quoted, span, spans, speakers, the_sound, upper
from paqa.questions.scene_parts import Background, Line
from paqa.questions.speakers import NUMBERING
from paqa.questions.template import A_SPEAKER, Draft, QuestionTemplate
from paqa.spans import Interval, intersect, interval, overlap, total
from paqa.types import Evidence

SLIVER_MS = 100  # an overlap shorter than this does not count as one


def sound_during_speaker(ctx: Context) -> Iterator[Draft]:
    """Which background sound is heard while a certain person talks?"""
    if not ctx.clear_numbers:
        return
    for speaker in ctx.shuffled(ctx.speakers):
        who = "the person who speaks first" if speaker == 1 else f"the {ordinal(speaker)} person to speak"
        alone = len(ctx.speakers) == 1
        texts = (
            f"Which sound is heard while {'someone' if alone else who} is talking?",
            f"What can be heard in the background while {'the person' if alone else who} talks?",
            f"Behind {'the voice' if alone else f'the voice of {who}'}, which sound can be made out?",
            f"Which background sound goes with the speech of {'the speaker' if alone else who}?",
        )
        plan = f"keep to the stretches in which speaker {speaker} talks and listen to what lies behind them"
        yield from _sound_during(
            ctx, ctx.speech_of(speaker), f"speaker {speaker} is talking", texts, plan, ctx.turns_of(speaker)
        )


def sound_during_line(ctx: Context) -> Iterator[Draft]:
    """Which background sound is heard while certain words are said?"""
    for line in ctx.shuffled(x for x in ctx.lines if x.whole):
        quote = quoted(line.text)
        texts = (
            f"Which sound is heard while someone says {quote}?",
            f"What can be heard behind the words {quote}?",
            f"As the words {quote} are spoken, which sound goes on in the background?",
            f"Someone says {quote}. Which background sound is there at that moment?",
        )
        plan = (
            f"find the words {excerpt(line.text)} and listen past the voice to the background at that moment"
        )
        yield from _sound_during(
            ctx, [line.span], f"someone says {excerpt(line.text)}", texts, plan, [line.turn]
        )


def _sound_during(
    ctx: Context, when: list[Interval], doing: str, texts: tuple[str, ...], plan: str, turns: list[int]
) -> Iterator[Draft]:
    """One draft, where exactly one kind of sound is clearly heard during the given stretches of speech."""
    shared = {b.mid: total(intersect(b.occasions, when)) for b in ctx.backgrounds}
    clear = [b for b in ctx.safe_backgrounds if shared[b.mid] >= CLEAR_MS]
    if not clear:
        return
    sound = clear[0]
    rivals = ctx.other_sounds(sound)
    if any(shared[b.mid] >= SLIVER_MS for b in rivals) or not ctx.background_clear(when):
        return
    shared_spans = intersect(sound.occasions, when)
    turns = [i for i in turns if intersect([interval(ctx.scene.turns[i])], shared_spans)]
    events = [
        e for e in ctx.sound_evidence(sound) if intersect([interval(ctx.scene.events[e.index])], shared_spans)
    ]
    evidence = (*events, *ctx.turn_evidence(turns))
    yield Draft(
        texts=texts,
        answer=sound.choice,
        decoys=ctx.decoy_sounds(sound, rivals),
        evidence=evidence,
        plan=plan,
        reasoning=ctx.pick(
            f"While {doing}, {sound.name} can be heard as well, at {spans(shared_spans)}.",
            f"{upper(the_sound(sound.label))} coincides with that speech at {spans(shared_spans)}.",
        ),
        why_wrong=ctx.why_sounds_wrong("can only be heard elsewhere,", lambda b: f"at {spans(b.occasions)}"),
        margin=ctx.margin(evidence, shared[sound.mid] / SAFE_MS),
    )


def said_during_sound(ctx: Context) -> Iterator[Draft]:
    """What is said while a background sound is heard?"""
    if not ctx.background_clear():
        return
    for sound, line in _sounds_over_one_turn(ctx):
        evidence = _coinciding_evidence(ctx, sound, line)
        yield Draft(
            texts=(
                f"What is said while {the_sound(sound.label)} is heard?",
                f"Which words are spoken during {the_sound(sound.label)}?",
                f"While {sound.name} can be heard, someone is talking. What are they saying?",
                f"Which line coincides with {the_sound(sound.label)}?",
            ),
            answer=line.choice,
            decoys=ctx.decoy_lines(*(x for x in ctx.lines if x.turn == line.turn)),
            evidence=evidence,
            plan=ctx.pick(
                f"find where {sound.name} can be heard and make out the words at that point",
                f"use {the_sound(sound.label)} as a marker and catch the words that go with it",
            ),
            reasoning=f"{upper(the_sound(sound.label))} is heard at {spans(sound.occasions)}, and the words"
            " that"
            f" coincide with it are {excerpt(line.text)} ({span(line.span)}).",
            why_wrong=ctx.why_lines_wrong(("At other times,", "The other lines are said without it:")),
            margin=ctx.margin(evidence, _shared(sound, line.span) / SAFE_MS, words=True),
        )


def who_during_sound(ctx: Context) -> Iterator[Draft]:
    """Who is talking while a background sound is heard?"""
    if len(ctx.speakers) < 2 or not ctx.clear_numbers or not ctx.background_clear():
        return
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        shared = {s: total(intersect(sound.occasions, ctx.speech_of(s))) for s in ctx.speakers}
        talking = [s for s, ms in shared.items() if ms >= SLIVER_MS]
        if len(talking) != 1 or shared[talking[0]] < CLEAR_MS or not ctx.unambiguous(sound):
            continue
        speaker = talking[0]
        shared_spans = intersect(sound.occasions, ctx.speech_of(speaker))
        turns = [i for i in ctx.turns_of(speaker) if intersect([interval(ctx.scene.turns[i])], shared_spans)]
        evidence = (*ctx.sound_evidence(sound), *ctx.turn_evidence(turns))
        yield Draft(
            texts=tuple(
                f"{q} {ctx.pick(*NUMBERING)}"
                for q in (
                    f"Who is talking while {the_sound(sound.label)} is heard?",
                    f"Whose voice coincides with {the_sound(sound.label)}?",
                    f"While {sound.name} can be heard, who speaks?",
                    f"Which speaker talks during {the_sound(sound.label)}?",
                )
            ),
            answer=f"Speaker {speaker}",
            decoys=ctx.decoy_speakers(speaker),
            evidence=evidence,
            plan=ctx.pick(
                f"find where {sound.name} can be heard and recognise the voice at that point",
                f"use {the_sound(sound.label)} as a marker and tell whose voice is heard with it",
            ),
            reasoning=f"{upper(the_sound(sound.label))} is heard at {spans(sound.occasions)}, and the voice"
            " at"
            f" {spans(shared_spans)} is that of speaker {speaker}.",
            why_wrong=ctx.why_speakers_wrong(lambda present: _silent(ctx, present)),
            margin=ctx.margin(evidence, shared[speaker] / SAFE_MS),
            fewest=2,
        )


def _silent(ctx: Context, present: list[int]) -> str:
    verb = "is" if len(present) == 1 else "are"
    phrases = [
        f"speaker {s} {'talks' if s == present[0] else ''} at {spans(ctx.speech_of(s), most=2)}"
        for s in present
    ]
    return ctx.pick(
        f"At that point {speakers(present)} {verb} silent.",
        f"{upper(clauses([' '.join(t.split()) for t in phrases]))}, that is, at other times.",
    )


def _sounds_over_one_turn(ctx: Context) -> Iterator[tuple[Background, Line]]:
    """Sounds that coincide with exactly one turn, and that one clearly and for the most part."""
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        turns = [i for i, t in enumerate(ctx.scene.turns) if _shared(sound, interval(t)) >= SLIVER_MS]
        line = next((x for x in ctx.lines if [x.turn] == turns and x.whole), None)
        if line and ctx.unambiguous(sound):
            shortest = min(line.span[1] - line.span[0], total(sound.occasions))
            if _shared(sound, line.span) >= max(CLEAR_MS, shortest / 2):
                yield sound, line


def _shared(sound: Background, line_span: Interval) -> int:
    return sum(overlap(o, line_span) for o in sound.occasions)


def _coinciding_evidence(ctx: Context, sound: Background, line: Line) -> tuple[Evidence, ...]:
    events = [e for e in ctx.sound_evidence(sound) if overlap(line.span, interval(ctx.scene.events[e.index]))]
    return (*events, *ctx.turn_evidence([line.turn]))


TEMPLATES = (
    QuestionTemplate(
        "sound_during_speaker",
        "together",
        "environment",
        sound_during_speaker,
        none=True,
        rests_on=frozenset({"speaker", "turn_time", "sound", "sound_time", "absence"}),
    ),
    QuestionTemplate(
        "sound_during_line",
        "together",
        "environment",
        sound_during_line,
        none=True,
        rests_on=frozenset({"words", "turn_time", "sound", "sound_time", "absence"}),
    ),
    QuestionTemplate(
        "said_during_sound",
        "together",
        "speaker",
        said_during_sound,
        none=True,
        rests_on=frozenset({"words", "turn_time", "sound", "sound_time"}),
    ),
    QuestionTemplate(
        "who_during_sound",
        "together",
        "speaker",
        who_during_sound,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker", "turn_time", "sound", "sound_time"}),
    ),
)
