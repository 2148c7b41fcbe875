"""Intervals of time of many people: gaps closed, and where several overlap. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from fertrack.types import BoolArray, Float64Array, IntArray

__all__ = ["Intervals", "at_least", "closed"]

_ROUNDING_S = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """I of them.

    Attributes:
        run: int64 (I,).
        subject: int64 (I,), whose it is; -1 where it is nobody's in particular.
        start_s: (I,).
        end_s: (I,).
    """

    run: IntArray
    subject: IntArray
    start_s: Float64Array
    end_s: Float64Array

    def __len__(self) -> int:
        return len(self.run)

    def select(self, rows: BoolArray | npt.NDArray[np.intp]) -> Intervals:
        """Some of them."""
        return Intervals(self.run[rows], self.subject[rows], self.start_s[rows], self.end_s[rows])

    @classmethod
    def joined(cls, parts: Sequence[Intervals]) -> Intervals:
        """All of them, one after another."""
        if not parts:
            ints, floats = np.empty(0, np.int64), np.empty(0, np.float64)
            return cls(ints, ints, floats, floats)
        run, subject, start_s, end_s = (
            np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)
        )
        return cls(run, subject, start_s, end_s)


def closed(intervals: Intervals, max_gap_s: float) -> Intervals:
    """Each subject's intervals with gaps up to ``max_gap_s`` filled; by run, subject and time, none overlapping."""
    if not len(intervals):
        return intervals
    rows = intervals.select(np.lexsort((intervals.start_s, intervals.subject, intervals.run)))
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(rows.run) != 0) | (np.diff(rows.subject) != 0)
    # The furthest end so far within a subject: times of one subject can overlap where people joined two tracks.
    group = np.cumsum(new) - 1
    reached_s = pd.Series(rows.end_s).groupby(group).cummax().to_numpy()
    new[1:] |= rows.start_s[1:] - reached_s[:-1] > max_gap_s + _ROUNDING_S
    first = np.flatnonzero(new)
    return Intervals(rows.run[first], rows.subject[first], rows.start_s[first], np.maximum.reduceat(rows.end_s, first))


def at_least(intervals: Intervals, count: int) -> Intervals:
    """When at least ``count`` of these intervals hold at the same time, run by run.

    Args:
        intervals: those of one subject must not overlap.
        count: 1 or more.
    """
    n = len(intervals)
    if not n:
        return intervals
    run = np.concatenate([intervals.run, intervals.run])
    time_s = np.concatenate([intervals.start_s, intervals.end_s])
    step = np.repeat([1, -1], n)
    # Starts before ends of the same time, so that intervals that touch make one; ends are rounded to starts nearby.
    order = np.lexsort((-step, np.round(time_s, 9), run))
    run, time_s, step = run[order], time_s[order], step[order]
    held = np.cumsum(step)  # back at 0 after every run
    begins = np.flatnonzero((held >= count) & (held - step < count))
    ends = np.flatnonzero((held < count) & (held - step >= count))
    found = Intervals(run[begins], np.full(len(begins), -1, np.int64), time_s[begins], time_s[ends])
    return found.select(found.end_s - found.start_s > _ROUNDING_S)
