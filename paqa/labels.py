"""What a source says about speech that no engine hears: its emotion and its translation, on the turns that were heard.

The words stay those that were heard; only labels are carried over, and only where it is clear whose they are.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from paqa.questions.prose import normal
from paqa.spans import interval, overlap
from paqa.store import key
from paqa.types import Clip, Scene, Turn

SHARED = 0.5  # two turns are one where each covers at least this share of the other
SAME_WORDS = 0.8  # a translation is of these words only where so much of its text was heard; two thirds of it are 0.8
FOREIGN = 24  # translations of other clips that a clip's questions may choose from


def carry(heard: Scene, truth: Scene | None) -> Scene:
    """The heard scene with the emotions, translations and languages that the truth gives for its turns.

    A truth of one turn over the whole clip is about everything that was heard, where that was one voice; otherwise a
    label goes from turn to turn, where these share at least half of either. The scene itself where nothing is labelled.
    """
    if truth is None or not any(t.emotion or t.translation for t in truth.turns):
        return heard
    turns = _whole(heard, truth) if _is_whole(truth) and heard.speakers == 1 else _pairwise(heard, truth)
    if not any(t.emotion or t.translation for t in turns):
        return heard
    target = truth.translated_to if any(t.translation for t in turns) else None
    return replace(heard, turns=turns, language=truth.language or heard.language, translated_to=target)


def _is_whole(truth: Scene) -> bool:
    return [interval(t) for t in truth.turns] == [(0, truth.duration_ms)]


def _whole(heard: Scene, truth: Scene) -> tuple[Turn, ...]:
    """All heard turns with the one emotion; as one turn where the words of all are what was translated."""
    (known,) = truth.turns
    turns = tuple(replace(t, emotion=known.emotion) for t in heard.turns)
    said = replace(turns[0], end_ms=max(t.end_ms for t in turns), text=heard.transcript)
    translation = _translation(said, heard, known, truth)
    return (replace(said, translation=translation),) if translation else turns


def _pairwise(heard: Scene, truth: Scene) -> tuple[Turn, ...]:
    return tuple(_labelled(turn, heard, _partners(turn, truth.turns), truth) for turn in heard.turns)


def _labelled(turn: Turn, heard: Scene, known: Sequence[Turn], truth: Scene) -> Turn:
    """The turn with the labels of its partner in the truth; with none where it has several that are labelled."""
    if len(known) != 1:
        return turn
    return replace(turn, emotion=known[0].emotion, translation=_translation(turn, heard, known[0], truth))


def _partners(turn: Turn, known: Sequence[Turn]) -> list[Turn]:
    """The turns that share at least half of this one's length and of their own."""
    span = interval(turn)
    longest = [(t, max(t.end_ms - t.start_ms, turn.end_ms - turn.start_ms)) for t in known]
    return [t for t, ms in longest if 0 < SHARED * ms <= overlap(span, interval(t))]


def _translation(turn: Turn, heard: Scene, known: Turn, truth: Scene) -> str | None:
    """The known translation where the words heard are those that it translates; without a text, of that language."""
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
    """For each clip whose speech has a translation, by id, those of other clips, as wrong choices for questions.

    They come from the same source, side and language. Clips and texts lie on one ring of digests, and a clip is given
    the texts that follow it, so that a new clip changes the choices of few others.
    """
    rings: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
    for clip in clips:
        if clip.truth and clip.truth.translated_to:
            ring = rings.setdefault((clip.corpus, clip.split, clip.truth.translated_to), [])
            ring.append((key("clip", clip.id), clip.id, ""))
            ring += [(key("text", t.translation), clip.id, t.translation) for t in clip.truth.turns if t.translation]
    found = {}
    for ring in rings.values():
        ring.sort()
        for i, (_, name, text) in enumerate(ring):
            if not text:
                following = (ring[(i + n) % len(ring)] for n in range(1, len(ring)))
                others = (t for _, other, t in following if t and other != name)
                found[name] = tuple(islice(dict.fromkeys(others), FOREIGN))
    return found
