"""Turns a face in a frame into a small upright crop, from its five landmarks.

The crop is sampled once, straight from the frame, by the similarity transform that best lays the landmarks on a
template (Umeyama 1991, see ``fertrack.imaging.geometry``). It is never cut from a stretched box crop.
"""

from __future__ import annotations

import math
from typing import Any, cast

import cv2
import numpy as np

from fertrack.imaging.geometry import similarity_transform, transform_points
from fertrack.types import Float64Array, FloatArray, Image, check_image

__all__ = ["BLANK_LEVEL", "DEFAULT_TEMPLATE", "align_faces", "align_with_landmarks", "aligned_landmarks"]

DEFAULT_TEMPLATE: FloatArray = np.array([(70, 96), (154, 96), (112, 128), (84, 164), (140, 164)], dtype=np.float32)
"""Where left eye, right eye, nose, left and right mouth corner (as seen in the image) lie in a 224 x 224 crop, px."""
DEFAULT_TEMPLATE.flags.writeable = False

BLANK_LEVEL = 128
"""Grey value of the crop of a face whose landmarks define no transform."""

_MAX_STEP_PX = 1.5  # frame px between neighbouring samples; a bilinear sample reads 2 px wide, so none is skipped


def align_faces(image: Image, landmarks: FloatArray, template: FloatArray = DEFAULT_TEMPLATE, size: int = 224) -> Image:
    """Cut one aligned crop per face out of a frame.

    Bilinear, with the frame's border replicated. Where a face is larger than the crop, neighbouring crop px lie more
    than 1.5 frame px apart, and plain bilinear sampling would skip px and alias. Then the warp goes to a canvas of
    twice the crop's side, whose 2 x 2 blocks are averaged; and from 3 frame px on, 2 x 2 blocks of the frame are
    averaged first, as often as needed. Both are plain averages on the px grid: the geometric resampling is still one.
    A crop does not depend on the other faces, nor on thread counts.

    Args:
        image: uint8 (H, W, 3), BGR.
        landmarks: float32 (N, 5, 2), px in ``image``.
        template: float32 (5, 2), where the landmarks shall lie in the crop, px.
        size: S, side of the crops, px.

    Returns:
        uint8 (N, S, S, 3), BGR. A face whose landmarks define no transform (NaN, infinite, all in one place) gets a
        crop of plain mid grey (``BLANK_LEVEL``), so that rows stay rows.

    Raises:
        TypeError: image or landmarks of another dtype.
        ValueError: image, landmarks or template of another shape, or size < 1.

    Example:
        >>> import numpy as np
        >>> frame = np.zeros((480, 640, 3), np.uint8)
        >>> align_faces(frame, DEFAULT_TEMPLATE[None] + 100).shape
        (1, 224, 224, 3)
    """
    return align_with_landmarks(image, landmarks, template, size)[0]


def align_with_landmarks(
    image: Image, landmarks: FloatArray, template: FloatArray = DEFAULT_TEMPLATE, size: int = 224
) -> tuple[Image, FloatArray]:
    """Crops as ``align_faces`` cuts them, and the landmarks in them as ``aligned_landmarks`` maps them.

    Args:
        image: as in ``align_faces``.
        landmarks: float32 (N, 5, 2), px in ``image``.
        template: float32 (5, 2), px in the crop.
        size: S, side of the crops, px.

    Returns:
        uint8 (N, S, S, 3), BGR, and float32 (N, 5, 2), px in the crops.

    Raises:
        TypeError: image or landmarks of another dtype.
        ValueError: image, landmarks or template of another shape, or size < 1.
    """
    frame = check_image("image", image)
    points = _check_landmarks(landmarks)
    if size < 1:
        raise ValueError(f"size must be at least 1 px, got {size}")
    transforms = similarity_transform(points, template)
    crops = np.empty((len(points), size, size, 3), dtype=np.uint8)
    for crop, transform in zip(crops, transforms, strict=True):
        _warp_into(crop, frame, transform)
    return crops, transform_points(transforms, points).astype(np.float32)


def aligned_landmarks(landmarks: FloatArray, template: FloatArray = DEFAULT_TEMPLATE) -> FloatArray:
    """Where the landmarks end up in the crops that ``align_faces`` makes with the same template.

    Args:
        landmarks: float32 (N, 5, 2), px in the frame.
        template: float32 (5, 2), px in the crop.

    Returns:
        float32 (N, 5, 2), px in the crop; NaN for a face whose landmarks define no transform.

    Raises:
        TypeError: landmarks of another dtype.
        ValueError: landmarks or template of another shape.
    """
    points = _check_landmarks(landmarks)
    return transform_points(similarity_transform(points, template), points).astype(np.float32)


