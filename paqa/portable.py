"""What leaves this machine says nothing of its folders: absolute paths are cut down to their last part."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

_HOME = re.compile(r"~\w*[/\\]")
_PATH = re.compile(r"(?<![\w.:/~\\])(?:~?/|[A-Za-z]:[\\/])[^\s'\"`<>|;,()\[\]{}]*")  # in prose; an address is none


def is_local(text: str) -> bool:
    """Whether the whole text is a path that only this machine knows: absolute, or from somebody's home.

    >>> is_local("/home/somebody/a.wav"), is_local("demo/a.wav")
    (True, False)
    """
    return bool(_HOME.match(text)) or any(k(text).is_absolute() for k in (PurePosixPath, PureWindowsPath))


def value(given: Any) -> Any:
    """The value with every string in it that is an absolute path cut down to the path's last part."""
    if isinstance(given, Mapping):
        return {key: value(v) for key, v in given.items()}
    if isinstance(given, list | tuple):
        return [value(v) for v in given]
    return _last(given) if isinstance(given, str) and is_local(given) else given


def prose(text: str, *known: str) -> str:
    """The text with absolute paths in it cut down likewise; `known` ones are found with blanks in them too.

    >>> prose("look with: paqa shortcuts /home/somebody/build; then mend", "/home/somebody")
    'look with: paqa shortcuts build; then mend'
    """
    for path in sorted(filter(is_local, known), key=len, reverse=True):
        text = re.sub(rf"{re.escape(path.rstrip('/'))}(?![\w.-])", lambda m: _last(m[0]), text)
    return _PATH.sub(lambda m: _ended(m[0]), text)


def _ended(path: str) -> str:
    """The last part of a path in a sentence, whose full stop or colon is not its own."""
    bare = path.rstrip(".:!?")
    return _last(bare) + path[len(bare) :] if len(bare) > 1 else path


def _last(path: str) -> str:
    kind = PureWindowsPath if PureWindowsPath(path).is_absolute() else PurePosixPath
    return kind(path).name or path
