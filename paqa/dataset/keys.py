"""The key of a row: what a build writes, and what `paqa check` computes again."""

from __future__ import annotations

from dataclasses import replace

from paqa.storage.store import key
from paqa.types import Item


def item_key(item: Item, sha256: str) -> str:
    """The key of a row about a clip whose samples have this digest.

    It is the digest of what the row says, not of what made it: see `paqa.types.Item`.
    """
    content = replace(item, key="0" * 64, audio_dependence=None, seed=0, paqa_version="")
    return key("item", sha256, content)
