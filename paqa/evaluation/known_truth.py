"""What is known to be true of a clip, and the rules by which statements about it are compared with that.

Truth may be partial: RTTM knows no words, the class of a whole file not when it sounds. What truth does not
know is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

from paqa import audioset
from paqa.errors import PaqaError
from paqa.questions.english import spoken
from paqa.spans import Interval, interval
from paqa.types import Clip, Event, Scene

if TYPE_CHECKING:
    import numpy as np

FRAME_MS = 10
EDGE_MS = 50  # decoders differ by that much on how long a recording is
TRANSCRIBED = 0.9  # words are known where turns with text make up this share of the speech
VOICES = ("Human voice",)  # what is of these, a listener may name for speech
NOBODY_JUDGES = ("Channel, environment and background",)  # rooms, hum, silence: truth does not list these


@dataclass(frozen=True)
class Sound:
    """A sound by its AudioSet label and machine id."""

    label: str
    mid: str


Alike = Callable[[Sound, Sound], bool]


@cache
def related(a: Sound, b: Sound) -> bool:
    """Whether two sounds are the same, or one is a kind of the other; by name outside of AudioSet."""
    if a.mid == b.mid or a.label == b.label:
        return True
    try:
        return audioset.related(a.mid, b.mid)
    except PaqaError:
        return False


def sound_of(event: Event) -> Sound:
    """The sound that an event is an occurrence of."""
    return Sound(event.label, event.mid)


@dataclass(frozen=True)
class Rules:
    """How far a statement may be from the truth and still be right.

    `onset_ms` and `end_ms` of sounds: fades and gusts have no exact edge, least of all under speech.
    `turn_ms` of turns: annotators differ by some 250 ms on either side, and truth has no pauses inside of
    utterances. `total_ms` of added-up times, which are asked for to the second. `overlap_ms`: two voices this
    close may be said to overlap or not. `shared_ms`: what sounds together for less does not count.
    `word_error` of a quotation, or `short_errors` words where that is less than one word. `slack_words` may
    be missed or added where one line ends and the next begins. `share` of rates and pitches, `level_db` of
    levels. `pauses` is the share of an utterance that may be pauses, which truth does not tell. `alike` says
    which sounds may stand for one another.
    """

    onset_ms: int = 500
    end_ms: int = 1000
    turn_ms: int = 500
    total_ms: int = 1000
    overlap_ms: int = 250
    shared_ms: int = 100
    bridges_ms: tuple[int, ...] = (300, 600, 1000)  # pauses that may or may not end an occasion
    short_voice_ms: int = 250  # who speaks for less in all may be counted or not
    word_error: float = 0.2
    short_errors: int = 1
    slack_words: int = 2
    share: float = 0.1
    pauses: float = 0.25
    level_db: float = 1.0
    alike: Alike = related


LENIENT = Rules()
EXACT = Rules(
    onset_ms=0, end_ms=0, turn_ms=0, total_ms=0, overlap_ms=0, bridges_ms=(300,), short_voice_ms=0,
    word_error=0.0, short_errors=0, slack_words=0, share=0.0, pauses=0.0, level_db=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class KnownTruth:
    """A true scene and how much of the clip it covers.

    `turns_known`: who speaks when is known in the whole clip; `words_known`: so is what is said.
    `events_known`: every sound is listed. `times_known`: the spans of the listed sounds are theirs; without
    it, they are only known to be somewhere in the clip.
    """

    scene: Scene
    turns_known: bool = True
    words_known: bool = True
    events_known: bool = True
    times_known: bool = True


def truth_of(clip: Clip) -> KnownTruth | None:
    """What a clip's source knows about it; None without truth.

    Sounds that all last as long as their recording are labels of it: other sounds may be audible, and nobody
    says when.
    """
    scene = clip.truth
    if scene is None:
        return None
    labels_only = bool(scene.events) and not clip.uri.startswith("mix:")
    labels_only = labels_only and all(
        event.start_ms <= EDGE_MS and event.end_ms >= scene.duration_ms - EDGE_MS for event in scene.events
    )
    complete = "events" in clip.truth_covers or bool(scene.events)
    return KnownTruth(
        scene=scene,
        turns_known="turns" in clip.truth_covers or bool(scene.turns),
        words_known=words_known(scene),
        events_known=complete and not labels_only,
        times_known=not labels_only,
    )


def words_known(scene: Scene) -> bool:
    """Whether the words of (nearly) all speech are known; so they are where nobody speaks."""
    spoken_ms = sum(turn.end_ms - turn.start_ms for turn in scene.turns)
    written_ms = sum(turn.end_ms - turn.start_ms for turn in scene.turns if turn.text.strip())
    return written_ms >= TRANSCRIBED * spoken_ms


@cache
def _phrases() -> dict[str, Sound]:
    """AudioSet's sounds by the phrase that questions use for them, in lower case."""
    return {spoken(audioset.label(mid)).lower(): Sound(audioset.label(mid), mid) for mid in audioset.sounds()}


