"""How a scene may be misheard: what differs between two hearings of it, and what is easily taken for
something else.

Every mishearing is one mistake with its consequences: the scene as somebody believes it to be who makes that
mistake and no other, and what to say about it. Whether a question is answered wrong because of it, is found
by asking again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from paqa.perception.fusion import number_speakers
from paqa.questions.context import alike
from paqa.questions.english import excerpt, span, spans, speakers, spoken
from paqa.questions.sound_names import UNASKED
from paqa.spans import Interval, gap, intersect, interval, merge, overlap, total
from paqa.text import normal
from paqa.types import Event, Scene, Turn, Word

NEAR_MS = 300  # the same sound this near is the same occurrence
SHIFT_MS = 500  # a sound heard this much earlier or later is misplaced
SLIVER_MS = 100  # an overlap shorter than this is none
TALK_MS = 300  # an overlap from which two voices are clearly heard at once
SAID = 0.85  # words less alike than this were misheard


@dataclass(frozen=True)
class Mishearing:
    """One mistake: its cause (a key of `reflect.CAUSES`), the scene as it was taken, and what the causes'
    words need.

    `told` fills the wordings: `at` is where the scene has it, `heard` where it was heard, times being those
    of rows.
    """

    cause: str
    scene: Scene
    told: dict[str, str]


def differences(scene: Scene, heard: Scene) -> list[Mishearing]:
    """Every way in which `heard` differs from `scene`, each alone; both are of the same clip."""
    return [*_sounds_differ(scene, heard), *_voices_differ(scene, heard), *_words_differ(scene, heard)]


def _sounds_differ(scene: Scene, heard: Scene) -> Iterator[Mishearing]:
    missed = _grouped(e for e in _asked(scene) if not any(_one(e, h) for h in heard.events))
    extra = _grouped(h for h in _asked(heard) if not any(_one(h, e) for e in scene.events))
    for label, events in list(missed.items()):
        for other, found in list(extra.items()):
            if any(2 * overlap(interval(e), interval(f)) >= _shorter(e, f) for e in events for f in found):
                yield take_for(scene, events, found)
                missed.pop(label, None)
                extra.pop(other)
    for events in missed.values():
        yield miss_sounds(scene, events)
    for found in extra.values():
        yield imagine_sound(scene, found)
    for event in _asked(scene):
        same = [h for h in heard.events if _one(event, h)]
        if same and abs(min(h.start_ms for h in same) - event.start_ms) >= SHIFT_MS:
            yield misplace(scene, [event], [(min(h.start_ms for h in same), max(h.end_ms for h in same))])


def _asked(scene: Scene) -> list[Event]:
    return [e for e in scene.events if e.label not in UNASKED]


def _one(a: Event, b: Event) -> bool:
    """Whether two hearings mean one and the same occurrence."""
    return gap(interval(a), interval(b)) <= NEAR_MS and alike(a.mid, a.label, b.mid, b.label)


def _grouped(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.label, []).append(event)
    return found


def _shorter(a: Event, b: Event) -> int:
    return min(a.end_ms - a.start_ms, b.end_ms - b.start_ms)


def _changed(scene: Scene, gone: Sequence[Event], new: Sequence[Event]) -> Scene:
    events = [*(e for e in scene.events if e not in gone), *new]
    return replace(scene, events=tuple(sorted(events, key=lambda e: (*interval(e), e.label))))


def _at(rows: Iterable[Event | Turn], most: int = 3) -> str:
    return spans([interval(r) for r in rows], most)


def _elsewhere(heard: str, at: str) -> str:
    """Where it was heard, as far as that is not where it is."""
    return "" if heard == at else f" at {heard}"


def miss_sounds(scene: Scene, events: Sequence[Event]) -> Mishearing:
    """Events of one label that were passed over."""
    told = {"sound": spoken(events[0].label), "at": _at(events)}
    return Mishearing("missed_event", _changed(scene, events, ()), told)


def take_for(scene: Scene, events: Sequence[Event], found: Sequence[Event]) -> Mishearing:
    """Events of one label that were heard as those of another."""
    at, heard = _at(events), _at(found)
    told = {"sound": spoken(events[0].label), "wrong": spoken(found[0].label), "at": at}
    return Mishearing(
        "misheard_sound", _changed(scene, events, found), {**told, "heard": _elsewhere(heard, at)}
    )


def imagine_sound(scene: Scene, found: Sequence[Event]) -> Mishearing:
    """A sound that is not there: a voice taken for it, another sound, or nothing."""
    changed = _changed(scene, (), found)
    told = {"wrong": spoken(found[0].label), "heard": _at(found)}
    shared = {i: sum(overlap(interval(t), interval(f)) for f in found) for i, t in enumerate(scene.turns)}
    best = max(shared, key=lambda i: shared[i], default=None)
    if best is not None and 2 * shared[best] >= sum(f.end_ms - f.start_ms for f in found):
        turn = scene.turns[best]
        return Mishearing(
            "speech_as_sound", changed, told | {"who": speakers([turn.speaker]), "at": _at([turn])}
        )
    return Mishearing("phantom_sound", changed, told)


def misplace(scene: Scene, events: Sequence[Event], heard: Sequence[Interval]) -> Mishearing:
    """Events that were heard at other times."""
    moved = [replace(e, start_ms=a, end_ms=b) for e, (a, b) in zip(events, heard, strict=True)]
    told = {"sound": spoken(events[0].label), "at": _at(events), "heard": _at(moved)}
    return Mishearing("misplaced_sound", _changed(scene, events, moved), told)


def confuse_sounds(scene: Scene, a: Event, b: Event) -> Mishearing:
    """Two sounds of which each was taken for the other."""
    swapped = (replace(a, label=b.label, mid=b.mid), replace(b, label=a.label, mid=a.mid))
    told = {"first": spoken(a.label), "first_at": _at([a]), "second": spoken(b.label), "second_at": _at([b])}
    return Mishearing("confused_sounds", _changed(scene, (a, b), swapped), told)


def split_sound(scene: Scene, event: Event, pause_ms: int = 800) -> Mishearing | None:
    """One long occasion that was taken for two; None where it is too short for that."""
    middle = (event.start_ms + event.end_ms) // 20 * 10
    halves = (replace(event, end_ms=middle - pause_ms // 2), replace(event, start_ms=middle + pause_ms // 2))
    if event.end_ms - event.start_ms < 2 * pause_ms:
        return None
    told = {"sound": spoken(event.label), "at": _at([event])}
    return Mishearing("split_sound", _changed(scene, (event,), halves), told)


def _voices_differ(scene: Scene, heard: Scene) -> Iterator[Mishearing]:
    owners = _owners(scene, heard)
    voices = {v: merge(interval(t) for t in heard.turns if t.speaker == v) for v in owners}
    taken: dict[tuple[int, int], list[int]] = {}
    missed: dict[int, list[int]] = {}
    for i, turn in enumerate(scene.turns):
        length = turn.end_ms - turn.start_ms
        shared = {v: total(intersect([interval(turn)], spoken_)) for v, spoken_ in voices.items()}
        own = sum(ms for v, ms in shared.items() if owners[v] == turn.speaker)
        best = max(shared, key=lambda v: shared[v], default=None)
        if best is None or sum(shared.values()) < 0.3 * length:
            missed.setdefault(turn.speaker, []).append(i)
        elif owners[best] != turn.speaker and shared[best] >= 0.6 * length and own < 0.3 * length:
            taken.setdefault((turn.speaker, best), []).append(i)
    for (_, voice), indices in taken.items():
        yield attribute(scene, indices, owners[voice])
    for indices in missed.values():
        yield miss_turns(scene, indices)
    known = merge(interval(t) for t in scene.turns)
    for turn in heard.turns:
        length = turn.end_ms - turn.start_ms
        if length >= 400 and total(intersect([interval(turn)], known)) < 0.2 * length:
            yield imagine_voice(scene, turn, owners.get(turn.speaker))
    yield from _overlaps_differ(scene, voices, owners)


def _owners(scene: Scene, heard: Scene) -> dict[int, int | None]:
    """For each voice that was heard, whose it is: speakers and voices paired by what they share, most
    first.
    """
    speaking = {
        s: [interval(t) for t in scene.turns if t.speaker == s] for s in {t.speaker for t in scene.turns}
    }
    voices = {
        v: [interval(t) for t in heard.turns if t.speaker == v] for v in {t.speaker for t in heard.turns}
    }
    pairs = {(s, v): total(intersect(a, b)) for s, a in speaking.items() for v, b in voices.items()}
    owners: dict[int, int | None] = {}
    for s, v in sorted(pairs, key=lambda p: (-pairs[p], p)):
        if pairs[s, v] and v not in owners and s not in owners.values():
            owners[v] = s
    return {v: owners.get(v) for v in voices}


def _overlaps_differ(
    scene: Scene, voices: dict[int, list[Interval]], owners: dict[int, int | None]
) -> Iterator[Mishearing]:
    """Pairs of turns said at once of which that was not heard, and the other way round."""
    mine = {owner: voices[v] for v, owner in owners.items()}
    for a, b in pairwise(scene.turns):
        if a.speaker == b.speaker or a.speaker not in mine or b.speaker not in mine:
            continue
        window = [(a.start_ms, max(a.end_ms, b.end_ms))]
        heard = total(intersect(intersect(mine[a.speaker], mine[b.speaker]), window))
        real = overlap(interval(a), interval(b))
        if (real >= TALK_MS and heard < SLIVER_MS) or (real < SLIVER_MS and heard >= TALK_MS):
            found = separate(scene, a, b) if real >= TALK_MS else join(scene, a, b)
            if found:
                yield found


def _said(scene: Scene, gone: Sequence[Turn], new: Sequence[Turn]) -> Scene:
    return replace(scene, turns=tuple(number_speakers([*(t for t in scene.turns if t not in gone), *new])))


def _newcomer(scene: Scene) -> int:
    return 1 + max((t.speaker for t in scene.turns), default=0)


def _words(turns: Sequence[Turn]) -> str:
    """The first words of some turns, where they are known."""
    first = next((t.text for t in turns if normal(t.text)), "")
    return f" ({excerpt(first)})" if first else ""


def attribute(scene: Scene, indices: Sequence[int], speaker: int | None) -> Mishearing:
    """Turns of one speaker that were taken for another's, or (None) for those of a further voice."""
    turns = [scene.turns[i] for i in indices]
    new = [replace(t, speaker=speaker or _newcomer(scene)) for t in turns]
    told = {
        "who": speakers([turns[0].speaker]),
        "wrong": speakers([speaker]) if speaker else "somebody else",
        "at": _at(turns),
        "words": _words(turns),
    }
    return Mishearing("speaker_attribution", _said(scene, turns, new), told)


