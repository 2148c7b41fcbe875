"""Base of the bundle classifiers: everything but the inference on one block of faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from fertrack.errors import ModelError, first_line
from fertrack.models.bundle import ClassifierBundle, InputCard
from fertrack.types import EXPRESSIONS, Device, FloatArray, Image

__all__ = ["BundleClassifier", "preprocessor", "tensor_shape"]


_MIN_PROBABILITY = 1e-7  # about what float32 probabilities resolve; the logarithm stays finite


class BundleClassifier(ABC):
    """An expression classifier from a bundle. Safe to call from several threads at once.

    A face's logits are bit for bit the same however many faces are asked for together: the network is always run on
    blocks of one fixed size (short blocks are filled up with zeros), because matrix kernels may round differently for
    different sizes.

    Where the bundle names a feature head, the network is given the head's tokens instead of pixels. A head or network
    that looks at landmarks is given them by ``logits_at``; ``logits`` takes them to lie where the template has them.

    A subclass opens its network, then calls ``_ready`` with the number of faces a run takes.

    Attributes:
        crop_size: side of the crops it takes, px.
        template: float32 (5, 2), where the five landmarks lie in a crop, px.
        fingerprint: name, version and hash of the network.
        bundle: everything known of it.
        network_shape: what the network takes for one face: pixels, or the head's tokens.
        wants_landmarks: whether ``logits_at`` may answer otherwise than ``logits``.
    """

    def __init__(self, bundle: ClassifierBundle, threads: int = 1, device: Device = "cpu") -> None:
        self.bundle = bundle
        self.crop_size = bundle.card.input.size_px
        self.template = bundle.template
        self.fingerprint = bundle.fingerprint
        self._columns = bundle.label_columns
        self._preprocess = preprocessor(bundle.card.input)
        self._block = 1
        self._head = _open_head(bundle, threads, device)
        self.network_shape: tuple[int, ...] = self._head.shape if self._head else tensor_shape(bundle.card.input)
        self.wants_landmarks = self._head is not None and self._head.wants_landmarks

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
        return self._logits(crops, np.broadcast_to(self.template, (len(crops), 5, 2)))

    def logits_at(self, crops: Image, landmarks: FloatArray) -> FloatArray:
        """Uncalibrated logits of crops whose landmarks are known, for networks that take them.

        Args:
            crops: as for ``logits``.
            landmarks: float32 (N, 5, 2), px in these very crops (``fertrack.imaging.alignment.aligned_landmarks``).

        Returns:
            As ``logits``.

        Raises:
            TypeError, ValueError, ModelError: as ``logits``; also for landmarks of another dtype or shape.
        """
        if not isinstance(landmarks, np.ndarray) or landmarks.dtype != np.float32:
            raise TypeError(f"landmarks must be float32 (N, 5, 2), got {getattr(landmarks, 'dtype', type(landmarks))}")
        if landmarks.shape != (len(crops), 5, 2):
            raise ValueError(f"landmarks must be float32 ({len(crops)}, 5, 2), got {landmarks.shape}")
        return self._logits(crops, landmarks)

    def _logits(self, crops: Image, landmarks: FloatArray) -> FloatArray:
        self._check_crops(crops)
        logits = np.empty((len(crops), len(EXPRESSIONS)), np.float32)
        tensor = self._preprocess(crops) if len(crops) else np.empty(0, np.float32)
        for start in range(0, len(crops), self._block):
            here = slice(start, start + self._block)
            block, points = tensor[here], landmarks[here]
            count = len(block)
            if count < self._block:
                block, points = _filled(block, self._block), _filled(points, self._block)
            logits[start : start + count] = self._as_logits(self._infer(block, points))[:count, self._columns]
        if not np.isfinite(logits).all():
            raise ModelError(
                f"{self.fingerprint}: the network's output is not a finite number; its weights are damaged"
            )
        return logits

    @abstractmethod
    def _answer(self, block: FloatArray) -> Any:
        """Output of the network for a block of faces; may raise anything."""

    def _ready(self, block: int) -> None:
        """Take the number of faces per run, and run the network once.

        Raises:
            ModelError: the network fails, or its output is not float32 (block, 7).
        """
        self._block = block
        pixels = np.zeros((block, *tensor_shape(self.bundle.card.input)), np.float32)
        answer = self._infer(pixels, _filled(self.template[None], block))
        likely = bool((answer >= 0.0).all()) and bool(np.allclose(answer.sum(axis=1), 1.0, atol=1e-3))
        stated = self.bundle.card.output
        if likely != (stated == "probabilities") and np.isfinite(answer).all():
            answers = "probabilities" if likely else "no probabilities"
            raise ModelError(
                f"{self.bundle.model_path} answers with {answers}, but its card says output = {stated!r}; correct that"
            )

    def _infer(self, pixels: FloatArray, landmarks: FloatArray) -> FloatArray:
        """Logits of one block, computed through the feature head if there is one."""
        if self._head is None:
            return self._run(pixels)
        return self._run(self._guarded(partial(self._head.tokens, pixels, landmarks)))

    def _run(self, block: FloatArray) -> FloatArray:
        return self._checked(self._guarded(partial(self._answer, block)), len(block))

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except ModelError:
            raise
        except Exception as error:  # the runtimes have no common error class
            raise ModelError(f"{self.fingerprint}: the network failed on a face: {first_line(error)}") from error

    def _checked(self, output: Any, count: int) -> FloatArray:
        expected = (count, len(EXPRESSIONS))
        if not isinstance(output, np.ndarray) or output.shape != expected or output.dtype != np.float32:
            got = f"{output.dtype} {output.shape}" if isinstance(output, np.ndarray) else type(output).__name__
            raise ModelError(f"{self.bundle.model_path}: output is {got}, expected float32 {expected}")
        return output

    def _as_logits(self, answer: FloatArray) -> FloatArray:
        if self.bundle.card.output == "logits":
            return answer
        logarithms: FloatArray = np.log(np.maximum(answer, _MIN_PROBABILITY))
        return logarithms

    def _check_crops(self, crops: Any) -> None:
        wanted = f"uint8 (N, {self.crop_size}, {self.crop_size}, 3)"
        if not isinstance(crops, np.ndarray) or crops.dtype != np.uint8:
            got = f"{crops.dtype} {crops.shape}" if isinstance(crops, np.ndarray) else type(crops).__name__
            raise TypeError(f"crops must be {wanted}, got {got}")
        if crops.ndim != 4 or crops.shape[1:] != (self.crop_size, self.crop_size, 3):
            raise ValueError(f"crops must be {wanted}, got {crops.dtype} {crops.shape}")


def _open_head(bundle: ClassifierBundle, threads: int, device: Device) -> Any:
    """The feature head that the bundle names, or None."""
    if bundle.card.head is None:
        return None
    from fertrack.classifiers.feature_head import FeatureHead  # needs PyTorch

    return FeatureHead(bundle, threads, device)


def _filled(rows: FloatArray, count: int) -> FloatArray:
    """The rows, and zeros up to ``count``."""
    filled = np.zeros((count, *rows.shape[1:]), np.float32)
    filled[: len(rows)] = rows
    return filled


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
        planes: FloatArray = np.moveaxis(tensor, channel_axis, 0)
        for channel in range(channels):
            source = 2 - channel if card.colour == "rgb" else channel
            planes[channel] = tables[channel][crops[..., source]]
        return tensor

    return gray if card.colour == "gray" else colour
