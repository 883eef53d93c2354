"""Which engine listens to which stem: keys of what will be heard, and the listening itself, batch by batch.

Keys follow from the recipe and the clip alone, so what is complete is known without loading anything. A stage's key
holds the keys of its inputs: a new separator moves the key of every word heard on its stem, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from typing import Any, TypeVar, get_args

import msgspec
import numpy as np

from paqa.audio import flac, quantize, read_flac
from paqa.config.recipe import HearConfigs, Profile, QuestionsConfig, Recipe
from paqa.engines import weights as weight_files
from paqa.engines.base import Heard, computed_on, decisive, engine_class, weight_digests
from paqa.errors import OutOfMemory, PaqaError, WorkerDied
from paqa.perception.engine_errors import device_lost, short_of_memory
from paqa.storage.batching import batches
from paqa.storage.redact import scrubbed
from paqa.storage.store import Store, key
from paqa.types import Audio, Clip, Device, Disagreement, Event, HeardBy, Quarantined, Stage, Stem, Tag, Turn, Word

STAGES: tuple[Stage, ...] = ("separate", "diarize", "tag", "transcribe")
MISHEARD: tuple[Stage, ...] = ("diarize", "tag")  # heard a second time, on the raw mix
PART_MS = 60_000  # of a batch: what an engine is given at once, while the next part is read and the last one written
NOT_MISHEARD = "not_misheard"  # the reason in quarantine where that failed

G = TypeVar("G")
U = TypeVar("U")


@dataclass(frozen=True)
class Perception:
    """What the store keeps of one hearing other than stems: `Heard` without audio."""

    turns: tuple[Turn, ...] = ()
    exclusive: tuple[Turn, ...] = ()
    events: tuple[Event, ...] = ()
    tags: tuple[Tag, ...] = ()
    words: tuple[Word, ...] = ()
    language: str | None = None
    doubts: tuple[Disagreement, ...] = ()


@dataclass(frozen=True)
class Hearing:
    """One engine on one stem: a node of the walk, e.g. transcribe on the speech stem."""

    stage: Stage
    stem: Stem
    engine: str
    params: str  # canonical JSON of the engine's Params
    context_s: int = 0  # seconds of the recording around a clip that the engine hears with it
    device: str = ""  # as `computed_on` says: "" on a CPU

    @property
    def name(self) -> str:
        return self.stage if self.stage == "separate" else f"{self.stage} {self.stem}"

    @property
    def suffix(self) -> str:
        return ".flac" if self.stage == "separate" else ".json"


@dataclass(frozen=True)
class Spent:
    """What listening to a batch cost: seconds inside engines and in all, and the audio heard."""

    audio_s: float = 0.0
    model_s: float = 0.0
    total_s: float = 0.0
    clips: int = 0

    @classmethod
    def since(cls, began: float, clips: Sequence[Clip], model_s: float = 0.0) -> Spent:
        """What was done with these clips since `began` (of `time.perf_counter`)."""
        return cls(sum(c.duration_ms for c in clips) / 1000, model_s, time.perf_counter() - began, len(clips))


def hearings(recipe: Recipe) -> tuple[Hearing, ...]:
    """All hearings of a recipe, separation first; those of MISHEARD on the raw mix last."""
    decisive_parts = (recipe.profile, recipe.hear, recipe.questions, recipe.devices)
    return _hearings(msgspec.json.encode(decisive_parts), weight_files.stamp())


@lru_cache(maxsize=16)
def _hearings(said: bytes, stamp: object) -> tuple[Hearing, ...]:
    """The hearings of what a recipe says about them; `stamp` tells states of the models folder apart."""
    kinds = tuple[Profile, HearConfigs, QuestionsConfig, dict[Stage, Device]]
    profile, chosen, questions, devices = msgspec.json.decode(said, type=kinds)
    recipe = Recipe("", (), profile=profile, hear=chosen, questions=questions, devices=devices)
    found = []
    for stage in STAGES:
        config = recipe.hearing(stage)
        given = recipe.parameters(stage)
        params = msgspec.json.encode(given, order="deterministic").decode()
        device = computed_on(engine_class(config.engine), devices.get(stage, "cpu"))
        found.append(Hearing(stage, config.stem, config.engine, params, getattr(given, "context_s", 0), device))
        if stage == "transcribe" and config.align not in (None, config.stem):
            found.append(Hearing(stage, config.align, config.engine, params, device=device))
    raw = [replace(n, stem="mix") for n in found if n.stage in MISHEARD and n.stem != "mix"]
    return tuple(found + raw * mishears(recipe))


def spare(recipe: Recipe) -> list[Hearing]:
    """The hearings on which only wrong first responses rest: a clip that one of them fails on is asked about still."""
    needed = hearings(replace(recipe, questions=replace(recipe.questions, mishear=False)))
    return [node for node in hearings(recipe) if node not in needed]


def mishears(recipe: Recipe) -> bool:
    """Whether the raw mix is listened to without decoupling as well, for wrong first responses that really happen."""
    return recipe.questions.mishear and recipe.questions.reflect > 0


def node(recipe: Recipe, stage: Stage, on: Stem | None = None) -> Hearing:
    """The hearing of a stage on a stem, by default the stem of the recipe; KeyError where there is none."""
    return {(n.stage, n.stem): n for n in hearings(recipe)}[stage, on or recipe.hearing(stage).stem]


@cache
def identity(engine: str, params: str) -> tuple[str, str]:
    """The engine's revision, without loading a model, and the canonical JSON of the parameters that matter."""
    kind = engine_class(engine)
    given = msgspec.json.decode(params, type=kind.Params)
    return str(kind.identify(given)), msgspec.json.encode(decisive(given), order="deterministic").decode()


