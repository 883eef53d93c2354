"""`paqa check DIR`: are the shards valid? Schema, audio, lineage, rationale, splits, balance."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from paqa.audio import digest as sample_digest
from paqa.audio import read_flac
from paqa.config.recipe import Recipe, decode_recipe
from paqa.config.schema import problems
from paqa.curation import shortcuts
from paqa.dataset import shards, summary
from paqa.dataset.keys import item_key
from paqa.errors import PaqaError
from paqa.licensing import compatibility
from paqa.rationale import grammar
from paqa.rationale.rewards import perception
from paqa.rationale.trace import Trace
from paqa.splits.leakage import PROTECTED
from paqa.storage.build_folder import RECIPE, SHARD_NAME, finish_commit
from paqa.storage.store import Store
from paqa.types import Item, Spanned, Split
from paqa.version import __version__

if TYPE_CHECKING:
    import numpy as np

AGAIN = "run: paqa build again"


@dataclass
class Checked:
    """What was read, and every problem found (one line each)."""

    rows: int = 0
    clips: set[str] = field(default_factory=set)
    splits: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    # rows by number of choices and index of the answer
    positions: Counter[tuple[int, int | None]] = field(default_factory=Counter)
    reflected: Counter[str] = field(default_factory=Counter)
    splits_of: dict[str, set[Split]] = field(default_factory=lambda: defaultdict(set))  # by group or audio
    license: str | None = None  # that the rows have to permit
    # by SHA-256 of the audio's bytes:
    audio_errors: dict[str, str] = field(default_factory=dict)  # "" where the audio decodes
    fingerprints: dict[str, np.ndarray] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)  # the digest of the decoded samples
    problems: list[str] = field(default_factory=list)


def check(folder: Path, license: str | None = None) -> Checked:
    """Read every row of a build and test it; PaqaError only where nothing can be read at all.

    Every row's material must permit a dataset under `license`, by default the recipe's where it names one.
    """
    finish_commit(folder)
    recipe = _recipe(folder)
    checked = Checked(license=license or (recipe.license if recipe else None))
    if checked.license:
        compatibility.target(checked.license)
    checked.problems += summary.mismatches(folder)
    ids: set[str] = set()
    for path in shards.with_scenes(folder):
        checked.problems += [f"{path.name}: {p}" for p in _row_groups(path)]
        if recipe:
            checked.problems += [f"{path.name}: {p}" for p in _shard_name(path, recipe)]
        for row in shards.rows_of(path):
            name = str(row.get("id"))
            if name in ids:
                checked.problems.append(f"{name}: this id occurs twice")
            ids.add(name)
            checked.problems += [f"{name}: {p}" for p in _row(row, checked)]
    for group, splits in sorted(checked.splits_of.items()):
        if len(splits) > 1:
            checked.problems.append(f"{group} is in {' and '.join(sorted(splits))}")
    checked.problems += _copies(checked)
    return checked


def check_store(folder: Path) -> tuple[int, list[str]]:
    """Read every object in a build's store: their number, and a line for each damaged one, now removed."""
    store = Store(summary.load(folder).store)
    objects = list(store.verified())
    damaged = [path for path, intact in objects if not intact]
    return len(objects), [f"{path} was damaged, and removed; {AGAIN}" for path in damaged]


