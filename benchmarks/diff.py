"""What `paqa diff` takes for two builds of 100,000 rows, half of them changed: seconds of a core, and memory.

PYTHONPATH=.:tests python benchmarks/diff.py [--rows 100000]
"""

import argparse
import hashlib
import resource
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from builds import make

from paqa.dataset import shards
from paqa.report import diff


def column(table: pa.Table, name: str, values: list[str]) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


def write(folder: Path, table: pa.Table, copies: int, side: str) -> None:
    """Copies of the rows under other ids; every second copy has another question on each side."""
    (folder / "data").mkdir(parents=True)
    with pq.ParquetWriter(folder / "data" / "train-0.parquet", table.schema, compression="zstd") as writer:
        for n in range(copies):
            mark = side if n % 2 else ""
            copy = table
            for name in ("id", "clip_id"):
                copy = column(copy, name, [f"{n:05d} {value}" for value in table[name].to_pylist()])
            keys = [hashlib.sha256(f"{mark}{name}".encode()).hexdigest() for name in copy["id"].to_pylist()]
            copy = column(copy, "key", keys)
            writer.write_table(
                column(copy, "question", [f"{q}{mark}" for q in table["question"].to_pylist()])
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = make(Path(folder) / "base", clips=40, per_clip=8, seconds=1.5)
        table = pa.concat_tables([pq.read_table(path) for path in shards.files(base)])
        copies = -(-args.rows // table.num_rows)
        sides = [Path(folder) / side for side in "ab"]
        for side in sides:
            write(side, table, copies, side.name)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        compared = diff.compare(*sides)
        rows = compared.same + len(compared.changed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{rows} rows, {len(compared.changed)} changed: {time.process_time() - began:.0f} s of a core,")
        print(f"{peak / 1024:.0f} MiB at most ({before / 1024:.0f} before)")


if __name__ == "__main__":
    main()
