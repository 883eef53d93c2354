"""`paqa push` against a Hub on loopback, through huggingface_hub itself: its legacy protocol, not Xet."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from builds import make
from conftest import ROOT
from fakehub import Hub, free_port
from huggingface_hub import CommitOperationAdd, errors

from paqa.dataset import card, open_build, shards, summary
from paqa.errors import PaqaError
from paqa.publish import hub, release
from paqa.publish.hub_errors import explained_errors
from paqa.storage.store import is_transient
from paqa.types import Origin

REPO = "paqa-lab/made"
TOKEN = "hf_writesecret123"
THEIRS = ["data/notes.csv", "data/train-00000-of-00001.parquet"]
TEXTS = {"README.md", "LICENSE.md"}
LOOPBACK = """
import socket
known = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
        raise RuntimeError(f"not on loopback: {address}")
    return known(self, address)
socket.socket.connect = connect
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make(tmp_path_factory.mktemp("build") / "made")


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """The same build with four clips more."""
    return make(tmp_path_factory.mktemp("build") / "made", clips=13)


@pytest.fixture
def server(tmp_path):
    server = Hub(tmp_path / "hub", free_port()).start()
    yield server
    server.stop()


def run(server, code_or_args, token=TOKEN, check=True, **variables):
    """Python code, or the command line, in a process that can reach nothing but loopback."""
    guard = server.root / "guard"
    guard.mkdir(exist_ok=True)
    (guard / "sitecustomize.py").write_text(LOOPBACK)
    command = [sys.executable, "-c", code_or_args] if isinstance(code_or_args, str) else None
    command = command or [sys.executable, "-m", "paqa", *map(str, code_or_args)]
    path = os.pathsep.join([str(guard), str(ROOT), str(ROOT / "tests")])
    environment = os.environ | server.environment(token) | {"PYTHONPATH": path} | variables
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return done


def push(server, folder, *args, **options):
    return run(server, ["push", folder, options.pop("repo", REPO), *args], **options)


def names(folder):
    return {f"data/{p.name}" for p in shards.files(folder)}


def remote_files(server, name=REPO):
    repo = server.repo(name)
    return repo["commits"][repo["head"]]["files"]


def test_a_dry_run_shows_what_would_change_and_changes_nothing(server, built):
    done = push(server, built)
    assert "would be made, private" in done.stdout
    assert "nothing was sent" in done.stdout
    for path in shards.files(built):
        assert f"+ data/{path.name}" in done.stdout
    assert "+- config_name: default" in done.stdout
    assert "tag          v1" in done.stdout
    assert server.repo(REPO) is None
    assert {r["method"] for r in server.log()} <= {"GET", "HEAD"}


def test_a_fresh_push_is_private_complete_and_tagged(server, built):
    done = push(server, built, "--yes")
    repo = server.repo(REPO)
    assert repo["private"]
    assert repo["tags"] == {"v1": repo["head"]}
    files = remote_files(server)
    assert set(files) == names(built) | TEXTS
    assert {files[f"data/{p.name}"]["oid"] for p in shards.files(built)} == {
        hub.digest(p) for p in shards.files(built)
    }
    assert sorted(server.sent()) == sorted(hub.digest(p) for p in shards.files(built))
    assert "verified 5 shards and README.md and LICENSE.md" in done.stdout


def test_no_token_and_no_path_of_this_machine_in_what_is_public(server, built):
    push(server, built, "--yes")
    card = server.root / "blobs" / remote_files(server)["README.md"]["oid"]
    said = card.read_text() + json.dumps(server.repo(REPO))
    for secret in (TOKEN, "/home/somebody", str(built)):
        assert secret not in said
    assert '"path": "recordings"' in card.read_text()


def test_nothing_beside_the_release_is_sent(server, built, tmp_path):
    """Neither what is for this machine's eyes, nor its paths in what is sent."""
    folder = tmp_path / "made"
    shutil.copytree(built, folder)
    said = {
        "report/index.html",
        "report/media/0.js",
        "data/notes.txt",
        "data/.part",
        "audit.json.bak",
        ".lock",
    }
    for name in said:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("/home/somebody/secret")
    done = json.loads((folder / "build.json").read_text())
    warned = done | {"warnings": [f"look with: paqa shortcuts {folder}"], "store": "/home/somebody/store"}
    (folder / "build.json").write_text(json.dumps(warned))
    push(server, folder, "--yes")
    files = remote_files(server)
    assert set(files) == names(built) | TEXTS
    texts = "".join((server.root / "blobs" / files[name]["oid"]).read_text() for name in TEXTS)
    texts += "".join(json.dumps({k: v for k, v in r.items() if k != "audio"}) for r in shards.rows(folder))
    assert "/home/" not in texts
    assert str(tmp_path) not in texts
    assert all(not r["audio"]["path"].startswith("/") for r in shards.rows(folder, ["audio"]))


