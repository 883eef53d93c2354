"""A tiny random Qwen2-Audio with a tokenizer of its own, and rows to train it on: real classes, seconds on a CPU."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from paqa.rationale import LEAVES, SKELETON
from paqa.train.model import RATE, Policy, Prompt
from paqa.train.prompt import Asked

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"]
TEXTS = [*SKELETON, *LEAVES, "Speaker 1 says hello while a dog barks in the background (A) (B) (C) (D) [0.20-2.15 s]"]


def processor(seconds: int = 2, mels: int = 16) -> Qwen2AudioProcessor:
    """Byte-level BPE with the special tokens of Qwen2-Audio, and Whisper's mel front end of so many seconds."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learn = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(TEXTS * 4, learn)
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=SPECIAL[0], eos_token=SPECIAL[2])
    fast.add_special_tokens({"extra_special_tokens": SPECIAL})
    extractor = WhisperFeatureExtractor(feature_size=mels, hop_length=160, n_fft=400, chunk_length=seconds)
    return Qwen2AudioProcessor(feature_extractor=extractor, tokenizer=fast)


def network(vocabulary: int, kind: str = "qwen2", seconds: int = 2, mels: int = 16, spread: float = 3.0):
    """Two layers of 64, half as many KV heads; `spread` makes the logits less uniform."""
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
    return net.eval()


def policy(kind: str = "qwen2", seed: int = 0, spare: int = 9, **shape) -> Policy:
    """A policy whose PAUSE id lies inside (`spare` > 0) or beyond (0) the rows of the head."""
    torch.manual_seed(seed)
    made = processor(**{k: v for k, v in shape.items() if k != "spread"})
    net = network(len(made.tokenizer) + spare, kind, **shape)
    net.requires_grad_(False)
    return Policy(net, made, "tiny", chunk=7).eval()


def folder(path, **shape):
    """The same as a folder that `load` reads."""
    made = policy(**shape)
    made.net.save_pretrained(path)
    made.processor.save_pretrained(path)
    return path


def sounds(*seconds: float, seed: int = 0) -> list[np.ndarray]:
    """Noises of different lengths."""
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(int(RATE * s))).astype(np.float32) for s in seconds]


def asked(policy: Policy, *seconds: float) -> list[Prompt]:
    """A prompt about each of some noises."""
    texts = ["who speaks?", "what sound is in the background?", "how many?"]
    choices = ("a dog", "a car")
    return [
        policy.prompt(Asked(f"q{i}", texts[i % 3], choices), policy.hear(s)) for i, s in enumerate(sounds(*seconds))
    ]
