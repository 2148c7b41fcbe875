"""Augmentation that imitates video: images rotated, shrunk, blurred, compressed, badly lit, half occluded.

Everything is drawn from the generator handed in, so that a batch depends on nothing but its number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from fertrack.imaging.geometry import similarity_transform
from fertrack.training.composites import cut_out, fill_surround, join_halves
from fertrack.training.config import AugmentConfig
from fertrack.types import BoolArray, FloatArray, Image

__all__ = ["MEAN", "STD", "Augmented", "augment", "crop_faces", "disturbed", "normalise"]

MEAN, STD = 0.5, 0.25
"""Of pixel / 255 of the compact network's grey crops, as the bundle's card will say."""

_MAX_STEP_PX = 1.5
"""Image px between neighbouring samples of a crop, as in ``imaging.alignment``."""

_MIRRORED = [1, 0, 2, 4, 3]
"""Left and right change places in a mirror: landmarks are named as they are seen."""


def crop_faces(images: Iterable[Image], landmarks: FloatArray, template: FloatArray, size_px: int) -> Image:
    """Aligned crops as they are at run time, without any augmentation.

    Args:
        images: N images, uint8 (H, W), grey, or (H, W, 3), BGR.
        landmarks: float32 (N, 5, 2), px of the images.
        template: float32 (5, 2), px of the crop.
        size_px: S, side of the crop.

    Returns:
        uint8 (N, S, S), or (N, S, S, 3).
    """
    matrices = similarity_transform(landmarks, template)
    return np.stack([_warp(image, matrix, size_px) for image, matrix in zip(images, matrices, strict=True)])


@dataclass(frozen=True, slots=True, eq=False)
class Augmented:
    """Crops of a batch, each disturbed in its own way.

    Attributes:
        crops: uint8 (N, S, S), or (N, S, S, 3).
        landmarks: float32 (N, 5, 2), px of the crops.
        halved: bool (N,), the lower half is another image's: no label says what such a face shows.
    """

    crops: Image
    landmarks: FloatArray
    halved: BoolArray


def augment(
    images: Iterable[Image],
    landmarks: FloatArray,
    template: FloatArray,
    size_px: int,
    *,
    config: AugmentConfig,
    rng: np.random.Generator,
    cut_outs: BoolArray | None = None,
) -> Augmented:
    """Aligned crops of a batch, each disturbed in its own way, and where the landmarks lie in them.

    Args:
        images: N images, uint8 (H, W), grey, or (H, W, 3), BGR.
        landmarks: float32 (N, 5, 2), px of the images.
        template: float32 (5, 2), px of the crop.
        size_px: S, side of the crop.
        config: how much of what.
        rng: where chance comes from.
        cut_outs: bool (N,), images whose face is cut out on black; None: none is.
    """
    batch = list(images)
    found = landmarks if not config.landmark_noise else _noisy(landmarks, config.landmark_noise, rng)
    matrices = similarity_transform(found, template)
    crops, seen = [], np.empty(landmarks.shape, np.float32)
    halved = np.zeros(len(batch), np.bool_)
    for row, (image, matrix) in enumerate(zip(batch, matrices, strict=True)):
        jitter = _jitter(size_px, config, rng)
        whole = jitter @ _square(matrix)
        crop = _warp(image, whole, size_px)
        if cut_outs is not None and cut_outs[row]:
            if config.surround and rng.random() < config.surround:
                crop = fill_surround(crop, image, whole[:2], rng)
        elif config.cut_out and rng.random() < config.cut_out:
            crop = cut_out(crop, rng)
        if config.halves and rng.random() < config.halves:
            other = int(rng.integers(len(batch)))
            lower = _warp(batch[other], jitter @ _square(matrices[other]), size_px)
            crop, halved[row] = join_halves(crop, lower, jitter[:2], rng), True
        crops.append(_disturb(crop, config, rng))
        points = landmarks[row] @ whole[:2, :2].T + whole[:2, 2]
        flipped = whole[0, 0] * whole[1, 1] < whole[0, 1] * whole[1, 0]  # the determinant is below 0
        seen[row] = points[_MIRRORED] if flipped else points
    return Augmented(np.stack(crops), seen, halved)


def _noisy(landmarks: FloatArray, largest: float, rng: np.random.Generator) -> FloatArray:
    """Landmarks as another detector, or the same one in fewer bits, would have found them."""
    eyes = np.linalg.norm(landmarks[:, 1] - landmarks[:, 0], axis=1)
    spread = eyes * rng.uniform(0, largest, len(landmarks))
    return np.asarray(landmarks + rng.normal(0, 1, landmarks.shape) * spread[:, None, None], np.float32)


def disturbed(crops: Image, option: str, rng: np.random.Generator) -> Image:
    """Crops that have all suffered one thing, to see how a network stands it.

    Args:
        crops: uint8 (N, S, S).
        option: field of ``AugmentConfig``, such as ``"blur"``.
        rng: where chance comes from.
    """
    nothing = dict.fromkeys(AugmentConfig.model_fields, 0.0)
    config = AugmentConfig.model_validate({**nothing, option: 1.0})
    return np.stack([_disturb(crop, config, rng) for crop in crops])


def normalise(crops: Image, mean: Sequence[float] = (MEAN,), std: Sequence[float] = (STD,)) -> FloatArray:
    """Normalised network input: ``(pixel / 255 - mean) / std``.

    Args:
        crops: uint8 (N, S, S), grey, or (N, S, S, 3), BGR.
        mean: per channel: one for grey, three for RGB.
        std: per channel.

    Returns:
        float32 (N, 1, S, S), or (N, 3, S, S), RGB.
    """
    if len(mean) == 1:
        return ((crops[:, None].astype(np.float32) / 255.0) - mean[0]) / std[0]
    coloured = crops if crops.ndim == 4 else np.repeat(crops[..., None], 3, axis=3)
    planes = np.ascontiguousarray(coloured[..., ::-1].transpose(0, 3, 1, 2), np.float32) / np.float32(255)
    return (planes - np.array(mean, np.float32)[:, None, None]) / np.array(std, np.float32)[:, None, None]


def _warp(image: Image, matrix: Any, size_px: int) -> Image:
    """One crop; where crop px lie far apart in the image, averaged as ``imaging.alignment`` does."""
    whole = np.array(matrix, np.float64)[:2]
    area = abs(float(whole[0, 0] * whole[1, 1] - whole[0, 1] * whole[1, 0]))
    step = 1 / math.sqrt(area) if 0.0 < area < math.inf else 1.0
    halvings = max(0, math.ceil(math.log2(step / (2 * _MAX_STEP_PX))))
    halvings = min(halvings, min(image.shape[:2]).bit_length() - 1)
    for _ in range(halvings):
        image = np.asarray(
            cv2.resize(
                image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2],
                None,
                fx=0.5,
                fy=0.5,
                interpolation=cv2.INTER_AREA,
            ),
            np.uint8,
        )
        whole[:, 2] += whole[:, :2] @ (0.5, 0.5)  # px j of the smaller image is the middle of px 2j and 2j + 1
        whole[:, :2] *= 2
    wide = step / 2**halvings > _MAX_STEP_PX
    if wide:
        whole *= 2
        whole[:, 2] += 0.5
    side = 2 * size_px if wide else size_px
    warped = cv2.warpAffine(image, whole, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(
        cv2.resize(warped, (size_px, size_px), interpolation=cv2.INTER_AREA) if wide else warped, np.uint8
    )


def _square(matrix: Any) -> Any:
    return np.vstack([matrix, (0.0, 0.0, 1.0)])


def _jitter(size_px: int, config: AugmentConfig, rng: np.random.Generator) -> Any:
    """A random turn, size, shear, shift and flip about the crop's centre: 3 x 3, crop to crop."""
    angle = math.radians(rng.uniform(-config.rotation_deg, config.rotation_deg))
    scale = math.exp(rng.uniform(-config.scale, config.scale))
    shear = rng.uniform(-config.shear, config.shear)
    shift = rng.uniform(-config.shift, config.shift, 2) * size_px
    flip = -1.0 if rng.random() < 0.5 else 1.0
    turn = np.array(((math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))))
    linear = scale * turn @ np.array(((flip, shear), (0.0, 1.0)))
    centre = np.full(2, (size_px - 1) / 2)
    return np.vstack([np.column_stack([linear, centre - linear @ centre + shift]), (0.0, 0.0, 1.0)])


