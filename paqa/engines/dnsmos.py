"""Rate speech with DNSMOS P.835: how good listeners would find the voice, the background and the whole.

Reddy, Gopal and Cutler, "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality Metric to Evaluate
Noise Suppressors" (ICASSP 2022). The package `speechmos` ships the network; its code is not imported, since
it needs librosa. No stage of a build predicts with it, so it is not in `ENGINES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from paqa.engines._onnx import open_session
from paqa.engines._signal import mono
from paqa.engines.base import Weights, package_file, package_revision
from paqa.types import Audio

BEHAVIOUR = 1  # raise it when the same weights would give other ratings
RATE = 16_000  # Hz
WINDOW = 144_160  # samples that the network takes at once, 9.01 s
WEIGHTS = Weights(
    package="speechmos",
    file="speechmos/dnsmos_models/sig_bak_ovr.onnx",
    model="DNSMOS P.835",
    origin="https://github.com/microsoft/DNS-Challenge",
    license="MIT",
    extra="quality",
)
# From the network's three outputs to the scale of listeners: c0 + c1 x + c2 x^2, of `speechmos` 0.0.1.1.
TO_MOS = np.array(
    [
        [0.0052439, 1.22083953, -0.08397278],
        [-0.39604546, 1.60915514, -0.13166888],
        [0.04602535, 1.11546468, -0.06766283],
    ]
)


@dataclass(frozen=True)
class Ratings:
    """Mean opinion scores from 1 (bad) to 5 (excellent), two decimals."""

    speech: float
    background: float
    overall: float


def revision() -> str:
    """Names weights and behaviour, part of every store key; PaqaError where the package is missing."""
    return package_revision(BEHAVIOUR, WEIGHTS)


def rate(audio: Audio, threads: int = 1) -> Ratings | None:
    """The mean rating over windows of 9.01 s of samples `(channels, n)`; None for digital silence.

    Windows lie side by side, the last one at the end. Shorter audio is repeated up to one window.
    """
    signal = mono(audio, RATE)
    if not np.any(signal):
        return None
    session = _session(threads)
    outputs = [session.run(None, {"input_1": window[None]})[0][0] for window in windows(signal)]
    powers = np.asarray(outputs, np.float64)[:, :, None] ** np.arange(3)
    speech, background, overall = (powers * TO_MOS).sum(axis=2).mean(axis=0)
    return Ratings(round(float(speech), 2), round(float(background), 2), round(float(overall), 2))


def windows(signal: np.ndarray) -> list[np.ndarray]:
    """The windows `(WINDOW,)` of a signal `(n,)`, n > 0, at 16 kHz."""
    if len(signal) < WINDOW:
        signal = np.tile(signal, -(-WINDOW // len(signal)))[:WINDOW]
    if len(signal) < WINDOW + RATE:  # its authors rate one window until another second is there
        return [signal[:WINDOW]]
    starts = [*range(0, len(signal) - WINDOW, WINDOW), len(signal) - WINDOW]
    return [signal[start : start + WINDOW] for start in starts]


@cache
def _session(threads: int) -> Any:
    return open_session(package_file(WEIGHTS), "cpu", threads)
