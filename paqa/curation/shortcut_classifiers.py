"""Text-only shortcuts: guessers that read a question and its choices, tried on rows that they never saw.

A guesser sees all wordings and choices of the build but one fold, and guesses the answers of that fold. Folds
are by what shares recordings or speakers (groups) where that is possible, else by clip: no clip is in two
folds. Rules: the commonest answer position, the longest and the shortest choice, the choice that is most
often right where it is offered. Classifiers: logistic regressions over hashed features of one choice beside
its rivals, turned into one probability per choice by a softmax (a conditional logit, McFadden 1974): from the
question and the text of the choice (`question`), from the choices and how they compare (`choices`), and from
both. They see the template, as a reader who understands every wording would.

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
from paqa.union_find import connected_components

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
    lm_probabilities: Mapping[str, Sequence[float]] | None = None,
    features: Features | None = None,
    text_answers: Mapping[str, tuple[int, int]] | None = None,
) -> Guesses:
    """The guesses of every guesser about every row, in the given order; give rows in order of id.

    `draw` names the folds. `lm_probabilities` are those of the choices by a language model
    (`paqa.curation.shortcut_lm`), by id of the row: one more guesser, `listener`.
    `text_answers` are those of the recipe's verifier without audio, right ones and all, by id of the row:
    another guesser, `verifier`.
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
    right |= {view: _hits(rows, by_row) for view, by_row in probabilities.items()}
    sure = [float(p[row.answer_index]) for row, p in zip(rows, probabilities["both"], strict=True)]
    if lm_probabilities:
        of_rows = [np.array(lm_probabilities[row.id]) for row in rows]
        right["listener"] = _hits(rows, of_rows)
        sure = [
            max(pair) for pair in zip(sure, _towards_chance(rows, of_rows, right["listener"]), strict=True)
        ]
    if text_answers:
        answers = [text_answers.get(row.id, (0, 0)) for row in rows]
        chances = [1 / len(row.choices) for row in rows]
        pairs = list(zip(answers, chances, strict=True))
        right["verifier"] = [hits / n if n else chance for (hits, n), chance in pairs]
        # as if one more answer had been right by chance: few answers prove little
        shares = [(hits + chance) / (n + 1) for (hits, n), chance in pairs]
        sure = [max(pair) for pair in zip(sure, shares, strict=True)]
    return Guesses(right, sure)


def _towards_chance(
    rows: Sequence[Text], probabilities: Sequence[np.ndarray], hits: Sequence[float]
) -> list[float]:
    """Probabilities of the right answers, drawn towards chance by how far the model is surer than right."""
    chances = [1 / len(row.choices) for row in rows]
    gained, claimed = sum(hits) - sum(chances), sum(float(p.max()) for p in probabilities) - sum(chances)
    skill = min(1.0, max(0.0, gained / claimed)) if claimed > 0 else 0.0
    return [
        c + skill * (float(p[row.answer_index]) - c)
        for row, p, c in zip(rows, probabilities, chances, strict=True)
    ]


def _folds(rows: Sequence[Text], draw: str = "") -> np.ndarray:
    """The fold of each row, by digest of what it hangs together with (`_fold_groups`)."""
    import numpy as np

    return np.array([_digest(draw + name) % FOLDS for name in _fold_groups(rows)[0]], dtype=int)


def related(rows: Sequence[Text]) -> int:
    """How many rows share recordings or speakers with rows of other folds."""
    return _fold_groups(rows)[1]


def _fold_groups(rows: Sequence[Text]) -> tuple[list[str], int]:
    """For each row the name of its fold group, and how many rows have only their clip as a group.

    Rows that have a group in common, directly or by others, stay together. Where that is more than a fold
    (scenes mixed from one pool) it is those about one clip. Without the rows that share something with a
    fold, little would be left to learn from; and since answers are evened over the whole build, what is right
    in a large fold is right less often elsewhere. Either way guessers would look worse than they are.
    """
    lists = list(dict.fromkeys(row.groups for row in rows))
    names = dict(zip(lists, connected_components(lists), strict=True))
    sizes = Counter(names[row.groups] for row in rows)
    large = {name for name, n in sizes.items() if FOLDS * n > len(rows)}
    apart = [row.clip_id if names[row.groups] in large else names[row.groups] for row in rows]
    return apart, sum(sizes[name] for name in large)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _held_out(folds: np.ndarray) -> Iterator[tuple[list[int], list[int]]]:
    """Numbers of the rows in each fold, and of those outside it."""
    for fold in range(FOLDS):
        inside = (folds == fold).nonzero()[0].tolist()
        outside = (folds != fold).nonzero()[0].tolist()
        if inside:
            yield inside, outside


def _chance_among_best(best: Sequence[bool], at: int) -> float:
    """The chance of being right when drawing among the equally good."""
    return best[at] / sum(best)


def _position(rows: Sequence[Text], folds: np.ndarray) -> list[float]:
    """Take the position that is most often right elsewhere, among questions of as many choices."""
    chances = [0.0] * len(rows)
    for inside, outside in _held_out(folds):
        seen = Counter((len(rows[i].choices), rows[i].answer_index) for i in outside)
        for i in inside:
            n = len(rows[i].choices)
            most = max(seen[n, k] for k in range(n))
            chances[i] = _chance_among_best([seen[n, k] == most for k in range(n)], rows[i].answer_index)
    return chances


def _longest(rows: Sequence[Text], sign: int) -> list[float]:
    """Take the longest choice in characters (sign 1) or the shortest (sign -1)."""
    chances = []
    for row in rows:
        lengths = [sign * len(choice) for choice in row.choices]
        chances.append(_chance_among_best([n == max(lengths) for n in lengths], row.answer_index))
    return chances


