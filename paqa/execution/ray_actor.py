"""What runs in a Ray actor: calls, and a check that its node can do the work of the process that calls it."""

from __future__ import annotations

import os
import pickle
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass

from paqa.config.recipe import Recipe
from paqa.errors import MissingObject, PaqaError
from paqa.pipeline.rows import code
from paqa.storage.filesystems import first_line
from paqa.storage.store import Store, key
from paqa.version import __version__


class Actor:
    """A process of the cluster that runs calls."""

    def call(self, payload: bytes) -> bytes:
        """Run a pickled call; (True, what it returned) or (False, the error), pickled."""
        step, args, kwargs = pickle.loads(payload)
        try:
            return pickle.dumps((True, step(*args, **kwargs)))
        except Exception as error:  # noqa: BLE001 - raised again in the process that calls
            return pickle.dumps((False, error))


@dataclass(frozen=True)
class ActorLocation:
    """The node and process of an actor."""

    node: str
    pid: int
    gpus: str = ""  # CUDA_VISIBLE_DEVICES


def probe(check: Callable[[], None] | None) -> ActorLocation:
    """The first call in a new actor: where it runs; `check` raises PaqaError where it cannot work."""
    from ray.util import get_node_ip_address

    node = f"{socket.gethostname()} ({get_node_ip_address()})"  # type: ignore[no-untyped-call]
    if check is not None:
        try:
            check()
        except PaqaError as error:
            raise PaqaError(f"node {node}: {error}") from None
    return ActorLocation(node, os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", ""))


@dataclass(frozen=True)
class NodeCheck:
    """What an actor must share with the process that calls it; called in the actor.

    Raises PaqaError where something differs there. `engines` are name, parameters and revision of each;
    `families` name and revision of each family of questions of a plug-in;
    `probe` is the key of an object of the store, `says` its content.
    """

    version: str
    code: str
    engines: tuple[tuple[str, str, str], ...]
    families: tuple[tuple[str, str], ...]
    store: Store
    probe: str
    says: bytes

    def __call__(self) -> None:
        """Compare paqa, the engines and the store with what is here."""
        version, code_hash = __version__, code()
        if (version, code_hash) != (self.version, self.code):
            theirs, ours = f"{version} (code {code_hash})", f"{self.version} (code {self.code})"
            raise PaqaError(f"paqa {theirs} is installed there, {ours} here; install the same on all nodes")
        self._check_engines()
        self._check_families()
        self._check_store()

    def _check_families(self) -> None:
        from paqa.questions.families import revisions

        for name, revision in self.families:
            if (revision_there := revisions([name])[0]) != revision:
                raise PaqaError(
                    f"question family {name} is {revision_there} there and {revision} here; install the same "
                    "plug-ins on all nodes"
                )

    def _check_engines(self) -> None:
        from paqa.perception.engine_runs import identity

        for name, params, revision in self.engines:
            try:
                revision_there = identity(name, params)[0]
            except ModuleNotFoundError as error:
                raise PaqaError(f"engine {name} needs {error.name}, which is not installed there") from None
            if revision_there != revision:
                raise PaqaError(
                    f"engine {name} has revision {revision_there} there and {revision} here: other weights, "
                    "or another version of a package; install the same on all nodes, and the same weights "
                    "(PAQA_MODELS)"
                )

    def _check_store(self) -> None:
        url = self.store.url
        advice = "name one that all nodes share with --store (s3://BUCKET/PREFIX, a network folder)"
        try:
            if self.store.get(self.probe, ".probe") != self.says:
                raise PaqaError(f"another store lies at {url} there; {advice}")
        except MissingObject:
            raise PaqaError(f"store {url} is not there; {advice}") from None
        except PaqaError:
            raise
        except Exception as error:  # noqa: BLE001 - each kind of store has its own
            raise PaqaError(f"store {url} cannot be read there ({first_line(error)}); {advice}") from None
        check_store(self.store, key("probe", self.probe, socket.gethostname(), os.getpid()))


def node_check(recipe: Recipe, store: Store) -> NodeCheck:
    """The check for this recipe and store; puts its probe into the store, which `remove_probe` removes."""
    from paqa.perception.engine_runs import engine_runs, identity
    from paqa.questions.families import revisions

    names = recipe.questions.families
    pairs = dict.fromkeys((run.engine, run.params) for run in engine_runs(recipe))
    engines = tuple((engine, params, identity(engine, params)[0]) for engine, params in pairs)
    content = secrets.token_hex(16).encode()
    probe_key = key("probe", content.decode())
    store.put(probe_key, ".probe", content)
    families = tuple(zip(names, revisions(names), strict=True))
    return NodeCheck(__version__, code(), engines, families, store, probe_key, content)


def remove_probe(check: NodeCheck) -> None:
    """Remove the check's probe from the store."""
    check.store.remove(check.probe, ".probe")


def check_store(store: Store, name: str) -> None:
    """Write, read and remove an object `name`; PaqaError where that cannot be done from this process."""
    written = secrets.token_hex(16).encode()
    try:
        store.put(name, ".probe", written)
        read = store.get(name, ".probe")
        store.remove(name, ".probe")
    except Exception as error:  # noqa: BLE001 - each kind of store has its own
        raise PaqaError(
            f"store {store.url} cannot be written and read ({first_line(error)}); "
            "check that it exists, its credentials and its endpoint (docs/scale.md)"
        ) from None
    if read != written:
        raise PaqaError(f"store {store.url} does not give back what was written")
