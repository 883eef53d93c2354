"""Recipe files: reading and checking one, changing keys with `--set`, and the recipe of a plain folder."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from paqa import plugins
from paqa.config.recipe import SET_BY_US, MixConfig, Recipe, SourceConfig, VerifierConfig, recipe_of
from paqa.config.schema import problems
from paqa.engines.base import ENGINES, engine_class
from paqa.errors import PaqaError
from paqa.licensing import compatibility
from paqa.perception.engine_runs import STAGES, engine_params
from paqa.questions.generate import TEMPLATES, templates
from paqa.sources import registry
from paqa.storage import redact, text_files

MAX_FILE_BYTES = 1_000_000


def load(path: Path) -> Recipe:
    """Read and check a recipe file; raises PaqaError that names the file, the key and what was expected."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise PaqaError(
                f"{path}: is no recipe: found over {MAX_FILE_BYTES // 10**6} MB, expected a page of TOML"
            )
        data = tomllib.loads(text_files.decode_text(content))
    except IsADirectoryError:
        raise PaqaError(
            f"{path}: is a folder; for a folder of recordings run: paqa build --audio {path}"
        ) from None
    except FileNotFoundError:
        raise PaqaError(
            f"{path}: no such recipe; for a folder of recordings run: paqa build --audio FOLDER"
        ) from None
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
        raise PaqaError(f"{path}: not valid TOML: {error}") from None
    try:
        for problem in (*_unfit(data), *problems("recipe", data)):
            raise PaqaError(problem)
        _no_pickle(data)
        recipe = replace(recipe_of(data), folder=str(path.parent))
        check(recipe)
    except (PaqaError, msgspec.ValidationError) as error:
        raise PaqaError(f"{path}: {error}") from None
    return recipe


