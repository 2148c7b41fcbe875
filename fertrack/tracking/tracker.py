"""Gives detections identities over time: SORT, from its paper (arXiv 1602.00763), and improvements on it.

Each update predicts every track with a constant-velocity Kalman filter, assigns detections to the predictions
(``fertrack.tracking.association``), and lets sure detections that are left over found new, tentative tracks. A
tentative track that is matched ``min_hits`` times in a row is confirmed and given a public ID; a track unmatched for
more than ``max_age`` updates ends, and its ID with it.
Each improvement is an option of ``TrackerConfig``; without them, as in ``PLAIN_SORT``, this is SORT as published.
"""

from __future__ import annotations

import operator

import numpy as np
import numpy.typing as npt

from fertrack.imaging.geometry import iou_of_proper, measure_boxes
from fertrack.tracking.association import Candidates, associate
from fertrack.tracking.config import PLAIN_SORT, TrackerConfig
from fertrack.tracking.kalman import BoxKalman, BoxNoise
from fertrack.tracking.track import Track, TrackState, TrackUpdate
from fertrack.types import UNCONFIRMED, Detections

__all__ = ["PLAIN_SORT", "SortTracker", "Track", "TrackState", "TrackUpdate", "TrackerConfig"]


_UNIT_BOX = (0.0, 0.0, 1.0, 1.0)
_NONE = -1
"""In place of a track's row: the detection was given to none."""
_STEADY, _UNSTEADY = 0.08**2, 0.12**2
"""Jitter (``BoxKalman.jitter``) up to which a detection is reported as it is, and from which on the filter's box is."""
_KEY, _ID, _AGE, _HITS, _STREAK, _MISSES = range(6)


