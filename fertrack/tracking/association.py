"""Decides which detection continues which track in one frame, in up to three passes.

1. Sure detections with all tracks, by the overlap (IoU) of their boxes and the Hungarian algorithm, as SORT does
   (arXiv 1602.00763, section 3.3).
2. Less sure detections with the tracks left over that were seen a moment ago: a face that turns away or is half hidden
   scores low, but is where it was expected (ByteTrack, arXiv 2110.06864, section 3).
3. Sure detections and tracks still left over, by distance and size: a small box that moves fast, or whose track was
   lost for a while, does not overlap its prediction although it is near. How near depends on the time since the track
   was seen (growing uncertainty; buffered IoU, C-BIoU, arXiv 2211.14317, grows boxes instead).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.imaging.geometry import iou_of_proper
from fertrack.tracking.config import TrackerConfig
from fertrack.types import BoolArray

__all__ = ["Candidates", "associate", "nearness"]

Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

_RECENTLY = 1
"""A track may have been missed for so many updates, and still be continued by a less sure detection."""
_SIZE, _SIZE_PER_S = 0.4, 0.3
"""Logarithm of the ratio of two boxes' sizes from which on they are not near; grows with each second."""
_NEAR = 1e-9
_MIN_SIDE = 1e-3
_FIRST = 1.0
"""Added to the overlap of tracks with an ID: more than any overlap, so that they are served first."""


@dataclass(slots=True, eq=False)
class Candidates:
    """Tracks that a detection could continue; one entry each.

    Attributes:
        xyxy: float64 (T, 4), predicted boxes, px.
        has_id: bool (T,).
        misses: int64 (T,), updates since the last match.
        unseen_s: float64 (T,), seconds since then.
        reach: share of the options' reach that the third pass has.
        barred: bool (T, N), pairs that may not be made whatever they overlap; None: all may.
    """

    xyxy: Float64Array
    has_id: Mask
    misses: npt.NDArray[np.int64]
    unseen_s: Float64Array
    reach: float = 1.0
    barred: BoolArray | None = None


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
    fits = _similar_size(tracks.xyxy, boxes, config.largest_size_ratio)
    if tracks.barred is not None:
        fits = ~tracks.barred if fits is None else fits & ~tracks.barred
    frame = _Frame(tracks.has_id, fits, config)
    left, sure = np.arange(len(tracks.xyxy)), is_sure.nonzero()[0]
    pairs = [frame.pair(left, sure, _part(overlaps, left, sure), config.iou_threshold)]
    if is_unsure is None and not config.reach:
        return pairs[0]
    left, sure = _without(left, pairs[0][0]), _without(sure, pairs[0][1])

    if len(left) and is_unsure is not None:
        recent = left[tracks.has_id[left] & (tracks.misses[left] <= _RECENTLY)]
        unsure = is_unsure.nonzero()[0]
        pairs.append(frame.pair(recent, unsure, _part(overlaps, recent, unsure), config.low_iou_threshold))
        left = _without(left, pairs[-1][0])

    if config.reach and len(left) and len(sure):
        near = nearness(tracks.xyxy[left], boxes[sure], tracks.unseen_s[left], config, tracks.reach)
        pairs.append(frame.pair(left, sure, near, _NEAR))
    if len(pairs) == 1:
        return pairs[0]
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def nearness(
    tracks: Float64Array, boxes: Float64Array, unseen_s: Float64Array, config: TrackerConfig, share: float = 1.0
) -> Float64Array:
    """Compare predicted boxes with detections by distance and size.

    Args:
        tracks: float64 (T, 4), px.
        boxes: float64 (N, 4), px.
        unseen_s: float64 (T,), seconds since each track was seen.
        config: for the distance that is still near.
        share: of that distance.

    Returns:
        float64 (T, N): 1 for equal boxes, 0 or less for those that are too far apart or of too different size.

    >>> still = np.array([[0.0, 0, 40, 40]])
    >>> nearness(still, still + [20, 0, 20, 0], np.array([0.0]), TrackerConfig(reach=1.0)).tolist()
    [[0.75]]
    """
    size_t, size_n = tracks[:, 2:] - tracks[:, :2], boxes[:, 2:] - boxes[:, :2]
    size_t = np.maximum(size_t, _MIN_SIDE)
    product = size_t[:, None] * size_n
    apart = (tracks[:, None, :2] + tracks[:, None, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
    distance = (apart * apart / product).sum(axis=2)
    scaling = np.log(size_n.prod(axis=1) / size_t.prod(axis=1)[:, None]) / 2
    reach = share * (config.reach + config.reach_per_s * unseen_s[:, None])
    likely = scaling / (_SIZE + _SIZE_PER_S * unseen_s[:, None])
    near: Float64Array = 1.0 - distance / (reach * reach) - likely * likely
    return near


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
