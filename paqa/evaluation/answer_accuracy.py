"""Answer accuracy: would a question have the same answer if it came from the engines' predictions?

Of rows answered from truth, the same template is tried on the predicted scene. A row counts as asked where
one of its drafts asks the same thing: the same words, and quotations that are alike (they may be
misrecognised). The draft's answer is looked up among the row's choices: as it stands, a quotation by its
likeness, an amount by its distance, a sound by its kind ("Bark" is a "Dog"), else "None of these". Where any
absent sound would do, the choice is the one that is not predicted; where words of the talk are offered, the
one that the predicted words make right. Right is the share of all rows in which that leads to the row's
answer: what could not be asked is not right.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from paqa import audioset
from paqa.config.recipe import Recipe
from paqa.dataset import shards
from paqa.evaluation.bootstrap import of_ratio
from paqa.questions import drawn_words
from paqa.questions.english import spoken, tidy, upper
from paqa.questions.generate import Draft, QuestionTemplate, template_named
from paqa.questions.template import NONE
from paqa.rationale.answerer import LenientContext, nearest
from paqa.text import normal, rng_for
from paqa.types import Scene

LIKE = 60.0  # rapidfuzz ratio of two quotations, in percent, from which one may be the other misheard
ABSENT = {"absent_sound"}  # templates whose answer is drawn from all that is not in the scene
COLUMNS = ("id", "clip_id", "template", "question", "choices", "answer", "answer_index", "answers_from")
QUOTED = re.compile(r'"[^"]*"')
HINT = re.compile(r"\([^)]*\)")


@dataclass(frozen=True)
class TruthRow:
    """What is needed of a row; `choices` is empty and `answer_index` None where it is open-ended."""

    id: str
    clip_id: str
    template: str
    question: str
    choices: tuple[str, ...]
    answer: str
    answer_index: int | None
    answers_from: str


@dataclass(frozen=True)
class TemplateAccuracy:
    """Of one template ("all" for the whole build): its rows, and how often predictions give the same answer.

    `asked` rows have their question asked of the predicted scene too, `right` ones also have its answer.
    `interval` is the 95 % interval of right / rows.
    """

    template: str
    rows: int
    asked: int
    right: int
    interval: tuple[float, float] | None

    @property
    def accuracy(self) -> float:
        return self.right / self.rows if self.rows else 0.0


def rows(folder: Path) -> list[TruthRow]:
    """The rows of a build that truth answers and a template asks, of paqa or of an installed plug-in."""
    all_rows = [msgspec.convert(row, TruthRow) for row in shards.rows(folder, COLUMNS)]
    return [row for row in all_rows if row.answers_from == "truth" and template_named(row.template)]


def measure(
    rows: Iterable[TruthRow], predicted: Mapping[str, Scene], recipe: Recipe
) -> list[TemplateAccuracy]:
    """The accuracy over all rows with a predicted scene, by id of the clip, then by template, worst first."""
    by_template: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for row in rows:
        template = template_named(row.template)
        if template and row.clip_id in predicted and not template.labelled:
            by_template[row.template].append(answered(row, template, predicted[row.clip_id], recipe))
    whole = _accuracy("all", [pair for outcomes in by_template.values() for pair in outcomes])
    accuracies = [_accuracy(name, outcomes) for name, outcomes in by_template.items()]
    return [whole, *sorted(accuracies, key=lambda a: (a.accuracy, a.template))]


def _accuracy(name: str, outcomes: Sequence[tuple[bool, bool]]) -> TemplateAccuracy:
    interval = of_ratio([(right, 1) for _, right in outcomes])
    asked_rows = sum(asked for asked, _ in outcomes)
    right_rows = sum(right for _, right in outcomes)
    return TemplateAccuracy(name, len(outcomes), asked_rows, right_rows, interval)


def answered(
    row: TruthRow, template: QuestionTemplate, predicted: Scene, recipe: Recipe
) -> tuple[bool, bool]:
    """Whether the question can be asked of the predicted scene, and whether its answer is that of the row."""
    if row.template in drawn_words.TEMPLATES and row.choices:
        choice = drawn_words.choice_from(predicted, row.template, row.question, row.choices)
        return choice is not None, choice is not None and choice == row.answer_index
    ctx = LenientContext(predicted, recipe.questions, rng_for(recipe.seed, predicted.clip_id, template.name))
    drafts = [d for d in template.drafts(ctx) if any(_same_question(row, template, text) for text in d.texts)]
    if not drafts:
        return False, False
    if not row.choices:
        return True, any(normal(d.answer) == normal(row.answer) for d in drafts)
    if row.template in ABSENT:
        return True, _absent(row.choices, drafts[0]) == [row.answer_index]
    chosen = {k for draft in drafts if (k := _choice(row.choices, draft)) is not None}
    return True, chosen == {row.answer_index}


def _same_question(row: TruthRow, template: QuestionTemplate, text: str) -> bool:
    """The same words outside of quotations and of hints in parentheses, and quotations that are alike."""
    asked, question = tidy(text), row.question
    if template.open:
        question = question.removesuffix(f" {template.open}")
    bare_asked, bare_question = (HINT.sub("", QUOTED.sub('""', x)).strip() for x in (asked, question))
    if bare_asked != bare_question:
        return False
    quotations = zip(QUOTED.findall(asked), QUOTED.findall(question), strict=True)
    return all(_alike(first, second) >= LIKE for first, second in quotations)


def _alike(first: str, second: str) -> float:
    from rapidfuzz import fuzz

    return fuzz.ratio(normal(first), normal(second))


def _absent(choices: Sequence[str], draft: Draft) -> list[int]:
    """The choices that are no kind of a predicted sound, which are the decoys of an absent-sound draft."""
    decoys = {normal(choice) for choice in draft.decoys}
    return [
        k
        for k, choice in enumerate(choices)
        if normal(choice) not in decoys and not any(_related(choice, decoy) for decoy in draft.decoys)
    ]


@cache
def _sounds() -> dict[str, str]:
    """AudioSet's classes by the way a choice writes them."""
    return {upper(spoken(audioset.label(mid))): mid for mid in audioset.classes()}


