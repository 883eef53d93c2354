"""The folder of a build is always one whole build: whatever is cut, readers see the one before or the one
after.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from builds import make

from paqa.curation import shortcuts
from paqa.dataset import check, open_build, shards, summary
from paqa.errors import PaqaError
from paqa.storage import build_folder
from paqa.storage.build_folder import COMMITTED, FAILED, PENDING, TABLES

OLD = {"train-aaaaaaaaaaaaaaaa": ["a", "b"], "train-bbbbbbbbbbbbbbbb": ["c"], "test-cccccccccccccccc": ["d"]}
NEW = {"train-aaaaaaaaaaaaaaaa": ["a", "b"], "train-dddddddddddddddd": ["c", "e"]}
NOT_ANEW = (build_folder.SHORTCUTS, build_folder.AUDIT)  # what the old build has and the new one lacks
IN_OLD, IN_NEW = (sorted(i for ids in shards.values() for i in ids) for shards in (OLD, NEW))


def fill(folder, shards, said, tables=TABLES):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, ids in shards.items():
        (folder / "data" / f"{name}.parquet").write_text(" ".join(ids))
    for name in tables:
        (folder / name).write_text(said)


def begun(out):
    """An old build with its audit, and a new one that only has to be committed, without figures on
    shortcuts.
    """
    fill(out, OLD, "old")
    fill(build_folder.begin(out), NEW, "new", [name for name in TABLES if name not in NOT_ANEW])
    return out


def seen(out):
    """What a reader that knows nothing of paqa finds: the rows in `data/*.parquet`, [] where there are no
    files.
    """
    return sorted(i for path in (out / "data").glob("*.parquet") for i in path.read_text().split())


def tables(out):
    return {name: (out / name).read_text() for name in TABLES if (out / name).exists()}


class Killed(BaseException):
    """As if the process ended here."""


class Steps:
    """Every change that is made to the folder, as a step at which the process can be killed."""

    def __init__(self, patch, out, exchange=True):
        self.out, self.left, self.done, self.views, self.early = out, None, 0, [], []
        for place, name in ((os, "rename"), (os, "replace"), (os, "link"), (Path, "unlink"), (Path, "rmdir")):
            patch.setattr(place, name, self._step(getattr(place, name)))
        patch.setattr(shutil, "rmtree", self._step(self._half(shutil.rmtree)))
        patch.setattr(build_folder, "_swap", self._step(build_folder._swap) if exchange else lambda *_: False)

    def kill_after(self, steps):
        self.left, self.done = steps, 0

    def _step(self, call):
        def step(*args, **kwargs):
            self.views.append(seen(self.out))
            if self.left is not None and self.left <= self.done:
                raise Killed
            self.done += 1
            result = call(*args, **kwargs)
            self.views.append(seen(self.out))
            said = tables(self.out)
            if said.get(build_folder.BUILD) == "new" and "old" in said.values():
                self.early.append(said)
            return result

        return step

    def _half(self, rmtree):
        """Removing a folder is no single step: killed in it, half of the files are left."""

        def remove(path, **kwargs):
            files = sorted(p for p in Path(path).rglob("*") if p.is_file())
            for file in files[::2]:
                os.unlink(file)
            if self.left is not None and self.left <= self.done:
                raise Killed
            rmtree(path, **kwargs)

        return remove


@pytest.mark.parametrize("exchange", [True, False])
def test_killed_at_any_step_readers_see_the_old_or_the_new_build(tmp_path, exchange):
    allowed = (
        [IN_OLD, IN_NEW] if exchange else [IN_OLD, IN_NEW, []]
    )  # for a moment, where nothing can be exchanged
    finished = False
    for n in range(99):
        out = begun(tmp_path / str(n))
        with pytest.MonkeyPatch.context() as patch:
            steps = Steps(patch, out, exchange)
            steps.kill_after(n)
            with suppress(Killed):
                build_folder.commit(out)
                finished = True
            for again in range(2):  # who goes on is killed, too
                steps.kill_after(again)
                with suppress(Killed):
                    build_folder.finish_commit(out)
            assert [view for view in steps.views if view not in allowed] == []
            assert steps.early == []  # build.json comes last: it says what the others are
        committed = (out / COMMITTED).exists() or seen(out) == IN_NEW
        shards.files(out)
        assert seen(out) == (IN_NEW if committed else IN_OLD)
        names = [name for name in TABLES if not committed or name not in NOT_ANEW]
        assert tables(out) == dict.fromkeys(names, "new" if committed else "old")
        with build_folder.hold_folder(out):
            assert not (out / PENDING).exists()
        assert sorted(p.name for p in (out / "data").iterdir()) == sorted(
            f"{name}.parquet" for name in (NEW if committed else OLD)
        )
        if finished:
            break
    assert finished
    assert n > 10


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Two real builds with other rows and recipes."""
    folder = tmp_path_factory.mktemp("builds")
    return make(folder / "one", clips=2, seconds=3), make(folder / "other", clips=3, seconds=3, name="other")


def test_a_build_killed_at_its_commit_is_found_to_be_one_build(tmp_path, builds):
    one, other = builds
    before, after = ({r["id"] for r in shards.rows(folder, ["id"])} for folder in (one, other))
    for n in (0, 1, 2, 4, 7, 99):
        out = tmp_path / str(n)
        shutil.copytree(one, out)
        shutil.copytree(other, build_folder.pending(out))
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, tmp_path / "nowhere").kill_after(n)
            with suppress(Killed):
                build_folder.commit(out)
        committed = (out / COMMITTED).exists() or n == 99
        assert list(summary.mismatches(out)) == []
        assert summary.load(out).name == ("other" if committed else "made")
        assert {r["id"] for r in shards.rows(out, ["id"])} == (after if committed else before)


