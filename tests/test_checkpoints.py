"""Weights that no package ships: where they are looked for, what is refused, what opening them may run."""

import http.server
import os
import pickle
import threading
from collections import OrderedDict

import pytest

from paqa.config.recipe import Recipe, SourceConfig
from paqa.engines.weights import (
    MissingWeights,
    RemoteWeights,
    check_pin,
    digest,
    fetch_missing,
    locate,
    model_choices,
    models_folder,
    resolve_model,
    revision,
    torch_load,
)
from paqa.errors import PaqaError
from paqa.perception.engine_runs import engine_params

FILE = RemoteWeights("toy/weights.bin", "toy", "MIT", "a page")
FOLDER = RemoteWeights("toy/net", "toy", "MIT", "a page", files=("*.yaml", "*/*.bin"), repo="somebody/net")


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """An empty models folder and an empty Hub cache, off line."""
    monkeypatch.setenv("PAQA_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def put(folder, path, data=b"weights"):
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


def test_the_models_folder_is_the_variables_else_in_the_users_cache(monkeypatch, tmp_path, models):
    assert models_folder() == models
    monkeypatch.delenv("PAQA_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "paqa" / "models"


def test_missing_weights_say_where_and_what_to_run():
    with pytest.raises(
        MissingWeights,
        match=r"toy: no weights at .*net, and somebody/net was not fetched: HF_HUB_OFFLINE .* is set; "
        r"run: paqa doctor RECIPE.toml --fetch; or copy a folder",
    ):
        locate(FOLDER)
    gated = RemoteWeights(
        "toy/net", "toy", "MIT", "a page", files=("*.yaml",), repo="somebody/net", gated=True
    )
    with pytest.raises(MissingWeights, match=r"with a token \(hf auth login\) of somebody who accepted"):
        locate(gated)


def test_a_folder_counts_only_when_it_is_complete(models):
    put(models, "toy/net/config.yaml")
    with pytest.raises(MissingWeights):
        locate(FOLDER)
    put(models, "toy/net/part/a.bin")
    assert locate(FOLDER) == models / "toy" / "net"


def test_the_hubs_cache_is_found_off_line(tmp_path, models):
    snapshot = tmp_path / "hub" / "models--somebody--net" / "snapshots" / "abc"
    put(snapshot, "config.yaml")
    put(snapshot, "part/a.bin")
    put(snapshot.parents[1], "refs/main", b"abc")
    assert locate(FOLDER) == snapshot
    assert not list(models.iterdir())


@pytest.mark.parametrize(
    ("model", "path", "repo"),
    [
        ("known", "toy/weights.bin", None),
        ("sub/x.bin", "sub/x.bin", None),
        ("./y", "y", None),
        ("somebody/other", "toy/other", "somebody/other"),
        ("somebody/net-0.6b-v3", "toy/net-0.6b-v3", "somebody/net-0.6b-v3"),
    ],
)
def test_what_a_recipe_may_call_a_model(models, model, path, repo):
    found = resolve_model(model, "toy", {"known": FILE}, ("*.yaml",))
    assert (models / found.path, found.repo) == (models / path, repo)


def test_an_unknown_model_is_named_with_what_was_expected():
    with pytest.raises(
        PaqaError, match=r"engine toy: no model is called 'nope'; expected one of known, or a path"
    ):
        resolve_model("nope", "toy", {"known": FILE})


def test_a_digest_follows_names_and_bytes_of_the_files_that_matter(models):
    folder = put(models, "net/config.yaml").parent
    put(folder, "a/x.bin", b"1")
    before = digest(folder, FOLDER.files)
    put(folder, "README.md")
    assert digest(folder, FOLDER.files) == before
    os.rename(folder / "a", folder / "b")
    moved = digest(folder, FOLDER.files)
    put(folder, "b/x.bin", b"22")
    assert len({before, moved, digest(folder, FOLDER.files)}) == 3


def test_a_pinned_hash_is_refused_when_it_differs(models):
    found = digest(put(models, "toy/weights.bin"))
    assert revision(3, "numpy", FILE, found).endswith(f"/toy/{found}")
    assert revision(3, "numpy", FILE).startswith("3/numpy-")
    with pytest.raises(PaqaError, match=f"found SHA-256 {found}, expected {'0' * 64}; fetch it again"):
        revision(3, "numpy", FILE, "0" * 64)
    with pytest.raises(PaqaError, match="uv pip install 'paqa\\[paper\\]'"):
        revision(3, "no-such-package", FILE)
    check_pin("ab", "AB", "case does not matter")


class Bomb:
    """Pickled, it leaves a file behind wherever it is opened without care."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False])
def test_opening_a_checkpoint_runs_nothing_unless_somebody_vouches_for_it(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    torch.save({"model": OrderedDict(w=torch.ones(2))}, good, _use_new_zipfile_serialization=zipped)
    torch.save({"model": Bomb(tmp_path / "ran")}, bad, _use_new_zipfile_serialization=zipped)
    assert torch_load(good, (), False)["model"]["w"].tolist() == [1.0, 1.0]
    with pytest.raises(PaqaError, match=r"is no plain checkpoint .*mkdir.* sha256 = \"[0-9a-f]{64}\""):
        torch_load(bad, (), False)
    assert not (tmp_path / "ran").exists()
    torch_load(bad, (), True)
    assert (tmp_path / "ran").is_dir()


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    pytest.importorskip("torch")
    for data in (b"", b"garbage", pickle.dumps([1, 2])):
        path = tmp_path / "x.pt"
        path.write_bytes(data)
        with pytest.raises(PaqaError, match=r"x\.pt: is no plain checkpoint"):
            torch_load(path, (), False)


def test_the_models_folder_chooses_for_engines_and_the_recipe_chooses_after_it(models):
    (models / "models.toml").write_text('[whisper]\nmodel = "whisper/mine.pt"\nsha256 = "ab"\n')
    assert model_choices("whisper") == {"model": "whisper/mine.pt", "sha256": "ab"}
    assert model_choices("demucs") == {}
    recipe = Recipe("x", (SourceConfig("a", "folder", "."),), profile="paper")
    assert engine_params(recipe, "transcribe").model == "whisper/mine.pt"
    (models / "models.toml").write_text("[whisper]\nbeam_size = 9\n")
    with pytest.raises(
        PaqaError, match=r"models.toml: \[whisper\] holds .*; expected a table with keys allow_pickle"
    ):
        model_choices("whisper")
    (models / "models.toml").write_text("[")
    with pytest.raises(PaqaError, match="cannot be read as TOML"):
        model_choices("whisper")


@pytest.fixture
def address():
    """A web server on this machine with one file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/w.bin" else 404)
            self.end_headers()
            self.wfile.write(b"weights" if self.path == "/w.bin" else b"")

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_what_is_fetched_is_checked_and_lies_in_the_models_folder(models, address):
    sha256 = digest(put(models, "other"))
    good = RemoteWeights("toy/weights.bin", "toy", "MIT", "a page", url=f"{address}/w.bin", sha256=sha256)
    assert fetch_missing(good) == models / "toy" / "weights.bin"
    assert fetch_missing(good).read_bytes() == b"weights"
    wrong = RemoteWeights("toy/wrong.bin", "toy", "MIT", "a page", url=f"{address}/w.bin", sha256="0" * 64)
    with pytest.raises(PaqaError, match=r"w\.bin: found SHA-256 .*, expected 0000"):
        fetch_missing(wrong)
    lost = RemoteWeights("toy/lost.bin", "toy", "MIT", "a page", url=f"{address}/nothing")
    with pytest.raises(MissingWeights, match="cannot be fetched: HTTP Error 404"):
        fetch_missing(lost)
    assert [p.name for p in (models / "toy").iterdir()] == ["weights.bin"]
