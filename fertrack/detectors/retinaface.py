"""RetinaFace with a ResNet-50 backbone: the ONNX network of the PyPI package ``retina-face`` (MIT, WIDER FACE).

The network is run here, in a session of our own, and decoded in numpy: importing that package's detection module would
prefer TensorFlow wherever it is installed, silence all warnings of the process, and return boxes cut to whole pixels.
So the package need not be installed; the weights are found in fertrack's cache folder, where the package keeps what it
downloaded (``~/.deepface/weights``), or at a path.

Input: RGB, 0 to 255, layout (N, H, W, 3). Outputs, coarsest stride first: for each of the strides 32, 16 and 8 the
class probabilities (background of both anchors, then face of both), the boxes and the landmarks, all (N, rows,
columns, channels). Anchors of all strides are centred 8 px into their cell; their sizes are those of ``LEVELS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fertrack.detectors.anchors import AnchorLevel, decode_level
from fertrack.detectors.base import OnnxDetector
from fertrack.detectors.boxes import Candidates, finish
from fertrack.detectors.config import DetectorOptions, NmsIou, ScoreThreshold
from fertrack.detectors.letterbox import letterbox
from fertrack.detectors.session import fingerprint, open_session, read_weights, run
from fertrack.errors import ModelError
from fertrack.models.weights import find_weights
from fertrack.types import Detections, FloatArray, Image

__all__ = ["Options", "RetinaFace", "build"]

NAME = "retinaface"
LEVELS = (
    AnchorLevel(32, (512.0, 256.0), 8.0),
    AnchorLevel(16, (128.0, 64.0), 8.0),
    AnchorLevel(8, (32.0, 16.0), 8.0),
)
CHANNELS = (4, 8, 20)


class Options(DetectorOptions):
    """Options of the RetinaFace ResNet-50 detector."""

    score_threshold: ScoreThreshold = 0.9
    nms_iou: NmsIou = 0.4


class RetinaFace(OnnxDetector):
    """RetinaFace ResNet-50."""

    smallest_face_network_px = 16.0
    """Its smallest anchor; not measured, for want of the weights."""

    def _detect_one(self, image: Image) -> Detections:
        box = letterbox(image, self.options.long_side, rgb=True)
        pixels = np.ascontiguousarray(box.pixels.transpose(0, 2, 3, 1))
        return finish(decode(run(self._session, pixels, NAME), self.options.score_threshold), box, self.options)


def decode(outputs: Sequence[FloatArray], score_threshold: float) -> Candidates:
    """Boxes and landmarks of all anchors at or above the threshold, px of the network's input.

    Args:
        outputs: the network's nine outputs for one image, see the top of this file.
        score_threshold: anchors below are left out.

    Raises:
        ModelError: the outputs' shapes are of another network.
    """
    parts = []
    for level, *three in zip(LEVELS, outputs[::3], outputs[1::3], outputs[2::3], strict=True):
        if tuple(output.shape[-1] for output in three) != CHANNELS or len({output.shape[:3] for output in three}) != 1:
            shapes = ", ".join(str(output.shape) for output in three)
            raise ModelError(f"{NAME}: outputs of shapes {shapes} are not this network's; use the weights of {NAME}")
        anchors = len(level.sizes)
        columns = three[0].shape[2]
        score = three[0][0, :, :, anchors:].reshape(-1)
        kept = np.flatnonzero(score >= score_threshold)
        box = three[1][0].reshape(-1, 4)[kept]
        landmarks = three[2][0].reshape(-1, 10)[kept]
        parts.append(
            decode_level(
                level,
                columns,
                kept=kept,
                score=score[kept],
                box=box,
                landmarks=landmarks,
                centre_variance=1.0,
                size_variance=1.0,
            )
        )
    return Candidates.joined(parts)


def build(options: Options | None = None, weights: Path | None = None) -> RetinaFace:
    """Build the detector; without ``weights`` it uses the known file, see the top of this file.

    Raises:
        WeightsError: the weights are missing or unreadable.
        ModelError: the weights are of another network.
    """
    options = options or Options()
    content = read_weights(weights or find_weights(NAME), NAME)
    session = open_session(content, options.threads, NAME, len(LEVELS) * len(CHANNELS), options.device)
    return RetinaFace(options, session, fingerprint(NAME, content))
