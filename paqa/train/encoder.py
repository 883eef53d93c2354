"""Qwen2-Audio's encoder over the frames of a clip alone.

Transformers fills each clip with silence to the encoder's window of 30 s. Here that silence is neither seen
by attention nor computed, as if it were masked: a short clip costs what its own length costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

MARGIN = 4  # mel frames of silence behind a clip: the convolutions see one, its window reaches over two more


def lengths(samples: int, extractor: Any, tower: Any) -> tuple[int, int]:
    """How many frames attention sees of a clip of so many samples, 50 a second, and rows, 25 a second."""
    frames, rows = tower._get_feat_extract_output_lengths(_mel_frames(samples, extractor))
    return int(frames), int(rows)


@torch.no_grad()
def encode(samples: np.ndarray, extractor: Any, tower: Any) -> Tensor:
    """The encoder's output of shape `[rows, d]` for mono float32 samples at 16 kHz, at most its window."""
    frames, _ = lengths(len(samples), extractor, tower)
    length = (_mel_frames(len(samples), extractor) + MARGIN) * extractor.hop_length
    features = extractor(
        samples,
        sampling_rate=extractor.sampling_rate,
        padding="max_length",
        max_length=min(length, extractor.n_samples),
        return_tensors="pt",
    )
    weight = tower.conv1.weight
    mel = features["input_features"][..., : 2 * frames + 1].to(weight.device, weight.dtype)
    gelu = torch.nn.functional.gelu
    x = gelu(tower.conv2(gelu(tower.conv1(mel))))[..., :frames].transpose(1, 2)
    x = x + tower.embed_positions.weight[:frames]
    for layer in tower.layers:
        x = layer(x, None)
    pooled = tower.avg_pooler(x.transpose(1, 2)).transpose(1, 2)
    encoded: Tensor = tower.layer_norm(pooled)[0]
    return encoded


def _mel_frames(samples: int, extractor: Any) -> int:
    return -(-samples // int(extractor.hop_length))
