"""The nano base: whisper tiny.en's encoder and a language model so small that a CPU trains all of it.

It has the classes of Qwen2-Audio, a Llama of 192 x 4 that knows nothing yet, and a vocabulary of its own,
learnt from the train split of a build. Only the encoder is trained already.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from paqa.errors import PaqaError
from paqa.rationale import prompt as prompts
from paqa.rationale.grammar import LEAVES, UNCLEAR, letter
from paqa.train import small_base_model
from paqa.train.data import Rows, TrainRow, draw
from paqa.train.model import TURN_END

PAD, TURN_START = "<|endoftext|>", "<|im_start|>"
SPECIAL = [PAD, TURN_START, TURN_END, *small_base_model.TOKENS]
LEARNT = 1800  # tokens that are learnt from texts, the 256 bytes included
ROWS = 4000  # of the train split, whose texts are learnt from
COMMON = 20  # rows of these from which a choice or a label is one token
TAGS = [f"<{slash}{name}>" for name in ("THINK", "CAPTION", *LEAVES) for slash in ("", "/")]
JOINTS = [  # tags that follow each other in every brief rationale
    "<THINK><CAPTION><ENV>",
    "</ENV>\n<SPEAKER>",
    "</SPEAKER></CAPTION>\n<REASONING>",
    "</REASONING></THINK>\n<RESPONSE>",
]
CHAT = ["system\nYou are a helpful assistant.", "user\nAudio 1: ", "assistant\n"]
INSTRUCTIONS = [
    prompts.instruction(prompts.PromptQuestion("", "", choices, brief=brief, letters=letters))
    for choices, letters in (((), False), (("", ""), True), (("", ""), False))
    for brief in (False, True)
]
LETTERS = [f"{letter(i)}{after}" for i in range(8) for after in ("", " ")]
SPEAKERS = [f"{who} {n}" for n in range(1, 9) for who in ("Speaker", "speaker")]
TIMES = [
    *(f".{tenth}" for tenth in range(10)),
    *(f"{before}{s}" for before in (" [", "-") for s in range(30)),
]
WHOLE = [*TAGS, *JOINTS, *CHAT, *INSTRUCTIONS, *LETTERS, *SPEAKERS, f": {UNCLEAR}", *TIMES, " s]"]
SPREAD = 0.02  # standard deviation of new weights
SHAPE = {
    "model_type": "llama",
    "hidden_size": 192,
    "intermediate_size": 528,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": 4096,
    "initializer_range": SPREAD,
}


def make(out: Path, data: Path, seed: int = 0) -> int:
    """Write the base for a build's rows into a folder; returns its number of parameters.

    `seed` is that of all weights but the encoder's. Raises PaqaError where the build has no train rows.
    """
    items = train_items(data)
    if not items:
        raise PaqaError(
            f"{data}: has no rows of the split train; expected a build to learn a vocabulary from"
        )
    tokens = tokenizer(items)
    model = small_base_model.with_encoder(SHAPE, tokens, seed)
    small_base_model.scale_projector(model, SPREAD)
    with torch.no_grad():  # what is read can be written: a small model learns to copy sooner
        model.lm_head.weight.copy_(model.model.language_model.embed_tokens.weight)
    return small_base_model.save(model, tokens, out)


def train_items(data: Path) -> list[TrainRow]:
    """Train rows whose texts are learnt from."""
    return sorted(Rows(data).split("train"), key=lambda row: draw("vocabulary", row.item.id))[:ROWS]


def tokenizer(rows: Sequence[TrainRow]) -> Any:
    """Byte-level BPE learnt from what is read and written about rows. Its tokens may span words.

    One token each is what rows share: a tag, a letter of a choice, a speaker, how to answer, and a common
    choice or label, with a capital and without: so a small model has little to copy.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    parts = [
        pre_tokenizers.Split(Regex(r'[\n",.:;?]'), "isolated"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    bpe.pre_tokenizer = pre_tokenizers.Sequence(parts)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner = trainers.BpeTrainer(vocab_size=LEARNT, initial_alphabet=alphabet, show_progress=False)
    whole = [*WHOLE, *phrases(rows)]
    splitting = re.compile("|".join(map(re.escape, sorted(whole, key=len, reverse=True))))
    texts = (text for row in rows for text in (prompts.question(row.asked), row.item.rationale))
    bpe.train_from_iterator((part for text in texts for part in splitting.split(text)), learner)
    bpe.add_tokens(whole)
    fast: Any = PreTrainedTokenizerFast
    tokens = fast(tokenizer_object=bpe, pad_token=PAD, eos_token=TURN_END, clean_up_tokenization_spaces=False)
    tokens.add_special_tokens({"extra_special_tokens": SPECIAL})
    return tokens


def phrases(rows: Sequence[TrainRow]) -> list[str]:
    """Choices and labels of sounds that are common among rows, with a capital and without."""
    counts = Counter(text for row in rows for text in row.item.choices)
    counts.update(event.label for row in rows for event in row.item.scene.events)
    common = [text for text, n in counts.items() if n >= COMMON and len(text) > 1]
    return sorted({form for text in common for form in (text, text[:1].lower() + text[1:])})
