"""The prose of a rationale: the plan, what there is to hear, the argument and the summary.

Every sentence is chosen by the question's id, so that a clip's rationales differ and a build can be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from paqa.questions import english
from paqa.questions.english import excerpt, listing, lower, number, seconds, span, spans, spoken, tidy, upper
from paqa.questions.template import NONE
from paqa.spans import Interval, intersect, interval, merge, total
from paqa.text import UNCLEAR_WORD, rng_for
from paqa.types import Question, Scene, Spanned

# Each completes with an infinitive, and no two begin with the same three words.
OPENINGS = (
    "I need to {}.",
    "The task is to {}.",
    "To answer this, I have to {}.",
    "What matters here is to {}.",
    "This question asks me to {}.",
    "First, I want to {}.",
    "Listening closely, I should {}.",
    "The way to settle this is to {}.",
    "Before answering anything, I must {}.",
    "My aim is to {}.",
    "It comes down to one thing: I have to {}.",
    "The surest way is to {}.",
    "Here I have to {}.",
    "One has to {}.",
    "For this one, I will {}.",
    "I had better {}.",
    "The thing to do is to {}.",
    "Let me {}.",
    "A safe answer requires me to {}.",
    "The plan is simple: {}.",
    "In order to answer, I have to {}.",
    "With the whole clip in mind, I have to {}.",
    "I am going to {}.",
    "Only one approach is reliable: {}.",
    "Listening to this clip, I have to {}.",
    "So as not to guess, I will {}.",
    "All depends on whether I can {}.",
    "As a first step, I will {}.",
    "The question can be decided if I {}.",
)
ENVIRONMENT = (
    "The voices in front must not distract from that.",
    "What is being said does not matter for this.",
    "For that, the speech is only something to hear past.",
    "The words themselves can be left aside.",
    "The content of the talk has no bearing on it.",
    "The talk will only serve to orient me in time.",
)
SPEAKER = (
    "Whatever sounds in the background can be left aside.",
    "The background plays no part in this.",
    "For that, only the voices count, not what surrounds them.",
    "The sounds around the talk must not distract from it.",
    "Other noises are beside the point.",
    "I can ignore the background while doing so.",
)
BOTH = (
    "Speech and background have to be heard apart and then laid side by side.",
    "That means keeping two layers in mind, the voices and what sounds behind them.",
    "Both the talk and the background matter, and above all their timing.",
    "The two layers have to be separated first and compared afterwards.",
    "Timing is what connects the voices with the background here.",
)
VOICES = (
    "The voices have to be kept apart.",
    "Nothing but speech is involved.",
    "The times of the turns will help.",
    "There is no background to speak of that could get in the way.",
)
CONCLUSIONS = (
    "So it has to be {letter}, {answer}.",
    "That makes {letter} the right choice: {answer}.",
    "Hence {letter}, {answer}.",
    "This fits {letter}, {answer}, and nothing else.",
    "Of the choices, only {letter}, {answer}, agrees with this.",
    "Therefore I settle on {letter}, {answer}.",
    "The choice that matches is {letter}, {answer}.",
    "I conclude that {letter}, {answer}, is correct.",
)
SUMMARIES = {
    "background_sound": (
        "what can be heard in the background is {}",
        "among the sounds offered, {} is the one that is there",
    ),
    "absent_sound": ("what never comes is {}", "the one thing that is missing is {}"),
    "first_sound": ("what sets in first is {}", "the first thing to be heard in the background is {}"),
    "last_sound": ("what sets in last is {}", "the last thing to start in the background is {}"),
    "sound_after": ("what sets in next is {}", "the next thing to start is {}"),
    "sound_occasions": ("the number of separate occasions is {}",),
    "different_sounds": ("the number of different sounds is {}",),
    "onset_part": ("the onset falls {}", "the sound first appears {}"),
    "onset_second": ("the onset comes after {}", "it takes {}"),
    "sound_and_speech": ("the sound falls {}", "its place is {}"),
    "speaker_count": ("the number of voices is {}", "the number of people talking is {}"),
    "turn_count": ("the number of turns is {}",),
    "last_speaker": ("the last to be heard is {}", "the talk ends with {}"),
    "longest_speaker": ("the one who talks most is {}", "most of the talking is done by {}"),
    "overlapping_pair": (
        "the two voices that sound at once are {}",
        "those who talk over one another are {}",
    ),
    "two_at_once": ("the answer is {}",),
    "who_says": ("the words come from {}", "the one who says this is {}"),
    "first_words": ("that voice begins with {}", "the first words are {}"),
    "last_words": ("the talk ends with {}", "the last thing said is {}"),
    "said_after": ("what follows is {}", "the next thing said is {}"),
    "who_answers": ("the next to speak is {}", "the floor goes to {}"),
    "sound_during_speaker": ("what sounds at that time is {}", "the sound behind that voice is {}"),
    "sound_during_line": ("what sounds at that time is {}", "what goes with those words is {}"),
    "said_during_sound": ("what is said at that time is {}", "the words that go with the sound are {}"),
    "who_during_sound": ("the one talking at that time is {}", "the voice that goes with the sound is {}"),
    "sound_duration": ("the sound lasts {}", "the time that the sound takes up is {}"),
    "longest_sound": ("what sounds longest is {}", "most of the time goes to {}"),
    "speaking_time": ("the speech of that voice lasts {}", "the time that this voice takes up is {}"),
    "longest_pause": ("the longest pause comes after {}", "the words before the longest pause are {}"),
    "said_before_sound": ("the last words before the sound are {}", "what has been said by then is {}"),
    "sound_after_line": ("what sets in after those words is {}", "the next sound to start is {}"),
    "who_after_sound": ("the next to begin is {}", "the first voice to come in after the sound is {}"),
    "sound_at_once": ("what sounds at the same time is {}", "the second sound is {}"),
    "said_before": ("what comes before is {}", "the words just before are {}"),
    "earliest_line": ("the first of them to be said is {}", "the earliest line is {}"),
    "who_mentions": ("the word comes from {}", "the one who says it is {}"),
    "interrupter": ("the one who comes in early is {}", "the voice that does not wait is {}"),
    "loudest_speaker": ("the voice in question is that of {}", "by volume, the answer is {}"),
    "fastest_speaker": ("the voice in question is that of {}", "by pace, the answer is {}"),
    "highest_voice": ("the voice in question is that of {}", "by pitch, the answer is {}"),
    "emotion_of_line": ("the voice sounds {}", "the mood of the voice is {}"),
    "who_sounds": ("the one who sounds like that is {}", "the voice with that mood is {}"),
    "translation_of_line": ("what is said means {}", "the meaning of the words is {}"),
    "any_background": ("the answer is {}",),
    "any_speech": ("the answer is {}",),
    "sound_kind": ("what sounds is {}", "the sound is that of {}"),
    "earliest_words": ("the first of them to be said is {}", "the earliest words are {}"),
    "latest_words": ("the last of them to be said is {}", "the latest words are {}"),
    "words_after": ("what follows is {}", "the words right after are {}"),
    "words_before": ("what comes before is {}", "the words just before are {}"),
    "word_said": ("the word that is said is {}", "what can be heard is the word {}"),
    "word_part": ("the word falls {}", "the word is said {}"),
    "word_at_second": ("the word at that time is {}", "what is said at that time is {}"),
    "pause_after_words": ("the longest pause comes after {}", "the words before the longest pause are {}"),
    "pause_length": ("the pause lasts {}", "the time without a word is {}"),
    "speech_begins": ("the speech begins {}", "the first word falls {}"),
    "speech_ends": ("the speech ends {}", "the last word falls {}"),
    "spoken_language": ("the language is {}", "what is spoken is {}"),
}
NO_CHOICE = (
    "none of the choices holds",
    "what is asked for is not among the choices",
    "nothing that is offered is right",
    "the right answer is not on offer",
)
OPEN_CONCLUSIONS = (
    "So the answer is {answer}.",
    "Hence {answer}.",
    "That leaves one answer: {answer}.",
    "Therefore I answer {answer}.",
    "From this I conclude: {answer}.",
)
AS_WRITTEN = ("spoken_language", "given")  # templates whose answers may begin with a name
HEADS = ("In short, ", "To sum up, ", "So ", "", "All in all, ", "In brief, ")
TAILS = (
    "; the evidence lies at {}.",
    ", going by what is heard at {}.",
    "; this rests on what is heard at {}.",
    "; it can be checked at {}.",
    " (compare {}).",
)


def planning(scene: Scene, question: Question, variant: int) -> str:
    """What has to be listened for. Within a clip, the first 29 variants all begin differently."""
    openings = list(OPENINGS)
    rng_for(scene.clip_id, "openings").shuffle(openings)
    first = openings[variant % len(openings)].format(question.plan)
    rng = rng_for(question.id, "planning")
    kinds = {"event" if e.kind == "event" else "turn" for e in question.evidence}
    if kinds == {"event", "turn"}:
        bank: Sequence[str] = BOTH
    elif kinds == {"event"}:
        bank = ENVIRONMENT if scene.turns else ()
    else:
        bank = SPEAKER if scene.events else _voices_only(scene)
    return f"{first} {rng.choice(bank)}" if bank else first


def _voices_only(scene: Scene) -> Sequence[str]:
    """Remarks on a plan that concerns several voices without a background; the last one denies that there is
    one.
    """
    if scene.speakers < 2:
        return ()
    return VOICES[:-1] if scene.unclear else VOICES


def description(scene: Scene, question: Question) -> str:
    """What there is to hear: the voices, the background, and how they stand to one another."""
    rng = rng_for(question.id, "description")
    parts = [_voices(scene, rng), _background(scene, rng)]
    if rng.random() < 0.35 and scene.events and scene.turns:
        parts.reverse()
    return " ".join(p for p in (*parts, _overlap_or_loudness(scene, rng), _uncertain_words(scene, rng)) if p)


def reasoning(question: Question, letters: bool = True) -> str:
    """The template's argument, and the conclusion; without `letters` it names the choice by its words."""
    rng = rng_for(question.id, "reasoning")
    cited = _quoted_choice(question.answer)
    if question.answer_index is None or not letters:
        return tidy(f"{question.reasoning} {rng.choice(OPEN_CONCLUSIONS).format(answer=cited)}")
    letter = f"({chr(ord('A') + question.answer_index)})"
    return tidy(f"{question.reasoning} {rng.choice(CONCLUSIONS).format(letter=letter, answer=cited)}")


