"""The parts that detectors share: the registry, the letterbox, suppression of doubles, clipping, sessions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from fertrack.detectors import available_detectors, build_detector, load_adapter
from fertrack.detectors.anchors import AnchorLevel, decode_level
from fertrack.detectors.boxes import MAX_CANDIDATES, Candidates, finish, non_maximum_suppression
from fertrack.detectors.config import DetectionConfig, DetectorOptions
from fertrack.detectors.letterbox import Letterbox, fit, letterbox
from fertrack.detectors.session import open_session, run
from fertrack.errors import ConfigError, ModelError, WeightsError

# --- registry


def test_the_folder_is_the_registry() -> None:
    assert available_detectors() == ["centerface", "retinaface", "retinaface-mobilenet", "yunet"]


def test_listing_detectors_loads_nothing_heavy() -> None:
    probe = (
        "import sys; from fertrack.detectors import available_detectors; available_detectors(); "
        "sys.exit(', '.join(sorted({'cv2', 'onnx', 'onnxruntime', 'torch'} & set(sys.modules))) or None)"
    )
    finished = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_a_name_finds_its_file() -> None:
    assert load_adapter("retinaface-mobilenet").__name__ == "fertrack.detectors.retinaface_mobilenet"


def test_the_installed_package_of_the_same_name_is_not_mistaken_for_the_adapter() -> None:
    assert load_adapter("retinaface").__name__ == "fertrack.detectors.retinaface"


def test_an_unknown_name_says_what_was_probably_meant() -> None:
    with pytest.raises(ConfigError, match="did you mean 'centerface'"):
        load_adapter("centreface")
    with pytest.raises(ConfigError, match="there is no detector 'letterbox'"):
        load_adapter("letterbox")  # a file of the folder, but not a detector


OWN_DETECTOR = """
from fertrack.detectors.config import DetectorOptions
from fertrack.types import Detections


class Options(DetectorOptions):
    strength: int = 3


class Mine:
    def __init__(self, options, weights):
        self.options, self.weights, self.fingerprint = options, weights, "mine"

    def detect(self, images):
        return [Detections.empty() for _ in images]

    def smallest_face_px(self, width, height):
        return 1.0


def build(options, weights):
    return Mine(options, weights)
