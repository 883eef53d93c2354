"""What leaves this machine says nothing of its folders or secrets.

Absolute paths are cut down to their last part; tokens and passwords are refused where somebody gives them,
and taken out of what other libraries say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from paqa.errors import PaqaError

_HOME = re.compile(r"~\w*[/\\]")
_PATH = re.compile(
    r"(?<![\w.:/~\\])(?:~?/|[A-Za-z]:[\\/])[^\s'\"`<>|;,()\[\]{}]*"
)  # in prose; an address is none

_PASSWORD = re.compile(r"(?<=://)[^/\s@'\"]*:[^\s@'\"]*(?=@)")  # KEY:SECRET@ in an address
_TOKEN = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bpn[ub]_[A-Za-z0-9]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bsk-[A-Za-z0-9_-]{20,}|(?<=Bearer )[\w.~+/-]{8,}=*"
    r"|(?<=[?&](?:sig=|key=))[^&\s'\"]+|(?<=[?&]token=)[^&\s'\"]+|(?<=Signature=)[^&\s'\"]+|(?<=Credential=)[^&\s'\"]+"
)
_VARIABLE = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|CREDENTIAL|CONNECTION_STRING")


def find_secret(given: Any, where: str = "") -> str | None:
    """The key of the first string in a structure that holds a token or an address with a password; None
    without one.

    >>> secret_in({"sources": [{"path": "s3://AKIA:secret@bucket"}]}), secret_in("s3://bucket/prefix")
    ('sources.0.path', None)
    """
    if isinstance(given, Mapping):
        return next(
            (at for k, v in given.items() if (at := find_secret(v, f"{where}.{k}".lstrip(".")))), None
        )
    if isinstance(given, list | tuple):
        return next((at for i, v in enumerate(given) if (at := find_secret(v, f"{where}.{i}"))), None)
    return (where or "it") if isinstance(given, str) and mask_secrets(given) != given else None


def refuse_secrets(url: str, what: str) -> str:
    """The address, if it holds no password; PaqaError, which does not repeat it, otherwise: runs and builds
    keep it.
    """
    if find_secret(url):
        wanted = "give credentials to the storage's own settings or environment variables (AWS_..., FSSPEC_S3_KEY, ...)"
        raise PaqaError(
            f"{what}: holds a token or password, which runs and builds would keep; {wanted} instead"
        )
    return url


def mask_secrets(text: str) -> str:
    """The text with tokens, passwords in addresses and the values of secret environment variables taken
    out.
    """
    for name, value in os.environ.items():
        if len(value) >= 8 and _VARIABLE.search(name.upper()) and not is_local_path(value):
            text = text.replace(value, "(secret)")
    return _TOKEN.sub("(secret)", _PASSWORD.sub("(secret)", text))


def is_local_path(text: str) -> bool:
    """Whether the whole text is a path that only this machine knows: absolute, or from somebody's home.

    >>> is_local("/home/somebody/a.wav"), is_local("demo/a.wav")
    (True, False)
    """
    return bool(_HOME.match(text)) or any(k(text).is_absolute() for k in (PurePosixPath, PureWindowsPath))


def shorten_paths(given: Any) -> Any:
    """The value with every string in it that is an absolute path cut down to the path's last part."""
    if isinstance(given, Mapping):
        return {key: shorten_paths(v) for key, v in given.items()}
    if isinstance(given, list | tuple):
        return [shorten_paths(v) for v in given]
    return _last(given) if isinstance(given, str) and is_local_path(given) else given


def shorten_paths_in_text(text: str, *known: str) -> str:
    """The text with absolute paths in it cut down likewise; `known` ones are found with blanks in them too.

    >>> prose("look with: paqa shortcuts /home/somebody/build; then mend", "/home/somebody")
    'look with: paqa shortcuts build; then mend'
    """
    for path in sorted(filter(is_local_path, known), key=len, reverse=True):
        text = re.sub(rf"{re.escape(path.rstrip('/'))}(?![\w.-])", lambda m: _last(m[0]), text)
    return _PATH.sub(lambda m: _ended(m[0]), text)


def _ended(path: str) -> str:
    """The last part of a path in a sentence, whose full stop or colon is not its own."""
    bare = path.rstrip(".:!?")
    return _last(bare) + path[len(bare) :] if len(bare) > 1 else path


def _last(path: str) -> str:
    kind = PureWindowsPath if PureWindowsPath(path).is_absolute() else PurePosixPath
    return kind(path).name or path
