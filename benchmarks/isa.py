"""The tests that compare numbers, under other processors' instructions (`PYTHONPATH=. python
benchmarks/isa.py`).

The numeric libraries choose their code by the processor they find. Each row of the table holds them to less
than this one has, or gives them another number of threads, and runs all files in a process of their own: what
passed and failed, and the largest difference in steps of precision (tests/closeness.py). ONNX Runtime has no
such switch; of what it computes with, only glibc's functions change.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
FILES = (
    *("paper_pyannote", "paper_demucs", "paper_panns", "paper_whisper", "engines", "deepfilter", "listener"),
    *("train_base", "train_model", "train_rollout", "train_grpo", "train_sft", "train_ranks", "train_data"),
    *("audio", "audit", "build", "contamination", "fingerprint", "mix", "prosody", "split"),
)
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "CT2_FORCE_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ",
}
GENERIC = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "MKL_CBWR": "COMPATIBLE",
    "CT2_FORCE_CPU_ISA": "GENERIC",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX2,-AVX,-FMA,-FMA4",
}
SETTINGS = {  # the variables that libraries read when they are loaded
    "native, 1 thread": {"OMP_NUM_THREADS": "1"},
    "native, 2 threads": {"OMP_NUM_THREADS": "2"},
    "AVX2, 1 thread": {"OMP_NUM_THREADS": "1", **AVX2},
    "AVX2, 2 threads": {"OMP_NUM_THREADS": "2", **AVX2},
    "generic, 1 thread": {"OMP_NUM_THREADS": "1", **GENERIC},
    "generic, 2 threads": {"OMP_NUM_THREADS": "2", **GENERIC},
}


@dataclass(frozen=True)
class Outcome:
    """One file under one setting; `steps` is None where it compares no numbers of two computations."""

    setting: str
    file: str
    passed: int
    failed: tuple[str, ...]
    steps: float | None


def run(setting: str, files: Sequence[str], select: str, folder: Path) -> list[Outcome]:
    """What became of the tests that pytest's -k selects, in a process with the setting's variables."""
    steps, report = folder / "steps", folder / "report.xml"
    for path in (steps, report):
        path.unlink(missing_ok=True)
    variables = os.environ | SETTINGS[setting] | {"PAQA_STEPS": str(steps), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", "-k", select]
    subprocess.run([*command, *(f"tests/test_{file}.py" for file in files)], cwd=ROOT, env=variables)
    seen = [line.split("\t") for line in steps.read_text().splitlines()] if steps.exists() else []
    cases = list(ElementTree.parse(report).iter("testcase"))
    return [outcome(setting, file, cases, seen) for file in files]


def outcome(
    setting: str, file: str, cases: Sequence[ElementTree.Element], seen: Sequence[Sequence[str]]
) -> Outcome:
    """The share of one file in pytest's report and in the lines of PAQA_STEPS."""
    own = [c for c in cases if re.match(rf"tests\.test_{file}(\.|$)", c.get("classname", ""))]
    failed = [c.get("name", "") for c in own if c.find("failure") is not None or c.find("error") is not None]
    skipped = sum(c.find("skipped") is not None for c in own)
    steps = [float(number) for test, number in seen if test.startswith(f"tests/test_{file}.py::")]
    return Outcome(setting, file, len(own) - len(failed) - skipped, tuple(failed), max(steps, default=None))


def table(outcomes: Sequence[Outcome]) -> str:
    """Files in rows, settings in columns: passed/failed, and the largest difference in steps."""
    settings = list(dict.fromkeys(o.setting for o in outcomes))
    lines = ["| | " + " | ".join(settings) + " |", "|---" * (len(settings) + 1) + "|"]
    for file in dict.fromkeys(o.file for o in outcomes):
        cells = {o.setting: o for o in outcomes if o.file == file}
        lines.append(f"| {file} | " + " | ".join(cell(cells[s]) for s in settings) + " |")
    return "\n".join(lines)


def cell(outcome: Outcome) -> str:
    steps = "" if outcome.steps is None else f", {outcome.steps:.3g}"
    return f"{outcome.passed}/{len(outcome.failed)}{steps}"


def main() -> None:
    """Run, and print the table at the end; exit with 1 where a test failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--files", nargs="+", default=FILES, help="tests/test_NAME.py, by NAME")
    parser.add_argument("--select", default="", help="only tests whose names match (pytest -k)")
    parser.add_argument("--json", type=Path, help="write all outcomes to this file")
    args = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for setting in args.settings:
            print(setting, flush=True)
            outcomes += run(setting, args.files, args.select, Path(folder))
    print(table(outcomes))
    if args.json:
        args.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    sys.exit(any(o.failed or not o.passed for o in outcomes))


if __name__ == "__main__":
    main()
