"""Kinds of clips by what is heard in them, so that a summary says which give many rows and which give few."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from paqa.config.recipe import Recipe
from paqa.dataset.summary import ClipKind
from paqa.errors import MissingObject
from paqa.perception import scenes
from paqa.storage.store import Store
from paqa.types import Clip, Item, Scene

NOTHING, ALONE = "nothing heard", "background alone"


def kind_of(clip: Clip, items: Sequence[Item], recipe: Recipe, store: Store) -> str:
    """The kind of a clip: of its truth where that covers voices and sounds, else as predicted."""
    if clip.truth and {"turns", "events"} <= set(clip.truth_covers):
        return scene_kind(clip.truth)
    if items:
        return scene_kind(items[0].scene)
    try:
        return scene_kind(scenes.predicted_scene(clip, recipe, store))
    except MissingObject:
        return "unknown"


def scene_kind(scene: Scene) -> str:
    """One speaker or several, over a background or not; "background alone"; "nothing heard"."""
    sounds = [event for event in scene.events if event.label != "Speech"]
    if not scene.turns:
        return ALONE if sounds else NOTHING
    voices = "one speaker" if scene.speakers == 1 else "several speakers"
    return f"{voices} over a background" if sounds else f"{voices}, no background"


def by_kind(clips: Iterable[Clip], kinds: Mapping[str, str], items: Iterable[Item]) -> tuple[ClipKind, ...]:
    """Clips, minutes and rows of each kind; `kinds` by id of the clip."""
    rows = Counter(kinds.get(item.clip_id, "unknown") for item in items)
    members: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        members[kinds.get(clip.id, "unknown")].append(clip)
    return tuple(
        ClipKind(kind, len(of_kind), round(sum(clip.duration_ms for clip in of_kind) / 60_000, 3), rows[kind])
        for kind, of_kind in sorted(members.items())
    )
