"""What goes wrong with the Hugging Face Hub, as one line for a person."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

from paqa.errors import PaqaError

CLIENT = "huggingface_hub"
TRANSPORTS = ("httpx", "httpcore", "httpx2", "httpcore2")  # of the client, by its version
TOKEN = "make one that may write at (your account) > Settings > Access Tokens, then run: hf auth login"


@contextmanager
def explained_errors(repo: str) -> Iterator[None]:
    """Raise what the Hub answers as one line for a person.

    Failures of the network become OSErrors, which are worth another try. Anything else, such as a defect of
    paqa, is raised as it is.
    """
    try:
        yield
    except Exception as error:  # errors of the transport have no base of their own but this
        explained = _explained(repo, error)
        if explained is error:
            raise
        raise explained from None


def _explained(repo: str, error: BaseException) -> BaseException:
    from huggingface_hub import errors

    if isinstance(error, RuntimeError) and error.__cause__:  # sending a file: what went wrong is its cause
        return _explained(repo, error.__cause__)
    if isinstance(error, errors.HFValidationError):
        return PaqaError(f"{repo}: no name that the Hub takes ({error}); expected ORG/NAME")
    if isinstance(error, errors.LocalTokenNotFoundError):
        return PaqaError(f"{repo}: there is no token of the Hub; {TOKEN}")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return PaqaError(f"{repo}: HF_HUB_OFFLINE is set, so the Hub cannot be asked; unset it to push")
    if isinstance(error, errors.HfHubHTTPError):
        return _http_error(repo, error)
    transport = errors.HfHubHTTPError.__bases__[0]  # the HTTPError of httpx or of its successor, as installed
    path = _packages(error)
    # another thread's failure closes the connection under this one
    closed = isinstance(error, RuntimeError | AttributeError) and path[-1] in TRANSPORTS
    sending = isinstance(error, RuntimeError) and path[-1] == CLIENT  # its native code knows no other kind
    if isinstance(error, transport) or closed or sending:
        what = f"the connection to the Hub broke ({type(error).__name__}: {_scrubbed(str(error))})"
        return ConnectionError(f"{repo}: {what}; run the same command again, it goes on where it stopped")
    if isinstance(error, ValueError) and CLIENT in path:  # the card's header, or the LFS server's answer
        return PaqaError(f"{repo}: the Hub rejects this: {_scrubbed(str(error))}")
    return error


def _packages(error: BaseException) -> list[str]:
    """The packages whose code an error has passed through; the last one raised it."""
    names = [str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)]
    return [name.partition(".")[0] for name in names] or [""]


def _http_error(repo: str, error: Any) -> Exception:
    """What an answer of the Hub means; only a failure of the server itself is worth another try."""
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    message = _scrubbed(getattr(error, "server_message", None) or str(error).partition("\n")[0])
    if status == 401:
        return PaqaError(f"{repo}: the Hub refuses the token ({message}); {TOKEN}")
    if status == 403:
        return PaqaError(f"{repo}: the token may not do this ({message}); it must be able to write to {repo}")
    if status == 404:
        return PaqaError(f"{repo}: not found, or the token may not see it ({message})")
    if status in (409, 412):
        return PaqaError(
            f"{repo}: somebody else changed it meanwhile ({message}); run the same command again"
        )
    if 400 <= status < 500 and status != 429:
        return PaqaError(f"{repo}: the Hub rejects this with status {status}: {message}")
    return ConnectionError(
        f"{repo}: the Hub answers with status {status} ({message}); run the same command again"
    )


def _scrubbed(text: str) -> str:
    """The text on one line and without the token, should a server ever repeat it."""
    from huggingface_hub import get_token

    for token in filter(None, (get_token(), os.environ.get("HF_TOKEN"))):
        text = text.replace(token, "(token)")
    return " ".join(re.sub(r"hf_\w{8,}", "(token)", text).split())
