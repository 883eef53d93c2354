"""Opening a finished build: its recipe, its store and its clips."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from paqa.config.recipe import Recipe, decode_recipe
from paqa.dataset import summary
from paqa.errors import PaqaError
from paqa.storage import build_folder
from paqa.storage.store import Store
from paqa.types import Clip


def open_build(folder: Path) -> tuple[Recipe, Store, list[Clip]]:
    """The recipe, store and clips of a build; PaqaError where the folder is none."""
    build_folder.finish_commit(folder)
    try:
        recipe = decode_recipe((folder / build_folder.RECIPE).read_bytes())
        store = Store(summary.load(folder).store)
        clips = [msgspec.convert(row, Clip) for row in pq.read_table(folder / build_folder.CLIPS).to_pylist()]
    except FileNotFoundError as error:
        raise PaqaError(
            f"{folder}: not a finished build ({error.filename} is missing); run: paqa build --out {folder}"
        ) from None
    except msgspec.ValidationError as error:
        raise PaqaError(f"{folder}: made by another version of paqa ({error}); run the build again") from None
    return recipe, store, clips
