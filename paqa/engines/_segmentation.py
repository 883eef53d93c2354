"""pyannote's segmentation-3.0 by ONNX Runtime: who of three local speakers speaks, window by window.

Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization" (Interspeech
2023): at each frame the network names the set of at most two of three speakers who speak. Speakers are local:
the first of one window may be the second of the next. `stitched` matches them where windows overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np

from paqa.engines._onnx import open_session

RATE, GRID = 16_000, 160  # Hz; samples of 10 ms, to which all times are brought
WINDOW_S = 10  # that the network was trained on
STEPS = WINDOW_S * 100  # of the grid in a window
SPEAKERS, TOGETHER = 3, 2
FRAME_STEP, FIRST_CENTRE = 270, 495  # samples: between the centres of the network's frames, and the first one
SHORTEST = RATE  # samples: shorter clips are padded with silence, the network needs 991
BATCH = 4  # windows: more save no time
SETS = [s for n in range(TOGETHER + 1) for s in combinations(range(SPEAKERS), n)]
MEMBERS = np.array([[who in s for who in range(SPEAKERS)] for s in SETS], dtype=np.float32)  # (7, 3)
ORDERS = list(permutations(range(SPEAKERS)))


@dataclass(frozen=True, eq=False)
class Windows:
    """What the network says of a clip, on the 10 ms grid.

    `starts` (windows,) are steps of the grid; `active` (windows, steps, 3) is the probability that a local
    speaker speaks, `speech` (windows, steps) that anybody does; `steps` is the length of the clip.
    """

    starts: np.ndarray
    active: np.ndarray
    speech: np.ndarray
    steps: int

    def parts(self) -> Iterator[tuple[int, int, int]]:
        """`(window, first step, end step)` of the part of each window that lies in the clip."""
        for w, start in enumerate(self.starts.tolist()):
            yield w, start, min(start + self.active.shape[1], self.steps)


class Segmenter:
    """The network, opened once."""

    def __init__(self, path: str, device: str, threads: int):
        self._session: Any = open_session(path, device, threads)

    def __call__(self, signal: np.ndarray, step_ms: int) -> Windows:
        """The windows of a signal `(n,)` at 16 kHz, one every `step_ms` and one at its end."""
        steps = -(-len(signal) // GRID)
        size = WINDOW_S * RATE
        padded = np.pad(signal, (0, max(0, SHORTEST - len(signal))))
        last = max(0, -(-(len(padded) - size) // GRID))
        starts = sorted({*range(0, last + 1, step_ms // 10), last})
        if last > 0:
            padded = np.pad(padded, (0, max(0, last * GRID + size - len(padded))))
        cut = [padded[s * GRID : s * GRID + size] for s in starts]
        batches = [np.stack(cut[i : i + BATCH]) for i in range(0, len(cut), BATCH)]
        sets = np.concatenate([self._session.run(None, {"samples": batch})[0] for batch in batches])
        return on_grid(sets, np.array(starts), steps)


def on_grid(sets: np.ndarray, starts: np.ndarray, steps: int) -> Windows:
    """Probabilities of sets `(windows, frames, 7)` as those of speakers, at the nearest steps of 10 ms."""
    length = min(STEPS, steps)
    centre = (np.arange(length) * GRID + GRID / 2 - FIRST_CENTRE) / FRAME_STEP
    nearest = np.clip(np.rint(centre).astype(int), 0, sets.shape[1] - 1)
    sets = sets[:, nearest]
    return Windows(starts, sets @ MEMBERS, 1 - sets[:, :, 0], steps)


@dataclass(frozen=True, eq=False)
class Tracks:
    """The windows put together, means over those that cover a step of the grid.

    `active` (steps, 3) is the probability that a track's speaker speaks, `speech` (steps,) that anybody does,
    `number` (steps,) how many are expected to. A track is one speaker for as long as windows overlap in which
    the network hears them, hardly longer.
    """

    active: np.ndarray
    speech: np.ndarray
    number: np.ndarray


def stitched(windows: Windows) -> Tracks:
    """The local speakers of each window, in the order that agrees best with the windows before."""
    total = np.zeros((windows.steps, SPEAKERS), np.float32)
    speech, covered = np.zeros(windows.steps, np.float32), np.zeros(windows.steps, np.float32)
    for w, start, end in windows.parts():
        local = windows.active[w, : end - start]
        before = total[start:end] / np.maximum(covered[start:end, None], 1)
        agreement = before.T @ local  # (tracks, local speakers)
        order = max(ORDERS, key=lambda o: sum(float(agreement[k, o[k]]) for k in range(SPEAKERS)))
        total[start:end] += local[:, list(order)]
        speech[start:end] += windows.speech[w, : end - start]
        covered[start:end] += 1
    covered = np.maximum(covered, 1)
    active = total / covered[:, None]
    return Tracks(active, speech / covered, active.sum(axis=1))


def decoded(tracks: Tracks, allowed: np.ndarray, speech_on: float, two_on: float) -> np.ndarray:
    """Which tracks speak at each step `(steps, 3)`: none, the likeliest, or the two likeliest.

    Speech is where its probability exceeds `speech_on` and `allowed` (steps,) is true; two speak at once
    where more than `two_on` are expected to.
    """
    number = np.where(tracks.number > two_on, 2, 1) * ((tracks.speech > speech_on) & allowed)
    rank = np.argsort(np.argsort(-tracks.active, axis=1, kind="stable"), axis=1, kind="stable")
    return rank < number[:, None]
