"""What runs in a Ray actor: calls that come and go as bytes, and a look at whether it can do the driver's
work.
"""

from __future__ import annotations

import os
import pickle
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass

from paqa import __version__
from paqa.config.recipe import Recipe
from paqa.errors import MissingObject, PaqaError
from paqa.pipeline.rows import code
from paqa.storage.filesystems import first_line
from paqa.storage.store import Store, key


class Actor:
    """A process of the cluster: takes a pickled call, gives back what it returned or raised, pickled."""

    def call(self, payload: bytes) -> bytes:
        step, args, kwargs = pickle.loads(payload)
        try:
            return pickle.dumps((True, step(*args, **kwargs)))
        except Exception as error:  # noqa: BLE001 - raised where the call came from
            return pickle.dumps((False, error))


@dataclass(frozen=True)
class Home:
    """Where an actor lives."""

    node: str
    pid: int
    gpus: str = ""  # CUDA_VISIBLE_DEVICES


def arrive(first: Callable[[], None] | None) -> Home:
    """Called in a fresh actor, before anything else; `first` raises PaqaError where it cannot work."""
    from ray.util import get_node_ip_address as address

    node = f"{socket.gethostname()} ({address()})"  # type: ignore[no-untyped-call]
    if first is not None:
        try:
            first()
        except PaqaError as error:
            raise PaqaError(f"node {node}: {error}") from None
    return Home(node, os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", ""))


@dataclass(frozen=True)
class Same:
    """What an actor must share with the process that calls it; called in the actor, raises PaqaError where it
    does not.

    `engines` are name, parameters and revision of each; `probe` is an object of the store and `says` its
    content.
    """

    version: str
    code: str
    engines: tuple[tuple[str, str, str], ...]
    store: Store
    probe: str
    says: bytes

    def __call__(self) -> None:
        if (found := (__version__, code())) != (self.version, self.code):
            theirs, ours = f"{found[0]} (code {found[1]})", f"{self.version} (code {self.code})"
            raise PaqaError(f"paqa {theirs} is installed there, {ours} here; install the same on all nodes")
        self._engines()
        self._store()

    def _engines(self) -> None:
        from paqa.perception.engine_runs import identity

        for name, params, revision in self.engines:
            try:
                found = identity(name, params)[0]
            except ModuleNotFoundError as error:
                raise PaqaError(f"engine {name} needs {error.name}, which is not installed there") from None
            if found != revision:
                raise PaqaError(
                    f"engine {name} has revision {found} there and {revision} here: other weights, or another version "
                    "of a package; install the same on all nodes, and the same weights (PAQA_MODELS)"
                )

    def _store(self) -> None:
        url, again = (
            self.store.url,
            "name one that all nodes share with --store (s3://BUCKET/PREFIX, a network folder)",
        )
        try:
            if self.store.get(self.probe, ".probe") != self.says:
                raise PaqaError(f"another store lies at {url} there; {again}")
        except MissingObject:
            raise PaqaError(f"store {url} is not there; {again}") from None
        except PaqaError:
            raise
        except Exception as error:  # noqa: BLE001 - each kind of store has its own
            raise PaqaError(f"store {url} cannot be read there ({first_line(error)}); {again}") from None
        reach(self.store, key("probe", self.probe, socket.gethostname(), os.getpid()))


def same(recipe: Recipe, store: Store) -> Same:
    """What actors are to share for this recipe and store; puts the probe into the store (`forget` removes
    it).
    """
    from paqa.perception.engine_runs import engine_runs, identity

    used = dict.fromkeys((node.engine, node.params) for node in engine_runs(recipe))
    engines = tuple((*one, identity(*one)[0]) for one in used)
    says = secrets.token_hex(16).encode()
    probe = key("probe", says.decode())
    store.put(probe, ".probe", says)
    return Same(__version__, code(), engines, store, probe, says)


def forget(first: Same) -> None:
    """Remove the probe."""
    first.store.remove(first.probe, ".probe")


def reach(store: Store, name: str) -> None:
    """Write, read and remove an object `name`; PaqaError where that cannot be done from this process."""
    says = secrets.token_hex(16).encode()
    try:
        store.put(name, ".probe", says)
        found = store.get(name, ".probe")
        store.remove(name, ".probe")
    except Exception as error:  # noqa: BLE001 - each kind of store has its own
        raise PaqaError(
            f"store {store.url} cannot be written and read ({first_line(error)}); "
            "check that it exists, its credentials and its endpoint (docs/scale.md)"
        ) from None
    if found != says:
        raise PaqaError(f"store {store.url} does not give back what was written")
