"""How long a call may run before its process is taken to hang, in proportion to the audio that it is given.

The limits are wide: they end what would never end, and are no judgement of what is slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paqa.config.recipe import AudioConfig

START_S = 300.0  # to load weights in a fresh process
CPU_S, GPU_S = 10.0, 3.0  # in an engine, for each second of audio
SHORTEST_S = 10.0  # a shorter clip takes an engine as long as one of so many seconds
READ_BYTES = 16_000  # of a file that are decoded in a second, at least


@dataclass(frozen=True)
class Limits:
    """Seconds that calls may take; `factor` makes all of them longer or shorter, 0 sets none."""

    factor: float = 1.0

    def for_engine(self, lengths_s: Sequence[float], device: str) -> float | None:
        """For an engine that is given inputs of these lengths in seconds."""
        audio_s = sum(max(SHORTEST_S, length) for length in lengths_s)
        return self._limit(audio_s * (CPU_S if device == "cpu" else GPU_S))

    def for_decoding(self, sizes: Sequence[int], config: AudioConfig) -> float | None:
        """For decoding files of so many bytes; none may take longer than the longest file sounds."""
        return self._limit(sum(min(size / READ_BYTES, config.max_file_ms / 1000) for size in sizes))

    def _limit(self, seconds: float) -> float | None:
        return self.factor * (START_S + seconds) if self.factor else None
