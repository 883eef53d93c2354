"""What a build keeps of the quality of its clips: a column of clips.parquet, and figures over all of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from paqa.dataset import shards
from paqa.errors import PaqaError
from paqa.perception.quality import Quality
from paqa.storage.store import write_atomically
from paqa.types import Clip

COLUMN = "quality"
MEASURES = (  # field, label, unit and decimals
    ("dnsmos", "DNSMOS", "", 2),
    ("dnsmos_speech", "DNSMOS of the voice", "", 2),
    ("dnsmos_background", "DNSMOS of the background", "", 2),
    ("snr_db", "SNR of the stems", " dB", 1),
    ("srmr", "SRMR", "", 2),
    ("bandwidth_hz", "Bandwidth", " Hz", 0),
    ("clipped", "Clipped share", "", 4),
)


@dataclass(frozen=True)
class Figure:
    """A measure over the clips that have it: the 10th, 50th and 90th percentile."""

    label: str
    unit: str
    clips: int
    low: float
    median: float
    high: float


def write_clips(path: Path, clips: Sequence[Clip], qualities: Mapping[str, Quality]) -> None:
    """Write clips.parquet in order of id, with the column `quality` where there are any."""
    ordered = sorted(clips, key=lambda clip: clip.id)
    if not qualities:
        shards.write_table(path, Clip, ordered)
        return
    rows = [
        {**msgspec.to_builtins(clip), COLUMN: msgspec.to_builtins(qualities.get(clip.id))} for clip in ordered
    ]
    schema = shards.table_schema(Clip).append(pa.field(COLUMN, pa.struct(shards.table_schema(Quality))))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    write_atomically(path, sink.getvalue())


def read(path: Path) -> dict[str, Quality]:
    """The quality of the clips of a clips.parquet by id, none where it was not measured or there is no file.

    PaqaError where another version of paqa measured other things.
    """
    if not path.exists():
        return {}
    file = shards.open_shard(path)
    if COLUMN not in file.schema_arrow.names:
        return {}
    rows = file.read(columns=["id", COLUMN]).to_pylist()
    try:
        return {row["id"]: msgspec.convert(row[COLUMN], Quality) for row in rows if row[COLUMN]}
    except msgspec.ValidationError as error:
        raise PaqaError(f"{path}: made by another version of paqa ({error}); run the build again") from None


def values(qualities: Iterable[Quality], measure: str) -> list[float]:
    """The values of a measure, of the clips that have it."""
    return [value for quality in qualities if (value := getattr(quality, measure)) is not None]


def figures(qualities: Iterable[Quality]) -> tuple[Figure, ...]:
    """Every measure that a clip has, over all clips."""
    measured = list(qualities)
    by_measure = [(label, unit, digits, values(measured, name)) for name, label, unit, digits in MEASURES]
    return tuple(_figure(*row) for row in by_measure if row[-1])


def _figure(label: str, unit: str, digits: int, of_clips: Sequence[float]) -> Figure:
    low, median, high = (round(float(value), digits) for value in np.percentile(of_clips, (10, 50, 90)))
    return Figure(label, unit, len(of_clips), low, median, high)


def spread(figure: Figure) -> str:
    """`3.1 (median of 40 clips; 10th to 90th percentile 2.4 to 3.6)`."""
    unit = figure.unit
    return (
        f"{figure.median:g}{unit} (median of {figure.clips} clips; 10th to 90th percentile "
        f"{figure.low:g} to {figure.high:g}{unit})"
    )