def _check_landmarks(landmarks: Any) -> FloatArray:
    if not isinstance(landmarks, np.ndarray) or landmarks.dtype != np.float32:
        got = f"{landmarks.dtype} {landmarks.shape}" if isinstance(landmarks, np.ndarray) else type(landmarks).__name__
        raise TypeError(f"landmarks must be float32 (N, 5, 2), got {got}")
    if landmarks.ndim != 3 or landmarks.shape[1:] != (5, 2):
        raise ValueError(f"landmarks must be float32 (N, 5, 2), got {landmarks.dtype} {landmarks.shape}")
    return landmarks


def _warp_into(crop: Image, frame: Image, transform: Float64Array) -> None:
    """Fill ``crop`` (S, S, 3) with the part of ``frame`` that ``transform`` (2, 3) maps onto it."""
    scale = math.hypot(transform[0, 0], transform[1, 0])  # crop px per frame px
    if not scale > 0.0:
        crop[:] = BLANK_LEVEL
        return
    size = len(crop)
    left, top, right, bottom = _reach(frame, transform, size)
    step = 1.0 / scale
    # Whole halvings that leave a step of 1.5 to 3 px, but never more than the region has px.
    halvings = max(0, math.ceil(math.log2(step / (2.0 * _MAX_STEP_PX))))
    halvings = min(halvings, min(right - left, bottom - top).bit_length() - 1)
    block = 1 << halvings
    left, top = left - left % block, top - top % block  # blocks lie on the frame's grid whatever the region
    region = _halved(frame[top:bottom, left:right], halvings)
    # Region px j averages frame px left + block*j onwards: its centre is (block - 1) / 2 further on.
    matrix = transform.copy()
    matrix[:, 2] += transform[:, :2] @ (left + (block - 1) / 2, top + (block - 1) / 2)
    matrix[:, :2] *= block
    if step / block <= _MAX_STEP_PX:
        cv2.warpAffine(region, matrix, (size, size), dst=crop, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return
    # Crop px i averages canvas px 2*i and 2*i + 1, whose middle is 2*i + 1/2.
    matrix *= 2.0
    matrix[:, 2] += 0.5
    canvas_size = (2 * size, 2 * size)
    canvas = cv2.warpAffine(region, matrix, canvas_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cv2.resize(canvas, (size, size), dst=crop, interpolation=cv2.INTER_AREA)


def _halved(region: Image, halvings: int) -> Image:
    """Average 2 x 2 blocks, ``halvings`` times; the last row and column are repeated to fill the last block."""
    if halvings == 0:
        return region
    block = 1 << halvings
    down, right = -region.shape[0] % block, -region.shape[1] % block
    if down or right:
        region = cast(Image, cv2.copyMakeBorder(region, 0, down, 0, right, cv2.BORDER_REPLICATE))
    for _ in range(halvings):
        height, width = region.shape[:2]
        region = cast(Image, cv2.resize(region, (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return region


def _reach(frame: Image, transform: Float64Array, size: int) -> tuple[int, int, int, int]:
    """The part of the frame that can reach the crop, with a margin: left, top, right, bottom (exclusive), px.

    Work is done on this part only. It also keeps coordinates small: OpenCV addresses source px with 16-bit integers.
    """
    height, width = frame.shape[:2]
    (a, _, shift_x), (b, _, shift_y) = transform.tolist()
    centre = (size - 1) / 2
    squared = a * a + b * b
    centre_x = (a * (centre - shift_x) + b * (centre - shift_y)) / squared
    centre_y = (a * (centre - shift_y) - b * (centre - shift_x)) / squared
    # Half the crop's side, seen along the frame's axes, and 2 px for bilinear sampling.
    half = (centre + 1) * (abs(a) + abs(b)) / squared + 2.0
    left, right = (round(min(max(x, 0.0), width - 1.0)) for x in (centre_x - half, centre_x + half))
    top, bottom = (round(min(max(y, 0.0), height - 1.0)) for y in (centre_y - half, centre_y + half))
    return left, top, right + 1, bottom + 1
