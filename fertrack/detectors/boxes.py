"""From a network's candidate boxes to ``Detections``: suppression of doubles, back to frame pixels, clipping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fertrack.detectors.config import DetectorOptions
from fertrack.detectors.letterbox import Letterbox
from fertrack.types import Detections, FloatArray

__all__ = ["Candidates", "finish", "non_maximum_suppression"]

MAX_CANDIDATES = 3000
"""Only so many best-scored candidates are looked at: bounds the time an image of noise can take."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Candidate boxes of a network before non-maximum suppression, px of its input, in any order.

    Attributes:
        xyxy: float32 (N, 4).
        score: float32 (N,), 0 to 1.
        landmarks: float32 (N, 5, 2); left eye, right eye, nose, left and right mouth corner as seen in the image.
    """

    xyxy: FloatArray
    score: FloatArray
    landmarks: FloatArray

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """The candidates of several feature maps as one."""
        return cls(
            np.concatenate([part.xyxy for part in parts]),
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.landmarks for part in parts]),
        )


def non_maximum_suppression(xyxy: FloatArray, score: FloatArray, iou_threshold: float) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the boxes kept, best score first.

    A box is dropped if its intersection over union with a kept, better one is above ``iou_threshold``. Of two equal
    scores the lower index wins, so the result does not depend on the sort's whims.

    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float32)
    >>> non_maximum_suppression(boxes, np.array([0.8, 0.9, 0.7], np.float32), 0.5).tolist()
    [1, 2]
    """
    order = np.argsort(-score, kind="stable")
    boxes = xyxy[order]
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    alive = np.ones(len(boxes), bool)
    kept = []
    for row in range(len(boxes)):
        if not alive[row]:
            continue
        kept.append(row)
        rest = row + 1 + np.flatnonzero(alive[row + 1 :])
        overlap = np.minimum(boxes[row, 2:], boxes[rest, 2:]) - np.maximum(boxes[row, :2], boxes[rest, :2])
        intersection = np.prod(np.maximum(overlap, 0), axis=1)
        union = areas[row] + areas[rest] - intersection
        alive[rest[intersection > iou_threshold * union]] = False
    return order[kept]


def finish(candidates: Candidates, box: Letterbox, options: DetectorOptions) -> Detections:
    """Detections in px of the frame: finite, without doubles, large enough, clipped, best score first.

    Landmarks are not clipped: an eye outside the frame still says where the face is.
    """
    finite = np.isfinite(candidates.xyxy).all(1) & np.isfinite(candidates.landmarks).all((1, 2))
    rows = np.flatnonzero(finite & (candidates.score >= options.score_threshold))
    rows = rows[np.argsort(-candidates.score[rows], kind="stable")][:MAX_CANDIDATES]
    rows = rows[non_maximum_suppression(candidates.xyxy[rows], candidates.score[rows], options.nms_iou)]
    scale = np.array([box.scale_x, box.scale_y], np.float32)
    xyxy = candidates.xyxy[rows] / np.tile(scale, 2)
    large_enough = (xyxy[:, 2:] - xyxy[:, :2]).min(axis=1, initial=np.inf) >= options.min_face_px
    xyxy = np.clip(xyxy, 0, np.array([box.width, box.height] * 2, np.float32))
    keep = large_enough & (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
    return Detections(
        xyxy[keep].astype(np.float32, copy=False),
        np.clip(candidates.score[rows][keep], 0, 1).astype(np.float32, copy=False),
        (candidates.landmarks[rows][keep] / scale).astype(np.float32, copy=False),
    )
