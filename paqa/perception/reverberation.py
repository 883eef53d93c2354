"""How dry speech is: SRMR, the speech-to-reverberation modulation energy ratio.

Falk, Zheng and Chan, "A Non-Intrusive Quality and Intelligibility Measure of Reverberant and Dereverberated
Speech" (IEEE TASLP 2010): the energy of the slow modulations (up to 18 Hz) of 23 auditory bands, those of
speech, over that of the fast ones, which rooms and noise add. The filterbank is that of the package
`gammatone`.
"""

from __future__ import annotations

import numpy as np

from paqa.audio import resample
from paqa.types import Audio

RATE, ENVELOPE_RATE = 16_000, 400  # Hz
BANDS, LOWEST_HZ = 23, 125.0
MODULATIONS_HZ = 4.0 * 32.0 ** (np.arange(8) / 7)  # 4 to 128 Hz
QUALITY_FACTOR = 2.0  # of the modulation filters
FRAME, HOP = 102, 26  # envelope samples: 256 and 64 ms
ENERGY_SHARE = 0.9  # that decides how many of the fast modulations count
EAR_Q, LEAST_ERB_HZ = 9.26449, 24.7  # of the equivalent rectangular bandwidth, Glasberg and Moore


def srmr(audio: Audio) -> float | None:
    """SRMR of samples `(channels, n)`, two decimals; higher is drier. None for silence, and below 256 ms."""
    mono = Audio(audio.samples.mean(axis=0, keepdims=True), audio.rate)
    signal = resample(mono, RATE).samples[0].astype(np.float64)
    if len(signal) < FRAME * RATE // ENVELOPE_RATE or not np.any(signal):
        return None
    centres_hz, energy = _energies(signal)
    slow, fast = energy[:, :4].sum(), energy[:, 4 : _fast_bands(centres_hz, energy)].sum()
    return round(float(slow / fast), 2) if fast > 0 else None


def _energies(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centres of the bands in Hz `(23,)`, and the energy by band and modulation `(23, 8)`."""
    from gammatone import filters
    from scipy import fft
    from scipy import signal as processing

    centres_hz = filters.centre_freqs(RATE, BANDS, LOWEST_HZ)
    size = fft.next_fast_len(len(signal))
    window = np.hamming(FRAME + 1)[:-1]
    energy = np.zeros((BANDS, len(MODULATIONS_HZ)))
    for band, coefficients in enumerate(filters.make_erb_filters(RATE, centres_hz)):  # one at a time: memory
        filtered = filters.erb_filterbank(signal, coefficients[None])[0]
        envelope = np.abs(processing.hilbert(filtered, size)[: len(signal)])
        envelope = processing.resample_poly(envelope, ENVELOPE_RATE, RATE)
        for number, hz in enumerate(MODULATIONS_HZ):
            modulation = processing.lfilter(*_band_pass(hz), envelope)
            frames = np.lib.stride_tricks.sliding_window_view(modulation, FRAME)[::HOP]
            energy[band, number] = np.square(frames * window).sum(axis=1).mean()
    return centres_hz, energy


def _band_pass(hz: float) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients of a second-order band-pass at `hz`."""
    w = np.tan(np.pi * hz / ENVELOPE_RATE)
    b = w / QUALITY_FACTOR
    return np.array([b, 0.0, -b]), np.array([1 + b + w**2, 2 * w**2 - 2, 1 - b + w**2])


def _fast_bands(centres_hz: np.ndarray, energy: np.ndarray) -> int:
    """How many of the modulations count, 5 to 8: those within the bandwidth that holds 90 % of the energy."""
    order = np.argsort(centres_hz)
    share = np.cumsum(energy[order].sum(axis=1)) / energy.sum()
    bandwidth_hz = centres_hz[order][np.searchsorted(share, ENERGY_SHARE)] / EAR_Q + LEAST_ERB_HZ
    half_hz = np.tan(np.pi * MODULATIONS_HZ / ENVELOPE_RATE) / QUALITY_FACTOR * ENVELOPE_RATE / (2 * np.pi)
    return 5 + int(np.sum(MODULATIONS_HZ[5:] - half_hz[5:] < bandwidth_hz))
