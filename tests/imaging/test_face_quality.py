"""Pose and quality of faces: angles of turned heads, and a quality that only falls as a picture gets worse."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from fertrack.imaging.alignment import DEFAULT_TEMPLATE, align_faces
from fertrack.imaging.face_quality import MEAN_FACE, face_quality, head_pose
from fertrack.types import Float64Array, FloatArray, Image

SIZE = (240, 320)
MIDDLE = (DEFAULT_TEMPLATE - 112) * np.float32(0.5) + np.float32([160, 120])


def turned(roll: float, yaw: float, pitch: float, face: Float64Array = MEAN_FACE) -> Float64Array:
    """The landmarks of a head turned by pitch, then yaw, then roll (degrees), seen without perspective."""
    (a, b, c), (sa, sb, sc) = np.cos(np.radians([roll, yaw, pitch])), np.sin(np.radians([roll, yaw, pitch]))
    about_z = np.array([[a, -sa, 0], [sa, a, 0], [0, 0, 1]])
    about_y = np.array([[b, 0, -sb], [0, 1, 0], [sb, 0, b]])
    about_x = np.array([[1, 0, 0], [0, c, -sc], [0, sc, c]])
    return (face @ (about_z @ about_y @ about_x).T)[..., :2]


def picture(seed: int = 3) -> Image:
    """Grain at the scale of a face's features."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (SIZE[0] // 3, SIZE[1] // 3, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def quality(image: Image, landmarks: FloatArray = MIDDLE, side: int = 64) -> float:
    template = DEFAULT_TEMPLATE * np.float32(side / 224)
    crops = align_faces(image, landmarks[None].astype(np.float32), template, side)
    return float(face_quality(landmarks[None].astype(np.float32), crops, template, image.shape[:2])[0])


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, 50, 0), (0, -50, 0), (0, 0, 25), (-20, 35, -15)])
def test_the_pose_of_the_mean_face_is_exact_at_any_size(angles: tuple[float, float, float]) -> None:
    for scale in (0.1, 4.0):
        points = (turned(*angles) * scale + 500).astype(np.float32)[None]
        assert head_pose(points)[0] == pytest.approx(angles, abs=0.05)


@pytest.mark.parametrize("yaw", [0, 30, 60])
def test_yaw_and_pitch_of_other_faces_are_off_by_less_than_eight_degrees_on_average(yaw: float) -> None:
    """Faces whose points lie 4 % of the eye distance elsewhere (8 % in depth), seen with 2 % of noise."""
    random = np.random.default_rng(1)
    eyes = np.ptp(MEAN_FACE[:2, 0])
    faces = MEAN_FACE + random.normal(size=(1000, 5, 3)) * eyes * [0.04, 0.04, 0.08]
    points = turned(0, yaw, 0, faces) + random.normal(size=(1000, 5, 2)) * eyes * 0.02
    errors = np.abs(head_pose(points.astype(np.float32)) - [0, yaw, 0]).mean(axis=0)
    assert (errors < 8).all()
    assert errors[1] > 1, "the faces are unlike the mean face"


def test_perspective_at_an_arms_length_moves_yaw_by_less_than_four_degrees() -> None:
    distance = 8 * np.ptp(MEAN_FACE[:2, 0])  # half a metre
    for yaw in (0, 30, 60):
        b, sb = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
        solid = MEAN_FACE @ np.array([[b, 0, -sb], [0, 1, 0], [sb, 0, b]]).T
        seen = (solid[:, :2] * distance / (distance + solid[:, 2:])).astype(np.float32)
        assert abs(head_pose(seen[None])[0, 1] - yaw) < 4


def test_landmarks_without_a_pose_give_none_and_no_quality() -> None:
    nothing = np.stack([np.full((5, 2), np.nan), np.full((5, 2), 7.0), np.full((5, 2), np.inf)]).astype(np.float32)
    assert np.isnan(head_pose(nothing)).all()
    crops = np.full((3, 64, 64, 3), 128, np.uint8)
    assert face_quality(nothing, crops, DEFAULT_TEMPLATE * np.float32(64 / 224), SIZE).tolist() == [0, 0, 0]
    assert len(head_pose(nothing[:0])) == len(face_quality(nothing[:0], crops[:0], DEFAULT_TEMPLATE, SIZE)) == 0


def test_a_large_sharp_frontal_face_has_full_quality_whatever_its_roll() -> None:
    for roll in (0, 40, 180):
        points = turned(roll, 0, 0) * 0.5 + [160, 120]
        assert quality(picture(), points.astype(np.float32)) == 1.0


WORSE: dict[str, Callable[[float], float]] = {
    "yaw": lambda by: quality(picture(), (turned(0, 90 * by, 0) * 0.5 + [160, 120]).astype(np.float32)),
    "pitch": lambda by: quality(picture(), (turned(0, 0, -90 * by) * 0.5 + [160, 120]).astype(np.float32)),
    "size": lambda by: quality(picture(), (MIDDLE - 120) * np.float32(max(1 - by, 0.05)) + 120),
    "blur": lambda by: quality(cv2.GaussianBlur(picture(), (0, 0), 0.01 + 30 * by)),
    "dark": lambda by: quality((picture() * (1 - by)).astype(np.uint8)),
    "outside": lambda by: quality(picture(), MIDDLE - np.float32([110 + 110 * by, 0])),
}


@pytest.mark.parametrize("what", WORSE)
def test_quality_falls_and_never_rises_as_a_picture_gets_worse(what: str) -> None:
    values = [WORSE[what](by) for by in np.linspace(0, 1, 9)]
    assert all(later <= earlier + 0.02 for earlier, later in itertools.pairwise(values)), values
    assert values[0] > 0.9
    assert values[-1] < 0.1


def test_a_faces_quality_depends_on_no_other_face() -> None:
    image = picture()
    points = np.stack([MIDDLE, MIDDLE - 60, (MIDDLE - 120) * np.float32(0.2) + 120]).astype(np.float32)
    template = DEFAULT_TEMPLATE * np.float32(64 / 224)
    crops = align_faces(image, points, template, 64)
    together = face_quality(points, crops, template, SIZE)
    alone = [face_quality(points[i : i + 1], crops[i : i + 1], template, SIZE)[0] for i in range(3)]
    assert together.tolist() == alone
