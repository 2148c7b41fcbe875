"""Fewer points for a drawn line without hiding a peak: each time slice keeps its lowest and its highest value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fertrack.types import Float64Array, FloatArray, IntArray

__all__ = ["ThinLines", "thin_lines"]


@dataclass(frozen=True, slots=True, eq=False)
class ThinLines:
    """C lines over one common time axis, ready to draw.

    Attributes:
        time_s: float64 (M,), seconds, never decreasing.
        values: float32 (M, C); a row of NaN breaks the lines where nothing was seen.
        slice_s: length of the time slices that were reduced to two points each; 0 if every sample is there.
    """

    time_s: Float64Array
    values: FloatArray
    slice_s: float


def thin_lines(time_s: Float64Array, values: FloatArray, max_points: int, max_step_s: float) -> ThinLines:
    """Reduce lines to about ``max_points`` points each and break them at gaps.

    With more samples than ``max_points``, the time axis is cut into ``max_points // 2`` slices of equal length, and
    from each slice every line keeps its lowest and its highest value, in the order in which they happened, drawn at
    the times of the slice's first and last sample. So each drawn value is a measured one, the global maximum of every
    line is kept exactly, and no point moves in time by more than a slice. A gap always ends a slice.

    Args:
        time_s: float64 (N,), seconds, increasing.
        values: float32 (N, C), one column per line.
        max_points: points per line to aim at, at least 2; each gap may add three.
        max_step_s: longest step in time that does not break the lines, seconds.

    Raises:
        ValueError: the shapes do not agree, or ``max_points`` is below 2.
    """
    if values.ndim != 2 or time_s.shape != values.shape[:1]:
        raise ValueError(f"values must be (N, C) for time_s (N,), got {values.shape} for {time_s.shape}")
    if max_points < 2:
        raise ValueError(f"max_points must be at least 2, got {max_points}")
    after_gap = np.diff(time_s, prepend=time_s[:1]) > max_step_s
    if len(time_s) <= max_points:
        return _broken(time_s, values, np.flatnonzero(after_gap), 0.0)
    slices = max_points // 2
    span_s = max(float(time_s[-1] - time_s[0]), 1e-9)
    slice_index = np.minimum(((time_s - time_s[0]) * (slices / span_s)).astype(np.int64), slices - 1)
    starts = np.flatnonzero(after_gap | (np.diff(slice_index, prepend=-1) != 0))
    ends = np.append(starts[1:], len(time_s)) - 1
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    rising = _first_row(values, low, starts) <= _first_row(values, high, starts)
    points = np.empty((2 * len(starts), values.shape[1]), np.float32)
    points[0::2] = np.where(rising, low, high)
    points[1::2] = np.where(rising, high, low)
    times = np.empty(2 * len(starts))
    times[0::2], times[1::2] = time_s[starts], time_s[ends]
    keep = np.ones(len(times), bool)
    keep[1::2] = ends > starts  # a slice of one sample is one point
    breaks = np.flatnonzero(np.repeat(after_gap[starts], 2)[keep] & np.tile([True, False], len(starts))[keep])
    return _broken(times[keep], points[keep], breaks, span_s / slices)


def _first_row(values: FloatArray, wanted: FloatArray, starts: IntArray) -> IntArray:
    """First row, per slice and column, at which ``values`` equals the slice's entry in ``wanted``."""
    lengths = np.diff(np.append(starts, len(values)))
    hit = values == np.repeat(wanted, lengths, axis=0)
    rows = np.where(hit, np.arange(len(values))[:, None], len(values))
    first: IntArray = np.minimum.reduceat(rows, starts)
    return first


def _broken(
    time_s: Float64Array,
    values: FloatArray,
    breaks: IntArray,
    slice_s: float,
) -> ThinLines:
    """The lines with a row of NaN before each index in ``breaks``, at the time of the point before it."""
    return ThinLines(
        np.insert(time_s, breaks, time_s[breaks - 1]),
        np.insert(values, breaks, np.float32(np.nan), axis=0),
        slice_s,
    )
