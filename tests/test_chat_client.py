"""Requests to an OpenAI-compatible endpoint, against a server on loopback."""

import time
from pathlib import Path

import pytest
from chat_server import Answer, completion, serving

from paqa.config.recipe import VerifierConfig
from paqa.curation import chat_client
from paqa.curation.chat_client import ChatClient, Prompt, Usage, check_endpoint
from paqa.errors import PaqaError
from paqa.storage.store import Store

KEY = "sk-test-0123456789abcdefghijklmn"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(chat_client, "PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def client(url: str, store: Store, limit: int = 100, **settings) -> ChatClient:
    return ChatClient(VerifierConfig(endpoint=url, model="small", **settings), store, limit)


def test_a_prompt_is_sent_once_and_then_read_from_the_store(store):
    with serving(lambda body, _: completion(f"re: {body['messages'][0]['content']}")) as server:
        first = client(server.url, store)
        assert first.ask(Prompt("Which?")) == "re: Which?"
        assert first.usage == Usage(requests=1, replies=1, prompt_tokens=10, completion_tokens=2)
        again = client("http://127.0.0.1:9/v1", store)  # another address: the reply is the model's
        assert again.ask(Prompt("Which?")) == "re: Which?"
        assert again.usage == Usage(stored=1)
    assert server.paths == ["/v1/chat/completions"]
    message = {"role": "user", "content": "Which?"}
    sampling = {"temperature": 0.0, "max_tokens": 1024}
    assert server.requests == [{"model": "small", "messages": [message], **sampling}]
    assert "Authorization" not in server.headers[0]


def test_what_decides_a_reply_is_in_its_key_and_what_does_not_is_not(store):
    which = Prompt("Which?")

    def key(prompt=which, **settings):
        return client("http://127.0.0.1:9/v1", store, **settings).key(prompt)

    keys = [key(), key(temperature=0.5), key(max_tokens=9), key(Prompt("Who?")), key(Prompt("Which?", "ab"))]
    assert len(set(keys)) == 5
    assert key(parallel=9, timeout_s=3.0, ask_text=1) == key()
    with_key = ChatClient(VerifierConfig("http://127.0.0.1:10/v1", "small"), store, 1)
    assert with_key.key(Prompt("Which?")) == key()
    assert (
        ChatClient(VerifierConfig("http://127.0.0.1:9/v1", "large"), store, 1).key(Prompt("Which?")) != key()
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(store, status):
    answers = [Answer(status, headers={"Retry-After": "0"}), Answer(status), completion("B")]
    with serving(lambda *_: answers.pop(0)) as server:
        asking = client(server.url, store)
        assert asking.ask(Prompt("Which?")) == "B"
    assert asking.usage == Usage(requests=3, replies=1, prompt_tokens=10, completion_tokens=2)


def test_retry_after_is_waited_for_within_bounds(store, monkeypatch):
    waits = []
    monkeypatch.setattr(chat_client.time, "sleep", waits.append)
    answers = [
        Answer(429, headers={"Retry-After": "7"}),
        Answer(429, headers={"Retry-After": "86400"}),
        Answer(429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        completion("B"),
    ]
    with serving(lambda *_: answers.pop(0)) as server:
        assert client(server.url, store).ask(Prompt("Which?")) == "B"
    assert waits == [7.0, 60.0, 0.01]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}',
        b"\xff" * 9,
        b"[" * 100_000,
    ],
)
def test_what_is_no_chat_completion_is_no_reply(store, body):
    with serving(lambda *_: Answer(body=body)) as server:
        asking = client(server.url, store)
        assert asking.ask(Prompt("Which?")) is None
    assert asking.usage == Usage(requests=4, failed=1)
    assert not list(Path(store.root).glob("???/*"))


def test_after_some_prompts_without_a_reply_nothing_is_sent_any_more(store):
    with serving(lambda *_: Answer(500, b"out of order")) as server:
        asking = client(server.url, store)
        assert [asking.ask(Prompt(str(n))) for n in range(8)] == [None] * 8
    assert (asking.usage.failed, asking.usage.skipped, asking.usage.requests) == (5, 3, 20)
    assert asking.usage.stopped == "5 prompts in a row have no reply, the last: status 500 (out of order)"


def test_a_bad_prompt_does_not_stop_the_others(store):
    def answer(body, _):
        bad = int(body["messages"][0]["content"]) % 4
        return Answer(400, b"context too long") if bad else completion("B")

    with serving(answer) as server:
        asking = client(server.url, store)
        replies = [asking.ask(Prompt(str(n))) for n in range(9)]
    assert [reply is not None for reply in replies] == [n % 4 == 0 for n in range(9)]
    assert (asking.usage.requests, asking.usage.failed, asking.usage.stopped) == (9, 6, "")


