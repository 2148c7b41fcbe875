"""A PyTorch feature head in front of a classifier of any kind: pixels in, tokens of the quaternion feature out.

With a Keras classifier behind it this is the hybrid pipeline: PyTorch head, 4-stack, Keras. Training and inference
share the layout (``fertrack.models.networks.feature_orthogonal.to_tokens``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fertrack.errors import ModelError
from fertrack.models.bundle import ClassifierBundle
from fertrack.models.checkpoint import import_torch
from fertrack.models.networks.architectures import load_orf_model
from fertrack.models.torch_runtime import inference, torch_device
from fertrack.types import Device, FloatArray

__all__ = ["FeatureHead"]


class FeatureHead:
    """Feature head named by a bundle. Safe to call from several threads at once.

    Attributes:
        shape: of one face's tokens: (512, 49) or (1024, 49) for the published sizes.
        wants_landmarks: whether it looks at landmarks.
    """

    def __init__(self, bundle: ClassifierBundle, threads: int = 1, device: Device = "cpu") -> None:
        """Load it.

        Args:
            bundle: names it.
            threads: CPU threads for one face.
            device: what it runs on; it is PyTorch's, whatever runs the classifier behind it.

        Raises:
            ValueError: the bundle names none.
            ConfigError: PyTorch does not run networks on that device here.
            WeightsError: its file is missing, holds more than arrays, or its hash differs.
            ModelError: it is of another network, or does not take the bundle's crops.
            FertrackError: PyTorch is not installed.
        """
        card, path = bundle.card.head, bundle.head_path
        if card is None or path is None:
            raise ValueError(f"{bundle.folder}: the bundle names no feature head")
        pixels = bundle.card.input
        if pixels.layout != "NCHW" or pixels.channels != 3:
            raise ModelError(f"{path}: a feature head takes colour crops, layout NCHW; correct [input] in its card")
        self._threads = threads
        self._torch: Any = import_torch("a feature head")
        self._device = torch_device(self._torch, device)
        network = load_orf_model(path, architecture=card.architecture, rename=card.rename, sha256=card.sha256)
        self._network = network.to(self._device)
        self.wants_landmarks = hasattr(self._network, "attention")
        blank = np.zeros((1, 3, pixels.size_px, pixels.size_px), np.float32)
        try:
            self.shape: tuple[int, ...] = self.tokens(blank, bundle.template[None]).shape[1:]
        except RuntimeError as error:
            raise ModelError(
                f"{path}: the feature head does not take crops of {pixels.size_px} px; correct [input] in its card"
            ) from error

    def tokens(self, pixels: FloatArray, landmarks: FloatArray) -> FloatArray:
        """The quaternion feature, float32 (N, 4C, h*w).

        Args:
            pixels: float32 (N, 3, S, S), normalised.
            landmarks: float32 (N, 5, 2), px in these crops.
        """
        torch = self._torch
        given = (pixels, landmarks.copy()) if self.wants_landmarks else (pixels,)
        with inference(torch, self._threads):
            inputs = (torch.from_numpy(values).to(self._device) for values in given)
            tokens: FloatArray = self._network.tokens(*inputs).cpu().numpy()
        return tokens