def _disturb(crop: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    chance = rng.random(7)
    if chance[0] < config.low_resolution:
        crop = _shrink_and_enlarge(crop, int(rng.integers(16, 41)))
    if chance[1] < config.blur:
        crop = _blur(crop, rng)
    elif chance[2] < config.sharpen:
        crop = _sharpen(crop, rng)
    if chance[3] < config.lighting or chance[4] < config.side_light:
        crop = _relight(crop, rng, side=bool(chance[4] < config.side_light))
    if chance[5] < config.noise:
        noise = rng.standard_normal(crop.shape, np.float32) * rng.uniform(2, 14)
        crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
    if chance[6] < config.occlusion:
        crop = _cover(crop, rng)
    if rng.random() < config.compression:
        crop = _compress(crop, int(rng.integers(12, 61)))
    return crop


def _shrink_and_enlarge(crop: Image, side: int) -> Image:
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _blur(crop: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.6:
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.4, 1.8)), np.uint8)
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, math.pi)
    reach = (length - 1) / 2 * np.array((math.cos(angle), math.sin(angle)))
    start, end = np.rint((length - 1) / 2 - reach), np.rint((length - 1) / 2 + reach)
    cv2.line(kernel, start.astype(int).tolist(), end.astype(int).tolist(), 1.0)
    return np.asarray(cv2.filter2D(crop, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _sharpen(crop: Image, rng: np.random.Generator) -> Image:
    soft = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.8, 1.6)).astype(np.float32)
    return np.clip(crop + rng.uniform(0.4, 1.5) * (crop - soft), 0, 255).astype(np.uint8)