@pytest.mark.parametrize("status", [401, 403, 404, 307])
def test_a_server_that_refuses_all_is_asked_once(store, status):
    elsewhere = {"Location": "http://127.0.0.1:9/v1"}  # is not followed: it would get the key
    with serving(lambda *_: Answer(status, b"no", elsewhere)) as server:
        asking = client(server.url, store)
        assert [asking.ask(Prompt(str(n))) for n in range(3)] == [None] * 3
    assert (asking.usage.requests, asking.usage.skipped) == (1, 2)
    assert asking.usage.stopped == f"status {status} (no)"


def test_nobody_listens(store):
    with serving(lambda *_: completion("B")) as server:
        url = server.url
    asking = client(url, store)
    assert asking.ask(Prompt("Which?")) is None
    assert asking.usage == Usage(requests=4, failed=1)


def test_a_server_that_hangs_is_given_up(store, monkeypatch):
    monkeypatch.setattr(chat_client, "PAUSES", ())
    with serving(lambda *_: time.sleep(1.5) or completion("B")) as server:
        asking = client(server.url, store, timeout_s=1.0)
        began = time.monotonic()
        assert asking.ask(Prompt("Which?")) is None
        assert time.monotonic() - began < 1.5
    assert asking.usage == Usage(requests=1, failed=1)


def test_an_endless_answer_is_cut(store, monkeypatch):
    monkeypatch.setattr(chat_client, "LARGEST_REPLY", 1000)
    with serving(lambda *_: completion("B" * 2000)) as server:
        asking = client(server.url, store)
        assert asking.ask(Prompt("Which?")) is None
    assert asking.usage == Usage(requests=1, failed=1)


def test_no_more_than_the_allowed_requests_are_sent_tries_among_them(store):
    with serving(lambda *_: completion("B", usage=False)) as server:
        asking = client(server.url, store, limit=2)
        assert [asking.ask(Prompt(str(n))) for n in range(4)] == ["B", "B", None, None]
        assert asking.usage == Usage(requests=2, replies=2, skipped=2, unmetered=2)
        more = client(server.url, store, limit=9)
        assert [more.ask(Prompt(str(n))) for n in range(4)] == ["B"] * 4
        assert (more.usage.stored, more.usage.requests) == (2, 2)
        server.answer = lambda *_: Answer(503)
        tries = client(server.url, store, limit=2)
        assert tries.ask(Prompt("other")) is None
        assert (tries.usage.requests, tries.usage.failed) == (2, 1)


def test_nothing_is_sent_for_what_may_come_from_the_store_alone(store):
    with serving(lambda *_: completion("B")) as server:
        asking = client(server.url, store)
        assert asking.ask(Prompt("Which?"), stored=True) is None
        assert asking.ask(Prompt("Which?")) == "B"
        assert asking.ask(Prompt("Which?"), stored=True) == "B"
        stopped = ChatClient(VerifierConfig(server.url, "small"), store, 9, stopped="status 401")
        assert [stopped.ask(Prompt("Which?")), stopped.ask(Prompt("Who?"))] == ["B", None]
    assert len(server.requests) == 1


def test_the_key_is_sent_and_kept_nowhere(store, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    with serving(lambda _, headers: completion(f"you sent {headers['Authorization']}")) as server:
        asking = client(server.url, store, key_env="TEST_API_KEY")
        assert asking.ask(Prompt("Which?")) == "you sent Bearer (secret)"
        server.answer = lambda _, headers: Answer(401, headers["Authorization"].encode())
        assert asking.ask(Prompt("Who?")) is None
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert asking.usage.stopped == "status 401 (Bearer (secret))"
    assert not any(KEY.encode() in path.read_bytes() for path in Path(store.root).glob("???/*"))


def test_a_key_that_is_not_set(monkeypatch):
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    config = VerifierConfig("http://localhost:8000/v1", "small", key_env="TEST_API_KEY")
    with pytest.raises(PaqaError, match=r"verifier\.key_env: the environment has no TEST_API_KEY"):
        check_endpoint(config)


def test_another_machine_has_to_be_allowed_here(monkeypatch):
    config = VerifierConfig("https://Models.example.org/v1", "large")
    monkeypatch.delenv(chat_client.HOSTS, raising=False)
    with pytest.raises(PaqaError, match=r"set PAQA_VERIFIER_HOSTS=models\.example\.org"):
        check_endpoint(config)
    monkeypatch.setenv(chat_client.HOSTS, "other.org, models.example.org")
    check_endpoint(config)
    for address in ("http://localhost:8000/v1", "http://127.0.0.1/v1", "http://[::1]:80/v1"):
        check_endpoint(VerifierConfig(address, "small"))
    for address in ("http://localhost.example.com/v1", "http://127.0.0.1@example.com/v1"):
        with pytest.raises(PaqaError, match=r"example.com is not this machine"):
            check_endpoint(VerifierConfig(address, "small"))
    for address in ("http://:80/v1", "http://localhost:x/v1", "http://[::1/v1"):
        with pytest.raises(PaqaError, match=r"verifier.endpoint: found"):
            check_endpoint(VerifierConfig(address, "small"))
