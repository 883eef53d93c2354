"""The judge: is a row's answer right, and does its rationale state anything false, by the truth of its clip?

It is independent of the templates: answers are derived from the truth anew, with the tolerances of
`known_truth.Rules`. What truth does not know is `unjudged`.
"""

from __future__ import annotations

from dataclasses import dataclass

from paqa.evaluation import sound_answers, speech_answers, voice_answers, word_answers
from paqa.evaluation.known_truth import LENIENT, KnownTruth, Rules
from paqa.evaluation.row_question import Asked, Case, Cause, Outcome, Settled, asked
from paqa.evaluation.statements import Statement, judge_statements
from paqa.rationale.grammar import by_letter
from paqa.types import Item

JUDGES = sound_answers.JUDGES | speech_answers.JUDGES | voice_answers.JUDGES | word_answers.JUDGES


@dataclass(frozen=True)
class Verdict:
    """What the truth says about a row.

    `misquoted`: the quotation is of the right line, but too many of its words are wrong. `false_premise`:
    what the question takes for granted is not so. `unjudged`: truth does not say, which `note` explains.
    There is an oracle for each template of paqa, and none for those of plug-ins. `cause` is why the answer is
    not right. `false` lists what the rationale states falsely; `unknown` how
    many of its statements truth cannot judge.
    """

    outcome: Outcome
    cause: Cause | None = None
    note: str = ""
    false: tuple[Statement, ...] = ()
    unknown: int = 0

    @property
    def right(self) -> bool:
        return self.outcome == "right"

    @property
    def nothing_false(self) -> bool:
        """Right, and nothing false in the rationale as far as truth knows."""
        return self.right and not self.false


def judge(row: Item, truth: KnownTruth, rules: Rules = LENIENT) -> Verdict:
    """The verdict on a row answered from predictions."""
    verdict = judge_answer(asked(row), truth, rules)
    statements = judge_statements(row.rationale, truth, rules, by_letter(row.choices, row.rationale))
    return Verdict(verdict.outcome, verdict.cause, verdict.note, statements.false, statements.unknown)


def judge_answer(question: Asked, truth: KnownTruth, rules: Rules = LENIENT) -> Verdict:
    """The verdict on an answer alone."""
    if question.template not in JUDGES:
        return Verdict("unjudged", note=f"no oracle for template {question.template}")
    case = Case(question, truth, rules)
    try:
        right = JUDGES[question.template](case)
    except Settled as settled:
        return Verdict(settled.outcome, settled.cause, settled.note)
    if not right:
        return Verdict("wrong_answer", _cause(case))
    return Verdict("misquoted", "wrong_words") if case.quoted_errors else Verdict("right")


def _cause(case: Case) -> Cause:
    """Why an answer is wrong that a judge has no better reason for."""
    if case.question.template in sound_answers.JUDGES:
        return "missed"
    return case.why_voices_wrong() if case.question.template == "first_words" else "timing"
