"""What an error of foreign code says about what is to blame for it: memory, the GPU, or else what it was
given.
"""

from __future__ import annotations

import errno

SHORT = (
    "out of memory",
    "bad_alloc",
    "failed to allocate memory",
    "can't allocate memory",
    "cannot allocate memory",
)
LOST = (
    "cuda error",
    "cuda failure",
    "cuda failed",
    "cudnn",
    "cublas",
    "cufft",
    "hip error",
    "device-side assert",
)


def short_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of its GPU; torch, CTranslate2 and ONNX Runtime say so in
    words.
    """
    number = error.errno if isinstance(error, OSError) else None
    return isinstance(error, MemoryError) or number == errno.ENOMEM or _says(error, SHORT)


def device_lost(error: BaseException) -> bool:
    """Whether an error is of the GPU: the process can do nothing more on it, whatever it is given."""
    return _says(error, LOST) and not short_of_memory(error)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)
