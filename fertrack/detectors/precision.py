"""Arithmetic of a detector that has a choice: 8-bit integers if this processor is good at them, else FP32.

Good at them is a processor that multiplies bytes without overflow (x86 before VNNI adds pairs of products in 16 bits,
which is too few), that finds the same faces with them in an image drawn here, and that is clearly faster with them.
Trying it takes about half a second; the answer is kept in the cache folder with the processor's name, so that a
machine always gives the same rows.
"""

from __future__ import annotations

import contextlib
import json
import logging
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fertrack.detectors.graph_cache import keep
from fertrack.imaging.geometry import iou_matrix
from fertrack.models.weights import cache_folder
from fertrack.protocols import Detector
from fertrack.types import Detections, Image

__all__ = ["Verdict", "drawn_faces", "int8_verdict", "processor_name", "same_faces"]

logger = logging.getLogger(__name__)

_WORTH_IT = 1.15
"""Speed-up that integers must reach: less is not worth other rows than elsewhere, and could be chance."""

_ROUNDS = 7
_SURE = 0.5
_SAME_IOU = 0.8
_SAME_LANDMARK = 0.1
"""Share of the face's width that a landmark may move; 0.02 is usual."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of trying 8-bit integers on this processor.

    Attributes:
        right: whether they find the faces that FP32 finds.
        speed: how many times as fast as FP32 they are, CPU time; 0 if that was not measured.
        why_not: what is wrong, for people; empty if ``right``.
    """

    right: bool
    speed: float = 0.0
    why_not: str = ""

    @property
    def chosen(self) -> bool:
        """Whether to use them where it is left open."""
        return self.right and self.speed >= _WORTH_IT


def int8_verdict(key: str, fp32: Callable[[], Detector], int8: Callable[[], Detector]) -> Verdict:
    """Try both on the drawn faces, or recall what came of it the last time.

    Args:
        key: which networks they are.
        fp32: builds the detector in FP32, on one thread.
        int8: builds the same in 8-bit integers.
    """
    import onnxruntime

    name = f"{processor_name()}; ONNX Runtime {onnxruntime.__version__}; {key}"
    path = cache_folder().parent / "int8_verdicts.json"
    known = _read_verdicts(path)
    if name not in known:
        known[name] = verdict = _judge(fp32, int8)
        logger.info("INT8 on this processor: %s", verdict)
        text = json.dumps({which: [v.right, v.speed, v.why_not] for which, v in known.items()}, indent=1)
        keep(path, text.encode())
    return known[name]


def _judge(fp32: Callable[[], Detector], int8: Callable[[], Detector]) -> Verdict:
    if not _sums_are_exact():
        return Verdict(False, why_not="this processor's sums of byte products overflow (it has no VNNI)")
    picture, detectors = drawn_faces(), (fp32(), int8())
    expected, found = (detector.detect([picture])[0] for detector in detectors)
    if not same_faces(expected, found):
        return Verdict(False, why_not="other faces are found with it on this processor")
    spent: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(_ROUNDS):  # taking turns, so that a busy machine is busy for both
        for which, detector in enumerate(detectors):
            started = time.thread_time()
            detector.detect([picture])
            spent[which].append(time.thread_time() - started)
    return Verdict(True, round(statistics.median(spent[0]) / max(statistics.median(spent[1]), 1e-6), 2))


def same_faces(expected: Detections, found: Detections) -> bool:
    """Whether two looks at one image agree about the faces they are sure of, and about the landmarks of those."""
    for ours, theirs in ((expected, found), (found, expected)):
        sure = ours.select(ours.score >= _SURE)
        overlap = iou_matrix(sure.xyxy, theirs.xyxy)
        if (overlap.max(axis=1, initial=0.0) < _SAME_IOU).any():
            return False
        partner = theirs.landmarks[overlap.argmax(axis=1)] if len(sure) else sure.landmarks
        width = (sure.xyxy[:, 2] - sure.xyxy[:, 0])[:, None]
        if (np.linalg.norm(partner - sure.landmarks, axis=2) > _SAME_LANDMARK * width).any():
            return False
    return bool((expected.score >= _SURE).any())


