"""Boxes, similarity transforms and face measures: pure functions on arrays, vectorised over faces.

Boxes are ``xyxy`` (left, top, right, bottom) in px, with right and bottom exclusive, so a width is ``x2 - x1``.
Landmarks are the five points of ``fertrack.types.Detections``: left eye, right eye, nose, left and right mouth corner
as seen in the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.types import BoolArray, Float64Array

__all__ = [
    "corners_of",
    "eye_distance_px",
    "eye_line_angle_deg",
    "eye_mouth_distance_px",
    "iou_matrix",
    "iou_of_proper",
    "is_proper_box",
    "measure_boxes",
    "similarity_transform",
    "transform_points",
    "uvsr_to_xyxy",
    "xyxy_to_uvsr",
]

_LEFT_EYE, _RIGHT_EYE, _NOSE, _LEFT_MOUTH, _RIGHT_MOUTH = range(5)
_ZERO, _HALF, _INFINITY = np.array(0.0), np.array(0.5), np.array(np.inf)  # made of floats each time, they cost more
_IOU_BLOCK_CELLS = 1 << 15  # keeps the temporaries in the processor's cache when thousands of boxes meet thousands


def is_proper_box(xyxy: npt.NDArray[Any]) -> BoolArray:
    """Mask of the boxes that are finite and have an area.

    Args:
        xyxy: (N, 4), px.

    Returns:
        bool (N,); False for a box with NaN, an infinity, or a width or height that is not above zero.
    """
    return _proper_and_areas(_float64(xyxy, "xyxy", (4,)))[0]


def iou_matrix(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Float64Array:
    """Intersection over union of every box of ``a`` with every box of ``b``.

    Args:
        a: (N, 4) xyxy, px.
        b: (M, 4) xyxy, px.

    Returns:
        float64 (N, M), 0 to 1. A box that is not finite or has no area overlaps nothing: its row or column is 0.

    Raises:
        ValueError: not (N, 4) and (M, 4).

    Example:
        >>> import numpy as np
        >>> iou_matrix(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]])).round(3)
        array([[0.333, 0.   ]])
    """
    with np.errstate(over="ignore"):  # two boxes near the largest float: their union is infinite, their IoU 0
        return _iou(*_boxes_and_areas(a, "a"), *_boxes_and_areas(b, "b"))


def iou_of_proper(a: Float64Array, b: Float64Array) -> Float64Array:
    """As ``iou_matrix``, faster, for boxes known to be finite; those of ``b`` must have an area.

    NumPy may warn of an overflow, which does no harm.
    """
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    return _iou(a, size_a[:, 0] * size_a[:, 1], b, size_b[:, 0] * size_b[:, 1])


def _iou(boxes_a: Float64Array, area_a: Float64Array, boxes_b: Float64Array, area_b: Float64Array) -> Float64Array:
    n, m = len(boxes_a), len(boxes_b)
    if n * m <= _IOU_BLOCK_CELLS:
        return _iou_block(boxes_a, area_a, boxes_b, area_b)
    result = np.empty((n, m))
    rows = max(1, _IOU_BLOCK_CELLS // m)
    for start in range(0, n, rows):
        block = slice(start, start + rows)
        result[block] = _iou_block(boxes_a[block], area_a[block], boxes_b, area_b)
    return result


def _proper_and_areas(boxes: Float64Array) -> tuple[BoolArray, Float64Array]:
    with np.errstate(all="ignore"):
        size = boxes[:, 2:] - boxes[:, :2]
        width = size[:, 0]
        area: Float64Array = width * size[:, 1]
    return _is_proper(width, area), area


def _is_proper(width: Float64Array, area: Float64Array) -> BoolArray:
    # NaN fails every comparison, an infinite corner makes the area infinite; two negative sides fail the first.
    proper: BoolArray = width > _ZERO
    proper &= area > _ZERO
    proper &= area < _INFINITY
    return proper


def _boxes_and_areas(xyxy: npt.NDArray[Any], name: str) -> tuple[Float64Array, Float64Array]:
    """Boxes as float64 with the improper ones replaced by an empty box of pretended area 1 (so no division by zero)."""
    boxes = _float64(xyxy, name, (4,))
    proper, area = _proper_and_areas(boxes)
    if not proper.all():
        boxes = np.where(proper[:, None], boxes, 0.0)
        area = np.where(proper, area, 1.0)
    return boxes, area


def _iou_block(a: Float64Array, area_a: Float64Array, b: Float64Array, area_b: Float64Array) -> Float64Array:
    low_a, high_a = a.T[:2, :, None], a.T[2:, :, None]  # (2, N, 1): x and y at once
    low_b, high_b = b.T[:2, None, :], b.T[2:, None, :]
    size = np.minimum(high_a, high_b)
    size -= np.maximum(low_a, low_b)
    np.maximum(size, _ZERO, out=size)
    intersection: Float64Array = size[0] * size[1]
    union = area_a[:, None] + area_b
    union -= intersection
    intersection /= union
    return intersection


def xyxy_to_uvsr(xyxy: npt.NDArray[Any]) -> Float64Array:
    """Boxes as SORT measures them: centre, area, aspect ratio (arXiv 1602.00763, section 3.2).

    Args:
        xyxy: (N, 4), px, proper boxes (see ``is_proper_box``); others give NaN or infinities, without a warning.

    Returns:
        float64 (N, 4): centre u, v in px, area s in px², aspect ratio r = width / height.
    """
    with np.errstate(all="ignore"):
        return measure_boxes(_float64(xyxy, "xyxy", (4,)))[0]


def measure_boxes(boxes: Float64Array) -> tuple[Float64Array, BoolArray]:
    """``xyxy_to_uvsr`` and ``is_proper_box`` at once, of float64 (N, 4); NumPy may warn of improper boxes."""
    uvsr = np.empty_like(boxes)
    low, centre, area = boxes[:, :2], uvsr[:, :2], uvsr[:, 2]
    size = boxes[:, 2:] - low
    width, height = size[:, 0], size[:, 1]
    np.multiply(size, _HALF, out=centre)
    centre += low
    np.multiply(width, height, out=area)
    np.divide(width, height, out=uvsr[:, 3])
    return uvsr, _is_proper(width, area)


def uvsr_to_xyxy(uvsr: npt.NDArray[Any]) -> Float64Array:
    """Inverse of ``xyxy_to_uvsr``.

    Args:
        uvsr: (N, 4): centre, px; area, px²; width / height.

    Returns:
        float64 (N, 4), px. Where area or ratio is not above zero the box has no extent and lies at its centre.
    """
    with np.errstate(all="ignore"):
        return corners_of(_float64(uvsr, "uvsr", (4,)))


def corners_of(states: Float64Array) -> Float64Array:
    """As ``uvsr_to_xyxy``, faster, of float64 (N, 4); NumPy may warn of boxes without extent."""
    area, ratio = states[:, 2], states[:, 3]
    half = np.empty((len(states), 2))
    width = half[:, 0]
    np.multiply(area, ratio, out=width)
    np.sqrt(width, out=width)
    np.divide(area, width, out=half[:, 1])
    half *= _HALF
    if np.count_nonzero(half > _ZERO) < half.size:  # NaN included
        half[~((area > 0.0) & (ratio > 0.0))] = 0.0
    boxes = np.empty_like(states)
    centre = states[:, :2]
    np.subtract(centre, half, out=boxes[:, :2])
    np.add(centre, half, out=boxes[:, 2:])
    return boxes


def similarity_transform(src: npt.NDArray[Any], dst: npt.NDArray[Any]) -> Float64Array:
    """Least-squares similarity (rotation, uniform scale, shift; no reflection) from points to a template.

    Solves Umeyama, "Least-Squares Estimation of Transformation Parameters Between Two Point Patterns", IEEE PAMI 13(4),
    1991, problem (1), for each of N point sets at once. In the plane the solution R = U S Vᵀ (eq. 40), c = tr(DS) / σx²
    (eq. 42), t = μy - c R μx (eq. 41), with S of eq. 43 barring reflections, has a closed form that needs no singular
    value decomposition: with centred points (x, y) and (x', y'), the matrix c R is [[a, -b], [b, a]] where
    a = Σ(x x' + y y') / Σ(x² + y²) and b = Σ(x y' - y x') / Σ(x² + y²).

    Args:
        src: (N, K, 2), px.
        dst: (K, 2), px, the template.

    Returns:
        float64 (N, 2, 3), matrices M with ``dst ≈ M[:, :2] @ point + M[:, 2]``. All NaN for a point set that defines no
        transform: with NaN or infinities, with all points in one place, or so scattered that the best scale is 0.

    Raises:
        ValueError: the shapes do not fit together.
    """
    points = np.asarray(src, dtype=np.float64)
    template = np.asarray(dst, dtype=np.float64)
    if template.ndim != 2 or template.shape[1] != 2 or len(template) < 2:
        raise ValueError(f"dst must be (K, 2) with K >= 2, got {template.shape}")
    if points.ndim != 3 or points.shape[1:] != template.shape:
        raise ValueError(f"src must be (N, {len(template)}, 2), got {points.shape}")
    with np.errstate(all="ignore"):
        src_mean = points.mean(axis=1)
        dst_mean = template.mean(axis=0)
        from_centre = points - src_mean[:, None]
        template_centred = template - dst_mean
        spread = np.einsum("nkd,nkd->n", from_centre, from_centre)
        a = np.einsum("nkd,kd->n", from_centre, template_centred) / spread
        # The template turned by a quarter makes the cross product a dot product.
        turned = np.stack([template_centred[:, 1], -template_centred[:, 0]], axis=1)
        b = np.einsum("nkd,kd->n", from_centre, turned) / spread
        matrices = np.empty((len(points), 2, 3))
        matrices[:, 0, 0] = matrices[:, 1, 1] = a
        matrices[:, 0, 1] = -b
        matrices[:, 1, 0] = b
        matrices[:, 0, 2] = dst_mean[0] - a * src_mean[:, 0] + b * src_mean[:, 1]
        matrices[:, 1, 2] = dst_mean[1] - b * src_mean[:, 0] - a * src_mean[:, 1]
        # Points in one place leave only rounding error in `spread`: compare with the size of the coordinates.
        magnitude = np.einsum("nkd,nkd->n", points, points)
        defined = (spread > 1e-24 * magnitude) & (a * a + b * b > 0.0) & np.isfinite(matrices).all(axis=(1, 2))
    if not defined.all():
        matrices[~defined] = np.nan
    return matrices


def transform_points(transforms: npt.NDArray[Any], points: npt.NDArray[Any]) -> Float64Array:
    """Apply each face's transform to its points.

    Args:
        transforms: (N, 2, 3), as from ``similarity_transform``.
        points: (N, K, 2), px.

    Returns:
        float64 (N, K, 2), px; NaN where the transform is.

    Raises:
        ValueError: the shapes do not fit together.
    """
    matrices = np.asarray(transforms, dtype=np.float64)
    positions = np.asarray(points, dtype=np.float64)
    if matrices.ndim != 3 or matrices.shape[1:] != (2, 3):
        raise ValueError(f"transforms must be (N, 2, 3), got {matrices.shape}")
    if positions.ndim != 3 or positions.shape[2] != 2 or len(positions) != len(matrices):
        raise ValueError(f"points must be ({len(matrices)}, K, 2), got {positions.shape}")
    moved: Float64Array = np.einsum("nij,nkj->nki", matrices[:, :, :2], positions) + matrices[:, None, :, 2]
    return moved


def eye_line_angle_deg(landmarks: npt.NDArray[Any]) -> Float64Array:
    """Angle of the line from the left to the right eye, degrees in (-180, 180].

    Args:
        landmarks: (N, 5, 2), px.

    Returns:
        float64 (N,); 0 is level, positive when the right eye (as seen) is lower: the head is turned clockwise.
    """
    offset = _landmark_offset(landmarks, (_LEFT_EYE,), (_RIGHT_EYE,))
    angle: Float64Array = np.degrees(np.arctan2(offset[:, 1], offset[:, 0]))
    return angle


def eye_distance_px(landmarks: npt.NDArray[Any]) -> Float64Array:
    """Distance between the eyes, px, float64 (N,), of landmarks (N, 5, 2)."""
    offset = _landmark_offset(landmarks, (_LEFT_EYE,), (_RIGHT_EYE,))
    distance: Float64Array = np.hypot(offset[:, 0], offset[:, 1])
    return distance


def eye_mouth_distance_px(landmarks: npt.NDArray[Any]) -> Float64Array:
    """Distance from the middle of the eyes to the middle of the mouth, px, float64 (N,), of landmarks (N, 5, 2)."""
    offset = _landmark_offset(landmarks, (_LEFT_EYE, _RIGHT_EYE), (_LEFT_MOUTH, _RIGHT_MOUTH))
    distance: Float64Array = np.hypot(offset[:, 0], offset[:, 1])
    return distance


def _landmark_offset(landmarks: npt.NDArray[Any], start: tuple[int, ...], end: tuple[int, ...]) -> Float64Array:
    """Vector from the mean of some landmarks to the mean of others, (N, 2)."""
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (5, 2):
        raise ValueError(f"landmarks must be (N, 5, 2), got {points.shape}")
    offset: Float64Array = points[:, list(end)].mean(axis=1) - points[:, list(start)].mean(axis=1)
    return offset


def _float64(array: npt.NDArray[Any], name: str, tail: tuple[int, ...]) -> Float64Array:
    values = np.asarray(array, dtype=np.float64)
    if values.ndim != 1 + len(tail) or values.shape[1:] != tail:
        raise ValueError(f"{name} must be (N, {', '.join(map(str, tail))}), got {values.shape}")
    return values
