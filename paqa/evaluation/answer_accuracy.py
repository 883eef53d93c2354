"""Heard-answer accuracy: would the answer of a question have been the same, had it come from what was heard?

Of rows answered from truth, the same template is tried on the heard scene. A row counts as asked where one of
its drafts asks the same thing: the same words, and quotations that are alike (they may be misheard). The
draft's answer is looked up among the row's choices: as it stands, a quotation by its likeness, an amount by
its distance, a sound by its kind ("Bark" is a "Dog"), else "None of these". Where any absent sound would do,
the choice is the one that was not heard. Right is the share of all rows in which that leads to the row's own
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
from paqa.questions.english import spoken, tidy, upper
from paqa.questions.generate import TEMPLATES, Draft, QuestionTemplate
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
class Row:
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
class Heard:
    """Of one template ("all" for the whole build): rows, those asked of what was heard too, those with the
    same answer.

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


def rows(folder: Path) -> list[Row]:
    """The rows of a build that truth answers and a template of ours asks."""
    found = [msgspec.convert(row, Row) for row in shards.rows(folder, COLUMNS)]
    return [row for row in found if row.answers_from == "truth" and row.template in TEMPLATES]


def measure(rows: Iterable[Row], heard: Mapping[str, Scene], recipe: Recipe) -> list[Heard]:
    """All rows whose clip is in `heard` (scenes by id of the clip), first over all, then by template, worst
    first.
    """
    tried: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for row in rows:
        template = TEMPLATES[row.template]
        if row.clip_id in heard and not template.labelled:
            tried[row.template].append(answered(row, template, heard[row.clip_id], recipe))
    whole = _heard("all", [pair for own in tried.values() for pair in own])
    return [
        whole,
        *sorted((_heard(n, own) for n, own in tried.items()), key=lambda h: (h.accuracy, h.template)),
    ]


def _heard(name: str, tried: Sequence[tuple[bool, bool]]) -> Heard:
    interval = of_ratio([(right, 1) for _, right in tried])
    return Heard(
        name, len(tried), sum(asked for asked, _ in tried), sum(right for _, right in tried), interval
    )


def answered(row: Row, template: QuestionTemplate, heard: Scene, recipe: Recipe) -> tuple[bool, bool]:
    """Whether the question can be asked of what was heard, and whether the answer is the row's own."""
    ctx = LenientContext(heard, recipe.questions, rng_for(recipe.seed, heard.clip_id, template.name))
    drafts = [d for d in template.drafts(ctx) if any(_same_question(row, template, text) for text in d.texts)]
    if not drafts:
        return False, False
    if not row.choices:
        return True, any(normal(d.answer) == normal(row.answer) for d in drafts)
    if row.template in ABSENT:
        return True, _unheard(row.choices, drafts[0]) == [row.answer_index]
    chosen = {k for draft in drafts if (k := _choice(row.choices, draft)) is not None}
    return True, chosen == {row.answer_index}


def _same_question(row: Row, template: QuestionTemplate, text: str) -> bool:
    """The same words outside of quotations and of hints in parentheses, and quotations that are alike."""
    one, other = tidy(text), row.question
    if template.open:
        other = other.removesuffix(f" {template.open}")
    bare, bare_other = (HINT.sub("", QUOTED.sub('""', x)).strip() for x in (one, other))
    if bare != bare_other:
        return False
    return all(_alike(a, b) >= LIKE for a, b in zip(QUOTED.findall(one), QUOTED.findall(other), strict=True))


def _alike(one: str, other: str) -> float:
    from rapidfuzz import fuzz

    return fuzz.ratio(normal(one), normal(other))


def _unheard(choices: Sequence[str], draft: Draft) -> list[int]:
    """The choices that are no kind of what a draft about an absent sound holds against it: the sounds
    heard.
    """
    known = {normal(choice) for choice in draft.decoys}
    return [
        k
        for k, choice in enumerate(choices)
        if normal(choice) not in known and not any(_related(choice, other) for other in draft.decoys)
    ]


@cache
def _sounds() -> dict[str, str]:
    """AudioSet's classes by the way a choice writes them."""
    return {upper(spoken(audioset.label(mid))): mid for mid in audioset.classes()}


def _related(one: str, other: str) -> bool:
    """Whether two choices are sounds of which one is a kind of the other."""
    a, b = _sounds().get(one), _sounds().get(other)
    return bool(a and b and audioset.related(a, b))


def _choice(choices: Sequence[str], draft: Draft) -> int | None:
    """The number of the choice that a draft's answer is; None where no choice fits."""
    known = [normal(choice) for choice in choices]
    if normal(draft.answer) in known:
        return known.index(normal(draft.answer))
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


def table(found: Sequence[Heard]) -> list[list[str]]:
    """The cells of a table: template, rows, and shares in percent."""
    return [
        [
            h.template,
            str(h.rows),
            f"{100 * h.asked / h.rows:.1f}" if h.rows else "-",
            f"{100 * h.accuracy:.1f}" if h.rows else "-",
            f"{100 * h.interval[0]:.1f} - {100 * h.interval[1]:.1f}" if h.interval else "-",
        ]
        for h in found
    ]
