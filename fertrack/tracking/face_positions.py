"""Where each face of a run is at any time, also where it was not detected for a moment.

What was seen stands still between two frames only if nobody moves; so between two sightings of a subject the box is
interpolated, and before the first and after the last one it is held for a while, carried on at its last speed. The
longer ago the nearest sighting is, the larger the box. This is meant for hiding faces: it rather covers too much.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.imaging.geometry import iou_matrix
from fertrack.types import Float64Array, IntArray

__all__ = ["NOBODY", "FacePaths", "Sightings", "with_unclaimed"]

NOBODY = -1
"""Subject of a face that no track has claimed; such sightings are one path where each lies over the one before."""

_HOLD_S = 1.0  # before the first and after the last sighting, and on both sides of a longer gap
_GAP_S = 2.0  # longest gap over which a box is interpolated
_SPEED_OVER_S = 0.25
_GROWTH_PER_S = 0.5  # by which the box's sides grow with the time since, or until, the nearest sighting
_MAX_GROWTH = 1.4
_SAME_TIME_S = 1e-4
_SAME_FACE_IOU = 0.5
_CLAIM_IOU = 0.3
_CHAIN_S = 0.3  # longest time between two unclaimed sightings that are taken for the same face


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Faces as they were detected.

    Attributes:
        subject: int64 (N,), who; ``NOBODY`` where no track has claimed the face.
        time_s: float64 (N,).
        xyxy: float64 (N, 4), px.
    """

    subject: IntArray
    time_s: Float64Array
    xyxy: Float64Array

    def __len__(self) -> int:
        return len(self.subject)

    def plus(self, other: Sightings) -> Sightings:
        """Both together."""
        return Sightings(
            np.concatenate([self.subject, other.subject]),
            np.concatenate([self.time_s, other.time_s]),
            np.concatenate([self.xyxy, other.xyxy]),
        )

    def of(self, subjects: Collection[int]) -> Sightings:
        """Those of some subjects."""
        return self.select(np.flatnonzero(np.isin(self.subject, list(subjects))))

    def select(self, rows: npt.NDArray[Any]) -> Sightings:
        """Those of some rows: a boolean mask or integer indices."""
        return Sightings(self.subject[rows], self.time_s[rows], self.xyxy[rows])

    @classmethod
    def empty(cls) -> Sightings:
        """None."""
        return cls(np.empty(0, np.int64), np.empty(0), np.empty((0, 4)))


class FacePaths:
    """The paths that sightings lie on.

    Args:
        sightings: in any order; those whose box is not finite are passed over.
        cuts_s: times at which a new shot begins; nothing is held or interpolated across one.
    """

    def __init__(self, sightings: Sightings, cuts_s: Sequence[float] | Float64Array = ()) -> None:
        self._cuts_s = np.sort(np.asarray(cuts_s, np.float64))
        sightings = _chained(sightings.select(np.flatnonzero(np.isfinite(sightings.xyxy).all(axis=1))))
        self._paths = [
            _Path(
                max(subject, NOBODY), sightings.time_s[rows], sightings.xyxy[rows], *self._shot(sightings.time_s[rows])
            )
            for subject, rows in self._segments(sightings)
        ]
        self._start_s = np.array([path.start_s for path in self._paths])
        self._end_s = np.array([path.end_s for path in self._paths])

    def at(self, time_s: float) -> tuple[Float64Array, IntArray]:
        """Where the faces are at one time, those that may be there included.

        Returns:
            float64 (N, 4) px and the subjects int64 (N,).
        """
        running = np.flatnonzero((self._start_s <= time_s + _SAME_TIME_S) & (time_s - _SAME_TIME_S <= self._end_s))
        boxes = np.array([self._paths[i].box(time_s) for i in running]).reshape(-1, 4)
        return boxes, np.array([self._paths[i].subject for i in running], np.int64)

    def hidden(self, time_s: float, clear: Collection[int] = ()) -> Float64Array:
        """Boxes to hide at one time: all but those of the subjects in ``clear``, float64 (N, 4), px.

        A face that no track has claimed is taken for a clear subject's where both boxes agree.
        """
        boxes, subjects = self.at(time_s)
        is_clear = np.isin(subjects, list(clear))
        if not is_clear.any():
            return boxes
        overlap = iou_matrix(boxes, boxes[is_clear]).max(axis=1)
        others: Float64Array = boxes[~is_clear & ~((subjects == NOBODY) & (overlap > _SAME_FACE_IOU))]
        return others

    def _segments(self, sightings: Sightings) -> list[tuple[int, IntArray]]:
        """Rows of each path, in order of time: a subject's sightings without a long gap or a cut in between."""
        order = np.lexsort((sightings.time_s, sightings.subject))
        subject, time_s = sightings.subject[order], sightings.time_s[order]
        shot = np.searchsorted(self._cuts_s, time_s + _SAME_TIME_S)
        apart = (np.diff(subject) != 0) | (np.diff(time_s) > _GAP_S) | (np.diff(shot) != 0)
        parts = np.split(order, np.flatnonzero(apart) + 1) if len(order) else []
        return [(int(sightings.subject[part[0]]), part) for part in parts]

    def _shot(self, time_s: Float64Array) -> tuple[float, float]:
        """When the shot with these times begins, and when the next one does."""
        after = int(np.searchsorted(self._cuts_s, time_s[0] + _SAME_TIME_S))
        begins = self._cuts_s[after - 1] if after else -np.inf
        ends = self._cuts_s[after] - 2 * _SAME_TIME_S if after < len(self._cuts_s) else np.inf
        return float(begins), float(ends)


