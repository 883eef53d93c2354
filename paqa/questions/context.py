"""What a template works with: one scene, as background sounds, voices, stretches of speech and lines."""

from __future__ import annotations

import copy
import difflib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, cached_property, lru_cache
from itertools import chain, pairwise
from typing import TypeVar

from paqa import audioset
from paqa.config.recipe import QuestionsConfig
from paqa.errors import PaqaError
from paqa.questions.english import clauses, excerpt, listing, lower, number, opening, seconds, spoken, upper
from paqa.questions.scene_parts import NO_OTHER_CLIPS, Background, Line, OtherClips
from paqa.questions.sound_names import CONFUSABLE, EVERYDAY, SPEECH, UNASKED
from paqa.spans import Interval, gap, intersect, interval, merge, overlap, total
from paqa.text import normal, rng_for
from paqa.types import Event, Evidence, Scene, Turn

MIN_EVENT_MS = 200  # shorter sounds are not asked about
MIN_TURN_MS = 400  # shorter turns are not asked about
CLEAR_MS = 300  # two onsets nearer than this have no safe order
SAFE_MS = 1000  # a difference in time from which an order is certain
JOIN_MS = 300  # a pause shorter than this does not end an occasion
APART_MS = 600  # a pause from which two occasions are clearly two

T = TypeVar("T")
MISSING = (
    "There is no trace of {}.",
    "Nothing in the recording sounds like {}.",
    "I find no sign of {}.",
    "The recording gives no hint of {}.",
    "As for {}, there is nothing of the sort.",
)


