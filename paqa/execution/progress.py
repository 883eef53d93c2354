"""The progress of a build: bars on a terminal, otherwise a plain line a minute and one per finished stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from paqa.pipeline.protocols import Submitted

R = TypeVar("R")
LINE_EVERY_S = 60.0  # of a stage that is not finished, where there is no bar


class Progress:
    """One bar or line per stage; `unit` names what the stage counts. `log` gets every line."""

    def __init__(self, quiet: bool = False, log: Callable[[str], None] = lambda line: None):
        self.quiet = quiet
        self.log = log
        self.finished: list[tuple[str, int, str, float]] = []  # stages: name, units, unit, seconds
        self.terminal = sys.stderr.isatty() and not quiet
        self.started_at: dict[str, float] = {}  # by stage, of `time.perf_counter`
        self.units_done: dict[str, int] = {}  # by stage
        self.totals: dict[str, int] = {}  # by stage
        self.line_at: dict[str, float] = {}  # by stage, when its last line was printed
        self.bars: dict[str, Any] = {}

    def open(self, stage: str, total: int, unit: str) -> None:
        """A stage begins, of `total` units."""
        self.started_at[stage], self.units_done[stage] = time.perf_counter(), 0
        self.totals[stage], self.line_at[stage] = total, self.started_at[stage]
        if self.terminal:
            from tqdm import tqdm

            layout = "{desc:<22} {bar:24} {n_fmt}/{total_fmt} {unit}  {elapsed} < {remaining}"
            self.bars[stage] = tqdm(desc=stage, total=total, unit=unit, bar_format=layout, leave=True)

    def advance(self, stage: str, units: int) -> None:
        """So many more units of a stage are finished."""
        self.units_done[stage] += units
        if stage in self.bars:
            self.bars[stage].update(units)
        elif not self.quiet and time.perf_counter() - self.line_at[stage] >= LINE_EVERY_S:
            self.line_at[stage] = time.perf_counter()
            done, seconds = self.units_done[stage], self.line_at[stage] - self.started_at[stage]
            print(
                f"{stage:<22} {done:>6} of {self.totals[stage]}, {seconds:.0f} s", file=sys.stderr, flush=True
            )

    def note(self, line: str) -> None:
        """Print and log a line that belongs to no stage."""
        self.log(line)
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def close(self, stage: str, unit: str) -> None:
        """A stage is finished."""
        seconds = time.perf_counter() - self.started_at[stage]
        self.finished.append((stage, self.units_done[stage], unit, seconds))
        self.log(f"{stage}: {self.units_done[stage]} {unit} in {seconds:.1f} s")
        if stage in self.bars:
            self.bars.pop(stage).close()
        elif not self.quiet:
            line = f"{stage:<22} {self.units_done[stage]:>6} {unit:<10} {seconds:7.1f} s"
            print(line, file=sys.stderr, flush=True)


def collect(
    submitted: Submitted[R],
    as_completed: Callable[[Any], Iterable[Any]],
    progress: Progress,
    advanced: Callable[[int], None] = lambda units: None,
) -> list[R]:
    """All results of a stage in the order of its calls, with progress; the first failure is raised.

    `as_completed` is that of the futures' own library; `advanced` gets the units of each call that is done.
    """
    futures = list(submitted.futures)
    if not futures:
        return []
    stage, unit = submitted.stage, submitted.unit
    progress.open(stage, sum(submitted.sizes), unit)
    size_of = dict(zip(futures, submitted.sizes, strict=True))
    for future in as_completed(futures):
        future.result()
        progress.advance(stage, size_of[future])
        advanced(size_of[future])
    progress.close(stage, unit)
    return [future.result() for future in futures]
