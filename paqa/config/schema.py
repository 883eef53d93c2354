"""JSON Schemas (draft 2020-12) of what paqa reads and writes, made from the types into schemas/."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from paqa.config.recipe import SET_BY_US, Recipe
from paqa.types import Clip, Item, Scene

KINDS: dict[str, type] = {"recipe": Recipe, "clip": Clip, "scene": Scene, "item": Item}
HIDDEN = {"Recipe": set(SET_BY_US)}


def schema(kind: str) -> dict[str, Any]:
    """The schema of `recipe`, `clip`, `scene` or `item`; unknown fields are errors everywhere."""
    (root,), definitions = msgspec.json.schema_components([KINDS[kind]], ref_template="#/$defs/{name}")
    for name, definition in definitions.items():
        if definition.get("type") == "object":
            for hidden in HIDDEN.get(name, ()):
                definition["properties"].pop(hidden)
            definition["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"paqa {kind}",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def text(kind: str) -> str:
    """The schema as the file that is checked in."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


@cache
def _validator(kind: str) -> Any:
    import jsonschema

    schema_of_kind = schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema_of_kind)
    return jsonschema.Draft202012Validator(schema_of_kind)


def problems(kind: str, value: Any) -> Iterator[str]:
    """Every violation as one line: where, what was found, what was expected."""
    for error in _validator(kind).iter_errors(value):
        where = ".".join(str(p) for p in error.absolute_path) or kind
        if error.validator == "additionalProperties":
            keys = sorted(error.schema.get("properties", ()))
            yield from (
                f"{where}: unknown key {name!r}{_nearest(name, keys)}"
                for name in set(error.instance) - set(keys)
            )
        elif error.validator == "required":
            yield f"{where}: {error.message}"
        else:
            yield f"{where}: found {_short(error.instance)}, expected {_expected(error)}"


def _nearest(name: str, keys: list[str]) -> str:
    near = difflib.get_close_matches(name, keys, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(keys)}"


def _short(value: Any) -> str:
    shown = json.dumps(value, default=str, ensure_ascii=False)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _expected(error: Any) -> str:
    if error.validator in ("anyOf", "oneOf") and error.context:
        return " or ".join(sorted({_expected(e) for e in error.context}))
    return f"{error.validator} {json.dumps(error.validator_value, ensure_ascii=False)}"


def write(folder: Path) -> None:
    """Write all schema files (`make schemas`)."""
    for kind in KINDS:
        (folder / f"{kind}.schema.json").write_text(text(kind), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parents[2] / "schemas")
