"""What a model at an endpoint says of rows, and what a build makes of it; the server is one on loopback."""

import base64
import io
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import builds
import pyarrow.parquet as pq
import pytest
import soundfile
from chat_server import Answer, ChatServer, completion, serving
from conftest import BACKGROUNDS, CORPUS, VOICES
from test_paraphrase import clip
from test_shortcuts import item as shortcut_item

import paqa
from paqa.audio import digest, flac, quantize, read_flac, wav
from paqa.cli.main import main
from paqa.config.recipe import GatesConfig, QuestionsConfig, VerifierConfig
from paqa.curation import chat_client, shortcuts, verifier
from paqa.curation.chat_client import ChatClient
from paqa.curation.verifier import Asked, VerifiedRow
from paqa.dataset import shards, summary, verifier_table
from paqa.dataset.check import check
from paqa.errors import PaqaError
from paqa.pipeline import recipe_files
from paqa.rationale.answers import choice_in_free_text
from paqa.storage.store import Store
from paqa.types import Audio, Item

CHOICES = ("A dog", "A cat", "Rain", "None of these")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(chat_client, "PAUSES", (0.01,))


@pytest.mark.parametrize(
    "reply",
    [
        "B",
        "(B)",
        "b.",
        "(B) A cat",
        "A cat",
        "a cat.",
        "Answer: B",
        "The correct answer is (B).",
        "**B**",
        "B) A cat\n\nBecause it meows, not (A).",
        "<think>A? No, C.</think>\n\nB",
    ],
)
def test_a_reply_that_names_a_choice(reply):
    assert choice_in_free_text(reply, CHOICES) == 1


@pytest.mark.parametrize(
    "reply", ["", "E", "I cannot hear the recording.", "A or B", "(A) A cat", "Both.", "<think>B"]
)
def test_a_reply_that_names_none(reply):
    assert choice_in_free_text(reply, CHOICES) is None


