"""What the commands share: environment variables, and where a build's store and weights lie."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TypeAlias

from paqa.errors import PaqaError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # to which parsers are added
QUIET = {  # nothing of ours phones anywhere, and no library asks a model hub for what it cannot have offline
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYANNOTE_METRICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def use_models(folder: Path | None) -> None:
    """Have this process and its workers look for weights in `folder`."""
    if folder is None:
        return
    if not folder.is_dir():
        raise PaqaError(f"--models {folder}: no such folder; `paqa doctor` says what belongs there")
    os.environ["PAQA_MODELS"] = str(folder.resolve())
