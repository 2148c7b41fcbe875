"""How long things took, and how often they happened: over the last seconds, and over the whole run."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fertrack.live.state import Percentiles

__all__ = ["Meter"]

_WINDOW_S = 5.0


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

    def by_window(self, window_s: float) -> pd.DataFrame:
        """One row per stretch of ``window_s`` seconds: start_s (since the first value), count, rate, p50, p95, p99."""
        with self._lock:
            times = np.array(self._times_s) - (self._times_s[0] if self._times_s else 0.0)
            values = np.array(self._values, np.float64)
        window = (times // window_s).astype(np.int64)
        rows = []
        for number in np.unique(window).tolist():
            part = values[window == number]
            found = _percentiles(part)
            lasts_s = min(window_s, float(times[-1]) - number * window_s) or window_s
            rows.append((number * window_s, len(part), len(part) / lasts_s, found.p50, found.p95, found.p99))
        return pd.DataFrame(rows, columns=["start_s", "count", "rate", "p50", "p95", "p99"])

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
