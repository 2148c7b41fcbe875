"""Appearance embedding: colours of face, hair and collar. Good for seconds, not for recognition.

The stand-in where no face recognition is installed. Clothes, light and background all count, so two people in the same
uniform look alike and one person looks different after a turn into the shade; it is only ever used together with a
short gap in time and a plausible way from one place to the other.
"""

from __future__ import annotations

import cv2
import numpy as np

from fertrack.types import FloatArray, Image

__all__ = ["AppearanceEmbedder"]

_SIZE = 64
_HUES, _SATURATIONS, _VALUES = 12, 4, 8
_GREYISH = 40  # below this saturation a hue is noise
_BANDS = 4

_TEMPLATE: FloatArray = np.array([(25, 24), (39, 24), (32, 30), (27, 36), (37, 36)], np.float32)
_TEMPLATE.flags.writeable = False


class AppearanceEmbedder:
    """An ``Embedder`` without a network: colour histograms of four bands from the hair down to the collar.

    The Euclidean distance of two rows is the Hellinger distance of their histograms, 0 (same) to 1 (nothing shared).

    Attributes:
        crop_size: 64.
        template: float32 (5, 2): a face with about its own width around it.
        fingerprint: "appearance 1".
        recognises: False: equal looks are no equal persons.
    """

    crop_size = _SIZE
    template = _TEMPLATE
    fingerprint = "appearance 1"
    recognises = False

    def embed(self, crops: Image) -> FloatArray:
        """Histograms, float32 (N, D), of crops uint8 (N, 64, 64, 3) BGR.

        Raises:
            ValueError: crops are of another shape.
        """
        if crops.ndim != 4 or crops.shape[1:] != (_SIZE, _SIZE, 3):
            raise ValueError(f"crops must be (N, {_SIZE}, {_SIZE}, 3), got {crops.shape}")
        width = _BANDS * (_HUES * _SATURATIONS + _VALUES)
        return np.array([self._describe(crop) for crop in crops], np.float32).reshape(len(crops), width)

    @staticmethod
    def _describe(crop: Image) -> FloatArray:
        hsv = cv2.cvtColor(crop, cv2.COLOR_BGR2HSV)
        histograms = []
        for band in np.array_split(hsv[:, _SIZE // 8 : -_SIZE // 8], _BANDS):
            hue, saturation, value = band.reshape(-1, 3).T.astype(np.float32)
            coloured = saturation >= _GREYISH
            colours, _, _ = np.histogram2d(
                hue[coloured], saturation[coloured], (_HUES, _SATURATIONS), ((0, 180), (_GREYISH, 256))
            )
            greys, _ = np.histogram(value[~coloured], _VALUES, (0, 256))
            histograms += [colours.ravel(), greys.astype(np.float64)]
        counts = np.concatenate(histograms)
        described: FloatArray = np.sqrt(counts / counts.sum() / 2.0).astype(np.float32)
        return described
