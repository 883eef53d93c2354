"""The groups of recordings: what the split keeps together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from paqa.union_find import connected_components


def groups_by_speaker(speakers: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """A group for each recording: those that share a speaker, directly or through others, share a group.

    The group is called after the first speaker's name in it, the recording itself where nobody is named.
    """
    named = {recording: sorted(names) or [recording] for recording, names in speakers.items()}
    return dict(zip(named, connected_components(named.values()), strict=True))


def groups_of(names: object) -> tuple[str, ...]:
    """The groups that a row names, one or a list, in order and once each; () where it names none."""
    listed = names if isinstance(names, (list, tuple)) else [names]
    return tuple(dict.fromkeys(str(name) for name in listed if name not in (None, "")))
