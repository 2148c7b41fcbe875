"""Network input of an image: an aligned crop, normalised, and its landmarks if the network takes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fertrack.imaging.alignment import DEFAULT_TEMPLATE, aligned_landmarks
from fertrack.training.augment import MEAN, STD, crop_faces, normalise
from fertrack.training.config import NetworkConfig, TrainConfig
from fertrack.training.images import crop_template
from fertrack.types import FloatArray, Image

__all__ = ["View", "view_of"]

_TEMPLATE_PX = 224


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Geometry and normalisation of crops.

    Attributes:
        template: float32 (5, 2), where the landmarks lie in the crop, px.
        size_px: side of the crop.
        mean: of pixel / 255, per channel: one for grey, three for RGB.
        std: per channel.
        with_landmarks: whether the network takes landmarks beside the pixels.
    """

    template: FloatArray
    size_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    with_landmarks: bool = False

    @property
    def colour(self) -> bool:
        """Whether the network sees colours."""
        return len(self.mean) > 1

    def plain(self, images: Iterable[Image], landmarks: FloatArray) -> tuple[FloatArray, ...]:
        """The network's inputs of images as they are: pixels float32 (N, C, S, S), and landmarks (N, 5, 2)."""
        crops = crop_faces(images, landmarks, self.template, self.size_px)
        return self.inputs(crops, aligned_landmarks(landmarks, self.template) if self.with_landmarks else landmarks)

    def inputs(self, crops: Image, landmarks: FloatArray) -> tuple[FloatArray, ...]:
        """The network's inputs of crops whose landmarks, px in them, are known."""
        pixels = normalise(crops, self.mean, self.std)
        return (pixels, landmarks) if self.with_landmarks else (pixels,)


def view_of(config: TrainConfig) -> View:
    """View that the network of a run takes."""
    network, size_px = config.network, config.data.size_px
    if isinstance(network, NetworkConfig):
        return View(crop_template(size_px, config.data.zoom), size_px, (MEAN,), (STD,))
    # To the digits of the bundle's card, so that the crops of training and those at run time are the same.
    template = np.round(np.asarray(DEFAULT_TEMPLATE, np.float64) * size_px / _TEMPLATE_PX, 3).astype(np.float32)
    return View(template, size_px, network.mean, network.std, network.looks_at_landmarks)