def test_all_is_on_the_disk_before_anything_is_moved(tmp_path, monkeypatch):
    out = begun(tmp_path)
    new = build_folder.pending(out)
    synced, fsync, rename = set(), os.fsync, os.rename

    def noted(handle):
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    def last(source, target):
        if Path(target).name == COMMITTED:
            missing = [path.name for path in (*new.rglob("*"), new) if path.stat().st_ino not in synced]
            assert missing == []
            assert not any((out / name).read_text() == "new" for name in TABLES)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "rename", last)
    build_folder.commit(out)
    assert out.stat().st_ino in synced
    assert seen(out) == IN_NEW


def test_files_of_others_in_data_stay_and_leftovers_of_writers_go(tmp_path):
    out = begun(tmp_path)
    (out / "data" / "notes").mkdir()
    for name in ("notes/mine.txt", "mine.csv", ".train-1.parquet.abc.tmp"):
        (out / "data" / name).write_text("x")
    build_folder.commit(out)
    left = {p.relative_to(out / "data").as_posix() for p in (out / "data").rglob("*")}
    assert left == {f"{name}.parquet" for name in NEW} | {"notes", "notes/mine.txt", "mine.csv"}


def test_a_build_that_fails_leaves_the_one_before_and_says_why_beside_it(tmp_path):
    out = begun(tmp_path)
    before = {
        p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file() and PENDING not in p.parts
    }
    build_folder.abandon(out)
    after = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    kept = {Path(FAILED, name): b"new" for name in (build_folder.QUARANTINE, build_folder.RECIPE)}
    assert after == before | kept
    fill(build_folder.begin(out), NEW, "newer", [build_folder.QUARANTINE])
    build_folder.abandon(out)
    assert {p.name: p.read_text() for p in (out / FAILED).iterdir()} == {build_folder.QUARANTINE: "newer"}
    fill(build_folder.begin(out), NEW, "new")
    build_folder.commit(out)
    assert not (out / FAILED).exists()


def test_a_first_build_that_fails_leaves_a_folder_for_the_next(tmp_path):
    out = tmp_path / "out"
    with build_folder.hold_folder(out):
        fill(build_folder.begin(out), NEW, "new", [build_folder.QUARANTINE])
        build_folder.abandon(out)
    with pytest.raises(PaqaError, match="no shards"):
        shards.files(out)
    with build_folder.hold_folder(out):
        build_folder.begin(out)  # killed here
    with build_folder.hold_folder(out):
        fill(build_folder.begin(out), NEW, "new")
        build_folder.commit(out)
    assert seen(out) == IN_NEW


@pytest.mark.parametrize("names", [["README.md"], ["failed"], [".lock", "notes.txt"], ["data"]])
def test_somebody_elses_folder_is_left_alone(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(PaqaError, match="--out"), build_folder.hold_folder(tmp_path):
        pass
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == dict.fromkeys(names, "mine")


def test_two_builds_do_not_share_a_folder(tmp_path):
    out = tmp_path / "out"
    mine, theirs = build_folder.hold_folder(out), build_folder.hold_folder(out)
    with mine, pytest.raises(PaqaError, match="another build"), theirs:
        pass
    with build_folder.hold_folder(out):
        pass


def cut(out):
    """A build that was killed right after its commit point."""
    begun(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_folder, "_roll_forward", lambda out: None)
        build_folder.commit(out)
    assert seen(out) == IN_OLD
    return out


READERS = (
    shards.files,
    shards.quarantined,
    summary.load,
    summary.digests,
    open_build.open_build,
    shortcuts.load,
    check.check,
)


@pytest.mark.parametrize("read", READERS, ids=lambda read: f"{read.__module__}.{read.__name__}")
def test_whoever_opens_the_folder_finishes_the_commit(tmp_path, builds, read):
    out = tmp_path / "out"
    shutil.copytree(builds[0], out)
    shutil.copytree(builds[1], out / COMMITTED)
    (out / COMMITTED / "data" / build_folder.NEW).touch()
    (out / COMMITTED / build_folder.MANIFEST).write_text(json.dumps(TABLES))
    with (
        suppress(PaqaError) if read is shortcuts.load else nullcontext()
    ):  # they have no figures on shortcuts
        read(out)
    assert not (out / COMMITTED).exists()
    assert list(summary.mismatches(out)) == []
    assert summary.load(out).name == "other"


def test_a_reader_waits_for_the_process_that_is_at_it(tmp_path, monkeypatch):
    out = cut(tmp_path)
    with (out / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr(build_folder, "WAIT_S", 0.05)
        with pytest.raises(PaqaError, match="another build is writing there"):
            shards.files(out)
        monkeypatch.setattr(build_folder, "WAIT_S", 60.0)
        code = (
            "from paqa.dataset import shards; from pathlib import Path; "
            f"print(shards.files(Path({str(out)!r})))"
        )
        reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        build_folder._roll_forward(out)  # as the process that holds the lock, which then goes on
        said, _ = reader.communicate(timeout=300)
    assert "train-dddddddddddddddd" in said


def test_a_commit_that_cannot_be_finished_is_said(tmp_path, monkeypatch):
    out = cut(tmp_path)

    def fails(source, target):
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(PaqaError, match=r"cannot be finished \(Permission denied: .*run: paqa check"):
        shards.files(out)
