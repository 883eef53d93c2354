"""Audio encoders over the frames of a clip alone.

Transformers fills each clip with silence to the encoder's window, of 30 s or more. Here that silence is
neither seen by attention nor computed, as if it were masked: a short clip costs what its own length costs.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

MARGIN = 4  # mel frames of silence behind a clip: the convolutions see one, its window reaches over two more


def lengths(samples: int, extractor: Any, tower: Any) -> tuple[int, int]:
    """How many frames attention sees of a window of so many samples, 50 a second, and rows, 25 a second."""
    frames, rows = tower._get_feat_extract_output_lengths(_mel_frames(samples, extractor))
    return int(frames), int(rows)


def whisper(samples: np.ndarray, extractor: Any, model: Any, window: int) -> Tensor:
    """Rows `[n, d]` of the Whisper encoders of Qwen2-Audio and Audio Flamingo 3, which pool two frames.

    `samples` are mono, float32, 16 kHz and at most one window; `window` is its number in the clip.
    """
    tower = model.audio_tower
    frames, _ = lengths(len(samples), extractor, tower)
    mel = _mel(samples, extractor, tower)[..., : 2 * frames + 1]
    x = _convolved(mel, tower)[..., :frames].transpose(1, 2)
    x = x + tower.embed_positions.weight[:frames]
    for layer in tower.layers:
        x = layer(x, None)
    pooled = tower.avg_pooler(x.transpose(1, 2)).transpose(1, 2)
    encoded: Tensor = tower.layer_norm(pooled)[0]
    return encoded


def whisper_with_time(samples: np.ndarray, extractor: Any, model: Any, window: int) -> Tensor:
    """The same of Music Flamingo, which turns each row by its time in the clip before the projector."""
    rows = whisper(samples, extractor, model, window)
    length, step = model.audio_tower.config.max_source_positions // 2, model.config.audio_frame_step * 4
    seconds = torch.tensor([[window]]) * length * step + torch.arange(length, dtype=torch.float32) * step
    cos, sin = model.pos_emb(seconds.to(rows.device), seq_len=length)
    rotate = sys.modules[type(model).__module__].apply_rotary_time_emb
    turned: Tensor = rotate(rows[None], cos[:, : len(rows)], sin[:, : len(rows)])[0]
    return turned


def omni(samples: np.ndarray, extractor: Any, model: Any, window: int) -> Tensor:
    """The same of Qwen2.5-Omni, before the projection that is its projector.

    Neither convolutions nor attention cross the bounds of pieces of 2 s.
    """
    tower = model.audio_tower
    mel = _mel(samples, extractor, tower)[..., : _mel_frames(len(samples), extractor)]
    pieces = [_convolved(piece, tower)[0].T for piece in torch.split(mel, 2 * tower.n_window, dim=-1)]
    positions = tower.positional_embedding.positional_embedding
    x = torch.cat([piece + positions[: len(piece)].to(piece.dtype) for piece in pieces])
    ends = torch.tensor([0, *(len(piece) for piece in pieces)]).cumsum(0).to(x.device, torch.int32)
    for layer in tower.layers:
        x = layer(x, cu_seqlens=ends)[0]
    pairs = len(x) // 2 * 2
    encoded: Tensor = tower.ln_post((x[:pairs:2] + x[1:pairs:2]) / 2)
    return encoded


def _mel(samples: np.ndarray, extractor: Any, tower: Any) -> Tensor:
    """The log-mel frames `[1, m, f]` of a window, and those of a little silence behind it."""
    length = (_mel_frames(len(samples), extractor) + MARGIN) * extractor.hop_length
    features = extractor(
        samples,
        sampling_rate=extractor.sampling_rate,
        padding="max_length",
        max_length=min(length, extractor.n_samples),
        return_tensors="pt",
    )
    weight = tower.conv1.weight
    mel: Tensor = features["input_features"].to(weight.device, weight.dtype)
    return mel


def _convolved(mel: Tensor, tower: Any) -> Tensor:
    """Two convolutions, the second of every other frame: `[1, m, f]` to `[1, d, (f + 1) / 2]`."""
    gelu = torch.nn.functional.gelu
    convolved: Tensor = gelu(tower.conv2(gelu(tower.conv1(mel))))
    return convolved


def _mel_frames(samples: int, extractor: Any) -> int:
    return -(-samples // int(extractor.hop_length))