def _relight(crop: Image, rng: np.random.Generator, *, side: bool) -> Image:
    """Gamma, contrast about the crop's mean, brightness, and light that falls from one side."""
    light = (crop.astype(np.float32) / 255.0) ** np.float32(math.exp(rng.uniform(-0.5, 0.5)))
    mean = float(light.mean())
    light = (light - mean) * rng.uniform(0.55, 1.45) + mean + rng.uniform(-0.18, 0.18)
    if side:
        angle = rng.uniform(0, 2 * math.pi)
        ramp = np.linspace(-1, 1, crop.shape[0], dtype=np.float32)
        fall = math.cos(angle) * ramp[None, :] + math.sin(angle) * ramp[:, None]
        shade = 1 + rng.uniform(0.1, 0.6) * fall
        light = light * (shade if crop.ndim == 2 else shade[..., None])
    return (np.clip(light, 0, 1) * 255).astype(np.uint8)


def _cover(crop: Image, rng: np.random.Generator) -> Image:
    size = crop.shape[0]
    height, width = (rng.uniform(0.12, 0.42, 2) * size).astype(int)
    top, left = int(rng.integers(0, size - height + 1)), int(rng.integers(0, size - width + 1))
    covered = crop.copy()
    if rng.random() < 0.5:
        covered[top : top + height, left : left + width] = rng.integers(0, 256)
    else:
        noise = rng.integers(0, 256, (height, width))
        covered[top : top + height, left : left + width] = noise if crop.ndim == 2 else noise[..., None]
    return covered


def _compress(crop: Image, quality: int) -> Image:
    coded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    way = cv2.IMREAD_GRAYSCALE if crop.ndim == 2 else cv2.IMREAD_COLOR
    return np.asarray(cv2.imdecode(coded, way), np.uint8)