class Context:
    """A scene prepared for questions; `rng` is seeded by the clip and the template."""

    # Whether an amount is answered with the nearest one on offer, however far it is.
    lenient = False

    def __init__(
        self,
        scene: Scene,
        config: QuestionsConfig,
        rng: random.Random,
        other_clips: OtherClips = NO_OTHER_CLIPS,
    ):
        self.scene = scene
        self.config = config
        self.rng = rng
        self.other_clips = other_clips

    def reseeded(self, rng: random.Random) -> Context:
        """The same scene for another template; what follows from the scene alone is worked out once."""
        _ = self.backgrounds, self.speech, self.speakers, self.clear_numbers, self.lines
        copied = copy.copy(self)
        copied.rng = rng
        return copied

    def pick(self, *options: T) -> T:
        """One of several wordings."""
        return self.rng.choice(options)

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """The items in a seeded order."""
        order = list(items)
        self.rng.shuffle(order)
        return order

    def drawn(self, weighted: Iterable[tuple[T, float]]) -> list[T]:
        """The items in a seeded order, in which those with more weight tend to come first."""
        order = sorted(weighted, key=lambda pair: self.rng.random() ** (1 / pair[1]), reverse=True)
        return [item for item, _ in order]

    @cached_property
    def backgrounds(self) -> tuple[Background, ...]:
        """The background sounds that can be asked about, by first onset."""
        by_mid: dict[str, list[int]] = {}
        for i, event in enumerate(self.scene.events):
            if event.label not in UNASKED:
                by_mid.setdefault(event.mid, []).append(i)
        sounds = [b for mid, indices in by_mid.items() if (b := self._background(mid, indices))]
        return tuple(sorted(sounds, key=lambda b: (b.start_ms, b.label)))

    def _background(self, mid: str, indices: list[int]) -> Background | None:
        events = [self.scene.events[i] for i in indices]
        occasions = merge((interval(e) for e in events), JOIN_MS)
        if not occasions:
            return None
        safe = all(e.end_ms - e.start_ms >= MIN_EVENT_MS for e in events)
        return Background(events[0].label, mid, tuple(indices), tuple(occasions), safe)

    @cached_property
    def safe_backgrounds(self) -> list[Background]:
        """Background sounds long enough to be asked about."""
        return [b for b in self.backgrounds if b.safe]

    def alike(self, a: Background, b: Background) -> bool:
        """Whether one of two sounds may be taken for the other: the same, a kind of it, or confusable."""
        return alike(a.mid, a.label, b.mid, b.label)

    def other_sounds(self, sound: Background) -> list[Background]:
        """The sounds in the scene that cannot be taken for this one."""
        return [b for b in self.backgrounds if not self.alike(b, sound)]

    def unambiguous(self, sound: Background) -> bool:
        """Whether nothing else in the scene can be taken for this sound."""
        return all(b.mid == sound.mid or not self.alike(b, sound) for b in self.backgrounds)

    def absent_labels(self, count: int) -> list[str]:
        """Labels of sounds that are certainly not in the scene, no two alike.

        They are sounds of the build's other clips, drawn by the number of clips with each, so that a sound
        is offered as often where it is wrong as where it is right. Everyday sounds follow where a build has
        too few kinds. [] where some of the background is unclear: nothing is certainly absent then.
        """
        if self.scene.unclear:
            return []
        drawn = self.drawn(sorted(self.other_clips.sounds.items()))
        chosen: list[tuple[str, str]] = []
        for mid, label in chain(drawn, self._everyday_sounds()):
            if len(chosen) == count:
                break
            if label in UNASKED or any(alike(mid, label, *sound) for sound in chosen):
                continue
            if self.is_absent(mid, label):
                chosen.append((mid, label))
        return [label for _, label in chosen]

    @cached_property
    def is_absent(self) -> Callable[[str, str], bool]:
        """Whether a sound is like none of the scene; a scene may have hundreds, so each is compared once."""
        present = dict.fromkeys(sound for e in self.scene.events for sound in self._may_be(e))
        return cache(lambda mid, label: not any(alike(mid, label, *sound) for sound in present))

    def _may_be(self, event: Event) -> list[tuple[str, str]]:
        """What an event may be: its class, and every kind of it where engines could name nothing closer."""
        kinds = _kinds(event.mid) if self.scene.heard_by else ()
        return [(event.mid, event.label), *kinds]

    def _everyday_sounds(self) -> Iterator[tuple[str, str]]:
        yield from ((audioset.mid(label), label) for label in self.shuffled(EVERYDAY))

    def decoy_sounds(self, answer: Background, present: Sequence[Background]) -> tuple[str, ...]:
        """Choices beside the answer: sounds of the scene first, then plausible absent ones."""
        chosen: list[Background] = []
        for b in self.shuffled(present):
            if not any(self.alike(b, c) for c in (answer, *chosen)):
                chosen.append(b)
        missing = max(0, self.config.choices - 1 - len(chosen))
        absent_labels = self.absent_labels(missing) if missing else []
        return (*(b.choice for b in chosen), *(upper(spoken(label)) for label in absent_labels))

    def why_sounds_wrong(
        self,
        verb: str,
        when: Callable[[Background], str],
        name: Callable[[Background], str] = lambda b: b.name,
    ) -> Callable[[Sequence[str]], str]:
        """Why sounds are wrong: those of the scene come at another time, and the rest is not there."""

        def why_wrong(decoys: Sequence[str]) -> str:
            present = [b for b in self.backgrounds if b.choice in decoys]
            descriptions = [f"{name(b)} {verb if i == 0 else ''} {when(b)}" for i, b in enumerate(present)]
            present_choices = {b.choice for b in present}
            missing = [lower(d) for d in decoys if d not in present_choices]
            frame = self.pick(*MISSING)
            parts = [upper(clauses([" ".join(t.split()) for t in descriptions])) + "."] * bool(descriptions)
            return " ".join([*parts, *[frame.format(listing(missing, "or"))] * bool(missing)])

        return why_wrong

    def background_clear(self, stretches: Sequence[Interval] = ()) -> bool:
        """Whether all that sounds in the background is known, during some stretches or the whole clip."""
        unclear = [interval(u) for u in self.scene.unclear]
        return not (intersect(unclear, stretches) if stretches else unclear)

    @property
    def background_quiet(self) -> bool:
        """Whether it is known that nothing at all sounds in the background."""
        return self.background_clear() and all(e.label in SPEECH for e in self.scene.events)

    def clear_until(self, end_ms: int) -> bool:
        """Whether all that sounds in the background is known until a moment, and for CLEAR_MS after it."""
        return all(u.start_ms >= end_ms + CLEAR_MS for u in self.scene.unclear)

    def clear_from(self, start_ms: int) -> bool:
        """Whether all that sounds in the background is known from CLEAR_MS before a moment on."""
        return all(u.end_ms <= start_ms - CLEAR_MS for u in self.scene.unclear)

    @cached_property
    def speech(self) -> list[Interval]:
        """Where somebody speaks."""
        return merge(interval(t) for t in self.scene.turns)

    def turns_of(self, speaker: int) -> list[int]:
        """Indices of a speaker's turns."""
        return [i for i, t in enumerate(self.scene.turns) if t.speaker == speaker]

    def speech_of(self, speaker: int) -> list[Interval]:
        """Where one speaker speaks."""
        return merge(interval(self.scene.turns[i]) for i in self.turns_of(speaker))

    @cached_property
    def speakers(self) -> list[int]:
        """The numbers of the speakers, in order."""
        return sorted({t.speaker for t in self.scene.turns})

    @cached_property
    def clear_numbers(self) -> bool:
        """Whether "the second speaker" is clear: numbers run from 1, and no two first onsets are near."""
        onsets = [self.speech_of(s)[0][0] if self.speech_of(s) else -1 for s in self.speakers]
        ordered = all(b - a >= CLEAR_MS for a, b in pairwise(onsets))
        return ordered and self.speakers == list(range(1, len(onsets) + 1)) and -1 not in onsets

    def decoy_speakers(self, answer: int) -> tuple[str, ...]:
        """The other speakers."""
        return tuple(f"Speaker {s}" for s in self.shuffled(s for s in self.speakers if s != answer))

    def why_speakers_wrong(self, say: Callable[[list[int]], str]) -> Callable[[Sequence[str]], str]:
        """Why speakers are wrong: what the template says of them, by their numbers in order."""
        return lambda decoys: say(sorted(int(d.split()[1]) for d in decoys)) if decoys else ""

    def neighbours(self, values: Sequence[T], at: int) -> list[T]:
        """The other values of the block that holds `values[at]`; a block has as many values as choices.

        Whichever value of a block is right, the same choices are offered: these do not tell which one it is.
        """
        first = at - at % self.config.choices
        block = values[first : first + self.config.choices]
        return self.shuffled(v for i, v in enumerate(block, first) if i != at)

    def other_counts(self, count: int) -> tuple[str, ...]:
        """The other counts of the block of a count, in words: one to four, five to eight, and so on."""
        counts = range(1, count + self.config.choices + 1)
        return tuple(upper(number(n)) for n in self.neighbours(counts, count - 1))

    def overlapped_share(self, turn: Turn) -> float:
        """The share of a turn during which others talk as well."""
        turn_span = interval(turn)
        other_voices = [
            interval(t)
            for t in self.scene.turns
            if t.speaker != turn.speaker and overlap(interval(t), turn_span)
        ]
        if not other_voices:
            return 0.0
        return total(intersect([turn_span], other_voices)) / max(1, turn.end_ms - turn.start_ms)

    @cached_property
    def lines(self) -> list[Line]:
        """Everything that can be quoted, one per turn, no two that could be taken for one another."""
        candidates = [line for i, t in enumerate(self.scene.turns) if (line := self._line(i, t))]
        texts = [normal(t.text) for t in self.scene.turns]
        lines = []
        for line in candidates:
            other_texts = (text for i, text in enumerate(texts) if i != line.turn)
            if not any(says_same(normal(line.text), text) for text in other_texts):
                lines.append(line)
        return lines

    def _line(self, index: int, turn: Turn) -> Line | None:
        if turn.end_ms - turn.start_ms < MIN_TURN_MS or self.overlapped_share(turn) > 0.5:
            return None
        text, whole = opening(turn.text)
        return Line(index, turn.speaker, text, interval(turn), whole) if text else None

    def decoy_lines(self, *lines: Line) -> tuple[str, ...]:
        """Real words of the same clip, other than these."""
        return tuple(x.choice for x in self.shuffled(self.lines) if x not in lines)

    def why_lines_wrong(self, head: Sequence[str]) -> Callable[[Sequence[str]], str]:
        """Why lines are wrong: who says each of them, and when."""

        def why_wrong(decoys: Sequence[str]) -> str:
            by_speaker: dict[int, list[str]] = {}
            offered = [line for line in self.lines if line.choice in decoys]
            for line in sorted(offered, key=lambda line: line.span):
                quote = f"{excerpt(line.text, 4)} at {seconds(line.span[0])}"
                by_speaker.setdefault(line.speaker, []).append(quote)
            start = self.pick(*head)
            return f"{start} {clauses([f'speaker {s} says {listing(q)}' for s, q in by_speaker.items()])}."

        return why_wrong

    def turn_evidence(self, indices: Iterable[int]) -> tuple[Evidence, ...]:
        """References to turns."""
        return tuple(Evidence("turn", i) for i in sorted(set(indices)))

    def sound_evidence(self, sound: Background, occasion: int | None = None) -> tuple[Evidence, ...]:
        """References to the events of a sound, or of one of its occasions."""
        span = None if occasion is None else sound.occasions[occasion]
        kept = [i for i in sound.events if span is None or overlap(span, interval(self.scene.events[i]))]
        return tuple(Evidence("event", i) for i in kept)

    def margin(self, evidence: Sequence[Evidence], *ratios: float, words: bool = False) -> float:
        """How safe the perception behind a question is: its weakest link, in [0, 1].

        `ratios` are differences relative to safe ones; `words` says that the very words of the turns matter.
        """
        links = [min(1.0, max(0.0, r)) for r in ratios]
        for e in evidence:
            if e.kind == "event":
                links.append(self._event_margin(e.index))
            elif e.kind == "word":
                links.append(self._word_margin(e.index))
            else:
                links.append(self._turn_margin(e.index, words))
        return round(min(links, default=1.0), 4)

    def _event_margin(self, index: int) -> float:
        event = self.scene.events[index]
        return event.score * self._agreement(interval(event), ("tag", "separate"))

    def _turn_margin(self, index: int, words: bool) -> float:
        turn = self.scene.turns[index]
        if not words:
            return self._agreement(interval(turn), ("diarize",))
        own_words = [w for w in self.scene.words if w.speaker == turn.speaker and _inside(w.start_ms, turn)]
        confidence = sum(w.score for w in own_words) / len(own_words) if own_words else 1.0
        return confidence * self._agreement(interval(turn), ("diarize", "transcribe"))

    def _word_margin(self, index: int) -> float:
        word = self.scene.words[index]
        return word.score * self._agreement(interval(word), ("transcribe",))

    def _agreement(self, span: Interval, stages: Sequence[str]) -> float:
        disputed = merge((d.start_ms, d.end_ms) for d in self.scene.disagreements if d.stage in stages)
        return 1.0 - min(1.0, 2 * total(intersect([span], disputed)) / max(1, span[1] - span[0]))


