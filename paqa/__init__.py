"""paqa: audio in, perception-grounded question answering out; `paqa.build` needs no Prefect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paqa.version import __version__

if TYPE_CHECKING:
    from paqa.execution.local import build

__all__ = ["__version__", "build"]


def __getattr__(name: str) -> Any:
    """`build` is loaded where it is first asked for: the light core needs nothing of it."""
    if name == "build":
        from paqa.execution.local import build

        return build
    raise AttributeError(f"module 'paqa' has no attribute {name!r}")
