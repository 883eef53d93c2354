"""One file per native layout -> recordings. A source is a function `(config, path) -> Found` and a dataclass
`Params`.

The recipe's author names roots: a source's `path` (absolute, or a link, if they like). What lists, tables,
annotations and shards name comes from strangers: it is looked up below the root, links included, and never
opened elsewhere.

Uris are relative to the source's `root`: the folder itself, or the folder of the list. Truth is about the
whole file, whose length nobody knows before decoding: a turn or event over the whole file has `end_ms` 0
(`WHOLE_FILE`) and `duration_ms` is 0 until `close_truth` is given the real duration. A source file imports
nothing heavy at its top.
"""

from __future__ import annotations

import errno
import hashlib
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeVar

from paqa import spans
from paqa.config.recipe import SourceConfig, converted
from paqa.errors import PaqaError, Rejected
from paqa.types import Event, Quarantined, Recording, Scene, Turn, Word
from paqa.union_find import connected

SOURCES: dict[str, str] = {
    "folder": "paqa.sources.folder:recordings",
    "jsonl": "paqa.sources.jsonl:recordings",
    "references": "paqa.sources.references:recordings",
    "questions": "paqa.sources.questions:recordings",
    "lhotse": "paqa.sources.lhotse:recordings",
    "hub": "paqa.sources.hub:recordings",
    "meld": "paqa.sources.meld:recordings",
    "covost2": "paqa.sources.covost2:recordings",
    "musan": "paqa.sources.musan:recordings",
    "fsd50k": "paqa.sources.fsd50k:recordings",
}
PACKAGE = "package:"
WHOLE_FILE = 0  # `end_ms` of a turn or event that lasts as long as its file
SLIVER_MS = 100  # what a cut leaves of a span counts from this length on
MOSTLY = 0.8  # a cut turn keeps its text where at least this share of it is inside
OVERHANG_MS, OVERHANG = (
    500,
    0.01,
)  # the larger of both, of the file, is how far beyond it annotations may reach

Found = Iterator[Recording | Quarantined]
T = TypeVar("T")


class Said(NamedTuple):
    """A turn with its speaker's name, as annotations have it."""

    start_ms: int
    end_ms: int
    name: str
    text: str = ""
    emotion: str | None = None
    translation: str | None = None


@dataclass(frozen=True)
class NoParams:
    """Nothing to choose."""


def recordings(config: SourceConfig, folder: Path) -> Found:
    """Everything that a source holds, in a stable order, broken rows included as `Quarantined`.

    `folder` is the recipe's. Of two recordings with one id the second is quarantined. With a `limit`, the
    rows whose ids have the smallest digests are left, broken ones among them. Raises PaqaError where the
    whole source is missing or of an unknown type.
    """
    module, name = _module(config)
    source: Callable[[SourceConfig, Path], Found] = getattr(module, name)
    found = _unique(config, _below_root(source(config, folder / config.path), root(config, folder)))
    return found if config.limit is None else _drawn(list(found), config.limit)


def skipped(config: SourceConfig, folder: Path) -> str:
    """What lies in a source's folder and is not read, as one line; empty where there is nothing. See
    `recordings`.
    """
    module, _ = _module(config)
    line: str = module.skipped(config, folder / config.path) if hasattr(module, "skipped") else ""
    return line


def _module(config: SourceConfig) -> tuple[ModuleType, str]:
    if config.type not in SOURCES:
        raise PaqaError(
            f"source {config.name!r} has type {config.type!r}; expected one of {', '.join(SOURCES)}"
        )
    module, name = SOURCES[config.type].split(":")
    return import_module(module), name


def _unique(config: SourceConfig, rows: Found) -> Found:
    seen: dict[str, str] = {}
    for found in rows:
        if isinstance(found, Recording) and found.id in seen:
            detail = f"{config.name}: id {found.id!r} of {found.uri} already names {seen[found.id]}; ids must differ"
            found = quarantined(found.id, Rejected("duplicate_id", detail), f"{found.id} {found.uri}")
        elif isinstance(found, Recording):
            seen[found.id] = found.uri
        yield found


def _below_root(rows: Found, base: Path) -> Found:
    """Rows whose list gives absolute paths, with paths below the source's folder: what is published names no
    other.
    """
    for found in rows:
        if isinstance(found, Recording) and Path(found.uri).is_absolute():
            found = replace(found, uri=Path(found.uri).resolve().relative_to(base.resolve()).as_posix())
        yield found


def _drawn(rows: list[Recording | Quarantined], limit: int) -> Found:
    """`limit` rows in their order; which ones depends on each id alone, so that a new row displaces one at
    most.
    """
    digests = [hashlib.sha256(row.id.encode("utf-8", "surrogateescape")).digest() for row in rows]
    kept = set(sorted(range(len(rows)), key=lambda i: (digests[i], i))[:limit])
    yield from (row for i, row in enumerate(rows) if i in kept)


