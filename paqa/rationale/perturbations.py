"""How a scene may be misheard: what differs between two scenes of a clip, and changes made on purpose.

A perturbation is one mistake with its consequences: the scene as it would be with that mistake and no other,
and what to say about it. Whether a question is then answered wrong is found by asking it again
(`answerer.answer_from_scene`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

from paqa.perception.fusion import number_speakers
from paqa.questions.context import alike
from paqa.questions.english import excerpt, span, spans, speakers, spoken
from paqa.questions.sound_names import UNASKED
from paqa.spans import Interval, gap, intersect, interval, merge, overlap, total
from paqa.text import UNCLEAR_WORD, normal
from paqa.types import Event, Scene, Turn, Word

NEAR_MS = 300  # two events of a sound this near are the same occurrence
SHIFT_MS = 500  # a sound predicted this much earlier or later is misplaced
SLIVER_MS = 100  # an overlap shorter than this does not count as one
TALK_MS = 300  # an overlap from which two voices clearly talk at once
SAME_WORDS_RATIO = 0.85  # words less alike than this were misheard


@dataclass(frozen=True)
class Perturbation:
    """One mistake: its cause (a key of `phrases.CAUSES`) and the scene as it is with that mistake.

    `slots` fill the wordings of `phrases`: `at` is where the scene has the sound or turn, `heard` where the
    mistaken scene has it.
    """

    cause: str
    scene: Scene
    slots: dict[str, str]


def differences(scene: Scene, predicted: Scene) -> list[Perturbation]:
    """Every way in which `predicted` differs from `scene`, each alone; both are of the same clip."""
    return [
        *_sounds_differ(scene, predicted),
        *_voices_differ(scene, predicted),
        *_words_differ(scene, predicted),
    ]


def _sounds_differ(scene: Scene, predicted: Scene) -> Iterator[Perturbation]:
    missed = by_label(_unmatched(askable_events(scene), predicted.events))
    # What was predicted where the background is unclear may be right: it is no mistake.
    unclear = [interval(u) for u in scene.unclear]
    claimed = [e for e in askable_events(predicted) if not intersect([interval(e)], unclear)]
    extra = by_label(_unmatched(claimed, scene.events))
    for label, events in list(missed.items()):
        for predicted_label, predicted_events in list(extra.items()):
            pairs = product(events, predicted_events)
            if any(2 * overlap(interval(e), interval(p)) >= _shorter(e, p) for e, p in pairs):
                yield replace_sounds(scene, events, predicted_events)
                missed.pop(label, None)
                extra.pop(predicted_label)
    for events in missed.values():
        yield remove_sounds(scene, events)
    for predicted_events in extra.values():
        yield insert_sound(scene, predicted_events)
    for event in askable_events(scene):
        matches = [h for h in predicted.events if _same_occurrence(event, h)]
        if matches and abs(min(h.start_ms for h in matches) - event.start_ms) >= SHIFT_MS:
            yield move_sounds(
                scene, [event], [(min(h.start_ms for h in matches), max(h.end_ms for h in matches))]
            )


def askable_events(scene: Scene) -> list[Event]:
    """The events that questions may be about."""
    return [e for e in scene.events if e.label not in UNASKED]


def _unmatched(events: Iterable[Event], others: Sequence[Event]) -> list[Event]:
    """The events that are the same occurrence as none of the others."""
    return [e for e in events if not any(_same_occurrence(e, other_event) for other_event in others)]


def _same_occurrence(a: Event, b: Event) -> bool:
    """Whether an event of one scene and one of the other mean the same occurrence of a sound."""
    return gap(interval(a), interval(b)) <= NEAR_MS and alike(a.mid, a.label, b.mid, b.label)


def by_label(events: Iterable[Event]) -> dict[str, list[Event]]:
    """The events of each label, in the order in which labels first occur."""
    groups: dict[str, list[Event]] = {}
    for event in events:
        groups.setdefault(event.label, []).append(event)
    return groups


def _shorter(a: Event, b: Event) -> int:
    return min(a.end_ms - a.start_ms, b.end_ms - b.start_ms)


def _with_events(scene: Scene, gone: Sequence[Event], new: Sequence[Event]) -> Scene:
    events = [*(e for e in scene.events if e not in gone), *new]
    return replace(scene, events=tuple(sorted(events, key=lambda e: (*interval(e), e.label))))


def _at(rows: Iterable[Event | Turn], most: int = 4) -> str:
    return spans([interval(r) for r in rows], most)


def _where_predicted(predicted_at: str, at: str) -> str:
    """Where the mistaken scene has it, empty where that is the same place."""
    return "" if predicted_at == at else f" at {predicted_at}"


def remove_sounds(scene: Scene, events: Sequence[Event]) -> Perturbation:
    """A scene without some events of one label."""
    slots = {"sound": spoken(events[0].label), "at": _at(events)}
    return Perturbation("missed_event", _with_events(scene, events, ()), slots)


def replace_sounds(scene: Scene, events: Sequence[Event], replacements: Sequence[Event]) -> Perturbation:
    """Events of one label taken for those of another."""
    at, predicted_at = _at(events), _at(replacements)
    slots = {"sound": spoken(events[0].label), "wrong": spoken(replacements[0].label), "at": at}
    return Perturbation(
        "misheard_sound",
        _with_events(scene, events, replacements),
        {**slots, "heard": _where_predicted(predicted_at, at)},
    )


def insert_sound(scene: Scene, inserted: Sequence[Event]) -> Perturbation:
    """A sound that is not there: a voice taken for it, or nothing."""
    changed = _with_events(scene, (), inserted)
    slots = {"wrong": spoken(inserted[0].label), "heard": _at(inserted)}
    shared = {i: sum(overlap(interval(t), interval(f)) for f in inserted) for i, t in enumerate(scene.turns)}
    best = max(shared, key=lambda i: shared[i], default=None)
    if best is not None and 2 * shared[best] >= sum(f.end_ms - f.start_ms for f in inserted):
        turn = scene.turns[best]
        return Perturbation(
            "speech_as_sound", changed, slots | {"who": speakers([turn.speaker]), "at": _at([turn])}
        )
    return Perturbation("phantom_sound", changed, slots)


def move_sounds(scene: Scene, events: Sequence[Event], new_spans: Sequence[Interval]) -> Perturbation:
    """Events placed at other times."""
    moved = [replace(e, start_ms=a, end_ms=b) for e, (a, b) in zip(events, new_spans, strict=True)]
    slots = {"sound": spoken(events[0].label), "at": _at(events), "heard": _at(moved)}
    return Perturbation("misplaced_sound", _with_events(scene, events, moved), slots)


def swap_sounds(scene: Scene, a: Event, b: Event) -> Perturbation:
    """Two sounds, each taken for the other."""
    swapped = (replace(a, label=b.label, mid=b.mid), replace(b, label=a.label, mid=a.mid))
    slots = {"first": spoken(a.label), "first_at": _at([a]), "second": spoken(b.label), "second_at": _at([b])}
    return Perturbation("confused_sounds", _with_events(scene, (a, b), swapped), slots)


def split_sound(scene: Scene, event: Event, pause_ms: int = 800) -> Perturbation | None:
    """One long event taken for two with a pause between; None where it is too short for that."""
    middle = (event.start_ms + event.end_ms) // 20 * 10
    halves = (replace(event, end_ms=middle - pause_ms // 2), replace(event, start_ms=middle + pause_ms // 2))
    if event.end_ms - event.start_ms < 2 * pause_ms:
        return None
    slots = {"sound": spoken(event.label), "at": _at([event])}
    return Perturbation("split_sound", _with_events(scene, (event,), halves), slots)


def _voices_differ(scene: Scene, predicted: Scene) -> Iterator[Perturbation]:
    owners = _owners(scene, predicted)
    voices = {v: merge(interval(t) for t in predicted.turns if t.speaker == v) for v in owners}
    misattributed: dict[tuple[int, int], list[int]] = {}
    missed: dict[int, list[int]] = {}
    for i, turn in enumerate(scene.turns):
        length_ms = turn.end_ms - turn.start_ms
        shared = {v: total(intersect([interval(turn)], stretches)) for v, stretches in voices.items()}
        correct_ms = sum(ms for v, ms in shared.items() if owners[v] == turn.speaker)
        best = max(shared, key=lambda v: shared[v], default=None)
        if best is None or sum(shared.values()) < 0.3 * length_ms:
            missed.setdefault(turn.speaker, []).append(i)
        elif (
            owners[best] != turn.speaker and shared[best] >= 0.6 * length_ms and correct_ms < 0.3 * length_ms
        ):
            misattributed.setdefault((turn.speaker, best), []).append(i)
    for (_, voice), indices in misattributed.items():
        yield reassign_turns(scene, indices, owners[voice])
    for indices in missed.values():
        yield remove_turns(scene, indices)
    speech = merge(interval(t) for t in scene.turns)
    for turn in predicted.turns:
        length_ms = turn.end_ms - turn.start_ms
        if length_ms >= 400 and total(intersect([interval(turn)], speech)) < 0.2 * length_ms:
            yield insert_turn(scene, turn, owners.get(turn.speaker))
    yield from _overlaps_differ(scene, voices, owners)


def _owners(scene: Scene, predicted: Scene) -> dict[int, int | None]:
    """For each predicted voice its speaker: paired one to one, most shared time first; None if left over."""
    speakers_speech, voices_speech = _speech_by_number(scene), _speech_by_number(predicted)
    pairs = {
        (s, v): total(intersect(speakers_speech[s], voices_speech[v]))
        for s, v in product(speakers_speech, voices_speech)
    }
    owners: dict[int, int | None] = {}
    for s, v in sorted(pairs, key=lambda p: (-pairs[p], p)):
        if pairs[s, v] and v not in owners and s not in owners.values():
            owners[v] = s
    return {v: owners.get(v) for v in voices_speech}


def _speech_by_number(scene: Scene) -> dict[int, list[Interval]]:
    numbers = {t.speaker for t in scene.turns}
    return {s: [interval(t) for t in scene.turns if t.speaker == s] for s in numbers}


def _overlaps_differ(
    scene: Scene, voices: dict[int, list[Interval]], owners: dict[int, int | None]
) -> Iterator[Perturbation]:
    """Pairs of turns that overlap in the scene and not in the prediction, or the other way round."""
    speech_by_owner = {owner: voices[v] for v, owner in owners.items()}
    for a, b in pairwise(scene.turns):
        if a.speaker == b.speaker or a.speaker not in speech_by_owner or b.speaker not in speech_by_owner:
            continue
        window = [(a.start_ms, max(a.end_ms, b.end_ms))]
        predicted_ms = total(
            intersect(intersect(speech_by_owner[a.speaker], speech_by_owner[b.speaker]), window)
        )
        scene_ms = overlap(interval(a), interval(b))
        perturbation = None
        if scene_ms >= TALK_MS and predicted_ms < SLIVER_MS:
            perturbation = remove_overlap(scene, a, b)
        elif scene_ms < SLIVER_MS and predicted_ms >= TALK_MS:
            perturbation = add_overlap(scene, a, b)
        if perturbation:
            yield perturbation


def _with_turns(scene: Scene, gone: Sequence[Turn], new: Sequence[Turn]) -> Scene:
    return replace(scene, turns=tuple(number_speakers([*(t for t in scene.turns if t not in gone), *new])))


def _newcomer(scene: Scene) -> int:
    return 1 + max((t.speaker for t in scene.turns), default=0)


def _first_words(turns: Sequence[Turn]) -> str:
    """The first words of some turns, where they are known."""
    first = next((t.text for t in turns if normal(t.text)), "")
    return f" ({excerpt(first)})" if first else ""


def reassign_turns(scene: Scene, indices: Sequence[int], speaker: int | None) -> Perturbation:
    """Turns of one speaker taken for another's, or (None) for those of a further voice.

    Numbers follow from who speaks first, so the caption may give other turns another number than these: the
    mistake is then told of those.
    """
    turns = [scene.turns[i] for i in indices]
    new = [replace(t, speaker=speaker or _newcomer(scene)) for t in turns]
    changed = _with_turns(scene, turns, new)
    numbers = _numbers(changed)
    differing = [t for t in (*turns, *scene.turns) if numbers[_row(t)] != t.speaker] or turns
    wrong = numbers[_row(differing[0])]
    differing = [t for t in differing if (t.speaker, numbers[_row(t)]) == (differing[0].speaker, wrong)]
    stated = [t for t in scene.turns if t in differing]
    others = [t for t in scene.turns if t not in stated and numbers[_row(t)] == wrong]
    slots = {
        "who": speakers([stated[0].speaker]),
        "wrong": speakers([wrong]) if others else "somebody else",
        "at": _at(stated),
        "words": _first_words(stated),
    }
    return Perturbation("speaker_attribution", changed, slots)


def _numbers(scene: Scene) -> dict[tuple[int, int, str], int]:
    """The speaker of each turn, by what a change of speakers leaves as it is."""
    return {_row(turn): turn.speaker for turn in scene.turns}


def _row(turn: Turn) -> tuple[int, int, str]:
    return (*interval(turn), turn.text)


def remove_turns(scene: Scene, indices: Sequence[int]) -> Perturbation:
    """A scene without some turns of one speaker."""
    turns = [scene.turns[i] for i in indices]
    slots = {"who": speakers([turns[0].speaker]), "at": _at(turns), "words": _first_words(turns)}
    return Perturbation("missed_speech", _with_turns(scene, turns, ()), slots)


def insert_turn(scene: Scene, turn: Turn, speaker: int | None) -> Perturbation:
    """A voice where nobody speaks: a sound taken for it, or nothing."""
    inserted = replace(turn, speaker=speaker or _newcomer(scene), text="")
    changed = _with_turns(scene, (), [inserted])
    number = _numbers(changed)[_row(inserted)]
    shared = sum(t.speaker == number for t in changed.turns) > 1
    slots = {"heard": _at([turn]), "wrong": speakers([number]) if shared else "another voice"}
    event = max(askable_events(scene), key=lambda e: overlap(interval(e), interval(turn)), default=None)
    if event and 2 * overlap(interval(event), interval(turn)) >= turn.end_ms - turn.start_ms:
        at = _at([event])
        slots |= {"sound": spoken(event.label), "at": at, "heard": _where_predicted(slots["heard"], at)}
        return Perturbation("background_as_speech", changed, slots)
    return Perturbation("phantom_speech", changed, slots)


def remove_overlap(scene: Scene, a: Turn, b: Turn) -> Perturbation | None:
    """Two turns that overlap (`a` starts first) taken as one after the other; None where they do not."""
    if not a.start_ms < b.start_ms < a.end_ms:
        return None
    changed = _with_turns(
        scene, [a, b], [replace(a, end_ms=b.start_ms), replace(b, end_ms=max(a.end_ms, b.end_ms))]
    )
    return Perturbation(
        "missed_overlap", changed, _pair_slots(a, b) | {"shared": span((b.start_ms, min(a.end_ms, b.end_ms)))}
    )


def add_overlap(scene: Scene, a: Turn, b: Turn, by_ms: int = 1000) -> Perturbation | None:
    """Two turns said one after the other, taken as overlapping; None where the second is too short."""
    end = min(b.start_ms + by_ms, b.end_ms)
    if end - b.start_ms < TALK_MS or a.end_ms > b.start_ms:
        return None
    return Perturbation(
        "phantom_overlap", _with_turns(scene, [a], [replace(a, end_ms=end)]), _pair_slots(a, b)
    )


def _pair_slots(a: Turn, b: Turn) -> dict[str, str]:
    return {
        "first": speakers([a.speaker]),
        "first_at": _at([a]),
        "second": speakers([b.speaker]),
        "second_at": _at([b]),
    }


def swap_texts(scene: Scene, a: Turn, b: Turn) -> Perturbation:
    """Two turns whose words have changed places."""
    slots = {"first": excerpt(a.text), "first_at": _at([a]), "second": excerpt(b.text), "second_at": _at([b])}
    return Perturbation(
        "confused_lines",
        _with_turns(scene, [a, b], [replace(a, text=b.text), replace(b, text=a.text)]),
        slots,
    )


def _words_differ(scene: Scene, predicted: Scene) -> Iterator[Perturbation]:
    for turn in scene.turns:
        if UNCLEAR_WORD in turn.text:
            continue  # which of the words are right is not known
        text = _words_within(predicted.words, turn)
        scene_words, predicted_words = normal(turn.text).split(), normal(text).split()
        if (
            scene_words
            and predicted_words
            and difflib.SequenceMatcher(None, scene_words, predicted_words, autojunk=False).ratio()
            < SAME_WORDS_RATIO
        ):
            slots = {"who": speakers([turn.speaker]), "at": _at([turn]), "words": excerpt(turn.text, 8)}
            changed = _with_turns(scene, [turn], [replace(turn, text=text)])
            yield Perturbation("misheard_words", changed, slots | {"wrong": excerpt(text, 8)})


def _words_within(words: Sequence[Word], turn: Turn) -> str:
    return " ".join(w.text for w in words if turn.start_ms <= (w.start_ms + w.end_ms) / 2 < turn.end_ms)


def replace_label(scene: Scene, turn: Turn, taken: Turn, cause: str, wrong: str, right: str) -> Perturbation:
    """A turn with a wrong emotion or translation, as in `taken`: `wrong` in place of `right`."""
    slots = {"who": speakers([turn.speaker]), "at": _at([turn]), "wrong": wrong, "right": right}
    return Perturbation(cause, _with_turns(scene, [turn], [taken]), slots)
