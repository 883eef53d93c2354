"""`paqa init`: a recipe with every key, its default and its meaning, read from config/recipe.py.

Comments of fields, their defaults and the schema's bounds are all there is: nothing is written down twice, so
nothing can go stale. Keys without a default, and whole tables that a recipe may leave out, stand behind a `#`
without a blank.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import os
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paqa.config.recipe import PROFILES, BenchmarkConfig, MixConfig, Recipe, SourceConfig
from paqa.config.schema import HIDDEN, schema
from paqa.errors import PaqaError
from paqa.pipeline import recipe_files
from paqa.storage.store import write_atomically
from paqa.types import Stage

MISSING = object()  # a key that a table does not have
WIDTH = 34  # where meanings begin
OTHERS: dict[str, Any] = {  # what stands for a key that has no default
    "Recipe.license": "CC-BY-4.0",
    "SourceConfig.limit": 1000,
    "QualityConfig.min_snr_db": 5.0,
    "MixConfig.speech": "voices",
    "MixConfig.background": "sounds",
    "BenchmarkConfig.questions": "mmau-test-mini.json",
    "BenchmarkConfig.audio": "mmau-audio",
}


def write(subject: Path | None, out: Path | None) -> Path:
    """Write the recipe for a folder of recordings, or to a file `subject` by its name; returns the file.

    PaqaError where the file exists, or the folder holds no recording.
    """
    audio = subject if subject is not None and (subject.is_dir() or subject.suffix != ".toml") else None
    if audio is not None:
        _audio(audio)
    name = recipe_files.for_folder(audio).name if audio else (out or subject or Path("recipe")).stem
    target = out or (Path(f"{name}.toml") if audio else subject) or Path("recipe.toml")
    if target.exists():
        raise PaqaError(f"{target}: exists already; remove it, or name another file with --out")
    if not target.parent.is_dir():
        raise PaqaError(f"{target}: there is no folder {target.parent}; make it first")
    path = (
        Path(os.path.relpath(audio.resolve(), target.parent.resolve())).as_posix() if audio else "recordings"
    )
    write_atomically(target, text(recipe_files.for_folder(Path(name)).name, path).encode())
    return target


def _audio(folder: Path) -> None:
    """PaqaError where a folder holds no recording."""
    from paqa.sources.registry import recordings

    if not folder.is_dir():
        raise PaqaError(
            f"{folder}: no such folder; expected a folder of recordings, or the name of a new FILE.toml"
        )
    next(iter(recordings(SourceConfig("audio", "folder", "."), folder)))


def text(name: str, path: str) -> str:
    """The recipe as TOML: with its defaults, over the recordings in the folder `path`."""
    source = SourceConfig("audio", "folder", path)
    lines = [
        f"# A recipe of paqa: `paqa build {name}.toml --out data/{name}` makes the dataset.",
        "# Every key is here with its default; what you do not change may go. A line that begins with # "
        "and no blank",
        "# is a key that is not set. Relative paths are relative to this file.",
        "",
        *_keys(Recipe(name=name, sources=(source,)), "Recipe"),
        "",
        *_table("[[sources]]", source),
        "",
        *_table("[[mix]]", MixConfig("scenes", 100), off=True),
    ]
    for section in dataclasses.fields(Recipe):
        value = getattr(Recipe(name, (source,)), section.name)
        if section.name == "hear":
            for stage in dataclasses.fields(value):
                lines += ["", *_stage(stage.name, getattr(value, stage.name))]  # type: ignore[arg-type]
        elif dataclasses.is_dataclass(value):
            lines += ["", *_table(f"[{section.name}]", value)]
        if section.name == "gates":
            lines += ["", *_table("[[gates.benchmarks]]", BenchmarkConfig("MMAU"), off=True)]
    return "\n".join(lines) + "\n"


def _table(head: str, value: Any, off: bool = False) -> Iterator[str]:
    yield f"# {_first(type(value).__doc__)}"
    yield f"{'#' * off}{head}"
    yield from _keys(value, type(value).__name__, off)


def _stage(name: Stage, value: Any) -> Iterator[str]:
    """A stage of hearing, whose keys are the profile's where they are not set."""
    yield f"# {meanings(type(Recipe.hear))[name].capitalize()}. What is not set here is the profile's."
    yield f"[hear.{name}]"
    base = dataclasses.asdict(PROFILES[Recipe.profile][name])
    yield from _keys(value, "HearConfig", False, base if name == "transcribe" else base | {"align": MISSING})


def _keys(
    value: Any, kind: str, off: bool = False, replacements: dict[str, Any] | None = None
) -> Iterator[str]:
    """The keys of a dataclass that are no tables, with their meanings; those that are None behind a `#`."""
    about = meanings(type(value))
    for field in dataclasses.fields(value):
        default = getattr(value, field.name)
        table = dataclasses.is_dataclass(default) or field.name in ("sources", "mix", "benchmarks")
        if table or field.name in HIDDEN.get(kind, ()):
            continue
        replacement = (replacements or {}).get(field.name, OTHERS.get(f"{kind}.{field.name}"))
        if replacement is MISSING:
            continue
        shown = _toml(replacement if default is None else default)
        key = f"{'#' * (off or default is None)}{field.name} = {shown}"
        yield f"{key:<{WIDTH}}  # {about[field.name]}{_bounds(kind, field.name)}"


def _toml(value: Any) -> str:
    return json.dumps(
        value, ensure_ascii=False
    )  # of strings, numbers, lists and the empty table TOML's form is JSON's


def meanings(kind: type) -> dict[str, str]:
    """The comment at the end of each field of a dataclass, from its source."""
    source = inspect.cleandoc(inspect.getsource(kind))
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    fields = [
        node for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return {node.target.id: comments[node.end_lineno or 0] for node in fields if node.end_lineno in comments}  # type: ignore[union-attr]


def _first(doc: str | None) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join((doc or "").split("\n\n")[0].split()).replace("`", "")


def _bounds(kind: str, name: str) -> str:
    """What the schema allows, where it says more than a type: ` (0 to 1)`, ` ("fail", "warn" or "off")`."""
    property_schema = schema("recipe")["$defs"][kind]["properties"][name]
    property_schema = next(
        (part for part in property_schema.get("anyOf", ()) if part.get("type") != "null"), property_schema
    )
    if "enum" in property_schema:
        *firsts, last = map(json.dumps, sorted(property_schema["enum"], key=str))
        return f" ({', '.join(firsts)} or {last})" if firsts else ""
    low, high = property_schema.get("minimum"), property_schema.get("maximum")
    if low is None and high is None:
        return ""
    return f" ({low:,g} to {high:,g})" if high is not None and low is not None else f" (from {low:,g} on)"


def said(path: Path) -> str:
    """What the command prints."""
    name = re.sub(r"\.toml$", "", path.name)
    return f"written: {path}\nlook it over, then run:  paqa build {path} --out data/{name}"
