"""`paqa push`: a build to a dataset repository on the Hugging Face Hub, in steps that may stop anywhere.

Shards are only ever added: a name says its content, so what is there already is not sent again. They are
committed in batches; the card, which names the shards of the release, comes last with LICENSE.md, then a tag.
So whatever dies on the way, readers see the release before, and the same command goes on. The Hub's state
decides what is left to do, nothing local. Nothing else of the folder is sent: no report, no quarantine, no
audit.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paqa.dataset import shards, summary
from paqa.errors import PaqaError
from paqa.publish import release
from paqa.publish.hub_errors import TOKEN, explained_errors
from paqa.storage.build_folder import CARD, SHARD_NAME
from paqa.storage.store import digest

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

FILES_A_COMMIT = 50  # the Hub asks for 50 to 100
BYTES_A_COMMIT = 10_000_000_000  # lost, at most, where the Hub forgets files sent but not committed
UPLOADS = 2  # files sent at a time
KIND = "dataset"
NAME = re.compile(r"[\w.-]+/[\w.-]+")
VERSION = re.compile(r"v([0-9]+)")


@dataclass(frozen=True)
class RemoteRepository:
    """What a repository holds; `head` is None where there is none, or none that the token may see."""

    head: str | None = None
    private: bool | None = None
    files: dict[str, RepoFile] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)  # name -> commit
    card: str = ""


@dataclass(frozen=True)
class Plan:
    """What a push would change. Paths in the repository are `data/NAME`."""

    repo: str
    public: bool
    remote: RemoteRepository
    new: tuple[Path, ...]
    present: tuple[Path, ...]
    superseded: tuple[str, ...]  # shards there that this build does not have
    foreign: tuple[str, ...]  # files there, under data/, that paqa did not write: nothing is done to them
    prune: bool
    texts: dict[str, str]  # the card and what it links to, by name
    tag: str | None  # None where the last release is this one

    @property
    def changes(self) -> bool:
        return bool(self.new or self.unlike(self.remote) or self.tag or (self.prune and self.superseded))

    def unlike(self, remote: RemoteRepository) -> list[str]:
        """The names of texts that a repository lacks or has otherwise."""
        unlike = []
        for name, text in self.texts.items():
            file = remote.files.get(name)
            if file is None or not _holds(text.encode(), file):
                unlike.append(name)
        return unlike


def connect(endpoint: str | None = None, token: str | None = None) -> HfApi:
    """The Hub's client, with the token of `hf auth login` or HF_TOKEN: a shell would remember a flag."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    # its warnings show addresses that are signed for this upload
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        disable_progress_bars()
    return HfApi(endpoint=endpoint, token=token)


def plan(
    folder: Path, repo: str, api: HfApi, public: bool = False, prune: bool = False, tag: str | None = None
) -> Plan:
    """Compare a build with the Hub. PaqaError where a push cannot be right: the message says why.

    `prune` removes superseded shards from the release's files (the tags before keep them); `tag` is its name
    (default: v1, v2, ...).
    """
    if not NAME.fullmatch(repo):
        raise PaqaError(f"{repo!r}: expected the name of a dataset repository, ORG/NAME")
    paths = shards.with_scenes(folder)
    if wrong := list(summary.mismatches(folder)):
        raise PaqaError(f"{folder}: {len(wrong)} files are not those of one build: {wrong[0]}")
    texts = release.render(folder)
    with explained_errors(repo):
        remote = remote_state(repo, api)
    _refuse(repo, remote, public)
    new = tuple(p for p in paths if f"data/{p.name}" not in remote.files)
    present = tuple(p for p in paths if f"data/{p.name}" in remote.files)
    for path in present:
        if not same(path.read_bytes, digest(path), path.stat().st_size, remote.files[f"data/{path.name}"]):
            raise PaqaError(
                f"{path}: {repo} has a file of that name with other bytes. Names say content, so one of the "
                "two is damaged or written by another version of pyarrow; "
                f"run: paqa check {folder}, or push to a new NAME"
            )
    names = {f"data/{p.name}" for p in paths}
    others = sorted(n for n in remote.files if n.startswith("data/") and n not in names)
    superseded, foreign = (tuple(n for n in others if _is_shard(n) is ours) for ours in (True, False))
    untagged = Plan(repo, public, remote, new, present, superseded, foreign, prune, texts, None)
    return replace(untagged, tag=_tag(remote, tag, untagged.changes))


def _is_shard(name: str) -> bool:
    """Whether a path in a repository is one that paqa gives to its shards."""
    folder, _, file = name.partition("/")
    return folder == "data" and SHARD_NAME.fullmatch(file) is not None


