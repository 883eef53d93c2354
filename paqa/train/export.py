"""A trained model as a plain Hugging Face checkpoint: what transformers and inference servers load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import torch

from paqa.errors import PaqaError
from paqa.publish import model_card
from paqa.storage.build_folder import CARD
from paqa.train import adapters, model
from paqa.train.model import Policy


def export(
    trained: str, out: Path, dtype: Literal["float32", "bfloat16"], evaluation: Path | None = None
) -> str:
    """Write a model, given as to `load`, to a new folder: LoRA merged in float32, then cast once.

    Returns the class of transformers that reads it; of Qwen2.5-Omni the thinker alone is written.

    The trained projector and the PAUSE row are part of the weights. `generate` writes what `rollout` writes
    without pauses: it never samples PAUSE or audio's placeholder. Beside it is a card, with the figures of
    `evaluation`, the folder of a `paqa-train eval`. Raises PaqaError where `out` holds something.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise PaqaError(f"{out}: holds something already; expected a new folder")
    policy = model.load(trained, "cpu", "float32")
    card = model_card.render(Path(trained), out.name, policy.family.network, evaluation)
    net = adapters.merged(policy.net)
    _add_pause_row(net, policy)
    net.generation_config = _generation_config(policy)
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    net.to(getattr(torch, dtype)).save_pretrained(fresh)
    policy.processor.save_pretrained(fresh)
    (fresh / CARD).write_text(card, encoding="utf-8")
    if out.exists():
        out.rmdir()
    fresh.rename(out)
    return policy.family.network


@torch.no_grad()
def _add_pause_row(net: Any, policy: Policy) -> None:
    """Write the PAUSE row into the embedding, which then has a row for each token and no others."""
    net.resize_token_embeddings(max(len(policy.tokenizer), policy.pause_id + 1), mean_resizing=False)
    net.get_input_embeddings().weight[policy.pause_id] = policy.pause


def _generation_config(policy: Policy) -> Any:
    """Greedy, as evaluation asks by default, with the stops of a rollout."""
    from transformers import GenerationConfig

    settings: Any = GenerationConfig
    return settings(
        do_sample=False,
        eos_token_id=policy.stop_ids,
        pad_token_id=policy.pad_id,
        suppress_tokens=[policy.audio_id, policy.pause_id],
    )
