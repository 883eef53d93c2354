"""Stores that are no local folder: which package opens them, and their errors in one line."""

from __future__ import annotations

from typing import Any

from paqa.errors import PaqaError

PACKAGES = {"s3": "'paqa[s3]'", "s3a": "'paqa[s3]'", "gs": "'paqa[gcs]'", "gcs": "'paqa[gcs]'"}


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path on it; PaqaError where no installed package opens it."""
    import fsspec

    protocol = url.partition("://")[0]
    try:
        opened, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = PACKAGES.get(protocol) or error.name or f"what fsspec asks for ({error})"
        raise PaqaError(
            f"store {url}: no installed package opens {protocol}://; run: uv pip install {package}"
        ) from None
    except ValueError as error:
        raise PaqaError(
            f"store {url}: {error}; expected a folder or an fsspec URL, e.g. s3://BUCKET/PREFIX"
        ) from None
    return opened, str(path)


def first_line(error: BaseException) -> str:
    """Kind and first line of an error."""
    message = str(error).strip().splitlines()
    return f"{type(error).__name__}: {message[0]}" if message else type(error).__name__