def remote_state(repo: str, api: HfApi) -> RemoteRepository:
    """The repository as it is now; an empty Remote where there is none."""
    head, private, files = remote_files(repo, api, KIND)
    if head is None:
        return RemoteRepository()
    tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo, repo_type=KIND).tags}
    return RemoteRepository(head, private, files, tags, _card(repo, head, api) if CARD in files else "")


def remote_files(repo: str, api: HfApi, kind: str) -> tuple[str | None, bool | None, dict[str, RepoFile]]:
    """The head of a dataset or model repository, whether it is private, and its files by path.

    The head is None where there is none, or none that the token may see.
    """
    from huggingface_hub import errors
    from huggingface_hub.hf_api import RepoFile

    try:
        info = api.repo_info(repo, repo_type=kind)
    except errors.RepositoryNotFoundError as error:
        if error.response is not None and error.response.status_code == 401:
            api.whoami()  # a token that the Hub does not know is refused here
        return None, None, {}
    tree = api.list_repo_tree(repo, recursive=True, repo_type=kind, revision=info.sha)
    return info.sha, info.private, {f.path: f for f in tree if isinstance(f, RepoFile)}


def _card(repo: str, revision: str | None, api: HfApi) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = api.hf_hub_download(repo, CARD, repo_type=KIND, revision=revision, local_dir=folder)
        return Path(path).read_bytes().decode("utf-8", "replace")


def _refuse(repo: str, remote: RemoteRepository, public: bool) -> None:
    """PaqaError where pushing would show something to the world unasked, or run over another dataset."""
    if remote.head and remote.private is False and not public:
        raise PaqaError(
            f"{repo}: is public, so all that is pushed is for everybody to see; say so with --public"
        )
    if remote.card:
        ours = "paqa" in (release.split(remote.card)[0].get("tags") or ())
    else:  # empty, or the first push was cut off
        ours = all(_is_shard(name) for name in remote.files if name.startswith("data/"))
    if not ours:
        raise PaqaError(
            f"{repo}: holds something else than a build of paqa (no tag paqa in its card); push to a new NAME"
        )


def _tag(remote: RemoteRepository, requested: str | None, changes: bool) -> str | None:
    """The name of the release; None where nothing changes and the head has a tag already."""
    if requested and requested in remote.tags and (changes or remote.tags[requested] != remote.head):
        raise PaqaError(f"--tag {requested}: names another release already; name a new one")
    tagged = not changes and remote.head in remote.tags.values()
    if requested:
        return None if requested in remote.tags else requested
    numbers = [int(m[1]) for m in map(VERSION.fullmatch, remote.tags) if m]
    return None if tagged else f"v{max(numbers, default=0) + 1}"


def same(read: Callable[[], bytes], sha256: str, size: int, there: RepoFile) -> bool:
    """Whether a file on the Hub has these bytes; they are read only where git, not LFS, holds it."""
    if there.size != size:
        return False
    if there.lfs:
        return bool(there.lfs.sha256 == sha256)
    data = read()
    return there.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _holds(data: bytes, there: RepoFile) -> bool:
    return same(lambda: data, hashlib.sha256(data).hexdigest(), len(data), there)


def batches(paths: Sequence[Path]) -> list[list[Path]]:
    """Files in commits of at most FILES_A_COMMIT and BYTES_A_COMMIT (a larger file stands alone)."""
    groups: list[list[Path]] = []
    size = 0
    for path in paths:
        cost = path.stat().st_size
        if not groups or len(groups[-1]) == FILES_A_COMMIT or size + cost > BYTES_A_COMMIT:
            groups.append([])
            size = 0
        groups[-1].append(path)
        size += cost
    return groups


def push(plan: Plan, api: HfApi, report: Callable[[str], None] = lambda line: None) -> str:
    """Carry out a plan; returns the commit of the release, verified. Safe to stop and to run again."""
    prepare(plan, api)
    groups = batches(plan.new)
    head = plan.remote.head
    for number, group in enumerate(groups, 1):
        head = send(plan, group, api, f"Add {len(group)} shards ({number} of {len(groups)})")
        size = sum(p.stat().st_size for p in group)
        report(f"sent {len(group)} shards, {megabytes(size)} (commit {number} of {len(groups)})")
    head = publish(plan, api, head)
    report(f"verified {len(plan.new) + len(plan.present)} shards and {' and '.join(plan.texts)}")
    return head


def prepare(plan: Plan, api: HfApi) -> None:
    """Make sure of a token that may write, and of the repository."""
    ensure_repository(plan.repo, api, KIND, plan.remote.head is not None, plan.public)


