"""From recordings to clips: gathering them, decoding, cutting, and one id for each."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from paqa.audio import decode_with_notes, digest, flac, is_silent, windows
from paqa.config.recipe import AudioConfig, Recipe, SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.licensing import compatibility
from paqa.perception import engine_runs
from paqa.perception.inference import Cost
from paqa.sources import paths, registry
from paqa.sources import truth as truths
from paqa.splits.assign import split_of
from paqa.storage.batching import batches
from paqa.storage.file_digests import file_digest
from paqa.storage.store import Store, key
from paqa.types import Audio, Clip, Origin, Quarantined, Recording

INGEST = 2  # raise when decoding or cutting changes what comes out
MOST_NAMES = 3  # of files in a warning
LONGEST_ID = 120  # characters of a clip's id: ids of questions, with their template, stay under 200
PASSING = {  # failures of disk, network or machine, not of the file
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
}
NEW_CLIP = 2  # the rank, in `unique`, of a clip that no earlier build has


@dataclass(frozen=True)
class Piece:
    """One clip cut from a file: where it starts, how long it is, its samples' digest."""

    sha256: str
    start_ms: int
    duration_ms: int
    silent: bool = False


@dataclass(frozen=True)
class Cut:
    """The clips of a file, and what a person should know about how it was decoded."""

    pieces: list[Piece]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DecodedBatch:
    """What became of a batch of recordings or mixtures; `notes` are a used file's uri and a text."""

    clips: tuple[Clip, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    cost: Cost = field(default_factory=Cost)
    notes: tuple[tuple[str, str], ...] = ()


def gather(recipe: Recipe) -> tuple[dict[str, list[Recording]], list[Quarantined]]:
    """The recordings of every source, by source name; what a source could not use is quarantined.

    So is what the recipe's licence does not permit; PaqaError where it permits nothing of a source.
    """
    by_source: dict[str, list[Recording]] = {}
    quarantined: list[Quarantined] = []
    for config in recipe.sources:
        recordings: list[Recording] = []
        for row in registry.recordings(config, Path(recipe.folder)):
            if isinstance(row, Recording):
                recordings.append(row)
            else:
                quarantined.append(row)
        by_source[config.name], refused = _permitted(recordings, config, recipe)
        quarantined += refused
    return by_source, quarantined


def skipped(recipe: Recipe) -> list[str]:
    """A warning for each source with files that it does not read."""
    return [text for config in recipe.sources if (text := registry.skipped(config, Path(recipe.folder)))]


def _permitted(
    recordings: list[Recording], source: SourceConfig, recipe: Recipe
) -> tuple[list[Recording], list[Quarantined]]:
    """The recordings that may go into a dataset under the recipe's licence, and the others as quarantined."""
    if recipe.license is None:
        return recordings, []
    permitted: list[Recording] = []
    refused: list[Quarantined] = []
    reason = ""
    for recording in recordings:
        reason = compatibility.refusal(recording.license, recipe.license) or ""
        if not reason:
            permitted.append(recording)
            continue
        detail = f"{recording.uri} may not go into a dataset under {recipe.license}: {reason}"
        fingerprint = key("recording", recording.id, recording.uri)
        refused.append(Quarantined(recording.id, "source", "license", detail, fingerprint))
    if refused and not permitted:
        common = compatibility.common(recording.license for recording in recordings)
        advice = f'set license = "{common}" in the recipe' if common else "leave the recipe's license out"
        first = recordings[0]
        raise PaqaError(
            f"source {source.name!r}: none of its {len(refused)} recordings may go into a dataset under "
            f"{recipe.license}, e.g. {first.uri} ({compatibility.refusal(first.license, recipe.license)}); "
            "leave "
            f"the source out, or {advice}"
        )
    return permitted, refused


def decode_recordings(
    recordings: Sequence[Recording], source: SourceConfig, recipe: Recipe, store: Store
) -> DecodedBatch:
    """Decode recordings of a source into clips of at most the recipe's length; known files are looked up.

    Raises MemoryError where there is too little for a recording, OSError where a disk fails.
    """
    began = time.perf_counter()
    clips: list[Clip] = []
    lost: list[Quarantined] = []
    notes: list[tuple[str, str]] = []
    root = paths.root(source, Path(recipe.folder))
    for recording in recordings:
        try:
            cut = _cut(paths.locate(recording.uri, root), recipe.audio, store)
            clips_of_file = list(_clips(recording, cut.pieces, source, recipe))
        except Rejected as error:
            fingerprint = key("recording", recording.id, recording.uri)
            lost.append(Quarantined(recording.id, "ingest", error.reason, error.detail, fingerprint))
            continue
        notes += ((recording.uri, note) for note in cut.notes)
        lost += _unasked(recording, len(cut.pieces))
        for clip, piece in zip(clips_of_file, cut.pieces, strict=True):
            if piece.silent:
                detail = (
                    f"{clip.uri} is silent from {piece.start_ms} to {piece.start_ms + piece.duration_ms} ms"
                )
                lost.append(Quarantined(clip.id, "ingest", "silent", detail, clip.sha256))
            else:
                clips.append(clip)
    return DecodedBatch(tuple(clips), tuple(lost), Cost.since(began, clips), tuple(notes))


def note_warnings(notes: Iterable[tuple[str, str]]) -> list[str]:
    """A warning for each thing to know about files that were used, with the first ones it is about."""
    about: dict[str, list[str]] = {}
    for uri, note in sorted(set(notes)):
        about.setdefault(note, []).append(uri)
    return [f"{_first(uris)}: {note}" for note, uris in about.items()]


def _first(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    others = f" and {more} other file{'s' * (more > 1)}" if more > 0 else ""
    return ", ".join(names[:MOST_NAMES]) + others


def _clips(
    recording: Recording, pieces: Sequence[Piece], source: SourceConfig, recipe: Recipe
) -> Iterator[Clip]:
    """One clip per piece of a recording; the truth is cut along."""
    whole_ms = pieces[-1].start_ms + pieces[-1].duration_ms
    truth = truths.close_truth(recording.truth, whole_ms, recording.uri) if recording.truth else None
    for piece, (context, place) in zip(pieces, contexts(pieces, recipe), strict=True):
        name = clip_id(recording.id if len(pieces) == 1 else f"{recording.id}@{piece.start_ms}", source)
        end_ms = piece.start_ms + piece.duration_ms
        yield Clip(
            id=name,
            uri=recording.uri,
            sha256=piece.sha256,
            duration_ms=piece.duration_ms,
            rate=recipe.audio.rate,
            corpus=source.name,
            source=recording.source,
            license=recording.license,
            groups=recording.groups,
            split=split_of(recording.groups[0], recipe.split, recipe.seed),
            answers=recording.answers if truth else "heard",
            offset_ms=piece.start_ms,
            truth=truths.window_truth(truth, name, piece.start_ms, end_ms) if truth else None,
            voice=recording.voice,
            questions=recording.questions if len(pieces) == 1 else (),
            context=context,
            place=place,
            origins=(_origin(recording, piece, source),),
            truth_covers=recording.truth_covers,
        )


def _origin(recording: Recording, piece: Piece, source: SourceConfig) -> Origin:
    return Origin(
        role="recording",
        corpus=source.name,
        recording=recording.id,
        uri=recording.uri,
        offset_ms=piece.start_ms,
        duration_ms=piece.duration_ms,
        sha256=piece.sha256,
        source=recording.source,
        license=recording.license,
        author=recording.author,
    )


def _unasked(recording: Recording, pieces: int) -> Iterator[Quarantined]:
    """Given questions are about a whole recording: one that was cut loses them."""
    for question in recording.questions if pieces > 1 else ():
        detail = f"{recording.uri} was cut into {pieces} clips; raise audio.max_clip_ms to keep its questions"
        fingerprint = key("given", recording.id, question)
        yield Quarantined(question.id, "ingest", "question_needs_whole_file", detail, fingerprint)


def contexts(pieces: Sequence[Piece], recipe: Recipe) -> Iterator[tuple[tuple[str, ...], int]]:
    """For each piece, the pieces that the separator is given with it, and its place among them.

    () where it is alone.
    """
    limit_ms = 1000 * engine_runs.engine_runs(recipe)[0].context_s
    for group in batches(pieces, lambda piece: piece.duration_ms, limit_ms):
        names = tuple(piece.sha256 for piece in group)
        yield from ((names, place) if len(names) > 1 else ((), 0) for place in range(len(names)))


def clip_id(name: str, source: SourceConfig) -> str:
    """The id of a clip, kept short; of material with its source's name: ids differ in one source only."""
    name = f"{source.name}/{name}" if source.use == "material" else name
    return name if len(name) <= LONGEST_ID else f"{name[: LONGEST_ID - 9]}~{key(name)[:8]}"


def _cut(path: Path, config: AudioConfig, store: Store) -> Cut:
    where = key("ingest", INGEST, config, readable_digest(path, store))
    stored: Cut | None = store.get_json(where, Cut) if store.has(where, ".json") else None
    if stored is not None and all(store.has(piece.sha256, ".flac") for piece in stored.pieces):
        return stored
    decoded = decode_with_notes(path, config)
    audio, pieces = decoded.audio, []
    for start_ms, end_ms in windows(audio, config.max_clip_ms):
        part = Audio(
            audio.samples[:, start_ms * audio.rate // 1000 : end_ms * audio.rate // 1000], audio.rate
        )
        pieces.append(Piece(put_samples(part, store), start_ms, part.duration_ms, is_silent(part)))
    cut = Cut(pieces, decoded.notes)
    if stored is None:
        store.put_json(where, cut)
    return cut


def readable_digest(path: Path, store: Store) -> str:
    """SHA-256 of a file's bytes; Rejected where it cannot be read."""
    try:
        return file_digest(path, store)
    except FileNotFoundError:
        raise Rejected("missing_file", f"{path}: no such file") from None
    except OSError as error:
        if error.errno in PASSING:
            raise
        raise Rejected(
            "unreadable", f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def put_samples(audio: Audio, store: Store) -> str:
    """Put samples (on the 16-bit grid) into the store under their own digest."""
    name = digest(audio)
    if not store.has(name, ".flac"):
        store.put(name, ".flac", flac(audio))
    return name


def unique(
    clips: Iterable[Clip], copies: Mapping[str, str] | None = None, earlier: Mapping[str, str] | None = None
) -> tuple[list[Clip], list[Quarantined]]:
    """Clips without a second one of the same samples, in order of id, each id once.

    `copies` are near-duplicates: what they have in common, by digest, as `leakage.copies` finds it. Clips of
    the build that grows (`earlier`: id to digest) stay, under their ids.
    """
    kept: list[Clip] = []
    twins = []
    ids: set[str] = set()
    contents: dict[str, Clip] = {}
    ranked = [(_rank(clip, earlier or {}), clip) for clip in clips]
    for rank, clip in sorted(ranked, key=lambda pair: (pair[0], pair[1].id, pair[1].sha256)):
        content = (copies or {}).get(clip.sha256, clip.sha256)
        twin = contents.get(content)
        if twin is not None and rank == NEW_CLIP:
            same = twin.sha256 == clip.sha256
            near = "is a copy (louder, resampled, encoded or cut otherwise) of"
            what = "holds the same samples as" if same else near
            detail = f"{clip.uri} {what} {twin.uri} (clip {twin.id}); remove one of the two"
            reason = "duplicate_audio" if same else "near_duplicate_audio"
            twins.append(Quarantined(clip.id, "ingest", reason, detail, clip.sha256))
            continue
        contents[content] = clip
        kept.append(_renamed(clip) if clip.id in ids else clip)
        ids.add(kept[-1].id)
    return sorted(kept, key=lambda c: c.id), twins


def _rank(clip: Clip, earlier: Mapping[str, str]) -> int:
    """0 for a clip that a build has under its id, 1 for one that it has under another, else NEW_CLIP."""
    names = (clip.id, _other_id(clip))
    return next((rank for rank, name in enumerate(names) if earlier.get(name) == clip.sha256), NEW_CLIP)


def _other_id(clip: Clip) -> str:
    return f"{clip.id[:LONGEST_ID]}~{clip.sha256[:8]}"


def _renamed(clip: Clip) -> Clip:
    """The clip under an id of its own: two sources may both have a `001.wav`."""
    name = _other_id(clip)
    return replace(clip, id=name, truth=replace(clip.truth, clip_id=name) if clip.truth else None)
