"""Face recognition by dlib's descriptor network: 128 numbers per face, close together for the same person.

The network (ResNet-29, Davis King, 2017) comes in the package ``face-recognition-models``, runs on ``dlib``, and was
trained so that two faces of one person lie within a Euclidean distance of 0.6. It takes a crop of 150 x 150 px, RGB,
cut the way dlib's ``get_face_chip`` cuts it: the mean face shape with a margin of 0.25 of its width around it. Our
five landmarks are laid on the same shape: the middles of its six eye points, its nose tip, its mouth corners.

Cost: 75 to 90 ms a face on one core; dlib holds Python's interpreter lock meanwhile, so more threads do not help.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from fertrack.errors import MissingExtraError, ModelError
from fertrack.models.weights import find_weights, known_weights
from fertrack.types import FloatArray, Image

__all__ = ["CROP_PX", "CROP_TEMPLATE", "DlibEmbedder", "build", "is_available"]

CROP_PX = 150
"""Side of the crop the network takes, px."""

_DIMENSIONS = 128
_MARGIN = 0.25
_BATCH = 8
# Of the mean shape of dlib's 68 points (unit square from brow to chin), reduced to our five.
_MEAN_SHAPE = np.array(
    [(0.225492, 0.215990), (0.754760, 0.215990), (0.490127, 0.515625), (0.254149, 0.780233), (0.726104, 0.780233)]
)

CROP_TEMPLATE: FloatArray = ((_MEAN_SHAPE + _MARGIN) / (1.0 + 2.0 * _MARGIN) * CROP_PX).astype(np.float32)
"""Where left eye, right eye, nose, left and right mouth corner lie in a crop, px: float32 (5, 2)."""
CROP_TEMPLATE.flags.writeable = False


class DlibEmbedder:
    """An ``Embedder`` on dlib's face descriptor network. Safe to call from several threads; they take turns.

    Attributes:
        crop_size: 150.
        template: float32 (5, 2), ``CROP_TEMPLATE``.
        fingerprint: name and hash of the network.
        recognises: True.

    Raises:
        MissingExtraError: dlib is not installed.
        ConfigError: the weights' package is not installed.
        WeightsError: the weights file is another one.
        ModelError: dlib cannot read it.
    """

    crop_size = CROP_PX
    template = CROP_TEMPLATE
    recognises = True

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise MissingExtraError("recognising faces needs dlib and its network", "reid", advice=_OR) from error
        path = find_weights("dlib-resnet")
        try:
            self._network: Any = dlib.face_recognition_model_v1(str(path))
        except RuntimeError as error:
            raise ModelError(f"dlib cannot read the face recognition network {path}: {error}") from error
        self.fingerprint = f"dlib-resnet sha256:{known_weights('dlib-resnet').sha256[:8]}"
        self._lock = threading.Lock()

    def embed(self, crops: Image) -> FloatArray:
        """Descriptors of aligned faces.

        Args:
            crops: uint8 (N, 150, 150, 3), BGR.

        Returns:
            float32 (N, 128). A face's row does not depend on the others.

        Raises:
            TypeError: crops are not uint8.
            ValueError: crops are not (N, 150, 150, 3).
            ModelError: the network failed.
        """
        if not isinstance(crops, np.ndarray) or crops.dtype != np.uint8:
            raise TypeError(f"crops must be uint8 (N, {CROP_PX}, {CROP_PX}, 3), got {getattr(crops, 'dtype', crops)}")
        if crops.ndim != 4 or crops.shape[1:] != (CROP_PX, CROP_PX, 3):
            raise ValueError(f"crops must be (N, {CROP_PX}, {CROP_PX}, 3), got {crops.shape}")
        rgb = np.ascontiguousarray(crops[..., ::-1])
        rows: list[Any] = []
        try:
            with self._lock:  # the network keeps its activations: two calls at once would mix them
                for start in range(0, len(rgb), _BATCH):
                    rows += self._network.compute_face_descriptor(list(rgb[start : start + _BATCH]))
        except RuntimeError as error:
            raise ModelError(f"dlib's face recognition network failed: {error}") from error
        return np.array(rows, np.float32).reshape(len(crops), _DIMENSIONS)


def is_available() -> bool:
    """Whether the extra is installed, checked without importing any of it."""
    from importlib.util import find_spec

    from fertrack.models.weights import locate

    return find_spec("dlib") is not None and locate("dlib-resnet") is not None


def build() -> DlibEmbedder:
    """Load the network.

    Raises:
        MissingExtraError: the extra is not installed.
        WeightsError: the weights file is another one.
    """
    return DlibEmbedder()


_OR = ", or --set linking.method=auto"
