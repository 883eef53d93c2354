"""How a build says where it is: bars on a terminal, one plain line per finished stage otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any


class Progress:
    """One bar or line per stage; `unit` counts whatever the stage works on. `log` gets the lines in any
    case.
    """

    def __init__(self, quiet: bool = False, log: Callable[[str], None] = lambda line: None):
        self.quiet = quiet
        self.log = log
        self.walked: list[
            tuple[str, int, str, float]
        ] = []  # stages that are done: name, units, unit, seconds
        self.terminal = sys.stderr.isatty() and not quiet
        self.began: dict[str, float] = {}
        self.done: dict[str, int] = {}
        self.bars: dict[str, Any] = {}

    def open(self, stage: str, total: int, unit: str) -> None:
        """A stage begins: `total` units are to be done."""
        self.began[stage], self.done[stage] = time.perf_counter(), 0
        if self.terminal:
            from tqdm import tqdm

            layout = "{desc:<22} {bar:24} {n_fmt}/{total_fmt} {unit}  {elapsed} < {remaining}"
            self.bars[stage] = tqdm(desc=stage, total=total, unit=unit, bar_format=layout, leave=True)

    def advance(self, stage: str, units: int) -> None:
        """Some units are done."""
        self.done[stage] += units
        if stage in self.bars:
            self.bars[stage].update(units)

    def note(self, line: str) -> None:
        """A line that is no stage."""
        self.log(line)
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def close(self, stage: str, unit: str) -> None:
        """A stage is done."""
        seconds = time.perf_counter() - self.began[stage]
        self.walked.append((stage, self.done[stage], unit, seconds))
        self.log(f"{stage}: {self.done[stage]} {unit} in {seconds:.1f} s")
        if stage in self.bars:
            self.bars.pop(stage).close()
        elif not self.quiet:
            print(
                f"{stage:<22} {self.done[stage]:>6} {unit:<10} {seconds:7.1f} s", file=sys.stderr, flush=True
            )