class TrueScene:
    """A true scene as frames of 10 ms and as sounds, for answers to be derived from it."""

    def __init__(self, truth: KnownTruth, rules: Rules = LENIENT):
        self.truth = truth
        self.scene = truth.scene
        self.rules = rules
        self.turns = truth.scene.turns
        self.speakers = sorted({turn.speaker for turn in truth.scene.turns})

    @cached_property
    def phrases(self) -> dict[str, Sound]:
        """All sounds by their phrase in lower case, those of the scene first."""
        named = {spoken(e.label).lower(): Sound(e.label, e.mid) for e in self.scene.events}
        return _phrases() | named

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The sounds of the background; speech is none."""
        return tuple(event for event in self.scene.events if event.label != "Speech")

    def sound(self, phrase: str) -> Sound | None:
        """The sound that a choice or a label names."""
        return self.phrases.get(phrase.lower()) or self.phrases.get(spoken(phrase).lower())

    def alike(self, a: Sound, b: Sound) -> bool:
        """Whether one sound may stand for the other."""
        return self.rules.alike(a, b)

    def events_like(self, sound: Sound | None) -> list[Event]:
        """The events that a sound may stand for."""
        if sound is None:
            return []
        return [e for e in self.events if self.alike(sound, sound_of(e))]

    def events_unlike(self, sound: Sound | None) -> list[Event]:
        """The others."""
        like = self.events_like(sound)
        return [e for e in self.events if e not in like]

    def frames(self, spans: Iterable[Interval], grow_ms: int = 0) -> np.ndarray:
        """Which frames of the clip some spans cover, `(n,)`; each grown at both ends, or shrunk below 0."""
        import numpy as np

        covered = np.zeros(self.scene.duration_ms // FRAME_MS + 1, bool)
        for start, end in spans:
            first = max(0, start - grow_ms) // FRAME_MS
            covered[first : max(first, (end + grow_ms) // FRAME_MS)] = True
        return covered

    def speech(self, grow_ms: int = 0) -> np.ndarray:
        """The frames in which anybody speaks."""
        return self.frames(map(interval, self.turns), grow_ms)

    def voice(self, speaker: int, grow_ms: int = 0) -> np.ndarray:
        """The frames in which one person speaks."""
        return self.frames((interval(t) for t in self.turns if t.speaker == speaker), grow_ms)

    def sounding(self, sound: Sound | None, grow_ms: int = 0) -> np.ndarray:
        """The frames in which a sound, or one that it may stand for, is heard."""
        return self.frames(map(interval, self.events_like(sound)), grow_ms)


def shared_ms(a: np.ndarray, b: np.ndarray) -> int:
    """Milliseconds in which both are active."""
    return int((a & b).sum()) * FRAME_MS


def total_ms(frames: np.ndarray) -> int:
    """Milliseconds in which it is active."""
    return int(frames.sum()) * FRAME_MS


@cache
def under(label: str, groups: tuple[str, ...]) -> bool:
    """Whether a label is one of some groups of the ontology, or within one."""
    try:
        mid = audioset.mid(label)
    except PaqaError:
        return False
    return any(audioset.mid(g) == mid or audioset.mid(g) in audioset.ancestors(mid) for g in groups)


def with_measured(truth: KnownTruth, measured: Scene) -> KnownTruth:
    """The same truth with levels and pitches that were measured on its audio."""
    return replace(truth, scene=measured)
