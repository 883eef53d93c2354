"""Requests to an OpenAI-compatible endpoint: cached in the store, bounded in number, tried again, counted.

A reply is an object of the store under the digest of all that decides it: model, prompt, digest of the audio
and sampling parameters, neither the endpoint's address nor its key. An endpoint that fails ends nothing: its
replies are None, and after a few failures in a row it is asked no more.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from paqa.config.recipe import VerifierConfig
from paqa.errors import PaqaError
from paqa.storage.redact import mask_secrets
from paqa.storage.store import Store, key

VERSION = 1  # raise it when the same prompt is sent in another form
PAUSES = (1.0, 2.0, 4.0)  # seconds before another try
LONGEST_PAUSE = 60.0  # seconds, whatever `Retry-After` asks for
FAILURES = 5  # prompts in a row without a reply, after which the endpoint is asked no more
LARGEST_REPLY = 4_000_000  # bytes
TRANSIENT = {408, 409, 425, 429, *range(500, 600)}
LASTING = {401, 403, 404, 405}  # no prompt will fare better
HOSTS = "PAQA_VERIFIER_HOSTS"  # the environment variable that allows endpoints beyond this machine
LOCAL = ("localhost", "127.0.0.1", "::1")
INSTALL = "uv pip install 'paqa[flow]'"


@dataclass(frozen=True)
class Prompt:
    """One message of a user; `audio` is the digest of a clip's samples, which are sent before the text."""

    text: str
    audio: str | None = None


