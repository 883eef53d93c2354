"""Weights that no package ships: where they lie, their hashes, and how they are opened without running code.

A model is looked for at the path that the recipe gives, else in the models folder (`PAQA_MODELS`, or
--models), else in the cache of the Hugging Face Hub, else on the Hub itself unless `HF_HUB_OFFLINE` is set.
What is published elsewhere is only ever fetched by `paqa doctor --fetch`, from the one address that it
prints.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pickle
import tomllib
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from paqa.errors import PaqaError
from paqa.storage import store, text_files

CHOICES_FILE = "models.toml"  # in the models folder
CHOICE_KEYS = {"model", "sha256", "allow_pickle"}  # what it may say about an engine
BLOCK = 1 << 20  # bytes read at a time from the network
# Of checkpoints; a Hub id may have a point, too: nvidia/parakeet-tdt-0.6b-v3.
ENDINGS = (".pt", ".pth", ".th", ".ckpt", ".bin", ".safetensors", ".onnx", ".yaml", ".yml", ".json")


class MissingWeights(PaqaError):
    """Weights are neither in the models folder nor to be had; says where to get them."""


@dataclass(frozen=True)
class RemoteWeights:
    """Weights of one model: a file or a folder below the models folder, and where it is published.

    `files` are patterns of the files of a folder that decide what the model predicts, `optional` those of
    files that some models lack. One of `repo` (on the Hub, then `path` is a folder; `commit` is a branch, tag
    or commit, None the newest) and `url` (then it is a file) says where to fetch; neither does where a recipe
    names a local path.
    """

    path: str
    model: str
    license: str
    origin: str
    files: tuple[str, ...] = ()
    repo: str | None = None
    url: str | None = None
    sha256: str | None = None  # as its publisher states it
    gated: bool = False  # wants a token of somebody who accepted its conditions
    optional: tuple[str, ...] = ()
    commit: str | None = None

    @property
    def patterns(self) -> tuple[str, ...]:
        """Of all files that decide what the model predicts."""
        return (*self.files, *self.optional)


class CheckpointParams(Protocol):
    """The parameters of an engine with checkpoints that are about these."""

    @property
    def model(self) -> str: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def allow_pickle(self) -> bool: ...


def models_folder() -> Path:
    """`PAQA_MODELS`, else `paqa/models` in the user's cache folder."""
    if folder := os.environ.get("PAQA_MODELS"):
        return Path(folder).expanduser()
    # an account may have no home: then "~" stays, and no error is raised
    cache_home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache_home) / "paqa" / "models"


def choices_stamp() -> tuple[str, int]:
    """What `model_choices` depends on: the models folder, and when `models.toml` was written (else 0)."""
    path = models_folder() / CHOICES_FILE
    try:
        return str(path), path.stat().st_mtime_ns
    except OSError:
        return str(path), 0


