"""One small picture per person, only where it was asked for; nothing that shows a face is stored otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import sqlalchemy as sa

from fertrack.cli.main import run
from fertrack.demo import compose_demo
from fertrack.detectors import build_detector
from fertrack.detectors.config import DetectionConfig
from fertrack.protocols import Detector
from fertrack.sinks.thumbnails import THUMBNAIL_PX, ThumbnailSink
from fertrack.storage.engine import open_database
from fertrack.storage.maintenance import vacuum
from fertrack.storage.people import actions as person_actions
from fertrack.storage.people.thumbnails import BestFace, store_thumbnails
from fertrack.storage.rights_models import Thumbnail
from fertrack.types import Detections, Faces, FloatArray, FrameResult
from tests.support import queries
from tests.support.queries import thumbnails
from tests.support.storage_scenes import result, store

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compose_demo(tmp_path_factory.mktemp("clip") / "clip.mp4", frame_count=8)


def processed(clip: Path, out: Path, *extra: str) -> Path:
    assert run(["process", str(clip), "-o", str(out), "--no-video", "--set", "report.html=false", *extra]) == 0
    return out / "fertrack.db"


def test_no_picture_of_a_face_is_stored_by_default(clip: Path, tmp_path: Path) -> None:
    path = processed(clip, tmp_path)
    with open_database(path) as database:
        assert thumbnails(database, "last") == {}
        with database.reading() as connection:
            widest = connection.scalar(sa.text("SELECT max(length(landmarks)) FROM faces"))
            assert widest == 40, "a face's largest blob is its five landmarks"
        vacuum(database)
    content = path.read_bytes()
    assert JPEG not in content
    assert PNG not in content


def test_thumbnails_show_each_person_upright_and_whole(clip: Path, tmp_path: Path) -> None:
    path = processed(clip, tmp_path, "--set", "privacy.thumbnails=true")
    with open_database(path) as database:
        stored = thumbnails(database, "last")
        assert list(stored) == queries.persons(database, "last")["track"].tolist() == [1, 2]
    for jpeg in stored.values():
        assert jpeg.startswith(JPEG)
        assert len(jpeg) < 10_000
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (THUMBNAIL_PX, THUMBNAIL_PX, 3)
        padded = cv2.copyMakeBorder(picture, 96, 96, 96, 96, cv2.BORDER_REPLICATE)
        (found,) = _centerface().detect([np.asarray(padded, np.uint8)])
        assert len(found) == 1
        left, top, right, bottom = found.xyxy[0] - 96
        assert min(left, top) > 0
        assert max(right, bottom) < THUMBNAIL_PX


def _centerface() -> Detector:
    return build_detector(DetectionConfig())


def test_the_best_face_of_a_track_is_kept() -> None:
    """The second frame's face is the larger one, the third one's is turned away."""
    front = np.array([[[80, 90], [112, 90], [96, 108], [83, 123], [109, 123]]], np.float32)
    scenes = [(front - 96) * 0.5 + 96, front, front + np.array([[[0, 0], [0, 0], [22, 0], [0, 0], [0, 0]]], np.float32)]
    noise = np.random.default_rng(0).integers(0, 255, (360, 640, 3), dtype=np.uint8)
    sink = ThumbnailSink()
    with sink:
        for index, landmarks in enumerate(scenes):
            sink.write(_with_landmarks(index, landmarks), noise)
    assert sink.best[1].frame_index == 1
    with pytest.raises(ValueError, match="image must be given"):
        sink.write(_with_landmarks(3, front), None)


def _with_landmarks(index: int, landmarks: FloatArray) -> FrameResult:
    base = result(index, index * 0.5, [(1, "anger", 0.5)])
    detections = Detections(base.faces.detections.xyxy, base.faces.detections.score, landmarks.astype(np.float32))
    return replace(base, faces=Faces(detections, base.faces.logits))


def test_each_person_has_one_and_it_goes_with_them(tmp_path: Path) -> None:
    scene = [result(0, 0.0, [(1, "anger", 0.5), (2, "fear", 0.6)]), result(1, 0.1, [(3, "anger", 0.5)])]
    faces = {track: BestFace(0, quality, JPEG + bytes([track])) for track, quality in ((1, 0.2), (2, 0.3), (3, 0.9))}
    with open_database(tmp_path / "a.db", create=True) as database:
        number = store(database, scene)
        person_actions.merge(database, number, "ID 1", ["ID 3"])
        assert store_thumbnails(database, number, faces) == 2
        assert thumbnails(database, number) == {1: faces[3].jpeg, 2: faces[2].jpeg}, "the better one, by first track"
        person_actions.forget(database, number, "ID 1")
        assert thumbnails(database, number) == {2: faces[2].jpeg}
        with database.reading() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(Thumbnail)) == 1
