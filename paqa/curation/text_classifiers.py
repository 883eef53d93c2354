"""Guessers that read only the text of a question and its choices, tried on rows that they never saw.

A guesser sees all wordings and choices of the build but one fold, and guesses the answers of that fold. Folds
are by what shares recordings or speakers (groups) where that is possible, else by clip: no clip is on both
sides. Rules: the commonest answer position, the longest and the shortest choice, the choice that is most
often right where it is offered. Classifiers: logistic regressions over hashed features of one choice beside
its rivals, turned into one probability per choice by a softmax (a conditional logit, McFadden 1974): from the
question and the text of the choice (`question`), from the choices and how they compare (`choices`), and from
both. They are told the template, as a reader who understands every wording would be.

Everything depends on the rows alone, not on their order or on workers: folds and samples are by digest.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from paqa.questions.english import NUMBERS
from paqa.text import normal
from paqa.union_find import connected

if TYPE_CHECKING:
    import numpy as np

FOLDS = 5
FEATURES = 1 << 17
POOL = 12_000  # rows that classifiers learn from, at most; the rest are only guessed
CHUNK = 4_000  # rows in memory as features at once
STRENGTH = 0.1  # inverse of the penalty on weights: small, since most words say nothing
WORDS = 24  # of a question, and of a choice

RULES = ("position", "longest", "shortest", "frequency")
VIEWS = ("question", "choices", "both")


@dataclass(frozen=True)
class Text:
    """What a reader sees of a row, and the right answer."""

    id: str
    clip_id: str
    groups: tuple[str, ...]
    template: str
    question: str
    choices: tuple[str, ...]
    answer_index: int


@dataclass(frozen=True)
class Guesses:
    """For each guesser and row, the chance that its guess is right (below 1 where it draws among equals).

    `sure` is the probability that the classifier over question and choices gives the right answer.
    """

    right: dict[str, list[float]]
    sure: list[float]


def guess(
    rows: Sequence[Text],
    draw: str = "",
    told: Mapping[str, Sequence[float]] | None = None,
    features: Features | None = None,
) -> Guesses:
    """What every guesser makes of every row, in the given order; give rows in order of id; `draw` names the
    folds.

    `told` is what a language model makes of the rows (`paqa.curation.text_lm`): one more guesser, `listener`.
    """
    import numpy as np

    folds = _folds(rows, draw)
    right = {
        "position": _position(rows, folds),
        "longest": _longest(rows, 1),
        "shortest": _longest(rows, -1),
        "frequency": _frequency(rows, folds),
    }
    probabilities = dict(zip(VIEWS, _classified(rows, folds, features or Features(rows)), strict=True))
    right |= {view: _hits(rows, found) for view, found in probabilities.items()}
    sure = [float(p[row.answer_index]) for row, p in zip(rows, probabilities["both"], strict=True)]
    if told:
        heard = [np.array(told[row.id]) for row in rows]
        right["listener"] = _hits(rows, heard)
        sure = [max(pair) for pair in zip(sure, _shrunk(rows, heard, right["listener"]), strict=True)]
    return Guesses(right, sure)


def _shrunk(rows: Sequence[Text], heard: Sequence[np.ndarray], hits: Sequence[float]) -> list[float]:
    """The probabilities of the right answers, drawn towards chance by as much as the listener is surer than
    right.
    """
    chances = [1 / len(row.choices) for row in rows]
    gained, claimed = sum(hits) - sum(chances), sum(float(p.max()) for p in heard) - sum(chances)
    skill = min(1.0, max(0.0, gained / claimed)) if claimed > 0 else 0.0
    return [
        c + skill * (float(p[row.answer_index]) - c) for row, p, c in zip(rows, heard, chances, strict=True)
    ]


def _folds(rows: Sequence[Text], draw: str = "") -> np.ndarray:
    """The fold of each row, by digest of what it hangs together with (`_together`)."""
    import numpy as np

    return np.array([_digest(draw + name) % FOLDS for name in _together(rows)[0]], dtype=int)


def related(rows: Sequence[Text]) -> int:
    """How many rows share recordings or speakers with rows of other folds."""
    return _together(rows)[1]


def _together(rows: Sequence[Text]) -> tuple[list[str], int]:
    """For each row the name of what stays in one fold, and how many rows are told apart by clip.

    Rows that have a group in common, directly or by others, stay together. Where that is more than a fold
    (scenes mixed from one pool) it is those about one clip. Without the rows that share something with a
    fold, little would be left to learn from; and since answers are evened over the whole build, what is right
    in a large fold is right less often elsewhere. Either way guessers would look worse than they are.
    """
    lists = list(dict.fromkeys(row.groups for row in rows))
    names = dict(zip(lists, connected(lists), strict=True))
    sizes = Counter(names[row.groups] for row in rows)
    large = {name for name, n in sizes.items() if FOLDS * n > len(rows)}
    apart = [row.clip_id if names[row.groups] in large else names[row.groups] for row in rows]
    return apart, sum(sizes[name] for name in large)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _others(folds: np.ndarray) -> Iterator[tuple[list[int], list[int]]]:
    """Numbers of the rows in each fold, and of those outside it."""
    for fold in range(FOLDS):
        inside = (folds == fold).nonzero()[0].tolist()
        outside = (folds != fold).nonzero()[0].tolist()
        if inside:
            yield inside, outside


def _shared(best: Sequence[bool], at: int) -> float:
    """The chance of being right when drawing among the equally good."""
    return best[at] / sum(best)


def _position(rows: Sequence[Text], folds: np.ndarray) -> list[float]:
    """Take the position that is most often right elsewhere, among questions of as many choices."""
    found = [0.0] * len(rows)
    for inside, outside in _others(folds):
        seen = Counter((len(rows[i].choices), rows[i].answer_index) for i in outside)
        for i in inside:
            n = len(rows[i].choices)
            most = max(seen[n, k] for k in range(n))
            found[i] = _shared([seen[n, k] == most for k in range(n)], rows[i].answer_index)
    return found


def _longest(rows: Sequence[Text], sign: int) -> list[float]:
    """Take the longest choice in characters (sign 1) or the shortest (sign -1)."""
    found = []
    for row in rows:
        lengths = [sign * len(choice) for choice in row.choices]
        found.append(_shared([n == max(lengths) for n in lengths], row.answer_index))
    return found


def _frequency(rows: Sequence[Text], folds: np.ndarray) -> list[float]:
    """Take the choice that elsewhere is most often right where it is offered, in the same template."""
    found = [0.0] * len(rows)
    for inside, outside in _others(folds):
        offered: Counter[tuple[str, str]] = Counter()
        answers: Counter[tuple[str, str]] = Counter()
        for i in outside:
            row = rows[i]
            offered.update((row.template, normal(choice)) for choice in row.choices)
            answers[row.template, normal(row.choices[row.answer_index])] += 1
        for i in inside:
            row, prior = rows[i], 1 / len(rows[i].choices)
            keys = [(row.template, normal(choice)) for choice in row.choices]
            rates = [(answers[k] + 2 * prior) / (offered[k] + 2) for k in keys]
            found[i] = _shared([rate == max(rates) for rate in rates], row.answer_index)
    return found


def _hits(rows: Sequence[Text], sure: Sequence[np.ndarray]) -> list[float]:
    """Whether the likeliest choice is right, shared among equally likely ones."""
    return [
        _shared((p >= p.max() - 1e-9).tolist(), row.answer_index) for row, p in zip(rows, sure, strict=True)
    ]


class Features:
    """What classifiers see of rows, made once however often the rows are guessed: for each view a sparse
    matrix.

    A matrix is float64 `(choices of all these rows, FEATURES)`.
    """

    def __init__(self, rows: Sequence[Text]):
        """`rows` are those that may be learned from; of others it is made when they are asked for."""
        self._starts: dict[str, tuple[int, int]] = {}
        at = 0
        for row in _pool(rows):
            self._starts[row.id] = (at, at + len(row.choices))
            at += len(row.choices)
        self._known = _matrices(_pool(rows)) if rows else []

    def of(self, rows: Sequence[Text]) -> list[Any]:
        """The matrices of some rows, by view."""
        import numpy as np

        if not all(row.id in self._starts for row in rows):
            return _matrices(rows)
        lines = np.concatenate([np.arange(*self._starts[row.id]) for row in rows])
        return [matrix[lines] for matrix in self._known]


def _pool(rows: Sequence[Text]) -> list[Text]:
    """The rows that classifiers learn from, in their order."""
    chosen = (
        {row.id for row in sorted(rows, key=lambda row: _digest(row.id))[:POOL]} if len(rows) > POOL else None
    )
    return [row for row in rows if chosen is None or row.id in chosen]


def _classified(rows: Sequence[Text], folds: np.ndarray, features: Features) -> list[list[np.ndarray]]:
    """For each view and each row, probabilities of its choices from a classifier that did not see its
    fold.
    """
    import numpy as np

    found = [[np.full(len(row.choices), 1 / len(row.choices)) for row in rows] for _ in VIEWS]
    if not rows:
        return found
    places = {row.id: i for i, row in enumerate(rows)}
    pool = _pool(rows)
    known = features.of(pool)
    columns = [np.unique(matrix.indices) for matrix in known]
    known = [matrix[:, own] for matrix, own in zip(known, columns, strict=True)]
    labels = np.concatenate([_answers(row) for row in pool])
    fold_of = np.repeat(folds[[places[row.id] for row in pool]], [len(row.choices) for row in pool])
    learned = {row.id for row in pool}
    for fold in range(FOLDS):
        train = fold_of != fold
        todo = [row for row, own in zip(rows, folds, strict=True) if own == fold]
        if not todo or not train.any():
            continue
        pooled = [row for row in todo if row.id in learned]
        others = [row for row in todo if row.id not in learned]
        models = [_fit(matrix[train], labels[train]) for matrix in known]
        parts = [(pooled, [matrix[~train] for matrix in known])] if pooled else []
        chunks = (others[at : at + CHUNK] for at in range(0, len(others), CHUNK))
        rest = ((c, [m[:, own] for m, own in zip(features.of(c), columns, strict=True)]) for c in chunks)
        for part, matrices in chain(parts, rest):
            ends = np.cumsum([len(row.choices) for row in part])[:-1]
            for own_found, model, matrix in zip(found, models, matrices, strict=True):
                for row, scores in zip(part, np.split(model.decision_function(matrix), ends), strict=True):
                    own_found[places[row.id]] = _softmax(scores)
    return found


def _fit(matrix: Any, labels: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=STRENGTH, solver="liblinear", max_iter=50, tol=1e-3).fit(matrix, labels)


def _softmax(scores: np.ndarray) -> np.ndarray:
    import numpy as np

    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def _answers(row: Text) -> np.ndarray:
    import numpy as np

    return np.arange(len(row.choices)) == row.answer_index


def _matrices(rows: Sequence[Text]) -> list[Any]:
    """The features of rows in each view."""
    question, choices, own = (_hashed(rows, make) for make in (_of_question, _of_choices, _of_template))
    return [question, choices, question + choices + own]


def _hashed(rows: Sequence[Text], make: Callable[[Text], Iterator[list[str]]]) -> Any:
    from sklearn.feature_extraction import FeatureHasher

    hasher = FeatureHasher(FEATURES, input_type="string", alternate_sign=False)
    return hasher.transform(features for row in rows for features in make(row))


def _of_question(row: Text) -> Iterator[list[str]]:
    """Features of each choice for a reader of the question: which answers go with which words."""
    words = list(dict.fromkeys(normal(row.question).split()))[:WORDS]
    for k, choice in enumerate(row.choices):
        text = normal(choice)
        yield [f"q:{word}|{text}" for word in words] + [f"t:{row.template}|{text}", f"p:{row.template}|{k}"]


def _of_choices(row: Text) -> Iterator[list[str]]:
    """Features of each choice beside its rivals: its words, position, length, and place among numbers."""
    said = [normal(choice).split() for choice in row.choices]
    n = len(row.choices)
    lengths, values = [len(choice) for choice in row.choices], [_value(choice) for choice in row.choices]
    common = Counter(word for words in said for word in set(words))
    for k, words in enumerate(said):
        shared = sum(common[word] > 1 for word in set(words))
        yield [
            f"c:{' '.join(words)}",
            *(f"w:{word}" for word in dict.fromkeys(words[:WORDS])),
            f"first:{words[0] if words else ''}",
            f"position:{k}/{n}",
            f"length:{_rank(lengths, k)}/{n}",
            f"words:{min(len(words), 12)}",
            f"shared:{min(shared, 4)}",
            *_among_numbers(values, k),
        ]


def _among_numbers(values: Sequence[float | None], k: int) -> list[str]:
    """Where a number stands among the numbers on offer, and whether its neighbours are there too."""
    own, known = values[k], [v for v in values if v is not None]
    if own is None or len(known) < 2:
        return []
    near = (own - 1 in known) + (own + 1 in known)
    return [f"rank:{_rank(known, known.index(own))}/{len(known)}", f"neighbours:{near}", f"value:{own:g}"]


def _of_template(row: Text) -> Iterator[list[str]]:
    """The features of the choices once more for this template alone, and the words that each has from the
    question.
    """
    asked = set(normal(row.question).split())
    for choices in _of_choices(row):
        own = [f"{row.template}|{feature}" for feature in choices]
        echoes = sum(feature[2:] in asked for feature in choices if feature.startswith("w:"))
        yield [*own, f"echo:{min(echoes, 5)}", f"{row.template}|echo:{min(echoes, 5)}"]


def _rank(values: Sequence[float], k: int) -> str:
    """How many of the values are smaller, and how many equal."""
    return f"{sum(v < values[k] for v in values)}={sum(v == values[k] for v in values)}"


def _value(choice: str) -> float | None:
    """The first number in a choice, as digits or as a word up to twelve."""
    for word in re.findall(r"\d+(?:\.\d+)?|[a-z]+", choice.lower()):
        if word[0].isdigit():
            return float(word)
        if word in NUMBERS:
            return float(NUMBERS.index(word))
    return {"once": 1.0, "twice": 2.0}.get(choice.lower().rstrip("."))
