"""What every detector adapter promises.

Adapters are found by folder: every module of ``fertrack/detectors`` with a ``build``. One whose weights are not on this
machine is skipped, saying so; the weights kept beside the checkout count.
"""

from __future__ import annotations

import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from fertrack.detectors import available_detectors, load_adapter
from fertrack.errors import WeightsError
from fertrack.models.conversion.retinaface import convert_retinaface
from fertrack.protocols import Detector
from fertrack.types import Detections
from tests.support.paths import REPOSITORY

SHARED_WEIGHTS = REPOSITORY.parent / "shared" / "data" / "weights"


def weights_of(name: str, folder: Path) -> Path | None:
    """Weights kept beside the checkout, or None for those the adapter finds by itself."""
    if name == "yunet" and (SHARED_WEIGHTS / "libfacedetection_yunet_n_dynamic.onnx").is_file():
        return SHARED_WEIGHTS / "libfacedetection_yunet_n_dynamic.onnx"
    checkpoint = SHARED_WEIGHTS / "bubbliiiing_Retinaface_mobilenet0.25.pth"
    if name == "retinaface-mobilenet" and checkpoint.is_file() and importlib.util.find_spec("torch"):
        return convert_retinaface(checkpoint, folder / "retinaface-mobilenet.onnx").path
    return None


@pytest.fixture(scope="module", params=available_detectors())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def weights(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    return weights_of(name, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def detector(name: str, weights: Path | None) -> Detector:
    adapter = load_adapter(name)
    try:
        built = adapter.build(adapter.Options(long_side=320), weights)
    except WeightsError as error:
        pytest.skip(str(error))
    return built


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    """Two public-domain portraits and both of them side by side, of three different sizes."""
    portrait = pytest.importorskip("skimage.data").astronaut()[:, :, ::-1]
    matplotlib = pytest.importorskip("matplotlib")
    admiral = cv2.imread(str(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"))
    both = np.zeros((600, 1040, 3), np.uint8)
    both[20:532, 4:516] = portrait
    both[:600, 520:1032] = admiral[:600]
    return [np.ascontiguousarray(portrait), admiral, both]


def rows(detections: Detections) -> tuple[bytes, bytes, bytes]:
    return detections.xyxy.tobytes(), detections.score.tobytes(), detections.landmarks.tobytes()


def test_it_has_what_the_seam_asks_for(name: str, detector: Detector) -> None:
    assert isinstance(detector, Detector)
    assert detector.fingerprint.startswith(f"{name} sha256:")
    assert 1 < detector.smallest_face_px(320, 180) < 40
    assert detector.smallest_face_px(640, 360) == pytest.approx(2 * detector.smallest_face_px(320, 180), rel=0.02)


def test_options_are_frozen_and_default(name: str) -> None:
    options = load_adapter(name).Options()
    with pytest.raises(ValueError, match="frozen"):
        options.long_side = 320


def test_one_result_an_image_in_order(detector: Detector, faces: list[np.ndarray]) -> None:
    found = detector.detect(faces)
    assert [len(detections) for detections in found] == [1, 1, 2]


def test_no_images_give_no_results(detector: Detector) -> None:
    assert detector.detect([]) == []


def test_an_images_bits_do_not_depend_on_its_company(detector: Detector, faces: list[np.ndarray]) -> None:
    batch = [*faces, faces[0], faces[2], faces[0]]
    together = [rows(detections) for detections in detector.detect(batch)]
    alone = [rows(detector.detect([image])[0]) for image in batch]
    assert together == alone
    assert together[0] == together[3] == together[5]


def test_score_sorted_clipped_and_of_the_right_types(detector: Detector, faces: list[np.ndarray]) -> None:
    cut = faces[2][:420, 200:900]  # one face cut by the edge
    (found,) = detector.detect([np.ascontiguousarray(cut)])
    assert len(found) >= 1
    assert (np.diff(found.score) <= 0).all()
    assert ((found.score > 0) & (found.score <= 1)).all()
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= [700, 420, 700, 420]).all()
    assert (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()


def test_landmarks_are_in_order_as_seen_and_lie_in_the_face(detector: Detector, faces: list[np.ndarray]) -> None:
    for image in faces:
        for box, points in zip(*_boxes_and_points(detector, image), strict=True):
            left_eye, right_eye, nose, left_mouth, right_mouth = points
            assert left_eye[0] < nose[0] < right_eye[0]
            assert left_mouth[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
            assert (points > box[:2]).all()
            assert (points < box[2:]).all()


def _boxes_and_points(detector: Detector, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    (found,) = detector.detect([image])
    return found.xyxy, found.landmarks


def test_landmarks_are_where_they_are_known_to_be(detector: Detector, faces: list[np.ndarray]) -> None:
    known = np.array([[203, 101], [247, 103], [226, 125], [204, 142], [242, 144]], np.float32)  # read off by eye
    points = detector.detect([faces[0]])[0].landmarks[0]
    assert np.abs(points - known).max() < 6  # of a face 90 px wide, found at 0.6 of its size


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3), (33, 31), (97, 640)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_without_a_face_gives_an_empty_result(detector: Detector, shape: tuple[int, int], level: int) -> None:
    (found,) = detector.detect([np.full((*shape, 3), level, np.uint8)])
    assert len(found) == 0
    assert found.landmarks.shape == (0, 5, 2)


def test_noise_is_no_crash_and_no_face(detector: Detector) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    assert len(detector.detect([noise])[0]) == 0


def test_a_large_picture_is_fine(detector: Detector, faces: list[np.ndarray]) -> None:
    large = cv2.resize(faces[0], (7680, 4320))
    (found,) = detector.detect([large])
    assert len(found) == 1


def test_read_only_and_strided_images_are_taken_and_left_alone(detector: Detector, faces: list[np.ndarray]) -> None:
    expected = rows(detector.detect([faces[0]])[0])
    wide = np.zeros((faces[0].shape[0], faces[0].shape[1] + 9, 3), np.uint8)
    wide[:, 4:-5] = faces[0]
    view = wide[:, 4:-5]
    view.flags.writeable = False
    before = view.copy()
    assert rows(detector.detect([view])[0]) == expected
    np.testing.assert_array_equal(view, before)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((8, 8, 3), np.float32), TypeError),
        (np.zeros((8, 8), np.uint8), ValueError),
        (np.zeros((0, 8, 3), np.uint8), ValueError),
        (None, TypeError),
    ],
)
def test_wrong_images_are_refused(detector: Detector, image: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="image"):
        detector.detect([image])  # type: ignore[list-item] # on purpose


def test_two_threads_at_once_give_the_same_rows(detector: Detector, faces: list[np.ndarray]) -> None:
    expected = [rows(detections) for detections in detector.detect(faces)]
    gate = threading.Barrier(2)

    def look(_: int) -> list[tuple[bytes, bytes, bytes]]:
        gate.wait()
        return [rows(detector.detect([image])[0]) for image in faces for _ in range(2)][::2]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(look, range(2))) == [expected, expected]


def test_two_instances_do_not_share_options(name: str, weights: Path | None, detector: Detector) -> None:
    adapter = load_adapter(name)
    coarse = adapter.build(adapter.Options(long_side=64), weights)
    assert coarse.smallest_face_px(1280, 720) > 4 * detector.smallest_face_px(1280, 720)


def test_more_threads_find_the_same_faces(
    name: str, weights: Path | None, detector: Detector, faces: list[np.ndarray]
) -> None:
    adapter = load_adapter(name)
    expected = detector.detect(faces)
    found = adapter.build(adapter.Options(long_side=320, threads=2), weights).detect(faces)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other.xyxy, one.xyxy, atol=0.05)


