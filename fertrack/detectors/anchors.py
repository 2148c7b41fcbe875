"""Anchor decoding of the RetinaFace family (Deng et al. 2019, arXiv 1905.00641): two anchors a cell, three strides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fertrack.detectors.boxes import Candidates
from fertrack.types import FloatArray

__all__ = ["AnchorLevel", "decode_level"]

_LARGEST_LOG_SIZE = 8.0


@dataclass(frozen=True, slots=True)
class AnchorLevel:
    """The anchors of one feature map.

    Attributes:
        stride: network px per cell.
        sizes: sides of the square anchors of each cell, network px.
        centre: centre of the first cell's anchors, network px from the input's edge.
    """

    stride: int
    sizes: tuple[float, ...]
    centre: float


def decode_level(
    level: AnchorLevel,
    columns: int,
    *,
    kept: npt.NDArray[np.intp],
    score: FloatArray,
    box: FloatArray,
    landmarks: FloatArray,
    centre_variance: float,
    size_variance: float,
) -> Candidates:
    """Boxes and landmarks of the anchors ``kept``, px of the network's input.

    Args:
        level: the anchors' stride and sizes.
        columns: cells in a row of the feature map.
        kept: which anchors, int (K,); anchor i is number i mod A of cell i div A, cells row by row.
        score: their scores, float32 (K,).
        box: their box values, float32 (K, 4): centre x, y; log width, height.
        landmarks: their landmark values, float32 (K, 10): x, y of each of the five.
        centre_variance: factor of the centre and landmark values.
        size_variance: factor of the size values.
    """
    cell, anchor = np.divmod(kept, len(level.sizes))
    row, column = np.divmod(cell, columns)
    side = np.asarray(level.sizes, np.float32)[anchor][:, None]
    grid = np.stack([column, row], axis=1).astype(np.float32) * level.stride + np.float32(level.centre)
    centre = grid + centre_variance * box[:, :2] * side
    half = side * np.exp(np.minimum(size_variance * box[:, 2:], _LARGEST_LOG_SIZE)) / 2
    points = grid[:, None] + centre_variance * landmarks.reshape(-1, 5, 2) * side[:, :, None]
    return Candidates(np.concatenate([centre - half, centre + half], axis=1), score, points)
