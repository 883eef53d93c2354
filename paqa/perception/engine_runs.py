"""Which engine runs on which stem, and where the store keeps what it predicts.

Keys follow from the recipe and the clip alone, so what is complete is known without loading anything. A
stage's key holds the keys of its inputs: a new separator moves the key of every word predicted on its stem,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, get_args

import msgspec

from paqa.audio import read_flac
from paqa.config.recipe import HearConfigs, Profile, QuestionsConfig, Recipe, converted
from paqa.engines import weights as weight_files
from paqa.engines.base import device_label, engine_class, engine_revision, key_parameters, weight_digests
from paqa.engines.event_scores import EventScores
from paqa.storage.store import Store, key
from paqa.types import Audio, Clip, Device, Disagreement, Event, HeardBy, Stage, Stem, Tag, Turn, Unit, Word

STAGES: tuple[Stage, ...] = ("separate", "diarize", "tag", "transcribe")
RAW_MIX_STAGES: tuple[Stage, ...] = ("diarize", "tag")  # run a second time, on the raw mix
WITNESS: Stage = "tag"  # of these, what confirms events of the background (`event_features`): always run


@dataclass(frozen=True)
class StoredOutput:
    """What the store keeps of an engine's output: all of it but stems."""

    turns: tuple[Turn, ...] = ()
    exclusive: tuple[Turn, ...] = ()
    count_stability: Unit | None = None
    second_speaker: Unit | None = None
    events: tuple[Event, ...] = ()
    event_scores: tuple[EventScores, ...] = ()
    tags: tuple[Tag, ...] = ()
    words: tuple[Word, ...] = ()
    language: str | None = None
    doubts: tuple[Disagreement, ...] = ()


@dataclass(frozen=True)
class EngineRun:
    """One engine on one stem, e.g. transcribe on the speech stem."""

    stage: Stage
    stem: Stem
    engine: str
    params: str  # canonical JSON of the engine's Params
    context_s: int = 0  # seconds of the recording around a clip that the engine is given with it
    device: str = ""  # as `device_label` says: "" on a CPU

    @property
    def name(self) -> str:
        """E.g. `separate`, `tag background`."""
        return self.stage if self.stage == "separate" else f"{self.stage} {self.stem}"

    @property
    def suffix(self) -> str:
        """Of its objects in the store."""
        return ".flac" if self.stage == "separate" else ".json"


def engine_runs(recipe: Recipe) -> tuple[EngineRun, ...]:
    """All engine runs of a recipe, separation first, those on the raw mix last."""
    decisive_parts = (recipe.profile, recipe.hear, recipe.questions, recipe.devices)
    return _engine_runs(msgspec.json.encode(decisive_parts), weight_files.choices_stamp())


@lru_cache(maxsize=16)
def _engine_runs(decisive_parts: bytes, stamp: object) -> tuple[EngineRun, ...]:
    """The engine runs of the decisive parts of a recipe; `stamp` is the state of the models folder."""
    kinds = tuple[Profile, HearConfigs, QuestionsConfig, dict[Stage, Device]]
    profile, configs, questions, devices = msgspec.json.decode(decisive_parts, type=kinds)
    recipe = Recipe("", (), profile=profile, hear=configs, questions=questions, devices=devices)
    runs = []
    for stage in STAGES:
        config = recipe.stage_config(stage)
        params = engine_params(recipe, stage)
        encoded = msgspec.json.encode(params, order="deterministic").decode()
        device = device_label(engine_class(config.engine), devices.get(stage, "cpu"))
        context_s = getattr(params, "context_s", 0)
        runs.append(EngineRun(stage, config.stem, config.engine, encoded, context_s, device))
        if stage == "transcribe" and config.align not in (None, config.stem):
            runs.append(EngineRun(stage, config.align, config.engine, encoded, device=device))
    raw = [replace(run, stem="mix") for run in runs if run.stage in RAW_MIX_STAGES and run.stem != "mix"]
    needed = [run for run in raw if run.stage == WITNESS]
    optional = [run for run in raw if run.stage != WITNESS and runs_on_raw_mix(recipe)]
    return (*runs, *needed, *optional)


def optional_runs(recipe: Recipe) -> list[EngineRun]:
    """The runs that only wrong first responses need: where one fails, the clip still gets questions."""
    without = replace(recipe, questions=replace(recipe.questions, mishear=False))
    needed = engine_runs(without)
    return [run for run in engine_runs(recipe) if run not in needed]


def runs_on_raw_mix(recipe: Recipe) -> bool:
    """Whether all of RAW_MIX_STAGES run on the raw mix, for wrong first responses that happen there."""
    return recipe.questions.mishear and recipe.questions.reflect > 0


