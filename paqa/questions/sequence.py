"""What comes next across speech and background: a line before a sound, a sound or voice after one."""

from __future__ import annotations

from collections.abc import Iterator

from paqa.questions.context import CLEAR_MS, SAFE_MS, Context
from paqa.questions.english import excerpt, quoted, seconds, span, spans, speakers, the_sound, upper
from paqa.questions.scene_parts import Background
from paqa.questions.sound_order import onsets, starts
from paqa.questions.speakers import NUMBERING
from paqa.questions.template import A_SPEAKER, Draft, QuestionTemplate
from paqa.spans import intersect, interval, total
from paqa.types import Evidence

SLIVER_MS = 100  # an overlap shorter than this does not count as one


def said_before_sound(ctx: Context) -> Iterator[Draft]:
    """What is the last thing said before a sound first sets in? Only where nobody talks at that moment."""
    turns = ctx.scene.turns
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        onset = sound.start_ms
        earlier = [i for i, t in enumerate(turns) if t.end_ms <= onset - CLEAR_MS]
        later = [i for i, t in enumerate(turns) if t.start_ms >= onset + CLEAR_MS]
        sure = ctx.unambiguous(sound) and ctx.clear_until(onset)
        if not earlier or len(earlier) + len(later) < len(turns) or not sure:
            continue
        last = max(earlier, key=lambda i: turns[i].end_ms)
        line = next((x for x in ctx.lines if x.turn == last and x.whole), None)
        if line is None or _lead(ctx, last, earlier) < CLEAR_MS:
            continue
        evidence = (*ctx.turn_evidence([last]), *ctx.sound_evidence(sound, 0))
        name = the_sound(sound.label)
        yield Draft(
            texts=(
                f"What is the last thing said before {name} first sets in?",
                f"Which words come last before the first onset of {name}?",
                f"Just before {name} comes up for the first time, what has been said?",
                f"Which line is the last one spoken before {name} is first heard?",
            ),
            answer=line.choice,
            decoys=ctx.decoy_lines(line),
            evidence=evidence,
            plan=ctx.pick(
                f"find the first onset of {name} and go back from there to the last words",
                f"wait for {name} to set in and recall what was said last by then",
            ),
            reasoning=f"{upper(name)} first sets in at {seconds(onset)}; the last turn to end before that is"
            f" {excerpt(line.text)} ({span(line.span)}).",
            why_wrong=ctx.why_lines_wrong(("As for the other lines,", "The other lines lie elsewhere:")),
            margin=ctx.margin(evidence, (onset - line.span[1]) / SAFE_MS, words=True),
        )


def _lead(ctx: Context, last: int, earlier: list[int]) -> int:
    """By how many ms one turn begins and ends after all the others."""
    turns = ctx.scene.turns
    ends = [turns[last].end_ms - turns[i].end_ms for i in earlier if i != last]
    return min(
        [*ends, *(turns[last].start_ms - turns[i].start_ms for i in earlier if i != last)], default=SAFE_MS
    )


def sound_after_line(ctx: Context) -> Iterator[Draft]:
    """Which background sound is the first to start after certain words?"""
    marks = sorted((at, b.label, b) for b in ctx.backgrounds for at in starts(ctx, b))
    for line in ctx.shuffled(x for x in ctx.lines if x.whole):
        end = line.span[1]
        later = [m for m in marks if m[0] > end - CLEAR_MS]
        if not later:
            continue
        onset, _, sound = later[0]
        rivals = [at - onset for at, _, b in later if not ctx.alike(b, sound)]
        occasion = next((i for i, o in enumerate(sound.occasions) if o[0] == onset), None)
        clear = min([onset - end, *rivals])
        sure = sound.safe and ctx.background_clear([(end - CLEAR_MS, onset + CLEAR_MS)])
        if clear < CLEAR_MS or not sure or occasion is None:
            continue
        quote = quoted(line.text)
        evidence = (*ctx.turn_evidence([line.turn]), *ctx.sound_evidence(sound, occasion))
        yield Draft(
            texts=(
                f"Which background sound is the first to start after someone has said {quote}?",
                f"Someone says {quote}. Which sound sets in next in the background?",
                f"After the words {quote}, what is the first sound to start in the background?",
                f"Once {quote} has been said, which background sound comes up first?",
            ),
            answer=sound.choice,
            decoys=ctx.decoy_sounds(sound, ctx.other_sounds(sound)),
            evidence=evidence,
            plan=ctx.pick(
                f"find the words {excerpt(line.text)} and wait for the next sound to set in",
                f"start from the end of {excerpt(line.text)} and catch what comes up in the background",
            ),
            reasoning=f"The words {excerpt(line.text)} end at {seconds(end)}, and the next onset in the"
            " background is"
            f" that of {sound.name}, at {seconds(onset)}.",
            why_wrong=ctx.why_sounds_wrong(
                "starts", lambda b: f"at {onsets(b)}", lambda b: the_sound(b.label)
            ),
            margin=ctx.margin(evidence, clear / SAFE_MS, words=True),
        )


