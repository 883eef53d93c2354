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
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from paqa.dataset import shards, summary
from paqa.errors import PaqaError
from paqa.publish import release
from paqa.storage.build_folder import CARD, SHARD_NAME
from paqa.storage.store import digest

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

FILES_A_COMMIT = 50  # the Hub asks for 50 to 100
BYTES_A_COMMIT = (
    10_000_000_000  # what is lost, at most, where the Hub forgets files that were sent but not committed
)
UPLOADS = 2  # files sent at a time
KIND = "dataset"
NAME = re.compile(r"[\w.-]+/[\w.-]+")
VERSION = re.compile(r"v([0-9]+)")
CLIENT = "huggingface_hub"
TRANSPORTS = ("httpx", "httpcore", "httpx2", "httpcore2")  # of the client, by its version
TOKEN = "make one that may write at (your account) > Settings > Access Tokens, then run: hf auth login"


@dataclass(frozen=True)
class Remote:
    """What a repository holds; `head` is None where there is no repository (or none that the token may
    see).
    """

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
    remote: Remote
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

    def unlike(self, remote: Remote) -> list[str]:
        """The names of texts that a repository lacks or has otherwise."""
        data = {name: text.encode() for name, text in self.texts.items()}
        return [
            name for name in data if not (name in remote.files and _holds(data[name], remote.files[name]))
        ]


