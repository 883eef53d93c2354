"""How many: occasions of a sound, kinds of sounds, voices, turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from paqa.questions.context import APART_MS, MIN_TURN_MS, SAFE_MS, Context, pause_ratio
from paqa.questions.english import listing, number, ordinal, seconds, spans, speakers, the_sound, times, upper
from paqa.questions.template import A_NUMBER, Draft, QuestionTemplate
from paqa.spans import Interval, intersect, interval, total


def sound_occasions(ctx: Context) -> Iterator[Draft]:
    """On how many separate occasions is a sound heard?"""
    if not ctx.background_clear():
        return
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        count = len(sound.occasions)
        apart = pause_ratio(sound.occasions)
        if not ctx.unambiguous(sound) or apart < APART_MS / SAFE_MS:
            continue
        evidence = ctx.sound_evidence(sound)
        yield Draft(
            texts=(
                f"On how many separate occasions is {the_sound(sound.label)} heard?",
                f"How often is {the_sound(sound.label)} heard, if only a clear pause begins a new occasion?",
                f"How many separate times can {sound.name} be heard?",
                f"Counting again only after a clear pause, how many times does {the_sound(sound.label)} come"
                " up?",
            ),
            answer=upper(number(count)),
            decoys=ctx.other_counts(count),
            evidence=evidence,
            plan=ctx.pick(
                f"follow {the_sound(sound.label)} through the recording and count each return after a pause",
                f"pick out every stretch in which {sound.name} can be heard and count them",
            ),
            reasoning=f"{upper(the_sound(sound.label))} is heard {times(count)}, at"
            f" {spans(sound.occasions, most=8)}" + (", with clear pauses between." if count > 1 else "."),
            why_wrong=why_counts_wrong(ctx, count, "stretch"),
            margin=ctx.margin(evidence, apart),
        )


def different_sounds(ctx: Context) -> Iterator[Draft]:
    """How many different background sounds are there? Only where none could be taken for another."""
    sounds = ctx.backgrounds
    if (
        not sounds
        or not ctx.background_clear()
        or not all(b.safe and ctx.unambiguous(b) for b in sounds)
        or len({e.mid for e in ctx.scene.events}) > len(sounds)
    ):
        return
    evidence = tuple(e for b in sounds for e in ctx.sound_evidence(b))
    yield Draft(
        texts=(
            "How many different kinds of background sound are there?",
            "Not counting speech, how many different sounds can be made out?",
            "How many distinct sounds does the background contain?",
            "Leaving the voices aside, how many different sounds occur?",
        ),
        answer=upper(number(len(sounds))),
        decoys=ctx.other_counts(len(sounds)),
        evidence=evidence,
        plan=ctx.pick(
            "list the different sounds of the background, counting repetitions once",
            "go through the background and note every new kind of sound",
        ),
        reasoning=f"The background has {listing([f'{b.name} ({spans(b.occasions)})' for b in sounds])}: that"
        " makes"
        f" {number(len(sounds))}.",
        why_wrong=why_counts_wrong(ctx, len(sounds), "kind of sound"),
        margin=ctx.margin(evidence),
    )


def speaker_count(ctx: Context) -> Iterator[Draft]:
    """How many people speak?"""
    count = len(ctx.speakers)
    shortest = min((total(ctx.speech_of(s)) for s in ctx.speakers), default=0)
    if shortest < MIN_TURN_MS:
        return
    evidence = ctx.turn_evidence(min(ctx.turns_of(s)) for s in ctx.speakers)
    yield Draft(
        texts=(
            "How many different people speak?",
            "How many voices take part in this recording?",
            "How many speakers can be told apart?",
            "How many people can be heard talking?",
        ),
        answer=upper(number(count)),
        decoys=ctx.other_counts(count),
        evidence=evidence,
        plan=ctx.pick(
            "tell the voices apart and count them",
            "compare each new stretch of speech with the voices already heard and count the new ones",
        ),
        reasoning=voice_onsets(ctx),
        why_wrong=why_counts_wrong(ctx, count, "voice"),
        margin=ctx.margin(evidence, shortest / SAFE_MS),
    )


def voice_onsets(ctx: Context) -> str:
    """When each voice is first heard."""
    if len(ctx.speakers) == 1:
        return "All the speech comes from one and the same voice."
    onsets = [seconds(ctx.scene.turns[min(ctx.turns_of(s))].start_ms) for s in ctx.speakers]
    phrases = [f"speaker {s} at {at}" for s, at in zip(ctx.speakers, onsets, strict=True)]
    phrases[0] = phrases[0].replace(" at ", " is first heard at ")
    return f"{upper(listing(phrases))}."


def turn_count(ctx: Context) -> Iterator[Draft]:
    """How many turns does a speaker take? Only where nobody talks over them and changes are clear."""
    if len(ctx.speakers) < 2 or not ctx.clear_numbers:
        return
    for speaker in ctx.shuffled(ctx.speakers):
        turns = ctx.turns_of(speaker)
        others = [interval(t) for t in ctx.scene.turns if t.speaker != speaker]
        spoken_over = total(intersect(ctx.speech_of(speaker), others))
        runs = _floor_stretches(ctx, speaker)
        shortest = min(end - start for start, end in runs)
        if spoken_over > 200 or shortest < MIN_TURN_MS:
            continue
        evidence = ctx.turn_evidence(turns)
        who = f"the {ordinal(speaker)} person to speak"
        yield Draft(
            texts=(
                f"How many turns does {who} take? Speech without anybody else in between is one turn.",
                f"If everything said before somebody else speaks is one turn, how many turns does {who}"
                " have?",
                f"How many times does {who} take the floor? Going on after a mere pause does not count as a"
                " new time.",
                f"How often does {who} get to speak, if a new time begins only after somebody else has"
                " spoken?",
            ),
            answer=upper(number(len(runs))),
            decoys=ctx.other_counts(len(runs)),
            evidence=evidence,
            plan=ctx.pick(
                f"follow speaker {speaker} and count how often the floor comes back to that voice",
                "split the talk at each change of voice and count the stretches that belong to speaker"
                f" {speaker}",
            ),
            reasoning=f"Speaker {speaker} holds the floor {times(len(runs))}, at {spans(runs, most=8)}"
            + (
                f"; in between, {speakers(_speakers_between(ctx, speaker))} can be heard."
                if len(runs) > 1
                else "."
            ),
            why_wrong=why_counts_wrong(ctx, len(runs), "turn"),
            margin=ctx.margin(evidence, shortest / SAFE_MS),
        )


def _floor_stretches(ctx: Context, speaker: int) -> list[Interval]:
    """The stretches that a speaker talks without anybody else starting in between."""
    runs: list[Interval] = []
    before = None
    for turn in ctx.scene.turns:
        if turn.speaker == speaker and before == speaker:
            runs[-1] = (runs[-1][0], max(runs[-1][1], turn.end_ms))
        elif turn.speaker == speaker:
            runs.append(interval(turn))
        before = turn.speaker
    return runs


def _speakers_between(ctx: Context, speaker: int) -> list[int]:
    """The others who speak between a speaker's first and last turn."""
    turns = ctx.turns_of(speaker)
    return sorted({t.speaker for t in ctx.scene.turns[turns[0] : turns[-1]]} - {speaker})


