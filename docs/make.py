"""Write docs/api.md from the docstrings, without importing anything: `make docs`.

Public names of public modules, in the order of the source; a module without a docstring of its own is left
out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]
PACKAGES = ("paqa", "flows")
HEAD = """\
# API reference

Made from the docstrings by `make docs`; do not edit. Modules, classes and functions whose names begin with an
underscore are left out. What a function raises on wrong input is `paqa.errors.PaqaError`, with one line for a person.
"""


def text() -> str:
    """The whole page."""
    modules = [
        module for package in PACKAGES for module in _modules(griffe.load(package, search_paths=[ROOT]))
    ]
    contents = [f"- [`{m.path}`](#{_anchor(m.path)}): {_first(m)}" for m in modules]
    page = "\n".join([HEAD, *contents, *(line for m in modules for line in _module(m))])
    return re.sub(r"\n{3,}", "\n\n", page).rstrip() + "\n"


def _modules(module: griffe.Module) -> Iterator[griffe.Module]:
    """A module and those below it, in order of their names."""
    if module.docstring:
        yield module
    for name in sorted(module.modules):
        if not (name.startswith("_") or module.members[name].is_alias):
            yield from _modules(module.modules[name])


def _module(module: griffe.Module) -> Iterator[str]:
    yield from ("", f"## {module.path}", "", _doc(module))
    for member in module.members.values():
        if member.is_alias or member.name.startswith("_"):
            continue
        if member.is_class:
            yield from _class(member)
        elif member.is_function:
            yield from ("", f"### {member.name}", "", *_code(_signature(member)), _doc(member))


def _class(found: griffe.Class) -> Iterator[str]:
    """A class with its fields and public methods; fields and their remarks stand as in the source."""
    yield from ("", f"### {found.name}", "")
    lines = [f"class {found.name}{_bases(found)}:"]
    for member in found.members.values():
        own = not member.is_alias and not member.name.startswith("_")
        if own and member.is_attribute and "property" not in member.labels:
            lines += [f"    {line}" for line in inspect.cleandoc("\n".join(member.lines)).splitlines()]
    yield from _code("\n".join(lines).removesuffix(":") if len(lines) == 1 else "\n".join(lines))
    yield _doc(found)
    for member in found.members.values():
        if member.is_alias or member.name.startswith("_"):
            continue
        if member.is_function:
            yield from ("", f"#### {found.name}.{member.name}", "", *_code(_signature(member)), _doc(member))
        elif "property" in member.labels:
            yield from (
                "",
                f"#### {found.name}.{member.name}",
                "",
                *_code(f"{member.name}: {member.annotation}"),
            )
            yield _doc(member)


def _bases(found: griffe.Class) -> str:
    return f"({', '.join(map(str, found.bases))})" if found.bases else ""


def _signature(function: griffe.Function) -> str:
    """The function's head as it is written, without decorators and body."""
    lines = list(function.lines)
    start = next(i for i, line in enumerate(lines) if line.lstrip().startswith(("def ", "async def ")))
    head = []
    for line in lines[start:]:
        head.append(line)
        if line.rstrip().endswith(":") and "\n".join(head).count("(") == "\n".join(head).count(")"):
            break
    return inspect.cleandoc("\n".join(head)).rstrip(":")


def _code(source: str) -> list[str]:
    return ["```python", source, "```", ""]


def _doc(found: griffe.Object) -> str:
    """The docstring; examples in it as code, and nothing that Markdown would take for HTML."""
    lines, fenced = [], False
    for line in (found.docstring.value if found.docstring else "").splitlines():
        example = line.startswith(">>> ") or (fenced and bool(line.strip()))
        if example != fenced:
            lines.append("```python" if example else "```")
            fenced = example
        lines.append(line if example else line.replace("<", "&lt;") if "`" not in line else line)
    return "\n".join([*lines, "```"] if fenced else lines)


def _first(module: griffe.Module) -> str:
    return _doc(module).split("\n\n")[0].replace("\n", " ")


def _anchor(heading: str) -> str:
    """How GitHub names a heading."""
    return heading.lower().replace(".", "")


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(text(), encoding="utf-8")
