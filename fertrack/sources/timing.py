"""Time rules shared by the sources: which frames a window and a rate select, and times that only move forward."""

from __future__ import annotations

import math
from enum import Enum
from fractions import Fraction

from fertrack.sources.config import InputConfig

__all__ = ["FrameSelector", "PresentationClock", "Verdict"]

_CLOCK_SLACK_S = 0.001  # Matroska and FLV round times to whole milliseconds; a frame that close to a tick is on it
_JUMP_BACK_S = 1.0


class Verdict(Enum):
    """Decision about a frame."""

    SKIP = "before the window, or between two ticks of the rate"
    TAKE = "handed on"
    STOP = "the window has ended"


class FrameSelector:
    """Selects frames by time: a half-open window [from_s, to_s), and a rate within it.

    The rate is a grid of ticks ``first + k / rate_hz`` anchored at the first frame in the window; the first frame
    at or after each tick is taken (within 1 ms, the resolution of the coarsest containers). Ticks that no frame
    falls on before the next one are passed over, so a slow or irregular video is never thinned by count.
    """

    def __init__(self, config: InputConfig) -> None:
        self.taken = 0
        self._config = config
        self._first_s: float | None = None
        self._next_tick = 0

    def judge(self, timestamp_s: float) -> Verdict:
        """Decide on the next frame; called once per frame, in order of time."""
        config = self._config
        if config.to_s is not None and timestamp_s >= config.to_s:
            return Verdict.STOP
        if config.from_s > 0 and timestamp_s < config.from_s:  # 0 = no limit: some files start below zero
            return Verdict.SKIP
        if config.rate_hz is not None:
            if self._first_s is None:
                self._first_s = timestamp_s
            slack_s = min(_CLOCK_SLACK_S, 0.25 / config.rate_hz)
            tick = math.floor((timestamp_s - self._first_s + slack_s) * config.rate_hz)
            if tick < self._next_tick:
                return Verdict.SKIP
            self._next_tick = tick + 1
        self.taken += 1
        return Verdict.TAKE


class PresentationClock:
    """Turns container time stamps into seconds that strictly increase.

    A stamp is taken as it is. Where that cannot be:

    * no stamp: the previous time plus one frame interval;
    * a stamp equal to or less than 1 s before the previous one: the previous time plus one tick;
    * a stamp more than 1 s before the previous one (clips joined without new times): the clock goes on one frame
      interval after the previous frame, and everything that follows is moved by the same amount;
    * a stamp more than ``max_gap_s`` after the previous one, in a format whose clock may start anew at any place
      (MPEG-TS, MPEG-PS): likewise. In other formats a gap is a gap, however long.

    Args:
        time_base: seconds per tick.
        interval_ticks: about one frame, in ticks.
        origin_ticks: stamp that counts as 0 s.
        max_gap_s: longest time without a frame that is believed; None = any.

    Attributes:
        jumps: places so far where the clock was taken to start anew: the time given to the frame after it, and by how
            far the clock jumps, seconds.
    """

    def __init__(
        self, time_base: Fraction, interval_ticks: int, origin_ticks: int = 0, max_gap_s: float | None = None
    ) -> None:
        self.missing = 0
        self.repaired = 0
        self.jumps: list[tuple[float, float]] = []
        self._time_base = time_base
        self._interval = max(1, interval_ticks)
        self._back = math.ceil(_JUMP_BACK_S / time_base)
        self._ahead = None if max_gap_s is None else math.ceil(max_gap_s / time_base)
        self._shift = -origin_ticks
        self._last: int | None = None

    def stamp(self, ticks: int | None) -> float:
        """Seconds of the next frame in presentation order; ``ticks`` is None where the container has no stamp."""
        last = self._last
        if ticks is None:
            self.missing += 1
            value = 0 if last is None else last + self._interval
        else:
            value = ticks + self._shift
            if last is not None and value <= last:
                self.repaired += 1
                value = self._go_on(last, value) if last - value > self._back else last + 1
            elif last is not None and self._ahead is not None and value - last > self._ahead:
                value = self._go_on(last, value)
        self._last = value
        return float(value * self._time_base)

    @property
    def moved_s(self) -> float:
        """By how much what comes now is earlier than the container says, seconds; below 0: later."""
        return sum(by_s for _, by_s in self.jumps)

    def notes(self, name: str) -> list[str]:
        """Sentences about stamps that had to be made up or moved."""
        notes = []
        if self.missing:
            notes.append(f"{name}: {self.missing} pictures carry no time; they are placed one frame interval apart")
        if self.repaired:
            notes.append(f"{name}: {self.repaired} pictures are not stamped later than the one before; they were moved")
        ahead = [jump for jump in self.jumps if jump[1] > 0]
        if ahead:
            more = f", and {len(ahead) - 1} times more" if len(ahead) > 1 else ""
            notes.append(
                f"{name}: the clock jumps ahead by {ahead[0][1]:.2f} s at {ahead[0][0]:.2f} s{more}: taken for a "
                "new clock, so that time goes on there (a longer input.max_gap_s keeps such gaps)"
            )
        return notes

    def _go_on(self, last: int, value: int) -> int:
        """Let the clock start anew: the frame stamped ``value`` comes one interval after the last one."""
        moved = value - (last + self._interval)
        self._shift -= moved
        value -= moved
        self.jumps.append((float(value * self._time_base), float(moved * self._time_base)))
        return value