def connect(endpoint: str | None = None, token: str | None = None) -> HfApi:
    """The Hub's client; the token is that of `hf auth login` or HF_TOKEN, never a flag: a shell would
    remember it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(
        logging.ERROR
    )  # its warnings show addresses signed for this upload
    if not sys.stderr.isatty():
        disable_progress_bars()
    return HfApi(endpoint=endpoint, token=token)


@contextmanager
def understood(repo: str) -> Iterator[None]:
    """Raise what the Hub says as one line for a person; failures of the network are OSErrors, worth another
    try.

    Anything else, a defect of our own say, is raised as what it is.
    """
    try:
        yield
    except Exception as error:  # errors of the transport have no base of their own but this
        explained = _understood(repo, error)
        if explained is error:
            raise
        raise explained from None


def _understood(repo: str, error: BaseException) -> BaseException:
    from huggingface_hub import errors

    if isinstance(error, RuntimeError) and error.__cause__:  # sending a file: what went wrong is its cause
        return _understood(repo, error.__cause__)
    if isinstance(error, errors.HFValidationError):
        return PaqaError(f"{repo}: no name that the Hub takes ({error}); expected ORG/NAME")
    if isinstance(error, errors.LocalTokenNotFoundError):
        return PaqaError(f"{repo}: there is no token of the Hub; {TOKEN}")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return PaqaError(f"{repo}: HF_HUB_OFFLINE is set, so the Hub cannot be asked; unset it to push")
    if isinstance(error, errors.HfHubHTTPError):
        return _explained(repo, error)
    transport = errors.HfHubHTTPError.__bases__[0]  # the HTTPError of httpx or of its successor, as installed
    path = _packages(error)
    closed = (
        isinstance(error, RuntimeError | AttributeError) and path[-1] in TRANSPORTS
    )  # by another thread's failure
    sending = isinstance(error, RuntimeError) and path[-1] == CLIENT  # its native code knows no other kind
    if isinstance(error, transport) or closed or sending:
        what = f"the connection to the Hub broke ({type(error).__name__}: {_scrubbed(str(error))})"
        return ConnectionError(f"{repo}: {what}; run the same command again, it goes on where it stopped")
    if isinstance(error, ValueError) and CLIENT in path:  # the card's header, or the LFS server's answer
        return PaqaError(f"{repo}: the Hub rejects this: {_scrubbed(str(error))}")
    return error


def _packages(error: BaseException) -> list[str]:
    """The packages whose code an error has come through, the one that raised it last: a defect may be our
    own.
    """
    names = [str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)]
    return [name.partition(".")[0] for name in names] or [""]


def _explained(repo: str, error: Any) -> Exception:
    """What an answer of the Hub means; only a failure of the server itself is worth another try."""
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    said = _scrubbed(getattr(error, "server_message", None) or str(error).partition("\n")[0])
    if status == 401:
        return PaqaError(f"{repo}: the Hub refuses the token ({said}); {TOKEN}")
    if status == 403:
        return PaqaError(f"{repo}: the token may not do this ({said}); it must be able to write to {repo}")
    if status == 404:
        return PaqaError(f"{repo}: not found, or the token may not see it ({said})")
    if status in (409, 412):
        return PaqaError(f"{repo}: somebody else changed it meanwhile ({said}); run the same command again")
    if 400 <= status < 500 and status != 429:
        return PaqaError(f"{repo}: the Hub rejects this with status {status}: {said}")
    return ConnectionError(
        f"{repo}: the Hub answers with status {status} ({said}); run the same command again"
    )


def _scrubbed(text: str) -> str:
    """The text on one line and without the token, should a server ever repeat it."""
    from huggingface_hub import get_token

    for token in filter(None, (get_token(), os.environ.get("HF_TOKEN"))):
        text = text.replace(token, "(token)")
    return " ".join(re.sub(r"hf_\w{8,}", "(token)", text).split())


def plan(
    folder: Path, repo: str, api: HfApi, public: bool = False, prune: bool = False, tag: str | None = None
) -> Plan:
    """Compare a build with the Hub. PaqaError where a push cannot be right: the message says why.

    `prune` removes superseded shards from the release's files (the tags before keep them); `tag` is its name
    (default: v1, v2, ...).
    """
    if not NAME.fullmatch(repo):
        raise PaqaError(f"{repo!r}: expected the name of a dataset repository, ORG/NAME")
    paths = shards.built(folder)
    if wrong := list(summary.mismatches(folder)):
        raise PaqaError(f"{folder}: {len(wrong)} files are not those of one build: {wrong[0]}")
    texts = release.render(folder)
    with understood(repo):
        remote = look(repo, api)
    _refuse(repo, remote, public)
    new = tuple(p for p in paths if f"data/{p.name}" not in remote.files)
    present = tuple(p for p in paths if f"data/{p.name}" in remote.files)
    for path in present:
        if not same(path.read_bytes, digest(path), path.stat().st_size, remote.files[f"data/{path.name}"]):
            raise PaqaError(
                f"{path}: {repo} has a file of that name with other bytes. Names say content, so one of the two is "
                f"damaged or written by another version of pyarrow; run: paqa check {folder}, or push to a new NAME"
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


def look(repo: str, api: HfApi) -> Remote:
    """The repository as it is now; an empty Remote where there is none."""
    from huggingface_hub import errors
    from huggingface_hub.hf_api import RepoFile

    try:
        info = api.repo_info(repo, repo_type=KIND)
    except errors.RepositoryNotFoundError as error:
        if error.response is not None and error.response.status_code == 401:
            api.whoami()  # a token that the Hub does not know is refused here
        return Remote()
    tree = api.list_repo_tree(repo, recursive=True, repo_type=KIND, revision=info.sha)
    files = {f.path: f for f in tree if isinstance(f, RepoFile)}
    tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo, repo_type=KIND).tags}
    return Remote(info.sha, info.private, files, tags, _card(repo, info.sha, api) if CARD in files else "")


def _card(repo: str, revision: str | None, api: HfApi) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = api.hf_hub_download(repo, CARD, repo_type=KIND, revision=revision, local_dir=folder)
        return Path(path).read_bytes().decode("utf-8", "replace")


def _refuse(repo: str, remote: Remote, public: bool) -> None:
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


def _tag(remote: Remote, wanted: str | None, changes: bool) -> str | None:
    """The name of the release; None where nothing changes and the head has a tag already."""
    if wanted and wanted in remote.tags and (changes or remote.tags[wanted] != remote.head):
        raise PaqaError(f"--tag {wanted}: names another release already; name a new one")
    tagged = not changes and remote.head in remote.tags.values()
    if wanted:
        return None if wanted in remote.tags else wanted
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
    with understood(plan.repo):
        role = (api.whoami().get("auth") or {}).get("accessToken", {}).get("role")
        if role == "read":
            raise PaqaError(f"{plan.repo}: the token may only read; {TOKEN}")
        if plan.remote.head is None:
            api.create_repo(plan.repo, repo_type=KIND, private=not plan.public, exist_ok=True)
            if not plan.public and api.repo_info(plan.repo, repo_type=KIND).private is False:
                raise PaqaError(
                    f"{plan.repo}: the Hub made it public; nothing was sent, make it private there first"
                )


def send(plan: Plan, paths: Sequence[Path], api: HfApi, message: str) -> str:
    """Send files, and commit them; those that the Hub has got already are only committed. Returns the
    commit.
    """
    from huggingface_hub import CommitOperationAdd

    operations = [CommitOperationAdd(f"data/{p.name}", p) for p in paths]
    with understood(plan.repo):
        done = api.create_commit(
            plan.repo, operations, commit_message=message, repo_type=KIND, num_threads=UPLOADS
        )
    return str(done.oid)


def publish(plan: Plan, api: HfApi, head: str | None) -> str:
    """The texts (and with them the release) onto the commit `head`, their check, then a tag; returns the
    commit.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[Any] = [CommitOperationAdd(n, plan.texts[n].encode()) for n in plan.unlike(plan.remote)]
    operations += [CommitOperationDelete(name) for name in plan.superseded if plan.prune]
    with understood(plan.repo):
        if operations:
            said = f"Release {plan.tag}"
            api.create_commit(plan.repo, operations, commit_message=said, repo_type=KIND, parent_commit=head)
        now = look(plan.repo, api)
        verify(plan, now)
        if plan.tag and now.head:
            api.create_tag(plan.repo, tag=plan.tag, revision=now.head, repo_type=KIND, exist_ok=False)
    return str(now.head)


