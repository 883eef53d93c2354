"""Files that packages ship: weights are taken out of packages whose code is never imported."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from paqa.errors import PaqaError


def package_data_file(package: str, ending: str, install: str) -> Path:
    """The one file of an installed package with this ending. Raises PaqaError with the command `install`."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise PaqaError(f"{package} is not installed (only its weights are needed); run: {install}") from None
    matching = [file for file in files if file.name.endswith(ending)]
    if len(matching) != 1:
        raise PaqaError(f"{package}: found {len(matching)} files *{ending}, expected one; run: {install}")
    return Path(str(matching[0].locate()))
