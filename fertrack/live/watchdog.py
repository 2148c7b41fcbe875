"""Warns when results arrive too slowly to keep track IDs stable."""

from __future__ import annotations

import logging
import math

__all__ = ["FollowWatch"]

logger = logging.getLogger(__name__)

_IN_A_ROW = 2
"""So many steps are too long, or short enough again, before it is said: one look may take long for any reason."""


class FollowWatch:
    """Compares the time from result to result with the longest that a track lives without one.

    A source that was away makes a long step, too; there, the result itself comes in time.

    Args:
        max_age: so many frames a track lives without being looked at, ``tracking.max_age``.
        fps: frames a second, as they are numbered.

    Attributes:
        notice: what to say for now; empty while people can be followed.

    >>> watch = FollowWatch(30, 30.0)
    >>> for frame in (0, 45, 90):
    ...     watch.saw(frame, late_s=1.5, faces=1)
    >>> watch.notice.partition(":")[0]
    '0.7 results a second are too few to follow anyone'
    """

    def __init__(self, max_age: int, fps: float) -> None:
        self.notice = ""
        self._longest_s = (max_age + 1) / fps
        self._fps = fps
        self._last: int | None = None
        self._slow_s: list[float] = []
        self._slow = self._quick = self._quick_in_a_row = 0
        self._said = ""
        self._has_faces = False

    def saw(self, frame_index: int, *, late_s: float, faces: int) -> None:
        """Take note of a result.

        Args:
            frame_index: number of its frame.
            late_s: from the frame's capture until its result.
            faces: how many are in it.
        """
        before, self._last = self._last, frame_index
        self._has_faces |= faces > 0
        # The first look has no step before it, and takes longer than others; it counts only if nothing else does.
        step_s = late_s if before is None else (frame_index - before) / self._fps
        if step_s > self._longest_s and late_s > 0.5 * self._longest_s:
            self._slow += 1
            self._quick_in_a_row = 0
            self._slow_s = [*self._slow_s[-9:], step_s] if before is not None else []
            if len(self._slow_s) >= _IN_A_ROW and self._has_faces:
                self._say()
        elif before is not None:
            self._quick += 1
            self._quick_in_a_row += 1
            self._slow_s = []
            if self._quick_in_a_row >= _IN_A_ROW:
                self.notice = ""

    def notes(self, run_s: float) -> list[str]:
        """Warnings to show once the run has ended.

        Args:
            run_s: how long it was, of which there may have been too little for more than a few results.
        """
        if not self._said and self._has_faces and self._slow and not self._quick:
            self._said = self._sentence(max(run_s / (self._slow + self._quick), self._longest_s))
        return [self._said] if self._said else []

    def _say(self) -> None:
        if not self.notice:  # one that changes with every result would be read out again and again
            self.notice = self._sentence(sum(self._slow_s) / len(self._slow_s))
        if not self._said:
            self._said = self.notice
            logger.warning("%s", self.notice)

    def _sentence(self, step_s: float) -> str:
        age = math.ceil(2.0 * step_s * self._fps / 10.0) * 10
        return (
            f"{1.0 / step_s:.1f} results a second are too few to follow anyone: a face that is not looked at again "
            f"within {self._longest_s:.1f} s becomes another; make looks cheaper (--set detection.long_side=320, "
            f"--set linking.method=off) or let tracks wait longer (--set tracking.max_age={age})"
        )