@pytest.mark.parametrize(("n", "times"), [(4, 4), (3, 6), (2, 8), (4, 8)])
def test_the_answer_stands_at_each_place_equally_often(n, times):
    row = shortcut_item("row", tuple(map(str, range(n))))
    orders = verifier.orders(row, times)
    assert len(orders) == times
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert Counter(order.index(0) for order in orders) == dict.fromkeys(range(n), times // n)
    assert verifier.orders(row, times) == orders
    assert verifier.orders(row, 3) == orders[:3]


def test_few_right_answers_prove_little_and_many_take_the_dependence_away():
    rows = [shortcut_item(f"row-{n}", tuple("abcd"), question=f"Which {n}?", groups=("g",)) for n in range(8)]
    texts = shortcuts.texts(rows)
    answered = {"row-0": (4, 4), "row-1": (1, 4), "row-2": (0, 4), "row-3": (40, 40), "row-4": (1, 1)}
    before = shortcuts.measure(texts, 3.0).dependence
    scored = shortcuts.measure(texts, 3.0, text_answers=answered)
    chance = 1 / 4

    def dependence(right: int, replies: int) -> float:
        return round(1 - max(0.0, ((right + chance) / (replies + 1) - chance) / (1 - chance)), 2)

    for name, (right, replies) in answered.items():
        assert scored.dependence[name] == pytest.approx(
            min(before[name], dependence(right, replies)), abs=0.011
        )
    assert dependence(4, 4) == 0.2
    assert scored.dependence["row-3"] < 0.05 < 0.45 < dependence(1, 1)
    assert {scored.dependence[f"row-{n}"] == before[f"row-{n}"] for n in (2, 5, 6, 7)} == {True}
    guessed = scored.report.guessers["verifier"]
    assert guessed.accuracy == pytest.approx((1 + 0.25 + 0 + 1 + 1 + 3 * chance) / 8)
    assert "verifier" not in shortcuts.measure(texts, 3.0).report.guessers


def asked(server: ChatServer, store: Store, rows: list[Item], audio: Audio, **settings):
    config = VerifierConfig(server.url, "small", **settings)
    client = ChatClient(config, store, 1000)
    question = Asked(rows, digest(audio))
    return verifier.verify(question, config, GatesConfig(), client, lambda: wav(audio)), client.usage


@pytest.fixture(scope="module")
def rows() -> list[Item]:
    return builds.rows(clip("scene-1"), QuestionsConfig(per_clip=12, open_rate=1.0))


def tells(rows: list[Item]):
    """A server that knows every answer, and hears what the audio of a request holds."""
    sent: list[Audio] = []

    def answer(body: dict, _: dict) -> Answer:
        content = body["messages"][0]["content"]
        if isinstance(content, list):
            sound, content = content[0]["input_audio"], content[1]["text"]
            assert sound["format"] == "wav"
            samples, rate = soundfile.read(
                io.BytesIO(base64.b64decode(sound["data"])), dtype="float32", always_2d=True
            )
            sent.append(Audio(samples.T, rate))
            if "Which sounds" in content:
                return completion(f"{rows[0].scene.events[0].label}, a helicopter.")
        item = next(row for row in rows if f"\n{row.question}\n" in content)
        lines = re.findall(r"^\(([A-Z])\) (.*)$", content, re.MULTILINE)
        return completion(next(letter for letter, text in lines if text == item.answer))

    return answer, sent


def test_a_model_that_hears_agrees_and_gets_the_audio_of_the_clip(rows, tmp_path):
    audio = builds.noise("scene-1")
    answer, sent = tells(rows)
    with serving(answer) as server:
        (items, verified), usage = asked(
            server, Store(tmp_path), rows, audio, ask_text=0, ask_audio=2, ask_sounds=True
        )
    choosing = [row for row in rows if row.choices]
    assert choosing != rows  # open-ended ones are not asked
    assert items == rows
    assert {digest(one) for one in sent} == {digest(audio)}
    assert usage.requests == len(sent) == 1 + 2 * len(choosing)
    for item, row in zip(rows, verified, strict=True):
        assert (row.text_replies, row.paraphrase, row.original_question) == (0, None, None)
        assert row.sounds == (rows[0].scene.events[0].label, "a helicopter")
        assert row.sounds_confirmed == 0.5  # one of two
        right = (2, 2, 1.0) if item.choices else (0, 0, None)
        assert (row.audio_replies, row.audio_right, row.agreement) == right


def test_without_audio_nothing_but_the_text_is_sent(rows, tmp_path):
    answer, sent = tells(rows)
    with serving(answer) as server:
        (_, verified), usage = asked(server, Store(tmp_path), rows, builds.noise("scene-1"), ask_text=3)
    assert sent == []
    assert usage.requests + usage.stored == 3 * sum(bool(row.choices) for row in rows)
    for item, row in zip(rows, verified, strict=True):
        assert (row.text_replies, row.text_right) == ((3, 3) if item.choices else (0, 0))
    prompts = {request["messages"][0]["content"] for request in server.requests}
    assert len(prompts) == len(server.requests)  # choices in another order each time


def test_a_model_that_refuses_to_guess_is_never_right_and_has_no_agreement(rows, tmp_path):
    with serving(lambda *_: completion("I cannot know.")) as server:
        settings = {"ask_text": 2, "ask_audio": 2}
        (_, verified), _ = asked(server, Store(tmp_path), rows, builds.noise("scene-1"), **settings)
    choosing = [row for item, row in zip(rows, verified, strict=True) if item.choices]
    assert {(row.text_replies, row.text_right) for row in choosing} == {(2, 0)}
    assert {(row.audio_replies, row.agreement) for row in choosing} == {(0, None)}
    assert verifier.disagreeing(rows[0], choosing[0], VerifierConfig(min_agreement=1.0)) is None


def test_a_row_with_which_the_model_disagrees():
    config = VerifierConfig("http://localhost/v1", "small", ask_audio=4, min_agreement=0.5)
    row = VerifiedRow("row", audio_replies=4, audio_right=1, agreement=0.25)
    lost = verifier.disagreeing(shortcut_item("row"), row, config)
    assert lost is not None
    assert (lost.id, lost.stage, lost.reason) == ("row", "gates", "verifier_disagrees")
    assert lost.detail == (
        "row: 1 of 4 replies of small with the audio give its answer, verifier.min_agreement is 0.5"
    )
    half = VerifiedRow("row", audio_replies=4, audio_right=2, agreement=0.5)
    assert verifier.disagreeing(shortcut_item("row"), half, config) is None


def test_the_audit_reads_our_words(rows):
    new = replace(rows[0], question="Other?", rationale="other")
    ours = {"original_question": rows[0].question, "original_rationale": rows[0].rationale}
    row = VerifiedRow(new.id, paraphrase="kept", **ours)
    others = {item.id: VerifiedRow(item.id, paraphrase="unchanged") for item in rows[1:]}
    assert verifier_table.with_originals([new, *rows[1:]], {new.id: row, **others}) == rows


@pytest.mark.parametrize("channels", [1, 2])
def test_wav_holds_the_samples_exactly(channels):
    one = builds.noise("a", 0.5)
    audio = Audio(quantize(one.samples.repeat(channels, 0)), 16_000)
    samples, rate = soundfile.read(io.BytesIO(wav(audio)), dtype="float32", always_2d=True)
    assert digest(Audio(samples.T, rate)) == digest(audio) == digest(read_flac(flac(audio)))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('endpoint = "ftp://localhost/v1"', "verifier.endpoint"),
        ('endpoint = "http://localhost:8000/v1"', "verifier.model: found none"),
        ('endpoint = "http://localhost:8000/v1"\nmodel = "m"\nask_text = 0', "found nothing to ask"),
        ('endpoint = "http://localhost:8000/v1"\nmodel = "m"\nmin_agreement = 0.5', "with ask_audio = 0"),
        ('endpoint = "http://me:secret@localhost/v1"\nmodel = "m"', "holds a token or password"),
        ('key_env = "AWS_SECRET_ACCESS_KEY"', "verifier.key_env"),
        ("ask_text = -1", "verifier.ask_text"),
        ('adress = "x"', "unknown key 'adress'"),
    ],
)
def test_a_recipe_that_cannot_be(tmp_path, section, message):
    (tmp_path / "a.toml").write_text(
        f'name = "a"\n[[sources]]\nname = "v"\ntype = "folder"\npath = "v"\n[verifier]\n{section}\n'
    )
    with pytest.raises(PaqaError, match=re.escape(message)) as error:
        recipe_files.load(tmp_path / "a.toml")
    assert ":secret@" not in str(error.value)