@cache
def alike(mid: str, label: str, other_mid: str, other_label: str) -> bool:
    """Whether a listener may take one sound for the other."""
    if mid == other_mid or spoken(label) == spoken(other_label) or _related(mid, other_mid):
        return True
    return any(label in group and other_label in group for group in CONFUSABLE)


@cache
def _kinds(mid: str) -> tuple[tuple[str, str], ...]:
    """All kinds of a sound, as machine id and label."""
    return tuple((m, audioset.label(m)) for m in audioset.classes() if m != mid and _is_kind(m, mid))


def _is_kind(kind: str, mid: str) -> bool:
    return mid in audioset.ancestors(kind)


def _related(a: str, b: str) -> bool:
    """`audioset.related`, False for sounds that are not in AudioSet."""
    try:
        return audioset.related(a, b)
    except PaqaError:
        return False


@lru_cache(maxsize=16384)
def says_same(line: str, text: str) -> bool:
    """Whether a normalised text contains, or is nearly, a normalised line."""
    if f" {line} " in f" {text} ":
        return True
    matcher = difflib.SequenceMatcher(None, line, text, autojunk=False)
    return matcher.real_quick_ratio() > 0.8 and matcher.quick_ratio() > 0.8 and matcher.ratio() > 0.8


def pause_ratio(occasions: Sequence[Interval]) -> float:
    """The shortest pause between occasions as a share of SAFE_MS; infinite for a single occasion."""
    pauses = [gap(a, b) for a, b in pairwise(occasions)]
    return min(pauses) / SAFE_MS if pauses else float("inf")


def context(
    scene: Scene, config: QuestionsConfig, seed: int, template: str, other_clips: OtherClips = NO_OTHER_CLIPS
) -> Context:
    """The context of one template on one scene."""
    return Context(scene, config, rng_for(seed, scene.clip_id, template), other_clips)


def _inside(at_ms: int, turn: Turn) -> bool:
    return turn.start_ms <= at_ms < turn.end_ms