def check(config: SourceConfig) -> None:
    """PaqaError where the type is unknown, or params are not what its `Params` says; looks at no file.

    And where `group = "folder"` is asked of a type that has groups of its own.
    """
    if config.group == "folder" and config.type != "folder":
        found = f'group = "folder" is for type "folder", found "{config.type}"'
        raise PaqaError(f"source {config.name!r}: {found}; leave it out: its list or layout names the groups")
    parameters(config, getattr(_module(config)[0], "Params", NoParams))


def parameters(config: SourceConfig, kind: type[T]) -> T:
    """A source's own `Params` from the recipe; PaqaError for unknown keys and wrong types."""
    found: T = converted(kind, config.params, f"source {config.name!r}: params: type {config.type}")
    return found


def root(config: SourceConfig, folder: Path) -> Path:
    """What a source's uris are relative to: its folder, or the folder of its list. `folder` is the
    recipe's.
    """
    path = folder / config.path
    return path if path.is_dir() else path.parent


def quarantined(name: str, error: Rejected, content: str) -> Quarantined:
    """The quarantine row of something a source cannot use; the fingerprint is that of its content."""
    fingerprint = hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()
    return Quarantined(name, "source", error.reason, error.detail, fingerprint)


def locate(uri: str, folder: Path) -> Path:
    """The file that a uri names: below `folder`, or in an installed package for `package:NAME/FILE`.

    Raises `Rejected`: `outside_corpus` for what `..`, an absolute path or a link leads out of `folder` (or
    package), `missing_package` and `missing_file` for packages. Whether a plain path exists is for `decode`
    to say.
    """
    if uri.startswith(PACKAGE):
        return _in_package(uri)
    return _below(folder, uri, uri)


def _below(folder: Path, path: str, uri: str) -> Path:
    try:
        base, target = folder.resolve(), (folder / path).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a null byte
        raise Rejected("missing_file", f"{uri!r} names no file ({error}); correct the path") from None
    if not target.is_relative_to(base):
        detail = f"{uri!r} leads to {target}, outside of {base}; move or copy the file below that folder"
        raise Rejected("outside_corpus", detail)
    try:
        mode = target.stat().st_mode
    except OSError as error:
        if error.errno in (
            errno.ENAMETOOLONG,
            errno.EINVAL,
            errno.ELOOP,
        ):  # is_file() would raise these as well
            raise Rejected(
                "missing_file", f"{uri[:80]!r} names no file ({error.strerror}); correct the path"
            ) from None
        return target  # whoever opens it says what is wrong
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Rejected("unreadable", f"{uri!r} is a pipe or device; expected a file, check `ls -l`")
    return target


def beside(path: Path, folder: Path, source: str) -> Path:
    """A table or list of a corpus, which like its audio must not be a link out of its folder; PaqaError where
    it is.
    """
    try:
        return locate(path.relative_to(folder).as_posix(), folder)
    except Rejected as error:
        raise PaqaError(f"source {source!r}: {error.detail}") from None


def _in_package(uri: str) -> Path:
    """A file of a package named by its module or distribution, found without importing anything."""
    name, _, path = uri.removeprefix(PACKAGE).partition("/")
    homes = list(_module_folders(name)) if name and path else []
    files = _distribution_files(name, path)
    if not homes and files is None:
        detail = f"{uri!r} needs the package {name!r}, which is not installed; run `uv pip install {name}`"
        raise Rejected("missing_package", detail)
    targets = [_below(home, path, uri) for home in homes] + (files or [])
    target = next((target for target in targets if target.is_file()), None)
    if target is None:
        raise Rejected(
            "missing_file", f"{uri!r}: {name!r} is installed without this file; check path and version"
        )
    return target


def _distribution_files(name: str, path: str) -> list[Path] | None:
    """Files of a distribution whose path ends in `path`, shortest first; None where it is not installed."""
    try:
        files = distribution(name).files or []
    except (PackageNotFoundError, ValueError, OSError):
        return None
    same = [file for file in files if f"/{file.as_posix()}".endswith(f"/{path}")]
    return [
        Path(str(file.locate())) for file in sorted(same, key=lambda file: (len(file.parts), file.as_posix()))
    ]


def _module_folders(name: str) -> Iterator[Path]:
    """Where a dotted module lives. `PathFinder` walks down from `sys.path`; `find_spec` would import the
    parents.
    """
    places: list[str] | None = None
    parts = name.split(".")
    for i in range(len(parts)):
        try:
            spec = PathFinder.find_spec(".".join(parts[: i + 1]), places)
        except (ValueError, OSError):  # a null byte, a name that is too long
            return
        if spec is None or spec.submodule_search_locations is None:
            return
        if (
            i == len(parts) - 1 and spec.origin is None
        ):  # any folder of the working directory would be a package
            return
        places = list(spec.submodule_search_locations)
    yield from map(Path, places or ())