"""


@pytest.fixture
def own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "my_detectors"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(OWN_DETECTOR)
    (package / "broken.py").write_text("raise RuntimeError('not today')")
    (package / "other.py").write_text("Options = 1")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.startswith("my_detectors")]:
        del sys.modules[name]


def test_a_detector_of_ones_own_is_named_by_its_dotted_path(own_package: Path, tmp_path: Path) -> None:
    weights = tmp_path / "mine.bin"
    weights.touch()
    built = build_detector(DetectionConfig(name="my_detectors.mine", long_side=96, weights=str(weights)))
    assert type(built).__name__ == "Mine"
    assert built.options.long_side == 96
    assert built.options.score_threshold == 0.5
    assert built.weights == weights
    assert len(built.detect([np.zeros((4, 4, 3), np.uint8)])) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_detectors.absent", "my_detectors.absent cannot be imported: ModuleNotFoundError"),
        ("my_detectors.broken", "my_detectors.broken cannot be imported: RuntimeError: not today"),
        ("my_detectors.other", "my_detectors.other is not a detector: it has no build"),
    ],
)
def test_a_module_that_is_no_detector_is_refused(own_package: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_adapter(name)


def test_what_the_configuration_does_not_set_is_the_detectors_own_default() -> None:
    built = build_detector(DetectionConfig(long_side=320))
    assert built.options.long_side == 320
    assert built.options.score_threshold == 0.35
    changed = build_detector(
        DetectionConfig(score_threshold=0.6, nms_iou=0.5, min_face_px=20, threads=2, precision="fp32")
    )
    assert changed.options.model_dump() == {
        "long_side": 640,
        "score_threshold": 0.6,
        "nms_iou": 0.5,
        "min_face_px": 20.0,
        "threads": 2,
        "device": "cpu",
        "precision": "fp32",
    }


def test_an_option_the_detector_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("fixed_detector")

    class Options(DetectorOptions):
        threads: int = 1

        def model_post_init(self, _: object) -> None:
            if self.threads != 1:
                raise ValueError("runs on one thread only")

    module.Options, module.build = Options, lambda options, weights: None  # type: ignore[attr-defined] # a stand-in
    monkeypatch.setitem(sys.modules, "fixed.detector", module)
    with pytest.raises(ConfigError, match=r"fixed\.detector refuses .*runs on one thread only"):
        build_detector(DetectionConfig(name="fixed.detector", threads=2))


def test_missing_weights_are_an_error_before_anything_is_loaded() -> None:
    with pytest.raises(WeightsError, match=r"no weights file .*nowhere\.onnx"):
        build_detector(DetectionConfig(weights="/nowhere.onnx"))


@pytest.mark.parametrize("wrong", [{"long_side": 100}, {"long_side": 32}, {"score_threshold": 1.0}, {"threads": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DetectorOptions(**wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DetectionConfig(**wrong)


# --- letterbox


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(2, 64).map(lambda n: 32 * n))
def test_a_picture_fits_into_its_canvas_with_its_shape_kept(width: int, height: int, long_side: int) -> None:
    size = fit(width, height, long_side)
    assert max(size.canvas_width, size.canvas_height) == long_side
    assert size.canvas_width % 32 == size.canvas_height % 32 == 0
    assert 1 <= size.width <= size.canvas_width
    assert 1 <= size.height <= size.canvas_height
    assert min(size.canvas_width - size.width, size.canvas_height - size.height) < 32
    ideal = long_side / max(width, height)
    assert 0.96 * ideal - 1 / max(width, height) <= size.scale(width, height)
    for fitted, side in ((size.width, width), (size.height, height)):
        assert fitted <= max(1, side * ideal + 0.5)
        assert fitted >= side * ideal * 0.97 - 0.5


def test_a_portrait_is_laid_like_a_landscape_turned() -> None:
    lying, standing = fit(1920, 1080, 640), fit(1080, 1920, 640)
    assert (standing.canvas_height, standing.canvas_width) == (lying.canvas_width, lying.canvas_height)
    assert (standing.height, standing.width) == (lying.width, lying.height)


def test_rounding_down_never_costs_more_than_three_percent() -> None:
    assert fit(1280, 720, 640)[:2] == (640, 352)  # 360 → 352: 2.2 %
    assert fit(1280, 720, 480)[:2] == (480, 288)  # 270 → 256 would be 5 %
    assert fit(640, 480, 640)[:2] == (640, 480)


def test_the_network_sees_the_channels_it_wants_and_zeros_around() -> None:
    image = np.zeros((50, 100, 3), np.uint8)
    image[:] = (10, 20, 30)
    rgb = letterbox(image, 128, rgb=True)
    assert rgb.pixels.shape == (1, 3, 64, 128)
    assert rgb.pixels.dtype == np.float32
    assert rgb.pixels[0, :, 0, 0].tolist() == [30, 20, 10]
    assert letterbox(image, 128, rgb=False).pixels[0, :, 0, 0].tolist() == [10, 20, 30]
    tall = letterbox(np.full((100, 70, 3), 200, np.uint8), 128, rgb=True)
    assert tall.pixels.shape == (1, 3, 128, 96)
    assert (tall.pixels[:, :, :, :90] == 200).all()
    assert (tall.pixels[:, :, :, 90:] == 0).all()


def test_the_mean_is_taken_off_in_the_networks_channel_order() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (10, 20, 30)
    assert letterbox(image, 64, rgb=True, mean=(1, 2, 3)).pixels[0, :, 5, 5].tolist() == [29, 18, 7]
    assert letterbox(image, 64, rgb=False, mean=(1, 2, 3)).pixels[0, :, 5, 5].tolist() == [9, 18, 27]


def test_a_point_keeps_its_place_under_the_scale() -> None:
    image = np.zeros((721, 1283, 3), np.uint8)
    cv2.circle(image, (900, 300), 20, (255, 255, 255), -1)
    box = letterbox(image, 640, rgb=True)
    ys, xs = np.nonzero(box.pixels[0, 0] > 127)
    assert (xs.mean() + 0.5) / box.scale_x == pytest.approx(900.5, abs=0.5)
    assert (ys.mean() + 0.5) / box.scale_y == pytest.approx(300.5, abs=0.5)


# --- suppression and clipping


def reference_nms(xyxy: np.ndarray, score: np.ndarray, threshold: float) -> list[int]:
    """Greedy suppression as the textbook says it, one pair at a time."""
    kept: list[int] = []
    for index in sorted(range(len(score)), key=lambda i: (-score[i], i)):
        for other in kept:
            x1, y1 = np.maximum(xyxy[index, :2], xyxy[other, :2])
            x2, y2 = np.minimum(xyxy[index, 2:], xyxy[other, 2:])
            inner = max(0.0, x2 - x1) * max(0.0, y2 - y1)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (xyxy[index], xyxy[other])]
            if inner > threshold * (sum(areas) - inner):
                break
        else:
            kept.append(index)
    return kept


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 2**31), st.sampled_from([0.1, 0.3, 0.5, 0.9]))
def test_suppression_is_the_greedy_one(count: int, seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 40, (count, 2))
    xyxy = np.concatenate([corner, corner + rng.integers(1, 30, (count, 2))], axis=1).astype(np.float32)
    score = (rng.integers(0, 8, count) / 8).astype(np.float32)  # many ties
    assert non_maximum_suppression(xyxy, score, threshold).tolist() == reference_nms(xyxy, score, threshold)


def box_of(width: int, height: int, scale: float = 1.0) -> Letterbox:
    return Letterbox(np.zeros((1, 3, 32, 32), np.float32), scale, scale, width, height)


def candidates(xyxy: list[list[float]], score: list[float]) -> Candidates:
    boxes = np.array(xyxy, np.float32).reshape(-1, 4)
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    return Candidates(boxes, np.array(score, np.float32), np.repeat(centre, 5, axis=1))


def test_boxes_come_back_in_frame_pixels_clipped_and_sorted() -> None:
    found = finish(
        candidates([[-10, 5, 20, 30], [40, 40, 70, 60], [80, 10, 90, 20]], [0.6, 0.9, 0.4]),
        box_of(120, 110, 0.5),
        DetectorOptions(),
    )
    assert found.score.tolist() == pytest.approx([0.9, 0.6])
    assert found.xyxy.tolist() == [[80, 80, 120, 110], [0, 10, 40, 60]]
    assert found.landmarks[1, 0].tolist() == [10, 35]  # of the whole box, not of the clipped one


def test_landmarks_outside_the_frame_are_kept() -> None:
    found = finish(candidates([[-30, 0, 10, 40]], [0.9]), box_of(100, 100), DetectorOptions())
    assert found.landmarks[0, 0].tolist() == [-10, 20]


def test_a_box_wholly_outside_the_frame_is_dropped() -> None:
    found = finish(candidates([[-30, 0, -5, 40], [0, 101, 20, 130]], [0.9, 0.8]), box_of(100, 100), DetectorOptions())
    assert len(found) == 0


def test_numbers_that_are_none_are_dropped() -> None:
    broken = candidates([[0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 60]], [0.9, 0.8, 0.7])
    broken.xyxy[0, 2] = np.inf
    broken.landmarks[2, 3, 1] = np.nan
    found = finish(broken, box_of(100, 100), DetectorOptions())
    assert found.xyxy.tolist() == [[20, 20, 40, 40]]
    nan_score = finish(candidates([[0, 0, 10, 10]], [np.nan]), box_of(100, 100), DetectorOptions())
    assert len(nan_score) == 0


def test_a_face_cut_by_the_edge_is_measured_whole() -> None:
    options = DetectorOptions(min_face_px=25)
    found = finish(candidates([[-20, 0, 10, 30], [50, 50, 74, 90]], [0.9, 0.8]), box_of(100, 100), options)
    assert found.xyxy.tolist() == [[0, 0, 10, 30]]


def test_a_flood_of_candidates_is_bounded_and_keeps_the_best() -> None:
    count = 4 * MAX_CANDIDATES
    corner = np.stack([np.arange(count) % 120, np.arange(count) // 120], axis=1) * 20.0
    flood = candidates(np.concatenate([corner, corner + 10], axis=1).tolist(), np.linspace(0.5, 1, count).tolist())
    found = finish(flood, box_of(10_000, 10_000), DetectorOptions())
    assert len(found) == MAX_CANDIDATES
    assert found.score[0] == 1
    assert found.score[-1] == pytest.approx(1 - 0.5 * MAX_CANDIDATES / count, abs=1e-3)


# --- anchors


def test_anchors_are_centred_in_their_cells_and_numbered_cell_by_cell() -> None:
    level = AnchorLevel(stride=8, sizes=(16.0, 32.0), centre=4.0)
    kept = np.array([0, 1, 2 * (3 * 5 + 2) + 1])  # the last: second anchor of row 3, column 2 (five columns)
    values = np.zeros((3, 4), np.float32)
    found = decode_level(
        level, 5, kept=kept, score=np.ones(3, np.float32), box=values, landmarks=np.zeros((3, 10), np.float32),
        centre_variance=0.1, size_variance=0.2,
    )  # fmt: skip
    assert found.xyxy.tolist() == [[-4, -4, 12, 12], [-12, -12, 20, 20], [4, 12, 36, 44]]
    assert found.landmarks[2].tolist() == [[20, 28]] * 5


def test_anchor_values_move_and_stretch_by_their_variances() -> None:
    box = np.array([[1.0, -2.0, np.log(2) / 0.2, 0.0]], np.float32)
    landmarks = np.arange(10, dtype=np.float32)[None]
    found = decode_level(
        AnchorLevel(16, (64.0,), 8.0), 4, kept=np.array([0]), score=np.ones(1, np.float32), box=box,
        landmarks=landmarks, centre_variance=0.1, size_variance=0.2,
    )  # fmt: skip
    centre_x, centre_y = 8 + 6.4, 8 - 12.8
    expected = [centre_x - 64, centre_y - 32, centre_x + 64, centre_y + 32]
    np.testing.assert_allclose(found.xyxy[0], expected, rtol=1e-5)
    np.testing.assert_allclose(found.landmarks[0], 8 + 6.4 * landmarks.reshape(5, 2), rtol=1e-5)


def test_absurd_sizes_do_not_overflow() -> None:
    found = decode_level(
        AnchorLevel(16, (64.0,), 8.0), 4, kept=np.array([0]), score=np.ones(1, np.float32),
        box=np.full((1, 4), 1e6, np.float32), landmarks=np.zeros((1, 10), np.float32),
        centre_variance=1.0, size_variance=1.0,
    )  # fmt: skip
    assert np.isfinite(found.xyxy).all()


# --- sessions


def tiny_model(shape: list[int | str]) -> bytes:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("pixels", "same")]
    graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["same"])], "tiny", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def test_a_session_checks_its_outputs() -> None:
    model = tiny_model(["n", 3, "h", "w"])
    pixels = np.ones((1, 3, 4, 5), np.float32)
    np.testing.assert_array_equal(run(open_session(model, 1, "tiny", ("same",)), pixels, "tiny")[0], pixels)
    with pytest.raises(ModelError, match=r"tiny: expected one input and outputs other, got .*same"):
        open_session(model, 1, "tiny", ("other",))
    with pytest.raises(ModelError, match="9 outputs"):
        open_session(model, 1, "tiny", 9)


def test_a_network_of_fixed_size_is_refused_in_our_own_words() -> None:
    session = open_session(tiny_model([1, 3, 8, 8]), 1, "tiny", 1)
    with pytest.raises(ModelError, match=r"tiny: the network could not be run on an input of shape \(1, 3, 4, 5\)"):
        run(session, np.ones((1, 3, 4, 5), np.float32), "tiny")
