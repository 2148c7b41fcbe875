"""CenterFace in 8-bit integers: what is in the graph, what it finds, and when it is chosen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fertrack.detectors import build_detector, centerface, precision
from fertrack.detectors.centerface_graph import prepare
from fertrack.detectors.config import DetectionConfig
from fertrack.detectors.graph_cache import kept_graph
from fertrack.detectors.precision import Verdict, drawn_faces, int8_verdict, same_faces
from fertrack.errors import ConfigError
from fertrack.imaging.geometry import iou_matrix
from fertrack.models.weights import find_weights
from fertrack.types import Detections, Image

FP32 = centerface.Options(precision="fp32")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fertrack"


@pytest.fixture
def int8() -> centerface.CenterFace:
    """The detector in INT8, where this machine can run it rightly."""
    if not precision._sums_are_exact():
        pytest.skip("sums of byte products overflow on this processor")
    return centerface.build(centerface.Options(precision="int8"))


def test_the_drawn_faces_are_faces_to_the_detector() -> None:
    (found,) = centerface.build(FP32.model_copy(update={"long_side": 320})).detect([drawn_faces()])
    assert len(found) == 6
    assert found.score.min() > 0.5


def test_int8_finds_the_drawn_faces_and_says_in_its_fingerprint_what_it_is(int8: centerface.CenterFace) -> None:
    exact = centerface.build(FP32)
    assert same_faces(exact.detect([drawn_faces()])[0], int8.detect([drawn_faces()])[0])
    assert int8.options.precision == "int8"
    assert exact.fingerprint == "centerface sha256:09189dea"
    assert int8.fingerprint.startswith("centerface sha256:09189dea int8:")


def test_fp32_runs_the_very_graph_that_is_made_of_the_file(cache: Path) -> None:
    content = find_weights("centerface").read_bytes()
    for _ in range(2):  # made, then read back
        assert centerface._graph(content, "fp32") == prepare(content)
        centerface.build(FP32)
    (kept,) = (cache / "graphs").glob("centerface-fp32-*.onnx")
    assert kept.read_bytes()[:-32] == prepare(content)


def test_int8_leaves_the_first_five_convolutions_and_the_heads_in_fp32() -> None:
    graph = onnx.load_model_from_string(centerface._graph(find_weights("centerface").read_bytes(), "int8")).graph
    constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    exact = {node.input[1] for node in convolutions if node.input[1] in constants}
    assert {constants[name].dtype.name for name in exact} == {"float32"}
    heads = {f"head.{head}_conv.weight" for head in ("pos", "reg", "off", "lm")}
    assert exact == {"542", "546", "550", "554", "558"} | heads
    weights = [values for values in constants.values() if values.dtype == np.int8 and values.ndim == 4]
    assert len(weights) == 51
    for values in weights:  # each output channel uses its bytes to the full
        assert np.abs(values).max(axis=(1, 2, 3)).min() == 127


def test_int8_gives_the_same_rows_on_any_number_of_threads(int8: centerface.CenterFace) -> None:
    large = cv2.resize(drawn_faces(), (1280, 768))
    (expected,) = int8.detect([large])
    threaded = centerface.build(centerface.Options(precision="int8", threads=3))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda number: (int8, threaded)[number % 2].detect([large])[0], range(12)):
            for column in ("xyxy", "score", "landmarks"):
                assert np.array_equal(getattr(found, column), getattr(expected, column))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"device": "openvino"}, "its integers are for the cpu"),
        ({"weights": "other.onnx"}, "the ranges of these weights are not known"),
        ({"name": "yunet", "weights": "yunet.onnx"}, "for centerface only"),
    ],
)
def test_int8_is_refused_where_it_cannot_be_had(
    config: dict[str, str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = onnx.load_model_from_string(find_weights("centerface").read_bytes())
    model.doc_string = "changed"
    Path("other.onnx").write_bytes(model.SerializeToString())
    monkeypatch.setattr("fertrack.detectors.yunet.open_session", lambda *_: None)
    Path("yunet.onnx").write_bytes(b"")
    with pytest.raises(ConfigError, match=f"detection.precision = 'int8'.*{why}"):
        build_detector(DetectionConfig(precision="int8", **config))  # type: ignore[arg-type] # a name of a device


def test_weights_of_ones_own_run_in_fp32(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(find_weights("centerface").read_bytes())
    model.doc_string = "changed"
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    assert centerface.build(weights=tmp_path / "other.onnx").options.precision == "fp32"


@pytest.mark.parametrize(
    ("verdict", "chosen"),
    [(Verdict(True, 1.9), "int8"), (Verdict(True, 1.05), "fp32"), (Verdict(False, 1.9, "other faces"), "fp32")],
)
def test_auto_is_int8_where_it_is_right_and_clearly_faster(
    verdict: Verdict, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(centerface, "int8_verdict", lambda *_: verdict)
    built = centerface.build()
    assert built.options.precision == chosen
    assert ("int8" in built.fingerprint) == (chosen == "int8")


def test_int8_that_was_asked_for_is_refused_where_it_finds_other_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centerface, "int8_verdict", lambda *_: Verdict(False, why_not="other faces are found with it"))
    with pytest.raises(ConfigError, match="other faces are found with it; use fp32 or auto"):
        centerface.build(centerface.Options(precision="int8"))


class Slow:
    """A detector that gives what it is told, and a clock that goes on by what it costs."""

    fingerprint = "slow"
    now_s = 0.0

    def __init__(self, found: Detections, cost_s: float) -> None:
        self._found, self._cost_s = found, cost_s

    def detect(self, images: list[Image]) -> list[Detections]:
        Slow.now_s += self._cost_s
        return [self._found] * len(images)

    def smallest_face_px(self, width: int, height: int) -> float:
        return 0.0


def face(x: float, score: float = 0.9, shift: float = 0.0) -> Detections:
    landmarks = np.array([[[x + 10, 20], [x + 30, 20], [x + 20, 30], [x + 12, 40], [x + 28, 40]]], np.float32) + shift
    return Detections(np.array([[x, 0, x + 40, 50]], np.float32), np.array([score], np.float32), landmarks)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision.time, "thread_time", lambda: Slow.now_s)
    monkeypatch.setattr(precision, "_sums_are_exact", lambda: True)


@pytest.mark.usefixtures("clock")
def test_the_verdict_is_kept_with_the_processors_name(cache: Path) -> None:
    first = int8_verdict("net", lambda: Slow(face(0), 3.0), lambda: Slow(face(0), 2.0))
    assert first == Verdict(True, 1.5)
    assert precision.processor_name() in (cache / "int8_verdicts.json").read_text(encoding="utf-8")

    def never() -> Slow:
        raise AssertionError("tried again")

    assert int8_verdict("net", never, never) == first
    assert int8_verdict("another net", lambda: Slow(face(0), 1.0), lambda: Slow(face(0), 2.0)).speed == 0.5
    (cache / "int8_verdicts.json").write_text("[damaged", encoding="utf-8")
    assert int8_verdict("net", lambda: Slow(face(0), 2.0), lambda: Slow(face(0), 1.0)).speed == 2.0


@pytest.mark.usefixtures("clock", "cache")
@pytest.mark.parametrize(
    "found",
    [face(200), face(0, shift=9), face(0, score=0.4), Detections.empty()],
    ids=["elsewhere", "other landmarks", "unsure", "none"],
)
def test_other_faces_are_no_right_faces(found: Detections) -> None:
    two = [face(0), face(300)]
    both = Detections(*(np.concatenate([getattr(f, c) for f in two]) for c in ("xyxy", "score", "landmarks")))
    verdict = int8_verdict("net", lambda: Slow(both, 1.0), lambda: Slow(found, 0.1))
    assert not verdict.right
    assert not verdict.chosen
    assert "other faces" in verdict.why_not


@pytest.mark.usefixtures("cache")
def test_integers_that_overflow_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_sums_are_exact", lambda: False)

    def never() -> Slow:
        raise AssertionError("there is nothing to try")

    verdict = int8_verdict("net", never, never)
    assert not verdict.right
    assert "overflow" in verdict.why_not


def test_a_kept_graph_is_made_anew_where_it_is_of_other_parts_or_damaged(cache: Path) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"graph"

    assert [kept_graph("net", (b"weights", "code 1"), make) for _ in range(2)] == [b"graph"] * 2
    assert len(made) == 1
    kept_graph("net", (b"weights", "code 2"), make)
    assert len(made) == 2
    for kept in (cache / "graphs").iterdir():
        kept.write_bytes(kept.read_bytes()[1:])
    assert kept_graph("net", (b"weights", "code 2"), make) == b"graph"
    assert len(made) == 3


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fertrack").write_text("a file where the folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept_graph("net", (b"weights",), lambda: b"graph") == b"graph"


@pytest.mark.shared
def test_int8_finds_again_what_fp32_is_sure_of(shared_data: Path, int8: centerface.CenterFace) -> None:
    exact = centerface.build(FP32)
    sure = again = added = 0
    for path in sorted((shared_data / "image").glob("*.jpg")):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        expected, found = exact.detect([image])[0], int8.detect([image])[0]
        overlap = iou_matrix(expected.xyxy, found.xyxy)
        certain = expected.score >= 0.5
        sure += int(certain.sum())
        again += int((overlap.max(axis=1, initial=0) >= 0.5)[certain].sum())
        added += int((overlap.max(axis=0, initial=0) < 0.5)[found.score >= 0.5].sum())
    assert sure > 250
    assert again / sure >= 0.995
    assert added / sure <= 0.005
