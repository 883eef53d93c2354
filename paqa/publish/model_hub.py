"""`paqa-train push`: an exported model to a model repository on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paqa.errors import PaqaError
from paqa.publish.hub import NAME, ensure_repository, megabytes, remote_files, same
from paqa.publish.hub_errors import explained_errors
from paqa.storage.build_folder import CARD
from paqa.storage.store import digest

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

KIND = "model"
WEIGHTS = "*.safetensors"


@dataclass(frozen=True)
class ModelPlan:
    """What a push would send: files by their name, those there already left out."""

    repo: str
    public: bool
    exists: bool
    new: tuple[Path, ...]
    present: tuple[Path, ...]


def plan(folder: Path, repo: str, api: HfApi, public: bool = False) -> ModelPlan:
    """Compare an exported model with the Hub. PaqaError where a push cannot be right."""
    if not NAME.fullmatch(repo):
        raise PaqaError(f"{repo!r}: expected the name of a model repository, ORG/NAME")
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if not any(folder.glob(WEIGHTS)) or not (folder / CARD).is_file():
        raise PaqaError(
            f"{folder}: expected a checkpoint with its {CARD}; run: paqa-train export RUN {folder}"
        )
    with explained_errors(repo):
        head, private, there = remote_files(repo, api, KIND)
    if private is False and not public:
        raise PaqaError(f"{repo}: is public, so the model is for everybody to see; say so with --public")
    present = tuple(path for path in files if path.name in there and _same(path, there[path.name]))
    return ModelPlan(repo, public, head is not None, tuple(p for p in files if p not in present), present)


def push(plan: ModelPlan, api: HfApi, report: Callable[[str], None] = lambda line: None) -> str:
    """Send what is new in one commit, the card with it; returns the commit, verified. Safe to run again."""
    from huggingface_hub import CommitOperationAdd

    ensure_repository(plan.repo, api, KIND, plan.exists, plan.public)
    with explained_errors(plan.repo):
        operations = [CommitOperationAdd(path.name, path) for path in plan.new]
        title = f"Add {len(operations)} files of a model trained by paqa"
        commit = api.create_commit(plan.repo, operations, commit_message=title, repo_type=KIND)
        _, _, there = remote_files(plan.repo, api, KIND)
    for path in (*plan.new, *plan.present):
        if path.name not in there or not _same(path, there[path.name]):
            raise PaqaError(f"{plan.repo}: {path.name} is not as it was sent; run the command again")
    report(f"verified {len(plan.new) + len(plan.present)} files")
    return str(commit.oid)


def text(plan: ModelPlan) -> str:
    """What a push would change, for a person."""
    seen = "public" if plan.public else "private"
    lines = [f"{plan.repo}  {'exists' if plan.exists else f'does not exist: would be made, {seen}'}", ""]
    lines += [f"  + {path.name}  {megabytes(path.stat().st_size)}" for path in plan.new]
    return "\n".join([*lines, f"files        {len(plan.new)} new, {len(plan.present)} there already"])


def _same(path: Path, there: RepoFile) -> bool:
    return same(path.read_bytes, digest(path), path.stat().st_size, there)
