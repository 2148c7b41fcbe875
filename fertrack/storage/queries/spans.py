"""Labels per frame to segments of time: duration of a frame, begin and end of an episode. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fertrack.types import EXPRESSIONS, UNCERTAIN, Float64Array, IntArray

__all__ = ["Spans", "find_spans", "frame_ends", "label_seconds"]

_LONGEST_FRAME_S = 1.0
_LONGEST_FRAME_INTERVALS = 4.0


def frame_ends(time_s: Float64Array, fps: float = 0.0) -> Float64Array:
    """When each frame stops being the newest, seconds.

    A frame lasts until the next one, but no longer than 1 s or four median intervals, whichever is more: after that
    the source paused, and nothing is known of that time. The last frame lasts a median interval; an only frame 1 / fps,
    or no time at all if fps is 0.

    Args:
        time_s: (F,), presentation times of all analysed frames, never decreasing.
        fps: frame rate of the source.
    """
    if len(time_s) < 2:
        return time_s + (1.0 / fps if fps > 0.0 else 0.0)
    interval_s = np.diff(time_s)
    typical_s = float(np.median(interval_s))
    longest_s = max(_LONGEST_FRAME_S, _LONGEST_FRAME_INTERVALS * typical_s)
    lasts_s = np.append(np.minimum(interval_s, longest_s), typical_s)
    ends: Float64Array = time_s + lasts_s
    return ends


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Segments of one label in one track, E of them, by track and then by time.

    Attributes:
        track: int64 (E,).
        label: int64 (E,), index into ``EXPRESSIONS``.
        start_s: (E,), when the first frame is shown.
        end_s: (E,), when the last one stops being shown.
        frames: int64 (E,), rows with the label.
        mean: (E,), mean probability of the rows.
        peak: (E,), highest.
    """

    track: IntArray
    label: IntArray
    start_s: Float64Array
    end_s: Float64Array
    frames: IntArray
    mean: Float64Array
    peak: Float64Array


def find_spans(
    *,
    track: IntArray,
    label: IntArray,
    start_s: Float64Array,
    end_s: Float64Array,
    probability: Float64Array,
    max_gap_s: float,
) -> Spans:
    """Join rows into segments in which a track keeps one label.

    Rows whose label is *uncertain* are no part of any stretch, but they end one only if they last longer than
    ``max_gap_s``, as does time without a face. Another expression ends a stretch at once.

    Args:
        track: (N,).
        label: (N,), index into ``EXPRESSIONS`` or -1.
        start_s: (N,), when each row's frame is shown.
        end_s: (N,), when it stops being shown.
        probability: (N,), of the label.
        max_gap_s: longest time without the label that does not end a stretch.
    """
    certain = np.flatnonzero(label != UNCERTAIN)
    order = certain[np.lexsort((start_s[certain], track[certain]))]
    track, label = track[order], label[order]
    start_s, end_s, probability = start_s[order], end_s[order], probability[order]
    if not len(order):
        none = np.empty(0, np.float64)
        return Spans(track, label, none, none, np.empty(0, np.int64), none, none)
    # 1e-9: a gap of exactly max_gap_s must not depend on how its two times were rounded
    breaks = (np.diff(track) != 0) | (np.diff(label) != 0) | (start_s[1:] - end_s[:-1] > max_gap_s + 1e-9)
    first = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    last = np.append(first[1:], len(order)) - 1
    frames = last - first + 1
    return Spans(
        track=track[first],
        label=label[first],
        start_s=start_s[first],
        end_s=end_s[last],
        frames=frames,
        mean=np.add.reduceat(probability, first) / frames,
        peak=np.maximum.reduceat(probability, first),
    )


def label_seconds(group: IntArray, label: IntArray, lasts_s: Float64Array, groups: int) -> Float64Array:
    """Time per group and label.

    Args:
        group: (N,), 0 to ``groups`` - 1.
        label: (N,), index into ``EXPRESSIONS`` or -1.
        lasts_s: (N,), how long each row lasts.
        groups: G.

    Returns:
        (G, 8), seconds; the columns are ``EXPRESSIONS``, then uncertain.
    """
    columns = len(EXPRESSIONS) + 1
    column = np.where(label == UNCERTAIN, len(EXPRESSIONS), label)
    summed = np.bincount(group * columns + column, weights=lasts_s, minlength=groups * columns)
    return summed.astype(np.float64).reshape(groups, columns)
