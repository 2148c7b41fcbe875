"""Finds places for labels: inside the frame, beside their box, not over each other where that can be avoided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fertrack.types import Float64Array

__all__ = ["LabelLayout", "Rect"]

Rect = tuple[int, int, int, int]
"""Left, top, right, bottom, px; right and bottom exclusive."""

# What a place costs: covering a panel or another label, another face, its own face (each as a share of the label's
# area), and being far from its usual place (in label heights).
_OVER_LABEL, _OVER_FACE, _OVER_OWN_FACE, _AWAY = 100.0, 12.0, 6.0, 0.5
_MAX_OVER_PANELS = 0.1  # share of a label that a panel may hide
_MAX_HIDDEN = 0.5  # share of a box that panels may hide before its label goes too


class LabelLayout:
    """Places labels one after the other; what has been placed is not covered by what follows, if there is room.

    Args:
        width: of the frame, px.
        height: of the frame, px.
        panels: parts of the frame that will be covered by something else.
    """

    def __init__(self, width: int, height: int, panels: Sequence[Rect] = ()) -> None:
        self._room = (width, height)
        self._panels = np.array(panels, dtype=np.float64).reshape(-1, 4)
        self._taken = self._panels

    def place(self, size: tuple[int, int], boxes: Float64Array, row: int) -> Rect | None:
        """Choose and take the best place for a label.

        Args:
            size: width and height of the label, px.
            boxes: float64 (N, 4), xyxy, all boxes, px.
            row: the box that the label belongs to.

        Returns:
            Where to draw it, inside the frame unless the label is larger than the frame; None if panels hide the box
            or leave the label no room.
        """
        width, height = size
        box = boxes[row : row + 1]
        if _covered(box, self._panels)[0] > _MAX_HIDDEN * _area(box[0]):
            return None
        places = self._candidates(width, height, box[0].tolist())
        over_own = _covered(places, box)
        cost = _OVER_LABEL * _covered(places, self._taken)
        cost += _OVER_FACE * (_covered(places, boxes) - over_own) + _OVER_OWN_FACE * over_own
        cost /= width * height
        cost += _AWAY * np.abs(places[:, :2] - places[0, :2]).sum(axis=1) / height
        best = int(np.argmin(cost))
        chosen = places[best : best + 1]
        if _covered(chosen, self._panels)[0] > _MAX_OVER_PANELS * width * height:
            return None
        self._taken = np.concatenate([self._taken, chosen])
        left, top, right, bottom = chosen[0].astype(int).tolist()
        return left, top, right, bottom

    def _candidates(self, width: int, height: int, box: list[float]) -> Float64Array:
        """Possible places, float64 (C, 4): the usual one (above the box) first, all pushed into the frame."""
        left, top, right, bottom = box
        corners = [(left, top - height), (right - width, top - height), (left, bottom), (right - width, bottom)]
        corners += [(left, top), (left, bottom - height), (right, top), (left - width, top)]
        for step in range(1, 5):
            corners += [(left, top - (step + 1) * height), (left, bottom + step * height)]
            corners += [(right, top + step * height), (left - width, top + step * height)]
        places = np.empty((len(corners), 4))
        places[:, :2] = corners
        places[:, 0] = places[:, 0].clip(0, max(0, self._room[0] - width))
        places[:, 1] = places[:, 1].clip(0, max(0, self._room[1] - height))
        places[:, 2:] = places[:, :2] + (width, height)
        return places


def _area(box: Float64Array) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _covered(places: Float64Array, rects: Float64Array) -> Float64Array:
    """Area of each place (C, 4) that the rectangles (M, 4) cover, summed over them: float64 (C,), px²."""
    size = np.minimum(places[:, None, 2:], rects[:, 2:]) - np.maximum(places[:, None, :2], rects[:, :2])
    np.maximum(size, 0.0, out=size)
    covered: Float64Array = (size[:, :, 0] * size[:, :, 1]).sum(axis=1)
    return covered
