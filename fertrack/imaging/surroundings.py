"""A few hundred numbers for how a face and what is right around it look: to notice when they abruptly change."""

from __future__ import annotations

import cv2
import numpy as np

from fertrack.types import Float64Array, FloatArray, Image

__all__ = ["CELLS", "SURROUNDINGS_LENGTH", "difference", "surroundings"]

CELLS = 12
"""Cells of a thumbnail, across and down."""
SURROUNDINGS_LENGTH = 3 * CELLS * CELLS
_MARGIN = 0.5
"""By how much of its width and height a box is grown on each side: hair, shoulders, and the wall behind."""
_MIN_PX = 8
_FLAT = 4.0 / 255
"""Standard deviation of luma under which a thumbnail says nothing."""
_COLOUR_WEIGHT = 5.0


def surroundings(image: Image, xyxy: FloatArray) -> FloatArray:
    """Thumbnails of faces with what is around them. Stateless; about 0.05 ms a face.

    Args:
        image: uint8 (H, W, 3), BGR.
        xyxy: float32 (N, 4), boxes, px.

    Returns:
        float32 (N, SURROUNDINGS_LENGTH): luma of the cells row by row, then Cr, then Cb, all 0 to 1; a row of NaN where
        hardly anything of the box lies in the image.
    """
    height, width = image.shape[:2]
    looks = np.full((len(xyxy), SURROUNDINGS_LENGTH), np.nan, np.float32)
    with np.errstate(all="ignore"):
        margin = _MARGIN * (xyxy[:, 2:] - xyxy[:, :2])
        corners = np.concatenate([xyxy[:, :2] - margin, xyxy[:, 2:] + margin], axis=1)
        corners = np.clip(np.nan_to_num(corners), 0, [width, height, width, height]).astype(np.int64)
    for row, (left, top, right, bottom) in enumerate(corners.tolist()):
        if right - left < _MIN_PX or bottom - top < _MIN_PX:
            continue
        part = cv2.resize(image[top:bottom, left:right], (4 * CELLS, 4 * CELLS), interpolation=cv2.INTER_LINEAR)
        cells = cv2.cvtColor(cv2.resize(part, (CELLS, CELLS), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2YCrCb)
        looks[row] = cells.transpose(2, 0, 1).ravel() / np.float32(255)
    return looks


def difference(look: FloatArray, others: FloatArray) -> Float64Array:
    """Difference of thumbnails: 1 - correlation of luma, plus the mean difference of colour, weighted.

    Args:
        look: float32 (K,): luma of some cells, then Cr, then Cb.
        others: float32 (N, K).

    Returns:
        float64 (N,), 0 to about 2; 0 where one of the two is flat or not there.
    """
    luma = len(look) // 3
    a, b = look[:luma] - look[:luma].mean(), others[:, :luma] - others[:, :luma].mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).mean() * (b * b).mean(axis=1))
    says = (np.sqrt((a * a).mean()) > _FLAT) & (np.sqrt((b * b).mean(axis=1)) > _FLAT)
    with np.errstate(all="ignore"):
        structure = 1.0 - (b * a).mean(axis=1) / scale
    colour = np.abs(others[:, luma:] - look[luma:]).mean(axis=1)
    return np.where(says, structure + _COLOUR_WEIGHT * colour, 0.0).astype(np.float64)
