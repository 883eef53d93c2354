"""What the server of a build shows: Prefect's pages and reports, to pages of its own address only.

It has no login, and any web page that is open in a browser on this machine can send it requests. So it
answers what was sent to one of its own names (a page of another name that leads here, "DNS rebinding", is
refused) by a page of that same name or by no page at all (Prefect's clients, curl). Reports lie below a
random token besides.
"""

from __future__ import annotations

import os
import re
import secrets
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paqa.errors import PaqaError

# of the builds beside the home, at the UI's own address: its pages cannot link to files on disk
REPORTS = "/reports"
TOKEN = "reports.token"
HOSTS = "PAQA_ALLOWED_HOSTS"  # further names of the server, as behind a tunnel, with commas between
HEADERS = [(b"cross-origin-resource-policy", b"same-origin"), (b"x-frame-options", b"SAMEORIGIN")]


# --- reports
# ----------------------------------------------------------------------------------------------------------


def token(folder: Path) -> str:
    """The secret in the addresses of reports, kept in the server's folder so that links stay good.

    The first call makes it; hold start.lock there.
    """
    path = folder / TOKEN
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_urlsafe())
    return path.read_text()


def report_link(out: Path, folder: Path, external: bool) -> str:
    """Where the report of the build in `out` opens from the UI; its file where the server is not one of ours.

    `folder` is the server's.
    """
    if external:
        return (out / "report" / "index.html").resolve().as_uri()
    return f"{REPORTS}/{token(folder)}/{urllib.parse.quote(out.resolve().name)}/"


def reports(builds: Path, secret: str) -> Any:
    """A route to `BUILD/report/` of every build in a folder, and to nothing else of it."""
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    class Reports(StaticFiles):
        """`NAME/...` is `NAME/report/...`, where that is a report of paqa."""

        def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
            name, *rest = Path(path).parts or ("",)
            if name in ("", ".", "..", "/") or not (builds / name / "report" / "data" / "index.js").is_file():
                return "", None
            return super().lookup_path(os.path.join(name, "report", *rest))

    return Mount(f"{REPORTS}/{secret}", Reports(directory=builds, html=True), name="reports")


# --- who is answered
# --------------------------------------------------------------------------------------------------


def named_hosts() -> list[str]:
    """The further names of a server that the environment gives."""
    return [name.strip() for name in os.environ.get(HOSTS, "").split(",") if name.strip()]


def hosts(port: int, named: Iterable[str]) -> frozenset[str]:
    """The names that a server at `port` answers to: this machine's, and `named` ones as they are.

    A named host without a port stands for the one of its scheme, which browsers leave out (80, 443).
    PaqaError where one is no host.
    """
    for name in named:
        if not re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?", name):
            raise PaqaError(f"--allowed-host or {HOSTS}: found {name!r}, expected HOST or HOST:PORT")
    local = (f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))
    return frozenset(name.lower() for name in (*local, *named))


def refusal(method: str, headers: Mapping[str, str], own_hosts: frozenset[str]) -> tuple[int, str] | None:
    """Status and reason where a request is to be refused; `headers` by lower-case name, values in lower case.

    Browsers send Origin with every request of a page that could change anything or be read by it, and
    Sec-Fetch-* with all others, e.g. those of a script element. A link from elsewhere may open a page here,
    but not in a frame.
    """
    host = headers.get("host", "")
    if host not in own_hosts:
        return (
            421,
            f"no such host here: {host[:80]!r}; where it is this server's name: paqa ui --allowed-host "
            "HOST:PORT",
        )
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return 403, "pages of other addresses are not answered"
    opened = (method, headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
        "GET",
        "navigate",
        "document",
    )
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not opened:
        return 403, "pages of other addresses are not answered"
    return None


class OwnPages:
    """An ASGI application around another that refuses what pages of other addresses send."""

    def __init__(self, app: Any, own_hosts: frozenset[str]):
        """`own_hosts` are the server's own names, see `hosts`."""
        self.app = app
        self.own_hosts = own_hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request or a web socket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1").lower() for name, value in scope["headers"]
        }
        refused = refusal(scope.get("method", "GET"), headers, self.own_hosts)
        if refused is None:
            await self.app(scope, receive, self._marked(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: status 403
        else:
            await _refuse(send, *refused)

    @staticmethod
    def _marked(send: Any) -> Any:
        """`send`, with the headers by which browsers keep an answer from other pages' elements and frames."""

        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        return marked


async def _refuse(send: Any, status: int, reason: str) -> None:
    kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *HEADERS]})
    await send({"type": "http.response.body", "body": f"paqa: {reason}\n".encode()})


def settings(pages: Any) -> Any:
    """A route to the settings of Prefect's pages, with the API at the name by which the page was opened.

    Prefect names one address, which is another origin to a page that was opened as localhost or through a
    tunnel. `pages` is Prefect's application with the pages.
    """
    import httpx
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def answer(request: Request) -> JSONResponse:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(pages), base_url="http://pages", trust_env=False
        ) as client:
            theirs = (await client.get("/ui-settings")).json()
        return JSONResponse(theirs | {"api_url": f"{request.base_url}api"})

    return Route("/ui-settings", answer)
