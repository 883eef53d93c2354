"""The nano base: whisper tiny.en's encoder and a language model so small that a CPU trains all of it.

It has the classes of Qwen2-Audio, a Llama of 192 x 4 that knows nothing yet, and a vocabulary of its own,
learnt from the train split of a build. Only the encoder is trained already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paqa.errors import PaqaError
from paqa.rationale import prompt as prompts
from paqa.rationale.grammar import LEAVES, letter
from paqa.train import small_base_model
from paqa.train.data import Rows, draw
from paqa.train.model import TURN_END

PAD, TURN_START = "<|endoftext|>", "<|im_start|>"
SPECIAL = [PAD, TURN_START, TURN_END, *small_base_model.TOKENS]
LEARNT = 1800  # tokens that are learnt from texts, the 256 bytes included
ROWS = 4000  # of the train split, whose texts are learnt from
SECONDS = range(30)  # that the encoder hears
TIMES = (
    [f"{before}{s}." for before in (" [", "-") for s in SECONDS] + [f"{h:02d}" for h in range(100)] + [" s]"]
)
TAGS = [f"<{slash}{name}>" for name in ("THINK", "CAPTION", *LEAVES) for slash in ("", "/")]
WHOLE = [*TAGS, *map(letter, range(8)), *(f"Speaker {n}" for n in range(1, 9)), *TIMES]
SPREAD = 0.02  # standard deviation of new weights
SHAPE = {
    "model_type": "llama",
    "hidden_size": 192,
    "intermediate_size": 528,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "max_position_embeddings": 4096,
    "initializer_range": SPREAD,
}


def make(out: Path, data: Path, seed: int = 0) -> int:
    """Write the base for a build's rows into a folder; returns its number of parameters.

    `seed` is that of all weights but the encoder's. Raises PaqaError where the build has no train rows.
    """
    texts = train_texts(data)
    if not texts:
        raise PaqaError(
            f"{data}: has no rows of the split train; expected a build to learn a vocabulary from"
        )
    tokens = tokenizer(texts)
    model = small_base_model.with_encoder(SHAPE, tokens, seed)
    small_base_model.scale_projector(model, SPREAD)
    return small_base_model.save(model, tokens, out)


def train_texts(data: Path) -> list[str]:
    """What is read and written about train rows: questions as they are asked, and rationales."""
    rows = sorted(Rows(data).split("train"), key=lambda row: draw("vocabulary", row.item.id))[:ROWS]
    return [text for row in rows for text in (prompts.question(row.asked), row.item.rationale)]


def tokenizer(texts: list[str]) -> Any:
    """Byte-level BPE learnt from texts; a tag, a letter of a choice, a speaker is one token.

    A span of times, ` [1.20-3.40 s]`, takes five: seconds and hundredths of each end, and ` s]`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    parts = [
        pre_tokenizers.Split("\n", "isolated"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
    bpe.pre_tokenizer = pre_tokenizers.Sequence(parts)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner = trainers.BpeTrainer(vocab_size=LEARNT, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, learner)
    bpe.add_tokens(WHOLE)
    fast: Any = PreTrainedTokenizerFast
    tokens = fast(tokenizer_object=bpe, pad_token=PAD, eos_token=TURN_END, clean_up_tokenization_spaces=False)
    tokens.add_special_tokens({"extra_special_tokens": SPECIAL})
    return tokens
