"""Faces that no camera took: with another surround, cut out along an oval, or with another face's lower half.

Images of a set whose faces are cut out on black would teach a network that black means that set. Halves of two faces
put together show combinations that images at hand lack (lowered brows above tight lips); what they show is said by
teachers that see the same crops, as with mixed images (Beyer et al. 2022, arXiv 2106.05237).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fertrack.types import FloatArray, Image

__all__ = ["cut_out", "fill_surround", "join_halves", "surround_of"]

_BLACK = 14
_MIN_AREA_PX = 60
_NOSE = 0.58  # height of the template's nose, share of the crop


def surround_of(image: Image) -> npt.NDArray[np.uint8]:
    """The black around a face that was cut out: uint8 (H, W), 255 where it is, a little into the face.

    Args:
        image: uint8 (H, W) or (H, W, 3).
    """
    dark = (image if image.ndim == 2 else image.max(axis=2)) < _BLACK
    _, parts, stats, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8), connectivity=4)
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    wide = [part for part in edge.tolist() if part and stats[part, cv2.CC_STAT_AREA] > _MIN_AREA_PX]
    mask = np.isin(parts, wide).astype(np.uint8) * 255
    return np.asarray(cv2.dilate(mask, np.ones((5, 5), np.uint8)), np.uint8)


def fill_surround(crop: Image, image: Image, matrix: FloatArray, rng: np.random.Generator) -> Image:
    """The crop with noise where the image is black around the face, or ends.

    Args:
        crop: uint8 (S, S) or (S, S, 3).
        image: that it was cut from.
        matrix: float64 (2, 3), image px to crop px.
        rng: where chance comes from.
    """
    size = crop.shape[:2]
    mask = cv2.warpAffine(
        surround_of(image),
        np.asarray(matrix, np.float64),
        size[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=255,
    )
    return _blend(crop, _noise(size[0], rng), mask.astype(np.float32) / 255) if mask.any() else crop


def cut_out(crop: Image, rng: np.random.Generator) -> Image:
    """The crop with black or noise outside an oval about the face."""
    size = crop.shape[0]
    oval = np.zeros((size, size), np.uint8)
    centre = rng.uniform((0.42, 0.44), (0.58, 0.60)) * size
    axes = rng.uniform((0.34, 0.44), (0.54, 0.66)) * size
    cv2.ellipse(
        oval, centre.astype(int).tolist(), axes.astype(int).tolist(), float(rng.uniform(-15, 15)), 0, 360, 255, -1
    )
    other = _noise(size, rng) if rng.random() < 0.5 else np.zeros((size, size), np.float32)
    return _blend(crop, other, 1 - cv2.GaussianBlur(oval, (3, 3), 0).astype(np.float32) / 255)


def join_halves(upper: Image, lower: Image, jitter: FloatArray, rng: np.random.Generator) -> Image:
    """One face's upper half above another's lower half.

    Args:
        upper: aligned crop, uint8 (S, S) or (S, S, 3).
        lower: another, cut with the same jitter; its light is brought near the first one's.
        jitter: float64 (2, 3), what the crops were turned and moved by: the seam goes with it.
        rng: where chance comes from.
    """
    size = upper.shape[0]
    seam, softness = rng.uniform(_NOSE - 0.07, _NOSE + 0.08) * size, rng.uniform(0.05, 0.16) * size
    ramp = np.clip((np.arange(size, dtype=np.float32) - seam) / softness + 0.5, 0, 1)
    below = cv2.warpAffine(
        np.repeat(ramp[:, None], size, axis=1),
        np.asarray(jitter, np.float64),
        (size, size),
        borderMode=cv2.BORDER_REPLICATE,
    )
    one, other = upper.astype(np.float32), lower.astype(np.float32)
    level, spread = 0.7 * one.mean() + 0.3 * other.mean(), 0.5 * (one.std() + other.std())
    return _blend(upper, (other - other.mean()) / (other.std() + 1) * (spread + 1) + level, below)


def _noise(size: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Plain grey or clouds, with or without grain: float32 (S, S), 0 to 255."""
    level = rng.uniform(0, 255)
    if rng.random() < 0.25:
        cloud = np.full((size, size), level, np.float32)
    else:
        side = int(rng.integers(2, 9))
        coarse = level + rng.normal(0, rng.uniform(5, 60), (side, side))
        cloud = np.asarray(
            cv2.resize(coarse.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC), np.float32
        )
    if rng.random() < 0.6:
        cloud = cloud + rng.normal(0, rng.uniform(2, 25), (size, size)).astype(np.float32)
    return np.asarray(np.clip(cloud, 0, 255), np.float32)


def _blend(crop: Image, other: FloatArray, mask: npt.NDArray[np.floating[Any] | np.integer[Any]]) -> Image:
    if crop.ndim == 3:
        mask = mask[..., None]
        other = other if other.ndim == 3 else other[..., None]
    return np.asarray(np.clip(crop * (1 - mask) + other * mask, 0, 255), np.uint8)
