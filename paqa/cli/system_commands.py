"""`paqa doctor` and `paqa ui`: this installation, and the Prefect UI."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from paqa.cli.environment import Commands, use_models
from paqa.errors import PaqaError


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module and their flags."""
    _add_doctor(commands)
    _add_ui(commands)


def _add_doctor(commands: Commands) -> None:
    parser = commands.add_parser(
        "doctor", help="what is installed, where weights come from, what to run next"
    )
    parser.add_argument("recipe", nargs="?", type=Path, help="look at the engines of this recipe only")
    parser.add_argument("--profile", metavar="NAME", help="look at the engines of this profile only")
    parser.add_argument("--models", type=Path, metavar="DIR", help="where weights lie that no package ships")
    parser.add_argument("--fetch", action="store_true", help="download the weights that are missing")


def _add_ui(commands: Commands) -> None:
    parser = commands.add_parser("ui", help="the Prefect UI over past and running builds")
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("data/demo"), help="a build's folder")
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="as which a tunnel reaches it",
    )


def run_doctor(args: argparse.Namespace) -> int:
    """`paqa doctor`: exit 1 where something needed is missing."""
    from paqa.cli.doctor import engines_to_check, examine, text

    use_models(args.models)
    findings = examine(engines_to_check(args.recipe, args.profile), args.fetch)
    print(text(findings))
    return 0 if all(f.ok for f in findings if f.needed) else 1


def run_ui(args: argparse.Namespace) -> int:
    """`paqa ui`."""
    from flows import pages, server
    from paqa.engines.base import installed
    from paqa.storage.build_folder import home

    if not installed("prefect"):
        raise PaqaError("prefect is not installed; run: uv pip install 'paqa[flow]'")
    os.environ[pages.HOSTS] = ",".join([*pages.named_hosts(), *args.allowed_host])
    server.ui(home(args.out), args.port)
    return 0


COMMANDS = {"doctor": run_doctor, "ui": run_ui}
