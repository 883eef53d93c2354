"""Plausible mistakes about the evidence of a question, one change of the scene each."""

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
from paqa.rationale.perturbations import Perturbation
from paqa.spans import Interval, interval, merge
from paqa.text import clean, normal
from paqa.types import Event, Question, Scene, Turn

TRIED_PER_KIND = 5  # mistakes tried of each kind


def plausible_perturbations(scene: Scene, question: Question, rng: random.Random) -> Iterator[Perturbation]:
    """Plausible mistakes about the evidence of a question: one of each kind in turn, in an order by `rng`."""
    events = [scene.events[i] for i in _evidence_indices(question, "event")]
    turns = [scene.turns[i] for i in _evidence_indices(question, "turn")]
    sounds = [
        _replaced_sounds(scene, question, events),
        _missed_sounds(scene, events),
        _overcounted_sounds(scene, events),
    ]
    voices = [_reassigned_turns(scene, turns), _missed_turns(scene, turns), _swapped_texts(scene, turns)]
    kinds = [*sounds, _moved_sounds(scene, events)] * bool(events)
    voices += [
        _replaced_labels(scene, question, turns),
        _changed_overlaps(scene, turns),
        _sounds_as_voices(scene),
    ]
    kinds += voices * bool(turns)
    queues = []
    for kind in kinds:
        errors = list(kind)
        rng.shuffle(errors)
        queues.append(errors[:TRIED_PER_KIND])
    rng.shuffle(queues)
    for row in zip_longest(*queues):
        yield from (error for error in row if error and error.scene != scene)


def _evidence_indices(question: Question, kind: str) -> list[int]:
    return sorted({e.index for e in question.evidence if e.kind == kind})


@cache
def _sounds_by_choice() -> dict[str, tuple[str, str]]:
    """AudioSet's sounds by the way a choice writes them."""
    labels = [(mid, audioset.label(mid)) for mid in audioset.classes()]
    return {upper(spoken(label)): (mid, label) for mid, label in reversed(labels)}


def sound_of_choice(scene: Scene, choice: str) -> tuple[str, str] | None:
    """The machine id and label of the sound that a choice names; None where it names no sound."""
    present = {upper(spoken(e.label)): (e.mid, e.label) for e in scene.events}
    return present.get(choice) or _sounds_by_choice().get(choice)


def _replaced_sounds(scene: Scene, question: Question, events: Sequence[Event]) -> Iterator[Perturbation]:
    """A sound taken for another one that the choices offer."""
    present = {upper(spoken(e.label)): e for e in scene.events}
    for choice in question.choices:
        if choice in present:
            other_event = present[choice]
            yield from (
                perturbations.swap_sounds(scene, e, other_event)
                for e in events
                if e.label != other_event.label
            )
        elif choice in _sounds_by_choice():
            mid, label = _sounds_by_choice()[choice]
            for group in perturbations.by_label(events).values():
                yield perturbations.replace_sounds(
                    scene, group, [replace(e, mid=mid, label=label) for e in group]
                )


def _missed_sounds(scene: Scene, events: Sequence[Event]) -> Iterator[Perturbation]:
    """A sound passed over, once or altogether."""
    for group in perturbations.by_label(events).values():
        yield perturbations.remove_sounds(scene, group)
        yield from (perturbations.remove_sounds(scene, [e]) for e in group if len(group) > 1)


def _overcounted_sounds(scene: Scene, events: Sequence[Event]) -> Iterator[Perturbation]:
    """A sound counted once too often: another one taken for it, or a long one for two."""
    for group in perturbations.by_label(events).values():
        others = [e for e in scene.events if e.label != group[0].label and e.label not in UNASKED]
        for other_event in others:
            yield perturbations.replace_sounds(
                scene, [other_event], [replace(other_event, mid=group[0].mid, label=group[0].label)]
            )
        yield from (halved for e in group if (halved := perturbations.split_sound(scene, e)))