def revision(hearing: Hearing) -> str:
    """The engine's revision, and what it computes on where that is no CPU: results differ in their last digits."""
    name = identity(hearing.engine, hearing.params)[0]
    return f"{name}@{hearing.device}" if hearing.device else name


@cache
def weights(engine: str, params: str) -> tuple[str, ...]:
    """The SHA-256s of the engine's weights, without loading a model."""
    kind = engine_class(engine)
    return weight_digests(kind, msgspec.json.decode(params, type=kind.Params))


def in_context(clip: Clip, hearing: Hearing) -> bool:
    """Whether the clip is heard with its neighbours of the same recording."""
    return hearing.context_s > 0 and len(clip.context) > 1


def heard_key(clip: Clip, hearing: Hearing, separation: Hearing) -> str:
    """Where the store keeps this hearing of this clip."""
    parts = [hearing.stage, hearing.engine, revision(hearing), identity(hearing.engine, hearing.params)[1]]
    if in_context(clip, hearing):
        return key(*parts, clip.context, clip.place)
    if hearing.stem == "mix":
        return key(*parts, clip.sha256)
    return key(*parts, hearing.stem, heard_key(clip, separation, separation))


def heard_by(recipe: Recipe) -> tuple[HeardBy, ...]:
    """Engine, revision and weights of every stage."""
    first = {node.stage: node for node in reversed(hearings(recipe))}
    used = [first[stage] for stage in STAGES]
    return tuple(HeardBy(n.stage, n.engine, revision(n), weights(n.engine, n.params)) for n in used)


def missing(clips: Sequence[Clip], hearing: Hearing, separation: Hearing, store: Store) -> list[Clip]:
    """The clips that nobody has heard this way yet."""
    there = store.which([heard_key(c, hearing, separation) for c in clips], hearing.suffix)
    return [c for c, known in zip(clips, there, strict=True) if not known]


