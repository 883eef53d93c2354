"""Write sounds.jsonl: the events of every file in sounds/, found by level, with their origin and licence.

    python manifests/real/sounds.py

Origins are those of `origins.jsonl`, as the authors of ESC-10 recorded them.
"""

import json
from pathlib import Path

import av
import numpy as np

FOLDER = Path(__file__).parent
BELOW_DB = 34.0  # below the loudest moment a sound counts as over, as in manifests/demo
BRIDGE_MS = 300  # shorter gaps do not end an event
SHORTEST_MS = 60
LABELS = {
    "baby_cry": ("Baby cry, infant cry", "/t/dd00002"),
    "chainsaw": ("Chainsaw", "/m/01j4z9"),
    "clock_tick": ("Tick-tock", "/m/07qjznl"),
    "dog_bark": ("Dog", "/m/0bt9lr"),
    "fire_crackling": ("Fire", "/m/02_41"),
    "helicopter": ("Helicopter", "/m/09ct_"),
    "person_sneeze": ("Sneeze", "/m/01hsr_"),
    "rain": ("Rain", "/m/06mb1"),
    "rooster": ("Chicken, rooster", "/m/09b5t"),
    "sea_waves": ("Waves, surf", "/m/034srq"),
}


def samples(path: Path) -> tuple[np.ndarray, int]:
    """The samples `(n,)` of a file, mono, and its rate in Hz."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
    return np.concatenate(frames, axis=1).mean(axis=0), stream.rate


def spans(signal: np.ndarray, rate: int) -> list[tuple[int, int]]:
    """Where the level of a signal is near its highest, in ms."""
    hop = rate // 100
    level = np.array([signal[i : i + 2 * hop].std() for i in range(0, len(signal) - hop, hop)])
    active = level > level.max() * 10 ** (-BELOW_DB / 20)
    found: list[tuple[int, int]] = []
    for frame in np.flatnonzero(active):
        start, end = int(frame) * 10, int(frame) * 10 + 20
        if found and start - found[-1][1] <= BRIDGE_MS:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    last = len(signal) * 1000 // rate // 10 * 10
    return [(start, min(end, last)) for start, end in found if end - start >= SHORTEST_MS]


def main() -> None:
    """Write the manifest."""
    origins = map(json.loads, (FOLDER / "origins.jsonl").read_text(encoding="utf-8").splitlines())
    with (FOLDER / "sounds.jsonl").open("w", encoding="utf-8") as lines:
        for origin in origins:
            path = FOLDER / "sounds" / origin["file"]
            label, mid = LABELS[path.name.split("-")[0]]
            events = [
                {"label": label, "mid": mid, "start_ms": start, "end_ms": end}
                for start, end in spans(*samples(path))
            ]
            row = {
                "id": path.stem,
                "path": f"sounds/{path.name}",
                "turns": [],  # nobody speaks
                "events": events,
                "license": origin["license"],
                "source": f"ESC-10: {origin['title']!r} by {origin['author']}, {origin['url']}",
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
