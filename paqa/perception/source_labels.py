"""What a source says about speech that no engine hears: its emotion and its translation, on the turns that
were heard.

The words stay those that were heard; only labels are carried over, and only where it is clear whose they are.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from paqa.spans import intersect, interval, overlap, total
from paqa.storage.store import key
from paqa.text import normal
from paqa.types import Clip, Scene, Turn

SHARED = 0.5  # what was heard is a turn of the truth where each covers at least this share of the other
SAME_WORDS = (
    0.8  # a translation is of these words only where so much of its text was heard; two thirds of it are 0.8
)
FOREIGN = 24  # translations of other clips that a clip's questions may choose from


def carry(heard: Scene, truth: Scene | None) -> Scene:
    """The heard scene with the emotions, translations and languages that the truth gives for its turns.

    A label goes to those turns of one voice of which at least half lies in the labelled turn and in no other,
    where they also make up half of that turn; or where there is one turn and one voice only. A translation
    needs the words as well, and makes one turn of those that it translates. The scene itself where no label
    finds its turn.
    """
    if truth is None or not any(t.emotion or t.translation for t in truth.turns):
        return heard
    turns: dict[int, Turn] = dict(enumerate(heard.turns))
    for known, own in _owned(heard, truth):
        turns.update({i: replace(turns[i], emotion=known.emotion) for i in own})
        said = _joined([turns[i] for i in own])
        translation = _translation(said, heard, known, truth)
        if translation and own[-1] - own[0] == len(own) - 1:
            turns[own[0]] = replace(said, translation=translation)
            for i in own[1:]:
                del turns[i]
    found = tuple(turns.values())
    if not any(t.emotion or t.translation for t in found):
        return heard
    target = truth.translated_to if any(t.translation for t in found) else None
    return replace(heard, turns=found, language=truth.language or heard.language, translated_to=target)


def _owned(heard: Scene, truth: Scene) -> Iterator[tuple[Turn, list[int]]]:
    """Each turn of the truth with the indices of the heard turns that are clearly it, said by one voice."""
    homes = [_homes(turn, truth.turns) for turn in heard.turns]
    single = len(truth.turns) == 1 and heard.speakers == 1
    for n, known in enumerate(truth.turns):
        voices: dict[int, list[int]] = {}
        for i, turn in enumerate(heard.turns):
            if homes[i] == [n]:
                voices.setdefault(turn.speaker, []).append(i)
        clear = [own for own in voices.values() if single or _makes_up(known, [heard.turns[i] for i in own])]
        if len(clear) == 1:
            yield known, clear[0]


def _homes(turn: Turn, known: Sequence[Turn]) -> list[int]:
    """The turns in which at least half of this one lies."""
    enough = SHARED * (turn.end_ms - turn.start_ms)
    return [i for i, t in enumerate(known) if 0 < enough <= overlap(interval(turn), interval(t))]


def _makes_up(known: Turn, own: Sequence[Turn]) -> bool:
    shared = total(intersect([interval(known)], [interval(t) for t in own]))
    return shared >= SHARED * (known.end_ms - known.start_ms)


def _joined(turns: Sequence[Turn]) -> Turn:
    return replace(
        turns[0], end_ms=max(t.end_ms for t in turns), text=" ".join(t.text for t in turns if t.text)
    )


def _translation(turn: Turn, heard: Scene, known: Turn, truth: Scene) -> str | None:
    """The known translation where the words heard are those that it translates; without a text, of that
    language.
    """
    if not (turn.text and known.translation and truth.translated_to):
        return None
    if known.text:
        said, wanted = normal(turn.text), normal(known.text)
        alike = difflib.SequenceMatcher(None, said, wanted, autojunk=False).ratio() >= SAME_WORDS
    else:
        alike = truth.language is not None and _tongue(heard.language) == _tongue(truth.language)
    return known.translation if alike else None


def _tongue(language: str | None) -> str:
    """The language of a code without region or script: "zh" of "zh-CN"."""
    return (language or "").replace("_", "-").partition("-")[0].casefold()


def translations(clips: Iterable[Clip]) -> dict[str, tuple[str, ...]]:
    """For each clip whose speech has a translation, by id, those of other clips, as wrong choices for
    questions.

    They come from the same source, side and language. Clips and texts lie on one ring of digests, and a clip
    is given the texts that follow it, so that a new clip changes the choices of few others.
    """
    rings: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
    for clip in clips:
        if clip.truth and clip.truth.translated_to:
            ring = rings.setdefault((clip.corpus, clip.split, clip.truth.translated_to), [])
            ring.append((key("clip", clip.id), clip.id, ""))
            ring += [
                (key("text", t.translation), clip.id, t.translation)
                for t in clip.truth.turns
                if t.translation
            ]
    found = {}
    for ring in rings.values():
        ring.sort()
        for i, (_, name, text) in enumerate(ring):
            if not text:
                following = (ring[(i + n) % len(ring)] for n in range(1, len(ring)))
                others = (t for _, other, t in following if t and other != name)
                found[name] = tuple(islice(dict.fromkeys(others), FOREIGN))
    return found
