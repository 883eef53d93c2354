"""What MkDocs does for the site beyond its plugins: pages made of other files, and diagrams as SVG.

- `api/NAME.md` is written for every module and package directly below `paqa`, and for `flows`.
- README.md and its neighbours become pages, so that their links are checked as well. What a page links to
  outside of docs/ is copied into the site.
- Diagrams (fences of the language `mermaid`) are drawn while the site is built: reading needs no script.
- A page that would load anything from another host stops the build, and so do lists that only GitHub reads.
"""

from __future__ import annotations

import ast
import hashlib
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ROOT_PAGES = {  # files of the root as pages
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
}
COPIES = "files"  # folder of the site with copies of other files that pages link to
FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)")  # the target of a relative link, without its anchor
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b[^>]*\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
)
# GitHub needs no empty line before a list, and 2 spaces inside of one. MkDocs needs the line, and 4 spaces.
LOST_LIST = re.compile(r"<p>[^<]*?\n(?:[-*]|1\.) ([^<\n]*)")
NESTED = re.compile(r"^ {1,3}(?:```|[-*] |\d+\. ).*", re.MULTILINE)
API = """\
---
title: {name}
---

::: {name}
    options: {{show_submodules: {whole}}}
"""


def _api() -> dict[str, str]:
    """The API pages, with the module or package that each is about."""
    pages = {"api/paqa.md": "paqa", "api/flows.md": "flows"}
    for path in sorted((ROOT / "paqa").iterdir()):
        module = path.suffix == ".py" or (path / "__init__.py").exists()
        if module and not path.name.startswith("_"):
            pages[f"api/{path.stem}.md"] = f"paqa.{path.stem}"
    return pages


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/, and copies of the files that pages link to."""
    for source, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for page, name in _api().items():
        text = API.format(name=name, whole=str(name != "paqa").lower())
        files.append(File.generated(config, page, content=text))
    for file in list(files.documentation_pages()):
        for path in _outside(file):
            copy = f"{COPIES}/{path}"
            if files.get_file_from_path(copy) is None:
                files.append(File.generated(config, copy, abs_src_path=str(ROOT / path)))
    return files


def _outside(file: File) -> list[str]:
    """The files outside of docs/ that a page links to and that are no pages, relative to the root."""
    paths = [_from_root(file.src_uri, link) for link in LINK.findall(file.content_string)]
    return [p for p in paths if not p.startswith("docs/") and p not in ROOT_PAGES and (ROOT / p).is_file()]


def _from_root(page: str, link: str) -> str:
    """What a page links to, relative to the root. Pages made of root files link from there."""
    folder = "" if page in ROOT_PAGES.values() else posixpath.dirname(f"docs/{page}")
    return posixpath.normpath(posixpath.join(folder, link))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The page with the links of the site and drawn diagrams. Raises PluginError for odd indents."""
    uri = page.file.src_uri
    if odd := NESTED.search(re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)):
        raise PluginError(f"{uri}: found {odd[0]!r}, expected 4 spaces inside of a list")
    if not uri.startswith("api/"):
        markdown = LINK.sub(lambda match: _in_site(uri, match[1]), markdown)
    return FENCE.sub(_drawn, markdown)


def _in_site(page: str, link: str) -> str:
    """A relative link of a page as it is in the site; what leads nowhere stays, and MkDocs refuses it."""
    path = _from_root(page, link)
    if path in ROOT_PAGES:
        return ROOT_PAGES[path]
    if path.startswith("docs/"):
        return posixpath.relpath(path.removeprefix("docs/"), posixpath.dirname(page) or ".")
    return f"{COPIES}/{path}" if (ROOT / path).is_file() else link


def _drawn(match: re.Match[str]) -> str:
    """A diagram as SVG, with ids of its own: a page may have several."""
    import mermaidx

    svg = mermaidx.render(match[1]).svg()
    name = f"diagram-{hashlib.sha256(match[1].encode()).hexdigest()[:8]}"
    return f'<figure class="diagram">{svg.replace("my-svg", name)}</figure>\n'


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Raises PluginError where a page loads something from another host, or shows a list as running text."""
    name = page.file.src_uri
    if loaded := LOADED.search(output):
        address = loaded[1] or loaded[2]
        raise PluginError(f"{name}: loads {address}; expected nothing from other hosts; put a copy into docs")
    if item := LOST_LIST.search(output):
        raise PluginError(f"{name}: expected an empty line before the list that begins with {item[1]!r}")
    return output


class FieldTable(griffe.Extension):
    """Shows the fields of a class as one table, described by the comments at the ends of their lines."""

    def on_class_members(self, *, node: ast.ClassDef, cls: griffe.Class, **_: Any) -> None:
        """Called when griffe has read what stands in a class."""
        rows = []
        for each in node.body:
            if not (isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)):
                continue
            field = cls.members[each.target.id]
            if not field.name.startswith("_"):
                field.public = False  # no section of its own
                rows.append(f"    {field.name}: {_description(field, each.annotation)}")
        if rows and cls.docstring:
            cls.docstring.value += "\n\nAttributes:\n" + "\n".join(rows)


def _description(field: griffe.Attribute, annotation: ast.expr) -> str:
    """What a field means, and its default. Words in `Annotated` move from its type into its description."""
    comment = re.search(r"  # (.+)$", field.lines[-1])
    text = comment[1] if comment else ""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        words = [part.value for part in annotation.slice.elts if isinstance(part, ast.Constant)]
        if words:
            text, field.annotation = str(words[-1]), field.annotation.slice.elements[0]
    text = f"{text[:1].upper()}{text[1:].rstrip('.')}. " if text else ""
    if field.value is None:
        return text
    factory = re.fullmatch(r"field\(default_factory=(\w+)\)", str(field.value))
    return f"{text}Default: `{factory[1] + '()' if factory else field.value}`."
