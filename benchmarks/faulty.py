"""The command line with faults in it: `python benchmarks/faulty.py build ...`. For benchmarks/faults.py and
its tests.

What shall go wrong is said by the JSON in the environment variable FAULTS (see `Faults`). Worker processes
import this file as their main module, so the faults are in them as well: an engine, a decoder, a file system,
a writer.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from fsspec.implementations.local import LocalFileSystem  # noqa: E402 - after the path

from paqa.engines import base  # noqa: E402
from paqa.engines.deepfilternet import DeepFilterNet, DeepFilterNetParams  # noqa: E402
from paqa.storage import build_folder, store  # noqa: E402

ENGINE = "fragile"
PROTOCOL = "flaky"


@dataclass(frozen=True)
class Faults:
    """What goes wrong. `log` gets one line `what name` for each object put and for each fault."""

    log: str
    decoder: str = ""  # the name of a file in whose decoding the process crashes
    unrenamed: int = (
        0  # so many writers are killed between writing and renaming, each at an object of its own
    )
    errors: float = 0.0  # share of the calls on a flaky:// store that raise
    short: float = 0.0  # share of the reads from it that return less than there is
    seed: int = 0
    moves: int | None = (
        None  # the build is killed before it moves a file of its out folder for the n-th time, from 0
    )
    file_bytes: int = 0  # no file that a worker writes may grow beyond this


def given() -> Faults | None:
    """The faults of this process."""
    text = os.environ.get("FAULTS")
    return Faults(**json.loads(text)) if text else None


def note(what: str, name: str) -> None:
    """Write a line to the log; whole, whichever processes write at the same time."""
    if faults := given():
        with open(faults.log, "ab", buffering=0) as log:
            log.write(f"{what} {name}\n".encode())


# --- an engine that dies
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FragileParams(DeepFilterNetParams):
    """Digests of the samples that it dies on."""

    segfault: str = ""  # reads memory that is not its own
    killed: str = ""  # takes memory without end, until the kernel's out-of-memory killer would end it
    exhausted: str = ""  # asks for more memory than its limit


class Fragile(DeepFilterNet):
    """The embedded separator, but for three clips."""

    name: ClassVar[str] = ENGINE
    Params: ClassVar[type] = FragileParams

    def __call__(self, batch: Sequence[Any]) -> Any:
        from paqa.audio import digest

        for sound in map(digest, batch):
            if sound == self.params.segfault:
                note("segfault", sound)
                ctypes.string_at(0)
            if sound == self.params.killed:
                note("killed", sound)
                taken = [bytearray(b"x" * 2**20) for _ in range(64)]
                os.kill(os.getpid(), signal.SIGKILL if taken else 0)
            if sound == self.params.exhausted:
                note("exhausted", sound)
                _exhaust()
        return super().__call__(batch)


def _exhaust() -> None:
    """Ask for more memory than a limit allows."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**34, before[1]))
    try:
        bytearray(2**35)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# --- a file system that errs
# ------------------------------------------------------------------------------------------


class TroubleError(Exception):
    """What a library of a cloud raises: no OSError."""


class Flaky(LocalFileSystem):
    """Local files behind `flaky://`, with errors and short reads; which call fails follows from the seed."""

    protocol = PROTOCOL
    cachable = False
    calls: ClassVar[Counter[str]] = Counter()

    @classmethod
    def _strip_protocol(cls, path: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._strip_protocol(str(path).removeprefix(f"{PROTOCOL}://"), *args, **kwargs)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        self._trouble("read", path)
        data: bytes = super().cat_file(path, start, end, **kwargs)
        if data and _chance("short", path) < _rate("short"):
            note("short", path)
            return data[: len(data) * 2 // 3]
        return data

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._trouble("write", path)
        super().pipe_file(path, value, mode, **kwargs)

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._trouble("rename", path2)
        super().mv(path1, path2, **kwargs)

    def info(self, path: str, **kwargs: Any) -> Any:
        self._trouble("look", path)
        return super().info(path, **kwargs)

    def _trouble(self, what: str, path: str) -> None:
        if (chance := _chance(what, path)) < _rate("errors"):
            note("error", f"{what} {path}")
            kinds = (
                OSError(5, "Input/output error"),
                ConnectionResetError("by peer"),
                TroubleError("503 Slow Down"),
            )
            raise kinds[int(chance * 1e6) % 3]


def _rate(kind: str) -> float:
    faults = given()
    return float(getattr(faults, kind)) if faults else 0.0


def _chance(what: str, path: str) -> float:
    """A number in [0, 1) that follows from the seed, the call and how often it was made."""
    name = f"{what} {Path(path).suffix and Path(path).name}"
    Flaky.calls[name] += 1
    faults = given()
    text = f"{faults.seed if faults else 0} {name} {Flaky.calls[name]}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


# --- a decoder that crashes, a writer that is killed, a full disk
# -----------------------------------------------------


def _arm(faults: Faults) -> None:
    """Put the faults of a process where they belong."""
    base.ENGINES[ENGINE] = "faulty:Fragile"
    whole_put, rename = store.Store.put, os.replace

    def put(self: store.Store, key: str, suffix: str, data: bytes) -> None:
        whole_put(self, key, suffix, data)
        note("put", key + suffix)

    def replace(source: Any, target: Any) -> None:
        if (
            Path(target).suffix in (".flac", ".json")
            and store.TEMPORARY in str(source)
            and _first_few(faults)
        ):
            note("unrenamed", str(target))
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    store.Store.put = put  # type: ignore[method-assign]
    if faults.unrenamed:
        os.replace = replace  # type: ignore[assignment]
    if faults.moves is not None and __name__ == "__main__":
        _arm_moves(faults.moves)
    if faults.file_bytes and __name__ == "__mp_main__":
        resource.setrlimit(resource.RLIMIT_FSIZE, (faults.file_bytes, resource.RLIM_INFINITY))
    if faults.decoder:
        _arm_decoder(faults.decoder)


def _first_few(faults: Faults) -> bool:
    """Whether a writer is still to be killed: every tenth is, as long as there are any."""
    Flaky.calls["renamed"] += 1
    if Flaky.calls["renamed"] % 10:
        return False
    for n in range(faults.unrenamed):
        try:
            Path(f"{faults.log}.unrenamed{n}").touch(exist_ok=False)
            return True
        except FileExistsError:
            continue
    return False


def _arm_moves(n: int) -> None:
    """Kill the build before its n-th move of a file or folder that it has written beside the earlier
    build.
    """
    left = iter(range(n))

    def counted(move: Any) -> Any:
        def step(source: Any, target: Any) -> Any:
            if {build_folder.PENDING, build_folder.COMMITTED} & {*Path(source).parts} and next(
                left, None
            ) is None:
                note("unmoved", f"{source} {target}")
                os.kill(os.getpid(), signal.SIGKILL)
            return move(source, target)

        return step

    os.rename, os.replace = counted(os.rename), counted(os.replace)
    build_folder._swap = counted(build_folder._swap)


def _arm_decoder(name: str) -> None:
    from paqa.pipeline import ingest

    decode = ingest.decode_with_notes

    def crash(path: Path, config: Any) -> Any:
        if path.name == name:
            note("decoder", str(path))
            ctypes.string_at(0)
        return decode(path, config)

    ingest.decode_with_notes = crash  # type: ignore[attr-defined]


if faults := given():
    import fsspec

    fsspec.register_implementation(PROTOCOL, "faulty.Flaky", clobber=True)
    if __name__ in ("__main__", "__mp_main__"):
        _arm(faults)

if __name__ == "__main__":
    from paqa.cli.main import main

    sys.exit(main())