def _sums_are_exact() -> bool:
    """Whether unsigned by signed bytes are added up without overflow: the largest products there are, times 64."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    channels = 64
    weights = numpy_helper.from_array(np.full((16, channels, 1, 1), 127, np.int8), "weights")
    values = [
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, channels, 4, 4]),
        helper.make_tensor_value_info("sums", TensorProto.INT32, [1, 16, 4, 4]),
    ]
    node = helper.make_node("ConvInteger", ["pixels", "weights"], ["sums"])
    graph = helper.make_graph([node], "sums", values[:1], values[1:], [weights])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (sums,) = session.run(None, {"pixels": np.full((1, channels, 4, 4), 255, np.uint8)})
    return bool((sums == 255 * 127 * channels).all())


def drawn_faces() -> Image:
    """Six schematic faces, 16 to 60 px wide, in which CenterFace is sure of each: uint8 (192, 320, 3), BGR."""
    rows, columns = np.mgrid[:192, :320].astype(np.float32)
    picture = np.linspace(70, 130, 320, dtype=np.float32)[None, :, None] * np.array([1, 0.95, 0.9], np.float32)
    picture = np.repeat(picture, 192, axis=0)

    def spot(x: float, y: float, radii: tuple[float, float], colour: tuple[int, int, int], edge: float) -> None:
        radius_x, radius_y = radii
        inside = 1 - ((columns - x) / radius_x) ** 2 - ((rows - y) / radius_y) ** 2
        cover = np.clip(inside * min(radius_x, radius_y) / edge / 2, 0, 1)[..., None]
        picture[:] = picture * (1 - cover) + np.array(colour, np.float32) * cover

    for x, y, r in ((30, 50, 10), (80, 50, 13), (130, 50, 16), (190, 55, 20), (260, 60, 26), (90, 135, 34)):
        spot(x, y + r * 1.9, (r * 1.5, r), (90, 60, 50), 1.5)  # shoulders, neck, hair, skin
        spot(x, y + r, (r * 0.4, r * 0.5), (110, 140, 185), 1.5)
        spot(x, y - r * 0.25, (r * 0.92, r * 1.1), (35, 45, 60), 1.5)
        spot(x, y, (r * 0.75, r), (135, 165, 210), r * 0.12 + 1)
        for eye in (x - r * 0.32, x + r * 0.32):
            spot(eye, y - r * 0.14, (r * 0.2, r * 0.12), (100, 125, 165), r * 0.06)
            spot(eye, y - r * 0.14, (r * 0.15, r * 0.07), (225, 230, 235), r * 0.03)
            spot(eye, y - r * 0.14, (r * 0.07, r * 0.07), (35, 40, 50), r * 0.03)
            spot(eye, y - r * 0.32, (r * 0.2, r * 0.05), (60, 75, 105), r * 0.04)
        spot(x - r * 0.06, y + r * 0.08, (r * 0.06, r * 0.22), (155, 185, 228), r * 0.06)
        for nostril in (x - r * 0.08, x + r * 0.08):
            spot(nostril, y + r * 0.25, (r * 0.05, r * 0.03), (70, 90, 130), r * 0.03)
        spot(x, y + r * 0.52, (r * 0.26, r * 0.09), (95, 100, 175), r * 0.05)
        spot(x, y + r * 0.51, (r * 0.24, r * 0.025), (60, 60, 110), r * 0.03)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _read_verdicts(path: Path) -> dict[str, Verdict]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(which): Verdict(bool(right), float(speed), str(why_not))
            for which, (right, speed, why_not) in kept.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def processor_name() -> str:
    """The processor's name, with what tells apart those that share one in a virtual machine."""
    named: dict[str, str] = {}
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            named.setdefault(key.strip(), value.strip())
    flags = {flag for flag in named.get("flags", "").split() if "vnni" in flag or "amx" in flag or flag == "avx512bw"}
    return " ".join([named.get("model name") or platform.processor() or platform.machine(), *sorted(flags)])
