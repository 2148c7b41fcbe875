"""Gives detections identities over time: SORT, from its paper (arXiv 1602.00763), and improvements on it.

Each update predicts every track with a constant-velocity Kalman filter, assigns detections to the predictions
(``fertrack.tracking.association``), and lets sure detections that are left over start new, tentative tracks. A
tentative track that is matched ``min_hits`` times in a row is confirmed and given a public ID: that of a track lost
shortly before whose face it can be (``fertrack.tracking.rejoin``), or else a new one. A track unmatched for longer than
``max_age_s`` seconds, and for more than ``max_age`` images at their usual distance, ends.
Each improvement is an option of ``TrackerConfig``; without them, as in ``PLAIN_SORT``, this is SORT as published.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.imaging.geometry import iou_of_proper, measure_boxes
from fertrack.tracking.appearance import Appearance
from fertrack.tracking.association import Candidates, associate
from fertrack.tracking.config import PLAIN_SORT, TrackerConfig
from fertrack.tracking.kalman import BoxKalman, BoxNoise
from fertrack.tracking.lives import Lives
from fertrack.tracking.pace import NOMINAL_FPS, Pace
from fertrack.tracking.rejoin import Ends, rejoin
from fertrack.tracking.track import Track, TrackState, TrackUpdate
from fertrack.types import UNCONFIRMED, BoolArray, Detections, Float64Array, FloatArray, IntArray

__all__ = ["PLAIN_SORT", "SortTracker", "Track", "TrackState", "TrackUpdate", "TrackerConfig"]

_UNIT_BOX = (0.0, 0.0, 1.0, 1.0)
_NONE = -1
"""In place of a track's row: the detection was given to none."""
_STEADY, _UNSTEADY = 0.08**2, 0.12**2
"""Jitter (``BoxKalman.jitter``) up to which a detection is reported as it is, and from which on the filter's box is."""
_UNSTEADY_REACH = 0.5
"""Share of the reach that is left where a box's own jitter is a good part of it."""
_SAME_TIME_S = 1e-6


