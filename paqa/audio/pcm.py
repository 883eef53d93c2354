"""Samples on the 16-bit grid: resampling, FLAC, digest, loudness.

Everything that leaves the decoder lies on that grid (float32 multiples of 1/32768), so a FLAC round trip is
exact and `digest` is stable.
"""

from __future__ import annotations

import hashlib
import io
import math

import numpy as np

from paqa.errors import Rejected
from paqa.types import Audio

BLOCK = 1 << 18  # frames treated at a time
SILENT_PEAK = 10 ** (-60 / 20)  # a file that never gets louder than this (-60 dBFS) is silence
STEP = 1 / 32768


def pcm(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as int16 of the same shape."""
    return np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype("<i2")


def quantize(samples: np.ndarray) -> np.ndarray:
    """Samples of any shape snapped to the 16-bit grid: float32 multiples of 1/32768 in [-1, 32767/32768]."""
    return pcm(samples).astype(np.float32) * np.float32(STEP)


def resample(audio: Audio, rate: int) -> Audio:
    """The same sound at another rate in Hz, float32, not snapped to the grid; unchanged where rates agree."""
    if audio.rate == rate:
        return audio
    import soxr

    samples = soxr.resample(np.ascontiguousarray(audio.samples.T), audio.rate, rate)
    return Audio(np.ascontiguousarray(samples.T, dtype=np.float32), rate)


def flac(audio: Audio) -> bytes:
    """16-bit FLAC; the same samples give the same bytes. At most 8 channels."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, pcm(audio.samples).T, audio.rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def wav(audio: Audio) -> bytes:
    """16-bit WAV."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, pcm(audio.samples).T, audio.rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def read_flac(data: bytes) -> Audio:
    """The audio of `flac`'s bytes, exactly; raises `Rejected` with `not_audio` where they are damaged."""
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        detail = f"{len(data)} bytes are no FLAC ({error.error_string}); delete the object and build again"
        raise Rejected("not_audio", detail) from None
    return Audio(np.ascontiguousarray(samples.T).astype(np.float32) * np.float32(STEP), rate)


def digest(audio: Audio) -> str:
    """SHA-256 in hex of the rate, the number of channels and the interleaved 16-bit samples."""
    channels, n = audio.samples.shape
    sha = hashlib.sha256(f"{audio.rate} {channels} ".encode())
    for start in range(0, n, BLOCK):
        sha.update(pcm(audio.samples[:, start : start + BLOCK]).T.tobytes())
    return sha.hexdigest()


def is_silent(audio: Audio) -> bool:
    """Whether nothing gets louder than -60 dBFS."""
    return not audio.samples.size or float(np.abs(audio.samples).max()) < SILENT_PEAK


def rms(samples: np.ndarray) -> float:
    """Root mean square over all samples of any shape; 0 where there are none."""
    return math.sqrt(float(np.mean(np.square(samples), dtype=np.float64))) if samples.size else 0.0


def dbfs(samples: np.ndarray) -> float:
    """RMS level in dB relative to full scale; minus infinity for digital silence."""
    level = rms(samples)
    return 20 * math.log10(level) if level else -math.inf