def ensure_repository(repo: str, api: HfApi, kind: str, exists: bool, public: bool) -> None:
    """Make sure of a token that may write, and of the repository of a dataset or a model."""
    with explained_errors(repo):
        role = (api.whoami().get("auth") or {}).get("accessToken", {}).get("role")
        if role == "read":
            raise PaqaError(f"{repo}: the token may only read; {TOKEN}")
        if not exists:
            api.create_repo(repo, repo_type=kind, private=not public, exist_ok=True)
            if not public and api.repo_info(repo, repo_type=kind).private is False:
                raise PaqaError(
                    f"{repo}: the Hub made it public; nothing was sent, make it private there first"
                )


def send(plan: Plan, paths: Sequence[Path], api: HfApi, message: str) -> str:
    """Send files and commit them; returns the commit. Files that the Hub has already are only committed."""
    from huggingface_hub import CommitOperationAdd

    operations = [CommitOperationAdd(f"data/{p.name}", p) for p in paths]
    with explained_errors(plan.repo):
        commit = api.create_commit(
            plan.repo, operations, commit_message=message, repo_type=KIND, num_threads=UPLOADS
        )
    return str(commit.oid)


def publish(plan: Plan, api: HfApi, head: str | None) -> str:
    """Commit the texts (the release) onto the commit `head`, verify it, then tag it; returns the commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[Any] = [CommitOperationAdd(n, plan.texts[n].encode()) for n in plan.unlike(plan.remote)]
    operations += [CommitOperationDelete(name) for name in plan.superseded if plan.prune]
    with explained_errors(plan.repo):
        if operations:
            title = f"Release {plan.tag}"
            api.create_commit(plan.repo, operations, commit_message=title, repo_type=KIND, parent_commit=head)
        remote = remote_state(plan.repo, api)
        verify(plan, remote)
        if plan.tag and remote.head:
            api.create_tag(plan.repo, tag=plan.tag, revision=remote.head, repo_type=KIND, exist_ok=False)
    return str(remote.head)


def verify(plan: Plan, remote: RemoteRepository) -> None:
    """PaqaError where sizes and hashes of shards and texts on the Hub are not those of the plan."""
    wrong = []
    for path in (*plan.present, *plan.new):
        file = remote.files.get(f"data/{path.name}")
        if file is None or not same(path.read_bytes, digest(path), path.stat().st_size, file):
            wrong.append(path.name)
    wrong += plan.unlike(remote)
    if wrong:
        shown = ", ".join(wrong[:3])
        raise PaqaError(
            f"{plan.repo}: {len(wrong)} files are not as they were sent ({shown}); run the command again"
        )


def megabytes(size: int) -> str:
    """`12.3 MB`."""
    return f"{size / 1e6:,.1f} MB"


def text(plan: Plan) -> str:
    """What a push would change, for a person."""
    remote, sizes = plan.remote, {p: p.stat().st_size for p in (*plan.new, *plan.present)}
    seen = "public" if (remote.private is False if remote.head else plan.public) else "private"
    state = (
        f"exists, {seen}" if remote.head else f"does not exist (or is hidden from you): would be made, {seen}"
    )
    lines = [f"{plan.repo}  {state}", ""]
    lines += [f"  + data/{p.name}  {megabytes(sizes[p])}" for p in plan.new]
    lines += [f"  {'-' if plan.prune else ' '} {name}  superseded" for name in plan.superseded]
    new = sum(sizes[p] for p in plan.new)
    lines += [f"shards       {len(plan.new)} new, {megabytes(new)}, in {len(batches(plan.new))} commits"]
    lines += [f"             {len(plan.present)} there already"]
    if plan.superseded:
        kept = "kept, but not part of the release (--prune removes them)"
        fate = "removed from the release" if plan.prune else kept
        lines += [f"             {len(plan.superseded)} superseded: {fate}"]
    if plan.foreign:
        lines += [
            f"             {len(plan.foreign)} other files in data/ are left alone, e.g. {plan.foreign[0]}"
        ]
    lines += [f"tag          {plan.tag or 'none: the last release is this one'}", *_difference(plan)]
    if remote.private and plan.public:
        stays = f"{plan.repo} stays private until its settings say otherwise"
        lines += ["", f"--public does not change what exists: {stays}"]
    return "\n".join(lines)


def _difference(plan: Plan) -> list[str]:
    """What becomes of the texts, with the card's unified diff."""
    unlike = plan.unlike(plan.remote)
    lines = []
    for name in plan.texts:
        changed = "changed" if name in plan.remote.files else "new"
        lines.append(f"{name:<12} {changed if name in unlike else 'unchanged'}")
    before, after = plan.remote.card.splitlines(), plan.texts[CARD].splitlines()
    diff = difflib.unified_diff(before, after, f"{plan.repo}/{CARD}", f"new {CARD}", lineterm="", n=1)
    return [*lines, *diff]
