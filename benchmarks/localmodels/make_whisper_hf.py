"""Whisper tiny.en in the layout of the Hugging Face Hub, from the same package: the real weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
TOKENS = {"bos_token_id": EOT, "eos_token_id": EOT, "pad_token_id": EOT, "decoder_start_token_id": SOT}


TEXT_END = "<|endoftext|>"


def make(folder: Path) -> Path:
    """Write the folder `whisper-tiny.en` below a models folder."""
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    target = folder / "whisper-tiny.en"
    checkpoint = convert(packaged())
    model = WhisperForConditionalGeneration(configuration(checkpoint["dims"]))
    state = {_name(name): weight.float() for name, weight in checkpoint["model_state_dict"].items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state)
    model.generation_config = generation(checkpoint["dims"])
    parts = (model, tokenizer(), WhisperFeatureExtractor(feature_size=checkpoint["dims"]["n_mels"]))
    for part in parts:
        part.save_pretrained(target)
    return target


def configuration(dims: dict[str, int], **changes: Any) -> Any:
    """The `WhisperConfig` of a model of these dimensions, by OpenAI's names, with changes."""
    from transformers import WhisperConfig

    sizes = {
        "vocab_size": dims["n_vocab"],
        "num_mel_bins": dims["n_mels"],
        "d_model": dims["n_audio_state"],
        "encoder_layers": dims["n_audio_layer"],
        "decoder_layers": dims["n_text_layer"],
        "encoder_attention_heads": dims["n_audio_head"],
        "decoder_attention_heads": dims["n_text_head"],
        "encoder_ffn_dim": 4 * dims["n_audio_state"],
        "decoder_ffn_dim": 4 * dims["n_text_state"],
        "max_source_positions": dims["n_audio_ctx"],
        "max_target_positions": dims["n_text_ctx"],
    }
    return WhisperConfig(**TOKENS, **sizes | changes)


def generation(dims: dict[str, int], **changes: Any) -> Any:
    """The `GenerationConfig` of tiny.en, with changes."""
    from transformers import GenerationConfig

    about = json.loads(packaged().with_name("config.json").read_text())
    settings = {
        "alignment_heads": about["alignment_heads"],
        "suppress_tokens": about["suppress_ids"],
        "begin_suppress_tokens": about["suppress_ids_begin"],
        "is_multilingual": False,
        "max_initial_timestamp_index": 50,
        "max_length": dims["n_text_ctx"],
        "no_timestamps_token_id": NO_TIMESTAMPS,
        "prev_sot_token_id": PREVIOUS,
        "return_timestamps": False,
    }
    return GenerationConfig(**TOKENS, **settings | changes)


def tokenizer(kind: str = "WhisperTokenizerFast", **names: str) -> Any:
    """The tokenizer of tiny.en as a class of transformers."""
    import transformers

    file = str(packaged().with_name("tokenizer.json"))
    ends = {"unk_token": TEXT_END, "bos_token": TEXT_END, "eos_token": TEXT_END}
    return getattr(transformers, kind)(tokenizer_file=file, **ends | names)


def _name(ours: str) -> str:
    for old, new in NAMES:
        ours = ours.replace(old, new)
    return f"model.{ours}"
