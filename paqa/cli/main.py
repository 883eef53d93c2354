"""`paqa init|build|check|audit|shortcuts|report|verdicts|show|diff|calibrate|push|export|import|doctor|ui`.

Imports nothing heavy until a command is chosen.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from paqa.cli import (
    build_commands,
    calibrate_command,
    exit_status,
    inspect_commands,
    publish_commands,
    system_commands,
)
from paqa.cli.environment import QUIET
from paqa.version import __version__

# in the order of the help
GROUPS = (build_commands, inspect_commands, calibrate_command, publish_commands, system_commands)
COMMANDS = {name: run for group in GROUPS for name, run in group.COMMANDS.items()}
EXTRAS = {
    "build": "embedded",
    "audit": "audit",
    "calibrate": "audit",
    "verdicts": "audit",
    "push": "hub",
    "ui": "flow",
}  # needed beside the light core
GO_ON = "stopped; what was finished is kept, run the same command again to go on"


def parser() -> argparse.ArgumentParser:
    """All commands and flags."""
    top = argparse.ArgumentParser("paqa", description="Audio in, perception-grounded question answering out.")
    top.add_argument("--version", action="version", version=f"paqa {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add_parsers(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; errors are one line on stderr and exit 2, Ctrl-C exits 130 (see exit_status.py)."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return exit_status.run(parser(), argv, lambda args: COMMANDS[args.command](args), GO_ON, EXTRAS)


if __name__ == "__main__":
    sys.exit(main())
