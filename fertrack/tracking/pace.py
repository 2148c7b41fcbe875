"""How far apart in time a source's images usually are, and what a longer step between two of them means.

The motion model moves by images, a track's memory is a time, and the two must be translated where a file has gaps,
where images are left out (``--rate``, a slow live run), and where they come when they like (screen recordings). What is
usual is the median of the last steps, so a pause of minutes in a video of 25 images a second is 7,500 steps, while a
time lapse of one image in ten seconds takes ten seconds for a step.
"""

from __future__ import annotations

import operator
from collections import deque

__all__ = ["NOMINAL_FPS", "Pace"]

NOMINAL_FPS = 30.0
"""Frames are this many a second where no time is given."""

_REMEMBERED = 15
_CHANGED = 1.25
"""What is usual changes only by more than this factor: timestamps of a steady source jitter."""
_MAX_STEPS = 100_000


class Pace:
    """Follows the times of one source's images.

    Attributes:
        step_s: usual seconds from one image to the next.
        frames: by how many the frame index grows in that time.

    Example:
        >>> pace = Pace()
        >>> [pace.advance(index, index / 25)[0] for index in range(5)]
        [1, 1, 1, 1, 1]
        >>> pace.advance(5, 300.0)[0], round(pace.step_s, 2)
        (7496, 0.04)
    """

    def __init__(self) -> None:
        self.step_s = 1.0 / NOMINAL_FPS
        self.frames = 1
        self.now_s = 0.0
        self._index: int | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=_REMEMBERED)

    def advance(self, frame_index: int, time_s: float | None) -> tuple[int, float]:
        """Go on to the next image.

        Args:
            frame_index: index of its frame, larger than the last one's.
            time_s: when it is shown; None: ``NOMINAL_FPS`` frames a second.

        Returns:
            How many usual steps it is away from the last image, at least 1; and by what factor the usual step has
            become longer with it, 1 in most cases.

        Raises:
            ValueError: ``frame_index`` is not larger than the last one's; nothing has changed.
        """
        index = operator.index(frame_index)
        previous = self._index
        if previous is not None and index <= previous:
            raise ValueError(f"frame_index must grow from update to update, got {index} after {previous}")
        now_s = index / NOMINAL_FPS if time_s is None else time_s
        elapsed_s = now_s - self.now_s
        self._index, self.now_s = index, now_s
        if previous is None or not elapsed_s > 0.0:
            return 1, 1.0
        is_first = not self._recent
        self._recent.append((elapsed_s, index - previous))
        usual_s, frames = sorted(self._recent)[len(self._recent) // 2]
        change = usual_s / self.step_s
        if 1.0 / _CHANGED <= change <= _CHANGED and not is_first:
            return self._steps(elapsed_s), 1.0
        steps = 1 if is_first else self._steps(elapsed_s)
        self.step_s, self.frames = usual_s, frames
        return steps, change

    def _steps(self, elapsed_s: float) -> int:
        steps = elapsed_s / self.step_s
        return 1 if steps < 1.5 else min(round(steps), _MAX_STEPS)
