"""Possible pairs: tracks that could be one person at all, judged by when and where they were seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fertrack.reid.config import LinkingConfig
from fertrack.reid.tracklets import Tracklet, seen_together
from fertrack.types import BoolArray, Float64Array

__all__ = ["impossible_pairs"]

_REACH_FACES = 0.5
_FASTEST_FACES_PER_S = 1.5  # a face that would have moved faster than this, in widths of its own, is another one
_LARGEST_SCALING = 1.8


def impossible_pairs(tracklets: Sequence[Tracklet], config: LinkingConfig, *, recognises: bool) -> BoolArray:
    """Pairs of tracks that cannot be one person, whatever they look like: bool (N, N), False on the diagonal.

    Tracks that share a frame; and, where faces are not recognised, tracks that do not follow each other within
    ``appearance_gap_s``, at a distance that a face can have moved, and at about the same size.

    Args:
        tracklets: N tracks.
        config: for the longest gap.
        recognises: whether faces are recognised, so that any gap and any distance is possible.
    """
    forbidden = seen_together([each.spans for each in tracklets])
    if recognises or not len(tracklets):
        return forbidden
    first_s, last_s = (np.array([getattr(each, name) for each in tracklets]) for name in ("first_s", "last_s"))
    gap_s = first_s[None, :] - last_s[:, None]  # from the end of the row's track to the start of the column's
    follows = (gap_s > 0.0) & (gap_s <= config.appearance_gap_s) & _reachable(tracklets, gap_s)
    forbidden |= ~(follows | follows.T)
    np.fill_diagonal(forbidden, False)
    return forbidden


def _reachable(tracklets: Sequence[Tracklet], gap_s: Float64Array) -> BoolArray:
    """Whether a face can have come from where the row's track ended to where the column's began."""
    ends = np.array([each.last_xyxy for each in tracklets], np.float64)
    starts = np.array([each.first_xyxy for each in tracklets], np.float64)
    end_px, start_px = _side(ends), _side(starts)
    moved_px = np.linalg.norm(_middle(ends)[:, None] - _middle(starts)[None, :], axis=2)
    face_px = np.sqrt(np.outer(end_px, start_px))
    scaling = np.abs(np.log(end_px[:, None] / start_px[None, :]))
    reach_px = face_px * (_REACH_FACES + _FASTEST_FACES_PER_S * np.maximum(gap_s, 0.0))
    reachable: BoolArray = (moved_px <= reach_px) & (scaling <= np.log(_LARGEST_SCALING))
    return reachable


def _middle(xyxy: Float64Array) -> Float64Array:
    return (xyxy[:, :2] + xyxy[:, 2:]) / 2.0


def _side(xyxy: Float64Array) -> Float64Array:
    size = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1.0)
    side: Float64Array = np.sqrt(size.prod(axis=1))
    return side
