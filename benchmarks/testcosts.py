"""What each test costs: `python -m pytest -p testcosts`, then `python benchmarks/testcosts.py`.

A plugin of pytest. It counts CPU seconds of the process and of the children that it has waited for, and
seconds on the clock, over setup, call and teardown. On a machine that does other work as well, only CPU
seconds can be compared. Servers that outlive a test are not counted; a fixture of a session or module is
counted with the first test that uses it.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

COSTS = Path(
    os.environ.get("PAQA_TEST_COSTS", "data/testcosts.tsv")
)  # added to, by all processes of pytest-xdist


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Write a line for the test: CPU seconds, seconds, marks, name."""
    began, before = time.monotonic(), cpu_seconds()
    result = yield
    marks = ",".join(sorted({mark.name for mark in item.iter_markers()} & {"build", "slow"}))
    COSTS.parent.mkdir(parents=True, exist_ok=True)
    with COSTS.open("a") as file:
        file.write(f"{cpu_seconds() - before:.2f}\t{time.monotonic() - began:.2f}\t{marks}\t{item.nodeid}\n")
    return result


def main(most: int = 40) -> None:
    """Print the sums by mark, and the tests that cost most."""
    rows = [line.split("\t") for line in COSTS.read_text().splitlines()]
    costs = sorted(((float(cpu), float(wall), marks, name) for cpu, wall, marks, name in rows), reverse=True)
    for marks in sorted({row[2] for row in costs}):
        chosen = [row for row in costs if row[2] == marks]
        print(f"{sum(row[0] for row in chosen):>8.1f} CPU s  {len(chosen):>5} tests  {marks or 'no mark'}")
    print(f"\n{'CPU s':>8} {'seconds':>8}")
    for cpu, wall, marks, name in costs[:most]:
        print(f"{cpu:>8.1f} {wall:>8.1f}  {name} {marks}")


if __name__ == "__main__":
    main()
