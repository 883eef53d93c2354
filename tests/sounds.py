"""Tiny real recordings for the fixtures of sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

RATE = 16000


def tone(path: Path, ms: int = 300, hz: float = 440.0, seed: int = 0) -> Path:
    """A quiet tone with a little noise, so that no two seeds give the same samples."""
    t = np.arange(RATE * ms // 1000) / RATE
    samples = 0.2 * np.sin(2 * np.pi * hz * t) + np.random.default_rng(seed).normal(0, 0.01, len(t))
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples.astype(np.float32), RATE)
    return path
