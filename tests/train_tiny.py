"""A tiny random Qwen2-Audio with a tokenizer of its own, and rows to train it on: real classes, seconds on a
CPU.
"""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from paqa.audio import flac
from paqa.dataset import shards
from paqa.rationale.grammar import LEAVES, SKELETON, letter, render
from paqa.rationale.prompt import OUTLINE, PromptQuestion
from paqa.train.batch_layout import Prompt
from paqa.train.model import RATE, Policy
from paqa.types import Audio, Event, Evidence, Item, Question, Scene

HEARD = {"Bark": "a dog barking", "Meow": "a cat", "Bell": "a bell", "Rain": "rain"}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"]


def item(label: str, split: str = "train", number: int = 0, task: str = "sounds") -> Item:
    """A row about one sound: what is it, of four."""
    clip = f"{label.lower()}-{split}-{number}"
    scene = Scene(clip, 1000, (), (), (Event(100, 900, label, "/m/0"),))
    choices = tuple(HEARD.values())
    answer = list(HEARD).index(label)
    reasoning = f"There is {HEARD[label]}. So it is {letter(answer)}."
    evidence = (Evidence("event", 0),)
    asked = Question(
        f"{clip}:0", clip, task, "what", "What is heard?", choices, answer, evidence, "to listen", reasoning
    )
    text = render(scene, asked)
    fields = {
        "reflected": False,
        "reflection": None,
        "audio_dependence": 1.0,
        "source": "tiny",
        "license": "CC0-1.0",
    }
    fields |= {"groups": (clip,), "split": split, "answers_from": "truth", "heard_by": (), "key": "0" * 64}
    told = {
        "question": asked.text,
        "choices": choices,
        "answer": asked.answer,
        "answer_index": answer,
        "task": task,
    }
    return Item(
        id=asked.id,
        clip_id=clip,
        template="what",
        rationale=text,
        scene=scene,
        evidence=evidence,
        **told,
        **fields,
    )


def sound_of(label: str, number: int = 0) -> np.ndarray:
    """A second of a tone whose pitch is the label's, with a little noise."""
    t = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * 300 * 2 ** list(HEARD).index(label) * t)
    return (0.3 * tone + 0.01 * np.random.default_rng(number).standard_normal(RATE)).astype(np.float32)


def build(path: Path, items: Sequence[Item], groups: int = 1) -> Path:
    """A folder with one shard a split of these rows, in so many row groups."""
    (path / "data").mkdir(parents=True)
    for split in sorted({i.split for i in items}):
        rows = []
        for i in (i for i in items if i.split == split):
            label = i.scene.events[0].label
            data = flac(Audio(sound_of(label, int(i.clip_id.rsplit("-", 1)[1]))[None], RATE))
            rows.append({**msgspec.to_builtins(i), "audio": {"bytes": data, "path": f"{i.clip_id}.flac"}})
        table = pa.Table.from_pylist(rows, schema=shards.item_schema(RATE))
        pq.write_table(table, path / "data" / f"{split}-0.parquet", row_group_size=-(-len(rows) // groups))
    return path


TEXTS = [
    *SKELETON,
    *LEAVES,
    OUTLINE,
    "Speaker 1 says hello while a dog barks in the background (A) (B) (C) (D) [0.20-2.15 s]",
]
TEXTS += [item(label).rationale for label in HEARD]


def processor(seconds: int = 2, mels: int = 16) -> Qwen2AudioProcessor:
    """Byte-level BPE with the special tokens of Qwen2-Audio, and Whisper's mel front end of so many
    seconds.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learn = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(TEXTS * 4, learn)
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=SPECIAL[0], eos_token=SPECIAL[2])
    fast.add_special_tokens({"extra_special_tokens": SPECIAL})
    extractor = WhisperFeatureExtractor(feature_size=mels, hop_length=160, n_fft=400, chunk_length=seconds)
    return Qwen2AudioProcessor(feature_extractor=extractor, tokenizer=fast)


def network(
    vocabulary: int,
    kind: str = "qwen2",
    seconds: int = 2,
    mels: int = 16,
    spread: float = 3.0,
    head: float = 1.0,
):
    """Two layers of 64, half as many KV heads; `spread` and `head` make what it says less uniform."""
    torch.set_num_threads(
        1
    )  # of the whole process: an engine's test may have changed it, and this model wants no more
    tokens = processor(seconds, mels).tokenizer
    text = {"model_type": kind, "vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 96}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    text |= {"max_position_embeddings": 4096}
    audio = {"model_type": "qwen2_audio_encoder", "num_mel_bins": mels, "d_model": 32, "encoder_layers": 1}
    audio |= {"encoder_attention_heads": 2, "encoder_ffn_dim": 64, "max_source_positions": seconds * 50}
    ids = tokens.convert_tokens_to_ids("<|AUDIO|>")
    config = Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=ids)
    config._attn_implementation = "sdpa"
    net = Qwen2AudioForConditionalGeneration(config)
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() > 1:
                p.mul_(spread)
        net.lm_head.weight.mul_(head)
    return net.eval()


def policy(kind: str = "qwen2", seed: int = 0, spare: int = 9, **shape) -> Policy:
    """A policy whose PAUSE id lies inside (`spare` > 0) or beyond (0) the rows of the head."""
    torch.manual_seed(seed)
    made = processor(**{k: v for k, v in shape.items() if k not in ("spread", "head")})
    net = network(len(made.tokenizer) + spare, kind, **shape)
    net.requires_grad_(False)
    return Policy(net, made, "tiny", chunk=7).eval()


def folder(path, **shape):
    """The same as a folder that `load` reads."""
    made = policy(**shape)
    made.net.save_pretrained(path)
    made.processor.save_pretrained(path)
    return path


def early(row, text: str, tokens: int) -> dict[str, float]:
    """A reward that no listening is needed for: the share of letters in the first half of the alphabet."""
    letters = [c for c in text.lower() if c.isalpha()]
    return {"reward": sum(c <= "m" for c in letters) / max(1, len(letters))}


def sounds(*seconds: float, seed: int = 0) -> list[np.ndarray]:
    """Noises of different lengths."""
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(int(RATE * s))).astype(np.float32) for s in seconds]


def asked(policy: Policy, *seconds: float) -> list[Prompt]:
    """A prompt about each of some noises."""
    texts = ["who speaks?", "what sound is in the background?", "how many?"]
    choices = ("a dog", "a car")
    return [
        policy.prompt(PromptQuestion(f"q{i}", texts[i % 3], choices), policy.encode(s))
        for i, s in enumerate(sounds(*seconds))
    ]
