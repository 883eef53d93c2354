"""What the engines' front ends share: rates, channels, frames, mel filterbanks. numpy; soxr when used."""

from __future__ import annotations

import numpy as np

from paqa.types import Audio


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """`(channels, n)` at `rate` Hz to float32 `(channels, ceil(n * new_rate / rate))`, without delay."""
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if rate == new_rate:
        return samples
    import soxr

    length = -(-samples.shape[1] * new_rate // rate)
    return np.stack([fit_length(soxr.resample(channel, rate, new_rate), length) for channel in samples])


def fit_length(samples: np.ndarray, length: int) -> np.ndarray:
    """Samples `(..., n)`, cut or zero-padded to `(..., length)`."""
    samples = samples[..., :length]
    missing = length - samples.shape[-1]
    return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, missing)]) if missing else samples


def mono(audio: Audio, rate: int) -> np.ndarray:
    """The mean of the channels as float32 `(n,)` at `rate` Hz."""
    downmix = audio.samples.mean(axis=0, keepdims=True, dtype=np.float32)
    return resample(downmix, audio.rate, rate)[0]


def frames(signal: np.ndarray, length: int, hop: int) -> np.ndarray:
    """A read-only view `(count, length)` of a signal `(n,)`, n >= length; frame i starts at `i * hop`."""
    return np.lib.stride_tricks.sliding_window_view(signal, length)[::hop]


def hz_to_mel_htk(hz: np.ndarray) -> np.ndarray:
    """Hz of any shape to the mel scale of HTK: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def hz_to_mel_slaney(hz: np.ndarray) -> np.ndarray:
    """Hz of any shape to the mel scale of Slaney (librosa's default): linear to 1 kHz, logarithmic above."""
    hz = np.asarray(hz, dtype=np.float64)
    above = 15.0 + 27.0 * np.log(np.maximum(hz, 1000.0) / 1000.0) / np.log(6.4)
    return np.where(hz < 1000.0, hz * 3.0 / 200.0, above)


def mel_to_hz_slaney(mel: np.ndarray) -> np.ndarray:
    """The inverse of `hz_to_mel_slaney`: mel of any shape to Hz."""
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))


def mel_htk(rate: int, n_fft: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangles of peak 1, straight in mel, none at 0 Hz, as in TensorFlow: `(n_fft / 2 + 1, bands)`."""
    mel = hz_to_mel_htk(np.linspace(0.0, rate / 2, n_fft // 2 + 1))[:, None]
    edges = np.linspace(hz_to_mel_htk(np.array(low_hz)), hz_to_mel_htk(np.array(high_hz)), bands + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((mel - low) / (centre - low), (high - mel) / (high - centre)))
    weights[0] = 0.0
    return weights


def mel_slaney(rate: int, n_fft: int, bands: int) -> np.ndarray:
    """Triangles of area 1, 0 Hz to rate / 2, straight in Hz, as librosa's: `(n_fft / 2 + 1, bands)`."""
    hz = np.linspace(0.0, rate / 2, n_fft // 2 + 1)[:, None]
    edges = mel_to_hz_slaney(np.linspace(0.0, hz_to_mel_slaney(np.array(rate / 2)), bands + 2))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)))
    return weights * 2.0 / (high - low)
