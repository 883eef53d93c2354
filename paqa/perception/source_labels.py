"""Labels of a source that no engine predicts, emotions and translations, on turns of a predicted scene.

The words stay the predicted ones. A label is carried over only where it is clear whose it is.
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

SHARED = 0.5  # a predicted turn is one of the truth where each covers at least this share of the other
# A translation is of the predicted words only where they are this similar to the text that it translates:
# where two thirds of that text were predicted, the similarity is 0.8.
SAME_WORDS = 0.8
MAX_CHOICES = 24  # translations of other clips that a clip's questions may choose from


def carry_labels(predicted: Scene, truth: Scene | None) -> Scene:
    """The predicted scene with the emotions, translations and language that the truth gives for its turns.

    A label goes to those turns of one speaker of which at least half lies in the labelled turn and in no
    other, where they also cover half of that turn; or where there is one turn and one speaker only. A
    translation needs the words as well, and makes one turn of those that it translates. The scene itself
    where no label finds its turn.
    """
    if truth is None or not any(t.emotion or t.translation for t in truth.turns):
        return predicted
    by_index: dict[int, Turn] = dict(enumerate(predicted.turns))
    for labelled, indices in _matching_turns(predicted, truth):
        by_index.update({i: replace(by_index[i], emotion=labelled.emotion) for i in indices})
        joined = _joined([by_index[i] for i in indices])
        translation = _translation(joined, predicted, labelled, truth)
        if translation and indices[-1] - indices[0] == len(indices) - 1:
            by_index[indices[0]] = replace(joined, translation=translation)
            for i in indices[1:]:
                del by_index[i]
    turns = tuple(by_index.values())
    if not any(t.emotion or t.translation for t in turns):
        return predicted
    target = truth.translated_to if any(t.translation for t in turns) else None
    language = truth.language or predicted.language
    return replace(predicted, turns=turns, language=language, translated_to=target)


def _matching_turns(predicted: Scene, truth: Scene) -> Iterator[tuple[Turn, list[int]]]:
    """Each turn of the truth with the indices of the predicted turns, of one speaker, that are clearly it."""
    true_turns = [_containing(turn, truth.turns) for turn in predicted.turns]
    single = len(truth.turns) == 1 and predicted.speakers == 1
    for n, labelled in enumerate(truth.turns):
        by_speaker: dict[int, list[int]] = {}
        for i, turn in enumerate(predicted.turns):
            if true_turns[i] == [n]:
                by_speaker.setdefault(turn.speaker, []).append(i)
        matches = []
        for indices in by_speaker.values():
            if single or _cover_enough([predicted.turns[i] for i in indices], labelled):
                matches.append(indices)
        if len(matches) == 1:
            yield labelled, matches[0]


def _containing(turn: Turn, true_turns: Sequence[Turn]) -> list[int]:
    """The indices of the true turns in which at least the share SHARED of this one lies."""
    enough = SHARED * (turn.end_ms - turn.start_ms)
    return [i for i, t in enumerate(true_turns) if 0 < enough <= overlap(interval(turn), interval(t))]


def _cover_enough(turns: Sequence[Turn], labelled: Turn) -> bool:
    """Whether turns cover at least the share SHARED of the labelled one."""
    covered = total(intersect([interval(labelled)], [interval(t) for t in turns]))
    return covered >= SHARED * (labelled.end_ms - labelled.start_ms)


def _joined(turns: Sequence[Turn]) -> Turn:
    """Consecutive turns of one speaker as one."""
    text = " ".join(t.text for t in turns if t.text)
    return replace(turns[0], end_ms=max(t.end_ms for t in turns), text=text)


def _translation(turn: Turn, predicted: Scene, labelled: Turn, truth: Scene) -> str | None:
    """The translation of the labelled turn where the predicted words are those that it translates.

    Where the source gives no text to compare them with, the languages have to be the same.
    """
    if not (turn.text and labelled.translation and truth.translated_to):
        return None
    if labelled.text:
        matcher = difflib.SequenceMatcher(None, normal(turn.text), normal(labelled.text), autojunk=False)
        alike = matcher.ratio() >= SAME_WORDS
    else:
        languages = _base_language(predicted.language), _base_language(truth.language)
        alike = truth.language is not None and languages[0] == languages[1]
    return labelled.translation if alike else None


def _base_language(language: str | None) -> str:
    """The language of a code without region or script: "zh" of "zh-CN"."""
    return (language or "").replace("_", "-").partition("-")[0].casefold()


def translation_choices(clips: Iterable[Clip]) -> dict[str, tuple[str, ...]]:
    """Translations of other clips, by the id of a clip whose speech has one: wrong choices for questions.

    They come from the same source, split and language. Clips and texts lie on one ring of digests, and a
    clip gets the texts that follow it, so that a new clip changes the choices of few others.
    """
    rings: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}  # of (digest, clip id, text or "")
    for clip in clips:
        if clip.truth and clip.truth.translated_to:
            ring = rings.setdefault((clip.corpus, clip.split, clip.truth.translated_to), [])
            ring.append((key("clip", clip.id), clip.id, ""))
            texts = [t.translation for t in clip.truth.turns if t.translation]
            ring += [(key("text", text), clip.id, text) for text in texts]
    choices = {}
    for ring in rings.values():
        ring.sort()
        for i, (_, clip_id, text) in enumerate(ring):
            if not text:
                following = (ring[(i + n) % len(ring)] for n in range(1, len(ring)))
                texts_of_others = (t for _, other_id, t in following if t and other_id != clip_id)
                choices[clip_id] = tuple(islice(dict.fromkeys(texts_of_others), MAX_CHOICES))
    return choices