def verify(plan: Plan, now: Remote) -> None:
    """PaqaError where the Hub does not hold exactly what the plan says: sizes and hashes of shards and
    texts.
    """
    wrong = []
    for path in (*plan.present, *plan.new):
        there = now.files.get(f"data/{path.name}")
        if there is None or not same(path.read_bytes, digest(path), path.stat().st_size, there):
            wrong.append(path.name)
    wrong += plan.unlike(now)
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
        fate = (
            "removed from the release"
            if plan.prune
            else "kept, but not part of the release (--prune removes them)"
        )
        lines += [f"             {len(plan.superseded)} superseded: {fate}"]
    if plan.foreign:
        lines += [
            f"             {len(plan.foreign)} other files in data/ are left alone, e.g. {plan.foreign[0]}"
        ]
    lines += [f"tag          {plan.tag or 'none: the last release is this one'}", *_difference(plan)]
    if remote.private and plan.public:
        lines += [
            "",
            f"--public does not change what exists: {plan.repo} stays private until its settings say otherwise",
        ]
    return "\n".join(lines)


def _difference(plan: Plan) -> list[str]:
    """What becomes of the texts, with the card's unified diff."""
    unlike = plan.unlike(plan.remote)
    lines = [
        f"{name:<12} {'unchanged' if name not in unlike else 'changed' if name in plan.remote.files else 'new'}"
        for name in plan.texts
    ]
    before, after = plan.remote.card.splitlines(), plan.texts[CARD].splitlines()
    return [
        *lines,
        *difflib.unified_diff(before, after, f"{plan.repo}/{CARD}", f"new {CARD}", lineterm="", n=1),
    ]