def raw_mix_chosen(clip: Clip, recipe: Recipe) -> bool:
    """Whether the engines run on the raw mix of this clip, too: by its samples, so that a rebuild agrees.

    All are chosen where that takes no further run.
    """
    if not clip.listen:
        return False
    share = recipe.questions.mishear_share if optional_runs(recipe) else 1.0
    return int(clip.sha256[:8], 16) < share * 2**32


def engine_run(recipe: Recipe, stage: Stage, on: Stem | None = None) -> EngineRun:
    """The run of a stage on a stem, by default the stem of the recipe; KeyError where there is none."""
    by_stage_and_stem = {(run.stage, run.stem): run for run in engine_runs(recipe)}
    return by_stage_and_stem[stage, on or recipe.stage_config(stage).stem]


def engine_params(recipe: Recipe, stage: Stage) -> Any:
    """The engine's own Params, as models folder and recipe change them; PaqaError for unknown names."""
    config = recipe.stage_config(stage)
    changes = weight_files.model_choices(config.engine) | config.params
    where = f"hear.{stage}.params: engine {config.engine}"
    return converted(engine_class(config.engine).Params, changes, where)


@cache
def identity(engine: str, params: str) -> tuple[str, str]:
    """The engine's revision and the canonical JSON of its decisive parameters; loads no model."""
    decoded = msgspec.json.decode(params, type=engine_class(engine).Params)
    encoded = msgspec.json.encode(key_parameters(decoded), order="deterministic").decode()
    return engine_revision(engine, decoded), encoded


def revision(run: EngineRun) -> str:
    """The engine's revision, and its device where that is no CPU: last digits differ there."""
    name = identity(run.engine, run.params)[0]
    return f"{name}@{run.device}" if run.device else name


@cache
def weights(engine: str, params: str) -> tuple[str, ...]:
    """The SHA-256s of the engine's weights, without loading a model."""
    kind = engine_class(engine)
    return weight_digests(kind, msgspec.json.decode(params, type=kind.Params))


def engines_used(recipe: Recipe) -> tuple[HeardBy, ...]:
    """Engine, revision and weights of every stage."""
    first = {run.stage: run for run in reversed(engine_runs(recipe))}
    runs = [first[stage] for stage in STAGES]
    return tuple(HeardBy(r.stage, r.engine, revision(r), weights(r.engine, r.params)) for r in runs)


def has_context(clip: Clip, run: EngineRun) -> bool:
    """Whether the engine is given the clip with its neighbours of the same recording."""
    return run.context_s > 0 and len(clip.context) > 1


def context_groups(clips: Sequence[Clip], run: EngineRun) -> list[list[Clip]]:
    """Clips in groups that an engine is given as one: those of one context, else each alone.

    In order of first appearance.
    """
    groups: dict[object, list[Clip]] = {}
    for clip in clips:
        group = clip.context if has_context(clip, run) else (clip.sha256, clip.id)
        groups.setdefault(group, []).append(clip)
    return list(groups.values())


def output_key(clip: Clip, run: EngineRun, separation: EngineRun) -> str:
    """Where the store keeps the output of this run on this clip."""
    parts = [run.stage, run.engine, revision(run), identity(run.engine, run.params)[1]]
    if has_context(clip, run):
        return key(*parts, clip.context, clip.place)
    if run.stem == "mix":
        return key(*parts, clip.sha256)
    return key(*parts, run.stem, output_key(clip, separation, separation))


def without_output(clips: Sequence[Clip], run: EngineRun, separation: EngineRun, store: Store) -> list[Clip]:
    """The clips of which the store has no output of this run."""
    stored = store.has_each([output_key(clip, run, separation) for clip in clips], run.suffix)
    return [clip for clip, complete in zip(clips, stored, strict=True) if not complete]


def device_of_outputs(clips: Sequence[Clip], recipe: Recipe, store: Store) -> Device | None:
    """Another kind of device whose outputs the store has for some of the clips, if there is one."""
    runs = engine_runs(recipe)
    for device in get_args(Device):
        others = engine_runs(replace(recipe, devices=dict.fromkeys(STAGES, device)))
        for run, other in zip(runs, others, strict=True):
            moved = [c for c in clips if output_key(c, run, runs[0]) != output_key(c, other, others[0])]
            if len(without_output(moved, other, others[0], store)) < len(moved):
                return device
    return None


def stem(clip: Clip, name: Stem, separation: EngineRun, store: Store) -> Audio:
    """A clip's mix or stem, `(channels, n)`; the background is exactly mix minus speech."""
    mix = read_flac(store.get(clip.sha256, ".flac"))
    if name == "mix":
        return mix
    speech = read_flac(store.get(output_key(clip, separation, separation), ".flac"))
    return speech if name == "speech" else Audio(mix.samples - speech.samples, mix.rate)


def stored_output(clip: Clip, run: EngineRun, separation: EngineRun, store: Store) -> StoredOutput:
    """What the engine predicted, from the store; MissingObject where it is not there."""
    output: StoredOutput = store.get_json(output_key(clip, run, separation), StoredOutput)
    return output
