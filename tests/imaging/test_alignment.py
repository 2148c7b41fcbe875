"""Aligned crops: where things land, that nothing aliases, and what bad landmarks give."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fertrack.imaging.alignment import (
    BLANK_LEVEL,
    DEFAULT_TEMPLATE,
    align_faces,
    align_with_landmarks,
    aligned_landmarks,
)
from fertrack.imaging.geometry import transform_points

Array = npt.NDArray[Any]
SMALL_TEMPLATE = DEFAULT_TEMPLATE * np.float32(64 / 224)


def placed(scale: float, angle_deg: float, centre: tuple[float, float]) -> Array:
    """Landmarks of a face shaped like the template, float32 (1, 5, 2)."""
    angle = np.radians(angle_deg)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    motion = np.array([[[c, -s, centre[0] - 112 * c + 112 * s], [s, c, centre[1] - 112 * s - 112 * c]]])
    return transform_points(motion, DEFAULT_TEMPLATE[None]).astype(np.float32)


def dotted(landmarks: Array, shape: tuple[int, int] = (600, 800)) -> Array:
    """A black frame with a soft white blob on each landmark."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    reach = 0.02 * np.ptp(landmarks[0], axis=0).max() + 2
    level = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * reach**2)) for px, py in landmarks[0])
    return np.repeat((255 * np.minimum(level, 1)).astype(np.uint8)[:, :, None], 3, axis=2)


def blob_centre(crop: Array, near: Array, reach: int) -> Array:
    x0, y0 = (max(0, int(v) - reach) for v in near)
    patch = crop[y0 : int(near[1]) + reach + 1, x0 : int(near[0]) + reach + 1, 0].astype(np.float64)
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]]
    return np.array([(patch * x).sum() / patch.sum() + x0, (patch * y).sum() / patch.sum() + y0])


@pytest.mark.parametrize("angle_deg", [0.0, 25.0, -140.0])
@pytest.mark.parametrize("scale", [0.4, 1.0, 1.3, 2.2])
@pytest.mark.parametrize("size", [224, 64])
def test_landmarks_land_on_the_template(scale: float, angle_deg: float, size: int) -> None:
    # 2.2 -> 64 px is a step of 7.7 frame px: two halvings and a double canvas, none of which may shift the picture.
    landmarks = placed(scale, angle_deg, (400.3, 299.6))
    template = DEFAULT_TEMPLATE * np.float32(size / 224)
    crop = align_faces(dotted(landmarks), landmarks, template, size)[0]
    for point in template:
        assert np.abs(blob_centre(crop, point, size // 16) - point).max() < 0.35


def test_identity_copies_pixels_exactly() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (300, 320, 3), dtype=np.uint8)
    landmarks = DEFAULT_TEMPLATE[None] + np.float32((17, 31))
    np.testing.assert_array_equal(align_faces(frame, landmarks)[0], frame[31:255, 17:241])


def test_channels_keep_their_order() -> None:
    frame = np.zeros((300, 300, 3), np.uint8)
    frame[:] = (10, 120, 250)
    crop = align_faces(frame, placed(2.0, 30, (150, 150)), SMALL_TEMPLATE, 64)
    np.testing.assert_array_equal(np.unique(crop.reshape(-1, 3), axis=0), [(10, 120, 250)])


@pytest.mark.parametrize("scale", [0.8, 1.5, 3.0])
def test_fine_stripes_average_out_instead_of_aliasing(scale: float) -> None:
    frame = np.zeros((900, 900, 3), np.uint8)
    frame[:, ::2] = 255
    landmarks = placed(scale, 0, (450.25, 450.25))
    crop = align_faces(frame, landmarks, SMALL_TEMPLATE, 64)[0].astype(np.float64)
    assert abs(crop.mean() - 127.5) < 4
    assert crop.std() < 50, "stripes of one px have a deviation of 127, and of 70 or more if sampled without averaging"


def test_large_face_equals_area_average() -> None:
    """A face eight times the crop: within rounding, each crop px is the mean of what it covers."""
    rng = np.random.default_rng(5)
    frame = cv2.resize(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8), (512, 512), interpolation=cv2.INTER_CUBIC)
    landmarks = (SMALL_TEMPLATE[None] * 8 + 3.5).astype(np.float32)  # crop px i is centred on frame px 8 i + 3.5
    crop = align_faces(frame, landmarks, SMALL_TEMPLATE, 64)[0].astype(np.float64)
    area = frame.reshape(64, 8, 64, 8, 3).mean(axis=(1, 3))
    assert np.abs(crop - area)[1:-1, 1:-1].mean() < 3


def test_border_is_replicated() -> None:
    frame = np.full((100, 100, 3), 200, np.uint8)
    assert (align_faces(frame, placed(1.0, 0, (0, 0))) == 200).all()
    assert (align_faces(frame, placed(9.0, 10, (0, 0)), SMALL_TEMPLATE, 64) == 200).all()


def test_a_crop_does_not_depend_on_the_other_faces() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    faces = np.concatenate([placed(s, a, (c, 200)) for s, a, c in ((0.5, 3, 100), (1.9, -20, 300), (1.0, 90, 500))])
    together = align_faces(frame, faces, SMALL_TEMPLATE, 64)
    for i in range(3):
        np.testing.assert_array_equal(together[i], align_faces(frame, faces[i : i + 1], SMALL_TEMPLATE, 64)[0])
    np.testing.assert_array_equal(together, align_faces(frame, faces, SMALL_TEMPLATE, 64))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_crop_does_not_depend_on_thread_counts(threads: int) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    faces = placed(1.9, -20, (300, 200))
    expected = align_faces(frame, faces, SMALL_TEMPLATE, 64)
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        np.testing.assert_array_equal(align_faces(frame, faces, SMALL_TEMPLATE, 64), expected)
    finally:
        cv2.setNumThreads(before)


