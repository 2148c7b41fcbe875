"""YuNet (Wu, Peng and Yu 2023): a very small anchor-free detector, on ONNX Runtime.

Weights of libfacedetection.train (Apache-2.0, trained on WIDER FACE). Input: BGR, 0 to 255. For each of the strides 8,
16 and 32 there are four outputs, one row per cell: class and object probability (their geometric mean is the score),
box (centre offset in cells, log size in cells) and landmarks (offsets in cells).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fertrack.detectors.base import OnnxDetector
from fertrack.detectors.boxes import Candidates, finish
from fertrack.detectors.config import DetectorOptions
from fertrack.detectors.letterbox import letterbox
from fertrack.detectors.session import fingerprint, open_session, read_weights, run
from fertrack.models.weights import find_weights
from fertrack.types import Detections, FloatArray, Image

__all__ = ["Options", "YuNet", "build"]

NAME = "yunet"
STRIDES = (8, 16, 32)
OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES)

LARGEST_LOG_SIZE = 8.0


class Options(DetectorOptions):
    """Options of the YuNet detector."""


class YuNet(OnnxDetector):
    """YuNet on ONNX Runtime."""

    smallest_face_network_px = 8.0
    """Shorter side of the box at which 95 % of 104 faces were still found as the images were made smaller."""

    def _detect_one(self, image: Image) -> Detections:
        box = letterbox(image, self.options.long_side, rgb=False)
        outputs = run(self._session, box.pixels, NAME, OUTPUTS)
        maps = {name: output[0] for name, output in zip(OUTPUTS, outputs, strict=True)}
        return finish(decode(maps, box.pixels.shape[3], self.options.score_threshold), box, self.options)


def decode(maps: Mapping[str, FloatArray], width: int, score_threshold: float) -> Candidates:
    """Boxes and landmarks of all cells at or above the threshold, px of the network's input.

    Args:
        maps: the outputs of one image, float32 (cells, 1, 1, 4 or 10), cells row by row.
        width: px, of the network's input.
        score_threshold: cells below are left out.
    """
    parts = []
    for stride in STRIDES:
        probability = np.clip(maps[f"cls_{stride}"][:, 0], 0, 1) * np.clip(maps[f"obj_{stride}"][:, 0], 0, 1)
        kept = np.flatnonzero(probability >= score_threshold**2)
        cell = np.stack([kept % (width // stride), kept // (width // stride)], axis=1).astype(np.float32)
        box = maps[f"bbox_{stride}"][kept]
        centre = (cell + box[:, :2]) * stride
        half = np.exp(np.minimum(box[:, 2:], LARGEST_LOG_SIZE)) * stride / 2
        points = (cell[:, None] + maps[f"kps_{stride}"][kept].reshape(-1, 5, 2)) * stride
        xyxy = np.concatenate([centre - half, centre + half], axis=1)
        parts.append(Candidates(xyxy, np.sqrt(probability[kept]), points))
    return Candidates.joined(parts)


def build(options: Options | None = None, weights: Path | None = None) -> YuNet:
    """Build the detector; without ``weights`` it uses the downloaded file in the cache folder.

    Raises:
        WeightsError: the weights are missing or unreadable.
        ModelError: the weights are of another network.
    """
    options = options or Options()
    content = read_weights(weights or find_weights(NAME), NAME)
    return YuNet(
        options, open_session(content, options.threads, NAME, OUTPUTS, options.device), fingerprint(NAME, content)
    )
