"""Several labelled sets learned from at once, each with its own weight, terms and persons kept apart.

Class shares differ between sources, and so would the meaning of "neutral". Each image therefore carries the class
shares that are drawn from its source (``TrainingImages.shifts``), and the network learns to speak at equal ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fertrack.errors import ConfigError
from fertrack.evaluation.datasets.apart import kept_apart
from fertrack.imaging.geometry import similarity_transform
from fertrack.protocols import Detector
from fertrack.training.config import DataConfig, SourceConfig, TwinsConfig
from fertrack.training.images import (
    TrainingImages,
    crop_template,
    is_labelled_set,
    load_images,
    subset,
    tested_images,
    voted_images,
)
from fertrack.training.labelled_images import LabelledImages, MixedImages, read_learned
from fertrack.types import EXPRESSIONS, BoolArray, FloatArray, Image, IntArray

__all__ = ["load_sources", "twins_by_crop"]

logger = logging.getLogger(__name__)

_THUMB_PX, _MARGIN_PX = 32, 4
_TWIN_CORRELATION = 0.955
_RARE = 0.01
"""Added to every class share, so that none is impossible: a source without neutral faces does not speak of them."""
_AT_ONCE = 1024


def load_sources(
    config: DataConfig, detector: Detector, cache: Path, *, colour: bool = False
) -> tuple[TrainingImages, TrainingImages]:
    """Images to learn from, and images kept apart, of one set or of several.

    Args:
        config: which images.
        detector: finds the landmarks.
        cache: folder where the landmarks are kept, so that they are searched for once.
        colour: whether images of labelled sets are wanted in colour.

    Returns:
        Those learned from and those kept apart. Of several sources both are drawn so that the sources weigh as
        configured, or alike where they are kept apart.

    Raises:
        ConfigError: images cannot be read, or nothing of a source is left to learn from.
        EvaluationError: a labelled set cannot be read.
    """
    if not config.sources:
        return load_images(config, detector, cache, colour=colour)
    learned, kept = [], []
    for source in config.sources:
        pictures, apart = _read(source, detector, cache, colour=colour)
        twins = _twins(pictures, source.twins_of, detector, cache) & ~apart
        chosen = subset(pictures, np.flatnonzero(~apart & ~twins))
        if not len(chosen):
            raise ConfigError(f"data.sources: nothing of {source.name} is left to learn from: lower its apart")
        logger.info(
            "%s: %d pictures, %d kept apart, %d left out as twins", source.name, len(chosen), apart.sum(), twins.sum()
        )
        learned.append(_drawn(chosen, source.balance, source.weight))
        if apart.any():
            kept.append(_drawn(subset(pictures, np.flatnonzero(apart)), 1.0, 1.0))
    return _joined(learned), _joined(kept)


def _read(source: SourceConfig, detector: Detector, cache: Path, *, colour: bool) -> tuple[TrainingImages, BoolArray]:
    path = Path(source.path)
    if is_labelled_set(path):
        found = read_learned(path, detector, cache, split=source.split, only=source.only, colour=colour)
        images, landmarks, votes, labels = found
        apart = kept_apart(images.labelled, source.apart)[images.rows]
        one_hot = np.eye(len(EXPRESSIONS), dtype=np.float32)[labels]
        pictures = TrainingImages(
            images, landmarks, (1 - source.label_share) * votes + source.label_share * one_hot, labels
        )
    else:
        pictures = voted_images(path, source.label_share, detector, cache)
        apart = np.random.default_rng(0).permutation(len(pictures)) < round(source.apart * len(pictures))
    targets = (1 - source.smoothing) * pictures.targets + source.smoothing / len(EXPRESSIONS)
    cut_out = np.full(len(pictures), source.cut_out)
    return replace(pictures, targets=np.asarray(targets, np.float32), cut_out=cut_out), np.asarray(apart, np.bool_)


def _drawn(pictures: TrainingImages, balance: float, weight: float) -> TrainingImages:
    chances = pictures.draw_probabilities(balance)
    shares = chances @ pictures.targets.astype(np.float64) + _RARE
    shifts = np.broadcast_to(np.log(shares / shares.sum()), pictures.targets.shape)
    return replace(pictures, chances=weight * chances, shifts=shifts.astype(np.float32))


def _joined(parts: list[TrainingImages]) -> TrainingImages:
    def of(name: str) -> npt.NDArray[np.generic]:
        return np.concatenate([getattr(each, name) for each in parts])

    if not parts:
        none = np.empty((0, len(EXPRESSIONS)), np.float32)
        return TrainingImages(
            np.empty((0, 1, 1), np.uint8), np.empty((0, 5, 2), np.float32), none, np.empty(0, np.int64)
        )
    images = [each.images for each in parts if not isinstance(each.images, MixedImages)]
    chances = np.asarray(of("chances"), np.float64)
    return TrainingImages(
        MixedImages.of(images),
        np.asarray(of("landmarks"), np.float32),
        np.asarray(of("targets"), np.float32),
        np.asarray(of("labels"), np.int64),
        chances=chances / chances.sum(),
        shifts=np.asarray(of("shifts"), np.float32),
        cut_out=np.asarray(of("cut_out"), np.bool_),
    )


def _twins(pictures: TrainingImages, others: tuple[TwinsConfig, ...], detector: Detector, cache: Path) -> BoolArray:
    found = np.zeros(len(pictures), np.bool_)
    for other in others:
        path = Path(other.path)
        known: tuple[Iterable[Image], FloatArray]
        if is_labelled_set(path):
            images, landmarks, *_ = read_learned(path, detector, cache, split=other.split)
            rows: IntArray = np.flatnonzero(kept_apart(images.labelled, other.apart)[images.rows])
            known = images[rows], landmarks[rows]
        else:
            known = tested_images(path, detector, cache)
        found |= twins_by_crop((_grey(pictures.images), pictures.landmarks), known)
    return found


def _grey(images: Image | LabelledImages | MixedImages) -> Iterable[Image]:
    return (image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)) for image in images)


def twins_by_crop(
    faces: tuple[Iterable[Image], FloatArray],
    others: tuple[Iterable[Image], FloatArray],
    *,
    correlation: float = _TWIN_CORRELATION,
) -> BoolArray:
    """Faces that are also, exactly or nearly, among others, however each image was cut.

    Args:
        faces: N images, uint8 (H, W), and their landmarks float32 (N, 5, 2), px.
        others: M images and their landmarks.
        correlation: of the aligned crops; above it, two are the same face at the same moment.

    Returns:
        bool (N,).
    """
    known = _thumbs(*others)
    if not len(known):
        return np.zeros(len(faces[1]), np.bool_)
    mine = _thumbs(*faces)
    parts = [(mine[at : at + _AT_ONCE] @ known.T).max(axis=1) for at in range(0, len(mine), _AT_ONCE)]
    return np.asarray(np.concatenate(parts) > correlation if parts else np.zeros(0), np.bool_)


def _thumbs(images: Iterable[Image], landmarks: FloatArray) -> FloatArray:
    """The middle of small aligned crops, zero mean and unit length, float32 (N, 576)."""
    matrices = similarity_transform(landmarks, crop_template(_THUMB_PX, 1.12))
    crops = []
    for image, matrix in zip(images, matrices, strict=True):
        step = 1 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6)  # images px a crop px
        soft = cv2.GaussianBlur(image, (0, 0), 0.5 * step) if step > 0.1 else image
        crops.append(cv2.warpAffine(soft, matrix[:2], (_THUMB_PX, _THUMB_PX), borderMode=cv2.BORDER_REPLICATE))
    inner = slice(_MARGIN_PX, -_MARGIN_PX)
    stacked = np.array(crops, np.float32).reshape(-1, _THUMB_PX, _THUMB_PX)[:, inner, inner]
    flat = stacked.reshape(len(stacked), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6), np.float32)
