"""Live frames and their times: when they came, or when they are due where they come too early."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame

from fertrack.types import Image

__all__ = ["ArrivalClock", "Pacer", "StampedFrame"]

_FURTHEST_AHEAD_S = 30.0


@dataclass(frozen=True, slots=True)
class StampedFrame:
    """A frame as it came.

    Attributes:
        arrived_s: ``time.monotonic()`` when its data were there.
        decode_ms: milliseconds spent decoding it.
        content: what a decoder gave, or uint8 (H, W, 3) BGR.
        time_s: the sender's own time, seconds from anywhere; None if it gives none.
        pixel_aspect: width of a pixel over its height; None if that is not said.
    """

    arrived_s: float
    decode_ms: float
    content: VideoFrame | Image
    time_s: float | None = None
    pixel_aspect: Fraction | None = None


class ArrivalClock:
    """Turns moments of arrival into seconds since the first frame that strictly increase.

    They are whole ticks of 1/90000 s, so that a video file can hold them exactly.

    Args:
        first_s: ``time.monotonic()`` of timestamp 0.
    """

    TICKS_PER_S = 90_000

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s
        self._last_ticks = -1

    def stamp(self, arrived_s: float) -> float:
        """Seconds since the first frame; at least one tick later than the time given before."""
        ticks = max(int((arrived_s - self._first_s) * self.TICKS_PER_S), self._last_ticks + 1)
        self._last_ticks = ticks
        return ticks / self.TICKS_PER_S


class Pacer:
    """Says when frames are due that come with times of their own, faster than they are to be shown.

    The first frame is due at once, the others as much later as their times say. A frame that comes too late, or
    whose time jumps, is due at once, and later ones are counted from it.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def due_s(self, time_s: float | None) -> float:
        """``time.monotonic()`` at which the frame of this time is due; now, if it has none."""
        now_s = time.monotonic()
        if time_s is None:
            return now_s
        if self._offset_s is None or not now_s <= time_s + self._offset_s <= now_s + _FURTHEST_AHEAD_S:
            self._offset_s = now_s - time_s
        return time_s + self._offset_s
