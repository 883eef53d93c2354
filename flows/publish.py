"""The Prefect flow behind a push: one task per commit, so that the UI shows how far it is.

    python -m flows.publish DIR ORG/NAME [--public] [--prune] [--tag NAME]

The token is read by the Hub's client where it is needed: it is no parameter, so that no run keeps it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows import settings
from flows.build import transient
from flows.server import Server, running
from paqa.errors import PaqaError
from paqa.publish import hub

R = TypeVar("R")


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=5,
    retry_condition_fn=transient,
)
def step(call: Callable[[], R]) -> R:
    """One conversation with the Hub."""
    return call()


def _named(name: str, call: Callable[[], R]) -> R:
    task_: Any = step.with_options(name=name, task_run_name=name)
    returned: R = task_(call)
    return returned


@flow(name="paqa push", flow_run_name="{folder} -> {repo}", persist_result=False, validate_parameters=False)
def publish(
    folder: Path, repo: str, public: bool = False, prune: bool = False, tag: str | None = None
) -> str | None:
    """Push a build; returns the release's commit, or None where there was nothing to do."""
    api = hub.connect()
    plan = _named("plan", partial(hub.plan, folder, repo, api, public, prune, tag))
    create_markdown_artifact(
        key="push", markdown=f"```diff\n{hub.text(plan)}\n```", description=f"paqa push {repo}"
    )
    if not plan.changes:
        return None
    _named("prepare", partial(hub.prepare, plan, api))
    groups = hub.batches(plan.new)
    head = plan.remote.head
    for number, group in enumerate(groups, 1):
        message = f"Add {len(group)} shards ({number} of {len(groups)})"
        head = _named(message, partial(hub.send, plan, group, api, message))
    return _named(f"Release {plan.tag}", partial(hub.publish, plan, api, head))


def launch(folder: Path, repo: str, home: Path, server: Server, **options: Any) -> str | None:
    """Run the flow against the Prefect server over `home` (see flows/server.py)."""
    with running(home, server):
        return publish(folder, repo, **options)


def main() -> int:
    """The command line of this file; `paqa push` is the one with a dry run."""
    top = argparse.ArgumentParser("flows.publish", description="Push a build to the Hub as a Prefect flow.")
    top.add_argument("folder", type=Path)
    top.add_argument("repo", metavar="ORG/NAME")
    top.add_argument("--public", action="store_true")
    top.add_argument("--prune", action="store_true")
    top.add_argument("--tag", metavar="NAME")
    args = vars(top.parse_args())
    home = args["folder"].resolve().parent / ".paqa"
    settings.apply(home)
    server = Server(home).start()
    try:
        print(launch(home=home, server=server, **args) or "nothing to do: the Hub has this release already")
    except PaqaError as error:
        print(f"push: {error}", file=sys.stderr)
        return 2
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