def heard_on(clips: Sequence[Clip], recipe: Recipe, store: Store) -> Device | None:
    """Another kind of device on which engines have heard some of the clips as the recipe wants it, if there is one."""
    nodes = hearings(recipe)
    for kind in get_args(Device):
        others = hearings(replace(recipe, devices=dict.fromkeys(STAGES, kind)))
        for node, other in zip(nodes, others, strict=True):
            moved = [c for c in clips if heard_key(c, node, nodes[0]) != heard_key(c, other, others[0])]
            if len(missing(moved, other, others[0], store)) < len(moved):
                return kind
    return None


def stem(clip: Clip, name: Stem, separation: Hearing, store: Store) -> Audio:
    """A clip's mix or stem, `(channels, n)`; background is exactly mix minus speech, so only speech is stored."""
    mix = read_flac(store.get(clip.sha256, ".flac"))
    if name == "mix":
        return mix
    speech = read_flac(store.get(heard_key(clip, separation, separation), ".flac"))
    return speech if name == "speech" else Audio(mix.samples - speech.samples, mix.rate)


def perception(clip: Clip, hearing: Hearing, separation: Hearing, store: Store) -> Perception:
    """What was heard, from the store; MissingObject where it was not."""
    found: Perception = store.get_json(heard_key(clip, hearing, separation), Perception)
    return found


def together(clips: Sequence[Clip], hearing: Hearing) -> list[list[Clip]]:
    """Clips in groups that are heard as one: those of one context, else each alone; in order of first appearance."""
    groups: dict[object, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.context if in_context(clip, hearing) else (clip.sha256, clip.id), []).append(clip)
    return list(groups.values())


@dataclass(frozen=True)
class Unit:
    """What an engine is given at once: one clip's stem, or the context of some clips and which samples are theirs."""

    audio: Audio
    spans: tuple[tuple[Clip, int, int], ...]


def _unit(group: Sequence[Clip], hearing: Hearing, separation: Hearing, store: Store) -> Unit:
    first = group[0]
    if not in_context(first, hearing):
        audio = stem(first, hearing.stem, separation, store)
        return Unit(audio, ((first, 0, audio.samples.shape[1]),))
    parts = [read_flac(store.get(name, ".flac")) for name in first.context]
    ends = [0, *(int(n) for n in np.cumsum([part.samples.shape[1] for part in parts]))]
    whole = Audio(np.concatenate([part.samples for part in parts], axis=1), parts[0].rate)
    return Unit(whole, tuple((clip, ends[clip.place], ends[clip.place + 1]) for clip in group))


@cache
def _engine(name: str, params: str, device: str, threads: int) -> Any:
    """The loaded engine of this worker process; PaqaError where it cannot be loaded, OSError where a disk fails."""
    kind = engine_class(name)
    try:
        return kind(msgspec.json.decode(params, type=kind.Params), device=device, threads=threads)
    except (PaqaError, OSError):
        raise
    except Exception as error:
        raise PaqaError(
            f"engine {name} cannot be loaded on {device}: {_said(error)}; run `paqa doctor`, look at the free memory, "
            "then run the same command again"
        ) from error


def listen(
    clips: Sequence[Clip], hearing: Hearing, separation: Hearing, store: Store, device: str = "cpu", threads: int = 1
) -> tuple[Spent, list[Quarantined]]:
    """Hear a batch of clips and put what was heard into the store; audio is read and written while the model works.

    An engine that fails on a batch is given its inputs one by one; those that still fail are returned as quarantined.
    Raises WorkerDied where another process has to go on, OSError where a disk fails.
    """
    began = time.perf_counter()
    if hearing.stem != "mix":  # clips that the separator failed on have their quarantine row already
        there = store.which([heard_key(c, separation, separation) for c in clips], ".flac")
        clips = [c for c, known in zip(clips, there, strict=True) if known]
    if not clips:
        return Spent(), []
    engine = _engine(hearing.engine, hearing.params, device, threads)
    groups = together(clips, hearing)
    parts = batches(groups, lambda group: sum(c.duration_ms for c in group), PART_MS)
    model_s = 0.0
    lost: list[Quarantined] = []
    with ThreadPoolExecutor(store.width) as reader, ThreadPoolExecutor(store.width) as writer:
        writing = []
        for units in _ahead(lambda group: reader.submit(_unit, group, hearing, separation, store), parts):
            at_model = time.perf_counter()
            heard = _hear(engine, units)
            model_s += time.perf_counter() - at_model
            for unit, found in zip(units, heard, strict=True):
                if isinstance(found, str):
                    lost += _failed(unit, hearing, found)
                else:
                    writing.append(writer.submit(_keep, unit, hearing, separation, found, store))
        for kept in writing:
            kept.result()
    return Spent.since(began, clips, model_s), lost