def miss_turns(scene: Scene, indices: Sequence[int]) -> Mishearing:
    """Turns of one speaker that were passed over."""
    turns = [scene.turns[i] for i in indices]
    told = {"who": speakers([turns[0].speaker]), "at": _at(turns), "words": _words(turns)}
    return Mishearing("missed_speech", _said(scene, turns, ()), told)


def imagine_voice(scene: Scene, turn: Turn, speaker: int | None) -> Mishearing:
    """A voice where nobody speaks: a sound taken for it, or nothing."""
    changed = _said(scene, (), [replace(turn, speaker=speaker or _newcomer(scene), text="")])
    told = {"heard": _at([turn]), "wrong": speakers([speaker]) if speaker else "another voice"}
    event = max(_asked(scene), key=lambda e: overlap(interval(e), interval(turn)), default=None)
    if event and 2 * overlap(interval(event), interval(turn)) >= turn.end_ms - turn.start_ms:
        at = _at([event])
        told |= {"sound": spoken(event.label), "at": at, "heard": _elsewhere(told["heard"], at)}
        return Mishearing("background_as_speech", changed, told)
    return Mishearing("phantom_speech", changed, told)


def separate(scene: Scene, a: Turn, b: Turn) -> Mishearing | None:
    """Two turns said at once (`a` starts first) that were heard one after the other."""
    if not a.start_ms < b.start_ms < a.end_ms:
        return None
    changed = _said(
        scene, [a, b], [replace(a, end_ms=b.start_ms), replace(b, end_ms=max(a.end_ms, b.end_ms))]
    )
    return Mishearing(
        "missed_overlap", changed, _both(a, b) | {"shared": span((b.start_ms, min(a.end_ms, b.end_ms)))}
    )


