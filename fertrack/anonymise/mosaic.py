"""Mosaic over faces, irreversible: what is left is the mean colour of a few large cells.

Each box is enlarged, and an ellipse around it is replaced by a mosaic of at most six cells across, with soft passages
so that it does not distract. It is made of the cells' means alone: whatever is finer than a cell is gone, not hidden.
About four cells cover a face, far below what recognition by people or programs needs, over many frames too.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from fertrack.types import Image

__all__ = ["CELLS", "ENLARGED", "black_out", "pixelate"]

CELLS = 6
"""Cells along the longer side of an enlarged box."""

ENLARGED = 1.6
"""Side of the enlarged box, in sides of the box. From 1.42 on its ellipse covers the box with its corners."""

_Boxes = npt.NDArray[np.floating]


def pixelate(image: Image, xyxy: _Boxes, *, enlarged: float = ENLARGED) -> None:
    """Make faces unrecognisable, in place.

    Args:
        image: uint8 (H, W, 3), BGR, writable.
        xyxy: (N, 4), px; boxes of faces. Those that are not finite or outside the image are passed over.
        enlarged: by how much each box is enlarged; at least 1.42, or its corners stay as they are.

    >>> picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    >>> pixelate(picture, np.array([[30, 30, 70, 70]], np.float32))
    >>> len(np.unique(picture[50, 40:60, 0])) < 20  # neighbouring px were all different
    True
    """
    original = image.copy() if len(xyxy) > 1 else image  # where boxes overlap, no cell is made of other cells
    for left, top, right, bottom in _regions(xyxy, image.shape[1], image.shape[0], enlarged):
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, image.shape[1]), min(bottom, image.shape[0])
        patch = original[y1:y2, x1:x2]
        height, width = patch.shape[:2]
        cell_px = max((right - left) / CELLS, (bottom - top) / CELLS, 1.0)
        cells = (max(1, int(width / cell_px)), max(1, int(height / cell_px)))
        means = cv2.resize(patch, cells, interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(means, (width, height), interpolation=cv2.INTER_LINEAR)
        inside = np.zeros((height, width), np.uint8)
        middle = (round((left + right) / 2) - x1, round((top + bottom) / 2) - y1)
        axes = ((right - left + 1) // 2, (bottom - top + 1) // 2)
        cv2.ellipse(inside, middle, axes, 0, 0, 360, 255, thickness=-1)
        cv2.copyTo(cast(Image, smooth), inside, image[y1:y2, x1:x2])


def black_out(image: Image, xyxy: _Boxes) -> None:
    """Replace rectangles, such as labels, by their mean colour, in place.

    Args:
        image: uint8 (H, W, 3), BGR, writable.
        xyxy: (N, 4), px.
    """
    for left, top, right, bottom in _regions(xyxy, image.shape[1], image.shape[0], 1.0):
        part = image[max(top, 0) : bottom, max(left, 0) : right]
        part[:] = part.reshape(-1, 3).mean(axis=0).astype(np.uint8)


def _regions(xyxy: _Boxes, width: int, height: int, enlarged: float) -> list[tuple[int, int, int, int]]:
    """Enlarged boxes that touch the image, px, rounded outwards; they may reach beyond it."""
    boxes = np.asarray(xyxy, np.float64).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, np.abs(boxes[:, 2:] - boxes[:, :2]) / 2 * enlarged
    # Coordinates far outside would not fit into OpenCV's integers.
    limit = 4.0 * max(width, height)
    low = np.floor(np.clip(centre - half, -limit, limit)).astype(int)
    high = np.ceil(np.clip(centre + half, -limit, limit)).astype(int)
    touching = (high > 0).all(axis=1) & (low[:, 0] < width) & (low[:, 1] < height) & (high > low).all(axis=1)
    return [(*low[i].tolist(), *high[i].tolist()) for i in np.flatnonzero(touching)]