RECIPE = f"""
name = "asked"
seed = 5

{VOICES}limit = 30

{BACKGROUNDS}limit = 20

[[mix]]
name = "scene"
scenes = 6
speech = "voices"
background = "backgrounds"
listen = false

[gates]
shortcuts = "off"
near_duplicates = false
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the corpus, and a build that asked nobody."""
    path = tmp_path_factory.mktemp("asked")
    (path / "demo").symlink_to(CORPUS)
    (path / "plain.toml").write_text(RECIPE)
    paqa.build(path / "plain.toml", path / "plain", workers=1, quiet=True)
    return path


def build(folder: Path, name: str, url: str, settings: str = "") -> summary.Summary:
    """A build of its own model, to which the store has no replies, and of the audio that all builds share."""
    recipe = folder / f"{name}.toml"
    recipe.write_text(f'{RECIPE}\n[verifier]\nendpoint = "{url}"\nmodel = "{name}"\n{settings}\n')
    return paqa.build(recipe, folder / name, workers=1, quiet=True)


def data(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "data").iterdir()}


def words(folder: Path) -> dict[str, tuple[str, str]]:
    return {
        row["id"]: (row["question"], row["rationale"])
        for row in shards.rows(folder, ["id", "question", "rationale"])
    }


def rewords(body: dict, _: dict) -> Answer:
    """Says B to all questions, and rewords every summary."""
    content = body["messages"][0]["content"]
    if isinstance(content, list) or "<QUESTION>" not in content:
        return completion("B")
    texts = re.findall(r"<(QUESTION|PLANNING|DESCRIPTION|REASONING|SUMMARY)>(.*?)</\1>", content, re.DOTALL)
    return completion("\n".join(f"<{t}>{x}{' So it is.' * (t == 'SUMMARY')}</{t}>" for t, x in texts))


@pytest.mark.build
def test_a_build_that_asks(folder, monkeypatch):
    settings = "ask_text = 2\nask_audio = 1\nparaphrase = true"
    monkeypatch.setattr(sys.modules[__name__], "RECIPE", RECIPE.replace('"off"', '"warn"'))
    with serving(rewords) as server:
        done = build(folder, "asks", server.url, settings)
        sent = len(server.requests)
        first = data(folder / "asks")
        again = build(folder, "asks", server.url, settings)
        assert len(server.requests) == sent == done.verifier.usage.requests
    assert (again.verifier.usage.requests, again.verifier.usage.stored) == (
        0,
        sent + done.verifier.usage.stored,
    )
    assert data(folder / "asks") == first
    assert check(folder / "asks").problems == []
    assert done.verifier.paraphrased == done.verifier.rows == done.items
    before, after = words(folder / "plain"), words(folder / "asks")
    assert before.keys() == after.keys()
    for name, (question, rationale) in after.items():
        assert (question, rationale.replace(" So it is.</SUMMARY>", "</SUMMARY>")) == before[name]
        assert " So it is." in rationale
    verified = verifier_table.load(folder / "asks")
    assert verified.keys() == after.keys()
    assert {(row.original_question, row.original_rationale) for row in verified.values()} == set(
        before.values()
    )
    report = shortcuts.load(folder / "asks")
    assert report.guessers["verifier"].accuracy == pytest.approx(
        done.verifier.text_right / done.verifier.text_replies
    )
    assert "verifier.parquet" in done.files
    assert f"| reworded | {done.items} questions, by asks |" in (folder / "asks" / "README.md").read_text()
    assert f"verifier     asks: {sent} requests" in summary.text(done)


REPLIED = VerifiedRow("r", 4, 1, 2, 2, 1.0, ("Dog", "Rain"), 0.5, "other_facts")