def summary(scene: Scene, question: Question) -> str:
    """The answer and where the evidence lies, in one sentence."""
    rng = rng_for(question.id, "summary")
    unchanged = question.answer.startswith('"') or question.template in AS_WRITTEN
    answer = question.answer if unchanged else lower(question.answer)
    statement = rng.choice(summary_frames(question.template, question.answer)).format(answer)
    where = rng.choice(TAILS).format(_evidence_places(scene, question))
    return upper(tidy(f"{rng.choice(HEADS)}{statement}{where}"))


def summary_frames(template: str, answer: str) -> tuple[str, ...]:
    """The ways in which a summary states an answer to a kind of question."""
    return NO_CHOICE if answer == NONE else SUMMARIES.get(template, ("the answer is {}",))


def _quoted_choice(answer: str) -> str:
    """A choice between double quotes; a quotation has them already."""
    return answer if answer.startswith('"') else f'"{answer}"'


def _evidence_places(scene: Scene, question: Question) -> str:
    """Where the evidence lies."""
    rows: dict[str, Sequence[Spanned]] = {"turn": scene.turns, "word": scene.words, "event": scene.events}
    evidence_spans = merge((interval(rows[e.kind][e.index]) for e in question.evidence), 300)
    if len(evidence_spans) > 3:
        return f"{number(len(evidence_spans))} places between {_first_and_last(_hull(evidence_spans))}"
    return spans(evidence_spans) or "every point"