def test_faces_smaller_than_asked_for_are_dropped(
    name: str, weights: Path | None, detector: Detector, faces: list[np.ndarray]
) -> None:
    adapter = load_adapter(name)
    side = float((detector.detect([faces[0]])[0].xyxy[0, 2:] - detector.detect([faces[0]])[0].xyxy[0, :2]).min())
    for smallest, count in ((side - 1, 1), (side + 1, 0)):
        options = adapter.Options(long_side=320, min_face_px=smallest)
        assert len(adapter.build(options, weights).detect([faces[0]])[0]) == count


def test_the_threshold_is_kept(name: str, weights: Path | None, detector: Detector, faces: list[np.ndarray]) -> None:
    adapter = load_adapter(name)
    scores = detector.detect([faces[2]])[0].score
    threshold = min(float(scores.mean()), 0.98)
    options = adapter.Options(long_side=320, score_threshold=threshold)
    found = adapter.build(options, weights).detect([faces[2]])[0]
    assert (found.score >= threshold).all()
    assert len(found) == (scores >= threshold).sum()


def test_weights_that_are_none_are_refused(name: str, tmp_path: Path) -> None:
    adapter = load_adapter(name)
    nonsense = tmp_path / "weights.onnx"
    nonsense.write_bytes(b"this is not a network")
    with pytest.raises(WeightsError, match=f"{name}: .*not an ONNX"):
        adapter.build(adapter.Options(), nonsense)
    with pytest.raises(WeightsError, match="cannot read"):
        adapter.build(adapter.Options(), tmp_path / "absent.onnx")
