"""One question with its choices in several orders: whether an answer depends on where choices stand."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from paqa.evaluation.benchmarks import EvalQuestion
from paqa.rationale import answers
from paqa.text import rng_for

MARK = "~"  # stands between a question's id and the number of its order


def in_orders(question: EvalQuestion, orders: int, seed: int) -> Iterator[EvalQuestion]:
    """The question as it is, then with its choices in other orders, `orders` in all where there are as many.

    Ids of the others end in `~1`, `~2`, ...; the orders follow from seed and id.
    """
    yield question
    choices = question.asked.choices
    seen = {tuple(range(len(choices)))}
    rng = rng_for(seed, question.asked.id, "order of choices")
    for number in range(1, min(orders, math.factorial(len(choices)))):
        while (order := tuple(rng.sample(range(len(choices)), len(choices)))) in seen:
            pass
        seen.add(order)
        index = None if question.answer_index is None else order.index(question.answer_index)
        asked = replace(
            question.asked, id=f"{question.asked.id}{MARK}{number}", choices=tuple(choices[i] for i in order)
        )
        yield replace(question, asked=asked, answer_index=index, order=number)


def order_figures(asked: Sequence[EvalQuestion], completions: Sequence[str]) -> dict[str, float]:
    """`consistency`: the share of questions with the same choice named in every order, and
    `accuracy_every_order`: with the right one; {} where no question was asked in several orders.
    """
    named: dict[str, list[tuple[str | None, bool]]] = defaultdict(list)
    for a, text in zip(asked, completions, strict=True):
        index = answers.chosen(answers.answer_text(text) or "", a.asked.choices)
        choice = None if index is None else a.asked.choices[index]
        base = a.asked.id.removesuffix(f"{MARK}{a.order}") if a.order else a.asked.id
        named[base].append((choice, index is not None and index == a.answer_index))
    several = [rows for rows in named.values() if len(rows) > 1]
    if not several:
        return {}
    same = [len({choice for choice, _ in rows}) == 1 and rows[0][0] is not None for rows in several]
    right = [all(is_right for _, is_right in rows) for rows in several]
    return {
        "consistency": sum(same) / len(several),
        "accuracy_every_order": sum(right) / len(several),
    }
