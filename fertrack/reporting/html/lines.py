"""Lines of a person's timeline: thinned without hiding peaks, and the bands around them.

At every moment the band reaches from the smoothed probability minus to plus the root mean square of what the single
frames' calibrated probabilities differ from it, over a window of ``WINDOW_S`` around that moment. It is wide where
frames flicker or a change is on its way, and narrow where all frames say the same. It holds nothing of how far the
calibration may be off, or of what the network cannot see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fertrack.types import BoolArray, Float64Array, FloatArray, IntArray

__all__ = ["WINDOW_S", "SpreadBands", "ThinLines", "spread_bands", "thin_lines"]


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


WINDOW_S = 0.5
"""Length of the window, seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class SpreadBands:
    """C bands over one common time axis, as closed outlines.

    Attributes:
        time_s: float64 (M,), seconds: forth along the upper edge and back along the lower one, segment by segment.
        values: float32 (M, C); a row of NaN between two segments.
    """

    time_s: Float64Array
    values: FloatArray


def spread_bands(
    time_s: Float64Array, smoothed: FloatArray, single: FloatArray, *, max_points: int, max_step_s: float
) -> SpreadBands:
    """Bands around smoothed lines, as outlines of about ``max_points`` points.

    Where there are more samples, each time slice of equal length keeps its lowest lower and its highest upper edge, so
    that no drawn band is narrower than the real one. A gap ends an outline.

    Args:
        time_s: float64 (N,), seconds, increasing.
        smoothed: float32 (N, C), 0 to 1.
        single: float32 (N, C), calibrated probabilities of each frame alone.
        max_points: points per outline to aim at.
        max_step_s: longest step in time that does not end an outline, seconds.

    Raises:
        ValueError: the shapes do not agree, or ``max_points`` is below 4.
    """
    if smoothed.shape != single.shape or smoothed.ndim != 2 or time_s.shape != smoothed.shape[:1]:
        raise ValueError(f"two (N, C) arrays for time_s (N,) are needed, got {smoothed.shape}, {single.shape}")
    if max_points < 4:
        raise ValueError(f"max_points must be at least 4, got {max_points}")
    if not len(time_s):
        return SpreadBands(time_s, smoothed)
    after_gap = np.diff(time_s, prepend=time_s[:1]) > max_step_s
    deviation = _deviation(time_s, smoothed, single, np.cumsum(after_gap))
    low, high = np.maximum(smoothed - deviation, 0.0), np.minimum(smoothed + deviation, 1.0)
    slices = max_points // 2
    if len(time_s) > slices:
        span_s = max(float(time_s[-1] - time_s[0]), 1e-9)
        place = np.minimum(((time_s - time_s[0]) * (slices / span_s)).astype(np.int64), slices - 1)
        starts = np.flatnonzero(after_gap | (np.diff(place, prepend=-1) != 0))
        low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
        ends = np.append(starts[1:], len(time_s)) - 1
        time_s, after_gap = _slice_times(time_s, starts, ends, after_gap), after_gap[starts]
    return _outlines(time_s, low.astype(np.float32), high.astype(np.float32), np.flatnonzero(after_gap))


def _slice_times(
    time_s: Float64Array, starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp], after_gap: BoolArray
) -> Float64Array:
    """Middle of each slice; where a segment begins or ends, its very first or last sample."""
    middle: Float64Array = (time_s[starts] + time_s[ends]) / 2
    opens = after_gap[starts]
    opens[0] = True
    closes = np.append(opens[1:], [True])
    middle[closes] = time_s[ends][closes]
    middle[opens] = time_s[starts][opens]
    return middle


def _deviation(
    time_s: Float64Array, smoothed: FloatArray, single: FloatArray, segment: npt.NDArray[np.intp]
) -> Float64Array:
    """Root mean square difference over the window, within each unbroken segment, (N, C)."""
    squared = np.square(single.astype(np.float64) - smoothed)
    before = np.vstack([np.zeros(squared.shape[1]), np.cumsum(squared, axis=0)])
    first_of, last_of = np.searchsorted(segment, segment), np.searchsorted(segment, segment, side="right")
    first = np.maximum(np.searchsorted(time_s, time_s - WINDOW_S / 2), first_of)
    last = np.minimum(np.searchsorted(time_s, time_s + WINDOW_S / 2, side="right"), last_of)
    mean = (before[last] - before[first]) / (last - first)[:, None]
    root: Float64Array = np.sqrt(np.maximum(mean, 0.0))
    return root


def _outlines(time_s: Float64Array, low: FloatArray, high: FloatArray, breaks: npt.NDArray[np.intp]) -> SpreadBands:
    times: list[Float64Array] = []
    values: list[FloatArray] = []
    nothing = np.full((1, low.shape[1]), np.nan, np.float32)
    for part in np.split(np.arange(len(time_s)), breaks):
        if times:
            times.append(times[-1][-1:])
            values.append(nothing)
        times.append(np.concatenate([time_s[part], time_s[part[::-1]]]))
        values.append(np.concatenate([high[part], low[part[::-1]]]))
    return SpreadBands(np.concatenate(times), np.concatenate(values))
