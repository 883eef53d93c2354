"""A build that grows: earlier rows stay, byte for byte, and only new clips cost anything.

What is asked about a clip follows from a survey of the whole build (`paqa.curation.answer_balance`), and so
do the rows that the text alone would give away. A build that counted again with each new clip would change a
little everywhere. Grown, it keeps the survey that it began with and what it decided about each row; counted
anew (without --grow) it changes once more. A clip that it has goes before a new one wherever one of the two
has to give way, and where a row of it would be lost or changed all the same, the build fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from paqa.config.recipe import Recipe, decode_recipe
from paqa.curation.answer_balance import Survey
from paqa.curation.shortcuts import GUESSABLE, UNHEARD, dependent
from paqa.dataset import open_build, shards, summary
from paqa.errors import PaqaError
from paqa.storage import build_folder
from paqa.storage.build_folder import SURVEY
from paqa.storage.store import write_atomically
from paqa.types import Clip, Item, Origin, Quarantined

PARTS = ("sources", "mix")  # of a recipe: lists of tables with names
FREE = (
    "name",
    "description",
    "license",
    "folder",
    "gates.max_quarantined",
    "review.verdicts",
    *(f"verifier.{name}" for name in ("endpoint", "key_env", "max_requests", "parallel", "timeout_s")),
)  # keys of a recipe that change no row
FREE_PARTS = (
    "path",
    "limit",
    "scenes",
)  # likewise of a source or mix; that no row is lost is looked at in the end
ALLOWED = (
    f"sources and mixes may be added to it, {', '.join(FREE)} may change, "
    f"and the {', '.join(FREE_PARTS)} of each"
)
CHANGED = (
    "what is heard or asked about its clip has changed: its file, the material of its mix, paqa or an engine"
)
GONE = "no source has its clip any more, or its clip is asked about otherwise"


@dataclass(frozen=True)
class Counts:
    """What is written: counts of sounds and words by clip and of answers by template, and rows left out.

    `added` are the ids of clips whose speech has a translation, by the growth that added them.
    """

    sounds: list[tuple[tuple[str, str], int]]
    answers: list[tuple[tuple[str, tuple[str, ...], str], int]]
    left_out: list[Quarantined]
    added: list[list[str]] = field(default_factory=list)
    words: list[tuple[tuple[str, str], int]] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """What stays of a row, besides its id."""

    clip_id: str
    key: str
    audio_dependence: float | None


@dataclass(frozen=True)
class Earlier:
    """What an earlier build settled: its survey, its rows by id, and rows left out by their key.

    `clips` are the digests of its clips by their ids, `pieces` the recordings that are heard in them (see
    `_piece`).
    """

    survey: Survey
    rows: dict[str, Row]
    left_out: dict[str, Quarantined]
    clips: dict[str, str] = field(default_factory=dict)
    pieces: frozenset[tuple[str, str, int, str]] = frozenset()
    added: tuple[list[str], ...] = ()

    @property
    def generations(self) -> list[set[str]]:
        """The ids of the clips after each growth, the latest first, as far as translations depend on it."""
        clip_ids = [set(self.clips)]
        for added_ids in reversed(self.added):
            clip_ids.append(clip_ids[-1] - set(added_ids))
        return clip_ids

    def holds(self, clip: Clip) -> bool:
        """Whether a clip, of a recording, is part of the earlier build, alone or in a mix."""
        return any(_piece(origin) in self.pieces for origin in clip.origins)

    def without(self, items: Sequence[Item]) -> tuple[list[Item], list[Quarantined]]:
        """The items that the earlier build did not leave out, and its rows about those that it did."""
        kept = [item for item in items if item.key not in self.left_out]
        return kept, [self.left_out[item.key] for item in items if item.key in self.left_out]

    def settled(self, items: Iterable[Item]) -> dict[str, float]:
        """The dependence of rows that the earlier build has, word for word, by id."""
        dependences: dict[str, float] = {}
        for item in items:
            row = self.rows.get(item.id)
            if row is None or row.audio_dependence is None:
                continue
            if dependent(item, row.audio_dependence).key == row.key:
                dependences[item.id] = row.audio_dependence
        return dependences

    def stays(self, items: Iterable[Item], lost: Iterable[Quarantined], out: Path) -> None:
        """PaqaError where a row of the earlier build is not among the items as it was; `lost` may say why.

        Rows that reviewers reject may go.
        """
        lost = list(lost)
        keys = {item.id: item.key for item in items}
        rejected = {q.id for q in lost if q.reason == summary.REJECTED_BY_REVIEW}
        gone = sorted(
            name for name, row in self.rows.items() if keys.get(name) != row.key and name not in rejected
        )
        if not gone:
            return
        about = (gone[0], self.rows[gone[0]].clip_id)
        why = next((q.detail for q in lost if q.id in about), CHANGED if gone[0] in keys else GONE)
        raise PaqaError(
            f"--grow: {len(gone)} of {len(self.rows)} rows of the build in {out} would be lost or changed, "
            "e.g. "
            f"{gone[0]} ({why}); it was left as it is: undo that, or run once more without --grow"
        )


def save(
    folder: Path,
    survey: Survey,
    lost: Iterable[Quarantined],
    clips: Sequence[Clip] = (),
    earlier: Earlier | None = None,
) -> None:
    """Write `survey.json` beside the shards of a build, which may have grown out of an earlier one."""
    added = list(earlier.added) if earlier else []
    if earlier:
        translated = (clip.id for clip in clips if clip.truth and clip.truth.translated_to)
        added += filter(None, [sorted(set(translated) - earlier.clips.keys())])
    left_out = sorted({q for q in lost if q.reason in (GUESSABLE, UNHEARD)}, key=lambda q: q.id)
    words = sorted(survey.words.items())
    counts = Counts(sorted(survey.sounds.items()), sorted(survey.answers.items()), left_out, added, words)
    write_atomically(folder / SURVEY, msgspec.json.encode(counts))


def check(out: Path, recipe: Recipe) -> None:
    """PaqaError where the build in a folder cannot grow by this recipe, without reading its rows and clips.

    What only those show is left to `load`.
    """
    build_folder.finish_commit(out)
    _survey(out)
    _need_whole(out)
    try:
        before = decode_recipe((out / build_folder.RECIPE).read_bytes())
    except (FileNotFoundError, msgspec.ValidationError):
        return  # `load` says what is missing, or that another version made it
    _need_same(before, recipe, out)


def load(out: Path, recipe: Recipe) -> Earlier:
    """What the build in a folder settled.

    PaqaError where there is none, or one of another version, or of a recipe that would change its rows.
    """
    if recipe.split.classes:
        raise PaqaError(
            "--grow: a build with split.classes cannot grow, for new sounds would move others; build anew"
        )
    counts = _survey(out)
    _need_whole(out)
    before, _, clips = open_build.open_build(out)
    _need_same(before, recipe, out)
    rows = {r.pop("id"): Row(**r) for r in shards.rows(out, ["id", "clip_id", "key", "audio_dependence"])}
    sounds, answers = Counter(dict(counts.sounds)), Counter(dict(counts.answers))
    survey = Survey(sounds, answers, Counter(dict(counts.words)))
    left_out = {q.fingerprint: q for q in counts.left_out}
    pieces = frozenset(_piece(origin) for clip in clips for origin in clip.origins)
    ids = {clip.id: clip.sha256 for clip in clips}
    return Earlier(survey, rows, left_out, ids, pieces, tuple(counts.added))


def _survey(out: Path) -> Counts:
    try:
        return msgspec.json.decode((out / SURVEY).read_bytes(), type=Counts)
    except FileNotFoundError:
        raise PaqaError(
            f"--grow: {out} holds no finished build with a {SURVEY}; build it once without --grow, then "
            "add clips"
        ) from None
    except msgspec.ValidationError as error:
        raise PaqaError(
            f"{out / SURVEY}: made by another version of paqa ({error}); run once more without --grow"
        ) from None


def _need_whole(out: Path) -> None:
    for problem in summary.mismatches(out):
        raise PaqaError(f"--grow: {out}: {problem} (once without --grow)")


def _need_same(before: Recipe, recipe: Recipe, out: Path) -> None:
    if changes := list(changed(before, recipe)):
        raise PaqaError(
            f"--grow: the recipe is not that of the build in {out}, so its rows would change: "
            f"{'; '.join(changes)}; "
            f"{ALLOWED}; grow it with its own recipe, or run once more without --grow"
        )


def _piece(origin: Origin) -> tuple[str, str, int, str]:
    return origin.corpus, origin.recording, origin.offset_ms, origin.sha256


def changed(before: Recipe, now: Recipe) -> Iterator[str]:
    """The keys, with both values, in which a recipe differs so that earlier rows would change."""
    old, new = _values(before), _values(now)
    named = {at[:2] for at in old if at[0] in PARTS}
    for at in sorted(old.keys() | new.keys()):
        added = at[0] in PARTS and at[:2] not in named
        if old.get(at) != new.get(at) and not added and ".".join(at) not in FREE:
            yield f"{'.'.join(at)} is {_shown(new.get(at))}, was {_shown(old.get(at))}"


def _values(recipe: Recipe) -> dict[tuple[str, ...], Any]:
    """The values of a recipe by their place; those of sources and mixes by name, without what may change."""
    data = msgspec.to_builtins(recipe)
    for part in PARTS:
        data[part] = {c["name"]: {k: v for k, v in c.items() if k not in FREE_PARTS} for c in data[part]}
    return dict(_flat(data))


def _flat(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, (*at, name))
    else:
        yield at, value


def _shown(value: Any) -> str:
    return "not there" if value is None else str(value)
