"""Where decoded frames belong in time: silence for what a recorder left out.

Containers of films and of browsers' recorders stamp each frame. A pause, or sound that begins after the
picture, is there in the stamps alone: without it all that follows would be early.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any

SLACK_MS = 50  # stamps that are off by less jitter, or are rounded
RESET_MS = 1000  # stamps that jump back by more have been started anew


class Timeline:
    """The frames of one stream of `rate` Hz; it begins `lead` frames after the file does.

    A stamp counts where the next one confirms it: a single broken one moves nothing.
    """

    def __init__(self, rate: int, lead: int):
        self.rate = rate
        self.at = 0  # frames of sound and silence so far
        self.lead = lead if lead > self._frames(SLACK_MS) else 0
        self.shift: int | None = None  # from stamps to frames; known from the first stamp on

    def _frames(self, ms: int) -> int:
        return ms * self.rate // 1000

    def gaps(self, frames: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Each frame of PyAV with the number of silent frames before it."""
        for frame, following in pairwise(chain(frames, [None])):
            gap = self._gap(frame, following)
            yield gap, frame
            self.at += gap + frame.samples

    def _gap(self, frame: Any, following: Any) -> int:
        if self.shift is None:
            gap = 0 if self.at else self.lead
            self.shift = self._shift(frame, self.at + gap)
            return gap
        late = self._late(frame, self.at)
        if late > self._frames(SLACK_MS):
            confirmed = self._late(following, self.at + late + frame.samples) >= -self._frames(SLACK_MS)
            return late if following and confirmed else 0
        back = -self._frames(RESET_MS)
        if late < back and following and self._late(following, self.at + frame.samples) < back:
            self.shift = self._shift(frame, self.at)
        return 0

    def _shift(self, frame: Any, at: int) -> int | None:
        stamp = self._stamp(frame)
        return None if stamp is None else at - stamp

    def _late(self, frame: Any, at: int) -> int:
        """By how many frames the stamp puts this frame after `at`; 0 where it has no stamp."""
        stamp = self._stamp(frame)
        return 0 if stamp is None or self.shift is None else stamp + self.shift - at

    def _stamp(self, frame: Any) -> int | None:
        if frame is None or frame.pts is None or not frame.time_base:
            return None
        return round(frame.pts * float(frame.time_base) * self.rate)


def lead(container: Any, stream: Any, second: int) -> int:
    """Frames between the file's start, as a player shows it, and the stream's first packet."""
    if stream.start_time is None or not stream.time_base or container.start_time is None:
        return 0
    start = max(Fraction(0), Fraction(container.start_time, second))
    return max(0, round((stream.start_time * stream.time_base - start) * stream.rate))