def why_counts_wrong(ctx: Context, count: int, noun: str) -> Callable[[Sequence[str]], str]:
    """Why the other counts are wrong."""
    few = (
        f"Any smaller number would leave out a {noun} that is clearly there",
        f"Fewer than {number(count)} would mean passing over a {noun}",
    )
    more = (
        f"there is no further {noun} to justify a higher number",
        f"no further {noun} appears that would make it more",
    )
    words = {upper(number(n)): n for n in range(100)}

    def why_wrong(decoys: Sequence[str]) -> str:
        below = any(words[d] < count for d in decoys)
        above = any(words[d] > count for d in decoys)
        parts = [ctx.pick(*few)] * below + [ctx.pick(*more)] * above
        return upper(", and ".join(parts)) + "."

    return why_wrong


TEMPLATES = (
    QuestionTemplate(
        "sound_occasions",
        "counting",
        "environment",
        sound_occasions,
        closed=True,
        open=A_NUMBER,
        rests_on=frozenset({"sound", "sound_time", "absence"}),
    ),
    QuestionTemplate(
        "different_sounds",
        "counting",
        "environment",
        different_sounds,
        closed=True,
        open=A_NUMBER,
        rests_on=frozenset({"sound", "absence"}),
    ),
    QuestionTemplate(
        "speaker_count",
        "speakers",
        "speaker",
        speaker_count,
        closed=True,
        open=A_NUMBER,
        rests_on=frozenset({"speaker_count"}),
    ),
    QuestionTemplate(
        "turn_count",
        "speakers",
        "speaker",
        turn_count,
        closed=True,
        open=A_NUMBER,
        rests_on=frozenset({"speaker_count", "speaker", "turn_time"}),
    ),
)