def join(scene: Scene, a: Turn, b: Turn, by_ms: int = 1000) -> Mishearing | None:
    """Two turns said one after the other that were heard at once; None where the second is too short for
    that.
    """
    end = min(b.start_ms + by_ms, b.end_ms)
    if end - b.start_ms < TALK_MS or a.end_ms > b.start_ms:
        return None
    return Mishearing("phantom_overlap", _said(scene, [a], [replace(a, end_ms=end)]), _both(a, b))


def _both(a: Turn, b: Turn) -> dict[str, str]:
    return {
        "first": speakers([a.speaker]),
        "first_at": _at([a]),
        "second": speakers([b.speaker]),
        "second_at": _at([b]),
    }


def confuse_lines(scene: Scene, a: Turn, b: Turn) -> Mishearing:
    """Two turns whose words were taken for one another's."""
    told = {"first": excerpt(a.text), "first_at": _at([a]), "second": excerpt(b.text), "second_at": _at([b])}
    return Mishearing(
        "confused_lines", _said(scene, [a, b], [replace(a, text=b.text), replace(b, text=a.text)]), told
    )


def _words_differ(scene: Scene, heard: Scene) -> Iterator[Mishearing]:
    for turn in scene.turns:
        text = _between(heard.words, turn)
        known, found = normal(turn.text).split(), normal(text).split()
        if known and found and difflib.SequenceMatcher(None, known, found, autojunk=False).ratio() < SAID:
            told = {"who": speakers([turn.speaker]), "at": _at([turn]), "words": excerpt(turn.text, 8)}
            changed = _said(scene, [turn], [replace(turn, text=text)])
            yield Mishearing("misheard_words", changed, told | {"wrong": excerpt(text, 8)})


def _between(words: Sequence[Word], turn: Turn) -> str:
    return " ".join(w.text for w in words if turn.start_ms <= (w.start_ms + w.end_ms) / 2 < turn.end_ms)


def relabel(scene: Scene, turn: Turn, taken: Turn, cause: str, wrong: str, right: str) -> Mishearing:
    """A turn whose emotion or translation was judged wrongly, as in `taken`: told as `wrong` in place of
    `right`.
    """
    told = {"who": speakers([turn.speaker]), "at": _at([turn]), "wrong": wrong, "right": right}
    return Mishearing(cause, _said(scene, [turn], [taken]), told)