def _moved_sounds(scene: Scene, events: Sequence[Event]) -> Iterator[Perturbation]:
    """A sound remembered at another time: earlier, later, or on the other side of some speech."""
    step = max(2, round(scene.duration_ms / 8000)) * 1000
    speech = merge(interval(t) for t in scene.turns)
    for group in perturbations.by_label(events).values():
        event, length = group[0], group[0].end_ms - group[0].start_ms
        starts = [event.start_ms + n * step for n in (-2, -1, 1, 2)]
        starts += [event.start_ms + n * scene.duration_ms // 3 for n in (-1, 1)]
        starts += [at for a, b in speech for at in (a + 100, a - length - 500, b + 500)]
        for start in starts:
            new_span: Interval = (start // 10 * 10, start // 10 * 10 + length)
            far = abs(new_span[0] - event.start_ms) >= perturbations.SHIFT_MS
            if far and 0 <= new_span[0] < new_span[1] <= scene.duration_ms:
                yield perturbations.move_sounds(scene, [event], [new_span])


def _indices(scene: Scene, turns: Sequence[Turn]) -> list[int]:
    return [i for i, t in enumerate(scene.turns) if t in turns]


def _reassigned_turns(scene: Scene, turns: Sequence[Turn]) -> Iterator[Perturbation]:
    """A turn given to a neighbour, a whole voice taken for another, or a turn taken for a further voice."""
    voices = sorted({t.speaker for t in scene.turns})
    for i in _indices(scene, turns):
        speaker = scene.turns[i].speaker
        near = [t.speaker for t in scene.turns[max(0, i - 1) : i + 2] if t.speaker != speaker]
        yield from (perturbations.reassign_turns(scene, [i], s) for s in dict.fromkeys(near))
        if any(t.speaker == speaker for t in scene.turns[:i]):
            yield perturbations.reassign_turns(scene, [i], None)
    for speaker in dict.fromkeys(t.speaker for t in turns):
        all_of = [i for i, t in enumerate(scene.turns) if t.speaker == speaker]
        yield from (perturbations.reassign_turns(scene, all_of, s) for s in voices if s != speaker)


def _missed_turns(scene: Scene, turns: Sequence[Turn]) -> Iterator[Perturbation]:
    """A turn passed over, or the one before it, or a whole voice."""
    for i in _indices(scene, turns):
        yield from (perturbations.remove_turns(scene, [n]) for n in (i - 1, i) if n >= 0)
    for speaker in dict.fromkeys(t.speaker for t in turns):
        yield perturbations.remove_turns(
            scene, [i for i, t in enumerate(scene.turns) if t.speaker == speaker]
        )


def _swapped_texts(scene: Scene, turns: Sequence[Turn]) -> Iterator[Perturbation]:
    """The words of two turns remembered the wrong way round."""
    for turn in turns:
        for other_turn in scene.turns:
            if normal(turn.text) != normal(other_turn.text) and normal(turn.text) and normal(other_turn.text):
                yield perturbations.swap_texts(scene, *sorted((turn, other_turn), key=lambda t: t.start_ms))


def _changed_overlaps(scene: Scene, turns: Sequence[Turn]) -> Iterator[Perturbation]:
    """Turns said at once taken for a mere change of speaker, or the other way round."""
    for a, b in zip(scene.turns, scene.turns[1:], strict=False):
        if a.speaker != b.speaker and (a in turns or b in turns):
            perturbation = perturbations.remove_overlap(scene, a, b) or perturbations.add_overlap(scene, a, b)
            yield from [perturbation] if perturbation else []


def _sounds_as_voices(scene: Scene) -> Iterator[Perturbation]:
    """A background sound taken for a voice."""
    for event in scene.events:
        if event.label not in UNASKED and event.end_ms - event.start_ms >= 400:
            yield perturbations.insert_turn(scene, Turn(*interval(event), 1), None)


def _replaced_labels(scene: Scene, question: Question, turns: Sequence[Turn]) -> Iterator[Perturbation]:
    """A tone or a meaning that another choice offers."""
    moods = {upper(sounds): name for name, sounds in SOUNDS.items()}
    wrong = [c for i, c in enumerate(question.choices) if i != question.answer_index]
    for turn in turns:
        for choice in wrong:
            if turn.emotion and choice in moods:
                changed = replace(turn, emotion=moods[choice])
                right = _first(SOUNDS.get(n, "") for n in (moods.get(question.answer, ""), turn.emotion))
                yield perturbations.replace_label(
                    scene, turn, changed, "misjudged_tone", lower(choice), right
                )
            elif turn.translation and question.answer == f'"{clean(turn.translation)}"':
                changed = replace(turn, translation=choice.strip('"'))
                meanings = excerpt(choice.strip('"')), excerpt(turn.translation)
                yield perturbations.replace_label(scene, turn, changed, "misunderstood", *meanings)


def _first(texts: Iterable[str]) -> str:
    return next((t for t in texts if t), "")
