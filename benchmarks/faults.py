"""What a build survives: one command, one table (`python benchmarks/faults.py`).

Each fault is put into a real build with the real embedded engines (benchmarks/faulty.py), then the same
command is run again where the build did not end well. Survived: it ended as it should, then well. Equal: the
shards have the bytes of an undisturbed build. Twice: objects that were complete in the store and were
computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from faulty import ENGINE, PROTOCOL, Faults

from paqa.dataset.check import check
from paqa.storage.store import TEMPORARY, Store

ROOT = Path(__file__).parents[1]
MOVES = (7, 18)  # of files in the out folder: the commit point and the ways to their places
DEMO = ROOT / "manifests" / "demo"
RESULTS = Path(__file__).parent / "results" / "faults.json"
RECORDINGS = (
    ("allison-01", "awb-02", "ked-03", "rms-04", "slt-05", "storm-03", "kal-03", "reader-01"),
    ("alarm-clock-01", "bell-01", "bird-01", "cat-01", "cow-02", "dog-02", "duck-01", "owl-01"),
)
RECIPE = """
name = "lab"
seed = 5
[[sources]]
name = "recordings"
type = "folder"
path = "recordings"
[hear.separate]
engine = "{engine}"
params = {{ {params} }}
[hear.transcribe]
align = "mix"
[questions]
mishear = false
[split]
validation = 0.0
test = 0.3
[gates]
max_quarantined = 0.9
shortcuts = "off"
"""
POISON = {
    "segfault": "lion-01",
    "killed": "tiger-01",
    "exhausted": "sheep-02",
}  # by how the engine ends
DECODER = "horse-02"


@dataclass(frozen=True)
class Outcome:
    """What one fault came to."""

    fault: str
    injected: int
    survived: bool
    equal: bool
    twice: int
    said: str = field(default="", repr=False)  # what the disturbed build said


@dataclass(frozen=True)
class Ran:
    """A build that has ended: exit code, and what it said."""

    code: int
    said: str


class Lab:
    """A corpus, an undisturbed build of it, and a folder for each fault's build."""

    def __init__(self, folder: Path, api: str | None = None):
        """`api`: a Prefect server to share; each build starts its own where there is none."""
        self.folder = folder
        self.api = api
        recordings = self._corpus("corpus", [])
        self.recipe = self._recipe(recordings.parent, "")
        self.number = 0

    def _corpus(self, name: str, more: list[str]) -> Path:
        recordings = self.folder / name / "recordings"
        recordings.mkdir(parents=True)
        files = [f"speech/{one}" for one in RECORDINGS[0]] + [
            f"sounds/{one}" for one in [*RECORDINGS[1], *more]
        ]
        for file in files:
            (recordings / f"{Path(file).name}.flac").write_bytes((DEMO / f"{file}.flac").read_bytes())
        return recordings

    def _recipe(self, folder: Path, params: str) -> Path:
        path = folder / "lab.toml"
        path.write_text(RECIPE.format(engine=ENGINE, params=params))
        return path

    @cached_property
    def undisturbed(self) -> Case:
        """A build without faults."""
        case = self.case()
        done = case.run()
        assert done.code == 0, done.said
        return case

    @cached_property
    def whole(self) -> dict[str, bytes]:
        """The shards of an undisturbed build."""
        return self.undisturbed.shards

    def case(self, recipe: Path | None = None, **faults: Any) -> Case:
        """A fresh folder for a build with some faults."""
        self.number += 1
        folder = self.folder / f"case{self.number}"
        folder.mkdir()
        return Case(folder, recipe or self.recipe, Faults(str(folder / "log"), **faults), self.api)

    def outcome(
        self,
        case: Case,
        fault: str,
        injected: int,
        survived: bool,
        said: str,
        whole: dict[str, bytes] | None = None,
    ) -> Outcome:
        """Compare a finished case with the undisturbed build, or with other shards that it should have."""
        equal = bool(case.shards) and case.shards == (whole or self.whole)
        problems = check(case.out).problems if equal else []
        return Outcome(
            fault, injected, survived and not problems, equal, case.twice(), f"{said}{problems or ''}"
        )


