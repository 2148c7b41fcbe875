"""What faces are compared by, on public-domain portraits: one person stays near, another is far."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from fertrack.demo import portrait
from fertrack.detectors import build_detector
from fertrack.detectors.config import DetectionConfig
from fertrack.embedders import build_embedder, can_recognise
from fertrack.embedders.dlib import CROP_TEMPLATE
from fertrack.errors import MissingExtraError
from fertrack.imaging.alignment import align_faces
from fertrack.protocols import Embedder

SAME_PERSON = 0.6
"""Distance below which dlib's network was trained to put two faces of one person."""


def variants(name: str) -> list[np.ndarray]:
    """A portrait as a video would show it: mirrored, darker, blurred, farther away, tilted."""
    picture = cv2.copyMakeBorder(portrait(name), 60, 60, 60, 60, cv2.BORDER_REPLICATE)
    height, width = picture.shape[:2]
    tilt = cv2.getRotationMatrix2D((width / 2, height / 2), 20, 1)
    return [
        picture,
        np.ascontiguousarray(picture[:, ::-1]),
        (picture * 0.5).astype(np.uint8),
        cv2.GaussianBlur(picture, (0, 0), 2),
        cv2.resize(picture, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA),
        cv2.warpAffine(picture, tilt, (width, height), borderMode=cv2.BORDER_REPLICATE),
    ]


def chips(name: str, embedder: Embedder) -> np.ndarray:
    detector = build_detector(DetectionConfig())
    found = []
    for picture in variants(name):
        (detections,) = detector.detect([picture])
        found.append(align_faces(picture, detections.landmarks[:1], embedder.template, embedder.crop_size)[0])
    return np.stack(found)


@pytest.fixture(scope="module")
def faces() -> dict[str, np.ndarray]:
    """Embeddings of both people's pictures, (6, 128) each."""
    pytest.importorskip("dlib", reason="face recognition is not installed: pip install 'fertrack[reid]'")
    embedder = build_embedder(recognise=True)
    return {name: embedder.embed(chips(name, embedder)) for name in ("astronaut", "hopper")}


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def test_one_person_stays_near_and_another_is_far(faces: dict[str, np.ndarray]) -> None:
    for vectors in faces.values():
        assert (vectors.shape, vectors.dtype) == ((6, 128), np.float32)
        assert apart(vectors, vectors).max() < SAME_PERSON
        assert apart(vectors[:1], vectors).max() < 0.4
    assert apart(faces["astronaut"], faces["hopper"]).min() > SAME_PERSON


def test_a_face_does_not_depend_on_its_batch_and_must_have_the_right_form(faces: dict[str, np.ndarray]) -> None:
    embedder = build_embedder(recognise=True)
    assert embedder.recognises
    assert "sha256:55533b28" in embedder.fingerprint
    crops = chips("hopper", embedder)[:2]
    np.testing.assert_allclose(embedder.embed(crops[1:]), faces["hopper"][1:2], atol=1e-5)
    assert embedder.embed(crops[:0]).shape == (0, 128)
    with pytest.raises(ValueError, match="150"):
        embedder.embed(crops[:, :100])
    with pytest.raises(TypeError, match="uint8"):
        embedder.embed(crops.astype(np.float32))


def test_our_chip_is_dlibs_own() -> None:
    """dlib cuts by four eye corners and the bottom of the nose; ours must lay the same face on the same place."""
    dlib = pytest.importorskip("dlib", reason="face recognition is not installed")
    random = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    picture = np.asarray(cv2.resize(random, (600, 600), interpolation=cv2.INTER_CUBIC), np.uint8)
    # dlib's five points in the unit square of its mean face: outer and inner corners of both eyes, bottom of the nose
    corners = [
        (0.858517, 0.216423),
        (0.645647, 0.231733),
        (0.121737, 0.216423),
        (0.334606, 0.231733),
        (0.490127, 0.628106),
    ]
    left, top, side_px = 180.0, 150.0, 240.0
    points = dlib.points([dlib.point(round(left + side_px * x), round(top + side_px * y)) for x, y in corners])
    shape = dlib.full_object_detection(dlib.rectangle(180, 150, 420, 390), points)
    theirs = dlib.get_face_chip(picture, shape, size=150, padding=0.25).astype(np.float64)
    landmarks = (left, top) + side_px * (CROP_TEMPLATE / 150 * 1.5 - 0.25)
    (ours,) = align_faces(picture, landmarks[None].astype(np.float32), CROP_TEMPLATE, 150).astype(np.float64)
    inner = slice(15, 135)
    here = np.corrcoef(ours[inner, inner].ravel(), theirs[inner, inner].ravel())[0, 1]
    shifted = np.corrcoef(ours[inner, 18:138].ravel(), theirs[inner, inner].ravel())[0, 1]
    assert here > 0.99 > shifted


def test_looks_tell_two_people_apart_for_the_moment() -> None:
    embedder = build_embedder(recognise=False)
    assert not embedder.recognises
    first, second = (embedder.embed(chips(name, embedder)) for name in ("astronaut", "hopper"))
    near = [0, 1, 3, 4, 5]  # the darker picture looks different, as it should
    assert apart(first[near], first[near]).max() < 0.5 < apart(first[near], second[near]).min()
    np.testing.assert_allclose(apart(first, second), apart(second, first).T)
    assert apart(first, second).max() <= 1.0 + 1e-6
    with pytest.raises(ValueError, match="64"):
        embedder.embed(np.zeros((1, 32, 32, 3), np.uint8))


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[reid\]"):
        build_embedder(recognise=True)


def test_asking_what_is_installed_loads_nothing() -> None:
    probe = (
        "import sys; from fertrack.embedders import can_recognise; can_recognise(); "
        "sys.exit(', '.join({'dlib', 'face_recognition_models', 'cv2'} & set(sys.modules)) or None)"
    )
    finished = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"loaded {finished.stderr}"
    assert isinstance(can_recognise(), bool)
