"""Whisper tiny.en in the layout of the Hugging Face Hub, from the same package: the real weights."""

from __future__ import annotations

import json
from pathlib import Path

from localmodels.make_whisper import convert, packaged

NAMES = (
    ("blocks.", "layers."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".mlp_ln.", ".final_layer_norm."),
    (".cross_attn.query.", ".encoder_attn.q_proj."),
    (".cross_attn.key.", ".encoder_attn.k_proj."),
    (".cross_attn.value.", ".encoder_attn.v_proj."),
    (".cross_attn.out.", ".encoder_attn.out_proj."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".attn.query.", ".self_attn.q_proj."),
    (".attn.key.", ".self_attn.k_proj."),
    (".attn.value.", ".self_attn.v_proj."),
    (".attn.out.", ".self_attn.out_proj."),
    (".attn_ln.", ".self_attn_layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("token_embedding.", "embed_tokens."),
    ("positional_embedding", "embed_positions.weight"),
)
EOT, SOT, PREVIOUS, NO_TIMESTAMPS = 50256, 50257, 50360, 50362  # tokens of the English models


def make(folder: Path) -> Path:
    """Write the folder `whisper-tiny.en` below a models folder."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizerFast,
    )

    target = folder / "whisper-tiny.en"
    checkpoint = convert(packaged())
    dims, about = checkpoint["dims"], json.loads(packaged().with_name("config.json").read_text())
    tokens = {"bos_token_id": EOT, "eos_token_id": EOT, "pad_token_id": EOT, "decoder_start_token_id": SOT}
    config = WhisperConfig(
        vocab_size=dims["n_vocab"],
        num_mel_bins=dims["n_mels"],
        d_model=dims["n_audio_state"],
        encoder_layers=dims["n_audio_layer"],
        decoder_layers=dims["n_text_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        decoder_attention_heads=dims["n_text_head"],
        encoder_ffn_dim=4 * dims["n_audio_state"],
        decoder_ffn_dim=4 * dims["n_text_state"],
        max_source_positions=dims["n_audio_ctx"],
        max_target_positions=dims["n_text_ctx"],
        **tokens,
    )
    model = WhisperForConditionalGeneration(config)
    state = {_name(name): weight.float() for name, weight in checkpoint["model_state_dict"].items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state)
    model.generation_config = GenerationConfig(
        alignment_heads=about["alignment_heads"],
        suppress_tokens=about["suppress_ids"],
        begin_suppress_tokens=about["suppress_ids_begin"],
        is_multilingual=False,
        max_initial_timestamp_index=50,
        max_length=dims["n_text_ctx"],
        no_timestamps_token_id=NO_TIMESTAMPS,
        prev_sot_token_id=PREVIOUS,
        return_timestamps=False,
        **tokens,
    )
    model.save_pretrained(target)
    text = "<|endoftext|>"
    tokenizer = WhisperTokenizerFast(
        tokenizer_file=str(packaged().with_name("tokenizer.json")),
        unk_token=text,
        bos_token=text,
        eos_token=text,
    )
    tokenizer.save_pretrained(target)
    WhisperFeatureExtractor(feature_size=dims["n_mels"]).save_pretrained(target)
    return target


def _name(ours: str) -> str:
    for old, new in NAMES:
        ours = ours.replace(old, new)
    return f"model.{ours}"