def _unfit(value: Any, where: str = "", depth: int = 0) -> Iterator[str]:
    """What no key of a recipe can hold: very deep tables, and numbers that JSON cannot keep."""
    if depth > 20:
        yield f"{where[:60]}: tables or lists within each other more than 20 deep; expected a few"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _unfit(inner, f"{where}.{name}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _unfit(inner, f"{where}.{i}", depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: found {value}, expected a number"
    elif isinstance(value, int) and abs(value) > 2**53:
        yield f"{where}: found a number beyond 2**53, expected a smaller one"


def _no_pickle(data: dict[str, Any]) -> None:
    """Only this machine may allow a checkpoint to run code: a recipe may come from anybody."""
    for stage, config in data.get("hear", {}).items():
        if config.get("params", {}).get("allow_pickle"):
            raise PaqaError(
                f"hear.{stage}.params.allow_pickle: a recipe cannot allow that; say it on the command line, "
                f"--set hear.{stage}.params.allow_pickle=true, or in models.toml of the models folder"
            )


def for_folder(audio: Path) -> Recipe:
    """The recipe behind `paqa build --audio FOLDER`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", audio.resolve().name).strip("-._")[:80] or "audio"
    return Recipe(name=name, sources=(SourceConfig("audio", "folder", "."),), folder=str(audio))


def change(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe with `section.key=value` changes from the command line; values are TOML (or plain words)."""
    data = msgspec.to_builtins(recipe, str_keys=True)
    kept = {name: data.pop(name) for name in SET_BY_US}
    for text in changes:
        path, equals, value = text.partition("=")
        *sections, name = _keys(data, path)
        place: Any = data
        for section in sections:
            place = _within(place, section, f"--set {text}")
        if not equals or not isinstance(place, dict):
            raise PaqaError(
                f"--set {text}: expected KEY=VALUE with a key of a table, e.g. questions.per_clip=4"
            )
        place[name] = _toml_value(value)
    for problem in _unfit(data):
        raise PaqaError(f"--set: {problem}")
    try:
        plain = msgspec.json.decode(msgspec.json.encode(data))
    except (ValueError, TypeError) as error:  # half of a character
        raise PaqaError(f"--set: {error}") from None
    for problem in problems("recipe", plain):
        raise PaqaError(f"--set: {problem}")
    try:
        changed = replace(recipe_of(plain), **kept)
    except msgspec.ValidationError as error:
        raise PaqaError(f"--set: {error}") from None
    check(changed)
    return changed


def _keys(data: dict[str, Any], path: str) -> list[str]:
    """The keys of a path of `--set`; the name of a source, mix or benchmark may hold dots itself."""
    for table in ("sources", "mix", "gates.benchmarks"):
        place: Any = data
        for key in table.split("."):
            place = place.get(key, {}) if isinstance(place, dict) else {}
        names = [str(one.get("name")) for one in _tables(place)]
        for name in sorted(names, key=len, reverse=True):
            if path.startswith(f"{table}.{name}."):
                return [*table.split("."), name, *path.removeprefix(f"{table}.{name}.").split(".")]
    return path.split(".")


def _within(place: Any, key: str, where: str) -> Any:
    """What a key leads to in a table, or in a list of named tables; None in anything else."""
    if isinstance(place, list | tuple):
        named = {one.get("name"): one for one in _tables(place)}
        if key not in named:
            raise PaqaError(
                f"{where}: found no {key!r} there, expected one of {', '.join(map(str, named)) or 'none'}"
            )
        return named[key]
    return place.setdefault(key, {}) if isinstance(place, dict) else None


def _tables(place: Any) -> list[dict[str, Any]]:
    """The tables in a list of them; what an earlier `--set` has put there instead is left out."""
    return [one for one in place if isinstance(one, dict)] if isinstance(place, list | tuple) else []


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # also of a number with thousands of digits
        return text


def check(recipe: Recipe) -> None:
    """What a schema cannot say: names that refer to each other, engines that exist; or PaqaError."""
    _check_secrets(recipe)
    _check_sources(recipe)
    _check_tasks(recipe)
    for mix in recipe.mix:
        _check_mix(mix, recipe)
    if recipe.license is not None:
        compatibility.target(recipe.license)
    if recipe.split.validation + recipe.split.test > 1:
        raise PaqaError("split: validation and test add up to more than 1")
    _check_engines(recipe)
    _check_verifier(recipe.verifier)


def _check_verifier(config: VerifierConfig) -> None:
    if not config.endpoint:
        return
    if not config.model:
        raise PaqaError("verifier.model: found none, expected the model's name at the endpoint")
    if not (config.ask_text or config.ask_audio or config.ask_sounds or config.paraphrase):
        raise PaqaError(
            "verifier: found nothing to ask, expected ask_text, ask_audio, ask_sounds or paraphrase; "
            'or set endpoint = ""'
        )
    if config.min_agreement and not config.ask_audio:
        raise PaqaError(
            f"verifier.min_agreement: found {config.min_agreement:g} with ask_audio = 0, expected ask_audio "
            "of 1 or more"
        )


def _check_secrets(recipe: Recipe) -> None:
    if secret := redact.find_secret(msgspec.to_builtins(recipe, str_keys=True)):
        raise PaqaError(
            f"{secret}: holds a token or password; recipes are published with what they make: take it out, "
            "and log in "
            "with `hf auth login` or environment variables"
        )


def _check_sources(recipe: Recipe) -> None:
    names = [source.name for source in recipe.sources]
    if not names:
        raise PaqaError("sources: the recipe has none; name at least one")
    for source in recipe.sources:
        if names.count(source.name) > 1:
            raise PaqaError(f"sources: two sources are called {source.name!r}; names must differ")
        registry.check(source)


def _check_tasks(recipe: Recipe) -> None:
    for family in recipe.questions.families:
        plugins.refuse_clash("paqa.questions", family, {template.task for template in TEMPLATES.values()})
    asked = templates(recipe.questions)
    tasks = sorted({template.task for template in asked.values()})
    corpora: list[SourceConfig | MixConfig] = [*recipe.sources, *recipe.mix]
    for corpus in corpora:
        if unknown := sorted(set(corpus.tasks) - set(tasks)):
            raise PaqaError(
                f"{corpus.name}.tasks: no questions are called {unknown[0]!r}; known: {', '.join(tasks)}"
            )
    if unknown := sorted(set(recipe.questions.skip) - set(asked)):
        raise PaqaError(
            f"questions.skip: no template is called {unknown[0]!r}; known: {', '.join(sorted(asked))}"
        )


def _check_mix(mix: MixConfig, recipe: Recipe) -> None:
    sources = {source.name: source for source in recipe.sources}
    if mix.name in sources or [other.name for other in recipe.mix].count(mix.name) > 1:
        raise PaqaError(f"mix.{mix.name}: a source or another mix has that name too; names must differ")
    for role in ("speech", "background"):
        for name in mix.sources(role):
            if name not in sources:
                raise PaqaError(
                    f"mix.{mix.name}.{role}: no source is called {name!r}; known: {', '.join(sources)}"
                )
            if sources[name].use != "material":
                raise PaqaError(f'mix.{mix.name}.{role}: source {name!r} must have use = "material"')
    speech, background = mix.sources("speech"), mix.sources("background")
    if not speech and not background:
        raise PaqaError(f"mix.{mix.name}: name a source of speech, of background, or both")
    if mix.bed and not (speech and background):
        raise PaqaError(f"mix.{mix.name}.bed: found {mix.bed}, expected 0 without both speech and background")
    if not mix.listen and mix.answers != "truth":
        raise PaqaError(
            f'mix.{mix.name}.listen: found false with answers = "{mix.answers}", expected answers = "truth": '
            "what no engine hears has no other answers"
        )
    if not speech and mix.sounds[0] < 1:
        raise PaqaError(
            f"mix.{mix.name}.sounds: found {mix.sounds[0]}, expected at least 1 where nobody speaks"
        )
    for field_name in ("speakers", "turns", "pause_ms", "overlap_ms", "sounds", "snr_db"):
        low, high = getattr(mix, field_name)
        if low > high:
            raise PaqaError(
                f"mix.{mix.name}.{field_name}: found [{low}, {high}], expected the smaller number first"
            )


def _check_engines(recipe: Recipe) -> None:
    if recipe.stage_config("separate").stem != "mix":
        raise PaqaError("hear.separate.stem: separation hears the mix; leave the key out")
    for stage in STAGES:
        config = recipe.stage_config(stage)
        plugins.refuse_clash("paqa.engines", config.engine, ENGINES)
        serves = engine_class(config.engine).stage
        if serves != stage:
            raise PaqaError(f"hear.{stage}.engine: {config.engine} is an engine for {serves!r}")
        if config.align and stage != "transcribe":
            raise PaqaError(f"hear.{stage}.align: only transcribe has a second hearing; leave the key out")
        engine_params(recipe, stage)
