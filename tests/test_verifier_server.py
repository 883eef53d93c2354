"""A real OpenAI-compatible server, `transformers serve`, with real weights: texts, and audio."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import builds
import pytest
from test_paraphrase import clip

from paqa.audio import digest, wav
from paqa.config.recipe import GatesConfig, QuestionsConfig, VerifierConfig
from paqa.curation import paraphrase, verifier
from paqa.curation.chat_client import ChatClient, Prompt
from paqa.curation.verifier import Asked
from paqa.storage.store import Store

pytest.importorskip("openai", reason="transformers serve wants openai: uv pip install openai")
pytest.importorskip("torch")


@pytest.fixture(scope="module")
def base(everyones) -> Path:
    """The embedded base: whisper tiny.en's encoder before SmolLM2-135M-Instruct; it reads texts as well."""
    from conftest import made_once

    from paqa.train import small_base_model

    folder = everyones / "verifier-base"
    with made_once(folder) as is_first:
        if is_first:
            small_base_model.make(folder)
    return folder


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """The address of a server that loads the model of a request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    code = "from transformers.cli.transformers import main; main()"
    options = ["serve", "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-c", code, *options],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(240):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def client(url: str, base: Path, store: Path, **settings) -> ChatClient:
    config = VerifierConfig(url, str(base), max_tokens=6, timeout_s=300, **settings)
    return ChatClient(config, Store(store), 20)


def test_a_language_model_reads_texts_and_its_tokens_are_counted(url, base, tmp_path):
    asking = client(url, base, tmp_path)
    reply = asking.ask(Prompt("The capital of France is"))
    assert "Paris" in reply
    assert (asking.usage.requests, asking.usage.replies, asking.usage.unmetered) == (1, 1, 0)
    assert asking.usage.prompt_tokens > 5
    assert 0 < asking.usage.completion_tokens <= 6
    assert asking.ask(Prompt("The capital of France is")) == reply
    assert asking.usage.stored == 1


def test_an_audio_model_takes_the_audio_of_a_request(url, base, tmp_path):
    tokens = []
    for seconds in (1.0, 4.0):
        asking, audio = client(url, base, tmp_path), builds.noise("a", seconds)
        assert asking.ask(Prompt("What is it?", digest(audio)), lambda audio=audio: wav(audio)) is not None
        tokens.append(asking.usage.prompt_tokens)
    assert tokens[1] - tokens[0] == pytest.approx(3 * 25, abs=2)  # the model reads 25 frames a second
    broken = client(url, base, tmp_path)
    assert broken.ask(Prompt("What is it?", "0" * 64), lambda: b"no audio") is None
    assert broken.usage.failed == 1


def test_rows_are_asked_and_reworded(url, base, tmp_path):
    audio = builds.noise("scene-1", 2.0)
    item = next(row for row in builds.rows(clip("scene-1"), QuestionsConfig()) if row.choices)
    config = VerifierConfig(
        url, str(base), ask_text=1, ask_audio=1, paraphrase=True, max_tokens=6, timeout_s=300
    )
    asking = ChatClient(config, Store(tmp_path), 20)
    asked = Asked([item], digest(audio))
    (kept,), (row,) = verifier.verify(asked, config, GatesConfig(), asking, lambda: wav(audio))
    assert (asking.usage.replies, asking.usage.failed) == (3, 0)
    assert row.text_replies == 1
    assert row.paraphrase == "missing_text"  # six tokens are too few
    assert kept == item
    assert paraphrase.prompt(item).count("<SUMMARY>") == 1
