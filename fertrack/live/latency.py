"""Meters of durations and rates: over the last seconds, and over the whole run."""

from __future__ import annotations

import threading
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fertrack.live.state import Percentiles

__all__ = ["Measured", "Meter"]

_WINDOW_S = 5.0
_MAX_VALUES = 1 << 18  # two hours of 30 a second, 3 MB


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of some time: how many, how many a second, and their percentiles; None if there were none."""

    count: int
    rate: float
    percentiles: Percentiles | None


class Meter:
    """Values and the times at which they came. Safe to use from several threads.

    However long it is used, it takes a few megabytes: of more than ``most`` values every second one is kept, then every
    fourth, and so on, evenly spread over the whole time. The last seconds are always complete.

    Args:
        most: so many values are kept, at least half as many once there were more.

    >>> meter = Meter()
    >>> for second in range(10):
    ...     meter.add(float(second), 10.0 * second)
    >>> len(meter), meter.rate(9.0), meter.recent(9.0).p50
    (10, 1.0, 70.0)
    """

    def __init__(self, most: int = _MAX_VALUES) -> None:
        self._most = most
        self._times_s = array("d")
        self._values = array("f")
        self._recent: deque[tuple[float, float]] = deque()
        self._first_s = 0.0
        self._count = 0
        self._stride = 1
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of values seen."""
        return self._count

    @property
    def values(self) -> Sequence[float]:
        """The values that are kept: all, or an even sample; a copy."""
        with self._lock:
            return array("f", self._values)

    def add(self, at_s: float, value: float) -> None:
        """Take a value.

        Args:
            at_s: when, on any clock that does not go back.
            value: usually milliseconds.
        """
        with self._lock:
            if not self._count:
                self._first_s = at_s
            if self._count % self._stride == 0:
                self._keep(at_s, value)
            self._count += 1
            self._recent.append((at_s, value))
            while self._recent[0][0] <= at_s - _WINDOW_S:
                self._recent.popleft()

    def rate(self, now_s: float) -> float:
        """Values a second over the last seconds."""
        with self._lock:
            count = len(self._lately(now_s))
            covered_s = min(_WINDOW_S, now_s - self._first_s)
        return count / covered_s if count and covered_s > 0.0 else 0.0

    def recent(self, now_s: float) -> Percentiles | None:
        """Percentiles of the last seconds' values; None if there were none."""
        with self._lock:
            values = self._lately(now_s)
        return _percentiles(values)

    def overall(self) -> Percentiles | None:
        """Percentiles of all values; None if there were none."""
        return _percentiles(self.values)

    def between(self, start_s: float, end_s: float) -> Measured:
        """Measurements from ``start_s`` until before ``end_s``."""
        with self._lock:
            times, values, stride = np.array(self._times_s), np.array(self._values, np.float64), self._stride
        part = values[(times >= start_s) & (times < end_s)]
        count = len(part) * stride
        return Measured(count, count / (end_s - start_s) if end_s > start_s else 0.0, _percentiles(part))

    def _keep(self, at_s: float, value: float) -> None:
        if len(self._values) == self._most:
            self._times_s, self._values = self._times_s[::2], self._values[::2]
            self._stride *= 2
            if self._count % self._stride:
                return
        self._times_s.append(at_s)
        self._values.append(value)

    def _lately(self, now_s: float) -> list[float]:
        return [value for at_s, value in self._recent if at_s > now_s - _WINDOW_S]


def _percentiles(values: Sequence[float] | np.ndarray) -> Percentiles | None:
    if not len(values):
        return None
    return Percentiles(*np.percentile(np.asarray(values, np.float64), [50, 95, 99]).tolist())