def _ahead(begin: Callable[[G], Future[U]], parts: Sequence[Sequence[G]]) -> Iterator[list[U]]:
    """What is loaded of each part; that of the next one while the caller is busy with this one."""
    coming = [begin(thing) for thing in parts[0]]
    for following in (*parts[1:], ()):
        loaded = [future.result() for future in coming]
        coming = [begin(thing) for thing in following]
        yield loaded


def _hear(engine: Any, units: Sequence[Unit]) -> list[Heard | str]:
    """What an engine hears in each unit, or how it fails there.

    Where memory is short, fewer are tried together. WorkerDied where this process is of no further use: its GPU is
    lost, or one unit alone needs too much memory. OSError where the disk fails, for which no unit is to blame.
    """
    try:
        return list(engine([unit.audio for unit in units]))
    except Exception as error:
        short, why = short_of_memory(error), _said(error)
        if isinstance(error, OSError) and not short:
            raise
        if device_lost(error):
            raise WorkerDied(why) from None
    # not in the handler: there, the error still holds what the engine had in memory
    if len(units) > 1:
        parts = [units[: len(units) // 2], units[len(units) // 2 :]] if short else [[unit] for unit in units]
        return [heard for part in parts for heard in _hear(engine, part)]
    if short:
        raise OutOfMemory(why)
    return [why]


def _said(error: Exception) -> str:
    return scrubbed(f"{type(error).__name__}: {error}")


def rehear(
    clips: Sequence[Clip], hearing: Hearing, separation: Hearing, store: Store, device: str, threads: int
) -> bool:
    """Whether an engine still hears clips, which are heard as one, that it has heard before; keeps nothing."""
    engine = _engine(hearing.engine, hearing.params, device, threads)
    return isinstance(_hear(engine, [_unit(clips, hearing, separation, store)])[0], Heard)


def _failed(unit: Unit, hearing: Hearing, error: str) -> list[Quarantined]:
    said = (f"{hearing.engine} failed on {clip.uri}: {error}" for clip, *_ in unit.spans)
    own = zip(unit.spans, said, strict=True)
    return [Quarantined(c.id, hearing.stage, "engine_failed", detail, c.sha256) for (c, *_), detail in own]


def not_misheard(lost: Sequence[Quarantined]) -> list[Quarantined]:
    """Quarantine rows of `spare` hearings: they say that the clip itself is not lost."""
    kept = "the clip is asked about all the same, only no wrong first response comes from its raw mix"
    return [replace(q, reason=NOT_MISHEARD, detail=f"{q.detail}; {kept}") for q in lost]


def _keep(unit: Unit, hearing: Hearing, separation: Hearing, heard: Heard, store: Store) -> None:
    """Put what was heard into the store for each clip of a unit; of a stem, the clip's own samples."""
    for clip, start, end in unit.spans:
        where = heard_key(clip, hearing, separation)
        if hearing.stage == "separate":
            speech = heard.stems["speech"]
            store.put(where, ".flac", flac(Audio(quantize(speech.samples[:, start:end]), speech.rate)))
        else:
            store.put_json(where, Perception(**{f.name: getattr(heard, f.name) for f in fields(Perception)}))
