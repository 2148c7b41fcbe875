"""What the tracker keeps of its living tracks beside their motion: one row each, in step with the filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.types import UNCONFIRMED, BoolArray, Float64Array, IntArray

__all__ = ["Lives"]


class Lives:
    """Columns of T living tracks, oldest first.

    Attributes:
        key: int64 (T,), what ``TrackUpdate.keys`` calls it.
        id: int64 (T,), public ID; -1 while tentative.
        hits: int64 (T,), detections it was given.
        streak: int64 (T,), those in a row up to now; 0 while missed.
        misses: int64 (T,), updates since the last of them.
        first_frame: int64 (T,), index of the frame with its first detection.
        first_s: float64 (T,), time of that frame.
        first_uvsr: float64 (T, 4), that detection.
        last_s: float64 (T,), time of its last detection.
    """

    __slots__ = ("first_frame", "first_s", "first_uvsr", "hits", "id", "key", "last_s", "misses", "streak")

    def __init__(self) -> None:
        for name in ("key", "id", "hits", "streak", "misses", "first_frame"):
            setattr(self, name, np.empty(0, np.int64))
        self.first_s: Float64Array = np.empty(0)
        self.first_uvsr: Float64Array = np.empty((0, 4))
        self.last_s: Float64Array = np.empty(0)

    key: IntArray
    id: IntArray
    hits: IntArray
    streak: IntArray
    misses: IntArray
    first_frame: IntArray

    def __len__(self) -> int:
        return len(self.key)

    @property
    def is_tentative(self) -> BoolArray:
        """Which tracks have no ID, (T,)."""
        tentative: BoolArray = self.id == UNCONFIRMED
        return tentative

    def keep(self, rows: npt.NDArray[Any]) -> None:
        """Keep only the tracks at ``rows`` (a boolean mask or integer indices)."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name)[rows])

    def add(self, key: IntArray, uvsr: Float64Array, *, at: tuple[int, float], streak: int) -> None:
        """Append a tentative track for each key.

        Args:
            key: int64 (N,).
            uvsr: float64 (N, 4), its first detection.
            at: index and time of the frame.
            streak: detections in a row that the first one counts for.
        """
        frame, time_s = at
        count = len(key)
        born = {
            "key": key,
            "id": np.full(count, UNCONFIRMED, np.int64),
            "hits": np.ones(count, np.int64),
            "streak": np.full(count, streak, np.int64),
            "misses": np.zeros(count, np.int64),
            "first_frame": np.full(count, frame, np.int64),
            "first_s": np.full(count, time_s),
            "first_uvsr": uvsr,
            "last_s": np.full(count, time_s),
        }
        for name, column in born.items():
            setattr(self, name, np.concatenate([getattr(self, name), column]))

    def hit(self, rows: npt.NDArray[np.intp], time_s: float) -> None:
        """Count one update: the tracks at ``rows`` got a detection, the others none."""
        if len(rows) == len(self.key):
            self.hits += 1
            self.streak += 1
            self.misses.fill(0)
            self.last_s.fill(time_s)
            return
        self.misses += 1
        streak = self.streak.take(rows)
        self.streak.fill(0)
        self.streak[rows] = streak + 1
        self.misses[rows] = 0
        self.hits[rows] += 1
        self.last_s[rows] = time_s
