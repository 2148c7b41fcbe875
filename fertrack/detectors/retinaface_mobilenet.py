"""RetinaFace with a MobileNet-0.25 backbone (Deng et al. 2019, arXiv 1905.00641) on ONNX Runtime.

The weights are made by ``fertrack models convert`` from the public PyTorch checkpoint (MIT, trained on WIDER FACE).
Input: RGB, 0 to 255, minus (104, 117, 123). Outputs: one row per anchor of the strides 8, 16 and 32 in that order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fertrack.detectors.anchors import AnchorLevel, decode_level
from fertrack.detectors.base import OnnxDetector
from fertrack.detectors.boxes import Candidates, finish
from fertrack.detectors.config import DetectorOptions, NmsIou
from fertrack.detectors.letterbox import letterbox
from fertrack.detectors.session import fingerprint, open_session, read_weights, run
from fertrack.errors import ModelError
from fertrack.models.weights import find_weights
from fertrack.types import Detections, FloatArray, Image

__all__ = ["Options", "RetinaFaceMobileNet", "build"]

NAME = "retinaface-mobilenet"
MEAN = (104.0, 117.0, 123.0)
OUTPUTS = ("score", "box", "landmarks")
LEVELS = (
    AnchorLevel(8, (16.0, 32.0), 4.0),
    AnchorLevel(16, (64.0, 128.0), 8.0),
    AnchorLevel(32, (256.0, 512.0), 16.0),
)
CENTRE_VARIANCE = 0.1
SIZE_VARIANCE = 0.2


class Options(DetectorOptions):
    """Options of the RetinaFace MobileNet detector."""

    nms_iou: NmsIou = 0.4


class RetinaFaceMobileNet(OnnxDetector):
    """RetinaFace MobileNet-0.25."""

    smallest_face_network_px = 14.0
    """Shorter side of the box at which 95 % of 104 faces were still found as the images were made smaller."""

    def _detect_one(self, image: Image) -> Detections:
        box = letterbox(image, self.options.long_side, rgb=True, mean=MEAN)
        score, boxes, landmarks = run(self._session, box.pixels, NAME, OUTPUTS)
        height, width = box.pixels.shape[2:]
        candidates = decode(score[0], boxes[0], landmarks[0], (height, width), self.options.score_threshold)
        return finish(candidates, box, self.options)


def decode(
    score: FloatArray, box: FloatArray, landmarks: FloatArray, size: tuple[int, int], score_threshold: float
) -> Candidates:
    """Boxes and landmarks of all anchors at or above the threshold, px of the network's input.

    Args:
        score: float32 (A,), probability of a face.
        box: float32 (A, 4).
        landmarks: float32 (A, 10).
        size: height and width of the network's input, px, multiples of 32.
        score_threshold: anchors below are left out.

    Raises:
        ModelError: the number of anchors is not that of the input's size.
    """
    parts = []
    first = 0
    for level in LEVELS:
        rows, columns = size[0] // level.stride, size[1] // level.stride
        count = rows * columns * len(level.sizes)
        here = slice(first, first + count)
        kept = np.flatnonzero(score[here] >= score_threshold)
        parts.append(
            decode_level(
                level,
                columns,
                kept=kept,
                score=score[here][kept],
                box=box[here][kept],
                landmarks=landmarks[here][kept],
                centre_variance=CENTRE_VARIANCE,
                size_variance=SIZE_VARIANCE,
            )
        )
        first += count
    if first != len(score):
        raise ModelError(f"{NAME}: {len(score)} anchors came out where {first} are expected: another network's weights")
    return Candidates.joined(parts)


def build(options: Options | None = None, weights: Path | None = None) -> RetinaFaceMobileNet:
    """Build the detector; without ``weights`` it uses the converted file in the cache folder.

    Raises:
        WeightsError: the weights are missing or unreadable.
        ModelError: the weights are of another network.
    """
    options = options or Options()
    content = read_weights(weights or find_weights(NAME), NAME)
    return RetinaFaceMobileNet(
        options, open_session(content, options.threads, NAME, OUTPUTS, options.device), fingerprint(NAME, content)
    )
