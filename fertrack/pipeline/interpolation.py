"""Faces of the frames between two that were detected in, where nothing happened between them that could hide.

Offline, both sides of such a frame are known. Faces of the two detected frames are paired by overlap; boxes, landmarks
and scores of the frames between lie on the straight line from one to the other. The classifier still looks at each
frame's own pixels. Stateless: what is said of a frame depends on those two frames and itself only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fertrack.imaging.geometry import iou_matrix
from fertrack.pipeline.shots import difference
from fertrack.types import Detections, FloatArray

__all__ = ["MAX_SPAN_S", "interpolate", "is_steady"]

MAX_SPAN_S = 0.21
"""Longest time between two detected frames: people turn their heads, and leave, in longer ones."""

_SURE = 0.35
"""A face of this score in one of the two frames must be in the other: else it came or went between them."""
_MIN_IOU = 0.6
"""Less overlap is fast motion."""
_MAX_TURN = 0.12
"""Landmarks may move by this share of the face's width on average, apart from the motion of the box."""
_MAX_CHANGE = 0.25
"""Difference of two images that follow one another, as ``shots.difference`` has it; a cut begins at 0.4."""


def is_steady(signatures: Sequence[FloatArray]) -> bool:
    """Whether images that follow one another are so alike that no cut can be among them.

    Args:
        signatures: one each, as ``shots.signature`` gives it.
    """
    return all(difference(before, after).total <= _MAX_CHANGE for before, after in pairwise(signatures))


def interpolate(before: Detections, after: Detections, shares: Sequence[float]) -> list[Detections] | None:
    """Faces at moments between two detected frames; None where they have to be detected.

    Args:
        before: faces of the earlier frame.
        after: faces of the later one.
        shares: each moment's share of the time between the two, 0 to 1.
    """
    pairs = _pairs(before, after)
    if pairs is None:
        return None
    start, end = before.select(pairs[:, 0]), after.select(pairs[:, 1])
    if not _moves_little(start, end):
        return None
    between = []
    for share in shares:
        later = np.float32(share)
        xyxy, score, landmarks = (
            getattr(start, column) * (1 - later) + getattr(end, column) * later
            for column in ("xyxy", "score", "landmarks")
        )
        best_first = np.argsort(-score, kind="stable")
        between.append(Detections(xyxy[best_first], score[best_first], landmarks[best_first]))
    return between


def _pairs(before: Detections, after: Detections) -> np.ndarray[tuple[int, int], np.dtype[np.intp]] | None:
    """Rows of the same face in both, int (K, 2); None if a face of one is sure and is not in the other."""
    if not len(before) or not len(after):
        nobody = not (before.score >= _SURE).any() and not (after.score >= _SURE).any()
        return np.empty((0, 2), np.intp) if nobody else None
    overlap = iou_matrix(before.xyxy, after.xyxy)
    forth, back = overlap.argmax(axis=1), overlap.argmax(axis=0)
    rows = np.arange(len(before))
    mutual = (back[forth] == rows) & (overlap[rows, forth] >= _MIN_IOU)
    taken = np.zeros(len(after), bool)
    taken[forth[mutual]] = True
    if (before.score[~mutual] >= _SURE).any() or (after.score[~taken] >= _SURE).any():
        return None
    return np.stack([rows[mutual], forth[mutual]], axis=1)


def _moves_little(start: Detections, end: Detections) -> bool:
    """Whether all faces keep their pose: landmarks stay where they are in their boxes."""
    if not len(start):
        return True
    places = []
    for faces in (start, end):
        corner, size = faces.xyxy[:, None, :2], faces.xyxy[:, None, 2:] - faces.xyxy[:, None, :2]
        places.append((faces.landmarks - corner) / np.maximum(size, 1e-6))
    turn = np.linalg.norm(places[0] - places[1], axis=2).mean(axis=1)
    return bool((turn <= _MAX_TURN).all())