class Case:
    """The builds of one recipe into one folder."""

    def __init__(self, folder: Path, recipe: Path, faults: Faults, api: str | None):
        self.folder, self.recipe, self.faults, self.api = folder, recipe, faults, api
        self.out = folder / "lab"
        self.store = str(folder / "store")
        self.workers = 2

    @property
    def shards(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in sorted((self.out / "data").glob("*.parquet"))}

    def noted(self, what: str) -> list[str]:
        """The names in the log's lines of one kind."""
        log = Path(self.faults.log)
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{what} ")]

    def twice(self) -> int:
        """Objects put more than once."""
        return sum(n - 1 for n in Counter(self.noted("put")).values())

    def start(self, armed: bool = True) -> subprocess.Popen[str]:
        """Start the build, in a session of its own as in a terminal of its own."""
        # without the faults that were for the first try, but with the log
        faults = self.faults if armed else Faults(self.faults.log)
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
            "HF_HUB_OFFLINE": "1"
        }
        variables |= {"FAULTS": json.dumps(asdict(faults))} | (
            {"PREFECT_API_URL": self.api} if self.api else {}
        )
        command = [
            sys.executable,
            Path(__file__).with_name("faulty.py"),
            "build",
            self.recipe,
            "--out",
            self.out,
        ]
        command += ["--store", self.store, "--workers", self.workers, "--quiet"]
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, armed: bool = True, meanwhile: Callable[[subprocess.Popen[str]], None] | None = None
    ) -> Ran:
        """Run the build to its end; `meanwhile` runs beside it."""
        with self.start(armed) as process:
            beside = threading.Thread(target=meanwhile or (lambda _: None), args=(process,))
            beside.start()
            _, said = process.communicate(timeout=600)
            beside.join()
        return Ran(process.returncode, said)

    def reach(self, puts: int, process: subprocess.Popen[str]) -> bool:
        """Wait until so many objects were put; False where the build ends before."""
        while len(self.noted("put")) < puts:
            if process.poll() is not None:
                return False
            time.sleep(0.01)
        return True


def worker_processes(parent: int) -> list[psutil.Process]:
    """The worker processes of a build."""
    found = []
    for child in psutil.Process(parent).children():
        try:
            line = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if "spawn_main" in line:
            found.append(child)
    return found


# --- the faults
# -------------------------------------------------------------------------------------------------------


def workers_killed(lab: Lab, seed: int) -> Outcome:
    """SIGKILL to a random worker at three random points; the build goes on."""
    draw = random.Random(seed)
    case, killed = lab.case(), []

    def kill(process: subprocess.Popen[str]) -> None:
        for puts in sorted(draw.sample(range(5, 75), 3)):
            if case.reach(puts, process) and (found := worker_processes(process.pid)):
                victim = draw.choice(found)
                victim.kill()
                killed.append(victim.pid)

    done = case.run(meanwhile=kill)
    return lab.outcome(case, "workers killed", len(killed), done.code == 0, done.said)


def flow_killed(lab: Lab, seed: int) -> Outcome:
    """SIGKILL to the build itself at a random point, then an undisturbed run."""
    case = lab.case()
    with case.start() as process:
        killed = case.reach(random.Random(seed).randrange(5, 75), process)
        process.kill()
    gone = _gone(case)
    done = case.run()
    return lab.outcome(case, "flow killed", int(killed), gone and done.code == 0, done.said)


def commit_killed(lab: Lab, seed: int) -> Outcome:
    """SIGKILL to a build of other rows while its files take the place of an earlier one's.

    What is left is one whole build, and the recipe of the earlier one makes that again.
    """
    case = lab.case(moves=random.Random(seed).randrange(*MOVES))
    shutil.copytree(lab.undisturbed.store, case.store)
    shutil.copytree(lab.undisturbed.out, case.out)
    case.recipe = lab.recipe.with_name("other.toml")
    case.recipe.write_text(lab.recipe.read_text().replace("seed = 5", "seed = 6"))
    first = case.run()
    gone = _gone(case)
    problems = check(case.out).problems
    case.recipe = lab.recipe
    done = case.run(armed=False)
    said = f"{first.said}{problems}{done.said}{case.noted('unmoved')}"
    fine = first.code == -signal.SIGKILL and gone and not problems and done.code == 0
    return lab.outcome(case, "commit killed", len(case.noted("unmoved")), fine, said)


