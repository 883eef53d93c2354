"""Mistakes that a careless listener might make about a question: of the scene, one by one, the likeliest
kinds first.

Nothing is heard that is not said to be a mistake: each is one change of the scene around what the question
rests on.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import zip_longest

from paqa import audioset
from paqa.questions.emotion import SOUNDS
from paqa.questions.english import excerpt, lower, spoken, upper
from paqa.questions.sound_names import UNASKED
from paqa.rationale import perturbations
from paqa.rationale.perturbations import Mishearing
from paqa.spans import Interval, interval, merge
from paqa.text import clean, normal
from paqa.types import Event, Question, Scene, Turn

TRIED = 5  # mistakes tried of each kind


def mistakes(scene: Scene, question: Question, rng: random.Random) -> Iterator[Mishearing]:
    """Plausible mistakes about what a question rests on, kinds of mistake in turns and in an order drawn by
    `rng`.
    """
    events = [scene.events[i] for i in _cited(question, "event")]
    turns = [scene.turns[i] for i in _cited(question, "turn")]
    sounds = [_mistaken(scene, question, events), _missed(scene, events), _repeated(scene, events)]
    voices = [_misattributed(scene, turns), _unnoticed(scene, turns), _confused(scene, turns)]
    kinds = [*sounds, _misplaced(scene, events)] * bool(events)
    voices += [_misjudged(scene, question, turns), _over_one_another(scene, turns), _noises(scene)]
    kinds += voices * bool(turns)
    queues = []
    for kind in kinds:
        found = list(kind)
        rng.shuffle(found)
        queues.append(found[:TRIED])
    rng.shuffle(queues)
    for row in zip_longest(*queues):
        yield from (m for m in row if m and m.scene != scene)


def _cited(question: Question, kind: str) -> list[int]:
    return sorted({e.index for e in question.evidence if e.kind == kind})


@cache
def _by_choice() -> dict[str, tuple[str, str]]:
    """AudioSet's sounds by the way a choice writes them."""
    labels = [(mid, audioset.label(mid)) for mid in audioset.classes()]
    return {upper(spoken(label)): (mid, label) for mid, label in reversed(labels)}


def sound(scene: Scene, choice: str) -> tuple[str, str] | None:
    """The machine id and label of the sound that a choice names, of the scene's or AudioSet's; None for no
    sound.
    """
    present = {upper(spoken(e.label)): (e.mid, e.label) for e in scene.events}
    return present.get(choice) or _by_choice().get(choice)


def _mistaken(scene: Scene, question: Question, events: Sequence[Event]) -> Iterator[Mishearing]:
    """A sound taken for another one that the choices offer."""
    present = {upper(spoken(e.label)): e for e in scene.events}
    for choice in question.choices:
        if choice in present:
            other = present[choice]
            yield from (
                perturbations.confuse_sounds(scene, e, other) for e in events if e.label != other.label
            )
        elif choice in _by_choice():
            mid, label = _by_choice()[choice]
            for own in _groups(events):
                yield perturbations.take_for(scene, own, [replace(e, mid=mid, label=label) for e in own])


def _groups(events: Sequence[Event]) -> list[list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.label, []).append(event)
    return list(found.values())


def _missed(scene: Scene, events: Sequence[Event]) -> Iterator[Mishearing]:
    """A sound passed over, once or altogether."""
    for own in _groups(events):
        yield perturbations.miss_sounds(scene, own)
        yield from (perturbations.miss_sounds(scene, [e]) for e in own if len(own) > 1)


def _repeated(scene: Scene, events: Sequence[Event]) -> Iterator[Mishearing]:
    """A sound counted once too often: another one taken for it, or a long one for two."""
    for own in _groups(events):
        others = [e for e in scene.events if e.label != own[0].label and e.label not in UNASKED]
        for other in others:
            yield perturbations.take_for(scene, [other], [replace(other, mid=own[0].mid, label=own[0].label)])
        yield from (found for e in own if (found := perturbations.split_sound(scene, e)))


