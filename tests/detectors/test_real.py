"""Detectors on real pictures: counts that people can check by looking, and agreement between unlike networks."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from fertrack.detectors import centerface, retinaface_mobilenet, yunet
from fertrack.imaging.geometry import iou_matrix
from fertrack.models.conversion.retinaface import convert_retinaface
from fertrack.protocols import Detector
from fertrack.types import Image

pytestmark = pytest.mark.shared

# Pictures whose faces can be counted by eye.
COUNTED = {
    "insightface_t1": 6,
    "pyfeat_multi_face": 5,
    "fr_obama_and_biden": 3,
    "ultralight_3": 5,
    "ultralight_6": 14,
    "ultralight_9": 8,
    "ultralight_20": 10,
    "pyfeat_no-face": 0,
    "fer_no-faces": 0,
}


def picture(shared_data: Path, name: str) -> Image:
    image = cv2.imread(str(shared_data / "image" / f"{name}.jpg"))
    assert image is not None
    return np.asarray(image, np.uint8)


@pytest.fixture(scope="module")
def detectors(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Detector]:
    weights = shared_data / "weights"
    built: dict[str, Detector] = {
        "centerface": centerface.build(),
        "yunet": yunet.build(weights=weights / "libfacedetection_yunet_n_dynamic.onnx"),
    }
    pytest.importorskip("torch")
    converted = convert_retinaface(
        weights / "bubbliiiing_Retinaface_mobilenet0.25.pth", tmp_path_factory.mktemp("retinaface") / "mobilenet.onnx"
    )
    return built | {"retinaface-mobilenet": retinaface_mobilenet.build(weights=converted.path)}


@pytest.mark.parametrize("name", COUNTED)
def test_centerface_finds_every_face_and_nothing_else(shared_data: Path, name: str) -> None:
    assert len(centerface.build().detect([picture(shared_data, name)])[0]) == COUNTED[name]


def test_centerface_finds_six_of_six_at_320_px(shared_data: Path) -> None:
    small = centerface.build(centerface.Options(long_side=320))
    assert len(small.detect([picture(shared_data, "insightface_t1")])[0]) == 6


def test_centerface_is_surest_when_given_the_colours_in_its_order(shared_data: Path) -> None:
    detector = centerface.build(centerface.Options(long_side=320))
    names = [name for name, count in COUNTED.items() if count]
    right = [detector.detect([picture(shared_data, name)])[0].score.sum() for name in names]
    swapped = [
        detector.detect([np.ascontiguousarray(picture(shared_data, n)[:, :, ::-1])])[0].score.sum() for n in names
    ]
    assert sum(right) > sum(swapped) * 1.02


@pytest.mark.parametrize("name", [name for name, count in COUNTED.items() if count])
def test_unlike_networks_agree(shared_data: Path, detectors: dict[str, Detector], name: str) -> None:
    image = picture(shared_data, name)
    found = {which: detector.detect([image])[0] for which, detector in detectors.items()}
    ours = found["centerface"]
    for which in ("yunet", "retinaface-mobilenet"):
        other = found[which]
        assert len(other) == COUNTED[name], which
        overlap = iou_matrix(ours.xyxy, other.xyxy)
        partner = overlap.argmax(axis=1)
        assert (overlap.max(axis=1) > 0.6).all(), which
        assert len(set(partner.tolist())) == len(ours), which
        width = (other.xyxy[partner, 2] - other.xyxy[partner, 0])[:, None, None]
        apart = np.linalg.norm((ours.landmarks - other.landmarks[partner]) / width, axis=2)
        assert np.median(apart) < 0.08, which  # swapped eyes or corners would be 0.4 and more
        assert apart.mean(axis=1).max() < 0.25, which


def test_yunet_of_fixed_size_is_refused_in_one_sentence(shared_data: Path) -> None:
    from fertrack.errors import ModelError

    fixed = yunet.build(weights=shared_data / "weights" / "libfacedetection_yunet_n_640_640.onnx")
    with pytest.raises(ModelError, match="yunet: the network could not be run on an input of shape"):
        fixed.detect([np.zeros((360, 640, 3), np.uint8)])


def test_a_cartoon_shows_no_face(shared_data: Path) -> None:
    detector = centerface.build()
    with av.open(str(shared_data / "video" / "pyfeat_no_face.mp4")) as video:
        frames = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)][::12]
    assert len(frames) == 8
    assert sum(len(found) for found in detector.detect(frames)) == 0


def test_a_smaller_picture_loses_no_face_above_the_announced_size(shared_data: Path) -> None:
    names = [name for name, count in COUNTED.items() if count]
    large = centerface.build()
    expected = found = 0
    for long_side in (128, 192, 256, 320):
        small = centerface.build(centerface.Options(long_side=long_side))
        for name in names:
            image = picture(shared_data, name)
            boxes = large.detect([image])[0].xyxy
            seen = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= small.smallest_face_px(*image.shape[1::-1])]
            expected += len(seen)
            found += int((iou_matrix(seen, small.detect([image])[0].xyxy).max(axis=1, initial=0) > 0.35).sum())
    assert expected > 100
    assert found / expected >= 0.95
