"""Quality of a face's image: pose, size, sharpness, light and share outside the image, and one number of them.

The pose is that of a mean face under weak perspective: the linear step (POS) of DeMenthon and Davis (1995),
"Model-Based Object Pose in 25 Lines of Code", for all faces at once, with the nearest rotation by singular value
decomposition. Across the image the mean face is the template that faces are aligned to, with the nose a
twelfth of the distance between the eyes lower, so that people on average look at the camera; the nose stands out by
three sevenths of that distance.

``quality`` is a product of five factors, each falling from 1 to 0 as its measure gets worse::

    factor     1 up to           0 from
    size       12 px             2 px         distance between eyes, or from eyes to mouth, the longer
    pose       30 degrees        90 degrees   angle between the line of sight and where the face points
    sharpness  4 grey values     0            mean step between neighbouring px of the crop, at 48 px
    light      6 grey values     1            standard deviation of the crop
    outside    0.35              0.85         share of the crop that lies outside the image

The ranges were read off the accuracy of the default classifier on disturbed images (``reports/face_quality.md``), not
fitted by an optimiser. Roll has no factor, since crops are turned upright. What covers a face is not seen.
"""

from __future__ import annotations

import cv2
import numpy as np

from fertrack.imaging.alignment import DEFAULT_TEMPLATE
from fertrack.imaging.geometry import eye_distance_px, eye_mouth_distance_px, similarity_transform
from fertrack.types import Float64Array, FloatArray, Image

__all__ = ["MEAN_FACE", "face_quality", "head_pose"]

_BEYOND_TEMPLATE = [(0, 0, 0), (0, 0, 0), (0, 7, -36), (0, 0, -4), (0, 0, -4)]

MEAN_FACE: Float64Array = np.column_stack([DEFAULT_TEMPLATE.astype(np.float64), np.zeros(5)]) + _BEYOND_TEMPLATE
"""The five landmarks of a mean face, float64 (5, 3): x right, y down, z away from the camera; px of the template."""
MEAN_FACE -= MEAN_FACE.mean(axis=0)
MEAN_FACE.flags.writeable = False

_INVERSE = np.linalg.pinv(MEAN_FACE).T  # (5, 3)
_SIDE = 48
_TICKS = (np.arange(12) + 0.5) / 12
_PLACES = np.stack([np.tile(_TICKS, 12), np.repeat(_TICKS, 12)])  # (2, 144), shares of the crop's side
_SIZE_PX = (2.0, 12.0)
_POSE_DEG = (90.0, 30.0)
_SHARPNESS = (0.0, 4.0)
_CONTRAST = (1.0, 6.0)
_OUTSIDE = (0.85, 0.35)


def head_pose(landmarks: FloatArray) -> Float64Array:
    """Roll, yaw and pitch of each face, degrees, from its five landmarks.

    The head is turned by pitch first, then by yaw, then by roll.

    Args:
        landmarks: float32 (N, 5, 2), px, as in ``Detections``.

    Returns:
        float64 (N, 3): roll above 0 where the head is turned clockwise in the image, yaw above 0 where the face
        points to the right of the image, pitch above 0 where it points down; NaN where the landmarks define no pose.
    """
    turn = _rotations(landmarks)
    with np.errstate(invalid="ignore"):
        roll = np.arctan2(turn[:, 1, 0], turn[:, 0, 0])
        yaw = np.arcsin(np.clip(turn[:, 2, 0], -1.0, 1.0))
        pitch = np.arctan2(turn[:, 2, 1], turn[:, 2, 2])
    angles: Float64Array = np.degrees(np.column_stack([roll, yaw, pitch]))
    return angles


def face_quality(landmarks: FloatArray, crops: Image, template: FloatArray, picture: tuple[int, int]) -> FloatArray:
    """Quality of each face's image, 0 to 1: how much of an expression it can show.

    Args:
        landmarks: float32 (N, 5, 2), px in the image.
        crops: uint8 (N, S, S, 3), BGR, as ``align_faces`` cut them.
        template: float32 (5, 2), that they were cut with.
        picture: its height and width, px.

    Returns:
        float32 (N,), in steps of 1/10,000; 0 where the landmarks define no crop. It depends on no other face.
    """
    with np.errstate(invalid="ignore"):
        turned = np.degrees(np.arccos(np.clip(_rotations(landmarks)[:, 2, 2], -1.0, 1.0)))
        size = np.maximum(eye_distance_px(landmarks), eye_mouth_distance_px(landmarks))
    steps, contrast = _crop_measures(crops)
    outside = _share_outside(landmarks, template, crops.shape[1], picture)
    product = np.ones(len(landmarks))
    measures = ((size, _SIZE_PX), (turned, _POSE_DEG), (steps, _SHARPNESS), (contrast, _CONTRAST), (outside, _OUTSIDE))
    for values, (worst, best) in measures:
        product *= np.clip((values - worst) / (best - worst), 0.0, 1.0)
    rounded: FloatArray = (np.rint(np.nan_to_num(product, nan=0.0) * 1e4) / 1e4).astype(np.float32)
    return rounded


def _rotations(landmarks: FloatArray) -> Float64Array:
    """Rotation of the mean face that comes closest to each face, (N, 3, 3); NaN where nothing is known."""
    points = landmarks.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        points -= points.mean(axis=1, keepdims=True)
        rows = np.swapaxes(points, 1, 2) @ _INVERSE  # (N, 2, 3): the rotation's first two rows, scaled
    spread = np.einsum("nij,nij->n", rows, rows)
    known = np.isfinite(spread) & (spread > 1e-12)
    u, _, vh = np.linalg.svd(np.where(known[:, None, None], rows, np.eye(2, 3)), full_matrices=False)
    turn = np.empty((len(points), 3, 3))
    turn[:, :2] = u @ vh
    (ax, ay, az), (bx, by, bz) = np.moveaxis(turn[:, 0], 1, 0), np.moveaxis(turn[:, 1], 1, 0)
    turn[:, 2] = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
    turn[~known] = np.nan
    return turn


def _crop_measures(crops: Image) -> tuple[Float64Array, Float64Array]:
    """Mean step between neighbouring px, and standard deviation, of the grey crops at 48 px; (N,) each."""
    steps, contrast = np.zeros(len(crops)), np.zeros(len(crops))
    for row, crop in enumerate(crops):
        grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        if grey.shape[0] != _SIDE:
            grey = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        down, right = cv2.absdiff(grey[1:], grey[:-1]), cv2.absdiff(grey[:, 1:], grey[:, :-1])
        steps[row] = (cv2.mean(down)[0] + cv2.mean(right)[0]) / 2
        contrast[row] = cv2.meanStdDev(grey)[1][0, 0]
    return steps, contrast


def _share_outside(landmarks: FloatArray, template: FloatArray, side: int, picture: tuple[int, int]) -> Float64Array:
    """Share of 12 x 12 places of each crop that lie outside the image, (N,); NaN where there is no crop."""
    transforms = similarity_transform(landmarks, template)  # image to crop
    a, b = transforms[:, 0, 0, None], transforms[:, 1, 0, None]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        squared = a * a + b * b
        # A similarity's inverse is its transpose over its squared scale.
        offset_x = _PLACES[0] * side - transforms[:, 0, 2, None]
        offset_y = _PLACES[1] * side - transforms[:, 1, 2, None]
        x, y = (a * offset_x + b * offset_y) / squared, (a * offset_y - b * offset_x) / squared
        height, width = picture
        inside = (x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5)
    share: Float64Array = np.where(np.isfinite(squared[:, 0]), 1.0 - inside.mean(axis=1), np.nan)
    return share
