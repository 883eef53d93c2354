"""A question as the judge reads it: what it names, quotes and offers, and what comes of judging it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from paqa.evaluation.known_truth import LENIENT, KnownTruth, Rules, Sound, TrueScene
from paqa.evaluation.quotation import Place, misquoted, places, tokens
from paqa.questions.english import NUMBERS
from paqa.spans import interval, overlap
from paqa.types import Item, Question, Scene, Turn

NONE = "None of these"
Outcome = Literal["right", "wrong_answer", "false_premise", "misquoted", "unjudged"]
Cause = Literal[
    "speaker_count", "wrong_class", "wrong_words", "speech_as_sound", "attribution", "timing", "absent_sound",
    "missed", "measured",
]  # fmt: skip
ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth",
)  # fmt: skip
_NAMED = re.compile(r"\bthe sound of ")
_QUOTE = re.compile(r'"(.*)"')


class Settled(Exception):
    """Ends the judging of an answer: it cannot be right, or nothing can be said."""

    def __init__(self, outcome: Outcome, cause: Cause | None = None, note: str = ""):
        super().__init__(outcome, cause, note)
        self.outcome: Outcome = outcome
        self.cause = cause
        self.note = note


def unknown(note: str) -> Settled:
    """The truth does not say."""
    return Settled("unjudged", None, note)


def timed(right: bool) -> bool:
    """True, or else an answer that is wrong about a time or an order."""
    if not right:
        raise Settled("wrong_answer", "timing")
    return True


@dataclass(frozen=True)
class Asked:
    """A question with its answer; `predicted` is the scene it was asked of, where that is not the truth."""

    template: str
    text: str
    choices: tuple[str, ...]
    answer: str
    predicted: Scene | None = None


def asked(row: Item | Question) -> Asked:
    """What is asked by a row, or by a question."""
    if isinstance(row, Item):
        return Asked(row.template, row.question, row.choices, row.answer, row.scene)
    return Asked(row.template, row.text, row.choices, row.answer)


class Case:
    """A question beside the truth."""

    def __init__(self, question: Asked, truth: KnownTruth, rules: Rules = LENIENT):
        self.question = question
        self.text = question.text
        self.choices = question.choices
        self.answer = question.answer
        self.truth = truth
        self.rules = rules
        self.true = TrueScene(truth, rules)
        self.quoted_errors = False  # whether a quotation of the right line has too many wrong words

    # What is known

    def need_turns(self) -> None:
        """Only where truth says who speaks when."""
        if not self.truth.turns_known:
            raise unknown("turns")

    def need_words(self) -> None:
        """Only where truth says what is said."""
        self.need_turns()
        if not self.truth.words_known:
            raise unknown("words")

    def need_events(self, times: bool = True) -> None:
        """Only where truth lists every sound, with its times."""
        if not self.truth.events_known or (times and not self.truth.times_known):
            raise unknown("sounds")

    # What is asked about

    def asked_sound(self) -> Sound:
        """The sound that the question names; where it is not there, the premise is false."""
        sound = self.named_sound()
        self.must_be_there(sound, "false_premise")
        self.need_events()
        return sound

    def must_be_there(self, sound: Sound | None, otherwise: Outcome) -> None:
        """Settles the matter where a sound is not in the clip.

        Of a clip with a label alone, other sounds may be there too; unless the prediction misses what the
        label says, which is then what it took for this sound.
        """
        if self.true.events_like(sound):
            return
        if not self.truth.events_known:
            predicted = self.question.predicted.events if self.question.predicted else ()
            labelled = [e for e in predicted if self.true.events_like(Sound(e.label, e.mid))]
            if not self.true.events or labelled:
                raise unknown("sounds")
        raise Settled(otherwise, self.why_not_there(sound))

    def named_sound(self) -> Sound:
        """The sound with the longest name that stands in the question, outside of its quotations."""
        bare = _QUOTE.sub('""', self.text).lower()
        named = _NAMED.search(bare)
        rest = bare[named.end() :] if named else bare
        found: list[tuple[int, Sound]] = []
        for phrase, sound in self.true.phrases.items():
            at = rest.find(phrase)
            if phrase == "speech" or at < 0 or (named and at > 0) or not _whole_words(rest, at, phrase):
                continue
            found.append((len(phrase), sound))
        if not found:
            raise unknown("the sound that is named")
        return max(found, key=lambda pair: pair[0])[1]

    def speaker(self) -> int:
        """The number of the person that the question is about; 1 where it is the only one."""
        if "speaks first" in self.text:
            return 1
        number = next((i + 1 for i, o in enumerate(ORDINALS) if f"the {o} person" in self.text), 1)
        if number not in self.true.speakers:
            raise Settled("false_premise", "speaker_count")
        return number

    def line(self) -> list[Place]:
        """Where the line is that the question quotes; the premise is false where nobody says it."""
        match = _QUOTE.search(self.text)
        line_places = self.places(match[1]) if match else []
        if not line_places:
            raise Settled("false_premise", "wrong_words")
        if all(misquoted(p, self.rules.word_error, self.rules.short_errors) for p in line_places):
            self.quoted_errors = True
        return line_places

    def places(self, quote: str) -> list[Place]:
        """Where a quotation is from; where the words are unknown, where the prediction has it."""
        self.need_turns()
        if self.truth.words_known:
            return places(quote, self.true.scene)
        turn = self._predicted_turn(quote)
        if turn is None:
            raise unknown("words")
        shares = dict.fromkeys(self.true.speakers, 0)
        for true_turn in self.true.turns:
            shares[true_turn.speaker] += overlap(interval(turn), interval(true_turn))
        speaker = max(shares, key=lambda s: shares[s], default=0)
        if not speaker or shares[speaker] < self.rules.shared_ms:
            return []
        return [Place(speaker, turn.start_ms, turn.end_ms, assumed=True)]

    def _predicted_turn(self, quote: str) -> Turn | None:
        """The predicted turn that a quotation is from."""
        scene = self.question.predicted
        if scene is None:
            return None
        quoted = " ".join(tokens(quote, scene.language))
        texts = [(turn, " ".join(tokens(turn.text, scene.language))) for turn in scene.turns]
        return next((turn for turn, text in texts if quoted and f" {quoted} " in f" {text} "), None)

    # Whether the answer is right

    def amount_right(self, value_s: float, tolerance_ms: int) -> bool:
        """Whether the answer is the nearest amount of seconds on offer, or as near as the rules allow."""
        amounts = {choice: int(choice.split()[1]) for choice in self.choices}
        nearest = min(amounts, key=lambda choice: abs(amounts[choice] - value_s))
        return self.answer == nearest or abs(amounts[self.answer] - value_s) * 1000 <= tolerance_ms

    def count_right(self, counts: Iterable[int]) -> bool:
        """Whether the answer is one of some numbers, in words."""
        words = {NUMBERS[n] if n < len(NUMBERS) else str(n) for n in counts}
        return self.answer.lower() in words

    def speaker_right(self, possible: Iterable[int]) -> bool:
        """Whether the answer names one of the possible speakers, or says that no choice does."""
        names = {f"Speaker {number}" for number in possible}
        if self.answer == NONE:
            return not names <= set(self.choices) if len(names) > 1 else not names & set(self.choices)
        return self.answer in names

    def sound_right(self, possible: Sequence[Sound]) -> bool:
        """Whether the answer may stand for one of the possible sounds, or no choice may."""
        if self.answer == NONE:
            offered = [s for c in self.choices if c != NONE and (s := self.true.sound(c))]
            return any(not any(self.true.alike(p, o) for o in offered) for p in possible)
        sound = self.true.sound(self.answer)
        return sound is not None and any(self.true.alike(sound, p) for p in possible)

    def line_right(self, fits: Callable[[Place], bool]) -> bool:
        """Whether the line that is the answer fits; where that is "None of these", whether no other does."""
        if self.answer != NONE:
            answer_places = self.places(self.answer.strip('"'))
            fitting = [place for place in answer_places if fits(place)]
            if fitting and all(misquoted(p, self.rules.word_error, self.rules.short_errors) for p in fitting):
                self.quoted_errors = True
            if not answer_places:
                raise Settled("wrong_answer", "wrong_words")
            return bool(fitting)
        others = [choice for choice in self.choices if choice != NONE]
        return not any(fits(place) for choice in others for place in self.places(choice.strip('"')))

    # Why something is wrong

    def why_not_there(self, sound: Sound | None) -> Cause:
        """What was taken for a sound, by where it is predicted: another sound, speech, or nothing."""
        predicted = self.question.predicted
        named = [e for e in predicted.events if sound and e.label == sound.label] if predicted else []
        return self.origin_of_sound([interval(e) for e in named])

    def origin_of_sound(self, spans: Sequence[tuple[int, int]]) -> Cause:
        """Of a sound that is not in the clip, stated at some spans."""
        if not spans:
            return "wrong_class" if self.true.events else "absent_sound"
        stated = self.true.frames(spans, self.rules.onset_ms)
        sounding = self.true.frames(map(interval, self.true.events))
        if (stated & sounding).any():
            return "wrong_class"
        spoken = self.true.speech() & self.true.frames(spans)
        if spoken.sum() * 2 >= self.true.frames(spans).sum():
            return "speech_as_sound"
        return "absent_sound"

    def why_voices_wrong(self) -> Cause:
        """The number of speakers where that is wrong, else who is who."""
        predicted = self.question.predicted
        if predicted is not None and predicted.speakers != len(self.true.speakers):
            return "speaker_count"
        return "attribution"


def _whole_words(text: str, at: int, phrase: str) -> bool:
    before, after = text[at - 1 : at], text[at + len(phrase) : at + len(phrase) + 1]
    return not before.isalnum() and not after.isalnum()
