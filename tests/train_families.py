"""Tiny random models of every family that `paqa-train` trains: transformers' classes, seconds on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import train_tiny as tiny
import transformers
from transformers import Qwen2AudioProcessor, WhisperFeatureExtractor

from paqa.train.model import Policy

NAMES = ("qwen2_audio", "qwen2_5_omni", "audioflamingo3", "musicflamingo")
LONG = NAMES[1:]  # which take more than 30 s
OMNI_SECONDS = 60  # of its extractor's window, 300 in the published models
CHAT = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for content in message['content'] %}{% if content['type'] == 'audio' %}PLACEHOLDER"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
AUDIO = {
    "num_mel_bins": 16,
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "max_source_positions": 1500,
}
VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 64,
    "fullatt_block_indexes": [0],
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
TALKER = {
    "vocab_size": 40,
    "embedding_size": 64,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rope_parameters": ROPE,
}
DIFFUSION = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "head_dim": 16,
    "emb_dim": 16,
    "num_embeds": 40,
    "mel_dim": 8,
    "enc_emb_dim": 8,
    "enc_dim": 8,
    "enc_channels": [8, 8, 8, 8, 16],
    "enc_attention_channels": 4,
    "enc_se_channels": 4,
    "look_ahead_layers": [0],
    "look_backward_layers": [0],
}
TALKER_TOKENS = ("codec_start", "codec_end", "codec_pad", "codec_mask", "text_start", "text_end", "text_pad")


def processor(name: str) -> Any:
    """The family's processor as paqa loads it, with a byte-level tokenizer."""
    qwen2_audio = tiny.processor(seconds=30)
    if name == "qwen2_audio":
        return qwen2_audio
    tokenizer = qwen2_audio.tokenizer
    seconds = OMNI_SECONDS if name == "qwen2_5_omni" else 30
    extractor = WhisperFeatureExtractor(
        feature_size=16, hop_length=160, n_fft=400, chunk_length=seconds, return_attention_mask=True
    )
    if name == "qwen2_5_omni":
        chat = CHAT.replace("PLACEHOLDER", "<|audio_bos|><|AUDIO|><|audio_eos|>")
        return Qwen2AudioProcessor(extractor, tokenizer, chat_template=chat)
    tokenizer.add_special_tokens(
        {"extra_special_tokens": [*tiny.SPECIAL, "<sound>", "<|sound_bos|>", "<|sound_eos|>"]}
    )
    kind = {"audioflamingo3": "AudioFlamingo3Processor", "musicflamingo": "MusicFlamingoProcessor"}[name]
    return getattr(transformers, kind)(
        extractor, tokenizer, chat_template=CHAT.replace("PLACEHOLDER", "<sound>")
    )


def config(name: str, tokenizer: Any, rows: int) -> Any:
    """Its configuration, made small, with so many rows of the vocabulary."""
    ids = tokenizer.convert_tokens_to_ids
    text = TEXT | {"vocab_size": rows}
    if name == "qwen2_audio":
        audio = AUDIO | {"model_type": "qwen2_audio_encoder"}
        return transformers.Qwen2AudioConfig(
            audio_config=audio, text_config=text | {"model_type": "qwen2"}, audio_token_index=ids("<|AUDIO|>")
        )
    if name == "qwen2_5_omni":
        return transformers.Qwen2_5OmniThinkerConfig(
            audio_config=AUDIO | {"output_dim": 64},
            text_config=text | {"rope_parameters": ROPE, "tie_word_embeddings": False},
            vision_config=VISION,
            audio_token_index=ids("<|AUDIO|>"),
            audio_start_token_id=ids("<|audio_bos|>"),
            audio_end_token_id=ids("<|audio_eos|>"),
            image_token_index=rows - 1,
            video_token_index=rows - 2,
            vision_start_token_id=rows - 3,
        )
    kind = {"audioflamingo3": "AudioFlamingo3Config", "musicflamingo": "MusicFlamingoConfig"}[name]
    return getattr(transformers, kind)(
        audio_config=AUDIO | {"model_type": "audioflamingo3_encoder"},
        text_config=text | {"model_type": "qwen2"},
        audio_token_id=ids("<sound>"),
    )


CLASSES = {
    "qwen2_audio": "Qwen2AudioForConditionalGeneration",
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "audioflamingo3": "AudioFlamingo3ForConditionalGeneration",
    "musicflamingo": "MusicFlamingoForConditionalGeneration",
}


def policy(name: str, spread: float = 3.0, head: float = 2.0) -> Policy:
    """A policy of a family; `spread` and `head` make what it says less uniform."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parts = processor(name)
    small = config(name, parts.tokenizer, len(parts.tokenizer) + 9)
    small._attn_implementation = "sdpa"
    net = getattr(transformers, CLASSES[name])(small)
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() > 1:
                p.mul_(spread)
        net.lm_head.weight.mul_(head)
    return Policy(net.eval().requires_grad_(False), parts, name, chunk=7).eval()


def folder(path: Path, name: str) -> Path:
    """The same as a folder that `load` reads."""
    tiny_policy = policy(name)
    tiny_policy.net.save_pretrained(path)
    tiny_policy.processor.save_pretrained(path)
    return path


def whole_omni(path: Path, thinker: Any) -> None:
    """A whole Qwen2.5-Omni with talker and token2wav around a thinker, written by transformers."""
    tokens = {f"tts_{name}_token_id": i for i, name in enumerate(TALKER_TOKENS, 1)}
    small = transformers.Qwen2_5OmniConfig(
        thinker_config=thinker.config.to_dict(),
        talker_config=TALKER | tokens,
        token2wav_config={
            "dit_config": DIFFUSION,
            "bigvgan_config": {"mel_dim": 8, "upsample_initial_channel": 64},
        },
    )
    net = transformers.Qwen2_5OmniForConditionalGeneration(small)
    net.thinker.load_state_dict(thinker.state_dict())
    net.save_pretrained(path)
