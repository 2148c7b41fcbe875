"""How long things took, and how often they happened: over the last seconds, and over the whole run."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fertrack.live.state import Percentiles

__all__ = ["Measured", "Meter"]

_WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of some time: how many, how many a second, and their percentiles."""

    count: int
    rate: float
    percentiles: Percentiles


class Meter:
    """Values and the times at which they came, 12 bytes each. Safe to use from several threads.

    >>> meter = Meter()
    >>> for second in range(10):
    ...     meter.add(float(second), 10.0 * second)
    >>> len(meter), meter.rate(9.0), meter.recent(9.0).p50
    (10, 1.0, 70.0)
    """

    def __init__(self) -> None:
        self._times_s = array("d")
        self._values = array("f")
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._times_s)

    @property
    def values(self) -> Sequence[float]:
        """All values so far; a copy."""
        with self._lock:
            return array("f", self._values)

    def add(self, at_s: float, value: float) -> None:
        """Take a value.

        Args:
            at_s: when, on any clock that does not go back.
            value: usually milliseconds.
        """
        with self._lock:
            self._times_s.append(at_s)
            self._values.append(value)

    def rate(self, now_s: float) -> float:
        """Values a second over the last seconds."""
        with self._lock:
            count = self._recent(now_s)
            if not count:
                return 0.0
            covered_s = min(_WINDOW_S, now_s - self._times_s[0])
        return count / covered_s if covered_s > 0.0 else 0.0

    def recent(self, now_s: float) -> Percentiles:
        """Percentiles of the last seconds' values."""
        with self._lock:
            values = self._values[len(self._values) - self._recent(now_s) :]
        return _percentiles(values)

    def overall(self) -> Percentiles:
        """Percentiles of all values."""
        return _percentiles(self.values)

    def between(self, start_s: float, end_s: float) -> Measured:
        """What was measured from ``start_s`` until before ``end_s``."""
        with self._lock:
            times, values = np.array(self._times_s), np.array(self._values, np.float64)
        part = values[(times >= start_s) & (times < end_s)]
        return Measured(len(part), len(part) / (end_s - start_s) if end_s > start_s else 0.0, _percentiles(part))

    def _recent(self, now_s: float) -> int:
        """How many of the values are from the last seconds; looked for from the end, so it costs what it finds."""
        count, since_s = 0, now_s - _WINDOW_S
        while count < len(self._times_s) and self._times_s[-1 - count] > since_s:
            count += 1
        return count


def _percentiles(values: Sequence[float] | np.ndarray) -> Percentiles:
    if not len(values):
        return Percentiles()
    return Percentiles(*np.percentile(np.asarray(values, np.float64), [50, 95, 99]).tolist())
