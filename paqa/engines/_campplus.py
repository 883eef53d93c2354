"""CAM++ by ONNX Runtime: speech to speaker vectors; and its front end, Kaldi's filter bank, in numpy.

Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking"
(Interspeech 2023).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from paqa.engines._onnx import open_session
from paqa.engines._signal import frames, mel_htk

RATE, FRAME, HOP, N_FFT, BANDS = 16_000, 400, 160, 512, 80
LOW_HZ = 20.0


def log_mel(signal: np.ndarray) -> np.ndarray:
    """Log mel energies `(frames, 80)` of a signal `(n,)` at 16 kHz, n >= 400, as Kaldi computes them.

    Frame i is centred at 10 i + 12.5 ms. 25 ms windows (Povey's), pre-emphasis, no dither.
    """
    cut = frames(signal.astype(np.float32), FRAME, HOP)
    cut = cut - cut.mean(axis=1, keepdims=True)
    cut = cut - np.float32(0.97) * np.concatenate([cut[:, :1], cut[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft(cut * _povey(), N_FFT)) ** 2
    return np.log(np.maximum(power.astype(np.float32) @ _mel_bank(), np.finfo(np.float32).eps))


@cache
def _povey() -> np.ndarray:
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / (FRAME - 1))
    return (hann**0.85).astype(np.float32)


@cache
def _mel_bank() -> np.ndarray:
    """Triangles in mel over the bins of the spectrum `(257, 80)`; the last bin stays empty, as in Kaldi."""
    return mel_htk(RATE, N_FFT, BANDS, LOW_HZ, RATE / 2).astype(np.float32)


class SpeakerEmbedder:
    """The network, opened once."""

    def __init__(self, path: str, device: str, threads: int):
        self._session: Any = open_session(path, device, threads)

    def __call__(self, bank: np.ndarray) -> np.ndarray:
        """Frames of one voice `(n, 80)`, n >= 3, as by `log_mel`, to a vector `(192,)` of length 1."""
        centred = bank - bank.mean(axis=0)
        vector = self._session.run(None, {"bank": centred[None]})[0][0]
        return vector / max(float(np.linalg.norm(vector)), 1e-12)