def test_the_card_links_to_a_licence_file_that_is_there(server, tmp_path):
    folder = make(tmp_path / "made", clips=3, license="CC0-1.0; LAL-1.2")
    push(server, folder, "--yes")
    files = remote_files(server)
    card, licences = (
        (server.root / "blobs" / files[n]["oid"]).read_text() for n in ("README.md", "LICENSE.md")
    )
    assert release.split(card)[0]["license_link"] == "LICENSE.md"
    assert "LAL-1.2" in licences
    assert "nothing to do" in push(server, folder, "--yes").stdout


def test_a_licence_file_that_changed_is_sent_again(server, built):
    push(server, built, "--yes")
    repo = server.repo(REPO)
    repo["commits"][repo["head"]]["files"].pop("LICENSE.md")
    (server.root / "repos" / f"{REPO.replace('/', '--')}.json").write_text(json.dumps(repo))
    assert "LICENSE.md   new" in push(server, built, "--yes").stdout
    assert set(remote_files(server)) == names(built) | TEXTS
    assert set(server.repo(REPO)["tags"]) == {"v1", "v2"}


def test_rows_that_do_not_permit_the_licence_are_not_published(server, tmp_path):
    folder = make(tmp_path / "made", clips=3, license="CC-BY-NC-4.0", wanted="CC-BY-4.0")
    done = push(server, folder, "--yes", check=False)
    assert done.returncode == 2
    assert "may not be published under CC-BY-4.0" in done.stderr
    assert "forbids commercial use" in done.stderr
    assert "paqa check" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert server.repo(REPO) is None
    allowed = make(tmp_path / "allowed", clips=3, license="CC-BY-4.0", wanted="CC-BY-NC-4.0")
    assert "license: cc-by-nc-4.0" in push(server, allowed, "--yes").stdout


def test_rows_that_name_a_path_of_this_machine_are_not_published(tmp_path):
    folder = make(tmp_path / "made", clips=2)
    found = release.read(folder).items
    origin = Origin("recording", "voices", "a", "/home/somebody/a.wav", 0, 1000, "0" * 64, "mine", "CC0-1.0")
    with pytest.raises(PaqaError, match="names a path of this machine, /home/somebody/a"):
        release.permitted(folder, [replace(found[0], origins=(origin,))], None)
    release.permitted(folder, found, None)


def test_the_table_of_licences_stays_short(built):
    found = release.read(built).items
    many = [
        replace(item, origins=tuple(
            Origin("voice", "v", f"{n}-{k}", f"{n}/{k}.wav", 0, 1, "0" * 64, f"s{n}-{k}", f"terms {n} {k}")
            for k in range(9)
        )) for n, item in enumerate(found)
    ]  # fmt: skip
    recipe, _, clips = open_build.open_build(built)
    done = summary.load(built)
    short, whole = card.render(recipe, done, clips, many), card.licenses(recipe, done, clips, many)
    assert len(short.partition("## Licences")[2].splitlines()) < 45
    assert f"{9 * len(many) - card.NAMED} licences of fewer rows are in LICENSE.md" in short
    assert whole.count("| terms ") == 2 * 9 * len(many)


def test_what_was_pushed_is_read_back_streaming_too(server, built):
    push(server, built, "--yes")
    code = f"""
import datasets, json, sys
rows = datasets.load_dataset({REPO!r}).cast_column("audio", datasets.Audio(decode=False))
stream = datasets.load_dataset({REPO!r}, streaming=True, revision="v1")
found = {{
    "rows": {{s: len(d) for s, d in rows.items()}},
    "ids": sorted(r["id"] for d in rows.values() for r in d),
    "bytes": sum(len(r["audio"]["bytes"]) for d in rows.values() for r in d),
    "kind": type(stream["test"].features["audio"]).__name__,
    "streamed": sorted(
        r["id"] for d in stream.values() for r in d.cast_column("audio", datasets.Audio(decode=False))
    ),
}}
print(json.dumps(found))
"""
    found = json.loads(run(server, code).stdout.splitlines()[-1])
    local = list(shards.rows(built, ["id", "split", "audio"]))
    assert found["rows"] == {s: sum(r["split"] == s for r in local) for s in ("train", "test")}
    assert found["ids"] == found["streamed"] == sorted(r["id"] for r in local)
    assert found["bytes"] == sum(len(r["audio"]["bytes"]) for r in local)
    assert found["kind"] == "Audio"