def _hull(intervals: Sequence[Interval]) -> Interval:
    """From the earliest start to the latest end, in ms."""
    return min(s for s, _ in intervals), max(e for _, e in intervals)


def _first_and_last(hull: Interval) -> str:
    """`1.2 and 3.4 s`, to stand after "between"."""
    return f"{hull[0] / 1000:.1f} and {seconds(hull[1])}"


def _voices(scene: Scene, rng: random.Random) -> str:
    if not scene.turns:
        return rng.choice(
            ("Nobody speaks in this clip.", "There is no speech at all.", "No voice can be heard talking.")
        )
    hull = _hull([interval(t) for t in scene.turns])
    count, turns = scene.speakers, len(scene.turns)
    who = "One person" if count == 1 else f"{upper(number(count))} people"
    stretches = "in one go" if turns == 1 else f"in {number(turns)} stretches"
    last = max(scene.turns, key=lambda t: t.end_ms)
    options = [
        f"{who} can be heard talking, {stretches}, between {_first_and_last(hull)}.",
        f"{upper(_voice_count(count))} can be heard speaking between {_first_and_last(hull)}.",
        f"The speech lasts from {seconds(hull[0])} to {seconds(hull[1])} and comes from"
        f" {_voice_count(count)}.",
    ]
    if count > 1:
        first = scene.turns[0]
        until = f"until {seconds(last.end_ms)}; {number(count)} people take part."
        opens = f"Speaker {first.speaker} opens at {seconds(first.start_ms)}"
        same = first.speaker == last.speaker
        options.append(
            f"{opens} {'and is' if same else f', and speaker {last.speaker} is'} the last to be heard,"
            f" {until}".replace(" ,", ",")
        )
    if scene.turns[0].text and not scene.turns[0].text.startswith(UNCLEAR_WORD):
        options.append(f"{who} can be heard; the first words are {excerpt(scene.turns[0].text)}.")
    return rng.choice(options)


