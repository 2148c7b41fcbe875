"""Quality of a face for recognition: large, frontal, sharp. Arrays in, one number per face out."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from fertrack.imaging.geometry import eye_distance_px, eye_mouth_distance_px
from fertrack.types import Float64Array, FloatArray, Image

__all__ = ["pose_quality", "sharpness"]

_ENOUGH_PX = 40.0  # eye distance and eye-to-mouth distance that fill a 150 px crop about as well as it can be filled
_FRONTAL_NOSE = 0.53  # how far down the nose tip lies between eye line and mouth line, seen from the front
_TURNED_AWAY = 0.5  # sideways offset of the nose, in eye distances, at which one eye is about to vanish
_HALF_SHARP = 80.0  # variance of the Laplacian of a 150 px crop at which an upright face begins to look crisp


def pose_quality(landmarks: FloatArray, score: FloatArray) -> FloatArray:
    """Quality of faces before a pixel is touched: size, frontality and detector score, 0 (useless) to 1.

    A face seen from the front has its nose tip on the middle axis between the eyes, and about half-way down to the
    mouth. Turning the head moves it sideways, nodding moves it up or down. Roll is taken out by alignment and costs
    nothing.

    Args:
        landmarks: float32 (N, 5, 2), px.
        score: float32 (N,), 0 to 1.

    Returns:
        float32 (N,); 0 where landmarks are degenerate or not finite.

    >>> front = np.array([[[47, 47], [101, 47], [74, 77], [50, 103], [98, 103]]], np.float32)
    >>> side = np.array([[[47, 47], [77, 47], [84, 77], [50, 103], [78, 103]]], np.float32)
    >>> one = np.ones(1, np.float32)
    >>> bool(pose_quality(front, one) > 0.9), bool(pose_quality(side, one) < 0.3)
    (True, True)
    """
    points = landmarks.astype(np.float64)
    left, right, nose = points[:, 0], points[:, 1], points[:, 2]
    mouth = points[:, 3:].mean(axis=1)
    across = right - left
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        eyes_px = eye_distance_px(landmarks).astype(np.float64)
        face_px = np.minimum(eyes_px, 1.2 * eye_mouth_distance_px(landmarks))
        unit = across / eyes_px[:, None]
        down = np.stack([-unit[:, 1], unit[:, 0]], axis=1)
        middle = (left + right) / 2
        sideways = np.abs(_dot(nose - middle, unit)) / eyes_px
        nodded = np.abs(_dot(nose - middle, down) / _dot(mouth - middle, down) - _FRONTAL_NOSE)
        quality = (
            np.clip(face_px / _ENOUGH_PX, 0.0, 1.0)
            * np.clip(1.0 - sideways / _TURNED_AWAY, 0.0, 1.0)
            * np.clip(1.0 - nodded / _TURNED_AWAY, 0.0, 1.0)
            * np.clip(score, 0.0, 1.0)
        )
    return np.nan_to_num(quality, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)


def sharpness(crop: Image) -> float:
    """Sharpness of an aligned face, 0 (a smear) to 1: variance of the Laplacian of its inner part.

    Args:
        crop: uint8 (S, S, 3), BGR.
    """
    margin = len(crop) // 6  # hair and background may be sharp where the face is not
    inner = crop[margin : len(crop) - margin, margin : len(crop) - margin]
    grey = cv2.cvtColor(inner, cv2.COLOR_BGR2GRAY)
    variance = float(cast("FloatArray", cv2.Laplacian(grey, cv2.CV_32F)).var())
    return variance / (variance + _HALF_SHARP)


def _dot(a: Float64Array, b: Float64Array) -> Float64Array:
    return cast("Float64Array", np.einsum("ij,ij->i", a, b))
