"""What classifiers of bundles have in common: all but how the network is run on a block of faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fertrack.errors import ModelError
from fertrack.models.bundle import ClassifierBundle, InputCard
from fertrack.types import EXPRESSIONS, FloatArray, Image

__all__ = ["BundleClassifier", "first_line", "preprocessor", "tensor_shape"]


class BundleClassifier(ABC):
    """An expression classifier as a bundle says. Safe to call from several threads at once.

    A face's logits are bit for bit the same however many faces are asked for together: the network is always run on
    blocks of one fixed size (short blocks are filled up with zeros), because matrix kernels may round differently for
    different sizes.

    A subclass opens its network, then calls ``_ready`` with the number of faces a run takes.

    Attributes:
        crop_size: side of the crops it takes, px.
        template: float32 (5, 2), where the five landmarks lie in a crop, px.
        fingerprint: name, version and hash of the network.
        bundle: everything known of it.
    """

    def __init__(self, bundle: ClassifierBundle) -> None:
        self.bundle = bundle
        self.crop_size = bundle.card.input.size_px
        self.template = bundle.template
        self.fingerprint = bundle.fingerprint
        self._columns = bundle.label_columns
        self._preprocess = preprocessor(bundle.card.input)
        self._block = 1

    def logits(self, crops: Image) -> FloatArray:
        """Uncalibrated logits.

        Args:
            crops: uint8 (N, S, S, 3), BGR, aligned to ``template``; S = ``crop_size``.

        Returns:
            float32 (N, 7), columns as in ``EXPRESSIONS``; (0, 7) for no crops.

        Raises:
            TypeError: ``crops`` is not a uint8 array.
            ValueError: ``crops`` has another shape.
            ModelError: the network failed or answered with something that is not a number.
        """
        self._check_crops(crops)
        logits = np.empty((len(crops), len(EXPRESSIONS)), np.float32)
        tensor = self._preprocess(crops) if len(crops) else np.empty(0, np.float32)
        for start in range(0, len(crops), self._block):
            block = tensor[start : start + self._block]
            count = len(block)
            if count < self._block:
                filled = np.zeros((self._block, *tensor.shape[1:]), np.float32)
                filled[:count] = block
                block = filled
            logits[start : start + count] = self._run(block)[:count][:, self._columns]
        if not np.isfinite(logits).all():
            raise ModelError(
                f"{self.fingerprint}: the network's output is not a finite number; its weights are damaged"
            )
        return logits

    @abstractmethod
    def _answer(self, block: FloatArray) -> Any:
        """What the network says to a block of faces; may raise anything."""

    def _ready(self, block: int) -> None:
        """Take the number of faces per run, and run the network once.

        Raises:
            ModelError: the network fails, or its output is not float32 (block, 7).
        """
        self._block = block
        self._run(np.zeros((block, *tensor_shape(self.bundle.card.input)), np.float32))

    def _run(self, block: FloatArray) -> FloatArray:
        try:
            output = self._answer(block)
        except Exception as error:  # the runtimes have no common error class
            raise ModelError(f"{self.fingerprint}: the network failed on a face: {first_line(error)}") from error
        expected = (len(block), len(EXPRESSIONS))
        if output.shape != expected or output.dtype != np.float32:
            raise ModelError(
                f"{self.bundle.model_path}: output is {output.dtype} {output.shape}, expected float32 {expected}"
            )
        result: FloatArray = output
        return result

    def _check_crops(self, crops: Any) -> None:
        wanted = f"uint8 (N, {self.crop_size}, {self.crop_size}, 3)"
        if not isinstance(crops, np.ndarray) or crops.dtype != np.uint8:
            got = f"{crops.dtype} {crops.shape}" if isinstance(crops, np.ndarray) else type(crops).__name__
            raise TypeError(f"crops must be {wanted}, got {got}")
        if crops.ndim != 4 or crops.shape[1:] != (self.crop_size, self.crop_size, 3):
            raise ValueError(f"crops must be {wanted}, got {crops.dtype} {crops.shape}")


def tensor_shape(card: InputCard) -> tuple[int, int, int]:
    """Shape of one face as the network takes it."""
    side, channels = card.size_px, card.channels
    return (channels, side, side) if card.layout == "NCHW" else (side, side, channels)


def preprocessor(card: InputCard) -> Callable[[Image], FloatArray]:
    """A function from crops uint8 (N, S, S, 3) BGR to the network's float32 tensor.

    A pixel has 256 values, so each channel's ``(pixel / 255 - mean) / std`` is a table.
    """
    levels = np.arange(256, dtype=np.float64) / 255.0
    tables = [((levels - m) / s).astype(np.float32) for m, s in zip(card.mean, card.std, strict=True)]
    side, channels = card.size_px, card.channels
    channel_axis = 1 if card.layout == "NCHW" else 3

    def gray(crops: Image) -> FloatArray:
        stacked = np.ascontiguousarray(crops).reshape(-1, side, 3)
        flat = cv2.cvtColor(stacked, cv2.COLOR_BGR2GRAY).reshape(len(crops), side, side)
        return np.expand_dims(tables[0][flat], channel_axis)

    def colour(crops: Image) -> FloatArray:
        tensor = np.empty((len(crops), *tensor_shape(card)), np.float32)
        planes: npt.NDArray[np.float32] = np.moveaxis(tensor, channel_axis, 0)
        for channel in range(channels):
            source = 2 - channel if card.colour == "rgb" else channel
            planes[channel] = tables[channel][crops[..., source]]
        return tensor

    return gray if card.colour == "gray" else colour


def first_line(error: Exception) -> str:
    """A runtime's message, cut to one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