def model_choices(engine: str) -> dict[str, Any]:
    """What the models folder's `models.toml` says about an engine: parameters, as in a recipe."""
    path = models_folder() / CHOICES_FILE
    try:
        choices = tomllib.loads(text_files.decode_text(path.read_bytes())).get(engine, {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PaqaError(f"{path}: cannot be read as TOML ({error}); correct or remove it") from None
    if not isinstance(choices, dict) or set(choices) - CHOICE_KEYS:
        raise PaqaError(
            f"{path}: [{engine}] holds {choices}; expected a table with keys {', '.join(sorted(CHOICE_KEYS))}"
        )
    return choices


def resolve_model(
    model: str, engine: str, published: Mapping[str, RemoteWeights], files: tuple[str, ...] = ()
) -> RemoteWeights:
    """The weights that a recipe's `model` means: a published name, a path, or a Hub id ORG/NAME.

    A relative path is one below the models folder.
    """
    if model in published:
        return published[model]
    path = Path(model).expanduser()
    local = path if path.is_absolute() else models_folder() / path
    is_path = path.is_absolute() or model.startswith(".") or path.suffix.lower() in ENDINGS
    if local.exists() or is_path or (path.suffix and not files):
        return RemoteWeights(
            str(local), path.name, "as given", "a local path in the recipe", files if local.is_dir() else ()
        )
    if files and model.count("/") == 1:
        name = model.rpartition("/")[2]
        return RemoteWeights(
            f"{engine}/{name}", name, "see its page", f"{model} on the Hugging Face Hub", files, repo=model
        )
    hub = ", a Hub id ORG/NAME" if files else ""
    raise PaqaError(
        f"engine {engine}: no model is called {model!r}; "
        f"expected one of {', '.join(published)}{hub}, or a path"
    )


def locate(remote: RemoteWeights, download: bool = True) -> Path:
    """The file or folder of a model; MissingWeights that names the next command where it cannot be had."""
    local = models_folder() / remote.path  # an absolute path stays as it is
    if _complete(local, remote.files):
        return local
    if remote.repo:
        for offline in (True, False) if download else (True,):
            folder = _from_hub(remote, remote.repo, offline)
            if folder and _complete(folder, remote.files):
                return folder
    raise MissingWeights(_what_to_do(remote, local, download))


def _complete(path: Path, files: Sequence[str]) -> bool:
    return all(any(path.glob(pattern)) for pattern in files) if files else path.is_file()


def _from_hub(remote: RemoteWeights, repo: str, offline: bool) -> Path | None:
    """The folder in the Hub's cache, filled first unless `offline`; None where it is not to be had.

    Raises MissingWeights with the remedy where the Hub refuses.
    """
    try:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError:
        return None
    if not offline and constants.HF_HUB_OFFLINE:
        return None
    try:
        return Path(
            snapshot_download(
                repo,
                revision=remote.commit,
                allow_patterns=list(remote.patterns),
                local_files_only=offline,
            )
        )
    except GatedRepoError:
        raise MissingWeights(
            f"{remote.model}: {remote.origin} wants its conditions accepted and a token; accept them there, "
            "then run: hf auth login (or set HF_TOKEN)"
        ) from None
    except HfHubHTTPError as error:
        raise MissingWeights(f"{remote.model}: the Hub refused {repo}: {error}") from None
    except (LocalEntryNotFoundError, OSError):
        return None


def _what_to_do(remote: RemoteWeights, local: Path, tried: bool) -> str:
    """Where weights are missing and what to run; `tried` where the Hub was to be asked."""
    what = f"a folder with {', '.join(remote.files)}" if remote.files else "a file"
    if remote.repo is None and remote.url is None:
        return f"{local}: no weights there; expected {what}: correct `model` in the recipe, or --models"
    login = ", with a token (hf auth login) of somebody who accepted its conditions" if remote.gated else ""
    why = f", and {remote.repo} was not fetched: {_not_fetched()}" if tried and remote.repo else ""
    return (
        f"{remote.model}: no weights at {local}{why}; run: paqa doctor RECIPE.toml --fetch{login}; or copy "
        f"{what} there from {remote.origin} (another place: --models DIR or PAQA_MODELS)"
    )


def _not_fetched() -> str:
    """Why the Hub gave nothing, where it did not refuse."""
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        return "its client is not installed (uv pip install 'paqa[paper]')"
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
    return "the Hub cannot be reached"


def fetch_missing(remote: RemoteWeights) -> Path:
    """The file or folder of a model, downloaded where it is missing: from the Hub, or from its one URL."""
    try:
        return locate(remote)
    except MissingWeights:
        if remote.url is None:
            raise
    target = models_folder() / remote.path
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with urllib.request.urlopen(remote.url, timeout=60) as answer, temporary.open("wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
        check_pin(digest(temporary), remote.sha256, remote.url)
        os.replace(temporary, target)
    except OSError as error:
        raise MissingWeights(
            f"{remote.model}: {remote.url} cannot be fetched: {error}; try again later"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return target


def digest(path: Path, files: Sequence[str] = ()) -> str:
    """SHA-256 in hex of a file, or of the names and SHA-256s of a folder's files that match `files`."""
    if not files:
        state = path.stat()
        return _file_digest(str(path), state.st_size, state.st_mtime_ns)
    matching = sorted({file for pattern in files for file in path.glob(pattern) if file.is_file()})
    listing = "".join(f"{digest(file)}  {file.relative_to(path).as_posix()}\n" for file in matching)
    return hashlib.sha256(listing.encode()).hexdigest()


@cache
def _file_digest(path: str, size: int, mtime_ns: int) -> str:
    return store.digest(Path(path))


def check_pin(sha256: str, pinned: str | None, what: str) -> None:
    """Refuse weights whose hash is not the pinned one."""
    if pinned and sha256 != pinned.lower():
        raise PaqaError(
            f"{what}: found SHA-256 {sha256}, expected {pinned}; "
            "fetch it again, or correct `sha256` in the recipe"
        )


def revision(
    behaviour: int, package: str, remote: RemoteWeights, pinned: str | None = None, extra: str = "paper"
) -> str:
    """E.g. `1/demucs-4.1.0/htdemucs/<sha256>`; refuses weights that differ from a pinned hash."""
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise PaqaError(
            f"package {package!r} is not installed; run: uv pip install 'paqa[{extra}]'"
        ) from None
    path = locate(remote)
    sha256 = digest(path, remote.patterns)
    check_pin(sha256, pinned or remote.sha256, str(path))
    return f"{behaviour}/{package}-{version}/{remote.model}/{sha256}"


def trusted(params: CheckpointParams) -> bool:
    """Whether this machine's user allows files that could run code; a pinned hash alone does not."""
    return params.allow_pickle


def torch_load(path: Path, allowed: Sequence[Any], allow_pickle: bool, pin: str | None = None) -> Any:
    """What `torch.save` wrote, on the CPU; only tensors, plain values and the `allowed` classes are built.

    A file that needs more is code. It is opened only with `allow_pickle`, which no recipe can set; else
    PaqaError names what it needs and how to allow that. `pin` is the hash to name where the model is a whole
    folder.
    """
    import torch

    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, UnicodeDecodeError) as error:
        if allow_pickle:
            return torch.load(path, map_location="cpu", weights_only=False)
        lines = str(error).strip().splitlines()
        about_classes = [line.strip() for line in lines if "GLOBAL" in line or "global" in line]
        why = (about_classes or lines[-1:] or [""])[0]
        raise PaqaError(
            f"{path}: is no plain checkpoint ({why[:200]}); opening it could run code. If you trust where it "
            "comes from, say in models.toml of the models folder: allow_pickle = true and "
            f'sha256 = "{pin or digest(path)}" '
            "(or on the command line: --set hear.STAGE.params.allow_pickle=true)"
        ) from None