class SortTracker:
    """SORT over the detections of one video or camera. One instance per run: IDs and keys count from it.

    IDs start at 1, are given in the order of confirmation (from left to right where several are confirmed at once)
    and are never used again, so they have no holes. The order of the rows has no influence on what each is given,
    unless two detections overlap a track exactly equally.

    Args:
        config: its options.
        count_frames: count a track's misses in frames, those left out included, rather than in updates, so that
            ``max_age`` is the same time however many frames are left out. For live sources, where that varies.

    Example:
        >>> import numpy as np
        >>> tracker = SortTracker(TrackerConfig(min_hits=2))
        >>> def face(x):
        ...     box = np.array([[x, 10, x + 40, 50]], np.float32)
        ...     return Detections(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))
        >>> [tracker.update(face(10 + i), i).track_ids.tolist() for i in range(3)]
        [[-1], [1], [1]]
    """

    def __init__(self, config: TrackerConfig | None = None, *, count_frames: bool = False) -> None:
        self.config = config or TrackerConfig()
        self._count_frames = count_frames
        self._filters = BoxKalman(BoxNoise().with_velocity_noise(self.config.velocity_noise))
        self._lives = np.empty((0, 6), dtype=np.int64)  # one row per living track, in step with the filters
        self._ids: dict[int, int] = {}  # key -> public ID, of every track that ever had one
        self._next_key = 0
        self._updates = 0
        self._frame_index: int | None = None

    @property
    def confirmed_count(self) -> int:
        """Number of public IDs given so far; the last one is equal to it."""
        return len(self._ids)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The living tracks, oldest first, as they are now."""
        means, covariances, boxes = self._filters.means, self._filters.covariances, self._filters.xyxy
        for array in (means, covariances, boxes):
            array.flags.writeable = False
        return tuple(
            Track(
                id=life[_ID],
                key=life[_KEY],
                state=_state(life),
                mean=means[row],
                covariance=covariances[row],
                xyxy=boxes[row],
                age=life[_AGE],
                hits=life[_HITS],
                time_since_update=life[_MISSES],
            )
            for row, life in enumerate(self._lives.tolist())
        )

    def track_id(self, key: int) -> int:
        """Public ID of the track that ``TrackUpdate.keys`` calls ``key``; -1 while, or if, it never got one."""
        return self._ids.get(key, UNCONFIRMED)

    @np.errstate(all="ignore")  # a box without area or near the largest float is dealt with, not warned of
    def update(self, detections: Detections, frame_index: int) -> TrackUpdate:
        """Take the detections of the next frame.

        Frames may be left out: a jump of k in ``frame_index`` predicts k frames. Unless told otherwise, a track's
        misses are counted in updates, not in frames, so a rate of 5 a second with ``max_age`` 30 bridges six seconds.

        Args:
            detections: N faces, px; none is fine.
            frame_index: index of the frame, larger than the last one's.

        Returns:
            N rows: row i is detection i.

        Raises:
            ValueError: ``frame_index`` is not larger than the last one's; the tracker is as before.
        """
        steps = self._advance(frame_index)
        boxes = detections.xyxy.astype(np.float64)
        measured, proper = measure_boxes(boxes)
        high = detections.score >= self.config.high_score
        sure = proper & high
        unsure = None
        if np.count_nonzero(high) < len(high):
            unsure = proper & ~high & (detections.score >= self.config.low_score)

        missed = steps if self._count_frames else 1
        if missed > 1:
            self._bury(missed - 1)
        if len(self._filters):
            self._filters.predict(steps)
            self._lives[:, _AGE] += steps
        candidates = Candidates(self._filters.xyxy, self._lives[:, _ID] != UNCONFIRMED, self._lives[:, _MISSES])
        matchable = boxes if np.count_nonzero(proper) == len(boxes) else np.where(proper[:, None], boxes, _UNIT_BOX)
        tracks, rows = associate(candidates, matchable, sure, unsure, self.config)
        seen = measured.take(rows, axis=0)
        if self.config.retrace:
            self._filters.retrace(tracks, seen)
        self._filters.update(tracks, seen, self._crowded(boxes.take(rows, axis=0)))
        self._count(tracks, missed)

        track_of_row = np.full(len(boxes), _NONE)
        track_of_row[rows] = tracks
        if len(rows) < len(boxes):
            free = sure & (track_of_row == _NONE) & (detections.score >= self.config.new_track_score)
            founders = free.nonzero()[0]
            if len(founders):
                founders = founders[_left_to_right(measured[founders])]
                track_of_row[founders] = self._found(measured[founders])
        self._confirm()

        result = self._report(track_of_row, boxes, high)
        self._bury()
        return result

    def cut(self) -> None:
        """End every track, because a new shot begins with the next frame; IDs, keys and frames go on counting."""
        self._lives = self._lives[:0]
        self._filters.keep(np.zeros(len(self._filters), dtype=np.bool_))

    def _advance(self, frame_index: int) -> int:
        index = operator.index(frame_index)
        previous = self._frame_index
        if previous is not None and index <= previous:
            raise ValueError(f"frame_index must grow from update to update, got {index} after {previous}")
        self._frame_index = index
        self._updates += 1
        return 1 if previous is None else index - previous

    def _crowded(self, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_] | None:
        """Mask of the matched boxes that overlap another one and may be half occluded; None if none do."""
        if not self.config.crowding_iou or len(boxes) < 2:
            return None
        corners = boxes.T.copy()
        begins_before_end = corners[:2, :, None] < corners[2:, None, :]  # x and y at once
        meets = begins_before_end[0] & begins_before_end[1]
        meets &= meets.T
        if np.count_nonzero(meets) == len(boxes):  # each meets itself; the usual case, told without an IoU
            return None
        crowded: npt.NDArray[np.bool_] = meets.sum(axis=1) > 1
        near = boxes[crowded]
        crowded[crowded] = (iou_of_proper(near, near) > self.config.crowding_iou).sum(axis=1) > 1
        return crowded if np.count_nonzero(crowded) else None

    def _count(self, matched: npt.NDArray[np.int64], missed: int) -> None:
        lives = self._lives.T
        if len(matched) == len(self._lives):
            lives[_HITS : _STREAK + 1] += 1
            lives[_MISSES] = 0
            return
        hit = np.zeros(len(self._lives), dtype=np.int64)
        hit[matched] = 1
        lives[_MISSES] += missed
        lives[_MISSES] *= 1 - hit
        lives[_HITS] += hit
        lives[_STREAK] += hit
        lives[_STREAK] *= hit

    def _found(self, measured: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Start a tentative track for each measured box; return their rows."""
        first, count = len(self._lives), len(measured)
        born = np.zeros((count, 6), dtype=np.int64)
        born[:, _KEY] = self._new_keys(count)
        born[:, _ID] = UNCONFIRMED
        born[:, _HITS] = 1
        born[:, _STREAK] = self.config.reporting == "confirmed"  # published SORT counts from the second on
        self._filters.add(measured)
        self._lives = np.concatenate([self._lives, born])
        return np.arange(first, first + count)

    def _new_keys(self, count: int) -> npt.NDArray[np.int64]:
        keys = np.arange(self._next_key, self._next_key + count)
        self._next_key += count
        return keys

    def _ripe(self) -> npt.NDArray[np.bool_]:
        """Mask of the tracks matched often enough in a row, this update included."""
        ripe: npt.NDArray[np.bool_] = self._lives[:, _STREAK] >= self.config.min_hits
        if self.config.reporting == "streak" and self._updates <= self.config.min_hits:
            ripe = self._lives[:, _MISSES] == 0
        return ripe

    def _confirm(self) -> None:
        tentative = self._lives[:, _ID] == UNCONFIRMED
        if not np.count_nonzero(tentative):
            return
        due = (self._ripe() & tentative).nonzero()[0]
        if len(due):
            due = due[_left_to_right(self._filters.means[due])]
            self._lives[due, _ID] = np.arange(len(self._ids) + 1, len(self._ids) + 1 + len(due))
            self._ids.update(self._lives[due][:, [_KEY, _ID]].tolist())

    def _report(
        self, track_of_row: npt.NDArray[np.int64], boxes: npt.NDArray[np.float64], high: npt.NDArray[np.bool_]
    ) -> TrackUpdate:
        given = track_of_row != _NONE
        kept = given | high
        count = int(np.count_nonzero(given))
        if not count:
            none = np.full(len(boxes), UNCONFIRMED, dtype=np.int64)
            still = np.zeros((len(boxes), 3), dtype=np.float32)
            return TrackUpdate(none, self._new_keys(len(boxes)), boxes.astype(np.float32), kept, still)
        lives = self._lives
        ids = lives[:, _ID]
        if self.config.reporting == "streak":
            ids = np.where(self._ripe(), ids, UNCONFIRMED)
        track_ids, keys = ids.take(track_of_row), lives[:, _KEY].take(track_of_row)
        reported = self._boxes(track_of_row, given, boxes)
        velocity = self._filters.velocities.take(track_of_row, axis=0)
        if count < len(given):
            stray = ~given
            track_ids[stray] = UNCONFIRMED
            keys[stray] = self._new_keys(len(given) - count)
            velocity[stray] = 0.0
        return TrackUpdate(track_ids, keys, reported.astype(np.float32), kept, velocity.astype(np.float32))

    def _boxes(
        self, track_of_row: npt.NDArray[np.int64], given: npt.NDArray[np.bool_], boxes: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """The box to report for each detection: its own, or nearer to the filter's the more the detector jitters."""
        if self.config.boxes == "detected":
            return boxes
        filters = self._filters
        if self.config.boxes == "filtered":
            return np.where(given[:, None], filters.xyxy.take(track_of_row, axis=0), boxes)
        share = (filters.jitter - _STEADY) / (_UNSTEADY - _STEADY)
        if share <= 0.0:
            return boxes
        filtered = np.where(given[:, None], filters.xyxy.take(track_of_row, axis=0), boxes)
        return boxes + min(share, 1.0) * (filtered - boxes)

    def _bury(self, left_out: int = 0) -> None:
        """Drop the tracks that were missed too often; or, before an update, for which too many frames were left out."""
        lives, config = self._lives, self.config
        if left_out:
            living = lives[:, _MISSES] + left_out <= config.max_age
        elif not np.count_nonzero(lives[:, _MISSES]):
            return
        else:
            patience = np.where(lives[:, _ID] == UNCONFIRMED, config.tentative_max_age, config.max_age)
            living = lives[:, _MISSES] <= patience
        if np.count_nonzero(living) < len(living):
            self._lives = lives[living]
            self._filters.keep(living)


def _left_to_right(states: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Order of boxes u, v, ... by u, then by v."""
    return np.lexsort((states[:, 1], states[:, 0]))


def _state(life: list[int]) -> TrackState:
    if life[_ID] == UNCONFIRMED:
        return TrackState.TENTATIVE
    return TrackState.LOST if life[_MISSES] else TrackState.CONFIRMED
