"""What is to blame for an error of an engine: memory, the GPU, or else its input."""

from __future__ import annotations

import errno

from paqa.storage.redact import mask_secrets

OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "bad_alloc",
    "failed to allocate memory",
    "can't allocate memory",
    "cannot allocate memory",
)
DEVICE_LOST_WORDS = (
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
    """Whether memory ran out, of the machine or of its GPU.

    torch, CTranslate2 and ONNX Runtime raise other kinds of errors, whose texts say it.
    """
    number = error.errno if isinstance(error, OSError) else None
    return isinstance(error, MemoryError) or number == errno.ENOMEM or _mentions(error, OUT_OF_MEMORY_WORDS)


def device_lost(error: BaseException) -> bool:
    """Whether the GPU failed: the process cannot use it any more, whatever the input."""
    return _mentions(error, DEVICE_LOST_WORDS) and not short_of_memory(error)


def text_of(error: BaseException) -> str:
    """Kind and message of an error, without secrets."""
    return mask_secrets(f"{type(error).__name__}: {error}")


def _mentions(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)