def _recipe(folder: Path) -> Recipe | None:
    """The recipe of a build; None without it."""
    try:
        return decode_recipe((folder / RECIPE).read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise PaqaError(f"{folder / RECIPE}: cannot be read ({error}); run: paqa build again") from None


def _shard_name(path: Path, recipe: Recipe) -> Iterator[str]:
    """What is wrong with the name of a shard, which follows from its rows, and with their order."""
    rows = list(shards.rows_of(path, ["id", "key", "split", "seed", "paqa_version"]))
    split = path.name.partition("-")[0]
    if misplaced := [row["id"] for row in rows if row["split"] != split]:
        yield f"{len(misplaced)} rows are of another split, e.g. {misplaced[0]}; {AGAIN}"
    ids = [row["id"] for row in rows]
    if ids != sorted(ids):
        yield f"its rows are not in order of id; {AGAIN}"
    versions = {(row["paqa_version"], row["seed"]) for row in rows}
    expected = shards.file_name(split, [row["key"] for row in rows], versions, recipe.shard.row_group_mb)
    if SHARD_NAME.fullmatch(path.name) and path.name != expected:
        yield (
            f"its rows make the name {expected}: rows are missing, or not those that it was written with; "
            f"{AGAIN}"
        )


def _copies(checked: Checked) -> Iterator[str]:
    """Audio of one split that is, or holds a part of, audio of another, by fingerprint."""
    from paqa.audio.fingerprint import matches_between_splits

    digests = sorted(checked.fingerprints)
    splits = [checked.splits_of[f"audio {digest[:16]}"] for digest in digests]
    fingerprints = [checked.fingerprints[digest] for digest in digests]
    for match in matches_between_splits(fingerprints, [min(map(PROTECTED.index, names)) for names in splits]):
        first, second = digests[match.first], digests[match.second]
        where = " and ".join(sorted(splits[match.first] | splits[match.second]))
        yield f"audio {first[:16]} and {second[:16]} share {match.shared_ms} ms and are in {where}"


def _row_groups(path: Path) -> Iterator[str]:
    file = shards.open_shard(path)
    if b"huggingface" not in (file.schema_arrow.metadata or {}):
        yield "the schema metadata names no Hugging Face features; write shards with paqa build"
    for i in range(file.num_row_groups):
        size = file.metadata.row_group(i).total_byte_size
        if size > 100_000_000:
            yield f"row group {i} has {size / 1e6:.0f} MB, expected at most 100; lower shard.row_group_mb"


def _row(row: dict[str, Any], checked: Checked) -> Iterator[str]:
    audio = row.pop("audio", None) or {}
    violations = list(problems("item", row))
    yield from violations
    if violations:
        return
    item = shards.item(row)
    checked.rows += 1
    checked.clips.add(item.clip_id)
    checked.splits[item.split] += 1
    checked.tasks[item.task] += 1
    checked.positions[len(item.choices), item.answer_index] += 1
    checked.reflected.update([item.reflection.partition(":")[0]] if item.reflection else [])
    for group in item.groups:
        checked.splits_of[f"group {group!r}"].add(item.split)
    yield from _audio(audio.get("bytes"), item, checked)
    samples = checked.samples.get(hashlib.sha256(audio.get("bytes") or b"").hexdigest())
    yield from _lineage(item, samples, checked.license)
    yield from _key(item, samples)
    yield from _answer(item)
    yield from _evidence(item)


def _lineage(item: Item, samples: str | None, license: str | None) -> Iterator[str]:
    """Where the audio is from, and whether its licences permit `license`; `samples` is its digest."""
    if not item.origins or not item.paqa_version:
        yield "no origins or no paqa_version: made by an early paqa; run: paqa build again"
    recordings = [origin for origin in item.origins if origin.role == "recording"]
    if recordings and (len(item.origins) > 1 or samples not in (None, recordings[0].sha256)):
        yield f"the audio is not that of {recordings[0].uri}: its samples have another digest than the origin"
    stated = {part.id for part in compatibility.parts(item.license)}
    of_origins = {part.id for origin in item.origins for part in compatibility.parts(origin.license)}
    if item.origins and stated != of_origins:
        yield f"license {item.license!r} is not what its origins are under"
    for text in compatibility.texts(item) if license else ():
        if why := compatibility.refusal(text, license or ""):
            yield f"may not be published under {license}: {why}"


def _key(item: Item, samples: str | None) -> Iterator[str]:
    """Whether the key is that of the row and its samples; another version of paqa may make other keys."""
    if samples is None or item.paqa_version != __version__:
        return
    expected = replace(item, key=item_key(item, samples))
    if item.audio_dependence is not None:
        expected = shortcuts.dependent(expected, item.audio_dependence)
    if item.key != expected.key:
        key = f"key {item.key[:16]} is not that of its columns and audio, {expected.key[:16]}"
        yield f"{key}: one was changed; {AGAIN}"


def _audio(data: bytes | None, item: Item, checked: Checked) -> Iterator[str]:
    digest = hashlib.sha256(data or b"").hexdigest()
    checked.splits_of[f"audio {digest[:16]}"].add(item.split)
    if digest not in checked.audio_errors:
        checked.audio_errors[digest] = _decoded(data, item)
        if not checked.audio_errors[digest]:
            checked.fingerprints[digest], checked.samples[digest] = _measured(data or b"")
    if checked.audio_errors[digest]:
        yield checked.audio_errors[digest]


def _measured(data: bytes) -> tuple[np.ndarray, str]:
    """The fingerprint of encoded audio, and the digest of its samples."""
    from paqa.audio.fingerprint import fingerprint

    audio = read_flac(data)
    return fingerprint(audio), sample_digest(audio)


def _decoded(data: bytes | None, item: Item) -> str:
    if not data:
        return "audio.bytes is empty"
    try:
        length = read_flac(data).duration_ms
    except (RuntimeError, PaqaError) as error:
        return f"audio.bytes does not decode: {error}"
    expected = item.scene.duration_ms
    return "" if abs(length - expected) <= 10 else f"audio lasts {length} ms, the scene says {expected}"


def _answer(item: Item) -> Iterator[str]:
    if item.answer_index is None:
        if item.choices:
            choices = f"{len(item.choices)} choices and no answer_index"
            yield f"found {choices}, expected none of them in an open-ended row"
    elif not 0 <= item.answer_index < len(item.choices) or item.choices[item.answer_index] != item.answer:
        yield f"answer {item.answer!r} is not choice {item.answer_index}"
    if len(set(item.choices)) != len(item.choices):
        yield "two choices are equal"
    letters = grammar.by_letter(item.choices, item.rationale)
    try:
        trace = grammar.parse(item.rationale, letters)
    except PaqaError as error:
        yield f"rationale: {error}"
        return
    if grammar.perceived(trace) != grammar.perceive(item.scene):
        yield "rationale: ENV, SPEAKER or ASR differ from the scene"
    if (score := perception(item.rationale, item.scene, letters)) < 1.0:
        yield f"rationale: its perceptual consistency with the scene is {score:.3f}, expected 1"
    if (item.reflected, item.reflected) != (trace.reflect is not None, item.reflection is not None):
        columns = f"reflected is {item.reflected}, reflection {item.reflection!r}"
        yield f"{columns}, and the rationale says otherwise"
    if (mistaken := _mistaken(trace, item)) != item.mistaken:
        yield f"mistaken is {list(item.mistaken)}, by the rationale it has to be {list(mistaken)}"
    if trace.final and trace.response.text == item.answer:
        yield "rationale: the first response is right already, expected a wrong one before REFLECT"
    final = trace.final or trace.response
    if (final.index, final.text) != (item.answer_index if letters else None, item.answer):
        yield f"rationale concludes {final.text!r}, the answer is {item.answer!r}"


def _mistaken(trace: Trace, item: Item) -> tuple[str, ...]:
    """The tags that have to be called mistaken; DESCRIPTION only may be, where CAPTION is."""
    tags = grammar.corrected_tags(trace)
    if tags and "DESCRIPTION" in item.mistaken:
        tags = (*tags, "DESCRIPTION")
    return (*tags, *grammar.response_tags(trace)) if trace.reflect else ()


def _evidence(item: Item) -> Iterator[str]:
    counts = {"turn": len(item.scene.turns), "word": len(item.scene.words), "event": len(item.scene.events)}
    for reference in item.evidence:
        if reference.index >= counts[reference.kind]:
            missing = f"{reference.kind} {reference.index}"
            yield f"evidence {missing} does not exist: the scene has {counts[reference.kind]}"
    spans: tuple[Spanned, ...] = (*item.scene.turns, *item.scene.words, *item.scene.events)
    for span in spans:
        if not 0 <= span.start_ms < span.end_ms <= item.scene.duration_ms:
            bounds = f"[{span.start_ms}, {span.end_ms}) ms"
            yield f"a span {bounds} lies outside the clip of {item.scene.duration_ms} ms"


def _listed(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{k} {v}' for k, v in sorted(counts.items()))})" if counts else ""


def _positions(positions: Counter[tuple[int, int | None]]) -> Iterator[str]:
    """Where the answers stand, for each number of choices."""
    for size in sorted({size for size, _ in positions}):
        rows = sum(n for (k, _), n in positions.items() if k == size)
        shares = ", ".join(f"{chr(65 + i)} {positions[size, i] / rows:.1%}" for i in range(size))
        yield f"{f'{size} choices':<12} {rows} rows{f', answers at {shares}' if size else ', open-ended'}"


def text(checked: Checked) -> str:
    """The report a person reads."""
    lines = [
        f"rows         {checked.rows} about {len(checked.clips)} clips",
        f"splits       {', '.join(f'{k} {v}' for k, v in sorted(checked.splits.items()))}",
        f"tasks        {', '.join(f'{k} {v}' for k, v in checked.tasks.most_common())}",
        *_positions(checked.positions),
        f"reflected    {checked.reflected.total()} rows{_listed(checked.reflected)}",
        *([f"licence      {checked.license} asked of every row"] if checked.license else []),
        f"problems     {len(checked.problems) or 'none'}",
    ]
    return "\n".join([*lines, *(f"  {p}" for p in checked.problems[:20])])
