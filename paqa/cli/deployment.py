"""The flow that a Prefect deployment runs (prefect.yaml): `paqa build` with parameters that are JSON.

The build itself is a flow run below this one, with its stages, logs and artifacts.
"""

from __future__ import annotations

import argparse

from prefect import flow

from paqa.cli import main
from paqa.errors import PaqaError


@flow(name="paqa", flow_run_name="{recipe} -> {out}", persist_result=False)
def paqa(
    recipe: str,
    out: str,
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
    flags: dict[str, object] = {
        "store": store,
        "runner": runner,
        "workers": workers,
        "threads": threads,
        "device": device,
    }
    flags |= {"gpus": gpus, "timeout": timeout, "profile": profile, "models": models}
    given = [f"--{name}={value}" for name, value in flags.items() if value is not None]
    given += [f"--set={change}" for change in changes or []]
    given += [
        f"--{name}" for name, wanted in (("grow", grow), ("audit", audit), ("report", report)) if wanted
    ]
    parser = main.parser()
    try:
        arguments = parser.parse_args(["build", recipe, f"--out={out}", *given])
    except (SystemExit, argparse.ArgumentError):
        raise PaqaError(
            f"paqa build does not take {' '.join(given)}; `paqa build --help` says what it takes"
        ) from None
    main.run_build(arguments)
