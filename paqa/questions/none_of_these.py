"""The choice "None of these", right as often as any other choice of the questions that offer it."""

from __future__ import annotations

from dataclasses import replace

from paqa.questions.context import Context
from paqa.questions.english import tidy
from paqa.questions.template import NONE, Draft
from paqa.types import Question

FEWEST = 3  # choices; with fewer there would be one real choice left beside the phrase
ABSENT = 0.8  # how certain it is that a choice does not hold, in a scene that engines predicted
NOT_OFFERED = (
    "That is not among the choices, and none of them holds.",
    "None of the choices says so.",
    "The choices do not include that, and nothing that they do include is right.",
    "What would be right is not offered.",
)
OFFERED = (
    "As one of the choices does hold, it cannot be none of them.",
    "So the right one is among the choices.",
    "Hence it is not true that none of the choices holds.",
    "The choices do include that.",
)


def with_none(ctx: Context, question: Question, draft: Draft, draw: float) -> Question:
    """The question with its argument complete and, if `draw` says so, with NONE among its choices.

    With k choices, NONE takes the place of the answer in a share `none_rate` of questions, and that of the
    last wrong choice in k - 1 times as many: it is right in one of k questions that offer it, as any choice
    is. `draw` = 1.0 leaves it out. The answer stands first in `question`.
    """
    answer, *wrong = question.choices
    size = len(question.choices)
    rate = min(ctx.config.none_rate, 1 / size)
    if size < FEWEST or draw >= size * rate:
        return replace(question, reasoning=_argued(draft, wrong))
    if draw >= rate:
        kept = wrong[:-1]
        argued = _argued(draft, kept, ctx.pick(*OFFERED))
        return replace(question, choices=(answer, *kept, NONE), reasoning=argued)
    sure = min(question.margin, ABSENT) if ctx.scene.heard_by else question.margin
    argued = _argued(draft, wrong, ctx.pick(*NOT_OFFERED))
    return replace(question, choices=(NONE, *wrong), reasoning=argued, margin=sure)


def _argued(draft: Draft, wrong: list[str], end: str = "") -> str:
    parts = (draft.reasoning, draft.why_wrong(wrong), end)
    return tidy(" ".join(part.strip() for part in parts if part.strip()))