def test_pushing_again_does_nothing(server, built):
    push(server, built, "--yes")
    before = server.repo(REPO)
    server.forget()
    assert "nothing to do" in push(server, built, "--yes").stdout
    assert server.repo(REPO) == before
    assert {r["method"] for r in server.log()} <= {"GET", "HEAD"}


def test_a_server_that_dies_half_way_costs_nothing_that_was_sent(server, built):
    server.stop()
    server.start("--die-after", 3)
    done = push(server, built, "--yes", check=False)
    assert done.returncode == 2
    assert "run the same command again" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    complete = {p.name for p in (server.root / "blobs").iterdir() if re.fullmatch("[0-9a-f]{64}", p.name)}
    assert 2 <= len(complete) <= 4
    server.stop()
    server.forget()
    server.start()
    push(server, built, "--yes")
    assert set(remote_files(server)) == names(built) | TEXTS
    assert not complete & set(server.sent())
    assert len(server.sent()) == 5 - len(complete)


def test_death_between_two_commits_leaves_the_release_before(server, built, grown, monkeypatch):
    """Whoever reads while the second release is being sent reads the first one."""
    push(server, built, "--yes")
    first = remote_files(server)
    code = f"""
from pathlib import Path
from paqa.publish import hub
hub.FILES_A_COMMIT = 1
api = hub.connect()
plan = hub.plan(Path({str(grown)!r}), {REPO!r}, api)
hub.send(plan, hub.batches(plan.new)[0], api, "the first batch, and then the power fails")
import datasets
print(sum(len(d) for d in datasets.load_dataset({REPO!r}).values()))
"""
    rows = int(run(server, code).stdout.splitlines()[-1])
    now = remote_files(server)
    assert len(now) == len(first) + 1
    assert now["README.md"] == first["README.md"]
    assert rows == sum(1 for _ in shards.rows(built, ["id"]))
    sent = set(server.sent())
    server.forget()
    push(server, grown, "--yes")
    assert not sent & set(server.sent())
    assert names(grown) <= set(remote_files(server))


def test_after_growth_only_new_shards_are_sent(server, built, grown):
    push(server, built, "--yes")
    server.forget()
    kept, new = names(built) & names(grown), names(grown) - names(built)
    assert kept
    assert new
    done = push(server, grown, "--yes")
    assert f"{len(new)} new" in done.stdout
    assert len(server.sent()) == len(new)
    repo = server.repo(REPO)
    assert set(repo["tags"]) == {"v1", "v2"}
    old = repo["commits"][repo["tags"]["v1"]]["files"]
    assert {n: e for n, e in remote_files(server).items() if n in old and n not in TEXTS} == {
        n: e for n, e in old.items() if n not in TEXTS
    }
    code = f"""
import datasets
print([r["id"] for v in ("v1", "v2") for d in datasets.load_dataset({REPO!r}, revision=v).values() for r in
       d.remove_columns("audio")])
"""
    both = [r["id"] for folder in (built, grown) for r in shards.rows(folder, ["id"])]
    assert sorted(eval(run(server, code).stdout.splitlines()[-1])) == sorted(both)


def test_superseded_shards_stay_until_pruned(server, built, grown):
    push(server, built, "--yes")
    gone = names(built) - names(grown)
    assert gone
    assert "superseded: kept" in push(server, grown, "--yes").stdout
    assert gone <= set(remote_files(server))
    code = f"""
from huggingface_hub import HfApi
for name in {THEIRS!r}:
    HfApi().upload_file(path_or_fileobj=b"theirs", path_in_repo=name, repo_id={REPO!r}, repo_type="dataset")
"""
    run(server, code)
    assert f"2 other files in data/ are left alone, e.g. {THEIRS[0]}" in push(server, grown, "--prune").stdout
    assert "removed from the release" in push(server, grown, "--prune").stdout
    push(server, grown, "--prune", "--yes")
    assert set(remote_files(server)) == names(grown) | TEXTS | set(THEIRS)
    repo = server.repo(REPO)
    assert gone <= set(repo["commits"][repo["tags"]["v1"]]["files"])