def test_what_was_replied_to_a_row_is_said_line_by_line():
    assert verifier_table.row_lines(REPLIED) == [
        ("without audio", "the row's answer in 1 of 4 replies"),
        ("with audio", "the row's answer in 2 of 2 replies"),
        ("sounds", "Dog, Rain (50% of the scene's sounds)"),
        ("reworded", "no: other_facts"),
    ]
    assert verifier_table.row_lines(VerifiedRow("r", sounds=())) == [("sounds", "none")]
    assert verifier_table.row_lines(VerifiedRow("r")) == []


def shown(folder: Path, name: str, capsys) -> str:
    assert main(["show", str(folder), name]) == 0
    return capsys.readouterr().out


def test_show_prints_what_the_verifier_replied_where_one_was_asked(tmp_path, capsys):
    made = builds.make(tmp_path / "build", clips=3)
    item = shards.item(next(iter(shards.rows(made))))
    before = shown(made, item.id, capsys)
    assert "verifier" not in before
    row = replace(REPLIED, id=item.id, paraphrase="kept", original_question="Which?", original_rationale="x")
    verifier_table.write(made, [row])
    lines = shown(made, item.id, capsys).splitlines()
    added = [line for line in lines if line not in before.splitlines()]
    assert added == [
        "verifier     without audio: the row's answer in 1 of 4 replies",
        "             with audio: the row's answer in 2 of 2 replies",
        "             sounds: Dog, Rain (50% of the scene's sounds)",
        "             reworded: yes",
        "             question before: Which?",
    ]
    verifier_table.write(made, [replace(row, original_question=item.question)])  # the prose alone is another
    assert "question before" not in shown(made, item.id, capsys)


@pytest.mark.build
def test_a_build_that_asks_nobody_has_no_table(folder):
    assert not (folder / "plain" / "verifier.parquet").exists()
    report = json.loads((folder / "plain" / "build.json").read_text())
    assert report["verifier"] is None
    assert "verifier" not in summary.text(summary.load(folder / "plain"))


@pytest.mark.build
def test_a_dead_endpoint_ends_nothing(folder):
    with serving(rewords) as server:
        url = server.url
    done = build(folder, "dead", url, "paraphrase = true")
    assert data(folder / "dead") == data(folder / "plain")
    assert done.verifier.usage.stopped.startswith("5 prompts in a row have no reply, the last: ConnectError")
    (warning,) = [text for text in done.warnings if "verifier" in text]
    assert "rows stay" in warning
    assert warning in summary.text(done)
    verified = verifier_table.load(folder / "dead").values()
    assert {(row.text_replies, row.agreement, row.paraphrase) for row in verified} == {(0, None, "no_reply")}


@pytest.mark.build
def test_requests_are_bounded_and_the_next_run_goes_on(folder):
    with serving(rewords) as server:
        settings = "ask_text = 2\nmax_requests = 20"
        runs = [build(folder, "bounded", server.url, settings) for _ in range(2)]
        assert len(server.requests) == 40
        prompts = {json.dumps(request) for request in server.requests}
        assert len(prompts) == 40  # nothing was asked twice
    assert [run.verifier.usage.requests for run in runs] == [20, 20]
    assert runs[0].verifier.text_replies < runs[1].verifier.text_replies
    assert any("verifier.max_requests is 20" in text for text in runs[0].warnings)


@pytest.mark.build
def test_rows_with_which_the_model_disagrees_are_quarantined(folder):
    with serving(rewords) as server:
        done = build(folder, "gated", server.url, "ask_text = 0\nask_audio = 1\nmin_agreement = 1.0")
    table = pq.read_table(folder / "gated" / "quarantine.parquet").to_pylist()
    lost = {row["id"] for row in table if row["reason"] == "verifier_disagrees"}
    verified = verifier_table.load(folder / "gated")
    assert lost == {name for name, row in verified.items() if row.agreement == 0.0}
    assert 0 < len(lost) == done.quarantined["verifier_disagrees"]
    kept = words(folder / "gated").keys()
    assert kept.isdisjoint(lost)
    assert kept | lost == verified.keys()


@pytest.mark.build
def test_a_build_that_grows_asks_about_new_rows_alone(folder):
    settings = "ask_text = 1\nparaphrase = true"
    with serving(rewords) as server:
        done = build(folder, "grows", server.url, settings)
        before = words(folder / "grows")
        recipe = folder / "grows.toml"
        recipe.write_text(recipe.read_text().replace("scenes = 6", "scenes = 8"))
        more = paqa.build(recipe, folder / "grows", workers=1, quiet=True, grow=True)
    after = words(folder / "grows")
    assert before.items() < after.items()
    assert more.verifier.usage.stored >= done.verifier.usage.requests
    assert more.verifier.paraphrased == more.verifier.rows
