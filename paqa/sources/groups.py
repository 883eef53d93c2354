"""The groups of recordings: what the split keeps together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from paqa.union_find import connected


def groups_by_speaker(speakers: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """A group for each recording by its speakers' names: those that share one, directly or by others, share a
    group.

    The group is called after the first speaker's name in it, the recording itself where nobody is named.
    """
    named = {recording: sorted(names) or [recording] for recording, names in speakers.items()}
    return dict(zip(named, connected(named.values()), strict=True))


def groups_of(given: object) -> tuple[str, ...]:
    """The groups that a row names, in order and once each: one value, or a list of them; () where it names
    none.
    """
    several = given if isinstance(given, (list, tuple)) else [given]
    return tuple(dict.fromkeys(str(one) for one in several if one not in (None, "")))