def test_commits_keep_to_the_limits(server, built):
    code = f"""
from pathlib import Path
from paqa.publish import hub
hub.FILES_A_COMMIT = 2
api = hub.connect()
hub.push(hub.plan(Path({str(built)!r}), {REPO!r}, api), api)
"""
    run(server, code)
    commits = server.repo(REPO)["commits"].values()
    assert [c["message"].splitlines()[0] for c in commits] == [
        "initial commit", "Add 2 shards (1 of 3)", "Add 2 shards (2 of 3)", "Add 1 shards (3 of 3)",
        "Release v1",
    ]  # fmt: skip


def test_batches_by_number_and_by_bytes(tmp_path, monkeypatch):
    paths = [tmp_path / str(i) for i in range(7)]
    for i, path in enumerate(paths):
        path.write_bytes(b"x" * (100 if i == 3 else 10))
    monkeypatch.setattr(hub, "FILES_A_COMMIT", 3)
    monkeypatch.setattr(hub, "BYTES_A_COMMIT", 50)
    assert [len(b) for b in hub.batches(paths)] == [3, 1, 3]
    assert [p for b in hub.batches(paths) for p in b] == paths


@pytest.mark.parametrize(
    ("token", "repo", "word"),
    [
        ("hf_unknownunknown", REPO, "refuses the token"),
        ("hf_readonlysecret", REPO, "may only read"),
        (TOKEN, "somebody-else/made", "may not do this"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(server, built, token, repo, word):
    done = push(server, built, "--yes", repo=repo, token=token, check=False)
    assert done.returncode == 2
    assert word in done.stderr
    assert token not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert server.repo(repo) is None
    assert not server.sent()


def test_no_token_at_all(server, built):
    done = push(server, built, "--yes", token="", check=False)
    assert done.returncode == 2
    assert "no token" in done.stderr
    assert server.repo(REPO) is None


@pytest.mark.parametrize("name", ["made", "a/b/c", "paqa lab/made", "-/.."])
def test_names_that_are_none(server, built, name):
    done = push(server, built, "--yes", repo=name, check=False)
    assert done.returncode == 2
    assert "ORG/NAME" in done.stderr


def test_offline_is_said(server, built):
    done = push(server, built, check=False, HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE" in done.stderr


def test_a_public_repository_wants_the_flag(server, built):
    push(server, built, "--yes", "--public")
    assert not server.repo(REPO)["private"]
    done = push(server, built, "--yes", check=False)
    assert done.returncode == 2
    assert "--public" in done.stderr


def test_a_private_repository_is_not_made_public_on_the_side(server, built, grown):
    push(server, built, "--yes")
    assert "stays private" in push(server, grown, "--yes", "--public").stdout
    assert server.repo(REPO)["private"]


def test_another_dataset_is_not_run_over(server, built):
    code = f"""
from huggingface_hub import HfApi
api = HfApi()
api.create_repo({REPO!r}, repo_type="dataset", private=True)
api.upload_file(path_or_fileobj=b"---\\ntags:\\n- cats\\n---\\n# Cats", path_in_repo="README.md",
                repo_id={REPO!r}, repo_type="dataset")
"""
    # `_validate_yaml` of the server wants a size: this card is written past it, as if made on the site
    run(server, code.replace("cats\\n---", "cats\\nsize_categories:\\n- n<1K\\n---"))
    before = server.repo(REPO)
    done = push(server, built, "--yes", check=False)
    assert done.returncode == 2
    assert "something else" in done.stderr
    assert server.repo(REPO) == before


def test_a_shard_that_differs_on_the_hub_is_not_passed_over(server, built):
    push(server, built, "--yes")
    path = shards.files(built)[0]
    repo = server.repo(REPO)
    repo["commits"][repo["head"]]["files"][f"data/{path.name}"]["oid"] = "0" * 64
    (server.root / "repos" / f"{REPO.replace('/', '--')}.json").write_text(json.dumps(repo))
    done = push(server, built, check=False)
    assert done.returncode == 2
    assert path.name in done.stderr


def test_a_push_that_does_not_arrive_is_noticed(server, built, monkeypatch):
    """The Hub loses a shard between commit and check."""
    code = f"""
from pathlib import Path
from paqa.publish import hub
api = hub.connect()
plan = hub.plan(Path({str(built)!r}), {REPO!r}, api)
hub.prepare(plan, api)
for group in hub.batches(plan.new[1:]):
    head = hub.send(plan, group, api, "all but one")
hub.publish(plan, api, head)
"""
    done = run(server, code, check=False)
    assert "PaqaError" in done.stderr
    assert "1 files are not as they were sent" in done.stderr
    assert not server.repo(REPO)["tags"]


def test_somebody_else_pushing_meanwhile(server, built):
    code = f"""
from pathlib import Path
from paqa.publish import hub
api = hub.connect()
plan = hub.plan(Path({str(built)!r}), {REPO!r}, api)
hub.prepare(plan, api)
head = hub.send(plan, plan.new, api, "ours")
api.upload_file(path_or_fileobj=b"theirs", path_in_repo="notes.txt", repo_id={REPO!r}, repo_type="dataset")
hub.publish(plan, api, head)
"""
    done = run(server, code, check=False)
    assert "somebody else changed it" in done.stderr
    push(server, built, "--yes")
    assert {"notes.txt"} | TEXTS <= set(remote_files(server))


def test_tags_name_one_release_each(server, built, grown):
    push(server, built, "--yes", "--tag", "first")
    done = push(server, grown, "--yes", "--tag", "first", check=False)
    assert done.returncode == 2
    assert "first" in done.stderr
    push(server, grown, "--yes")
    assert list(server.repo(REPO)["tags"]) == ["first", "v1"]


def test_the_flow_pushes_too(server, built, tmp_path):
    code = f"""
from pathlib import Path
from flows.publish import launch
from flows import settings
from flows.server import Server
home = Path({str(tmp_path / "home")!r})
settings.apply(home)
server = Server(home).start()
try:
    print(launch(Path({str(built)!r}), {REPO!r}, home, server))
    import sqlite3
finally:
    server.stop()
"""
    run(server, code)
    assert set(remote_files(server)) == names(built) | TEXTS
    assert list(server.repo(REPO)["tags"]) == ["v1"]
    kept = b"".join(p.read_bytes() for p in (tmp_path / "home").rglob("*") if p.is_file())
    assert b"Release" in kept
    assert TOKEN.encode() not in kept


def test_the_card_has_what_the_hub_asks_for(built):
    header, body = release.split(release.render(built)["README.md"])
    assert header["license"] == "cc-by-4.0"
    assert header["language"] == ["en"]
    assert header["task_categories"] == ["audio-text-to-text"]
    (config,) = header["configs"]
    assert {n for part in config["data_files"] for n in part["path"]} == names(built)
    splits = {s["name"]: s["num_examples"] for s in header["dataset_info"]["splits"]}
    assert sum(splits.values()) == sum(1 for _ in shards.rows(built, ["id"]))
    for word in ("2604.14806", "Known limits", "silero_dvector", "CC-BY-4.0", '"per_clip": 4', "not audited"):
        assert word in body
    assert release.render(built) == release.render(built)


def test_a_card_of_rows_with_different_licences(tmp_path):
    folder = make(tmp_path / "made", clips=3, license="CC0-1.0; LAL-1.2")
    assert release.split(release.render(folder)["README.md"])[0]["license"] == "other"


HTTP = importlib.import_module(errors.HfHubHTTPError.__bases__[0].__module__)  # httpx or its successor


def closed_client():
    client = HTTP.Client()
    client.close()
    client.get("http://127.0.0.1:9")


def no_server():
    HTTP.get("http://127.0.0.1:9")


def failed_upload():
    try:
        no_server()
    except HTTP.HTTPError as error:
        raise RuntimeError("Error while uploading 'x' to the Hub.") from error


def no_path():
    CommitOperationAdd("../x", b"")


@pytest.mark.parametrize("call", [closed_client, no_server, failed_upload])
def test_a_connection_that_breaks_is_worth_another_try(call):
    with (
        pytest.raises(ConnectionError, match="the connection to the Hub broke") as caught,
        explained_errors(REPO),
    ):
        call()
    assert is_transient(caught.value)


def test_what_the_hubs_client_refuses_is_one_line():
    with pytest.raises(PaqaError, match="the Hub rejects this"), explained_errors(REPO):
        no_path()


@pytest.mark.parametrize("call", [lambda: [][0].x, lambda: None.x, lambda: int("x"), lambda: next(raising())])
def test_a_defect_of_our_own_is_no_failure_of_the_network(call):
    with (
        pytest.raises((IndexError, AttributeError, ValueError, RuntimeError)) as caught,
        explained_errors(REPO),
    ):
        call()
    assert not is_transient(caught.value)
    assert "the Hub" not in str(caught.value)


def raising():
    yield from ()
    raise RuntimeError("ours")


def test_no_build_no_push(tmp_path):
    with pytest.raises(PaqaError, match="no shards"):
        hub.plan(tmp_path, REPO, hub.connect("http://127.0.0.1:9"))