def _misplaced(scene: Scene, events: Sequence[Event]) -> Iterator[Mishearing]:
    """A sound remembered at another time: earlier, later, or on the other side of some speech."""
    step = max(2, round(scene.duration_ms / 8000)) * 1000
    speech = merge(interval(t) for t in scene.turns)
    for own in _groups(events):
        event, length = own[0], own[0].end_ms - own[0].start_ms
        starts = [event.start_ms + n * step for n in (-2, -1, 1, 2)]
        starts += [event.start_ms + n * scene.duration_ms // 3 for n in (-1, 1)]
        starts += [at for a, b in speech for at in (a + 100, a - length - 500, b + 500)]
        for start in starts:
            heard: Interval = (start // 10 * 10, start // 10 * 10 + length)
            far = abs(heard[0] - event.start_ms) >= perturbations.SHIFT_MS
            if far and 0 <= heard[0] < heard[1] <= scene.duration_ms:
                yield perturbations.misplace(scene, [event], [heard])


def _indices(scene: Scene, turns: Sequence[Turn]) -> list[int]:
    return [i for i, t in enumerate(scene.turns) if t in turns]


def _misattributed(scene: Scene, turns: Sequence[Turn]) -> Iterator[Mishearing]:
    """A turn given to a neighbour, a whole voice taken for another, or a turn taken for a further voice."""
    voices = sorted({t.speaker for t in scene.turns})
    for i in _indices(scene, turns):
        own = scene.turns[i].speaker
        near = [t.speaker for t in scene.turns[max(0, i - 1) : i + 2] if t.speaker != own]
        yield from (perturbations.attribute(scene, [i], s) for s in dict.fromkeys(near))
        if any(t.speaker == own for t in scene.turns[:i]):
            yield perturbations.attribute(scene, [i], None)
    for own in dict.fromkeys(t.speaker for t in turns):
        all_of = [i for i, t in enumerate(scene.turns) if t.speaker == own]
        yield from (perturbations.attribute(scene, all_of, s) for s in voices if s != own)


def _unnoticed(scene: Scene, turns: Sequence[Turn]) -> Iterator[Mishearing]:
    """A turn passed over, or the one before it, or a whole voice."""
    for i in _indices(scene, turns):
        yield from (perturbations.miss_turns(scene, [n]) for n in (i - 1, i) if n >= 0)
    for own in dict.fromkeys(t.speaker for t in turns):
        yield perturbations.miss_turns(scene, [i for i, t in enumerate(scene.turns) if t.speaker == own])


def _confused(scene: Scene, turns: Sequence[Turn]) -> Iterator[Mishearing]:
    """The words of two turns remembered the wrong way round."""
    for turn in turns:
        for other in scene.turns:
            if normal(turn.text) != normal(other.text) and normal(turn.text) and normal(other.text):
                yield perturbations.confuse_lines(scene, *sorted((turn, other), key=lambda t: t.start_ms))


def _over_one_another(scene: Scene, turns: Sequence[Turn]) -> Iterator[Mishearing]:
    """Turns said at once taken for a mere change of speaker, or the other way round."""
    for a, b in zip(scene.turns, scene.turns[1:], strict=False):
        if a.speaker != b.speaker and (a in turns or b in turns):
            found = perturbations.separate(scene, a, b) or perturbations.join(scene, a, b)
            yield from [found] if found else []


def _noises(scene: Scene) -> Iterator[Mishearing]:
    """A background sound taken for a voice."""
    for event in scene.events:
        if event.label not in UNASKED and event.end_ms - event.start_ms >= 400:
            yield perturbations.imagine_voice(scene, Turn(*interval(event), 1), None)


def _misjudged(scene: Scene, question: Question, turns: Sequence[Turn]) -> Iterator[Mishearing]:
    """A tone or a meaning that another choice offers."""
    moods = {upper(sounds): name for name, sounds in SOUNDS.items()}
    wrong = [c for i, c in enumerate(question.choices) if i != question.answer_index]
    for turn in turns:
        for choice in wrong:
            if turn.emotion and choice in moods:
                taken = replace(turn, emotion=moods[choice])
                right = _first(SOUNDS.get(n, "") for n in (moods.get(question.answer, ""), turn.emotion))
                yield perturbations.relabel(scene, turn, taken, "misjudged_tone", lower(choice), right)
            elif turn.translation and question.answer == f'"{clean(turn.translation)}"':
                taken = replace(turn, translation=choice.strip('"'))
                told = excerpt(choice.strip('"')), excerpt(turn.translation)
                yield perturbations.relabel(scene, turn, taken, "misunderstood", *told)


def _first(texts: Iterable[str]) -> str:
    return next((t for t in texts if t), "")
