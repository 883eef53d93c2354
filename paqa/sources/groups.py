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


def groups_of(names: object) -> tuple[str, ...]:
    """The groups that a row names, in order and once each: one value, or a list of them; () where it names
    none.
    """
    listed = names if isinstance(names, (list, tuple)) else [names]
    return tuple(dict.fromkeys(str(name) for name in listed if name not in (None, "")))
