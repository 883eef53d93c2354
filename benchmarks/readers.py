"""Do other versions of `datasets` load the shards of a build, every value of every row as pyarrow reads it?

    python benchmarks/readers.py DIR [VERSION ...]        # by default 2.19, 3.6 and 5.2

Each version is installed in an environment of its own (by uv, from PyPI), and loads DIR as one dataset by its
card, and its files as Parquet.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from paqa.dataset import shards

VERSIONS = ("2.19", "3.6", "5.2")
LOAD = """
import glob, hashlib, json, sys
import datasets
folder, expected, cache = sys.argv[1:]
expected = {row["id"]: row for row in map(json.loads, open(expected, encoding="utf-8"))}
files = sorted(glob.glob(f"{folder}/data/*.parquet"))
whole = datasets.load_dataset(folder, cache_dir=cache)
alone = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
for parts in (list(whole.values()), [alone]):
    loaded = {}
    for part in parts:
        assert isinstance(part.features["audio"], datasets.Audio), part.features["audio"]
        for row in part.cast_column("audio", datasets.Audio(decode=False)):
            loaded[row["id"]] = {**row, "audio": hashlib.sha256(row["audio"]["bytes"]).hexdigest()}
    assert loaded.keys() == expected.keys(), (len(loaded), len(expected))
    wrong = [
        (name, column)
        for name, row in expected.items()
        for column in row
        if loaded[name][column] != row[column]
    ]
    assert not wrong, wrong[:3]
print(f"datasets {datasets.__version__}: {len(expected)} rows are equal")
"""


def main(folder: Path, versions: Sequence[str]) -> None:
    """Print a line for each version; the first that fails ends it with its traceback."""
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        with (home / "expected.jsonl").open("w", encoding="utf-8") as file:
            for row in shards.rows(folder):
                file.write(
                    json.dumps({**row, "audio": hashlib.sha256(row["audio"]["bytes"]).hexdigest()}) + "\n"
                )
        for version in versions:
            python = home / version / "bin" / "python"
            for command in (
                [uv, "venv", "-q", "--python", sys.executable, home / version],
                [uv, "pip", "install", "-q", "-p", python, f"datasets=={version}.*"],
                [python, "-c", LOAD, folder.resolve(), home / "expected.jsonl", home / f"cache-{version}"],
            ):
                subprocess.run([str(part) for part in command], check=True, cwd=home)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or VERSIONS)