@dataclass(frozen=True)
class Reply:
    """What a model answered, and the tokens that the server counted, None where it counts none."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class Usage:
    """What was asked and spent: tries that reached for the endpoint, and prompts by what became of them.

    Tokens are those that the server reported, of this run's requests; `unmetered` replies came without.
    `stopped` says why the endpoint is asked no more, "" while it is.
    """

    requests: int = 0
    replies: int = 0
    stored: int = 0  # answered from the store
    failed: int = 0  # no reply
    skipped: int = 0  # beyond max_requests, or after `stopped`
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unmetered: int = 0
    stopped: str = ""

    def __add__(self, other: Usage) -> Usage:
        sums = {name: n + getattr(other, name) for name, n in asdict(self).items() if name != "stopped"}
        return Usage(**sums, stopped=self.stopped or other.stopped)


class FailedRequest(Exception):
    """A request without a usable reply; `lasting` where another prompt would fare no better."""

    def __init__(self, problem: str, transient: bool = True, lasting: bool = False, pause_s: float = 0.0):
        super().__init__(problem)
        self.transient = transient
        self.lasting = lasting
        self.pause_s = pause_s


def api_key(config: VerifierConfig) -> str:
    """The endpoint's key from the environment, "" where the recipe names none; PaqaError where it is not
    set.
    """
    if not config.key_env:
        return ""
    value = os.environ.get(config.key_env, "").strip()
    if not value:
        raise PaqaError(
            f"verifier.key_env: the environment has no {config.key_env}; set it to the endpoint's key, "
            'or set verifier.key_env = ""'
        )
    return value


def check_endpoint(config: VerifierConfig) -> None:
    """PaqaError where the endpoint is not on this machine and nobody here allows its host, or its key is not
    set.

    A recipe may come from anybody, and the endpoint gets texts, audio and the key.
    """
    if not config.endpoint:
        return
    host = _host(config.endpoint)
    allowed = [name.strip().lower() for name in os.environ.get(HOSTS, "").split(",")]
    if host not in (*LOCAL, *allowed):
        raise PaqaError(
            f"verifier.endpoint: {host} is not this machine, and would get the texts and audio of the build; "
            f"to allow that, set {HOSTS}={host} in the environment"
        )
    api_key(config)


def _host(endpoint: str) -> str:
    """The name or number in an address, in small letters."""
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        raise PaqaError(f"verifier.endpoint: found {endpoint!r}, expected e.g. http://127.0.0.1:8000/v1")
    return host.lower()


class ChatClient:
    """Asks a model, from any number of threads; `usage` is what that came to so far.

    `max_requests` is what is left of the recipe's number; `stopped`, where not "", has it answer from the
    store alone.
    """

    def __init__(self, config: VerifierConfig, store: Store, max_requests: int, stopped: str = ""):
        try:
            import httpx
        except ImportError as error:
            raise PaqaError(f"verifier.endpoint wants {error.name}; run: {INSTALL}") from None
        self._config = config
        self._store = store
        self._left = max_requests
        self._key = api_key(config)
        self._lock = threading.Lock()
        self._failures = 0  # in a row
        self.usage = Usage(stopped=stopped)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=config.parallel)
        self._http = httpx.Client(headers=headers, timeout=config.timeout_s, limits=limits)

    def ask(self, prompt: Prompt, wav: Callable[[], bytes] | None = None, stored: bool = False) -> str | None:
        """The model's reply, from the store where it is there; None without one.

        `wav` gives the audio of a prompt that has some. With `stored`, nothing is sent.
        """
        where = self.key(prompt)
        if self._store.has(where, ".json"):
            self._count(Usage(stored=1))
            kept: Reply = self._store.get_json(where, Reply)
            return kept.text
        if stored or not self._may_try():
            self._count(Usage(skipped=1))
            return None
        reply = self._tried(prompt, wav)
        if reply is None:
            return None
        self._store.put_json(where, reply)
        return reply.text

    def key(self, prompt: Prompt) -> str:
        """Where the store has the reply to a prompt."""
        sampling = (self._config.temperature, self._config.max_tokens)
        return key("chat", VERSION, self._config.model, prompt, sampling)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _may_try(self) -> bool:
        """Whether one more request may be sent; it is counted then."""
        with self._lock:
            allowed = self._left > 0 and not self.usage.stopped
            self._left -= allowed
            self.usage += Usage(requests=int(allowed))
            return allowed

    def _tried(self, prompt: Prompt, wav: Callable[[], bytes] | None) -> Reply | None:
        """The reply, of several tries, the first of which is counted already."""
        body = self._body(prompt, wav)
        for pause in (*PAUSES, None):
            try:
                reply = self._reply(self._post(body))
            except FailedRequest as failure:
                if pause is not None and failure.transient:
                    time.sleep(min(max(pause, failure.pause_s), LONGEST_PAUSE))
                    if self._may_try():
                        continue
                self._fail(failure)
                return None
            self._succeed(reply)
            return reply
        raise AssertionError("the last try returns")

    def _body(self, prompt: Prompt, wav: Callable[[], bytes] | None) -> bytes:
        content: Any = prompt.text
        if wav is not None:
            sound = {"data": base64.b64encode(wav()).decode(), "format": "wav"}
            audio = {"type": "input_audio", "input_audio": sound}
            content = [audio, {"type": "text", "text": prompt.text}]
        request = {
            "model": self._config.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": self._config.temperature,
            "max_tokens": self._config.max_tokens,
        }
        return json.dumps(request).encode()

    def _post(self, body: bytes) -> bytes:
        """The bytes of a successful answer, within the time and the size that are allowed."""
        import httpx

        url = f"{self._config.endpoint.rstrip('/')}/chat/completions"
        began = time.monotonic()
        answer = bytearray()
        try:
            with self._http.stream(
                "POST", url, content=body, headers={"Content-Type": "application/json"}
            ) as response:
                for part in response.iter_bytes():
                    answer += part
                    if len(answer) > LARGEST_REPLY:
                        raise FailedRequest(f"an answer of over {LARGEST_REPLY:,} bytes", transient=False)
                    if time.monotonic() - began > self._config.timeout_s:
                        raise FailedRequest(f"no whole answer within {self._config.timeout_s:g} s")
        except httpx.TimeoutException:
            raise FailedRequest(f"no answer within {self._config.timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FailedRequest(self._clean(f"{type(error).__name__}: {error}")) from None
        if response.status_code != 200:
            raise self._refusal(response.status_code, response.headers, bytes(answer))
        return bytes(answer)

    def _refusal(self, status: int, headers: Mapping[str, str], answer: bytes) -> FailedRequest:
        detail = " ".join(answer[:2000].decode("utf-8", "replace").split())[:200]
        problem = self._clean(f"status {status}{f' ({detail})' if detail else ''}")
        after = headers.get("retry-after", "")
        pause = float(after) if after.isdecimal() else 0.0
        return FailedRequest(problem, status in TRANSIENT, status in LASTING or 300 <= status < 400, pause)

    def _reply(self, answer: bytes) -> Reply:
        """What a chat completion says; FailedRequest where it is none."""
        try:
            data = json.loads(answer)
            text = data["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            shown = self._clean(answer[:200].decode("utf-8", "replace"))
            raise FailedRequest(f"expected a chat completion with a text, found {shown!r}")
        usage = data.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        tokens = [counts.get(name) for name in ("prompt_tokens", "completion_tokens")]
        whole = [n if isinstance(n, int) and 0 <= n < 2**53 else None for n in tokens]
        return Reply(self._clean(text), *whole)

    def _clean(self, text: str) -> str:
        """The text without the key, whatever a server repeats of it."""
        whole = text.encode("utf-8", "replace").decode()  # half of a character cannot be stored
        return mask_secrets(whole.replace(self._key, "(secret)") if self._key else whole)

    def _count(self, usage: Usage) -> None:
        with self._lock:
            self.usage += usage

    def _succeed(self, reply: Reply) -> None:
        metered = reply.prompt_tokens is not None and reply.completion_tokens is not None
        read, written = reply.prompt_tokens or 0, reply.completion_tokens or 0
        spent = Usage(replies=1, prompt_tokens=read, completion_tokens=written, unmetered=int(not metered))
        with self._lock:
            self._failures = 0
            self.usage += spent

    def _fail(self, failure: FailedRequest) -> None:
        with self._lock:
            self._failures += 1
            several = f"{self._failures} prompts in a row have no reply, the last: {failure}"
            stopped = str(failure) if failure.lasting else several if self._failures >= FAILURES else ""
            self.usage += Usage(failed=1, stopped=stopped)
