"""Decides which detection continues which track in one frame, in up to three passes.

1. Sure detections with all tracks, by the overlap (IoU) of their boxes and the Hungarian algorithm, as SORT does
   (arXiv 1602.00763, section 3.3).
2. Less sure detections with the tracks left over that were seen a moment ago: a face that turns away or is half hidden
   scores low, but is where it was expected (ByteTrack, arXiv 2110.06864, section 3).
3. Sure detections and tracks still left over, with both boxes grown: a small box that moves fast, or whose track was
   lost for a while, does not overlap its prediction although it is near (buffered IoU, C-BIoU, arXiv 2211.14317,
   section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.imaging.geometry import iou_of_proper
from fertrack.tracking.config import TrackerConfig

__all__ = ["Candidates", "associate", "grown"]

Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

_RECENTLY = 1
"""A track may have been missed for so many updates, and still be continued by a less sure detection."""
_FIRST = 1.0
"""Added to the overlap of tracks with an ID: more than any overlap, so that they are served first."""


@dataclass(slots=True, eq=False)
class Candidates:
    """Tracks that a detection could continue; one entry each.

    Attributes:
        xyxy: float64 (T, 4), predicted boxes, px.
        has_id: bool (T,).
        misses: int64 (T,), updates since the last match.
    """

    xyxy: Float64Array
    has_id: Mask
    misses: npt.NDArray[np.int64]


def associate(
    tracks: Candidates, boxes: Float64Array, is_sure: Mask, is_unsure: Mask | None, config: TrackerConfig
) -> tuple[Indices, Indices]:
    """Pair tracks with detections.

    Args:
        tracks: T tracks.
        boxes: float64 (N, 4), the detections, px, finite and with an area; those that are neither sure nor unsure are
            not looked at.
        is_sure: bool (N,), taken by passes 1 and 3.
        is_unsure: bool (N,), taken by pass 2; None if none are.
        config: thresholds and switches.

    Returns:
        Indices of tracks and of detections that belong together, each int (K,).
    """
    if not len(tracks.xyxy) or not len(boxes):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    overlaps = iou_of_proper(tracks.xyxy, boxes)
    frame = _Frame(tracks.has_id, _similar_size(tracks.xyxy, boxes, config.largest_size_ratio), config)
    left, sure = np.arange(len(tracks.xyxy)), is_sure.nonzero()[0]
    pairs = [frame.pair(left, sure, _part(overlaps, left, sure), config.iou_threshold)]
    if is_unsure is None and not config.buffer:
        return pairs[0]
    left, sure = _without(left, pairs[0][0]), _without(sure, pairs[0][1])

    if len(left) and is_unsure is not None:
        recent = left[tracks.has_id[left] & (tracks.misses[left] <= _RECENTLY)]
        unsure = is_unsure.nonzero()[0]
        pairs.append(frame.pair(recent, unsure, _part(overlaps, recent, unsure), config.low_iou_threshold))
        left = _without(left, pairs[-1][0])

    if config.buffer and len(left) and len(sure):
        left = left[tracks.has_id[left]]
        near = iou_of_proper(grown(tracks.xyxy[left], config.buffer), grown(boxes[sure], config.buffer))
        pairs.append(frame.pair(left, sure, near, config.buffered_iou_threshold))
    if len(pairs) == 1:
        return pairs[0]
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def grown(xyxy: Float64Array, share: float) -> Float64Array:
    """Boxes (N, 4) grown on every side by ``share`` of their width or height."""
    margin = share * (xyxy[:, 2:] - xyxy[:, :2])
    return np.concatenate([xyxy[:, :2] - margin, xyxy[:, 2:] + margin], axis=1)


@dataclass(slots=True, eq=False)
class _Frame:
    """Facts that hold for every pass: tracks with an ID (T,), pairs of similar size (T, N), the options."""

    has_id: Mask
    fits: Mask | None
    config: TrackerConfig

    def pair(self, tracks: Indices, rows: Indices, overlaps: Float64Array, threshold: float) -> tuple[Indices, Indices]:
        """Pair some tracks with some detections so that their summed overlap is largest."""
        allowed = overlaps >= threshold
        if self.fits is not None:
            allowed &= _part(self.fits, tracks, rows)
        weights = overlaps
        if self.config.confirmed_first:
            weights = weights + _FIRST * self.has_id.take(tracks)[:, None]
        if self.config.gating == "before":
            weights = np.where(allowed, weights, 0.0)
        if self.config.gating == "before" and _is_undisputed(allowed):
            chosen, of_rows = np.nonzero(allowed)
            return tracks[chosen], rows[of_rows]
        from scipy.optimize import linear_sum_assignment  # loads in a quarter of a second, and is seldom needed

        chosen, of_rows = linear_sum_assignment(weights, maximize=True)
        kept = allowed[chosen, of_rows]
        return tracks[chosen[kept]], rows[of_rows[kept]]


def _is_undisputed(allowed: Mask) -> bool:
    """Whether no track may take two detections and no detection two tracks: then all that may be, is."""
    return bool((allowed.sum(axis=0) <= 1).all() and (allowed.sum(axis=1) <= 1).all())


def _part(matrix: npt.NDArray[Any], tracks: Indices, rows: Indices) -> npt.NDArray[Any]:
    """The entries (T, N) of some tracks and some detections."""
    if matrix.shape == (len(tracks), len(rows)):
        return matrix
    return matrix[tracks[:, None], rows]


def _similar_size(a: Float64Array, b: Float64Array, largest_ratio: float) -> Mask | None:
    """Mask of the pairs (T, N) whose heights differ at most by a factor; None if all do, or any may."""
    if not largest_ratio:
        return None
    height_a, height_b = a[:, 3] - a[:, 1], b[:, 3] - b[:, 1]
    if height_a.max() <= largest_ratio * height_b.min() and height_b.max() <= largest_ratio * height_a.min():
        return None
    similar: Mask = height_a[:, None] <= largest_ratio * height_b
    similar &= height_b <= largest_ratio * height_a[:, None]
    return similar


def _without(indices: Indices, taken: Indices) -> Indices:
    """Those of ``indices`` (ascending) that are not in ``taken``."""
    if len(taken) == len(indices):
        return indices[:0]
    free = np.ones(indices[-1] + 1, dtype=np.bool_)
    free[taken] = False
    return indices[free[indices]]