def _voice_count(count: int) -> str:
    return "a single voice" if count == 1 else f"{number(count)} different voices"


def _background(scene: Scene, rng: random.Random) -> str:
    groups: dict[str, list[Interval]] = {}
    for event in scene.events:
        groups.setdefault(spoken(event.label), []).append(interval(event))
    if not groups:
        if scene.unclear:
            return _unclear_background(scene)
        return rng.choice(
            (
                "Nothing stands out in the background.",
                "The background is unobtrusive.",
                "Behind that, no particular sound stands out.",
            )
        )
    descriptions = [
        f"{name} ({spans(merge(occasions), most=3)})" for name, occasions in list(groups.items())[:4]
    ]
    if len(groups) > 4:
        descriptions.append(f"{number(len(groups) - 4)} more")
    frames = ("In the background there is {}.", "The background contains {}.", "Around the voices I hear {}.",
              "Apart from the speech, {} can be heard.", "As for other sounds, I hear {}.")  # fmt: skip
    bare = ("I hear {}.", "What sounds is {}.", "The clip contains {}.", "{} can be heard.")
    sentence = upper(rng.choice(frames if scene.turns else bare).format(listing(descriptions)))
    return f"{sentence} {_unclear_background(scene)}" if scene.unclear else sentence


def _unclear_background(scene: Scene) -> str:
    """Where something may sound in the background, without a claim about it."""
    stretches = merge(interval(u) for u in scene.unclear)
    if stretches == [(0, scene.duration_ms)]:
        return "It is not clear what sounds in the background, if anything."
    if len(stretches) == 1:
        start, end = stretches[0]
        where = f"From {seconds(start).removesuffix(' s')} to {seconds(end)}"
    else:
        where = f"At {spans(stretches)}" if stretches else "At some point"
    return f"{where} something may sound in the background; it is not clear what."


def _overlap_or_loudness(scene: Scene, rng: random.Random) -> str:
    """What happens at once, or how loud the background is; often nothing."""
    options = []
    for a in sorted({t.speaker for t in scene.turns}):
        for b in sorted({t.speaker for t in scene.turns if t.speaker > a}):
            shared = intersect(*([interval(t) for t in scene.turns if t.speaker == s] for s in (a, b)))
            if total(shared) >= 300:
                options.append(f"{upper(english.speakers([a, b]))} overlap at {spans(shared, most=2)}.")
    if scene.snr_db is not None and scene.events and scene.turns and not scene.unclear:
        options.append(_loudness(scene.snr_db, rng))
    return rng.choice(options) if options else ""


def _loudness(snr_db: float, rng: random.Random) -> str:
    if snr_db >= 12:
        return rng.choice(("The voices stand out clearly.", "The background stays well below the voices."))
    if snr_db >= 4:
        return rng.choice(
            ("The background is audible but leaves the words intelligible.", "The voices remain in front.")
        )
    if snr_db >= -3:
        return rng.choice(
            ("The background is about as loud as the voices.", "The background competes with the voices.")
        )
    return "The background is louder than the voices."


def _uncertain_words(scene: Scene, rng: random.Random) -> str:
    unsure = [d for d in scene.disagreements if d.stage == "transcribe" and d.end_ms > d.start_ms]
    if not unsure:
        return ""
    d = rng.choice(unsure)
    return rng.choice(
        ("The words at {} are not quite certain.", "At {} the wording is hard to make out.")
    ).format(span(interval(d)))
