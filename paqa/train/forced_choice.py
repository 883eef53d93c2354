"""The choice that a model holds likeliest, whatever it wrote: no answer is lost to its form."""

from __future__ import annotations

from itertools import takewhile

import torch

from paqa.rationale import grammar
from paqa.rationale.prompt import PromptQuestion
from paqa.train.batch_layout import Prompt, Tree
from paqa.train.model import Policy

ANSWER_TAGS = ("FINAL_ANSWER", "RESPONSE")  # the last one that a completion opens is answered


@torch.no_grad()
def likeliest_choice(policy: Policy, prompt: Prompt, text: str, asked: PromptQuestion) -> int | None:
    """The index of the choice with the highest mean log-probability as the answer of a completion.

    `text` is the completion, without PAUSE; the choice stands in its last answer tag, at its end where it has
    none. The mean is over the tokens from the first in which choices differ. None without choices.
    """
    if not asked.choices:
        return None
    letters = asked.letters
    before, tag = before_answer(text)
    answers = (
        f"{before}{grammar.response(i if letters else None, choice)}</{tag}>"
        for i, choice in enumerate(asked.choices)
    )
    ids = [policy.tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*ids, strict=False)))
    rests = tuple(torch.tensor(row[shared:]) for row in ids)
    learn = tuple(torch.ones(len(rest), dtype=torch.bool) for rest in rests)
    extended = Prompt(torch.cat([prompt.ids, torch.tensor(ids[0][:shared], dtype=torch.long)]), prompt.sound)
    logp, _ = policy.score([Tree(extended, rests, learn)])
    means = [float(part.mean()) for part in torch.split(logp, [len(rest) for rest in rests])]
    return means.index(max(means))


def before_answer(text: str) -> tuple[str, str]:
    """A completion up to its answer, the tag that opens it included, and the name of that tag."""
    for tag in ANSWER_TAGS:
        head, opened, _ = text.rpartition(f"<{tag}>")
        if opened:
            return head + opened, tag
    return f"{text}<RESPONSE>", "RESPONSE"
