"""The flow that a Prefect deployment runs (prefect.yaml): `paqa build` with parameters that are JSON.

The build itself is a flow run below this one, with its stages, logs and artifacts.
"""

from __future__ import annotations

import argparse

from prefect import flow

from paqa.cli import build_commands, main
from paqa.errors import PaqaError


@flow(name="paqa", flow_run_name="{recipe} -> {out}", persist_result=False)
def paqa(
    recipe: str,
    out: str,
    *,
    store: str | None = None,
    runner: str = "local",
    workers: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    gpus: str | None = None,
    timeout: float = 1,
    profile: str | None = None,
    models: str | None = None,
    changes: list[str] | None = None,
    grow: bool = False,
    audit: bool = False,
    report: bool = False,
) -> None:
    """Build a recipe; parameters are the flags of `paqa build`, `changes` are those of `--set`."""
    flags: dict[str, object] = {"store": store, "runner": runner, "workers": workers, "threads": threads}
    flags |= {"device": device, "gpus": gpus, "timeout": timeout, "profile": profile, "models": models}
    arguments = [f"--{name}={value}" for name, value in flags.items() if value is not None]
    arguments += [f"--set={change}" for change in changes or []]
    switches = {"grow": grow, "audit": audit, "report": report}
    arguments += [f"--{name}" for name, on in switches.items() if on]
    parser = main.parser()
    try:
        parsed = parser.parse_args(["build", recipe, f"--out={out}", *arguments])
    except (SystemExit, argparse.ArgumentError):
        raise PaqaError(
            f"paqa build does not take {' '.join(arguments)}; `paqa build --help` says what it takes"
        ) from None
    build_commands.run_build(parsed)