def who_after_sound(ctx: Context) -> Iterator[Draft]:
    """Who is the first to start speaking after a sound has first set in?"""
    if len(ctx.speakers) < 2 or not ctx.clear_numbers:
        return
    turns = ctx.scene.turns
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        onset = sound.start_ms
        nearest = min(abs(t.start_ms - onset) for t in turns)
        later = [i for i, t in enumerate(turns) if t.start_ms > onset]
        sure = ctx.unambiguous(sound) and ctx.clear_until(onset)
        if nearest < CLEAR_MS or not later or not sure:
            continue
        turn = turns[later[0]]
        rivals = [turns[i].start_ms - turn.start_ms for i in later if turns[i].speaker != turn.speaker]
        clear = min([nearest, *rivals])
        if clear < CLEAR_MS:
            continue
        evidence = (*ctx.turn_evidence([later[0]]), *ctx.sound_evidence(sound, 0))
        name = the_sound(sound.label)
        yield Draft(
            texts=tuple(
                f"{q} {ctx.pick(*NUMBERING)}"
                for q in (
                    f"Who is the first to start speaking after {name} has first set in?",
                    f"Once {name} has come up for the first time, who is the next to begin to speak?",
                    f"Whose voice is the first to come in after the first onset of {name}?",
                    f"After {name} first starts, which speaker begins the next turn?",
                )
            ),
            answer=f"Speaker {turn.speaker}",
            decoys=ctx.decoy_speakers(turn.speaker),
            evidence=evidence,
            plan=ctx.pick(
                f"find the first onset of {name} and recognise the next voice to come in",
                f"use the first onset of {name} as a marker and see who begins to speak after it",
            ),
            reasoning=f"{upper(name)} first sets in at {seconds(onset)}, and the next turn to begin, at"
            f" {seconds(turn.start_ms)}, is that of speaker {turn.speaker}.",
            why_wrong=ctx.why_speakers_wrong(lambda present: _not_next(ctx, present)),
            margin=ctx.margin(evidence, clear / SAFE_MS),
            fewest=2,
        )


def _not_next(ctx: Context, present: list[int]) -> str:
    verb = "begins" if len(present) == 1 else "begin"
    return ctx.pick(
        f"{upper(speakers(present))} {verb} at other moments.",
        f"The next turn of {speakers(present)}, if there is one, begins only after that.",
    )


def sound_at_once(ctx: Context) -> Iterator[Draft]:
    """Which other background sound is heard at the same time as a certain one?"""
    if not ctx.background_clear():
        return
    for first in ctx.shuffled(ctx.safe_backgrounds):
        shared = {b: intersect(first.occasions, b.occasions) for b in ctx.other_sounds(first)}
        coinciding = [b for b, spans_ in shared.items() if total(spans_) >= SLIVER_MS]
        if (
            len(coinciding) != 1
            or not coinciding[0].safe
            or total(shared[coinciding[0]]) < CLEAR_MS
            or not ctx.unambiguous(first)
        ):
            continue
        sound = coinciding[0]
        at = spans(shared[sound])
        evidence = (*_during(ctx, first, sound), *_during(ctx, sound, first))
        name = the_sound(first.label)
        yield Draft(
            texts=(
                f"Which other background sound is heard at the same time as {name}?",
                f"What can be heard in the background together with {name}?",
                f"Speech left aside, which sound coincides with {name}?",
                f"While {first.name} can be heard, which second sound is there?",
            ),
            answer=sound.choice,
            decoys=ctx.decoy_sounds(sound, [b for b in ctx.other_sounds(first) if not ctx.alike(b, sound)]),
            evidence=evidence,
            plan=ctx.pick(
                f"find where {first.name} can be heard and listen for a second sound beside it",
                f"keep to the stretches with {name} and name what else sounds there",
            ),
            reasoning=ctx.pick(
                f"{upper(name)} and {the_sound(sound.label)} are heard together at {at}.",
                f"At {at} one hears {first.name}, and with it {sound.name}.",
            ),
            why_wrong=ctx.why_sounds_wrong(
                "can only be heard", lambda b: f"at {spans(b.occasions)}, without it"
            ),
            margin=ctx.margin(evidence, total(shared[sound]) / SAFE_MS),
        )


def _during(ctx: Context, sound: Background, companion: Background) -> Iterator[Evidence]:
    """References to the events of a sound that coincide with another sound."""
    for e in ctx.sound_evidence(sound):
        if intersect([interval(ctx.scene.events[e.index])], companion.occasions):
            yield e


TEMPLATES = (
    QuestionTemplate(
        "said_before_sound",
        "sequence",
        "speaker",
        said_before_sound,
        none=True,
        rests_on=frozenset({"words", "turn_time", "sound", "sound_time"}),
    ),
    QuestionTemplate(
        "sound_after_line",
        "sequence",
        "environment",
        sound_after_line,
        none=True,
        rests_on=frozenset({"words", "turn_time", "sound", "sound_time", "absence"}),
    ),
    QuestionTemplate(
        "who_after_sound",
        "sequence",
        "speaker",
        who_after_sound,
        closed=True,
        none=True,
        open=A_SPEAKER,
        rests_on=frozenset({"speaker", "turn_time", "sound", "sound_time"}),
    ),
    QuestionTemplate(
        "sound_at_once",
        "overlap",
        "environment",
        sound_at_once,
        none=True,
        rests_on=frozenset({"sound", "sound_time", "absence"}),
    ),
)
