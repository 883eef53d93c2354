"""Audio files in, samples on the 16-bit grid out; the only package that opens an audio file."""

from paqa.audio.cutting import windows
from paqa.audio.decoding import Decoded, decode, decode_with_notes, full_scale_samples
from paqa.audio.pcm import dbfs, digest, flac, is_silent, quantize, read_flac, resample, rms, wav

__all__ = [
    "Decoded",
    "dbfs",
    "decode",
    "decode_with_notes",
    "digest",
    "flac",
    "full_scale_samples",
    "is_silent",
    "quantize",
    "read_flac",
    "resample",
    "rms",
    "wav",
    "windows",
]