def test_undefined_landmarks_give_grey_and_spare_the_others() -> None:
    frame = np.zeros((300, 300, 3), np.uint8)
    good = placed(1.0, 0, (150, 150))
    faces = np.concatenate([good * np.float32(np.nan), good, np.full_like(good, 42.5), np.full_like(good, np.inf)])
    crops = align_faces(frame, faces)
    assert [int(crop.min()) for crop in crops] == [BLANK_LEVEL, 0, BLANK_LEVEL, BLANK_LEVEL]
    assert np.isnan(aligned_landmarks(faces)).all(axis=(1, 2)).tolist() == [True, False, True, True]


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 1e3, 1e6, 1e30])
@pytest.mark.parametrize("shift", [-1e7, 0.0, 1e7])
@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (480, 640)])
def test_absurd_landmarks_neither_crash_nor_take_long(factor: float, shift: float, shape: tuple[int, int]) -> None:
    frame = np.full((*shape, 3), 77, np.uint8)
    crop = align_faces(frame, DEFAULT_TEMPLATE[None] * np.float32(factor) + np.float32(shift), SMALL_TEMPLATE, 64)
    assert crop.shape == (1, 64, 64, 3)
    assert set(np.unique(crop)) <= {77, BLANK_LEVEL}


def test_wider_than_opencv_can_address() -> None:
    frame = np.zeros((300, 70_000, 3), np.uint8)
    frame[:, 60_000:] = 255
    crop = align_faces(frame, placed(1.0, 0, (60_000, 150)))[0]
    assert crop[:, :110].max() == 0
    assert crop[:, 114:].min() == 255


@pytest.mark.parametrize("turn", [np.rot90, lambda a: a[:, ::-1], lambda a: a[::2, ::3]])
def test_views_of_any_stride(turn: Any) -> None:
    frame = turn(np.random.default_rng(2).integers(0, 256, (700, 900, 3), dtype=np.uint8))
    faces = placed(0.8, 10, (120, 160))
    np.testing.assert_array_equal(align_faces(frame, faces), align_faces(np.ascontiguousarray(frame), faces))


def test_aligned_landmarks_agree_with_the_template() -> None:
    np.testing.assert_allclose(aligned_landmarks(placed(1.7, 33, (200, 220)))[0], DEFAULT_TEMPLATE, atol=1e-3)


def test_crops_and_landmarks_come_from_one_call() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    faces = np.concatenate([placed(0.8, 20, (150, 140)), np.full((1, 5, 2), np.nan, np.float32)])
    crops, points = align_with_landmarks(picture, faces, size=64)
    np.testing.assert_array_equal(crops, align_faces(picture, faces, size=64))
    np.testing.assert_array_equal(points, aligned_landmarks(faces))


def test_no_faces() -> None:
    frame = np.zeros((5, 5, 3), np.uint8)
    assert align_faces(frame, np.empty((0, 5, 2), np.float32), SMALL_TEMPLATE, 64).shape == (0, 64, 64, 3)
    assert aligned_landmarks(np.empty((0, 5, 2), np.float32)).shape == (0, 5, 2)


def test_misuse_is_named() -> None:
    frame = np.zeros((5, 5, 3), np.uint8)
    good = DEFAULT_TEMPLATE[None]
    with pytest.raises(TypeError, match=r"landmarks must be float32 \(N, 5, 2\), got float64 \(3, 10\)"):
        align_faces(frame, np.zeros((3, 10)))  # type: ignore[arg-type]  # the misuse under test
    with pytest.raises(ValueError, match=r"landmarks must be float32 \(N, 5, 2\), got float32 \(5, 2\)"):
        align_faces(frame, good[0])
    with pytest.raises(TypeError, match="landmarks must be float32"):
        aligned_landmarks([[1, 2]])  # type: ignore[arg-type]  # the misuse under test
    with pytest.raises(TypeError, match="image must be uint8"):
        align_faces(frame.astype(np.float32), good)  # type: ignore[arg-type]  # the misuse under test
    with pytest.raises(ValueError, match="size"):
        align_faces(frame, good, size=0)


def test_fast_enough() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    landmarks = placed(216 / 170, 5, (400, 350))
    times = []
    for _ in range(50):
        start = time.perf_counter()
        align_faces(frame, landmarks, SMALL_TEMPLATE, 64)
        times.append(time.perf_counter() - start)
    assert min(times) < 2e-3, "about 0.2 ms is usual; ten times that means the wrong path is taken"


@pytest.mark.shared
def test_real_faces_sit_upright(shared_data: Path) -> None:
    """Landmarks of real faces, from a detector: all five lie near their places in the crop."""
    csv = shared_data / "video" / "composite_5faces_landmarks.csv"
    rows = np.genfromtxt(csv, delimiter=",", skip_header=1, max_rows=200)
    landed = aligned_landmarks(rows[:, 2:].reshape(-1, 5, 2).astype(np.float32))
    assert np.abs(np.median(landed, axis=0) - DEFAULT_TEMPLATE).max() < 12
    assert np.abs(landed - DEFAULT_TEMPLATE).max() < 40
