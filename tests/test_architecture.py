"""The layout that docs/pipeline.md describes: imports point one way, and files and functions stay short."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "paqa").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])
MAX_LINES, MAX_FUNCTION = 400, 60
# A package may import itself and what stands before it.
ORDER = (
    "version",
    *(
        "errors",
        "plugins",
        "types",
        "spans",
        "text",
        "union_find",
        "audioset",
        "storage",
        "licensing",
        "config",
        "engines",
    ),
    *("sources", "audio", "splits", "mixing", "perception", "questions", "rationale", "curation", "dataset"),
    *("evaluation", "review", "report", "pipeline", "execution", "publish", "train", "flows", "cli"),
)


def package(module: str) -> str | None:
    """The package of a module of ours: `storage` of `paqa.storage.store`, `flows` of all flows; None of
    others.
    """
    top, *inner = module.split(".")
    return "flows" if top == "flows" else inner[0] if top == "paqa" and inner else None


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import, those in functions and under TYPE_CHECKING as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "paqa":
            yield from ((node.lineno, f"paqa.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def module_of(path: Path) -> str:
    """`paqa.storage.store` of paqa/storage/store.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_imports_point_one_way():
    wrong = []
    for path in FILES:
        importing = package(module_of(path))
        if importing in (None, "__init__", "__main__"):
            continue
        assert importing in ORDER, f"{path}: a new package wants its place in ORDER"
        for line, module in imports(path):
            imported = package(module)
            if imported in ORDER and ORDER.index(imported) > ORDER.index(importing):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle():
    modules = {module_of(path).removesuffix(".__init__"): path for path in FILES}
    needs: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                needs[name] |= {m for m in inner if m in modules} or {node.module} & modules.keys()
            elif isinstance(node, ast.Import):
                needs[name] |= {alias.name for alias in node.names} & modules.keys()
    left = dict(needs)
    while free := [name for name, needed in left.items() if not needed & (left.keys() - {name})]:
        for name in free:
            del left[name]
    assert not left, f"these import each other: {sorted(left)}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_and_functions_are_short(path: Path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name}, line {node.lineno}: {length} lines"
