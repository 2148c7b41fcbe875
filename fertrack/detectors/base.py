"""Base of the detectors on ONNX Runtime: all but a network's input format and how its output is decoded."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import onnxruntime as ort

from fertrack.detectors.config import DetectorOptions
from fertrack.detectors.letterbox import fit
from fertrack.errors import ConfigError
from fertrack.types import Detections, Image

__all__ = ["OnnxDetector"]


class OnnxDetector(ABC):
    """A detector on ONNX Runtime. Stateless; one instance may be used from several threads at once.

    Attributes:
        smallest_face_network_px: shorter side of the smallest box the network finds, px of its input.
        has_int8: whether ``precision`` is its own choice; if not, it runs in FP32.
        options: what it was built with; ``precision`` is what was chosen.
        fingerprint: name and hash of the weights.
    """

    smallest_face_network_px: ClassVar[float]
    has_int8: ClassVar[bool] = False

    def __init__(self, options: DetectorOptions, session: ort.InferenceSession, fingerprint: str) -> None:
        if not self.has_int8:
            if options.precision == "int8":
                raise ConfigError("detection.precision = 'int8' is for centerface only: use fp32, or leave it out")
            options = options.model_copy(update={"precision": "fp32"})
        self.options = options
        self.fingerprint = fingerprint
        self._session = session

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Detect faces in each image (uint8 (H, W, 3) BGR; sizes may differ), one ``Detections`` per image.

        Raises:
            TypeError: an image is not a uint8 array.
            ValueError: an image is not (H, W, 3) or has no pixels.
        """
        # One run per image, whatever the batch: a batch in one run is slower (its feature maps do not fit into the
        # cache together), and this way an image's result cannot depend on its neighbours.
        return [self._detect_one(image) for image in images]

    def smallest_face_px(self, width: int, height: int) -> float:
        """About the smallest face (shorter side of its box), in px of a ``width`` x ``height`` frame, that is found."""
        return self.smallest_face_network_px / fit(width, height, self.options.long_side).scale(width, height)

    def resized(self, long_side: int) -> Self:
        """The same network with another ``long_side``, px, a multiple of 32; it shares the weights."""
        other = copy.copy(self)
        other.options = self.options.model_copy(update={"long_side": long_side})
        return other

    @abstractmethod
    def _detect_one(self, image: Image) -> Detections:
        """The faces of one image."""
