"""Single words of the truth: where a phrase is, when a word is said, how long the pause after it is.

Words are those of `quotation.true_words`, by their index there. A truth with word times places them by these,
another one by their letters, as far as pauses inside of the turn leave that open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise

from paqa.evaluation.known_truth import Rules
from paqa.evaluation.quotation import ANY, UNCLEAR, Place, TrueWord, misquoted, places, tokens, true_words
from paqa.spans import Interval, interval
from paqa.text import normal
from paqa.types import Scene

SHORT_PHRASE = 3  # in a phrase of fewer words, one wrong word makes it another phrase


@dataclass(frozen=True)
class WrittenWord:
    """A word between two spaces, in normal text; `first` and `last` are indices of true words."""

    text: str
    turn: int
    first: int
    last: int


@dataclass(frozen=True)
class WordMoment:
    """The middle of a word as it is estimated, and the earliest and latest that it may be."""

    middle_ms: int
    earliest_ms: int
    latest_ms: int


def phrase_places(phrase: str, scene: Scene) -> list[Place]:
    """Where a phrase is: word for word as it is written, else as `quotation.places` has it.

    Out of its context a phrase may be normalised to other words: "five" of "twenty five" is no part of "25".
    """
    near = places(phrase, scene)
    exact = [] if UNCLEAR in phrase else _written_places(phrase, scene)
    if not exact:
        return near
    spans = {(place.first, place.last) for place in exact}
    return [*exact, *(p for p in near if not p.errors and (p.first, p.last) not in spans)]


def phrase_misquoted(place: Place, rules: Rules) -> bool:
    """Whether too many words of a phrase are wrong: of a short one, any."""
    return misquoted(place, rules.word_error, rules.short_errors if place.words >= SHORT_PHRASE else 0)


def has_unclear_words(scene: Scene) -> bool:
    """Whether the truth itself leaves words open: any word may be said there."""
    return any(word.text == ANY for word in true_words(scene))


def _written_places(phrase: str, scene: Scene) -> list[Place]:
    texts = [text for raw in phrase.split() if (text := normal(raw))]
    words, written = true_words(scene), written_words(scene)
    matches: list[Place] = []
    for at in range(len(written) - len(texts) + 1 if texts else 0):
        group = written[at : at + len(texts)]
        if group[0].turn != group[-1].turn or [w.text for w in group] != texts:
            continue
        first, last = words[group[0].first], words[group[-1].last]
        matches.append(
            Place(
                first.speaker,
                first.start_ms,
                last.end_ms,
                words=len(texts),
                first=group[0].first,
                last=group[-1].last,
            )
        )
    return matches


@lru_cache(maxsize=256)
def written_words(scene: Scene) -> tuple[WrittenWord, ...]:
    """The words of all turns as they are written, without those that no true word stands for ("uh")."""
    written = []
    for turn, indices in enumerate(_indices_by_turn(scene)):
        raw = [(text, word) for word in scene.turns[turn].text.split() if (text := normal(word))]
        single = [(token, n) for n, (_, word) in enumerate(raw) for token in tokens(word, scene.language)]
        covered: dict[int, list[int]] = {}
        for index, numbers in _aligned(scene, indices, [token for token, _ in single]):
            for number in numbers:
                covered.setdefault(single[number][1], []).append(index)
        written += [WrittenWord(raw[n][0], turn, min(covered[n]), max(covered[n])) for n in sorted(covered)]
    return tuple(written)


@lru_cache(maxsize=256)
def word_spans(scene: Scene) -> tuple[Interval | None, ...]:
    """When each true word begins and ends by the words of the scene; None where these do not have it."""
    spans: list[Interval | None] = [None] * len(true_words(scene))
    for turn, indices in zip(scene.turns, _indices_by_turn(scene), strict=True):
        timed = [
            (token, interval(word))
            for word in scene.words
            if word.speaker in (turn.speaker, None) and turn.start_ms <= word.start_ms < turn.end_ms
            for token in tokens(word.text, scene.language)
        ]
        for index, numbers in _aligned(scene, indices, [token for token, _ in timed]):
            spans[index] = (timed[numbers[0]][1][0], timed[numbers[-1]][1][1])
    return tuple(spans)


def _indices_by_turn(scene: Scene) -> list[list[int]]:
    indices: list[list[int]] = [[] for _ in scene.turns]
    for index, word in enumerate(true_words(scene)):
        indices[word.turn].append(index)
    return indices


def _aligned(scene: Scene, indices: Sequence[int], single: Sequence[str]) -> list[tuple[int, range]]:
    """The true words of a turn, each with the words, normalised one by one, that it stands for."""
    words = true_words(scene)
    matcher = SequenceMatcher(None, [words[i].text for i in indices], single, autojunk=False)
    pairs: list[tuple[int, range]] = []
    for kind, a, a_end, b, b_end in matcher.get_opcodes():
        if kind == "equal":
            pairs += [(indices[a + k], range(b + k, b + k + 1)) for k in range(a_end - a)]
        elif kind == "replace":  # "25" stands for "twenty" and "five"
            pairs += [(i, range(b, b_end)) for i in indices[a:a_end] if words[i].text != ANY]
    return pairs


def word_moment(scene: Scene, index: int, pauses: float) -> WordMoment:
    """When a true word is said; `pauses` is the share of its turn that may be pauses."""
    span = word_spans(scene)[index]
    if span:
        middle = sum(span) // 2
        return WordMoment(middle, middle, middle)
    word = true_words(scene)[index]
    turn = scene.turns[word.turn]
    middle = (word.start_ms + word.end_ms) // 2
    earliest = turn.start_ms + int((1 - pauses) * (middle - turn.start_ms))
    return WordMoment(middle, earliest, earliest + int(pauses * (turn.end_ms - turn.start_ms)))


def pause_bounds(scene: Scene, pauses: float) -> dict[int, Interval]:
    """The shortest and longest that the silence after each true word may be, without the last one to end.

    It is the same where the times of the words are known. Else the silence within a turn is up to the share
    `pauses` of it, and after it until the next turn.
    """
    words, spans = true_words(scene), word_spans(scene)
    timed = [(span, i) for i, span in enumerate(spans) if span]
    if len(timed) == len(words):
        return _silences(timed)
    bounds: dict[int, Interval] = {}
    for i, word in enumerate(words):
        turn, span = scene.turns[word.turn], spans[i]
        following = spans[i + 1] if i + 1 < len(words) and not word.last else None
        if not word.last and span and following:
            silence = max(0, following[0] - span[1])
            bounds[i] = (silence, silence)
        elif not word.last:
            bounds[i] = (0, int(pauses * (turn.end_ms - turn.start_ms)))
        elif (until := _next_start(scene, word)) is not None:
            bounds[i] = (until - turn.end_ms, until - turn.end_ms)
    return bounds


def _silences(timed: Sequence[tuple[Interval, int]]) -> dict[int, Interval]:
    """The silence after each word, given the spans and indices of all."""
    ordered = sorted(timed, key=lambda pair: (pair[0][0], pair[1]))
    bounds, end_ms = {}, 0
    for (span, index), (following, _) in pairwise(ordered):
        end_ms = max(end_ms, span[1])
        silence = max(0, following[0] - end_ms)
        bounds[index] = (silence, silence)
    return bounds


def _next_start(scene: Scene, word: TrueWord) -> int | None:
    """When speech goes on after the turn that ends with a word; None where it does not."""
    end_ms = scene.turns[word.turn].end_ms
    others = [t for i, t in enumerate(scene.turns) if i != word.turn and t.end_ms > end_ms]
    return min((max(end_ms, t.start_ms) for t in others), default=None)
