"""Stores that are no local folder: which package opens them, and whether one can be used from here."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from paqa.errors import PaqaError

if TYPE_CHECKING:
    from paqa.store import Store

PACKAGES = {"s3": "'paqa[s3]'", "s3a": "'paqa[s3]'", "gs": "'paqa[gcs]'", "gcs": "'paqa[gcs]'"}


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path on it; PaqaError where no installed package opens it."""
    import fsspec

    protocol = url.partition("://")[0]
    try:
        found = fsspec.core.url_to_fs(url)
    except ImportError as error:
        wanted = PACKAGES.get(protocol) or error.name or f"what fsspec asks for ({error})"
        raise PaqaError(
            f"store {url}: no installed package opens {protocol}://; run: uv pip install {wanted}"
        ) from None
    except ValueError as error:
        raise PaqaError(f"store {url}: {error}; expected a folder or an fsspec URL, e.g. s3://BUCKET/PREFIX") from None
    return found[0], str(found[1])


def reach(store: Store, name: str) -> None:
    """Write, read and remove an object `name`; PaqaError where that cannot be done from this process."""
    says = secrets.token_hex(16).encode()
    try:
        store.put(name, ".probe", says)
        found = store.get(name, ".probe")
        store.remove(name, ".probe")
    except Exception as error:  # noqa: BLE001 - each kind of store has its own
        raise PaqaError(
            f"store {store.url} cannot be written and read ({line(error)}); "
            "check that it exists, its credentials and its endpoint (docs/scale.md)"
        ) from None
    if found != says:
        raise PaqaError(f"store {store.url} does not give back what was written")


def line(error: BaseException) -> str:
    """Kind and first line of an error."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
