"""Keep this machine's folders and secrets out of everything that leaves it.

Absolute paths are cut down to their last part; tokens and passwords are refused in settings, and masked in
the messages of other libraries.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from paqa.errors import PaqaError

_HOME = re.compile(r"~\w*[/\\]")
_PATH = re.compile(  # within a sentence; the path of a URL is none
    r"(?<![\w.:/~\\])(?:~?/|[A-Za-z]:[\\/])[^\s'\"`<>|;,()\[\]{}]*"
)
_PASSWORD = re.compile(r"(?<=://)[^/\s@'\"]*:[^\s@'\"]*(?=@)")  # KEY:SECRET@ in an address
_TOKEN = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bpn[ub]_[A-Za-z0-9]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|(?<=Bearer )[\w.~+/-]{8,}=*"
    r"|(?<=[?&](?:sig=|key=))[^&\s'\"]+|(?<=[?&]token=)[^&\s'\"]+"
    r"|(?<=Signature=)[^&\s'\"]+|(?<=Credential=)[^&\s'\"]+"
)
_VARIABLE = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|CREDENTIAL|CONNECTION_STRING")


def find_secret(settings: Any, where: str = "") -> str | None:
    """The key of the first string in a structure that holds a token or a URL with a password; else None.

    >>> secret_in({"sources": [{"path": "s3://AKIA:secret@bucket"}]}), secret_in("s3://bucket/prefix")
    ('sources.0.path', None)
    """
    if isinstance(settings, str):
        return (where or "it") if mask_secrets(settings) != settings else None
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(settings, Mapping):
        inner = settings.items()
    elif isinstance(settings, list | tuple):
        inner = enumerate(settings)
    for key, entry in inner:
        if place := find_secret(entry, f"{where}.{key}".lstrip(".")):
            return place
    return None


def refuse_secrets(url: str, what: str) -> str:
    """The URL, where it holds no secret; else PaqaError, which does not repeat it: builds keep errors."""
    if find_secret(url):
        raise PaqaError(
            f"{what}: holds a token or password, which runs and builds would keep; give credentials to the "
            "storage's own settings or environment variables (AWS_..., FSSPEC_S3_KEY, ...) instead"
        )
    return url


def mask_secrets(text: str) -> str:
    """The text with tokens, passwords in URLs and the values of secret environment variables masked."""
    for name, value in os.environ.items():
        if len(value) >= 8 and _VARIABLE.search(name.upper()) and not is_local_path(value):
            text = text.replace(value, "(secret)")
    return _TOKEN.sub("(secret)", _PASSWORD.sub("(secret)", text))


def is_local_path(text: str) -> bool:
    """Whether the whole text is a path of this machine: absolute, or from a home folder.

    >>> is_local("/home/somebody/a.wav"), is_local("demo/a.wav")
    (True, False)
    """
    is_absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return bool(_HOME.match(text)) or is_absolute


def shorten_paths(settings: Any) -> Any:
    """The structure with every string in it that is an absolute path cut down to the path's last part."""
    if isinstance(settings, Mapping):
        return {key: shorten_paths(entry) for key, entry in settings.items()}
    if isinstance(settings, list | tuple):
        return [shorten_paths(entry) for entry in settings]
    return _last(settings) if isinstance(settings, str) and is_local_path(settings) else settings


def shorten_paths_in_text(text: str, *paths: str) -> str:
    """The text with absolute paths in it cut down likewise; listed ones may hold blanks.

    >>> prose("look with: paqa shortcuts /home/somebody/build; then mend", "/home/somebody")
    'look with: paqa shortcuts build; then mend'
    """
    for path in sorted(filter(is_local_path, paths), key=len, reverse=True):
        text = re.sub(rf"{re.escape(path.rstrip('/'))}(?![\w.-])", lambda m: _last(m[0]), text)
    return _PATH.sub(lambda m: _last_before_mark(m[0]), text)


def _last_before_mark(path: str) -> str:
    """The last part of a path in a sentence; a full stop or colon after it stays, and is no part of it."""
    bare = path.rstrip(".:!?")
    return _last(bare) + path[len(bare) :] if len(bare) > 1 else path


def _last(path: str) -> str:
    kind = PureWindowsPath if PureWindowsPath(path).is_absolute() else PurePosixPath
    return kind(path).name or path
