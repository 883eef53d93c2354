"""At which position the right answer stands among the choices: each is used equally often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from paqa.text import rng_for
from paqa.types import Question


def balanced_positions(questions: Iterable[Question], clip_id: str, seed: int) -> Iterator[Question]:
    """The questions of a clip with their answers spread evenly over the positions.

    The n-th question with k choices takes the n-th place of a chain of permutations of k positions, drawn for
    the clip: every k questions use each position once, whatever they ask, and no clip depends on another.
    """
    ranks: Counter[int] = Counter()
    for question in questions:
        size = len(question.choices)
        if question.answer_index is None:
            yield question
            continue
        turn, place = divmod(ranks[size], size)
        ranks[size] += 1
        at = rng_for(seed, "positions", clip_id, size, turn).sample(range(size), size)[place]
        wrong = [c for i, c in enumerate(question.choices) if i != question.answer_index]
        yield replace(question, choices=(*wrong[:at], question.answer, *wrong[at:]), answer_index=at)


def position_of_answer(question_id: str, seed: int, choices: int) -> int:
    """Where the answer of a question of a source stands: uniform over a build, whatever it asks."""
    return rng_for(seed, "position", question_id).randrange(choices)