class SortTracker:
    """SORT over the detections of one video or camera. One instance per run: IDs and keys count from it.

    IDs start at 1, are given in the order of confirmation (from left to right where several are confirmed at once)
    and have no holes; a track that continues a lost one has its ID. The order of the rows has no influence on what
    each is given, unless two detections fit a track exactly equally.

    Args:
        config: its options.

    Example:
        >>> import numpy as np
        >>> tracker = SortTracker(TrackerConfig(min_hits=2))
        >>> def face(x):
        ...     box = np.array([[x, 10, x + 40, 50]], np.float32)
        ...     return Detections(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))
        >>> [tracker.update(face(10 + i), i).track_ids.tolist() for i in range(3)]
        [[-1], [1], [1]]
    """

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self._filters = BoxKalman(BoxNoise().with_velocity_noise(self.config.velocity_noise))
        self._lives = Lives()  # in step with the filters
        self._pace = Pace()
        self._appearance = Appearance()
        self._is_unsteady = False
        self._ids: dict[int, int] = {}  # key -> public ID, of every track that ever had one
        self._lost = Ends.none()  # of tracks with an ID that ended
        self._id_count = 0
        self._next_key = 0
        self._updates = 0
        self._frame_index: int | None = None

    @property
    def confirmed_count(self) -> int:
        """How many public IDs were given so far; the last one is equal to it."""
        return self._id_count

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The living tracks, oldest first, as they are now."""
        means, covariances, boxes = self._filters.means, self._filters.covariances, self._filters.xyxy
        for array in (means, covariances, boxes):
            array.flags.writeable = False
        lives = self._lives
        return tuple(
            Track(
                id=int(lives.id[row]),
                key=int(lives.key[row]),
                state=_state(int(lives.id[row]), int(lives.misses[row])),
                mean=means[row],
                covariance=covariances[row],
                xyxy=boxes[row],
                age=(self._frame_index or 0) - int(lives.first_frame[row]),
                hits=int(lives.hits[row]),
                time_since_update=int(lives.misses[row]),
            )
            for row in range(len(lives))
        )

    def track_id(self, key: int) -> int:
        """Public ID of the track that ``TrackUpdate.keys`` calls ``key``; -1 while, or if, it never got one."""
        return self._ids.get(key, UNCONFIRMED)

    @np.errstate(all="ignore")  # a box without area or near the largest float is dealt with, not warned of
    def update(
        self, detections: Detections, frame_index: int, time_s: float | None = None, looks: FloatArray | None = None
    ) -> TrackUpdate:
        """Take the detections of the next frame.

        Frames may be left out, and files may have gaps: a step of k times the usual time predicts k images.

        Args:
            detections: N faces, px; none is fine.
            frame_index: index of the frame, larger than the last one's.
            time_s: when the frame is shown, seconds; None: 30 frames are a second.
            looks: float32 (N, K), ``surroundings`` of the faces; None: changes of appearance are not looked for.

        Returns:
            N rows: row i is detection i.

        Raises:
            ValueError: ``frame_index`` is not larger than the last one's; the tracker is as before.
        """
        steps = self._advance(frame_index, time_s)
        config, lives = self.config, self._lives
        boxes = detections.xyxy.astype(np.float64)
        measured, proper = measure_boxes(boxes)
        high = detections.score >= config.high_score
        sure = proper & high
        unsure = None
        if np.count_nonzero(high) < len(high):
            unsure = proper & ~high & (detections.score >= config.low_score)

        if len(self._filters):
            self._filters.predict(steps)
        candidates = Candidates(
            self._filters.xyxy,
            lives.id != UNCONFIRMED,
            lives.misses,
            self._pace.now_s - lives.last_s,
            _UNSTEADY_REACH if self._is_unsteady else 1.0,
        )
        if looks is not None:
            candidates.barred = self._appearance.barred(lives.key.tolist(), boxes, looks, self._pace.now_s)
        matchable = boxes if np.count_nonzero(proper) == len(boxes) else np.where(proper[:, None], boxes, _UNIT_BOX)
        tracks, rows = associate(candidates, matchable, sure, unsure, config)
        seen = measured.take(rows, axis=0)
        if config.retrace:
            self._filters.retrace(tracks, seen)
        self._filters.update(tracks, seen, self._crowded(boxes.take(rows, axis=0)))
        lives.hit(tracks, self._pace.now_s)

        track_of_row = np.full(len(boxes), _NONE)
        track_of_row[rows] = tracks
        if len(rows) < len(boxes):
            free = sure & (track_of_row == _NONE) & (detections.score >= config.new_track_score)
            founders = free.nonzero()[0]
            if len(founders):
                founders = founders[_left_to_right(measured[founders])]
                track_of_row[founders] = self._start(measured[founders])
        if looks is not None:
            keys = np.append(lives.key, _NONE).take(track_of_row)
            self._appearance.remember(keys.tolist(), boxes, looks, self._pace.now_s)
        self._confirm()

        result = self._report(track_of_row, boxes, high)
        self._terminate(self._pace.now_s + self._pace.step_s)
        return result

    def cut(self) -> None:
        """End every track, because a new shot begins with the next frame; IDs, keys and frames go on counting."""
        none = np.zeros(len(self._filters), dtype=np.bool_)
        self._lives.keep(none)
        self._filters.keep(none)
        self._lost = Ends.none()
        self._appearance.forget_all_but(())

    def _advance(self, frame_index: int, time_s: float | None) -> int:
        """Go on to a frame; give how many usual steps it is away, having ended the tracks that last not so long."""
        steps, change = self._pace.advance(frame_index, time_s)
        self._frame_index = int(frame_index)
        self._updates += 1
        if change != 1.0:
            self._filters.rescale(change)
        is_unsteady = self._filters.jitter > (_STEADY + _UNSTEADY) / 2
        if change != 1.0 or is_unsteady != self._is_unsteady:
            self._is_unsteady = is_unsteady
            sparse = 1.0
            if self.config.noise_by_time and not is_unsteady:
                sparse = max(1.0, self._pace.step_s * NOMINAL_FPS) ** 2
            self._filters.set_noise(BoxNoise().with_velocity_noise(self.config.velocity_noise * sparse))
        if steps > 1:
            self._terminate(self._pace.now_s)
        return steps

    def _crowded(self, boxes: Float64Array) -> BoolArray | None:
        """Mask of the matched boxes that overlap another one and may be half occluded; None if none do."""
        if not self.config.crowding_iou or len(boxes) < 2:
            return None
        corners = boxes.T.copy()
        begins_before_end = corners[:2, :, None] < corners[2:, None, :]  # x and y at once
        meets = begins_before_end[0] & begins_before_end[1]
        meets &= meets.T
        if np.count_nonzero(meets) == len(boxes):  # each meets itself; the usual case, told without an IoU
            return None
        crowded: BoolArray = meets.sum(axis=1) > 1
        near = boxes[crowded]
        crowded[crowded] = (iou_of_proper(near, near) > self.config.crowding_iou).sum(axis=1) > 1
        return crowded if np.count_nonzero(crowded) else None

    def _start(self, measured: Float64Array) -> npt.NDArray[np.intp]:
        """Start a tentative track for each measured box; return their rows."""
        first, count = len(self._lives), len(measured)
        streak = int(self.config.reporting == "confirmed")  # published SORT counts from the second on
        self._filters.add(measured)
        at = self._frame_index or 0, self._pace.now_s
        self._lives.add(self._new_keys(count), measured, at=at, streak=streak)
        return np.arange(first, first + count)

    def _new_keys(self, count: int) -> IntArray:
        keys = np.arange(self._next_key, self._next_key + count)
        self._next_key += count
        return keys

    def _is_due(self) -> BoolArray:
        """Which tracks have been matched often enough in a row, this update included."""
        lives, config = self._lives, self.config
        if config.reporting == "streak" and self._updates <= config.min_hits:
            recent: BoolArray = lives.misses == 0
            return recent
        due: BoolArray = lives.streak >= config.min_hits
        return due

    def _confirm(self) -> None:
        """Give an ID to the tracks that are due: a lost track's, or a new one."""
        lives = self._lives
        tentative = lives.is_tentative
        if not np.count_nonzero(tentative):
            return
        due = (self._is_due() & tentative).nonzero()[0]
        if not len(due):
            return
        due = due[_left_to_right(self._filters.means[due])]
        rejoined = self._rejoin(due)
        for row in due.tolist():
            given = rejoined.get(row)
            if given is None:
                self._id_count += 1
                given = self._id_count
            lives.id[row] = given
            self._ids[int(lives.key[row])] = given

    def _rejoin(self, due: npt.NDArray[np.intp]) -> dict[int, int]:
        """Which of the tracks confirmed now continue a lost one: their rows, and its ID. That one ends."""
        within_s = self.config.rejoin_s
        if not within_s:
            return {}
        lives = self._lives
        self._lost = self._lost.since(self._pace.now_s - within_s - self.config.min_hits * self._pace.step_s)
        waiting = ((lives.misses > 0) & (lives.id != UNCONFIRMED)).nonzero()[0]
        lost = self._lost.plus(self._ends(waiting))
        begun = Ends(
            lives.key[due],
            lives.id[due],
            lives.first_s[due],
            lives.first_uvsr[due, :2],
            _sizes(lives.first_uvsr[due]),
            self._filters.velocities[due, :2] / self._pace.step_s,
        )
        pairs = rejoin(lost, begun, within_s, self._appearance.part(lost.key.tolist(), begun.key.tolist()))
        if not pairs:
            return {}
        found = {int(due[column]): int(lost.id[row]) for row, column in pairs}
        taken = set(found.values())
        self._lost = self._lost.without(taken)
        # The lost track itself must not be matched again: out of reach of every threshold, it ends with this update.
        gone = waiting[np.isin(lives.id[waiting], list(taken))]
        lives.last_s[gone] = -np.inf
        lives.id[gone] = UNCONFIRMED
        return found

    def _ends(self, rows: npt.NDArray[Any]) -> Ends:
        """Where the tracks at ``rows`` were last."""
        measured, velocity = self._filters.last_measured(rows)
        lives = self._lives
        velocity_s = velocity[:, :2] / self._pace.step_s
        return Ends(lives.key[rows], lives.id[rows], lives.last_s[rows], measured[:, :2], _sizes(measured), velocity_s)

    def _report(self, track_of_row: npt.NDArray[np.intp], boxes: Float64Array, high: BoolArray) -> TrackUpdate:
        given = track_of_row != _NONE
        kept = given | high
        count = int(np.count_nonzero(given))
        if not count:
            none = np.full(len(boxes), UNCONFIRMED, dtype=np.int64)
            still = np.zeros((len(boxes), 3), dtype=np.float32)
            return TrackUpdate(none, self._new_keys(len(boxes)), boxes.astype(np.float32), kept, still)
        lives = self._lives
        ids = lives.id
        if self.config.reporting == "streak":
            ids = np.where(self._is_due(), ids, UNCONFIRMED)
        track_ids, keys = ids.take(track_of_row), lives.key.take(track_of_row)
        reported = self._boxes(track_of_row, given, boxes)
        velocity = self._filters.velocities.take(track_of_row, axis=0)
        if self._pace.frames != 1:
            velocity /= self._pace.frames
        if count < len(given):
            stray = ~given
            track_ids[stray] = UNCONFIRMED
            keys[stray] = self._new_keys(len(given) - count)
            velocity[stray] = 0.0
        return TrackUpdate(track_ids, keys, reported.astype(np.float32), kept, velocity.astype(np.float32))

    def _boxes(self, track_of_row: npt.NDArray[np.intp], given: BoolArray, boxes: Float64Array) -> Float64Array:
        """The box to report for each detection: its own, or nearer to the filter's the more the detector jitters."""
        if self.config.boxes == "detected":
            return boxes
        filters = self._filters
        share = (filters.jitter - _STEADY) / (_UNSTEADY - _STEADY)
        if self.config.boxes == "filtered":
            share = 1.0
        if share <= 0.0:
            return boxes
        filtered = np.where(given[:, None], filters.xyxy.take(track_of_row, axis=0), boxes)
        return boxes + min(share, 1.0) * (filtered - boxes)

    def _terminate(self, next_s: float) -> None:
        """End the tracks that may not be matched any more at ``next_s``."""
        lives, config = self._lives, self.config
        if next_s > self._pace.now_s:  # after an update: an image at the usual distance is expected
            if not np.count_nonzero(lives.misses):
                return
            limit_s = max(config.max_age_s, (config.max_age + 1.5) * self._pace.step_s) + _SAME_TIME_S
            living = (next_s - lives.last_s <= limit_s) & (
                (lives.id != UNCONFIRMED) | (lives.misses <= config.tentative_max_age)
            )
        else:
            limit_s = max(config.max_age_s, (config.max_age + 1.5) * self._pace.step_s) + _SAME_TIME_S
            living = next_s - lives.last_s <= limit_s
        if np.count_nonzero(living) < len(living):
            if config.rejoin_s:
                ended = (~living & (lives.id != UNCONFIRMED)).nonzero()[0]
                if len(ended):
                    self._lost = self._lost.plus(self._ends(ended))
            lives.keep(living)
            self._filters.keep(living)
            self._appearance.forget_all_but([*lives.key.tolist(), *self._lost.key.tolist()])


def _left_to_right(states: Float64Array) -> npt.NDArray[np.intp]:
    """Order of boxes u, v, ... by u, then by v."""
    return np.lexsort((states[:, 1], states[:, 0]))


def _sizes(uvsr: Float64Array) -> Float64Array:
    """Widths and heights (N, 2) of boxes u, v, s, r."""
    width = np.sqrt(uvsr[:, 2] * uvsr[:, 3])
    return np.stack([width, uvsr[:, 2] / width], axis=1)


def _state(public_id: int, misses: int) -> TrackState:
    if public_id == UNCONFIRMED:
        return TrackState.TENTATIVE
    return TrackState.LOST if misses else TrackState.CONFIRMED