def writers_killed(lab: Lab, seed: int) -> Outcome:
    """SIGKILL to workers between writing an object and renaming it; their temporary files are swept a day
    later.
    """
    case = lab.case(unrenamed=2, seed=seed)
    done = case.run()
    left = list(Path(case.store, TEMPORARY).iterdir())
    injected = len(case.noted("unrenamed"))
    for path in left:
        os.utime(path, (0, 0))
    Store(case.store).remove_stale()  # as each build does at its start
    swept = not list(Path(case.store, TEMPORARY).iterdir())
    fine = done.code == 0 and len(left) == injected and swept
    return lab.outcome(case, "writers killed", injected, fine, done.said)


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[Callable[[int], None]]:
    """A tmpfs mounted over a folder; yields what makes it larger. PermissionError where mounting is not
    permitted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={int(megabytes * 1024)}k"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        raise PermissionError(mounted.stderr.strip())
    try:
        yield (
            lambda size: subprocess.run(["mount", "-o", f"remount,size={size}m", folder], check=True) and None
        )
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def disk_full(lab: Lab, seed: int) -> Outcome:
    """A store on a disk that fills up; after making room, the same command again."""
    case = lab.case()
    with small_disk(Path(case.store), random.Random(seed).uniform(0.3, 0.9)) as grow:
        first = case.run()
        torn = list(Path(case.store, TEMPORARY).iterdir())
        grow(100)
        done = case.run()
        ended = first.code == 2 and first.said.count("\n") == 1 and "make room" in first.said and not torn
        return lab.outcome(case, "disk full", first.code == 2, ended and done.code == 0, first.said)


def file_too_large(lab: Lab, seed: int) -> Outcome:
    """A limit on the size of files that an object exceeds: a full disk that takes no root."""
    case = lab.case(file_bytes=random.Random(seed).randrange(20_000, 60_000))
    first = case.run()
    done = case.run(armed=False)
    ended = first.code == 2 and first.said.count("\n") == 1 and "make room" in first.said
    return lab.outcome(case, "files too large", first.code == 2, ended and done.code == 0, first.said)


def store_errs(lab: Lab, seed: int) -> Outcome:
    """A store of which each tenth call fails and each tenth read is short."""
    case = lab.case(errors=0.1, short=0.1, seed=seed)
    case.store = f"{PROTOCOL}://{case.store}"
    done = case.run()
    injected = len(case.noted("error")) + len(case.noted("short"))
    return lab.outcome(case, "store errs", injected, done.code == 0, done.said)


def objects_damaged(lab: Lab, seed: int) -> Outcome:
    """Stored objects of each kind with changed bits, cut, or emptied; the next build makes them again."""
    case = lab.case()
    shutil.copytree(lab.undisturbed.store, case.store)
    chosen = damage(Path(case.store), random.Random(seed))
    done = case.run()
    checked = subprocess.run(
        [sys.executable, "-m", "paqa", "check", case.out, "--store"], cwd=ROOT, capture_output=True, text=True
    )
    found, left = (text.count("was damaged") for text in (done.said, checked.stdout))
    again = Counter(case.noted("put")).keys() - {path.name for path in chosen}  # that were whole
    fine = (done.code, found, left, checked.returncode) == (0, len(chosen), 0, 0)
    said = f"{done.said}{checked.stdout}{again}"
    return lab.outcome(case, "objects damaged", len(chosen), fine and not again, said)


def damage(store: Path, draw: random.Random) -> list[Path]:
    """Damage four objects, one of each kind and one more, each in another way."""
    kinds = {suffix: sorted(store.glob(f"???/*{suffix}")) for suffix in (".flac", ".json", ".bin")}
    chosen = [draw.choice(kinds[".flac"]), draw.choice(kinds[".bin"]), *draw.sample(kinds[".json"], 2)]
    for path, way in zip(chosen, draw.sample(("flip", "cut", "empty", "flip"), 4), strict=True):
        data = bytearray(path.read_bytes())
        if way == "flip":
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes({"flip": data, "cut": data[: draw.randrange(1, len(data))], "empty": b""}[way])
    return chosen


def server_killed(lab: Lab, seed: int) -> Outcome:
    """SIGKILL to the Prefect server in the middle of a build."""
    case, killed = lab.case(), []
    case.api = None

    def kill(process: subprocess.Popen[str]) -> None:
        record = case.folder / ".paqa" / "prefect" / "server.json"
        if case.reach(random.Random(seed).randrange(20, 70), process):
            killed.append(json.loads(record.read_text())["pid"])
            os.kill(killed[0], signal.SIGKILL)

    done = case.run(meanwhile=kill)
    return lab.outcome(case, "Prefect server killed", len(killed), done.code == 0, done.said)


def interrupted(lab: Lab, seed: int) -> Outcome:
    """Ctrl-C, as a terminal sends it: SIGINT to the whole process group."""
    case = lab.case()
    with case.start() as process:
        sent = case.reach(random.Random(seed).randrange(20, 70), process)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
    seconds = time.monotonic() - began
    told = (
        process.returncode == 130 and "stopped; what was finished is kept" in said and "Traceback" not in said
    )
    fine = told and _gone(case) and seconds < 30
    done = case.run()
    return lab.outcome(
        case,
        "Ctrl-C",
        int(sent),
        fine and done.code == 0,
        f"exit code {process.returncode} after {seconds:.1f} s: {said}",
    )


def poison(lab: Lab, seed: int) -> Outcome:
    """One clip that crashes its engine, one that gets it killed, one beyond its memory, and one that crashes
    decoding.

    They are quarantined; what is left is as it is without them.
    """
    del seed
    recordings = lab._corpus(f"poison{lab.number}", [*POISON.values(), DECODER])
    params = ", ".join(f'{way} = "{_digest(recordings / f"{name}.flac")}"' for way, name in POISON.items())
    recipe = lab._recipe(recordings.parent, params)
    case = lab.case(recipe, decoder=f"{DECODER}.flac")
    first = case.run()
    rows = quarantine(case.out) if first.code == 0 else {}
    wanted = {
        name: ("engine_crashed" if way == "segfault" else "out_of_memory") for way, name in POISON.items()
    }
    wanted[DECODER] = "decoder_crashed"
    found = {
        name: reason for name, (reason, _) in rows.items() if reason.endswith(("crashed", "failed", "memory"))
    }
    named = all(f"{name}.flac" in rows[name][1] for name in found)
    shards = case.shards
    for name in wanted:
        (recordings / f"{name}.flac").unlink()
    without = case.run(armed=False)
    injected = len(
        {*case.noted("segfault"), *case.noted("killed"), *case.noted("exhausted"), *case.noted("decoder")}
    )
    fine = first.code == without.code == 0 and found == {f"{k}": v for k, v in wanted.items()} and named
    return lab.outcome(case, "poison", injected, fine, f"{first.said}{rows}", whole=shards)


def quarantine(out: Path) -> dict[str, tuple[str, str]]:
    """Reason and detail of what fell out before there were questions, by the name of its recording."""
    from paqa.dataset import shards

    return {
        Path(row.id).stem: (row.reason, row.detail) for row in shards.quarantined(out) if row.stage != "gates"
    }


def _digest(path: Path) -> str:
    """The digest of a short recording's samples, as the recipe has them decoded and cut."""
    from paqa.audio import decode, digest, windows
    from paqa.config.recipe import AudioConfig
    from paqa.types import Audio

    config = AudioConfig()
    audio = decode(path, config)
    ((start_ms, end_ms),) = windows(audio, config.max_clip_ms)
    return digest(
        Audio(audio.samples[:, start_ms * config.rate // 1000 : end_ms * config.rate // 1000], config.rate)
    )


def _gone(case: Case, seconds: float = 20) -> bool:
    """Whether no process is left that names the case's folder, within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not [
            p
            for p in psutil.process_iter(["cmdline"])
            if str(case.folder) in " ".join(p.info["cmdline"] or ())
        ]:
            return True
        time.sleep(0.1)
    return False


FAULTS: dict[str, Callable[[Lab, int], Outcome]] = {
    f.__name__: f
    for f in (
        workers_killed,
        flow_killed,
        commit_killed,
        writers_killed,
        disk_full,
        file_too_large,
        store_errs,
        objects_damaged,
        server_killed,
        interrupted,
        poison,
    )
}


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("faults", nargs="*", help=f"of {', '.join(FAULTS)} (default: all)")
    arguments.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="one run of each fault per seed"
    )
    arguments.add_argument("--save", action="store_true", help=f"write {RESULTS.name} as well")
    chosen = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    print(
        f"{'fault':<24} {'seed':>4} {'injected':>9} {'survived':>9} {'bytes equal':>12} "
        f"{'computed twice':>15}"
    )
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        for name in chosen.faults or FAULTS:
            for seed in chosen.seeds:
                try:
                    one = FAULTS[name](lab, seed)
                except PermissionError as error:
                    print(f"{name:<24} {seed:>4} skipped: {error}")
                    continue
                rows.append({"seed": seed} | {k: v for k, v in asdict(one).items() if k != "said"})
                yes = ["yes" if fine else "NO" for fine in (one.survived, one.equal)]
                print(
                    f"{one.fault:<24} {seed:>4} {one.injected:>9} {yes[0]:>9} {yes[1]:>12} {one.twice:>15}",
                    flush=True,
                )
                if not (one.injected and one.survived and one.equal) or one.twice:
                    print(one.said, file=sys.stderr)
                if chosen.save:
                    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
