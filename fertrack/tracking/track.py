"""Output of the tracker: its living tracks, and the track of each detection."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.types import FloatArray, IntArray

__all__ = ["Track", "TrackState", "TrackUpdate"]


class TrackState(Enum):
    """Where a living track stands."""

    TENTATIVE = "tentative"
    """Seen, but not often enough in a row; without an ID."""
    CONFIRMED = "confirmed"
    """Has an ID, and was matched in the last update."""
    LOST = "lost"
    """Has an ID, but was not matched in the last update; its box is predicted."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A living track as it was when asked for.

    Attributes:
        id: public ID, from 1; -1 while tentative.
        key: what ``TrackUpdate.keys`` calls it, from its first detection on.
        state: tentative, confirmed or lost.
        mean: float64 (7,), read-only: u, v (px), s (px²), r, and the velocities of u, v, s per image
            (``Pace.step_s`` apart).
        covariance: float64 (7, 7), read-only.
        xyxy: float64 (4,), read-only: its box, px.
        age: frames since its first detection, gaps included.
        hits: detections it was given, the first included.
        time_since_update: updates since the last of them.
    """

    id: int
    key: int
    state: TrackState
    mean: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    xyxy: npt.NDArray[np.float64]
    age: int
    hits: int
    time_since_update: int


@dataclass(frozen=True, slots=True, eq=False)
class TrackUpdate:
    """Tracks of one update's detections; row i is detection i. Arrays are read-only.

    Attributes:
        track_ids: int64 (N,), the public ID reported now; -1 = none (yet).
        keys: int64 (N,), >= 0, which track each row was given to, tentative or not; unlike IDs, set from the first
            detection on (``SortTracker.track_id`` tells a key's ID later). A detection that no track was given (not
            sure enough, or a box without area) has a key of its own that never gets an ID.
        xyxy: float32 (N, 4), px: the detection's box, or the track's estimate of it (``TrackerConfig.boxes``).
        kept: bool (N,), whether the detection counts as a face: False for one scored under ``high_score`` that no
            track bears out.
        velocity: float32 (N, 3), per frame: of the track's u, v (px) and s (px²); 0 where it was given to none.
    """

    track_ids: IntArray
    keys: IntArray
    xyxy: FloatArray
    kept: npt.NDArray[np.bool_]
    velocity: FloatArray

    def __post_init__(self) -> None:
        for name in ("track_ids", "keys", "xyxy", "kept", "velocity"):
            view = getattr(self, name).view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)

    def select(self, rows: npt.NDArray[Any]) -> TrackUpdate:
        """Update of the detections at ``rows`` (a boolean mask or integer indices)."""
        return TrackUpdate(self.track_ids[rows], self.keys[rows], self.xyxy[rows], self.kept[rows], self.velocity[rows])