def with_unclaimed(sightings: Sightings, cuts_s: Sequence[float] | Float64Array = ()) -> IntArray:
    """The most likely subject of each sighting: that of its track; of others, whoever must be about there.

    A person who turns away is detected now and then without a track; such a face lies on the path between, shortly
    before or shortly after the person's own sightings.

    Returns:
        int64 (N,); ``NOBODY`` where nobody is near.
    """
    subject = sightings.subject.copy()
    unclaimed = np.flatnonzero((subject == NOBODY) & np.isfinite(sightings.xyxy).all(axis=1))
    paths = FacePaths(sightings.select(subject != NOBODY), cuts_s)
    for row in unclaimed.tolist():
        boxes, subjects = paths.at(float(sightings.time_s[row]))
        if len(boxes):
            overlap = iou_matrix(sightings.xyxy[row : row + 1], boxes)[0]
            best = int(overlap.argmax())
            subject[row] = subjects[best] if overlap[best] >= _CLAIM_IOU else NOBODY
    return subject


def _chained(sightings: Sightings) -> Sightings:
    """The sightings with a number below ``NOBODY`` for each chain of unclaimed ones."""
    subject = sightings.subject.copy()
    unclaimed = np.flatnonzero(subject == NOBODY)
    unclaimed = unclaimed[np.argsort(sightings.time_s[unclaimed], kind="stable")]
    last: dict[int, int] = {}  # row in which each chain was seen last
    for row in unclaimed.tolist():
        time_s = sightings.time_s[row]
        last = {chain: seen for chain, seen in last.items() if time_s - sightings.time_s[seen] <= _CHAIN_S}
        before = [seen for seen in last.values() if sightings.time_s[seen] < time_s]
        overlap = iou_matrix(sightings.xyxy[row : row + 1], sightings.xyxy[before])[0] if before else np.empty(0)
        goes_on = len(overlap) > 0 and overlap.max() >= _CLAIM_IOU
        chain = int(subject[before[int(overlap.argmax())]]) if goes_on else NOBODY - 1 - row
        subject[row] = chain
        last[chain] = row
    return Sightings(subject, sightings.time_s, sightings.xyxy)


class _Path:
    """One segment of sightings of one subject, in order of time, within one shot."""

    def __init__(
        self, subject: int, time_s: Float64Array, xyxy: Float64Array, shot_s: float, next_shot_s: float
    ) -> None:
        self.subject = subject
        self.start_s = max(float(time_s[0]) - _HOLD_S, shot_s)
        self.end_s = min(float(time_s[-1]) + _HOLD_S, next_shot_s)
        self._time_s, self._xyxy = time_s, xyxy

    def box(self, time_s: float) -> Float64Array:
        times, boxes = self._time_s, self._xyxy
        after = int(np.searchsorted(times, time_s - _SAME_TIME_S))
        if after < len(times) and abs(times[after] - time_s) <= _SAME_TIME_S:
            return np.asarray(boxes[after])
        if after == 0:
            return _grown(self._carried_on(0, time_s), times[0] - time_s)
        if after == len(times):
            return _grown(self._carried_on(-1, time_s), time_s - times[-1])
        before = after - 1
        share = (time_s - times[before]) / (times[after] - times[before])
        between = boxes[before] + share * (boxes[after] - boxes[before])
        return _grown(between, min(time_s - times[before], times[after] - time_s))

    def _carried_on(self, end: int, time_s: float) -> Float64Array:
        """The box at an end of the path, and where it would be now at the speed that it had there: both together.

        It is carried on by one side of the box at most: a head that is gone after that has moved elsewhere.
        """
        times, boxes = self._time_s, self._xyxy
        near = np.flatnonzero(np.abs(times - times[end]) <= _SPEED_OVER_S)
        first, last = near[0], near[-1]
        held = boxes[end]
        if times[last] - times[first] < _SAME_TIME_S:
            return np.asarray(held)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        speed = (centres[last] - centres[first]) / (times[last] - times[first])
        size = held[2:] - held[:2]
        moved = held + np.tile(np.clip(speed * (time_s - times[end]), -size, size), 2)
        return np.concatenate([np.minimum(held[:2], moved[:2]), np.maximum(held[2:], moved[2:])])


def _grown(xyxy: Float64Array, away_s: float) -> Float64Array:
    growth = min(1.0 + _GROWTH_PER_S * away_s, _MAX_GROWTH)
    centre, half = (xyxy[:2] + xyxy[2:]) / 2, (xyxy[2:] - xyxy[:2]) / 2 * growth
    return np.concatenate([centre - half, centre + half])