def _frequency(rows: Sequence[Text], folds: np.ndarray) -> list[float]:
    """Take the choice that elsewhere is most often right where it is offered, in the same template."""
    chances = [0.0] * len(rows)
    for inside, outside in _held_out(folds):
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
            chances[i] = _chance_among_best([rate == max(rates) for rate in rates], row.answer_index)
    return chances


def _hits(rows: Sequence[Text], sure: Sequence[np.ndarray]) -> list[float]:
    """Whether the likeliest choice is right, shared among equally likely ones."""
    return [
        _chance_among_best((p >= p.max() - 1e-9).tolist(), row.answer_index)
        for row, p in zip(rows, sure, strict=True)
    ]


class Features:
    """What classifiers see of rows, computed once: for each view a sparse matrix.

    A matrix is float64 `(choices of all these rows, FEATURES)`.
    """

    def __init__(self, rows: Sequence[Text]):
        """`rows` may be learned from: theirs are kept, those of other rows are computed on demand."""
        self._starts: dict[str, tuple[int, int]] = {}
        at = 0
        for row in _pool(rows):
            self._starts[row.id] = (at, at + len(row.choices))
            at += len(row.choices)
        self._matrices = _matrices(_pool(rows)) if rows else []

    def of(self, rows: Sequence[Text]) -> list[Any]:
        """The matrices of some rows, by view."""
        import numpy as np

        if not all(row.id in self._starts for row in rows):
            return _matrices(rows)
        lines = np.concatenate([np.arange(*self._starts[row.id]) for row in rows])
        return [matrix[lines] for matrix in self._matrices]


def _pool(rows: Sequence[Text]) -> list[Text]:
    """The rows that classifiers learn from, in their order."""
    chosen = (
        {row.id for row in sorted(rows, key=lambda row: _digest(row.id))[:POOL]} if len(rows) > POOL else None
    )
    return [row for row in rows if chosen is None or row.id in chosen]


def _classified(rows: Sequence[Text], folds: np.ndarray, features: Features) -> list[list[np.ndarray]]:
    """By view and row, the probabilities of the choices from a classifier that did not see the row's fold."""
    import numpy as np

    probabilities = [[np.full(len(row.choices), 1 / len(row.choices)) for row in rows] for _ in VIEWS]
    if not rows:
        return probabilities
    index_of = {row.id: i for i, row in enumerate(rows)}
    pool = _pool(rows)
    matrices = features.of(pool)
    columns = [np.unique(matrix.indices) for matrix in matrices]
    matrices = [matrix[:, used] for matrix, used in zip(matrices, columns, strict=True)]
    labels = np.concatenate([_answers(row) for row in pool])
    fold_of = np.repeat(folds[[index_of[row.id] for row in pool]], [len(row.choices) for row in pool])
    pool_ids = {row.id for row in pool}
    for fold in range(FOLDS):
        train = fold_of != fold
        tested = [row for row, row_fold in zip(rows, folds, strict=True) if row_fold == fold]
        if not tested or not train.any():
            continue
        pooled = [row for row in tested if row.id in pool_ids]
        unpooled = [row for row in tested if row.id not in pool_ids]
        models = [_fit(matrix[train], labels[train]) for matrix in matrices]
        parts = [(pooled, [matrix[~train] for matrix in matrices])] if pooled else []
        for part, part_matrices in chain(parts, _in_chunks(unpooled, features, columns)):
            ends = np.cumsum([len(row.choices) for row in part])[:-1]
            for of_view, model, matrix in zip(probabilities, models, part_matrices, strict=True):
                for row, scores in zip(part, np.split(model.decision_function(matrix), ends), strict=True):
                    of_view[index_of[row.id]] = _softmax(scores)
    return probabilities


def _in_chunks(
    rows: Sequence[Text], features: Features, columns: Sequence[np.ndarray]
) -> Iterator[tuple[Sequence[Text], list[Any]]]:
    """Rows outside the pool, `CHUNK` at a time, with the `columns` of their matrices, by view."""
    for at in range(0, len(rows), CHUNK):
        chunk = rows[at : at + CHUNK]
        yield chunk, [matrix[:, used] for matrix, used in zip(features.of(chunk), columns, strict=True)]


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
    question, choices, templates = (_hashed(rows, make) for make in (_of_question, _of_choices, _of_template))
    return [question, choices, question + choices + templates]


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
    choice_words = [normal(choice).split() for choice in row.choices]
    n = len(row.choices)
    lengths, values = [len(choice) for choice in row.choices], [_value(choice) for choice in row.choices]
    common = Counter(word for words in choice_words for word in set(words))
    for k, words in enumerate(choice_words):
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
    number, numbers = values[k], [v for v in values if v is not None]
    if number is None or len(numbers) < 2:
        return []
    near = (number - 1 in numbers) + (number + 1 in numbers)
    return [
        f"rank:{_rank(numbers, numbers.index(number))}/{len(numbers)}",
        f"neighbours:{near}",
        f"value:{number:g}",
    ]


def _of_template(row: Text) -> Iterator[list[str]]:
    """The features of the choices for this template alone, and how many words each has from the question."""
    asked = set(normal(row.question).split())
    for features in _of_choices(row):
        of_template = [f"{row.template}|{feature}" for feature in features]
        echoes = sum(feature[2:] in asked for feature in features if feature.startswith("w:"))
        yield [*of_template, f"echo:{min(echoes, 5)}", f"{row.template}|echo:{min(echoes, 5)}"]


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
