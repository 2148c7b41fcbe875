"""Notices that a track's face abruptly becomes another face: tiles of a video call that change places, a cut not found.

Nothing of it shows in the boxes: the new face is where the old one was. So the thumbnails of a face and its
surroundings (``fertrack.imaging.surroundings``) are compared from image to image. In real clips two that follow one
another differ by 0.01 to 0.1 (structure and colour together), in fast motion by up to 0.7; those of different people
by at least 0.33. What is abrupt is therefore judged by what is usual for the track: people who walk through a crowd
change all the time, people at a desk do not. A face that overlaps another, or nearly, is not judged, as the other one
is in its picture; nor is one that was not seen for a moment and is now elsewhere: see ``fertrack.tracking.meetings``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from fertrack.imaging.surroundings import difference
from fertrack.tracking.meetings import Meetings
from fertrack.types import BoolArray, Float64Array, FloatArray

__all__ = ["Appearance"]

_ABRUPT = 0.3
_ABRUPT_TIMES_USUAL = 8.0
_LEARNING = 0.2
"""Weight of the newest difference in what is usual."""
_SOON_S = 0.25
"""A face seen so short a time ago looks as it did, wherever it is now."""
_SAME_PLACE = 0.5
"""A face that has moved by less than this share of its width has the same surroundings."""
_NEAR = 0.5
"""Faces whose boxes, grown by so much of their size, meet another box are not judged."""


@dataclass(slots=True, eq=False)
class _Memory:
    first: FloatArray
    last: FloatArray
    usual: float
    last_s: float
    centre: Float64Array
    first_centre: Float64Array
    width: float


class Appearance:
    """Remembers how each track looked."""

    def __init__(self) -> None:
        self._memory: dict[int, _Memory] = {}
        self._meetings = Meetings()

    def barred(self, keys: Sequence[int], boxes: Float64Array, looks: FloatArray, now_s: float) -> BoolArray | None:
        """Which tracks cannot be continued by which detections, as they look abruptly different.

        Args:
            keys: T tracks.
            boxes: float64 (N, 4), detections, px.
            looks: float32 (N, K), as ``surroundings`` gives them.
            now_s: time of the detections.

        Returns:
            bool (T, N); None if any may be continued by any.
        """
        if not len(boxes):
            return None
        barred = np.zeros((len(keys), len(boxes)), np.bool_)
        self._meetings.bar(barred, keys, boxes, looks, now_s)
        judged = np.flatnonzero(~_beside_others(boxes) & ~np.isnan(looks[:, 0]))
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        for row, key in enumerate(keys if len(judged) else ()):
            memory = self._memory.get(key)
            if memory is None:
                continue
            moved = np.abs(centre[judged] - memory.centre).max(axis=1) / memory.width
            close = judged[(moved < _SAME_PLACE) | (now_s - memory.last_s <= _SOON_S)]
            close = close[np.abs(centre[close] - memory.centre).max(axis=1) < 3 * memory.width]
            if len(close):
                barred[row, close] |= difference(memory.last, looks[close]) > _limit(memory.usual)
        return barred if barred.any() else None

    def part(self, lost: Sequence[int], begun: Sequence[int]) -> BoolArray:
        """Which lost tracks (L) cannot be continued by which new ones (B), as their place looks different: (L, B)."""
        apart = np.array([[self._meetings.part(one, other) for other in begun] for one in lost], np.bool_)
        apart = apart.reshape(len(lost), len(begun))
        for row, earlier in enumerate(map(self._memory.get, lost)):
            for column, later in enumerate(map(self._memory.get, begun)):
                if earlier is None or later is None:
                    continue
                moved = np.abs(later.first_centre - earlier.centre).max() / earlier.width
                if moved < _SAME_PLACE:
                    (unlike,) = difference(earlier.last, later.first[None])
                    apart[row, column] |= unlike > _limit(earlier.usual)
        return apart

    def remember(self, keys: Sequence[int], boxes: Float64Array, looks: FloatArray, now_s: float) -> None:
        """Take note of the detections that tracks were given, one key each; -1 = none."""
        if not len(boxes):
            return
        self._meetings.remember(keys, boxes, looks, now_s)
        clean = ~_beside_others(boxes) & ~np.isnan(looks[:, 0])
        centre, width = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2] - boxes[:, 0]
        for row in np.flatnonzero(clean & (width > 0)).tolist():
            key, look = keys[row], looks[row]
            if key < 0:
                continue
            memory = self._memory.get(key)
            if memory is None:
                at = centre[row].copy()
                self._memory[key] = _Memory(look, look, 0.0, now_s, at, at, float(width[row]))
                continue
            if now_s - memory.last_s <= _SOON_S:
                (unlike,) = difference(memory.last, look[None])
                memory.usual += _LEARNING * (float(unlike) - memory.usual)
            memory.last, memory.last_s, memory.centre = look, now_s, centre[row].copy()
            memory.width = float(width[row])

    def forget_all_but(self, keys: Collection[int]) -> None:
        """Forget the tracks that are not asked about any more."""
        kept = set(keys)
        self._memory = {key: memory for key, memory in self._memory.items() if key in kept}
        self._meetings.forget_all_but(kept)


def _limit(usual: float) -> float:
    return max(_ABRUPT, _ABRUPT_TIMES_USUAL * usual)


def _beside_others(boxes: Float64Array) -> BoolArray:
    """Mask of the boxes that, grown, meet another one: (N,)."""
    margin = _NEAR * (boxes[:, 2:] - boxes[:, :2])
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    begins = np.all(low[:, None] < boxes[None, :, 2:], axis=2)
    ends = np.all(boxes[None, :, :2] < high[:, None], axis=2)
    others = ~np.eye(len(boxes), dtype=np.bool_)
    return np.asarray((begins & ends & others).any(axis=1), np.bool_)
