"""Bands around the lines of a person's timeline: spread of the single frames around the smoothed line.

At every moment the band reaches from the smoothed probability minus to plus the root mean square of what the single
frames' calibrated probabilities differ from it, over a window of ``WINDOW_S`` around that moment. It is wide where
frames flicker or a change is on its way, and narrow where all frames say the same. It holds nothing of how far the
calibration may be off, or of what the network cannot see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fertrack.types import BoolArray, Float64Array, FloatArray

__all__ = ["WINDOW_S", "SpreadBands", "spread_bands"]

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
