"""Which file a uri names.

What lists, tables, annotations and shards name is untrusted input: it is looked up below the root of its
source, links included, and never opened elsewhere.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected

PACKAGE = "package:"
NO_FILE = (errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP)  # Path.is_file() would raise these as well


def root(config: SourceConfig, folder: Path) -> Path:
    """The folder of a source's uris: its own, or that of its list. `folder` is the recipe's."""
    path = folder / config.path
    return path if path.is_dir() else path.parent


def locate(uri: str, folder: Path) -> Path:
    """The file that a uri names: below `folder`, or in an installed package for `package:NAME/FILE`.

    Raises `Rejected`: `outside_corpus` for what `..`, an absolute path or a link leads out of `folder` (or
    package), `missing_package` and `missing_file` for packages. Whether a plain path exists is for `decode`
    to say.
    """
    if uri.startswith(PACKAGE):
        return _in_package(uri)
    return _below(folder, uri, uri)


def _below(folder: Path, path: str, uri: str) -> Path:
    try:
        base, target = folder.resolve(), (folder / path).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a null byte
        raise Rejected("missing_file", f"{uri!r} names no file ({error}); correct the path") from None
    if not target.is_relative_to(base):
        detail = f"{uri!r} leads to {target}, outside of {base}; move or copy the file below that folder"
        raise Rejected("outside_corpus", detail)
    try:
        mode = target.stat().st_mode
    except OSError as error:
        if error.errno in NO_FILE:
            raise Rejected(
                "missing_file", f"{uri[:80]!r} names no file ({error.strerror}); correct the path"
            ) from None
        return target  # whoever opens it says what is wrong
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Rejected("unreadable", f"{uri!r} is a pipe or device; expected a file, check `ls -l`")
    return target


def corpus_file(path: Path, folder: Path, source: str) -> Path:
    """The path of a table or list of a corpus; PaqaError where it is a link out of the corpus's folder."""
    try:
        return locate(path.relative_to(folder).as_posix(), folder)
    except Rejected as error:
        raise PaqaError(f"source {source!r}: {error.detail}") from None


def _in_package(uri: str) -> Path:
    """A file of a package named by its module or distribution, found without importing anything."""
    name, _, path = uri.removeprefix(PACKAGE).partition("/")
    homes = list(_module_folders(name)) if name and path else []
    files = _distribution_files(name, path)
    if not homes and files is None:
        detail = f"{uri!r} needs the package {name!r}, which is not installed; run `uv pip install {name}`"
        raise Rejected("missing_package", detail)
    targets = [_below(home, path, uri) for home in homes] + (files or [])
    target = next((target for target in targets if target.is_file()), None)
    if target is None:
        raise Rejected(
            "missing_file", f"{uri!r}: {name!r} is installed without this file; check path and version"
        )
    return target


def _distribution_files(name: str, path: str) -> list[Path] | None:
    """Files of a distribution whose path ends in `path`, shortest first; None where it is not installed."""
    try:
        files = distribution(name).files or []
    except (PackageNotFoundError, ValueError, OSError):
        return None
    same = [file for file in files if f"/{file.as_posix()}".endswith(f"/{path}")]
    return [
        Path(str(file.locate())) for file in sorted(same, key=lambda file: (len(file.parts), file.as_posix()))
    ]


def _module_folders(name: str) -> Iterator[Path]:
    """The folders of a dotted module, found without importing it.

    `PathFinder` walks down from `sys.path`; `find_spec` would import the parents.
    """
    places: list[str] | None = None
    parts = name.split(".")
    for i in range(len(parts)):
        try:
            spec = PathFinder.find_spec(".".join(parts[: i + 1]), places)
        except (ValueError, OSError):  # a null byte, a name that is too long
            return
        if spec is None or spec.submodule_search_locations is None:
            return
        # else any folder of the working directory would be a package
        if i == len(parts) - 1 and spec.origin is None:
            return
        places = list(spec.submodule_search_locations)
    yield from map(Path, places or ())