def close_truth(scene: Scene, duration_ms: int, uri: str = "the recording") -> Scene:
    """A source's truth once the file is decoded: real duration, whole-file spans ended, all spans cut to the
    file.

    Raises `Rejected` with `bad_truth` where spans reach so far beyond the file that they cannot be about it.
    """
    ends = [
        *(t.end_ms for t in scene.turns),
        *(w.end_ms for w in scene.words),
        *(e.end_ms for e in scene.events),
    ]
    last_ms = max(ends, default=0)
    if last_ms > duration_ms + max(OVERHANG_MS, OVERHANG * duration_ms):
        times = f"{uri} lasts {duration_ms / 1000:g} s, but its annotation reaches to {last_ms / 1000:g} s"
        thousandfold = 100 <= last_ms / max(1, duration_ms) <= 1010
        guess = (
            "milliseconds given as seconds"
            if thousandfold
            else "the annotation of another file, or another unit"
        )
        raise Rejected("bad_truth", f"{times} ({guess}?); correct the annotation or remove it")
    turns = tuple(
        replace(turn, end_ms=duration_ms) if turn.end_ms == WHOLE_FILE else turn for turn in scene.turns
    )
    events = tuple(replace(e, end_ms=duration_ms) if e.end_ms == WHOLE_FILE else e for e in scene.events)
    return window_truth(replace(scene, turns=turns, events=events), scene.clip_id, 0, duration_ms)


def window_truth(scene: Scene, clip_id: str, start_ms: int, end_ms: int) -> Scene:
    """What a scene says about its window `[start_ms, end_ms)`, times relative to the window.

    Speakers are numbered anew by first appearance. What the edge leaves of a span is dropped under 100 ms; a
    cut turn keeps its text and labels only where at least 80 % of it is inside. A word belongs where its
    middle lies.
    """
    window = (start_ms, end_ms)
    cut = [(turn, _cut(spans.interval(turn), window)) for turn in scene.turns]
    turns = [_shortened(turn, left) for turn, left in cut if left]
    turns.sort(key=lambda turn: (turn.start_ms, turn.end_ms, turn.speaker))
    numbers: dict[int, int] = {}
    for turn in turns:
        numbers.setdefault(turn.speaker, len(numbers) + 1)
    events = [
        replace(e, start_ms=s[0], end_ms=s[1]) for e in scene.events if (s := _cut(spans.interval(e), window))
    ]
    return replace(
        scene,
        clip_id=clip_id,
        duration_ms=end_ms - start_ms,
        turns=tuple(replace(turn, speaker=numbers[turn.speaker]) for turn in turns),
        words=_words(scene.words, window, numbers),
        events=tuple(sorted(events, key=lambda e: (e.start_ms, e.end_ms, e.label))),
        disagreements=(),
    )


def _cut(span: spans.Interval, window: spans.Interval) -> spans.Interval | None:
    left = spans.clip(span, window)
    whole = span[1] - span[0]
    return left if left and left[1] - left[0] >= min(SLIVER_MS, whole) else None


def _shortened(turn: Turn, left: spans.Interval) -> Turn:
    inside = left[1] - left[0]
    if inside < MOSTLY * (turn.end_ms - turn.start_ms):
        turn = replace(turn, text="", emotion=None, translation=None)
    return replace(turn, start_ms=left[0], end_ms=left[1])


def _words(words: tuple[Word, ...], window: spans.Interval, numbers: dict[int, int]) -> tuple[Word, ...]:
    inside = []
    for word in words:
        left = spans.clip(spans.interval(word), window)
        if left and window[0] <= (word.start_ms + word.end_ms) // 2 < window[1]:
            speaker = numbers.get(word.speaker) if word.speaker else None
            inside.append(replace(word, start_ms=left[0], end_ms=left[1], speaker=speaker))
    return tuple(inside)


def numbered(said: Sequence[Said]) -> tuple[Turn, ...]:
    """Turns in order of start, names as numbers by first appearance."""
    ordered = sorted(said, key=lambda turn: turn[:3])
    numbers: dict[str, int] = {}
    for turn in ordered:
        numbers.setdefault(turn.name, len(numbers) + 1)
    return tuple(
        Turn(t.start_ms, t.end_ms, numbers[t.name], t.text, t.emotion, t.translation) for t in ordered
    )


def linked(speakers: Mapping[str, Iterable[str]]) -> dict[str, str]:
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


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Events in order of start."""
    return tuple(sorted(events, key=lambda event: (event.start_ms, event.end_ms, event.label)))
