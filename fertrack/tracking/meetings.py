"""Notices that a face has covered another and goes on in its box, wherever that goes.

While two faces meet, boxes alone cannot tell who is who: the one in front may go on in the other's track. So each track
knows how its own face looked before a meeting, and how those looked that it met. Once a face stands alone again that is
unlike the track's own, and much more like another one that it met, it is that other one. The judgement is relative, so
that light, turning and small faces, which make all of them unlike, decide nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from fertrack.imaging.surroundings import CELLS, difference
from fertrack.types import BoolArray, Float64Array, FloatArray

__all__ = ["Meetings"]

_ANOTHER, _MORE_LIKE = 0.25, 0.5
"""After a meeting, a face is another one if it differs by this from the track's own, and from the other's by at most
this share of it."""
_LEARNING = 0.2
"""Weight of the newest face in how a track's own looks."""
_SETTLED = 3
"""Faces like the track's own after which a meeting is over."""
_MAX_MET = 8
_NEAR = 0.1
"""Faces meet where their boxes, grown by so much of their size, do."""
_REACH, _REACH_PER_S = 3.0, 6.0
"""Search radius after a meeting, from where the face was: in widths of its own, and more each second."""


@dataclass(slots=True, eq=False)
class _Known:
    """A track's face when it stood alone, and those that it met since."""

    first: FloatArray
    own: FloatArray
    centre: Float64Array
    width: float
    last_s: float
    met: dict[int, FloatArray] = field(default_factory=dict)
    alike: int = 0

    def are_others(self, faces: FloatArray) -> BoolArray:
        """Mask of the N faces that are rather those that it met: (N,)."""
        if not self.met or not len(faces):
            return np.zeros(len(faces), np.bool_)
        own = difference(self.own, faces)
        others = np.min([difference(each, faces) for each in self.met.values()], axis=0)
        return np.asarray((own > _ANOTHER) & (others < _MORE_LIKE * own), np.bool_)

    def meet(self, key: int, face: FloatArray) -> None:
        """Take note of another track's face beside this one."""
        self.met[key], self.alike = face, 0
        if len(self.met) > _MAX_MET:
            del self.met[next(iter(self.met))]

    def alone(self, face: FloatArray) -> None:
        """Take note of the face standing alone; a meeting is over when it was like itself for a while."""
        if not self.met:
            self.own = self.own + np.float32(_LEARNING) * (face - self.own)
            return
        (own,) = difference(self.own, face[None])
        others = [float(difference(each, face[None])[0]) for each in self.met.values()]
        self.alike = self.alike + 1 if own < min(others) else 0
        if self.alike >= _SETTLED:
            self.met, self.alike = {}, 0


class Meetings:
    """Remembers how each track's face looked, and whom it met."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def bar(self, barred: BoolArray, keys: Sequence[int], boxes: Float64Array, looks: FloatArray, now_s: float) -> None:
        """Mark which tracks cannot be continued by which detections, as these are somebody whom they met.

        Args:
            barred: bool (T, N), changed in place.
            keys: T tracks.
            boxes: float64 (N, 4), detections, px.
            looks: float32 (N, K), as ``surroundings`` gives them.
            now_s: time of the detections.
        """
        waiting = [(row, known) for row, known in enumerate(map(self._known.get, keys)) if known and known.met]
        if not waiting:
            return
        judged = np.flatnonzero(~_touching(boxes).any(axis=1) & ~np.isnan(looks[:, 0]))
        centre, faces = (boxes[judged, :2] + boxes[judged, 2:]) / 2, _faces(looks[judged])
        for row, known in waiting:
            reach = known.width * (_REACH + _REACH_PER_S * (now_s - known.last_s))
            near = np.flatnonzero(np.abs(centre - known.centre).max(axis=1) < reach)
            barred[row, judged[near]] |= known.are_others(faces[near])

    def part(self, lost: int, begun: int) -> bool:
        """Whether a new track cannot continue a lost one, as it is somebody whom that one met."""
        earlier, later = self._known.get(lost), self._known.get(begun)
        return earlier is not None and later is not None and bool(earlier.are_others(later.first[None])[0])

    def remember(self, keys: Sequence[int], boxes: Float64Array, looks: FloatArray, now_s: float) -> None:
        """Take note of the detections that tracks were given, one key each; -1 = none."""
        touching = _touching(boxes)
        for row, column in zip(*(each.tolist() for each in touching.nonzero()), strict=True):
            mine, theirs = self._known.get(keys[row]), self._known.get(keys[column])
            if mine is not None and theirs is not None:
                mine.meet(keys[column], theirs.own)
        alone = np.flatnonzero(~touching.any(axis=1) & ~np.isnan(looks[:, 0]))
        centre, width = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2] - boxes[:, 0]
        for row, face in zip(alone.tolist(), _faces(looks[alone]), strict=True):
            key = keys[row]
            if key < 0:
                continue
            known = self._known.get(key)
            if known is None:
                self._known[key] = _Known(face, face, centre[row], float(width[row]), now_s)
                continue
            known.alone(face)
            known.centre, known.width, known.last_s = centre[row], float(width[row]), now_s

    def forget_all_but(self, keys: Collection[int]) -> None:
        """Forget the tracks that are not asked about any more."""
        self._known = {key: known for key, known in self._known.items() if key in keys}


def _faces(looks: FloatArray) -> FloatArray:
    """The cells of the boxes themselves, without what is around them: (N, K / 4)."""
    edge = CELLS // 4
    inside = looks.reshape(-1, 3, CELLS, CELLS)[:, :, edge:-edge, edge:-edge]
    return np.asarray(inside.reshape(len(looks), 3 * (CELLS - 2 * edge) ** 2), np.float32)


def _touching(boxes: Float64Array) -> BoolArray:
    """Mask of the pairs of boxes that, grown, meet: (N, N)."""
    margin = _NEAR * (boxes[:, 2:] - boxes[:, :2])
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    begins = np.all(low[:, None] < high[None], axis=2)
    return np.asarray(begins & begins.T & ~np.eye(len(boxes), dtype=np.bool_), np.bool_)