def _related(choice: str, sound: str) -> bool:
    """Whether two choices are sounds of which one is a kind of the other."""
    first, second = _sounds().get(choice), _sounds().get(sound)
    return bool(first and second and audioset.related(first, second))


def _choice(choices: Sequence[str], draft: Draft) -> int | None:
    """The number of the choice that a draft's answer is; None where no choice fits."""
    normalised = [normal(choice) for choice in choices]
    if normal(draft.answer) in normalised:
        return normalised.index(normal(draft.answer))
    quoted = [k for k, choice in enumerate(choices) if QUOTED.fullmatch(choice)]
    if QUOTED.fullmatch(draft.answer) and quoted:
        best = max(quoted, key=lambda k: _alike(choices[k], draft.answer))
        if _alike(choices[best], draft.answer) >= LIKE:
            return best
    if draft.answer.startswith("About ") and (near := nearest(choices, draft.answer)) is not None:
        return near
    akin = [k for k, choice in enumerate(choices) if _related(choice, draft.answer)]
    if len(akin) == 1:
        return akin[0]
    return choices.index(NONE) if NONE in choices else None


def table(accuracies: Sequence[TemplateAccuracy]) -> list[list[str]]:
    """The cells of a table: template, rows, and shares in percent."""
    rows = []
    for accuracy in accuracies:
        cells = [accuracy.template, str(accuracy.rows), "-", "-", "-"]
        if accuracy.rows:
            cells[2:4] = [f"{100 * accuracy.asked / accuracy.rows:.1f}", f"{100 * accuracy.accuracy:.1f}"]
        if accuracy.interval:
            low, high = accuracy.interval
            cells[4] = f"{100 * low:.1f} - {100 * high:.1f}"
        rows.append(cells)
    return rows
