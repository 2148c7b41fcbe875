"""Anonymised videos: no face can be recognised, boxes and labels stay; who is excepted stays as they are."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from fertrack.cli.main import run as fertrack
from fertrack.detectors import build_detector
from fertrack.detectors.config import DetectionConfig
from fertrack.protocols import Detector
from fertrack.render import render_run
from fertrack.storage.engine import Database, open_database
from fertrack.types import FrameResult
from tests.support.queries import outputs
from tests.support.rights_scenes import FRAMES, SETTINGS, add_person, decoded, likeness, make_clip, results, store_clip

HIDDEN, SEEN = 0.35, 0.9


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


def without(frames: list[FrameResult], lost: set[int], person_row: int = 0) -> list[FrameResult]:
    """The frames with one row missing in some of them: the face was not detected there."""
    made = []
    for frame in frames:
        if frame.frame_index not in lost:
            made.append(frame)
            continue
        rows = np.array([row for row in range(len(frame.faces)) if row != person_row])
        columns = {each.name: getattr(frame, each.name) for each in fields(frame)}
        kept = {name: column[rows] for name, column in columns.items() if isinstance(column, np.ndarray)}
        made.append(replace(frame, faces=frame.faces.select(rows), **kept))
    return made


def test_every_face_is_hidden_and_labels_stay(db: Database, clip: Path, tmp_path: Path) -> None:
    run = store_clip(db, clip, results())
    plain = decoded(render_run(db, run, tmp_path / "plain.mp4").path)
    hidden = decoded(render_run(db, run, tmp_path / "hidden.mp4", anonymise=True).path)
    assert len(hidden) == FRAMES
    for index in range(FRAMES):
        for person in (1, 2):
            assert likeness(plain[index], person, index) > SEEN
            assert abs(likeness(hidden[index], person, index)) < HIDDEN
    label = (slice(88, 108), slice(190, 318))
    assert plain[3][label].std() > 40
    assert np.abs(plain[3][label].astype(int) - hidden[3][label]).mean() < 6, "ID and estimate are there"


def test_faces_are_hidden_where_they_were_not_detected_for_a_moment(db: Database, clip: Path, tmp_path: Path) -> None:
    lost = {0, 1, 7, 8, 9, 10, 21, 22, 23}
    run = store_clip(db, clip, without(results(), lost))
    for index, image in enumerate(decoded(render_run(db, run, tmp_path / "hidden.mp4", anonymise=True).path)):
        assert abs(likeness(image, 1, index)) < HIDDEN, f"frame {index}"


def test_faces_of_no_track_are_hidden(db: Database, clip: Path, tmp_path: Path) -> None:
    frames = [replace(frame, track_ids=np.where(frame.track_ids == 1, -1, frame.track_ids)) for frame in results()]
    run = store_clip(db, clip, frames)
    for index, image in enumerate(decoded(render_run(db, run, tmp_path / "hidden.mp4", anonymise=True).path)):
        assert abs(likeness(image, 1, index)) < HIDDEN


def test_whoever_is_excepted_stays_with_their_name_and_others_lose_theirs(
    db: Database, clip: Path, tmp_path: Path
) -> None:
    run = store_clip(db, clip, results())
    add_person(db, run, "Ann", 1, [1])
    add_person(db, run, "A very long name indeed", 2, [2])
    named = decoded(render_run(db, run, tmp_path / "named.mp4").path)
    hidden = decoded(render_run(db, run, tmp_path / "hidden.mp4", anonymise=True, clear=["Ann"]).path)
    for index in range(FRAMES):
        assert likeness(hidden[index], 1, index) > SEEN
        assert abs(likeness(hidden[index], 2, index)) < HIDDEN
    own, other = (slice(48, 70), slice(20, 120)), (slice(85, 110), slice(120, 319))
    assert np.abs(named[1][own].astype(int) - hidden[1][own]).mean() < 6
    assert np.abs(named[1][other].astype(int) - hidden[1][other]).mean() > 15, "P2 takes less room than the name"
    nobody = decoded(render_run(db, run, tmp_path / "nobody.mp4", anonymise=True).path)
    assert np.abs(nobody[1][own].astype(int) - hidden[1][own]).mean() > 10, "without exception nobody is named"
    both = decoded(render_run(db, run, tmp_path / "both.mp4", anonymise=True, clear=["P2", "ID 1"]).path)
    assert min(likeness(both[5], person, 5) for person in (1, 2)) > SEEN


def test_the_command(db: Database, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = store_clip(db, clip, results())
    where = ["--db", db.url]
    out = tmp_path / "out"
    out.mkdir()
    assert fertrack(["render", "last", "--anonymise", "-o", str(out), *where]) == 0
    path = out / f"run{run}.clip.anonymised.mp4"
    assert Path(capsys.readouterr().out.strip()) == path
    assert abs(likeness(decoded(path)[4], 1, 4)) < HIDDEN
    assert fertrack(["render", "last", "--except", "ID 1", "--overwrite", "-o", str(out), *where]) == 0
    picture = decoded(path)[4]
    assert likeness(picture, 1, 4) > SEEN
    assert abs(likeness(picture, 2, 4)) < HIDDEN
    (known,) = outputs(db, [run])
    assert (known.kind, known.path) == ("video", path)
    assert (known.made.anonymised, known.made.clear) == (True, (1,))
    assert fertrack(["render", "last", "--no-anonymise", "--except", "ID 1", *where]) == 2
    assert fertrack(["render", "last", "--anonymise", "--except", "Nobody", "-o", str(tmp_path), *where]) == 1
    with pytest.raises(ValueError, match="only where the others are anonymised"):
        render_run(db, run, tmp_path / "x.mp4", clear=["ID 1"])


def test_a_run_made_anonymised_stays_so_unless_it_is_said(db: Database, clip: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"video": SETTINGS.video.model_copy(update={"anonymise": True})})
    run = store_clip(db, clip, results(), settings)
    first = decoded(render_run(db, run, tmp_path / "a.mp4").path)
    assert abs(likeness(first[2], 1, 2)) < HIDDEN
    clear = decoded(render_run(db, run, tmp_path / "b.mp4", anonymise=False).path)
    assert likeness(clear[2], 1, 2) > SEEN


def test_process_anonymised_writes_no_picture_of_a_face(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fertrack.demo import compose_demo

    clip, out = compose_demo(tmp_path / "clip.mp4", frame_count=8), tmp_path / "out"
    options = ["--anonymise", "--set", "report.html=false", "--json"]
    assert fertrack(["process", str(clip), "-o", str(out), *options]) == 0
    assert "voices are kept" in capsys.readouterr().out
    with open_database(out / "fertrack.db") as database:
        (known,) = outputs(database)
        assert known.made.anonymised
    before, after = decoded(clip), decoded(out / "clip.annotated.mp4")
    assert len(after) == len(before) == 8
    detector = _centerface()
    found = detector.detect([before[4]])[0].xyxy.astype(int)
    assert len(found) == 2
    for left, top, right, bottom in found.tolist():
        x, y, width, height = (
            left + (right - left) // 4,
            top + (bottom - top) // 4,
            (right - left) // 2,
            (bottom - top) // 2,
        )
        inner = (slice(y, y + height), slice(x, x + width))
        assert _detail(after[4][inner]) < 0.25 * _detail(before[4][inner])


def _detail(image: np.ndarray) -> float:
    import cv2

    return float(np.abs(cv2.Laplacian(image, cv2.CV_32F)).mean())


def _centerface() -> Detector:
    return build_detector(DetectionConfig())


@pytest.mark.shared
def test_on_a_real_stage_no_face_is_recognised(shared_data: Path, tmp_path: Path) -> None:
    """Recognised by the same network that links tracks: anonymised, nobody is like themselves in the source."""
    pytest.importorskip("dlib", reason="face recognition is not installed: pip install 'fertrack[reid]'")
    from fertrack.embedders import build_embedder
    from fertrack.imaging.alignment import align_faces
    from fertrack.reid.config import LinkingConfig
    from fertrack.reid.quality import pose_quality

    clip, out = shared_data / "video" / "pyfeat_single_face.mp4", tmp_path / "out"
    options = ["--anonymise", "--to", "1", "--set", "report.html=false", "--set", "linking.method=off"]
    assert fertrack(["process", str(clip), "-o", str(out), *options]) == 0
    before, after = decoded(clip), decoded(out / "pyfeat_single_face.annotated.mp4")
    (found,) = _centerface().detect([before[10]])
    best = int(pose_quality(found.landmarks, found.score).argmax())
    embedder = build_embedder(recognise=True)
    chips = [
        align_faces(image, found.landmarks[best : best + 1], embedder.template, embedder.crop_size)[0]
        for image in (before[10], before[14], after[10])
    ]
    source, later, hidden = embedder.embed(np.stack(chips))
    accepted = LinkingConfig().accept_similarity
    assert 1 - np.linalg.norm(source - later) > accepted, "the same face in another frame is recognised"
    assert 1 - np.linalg.norm(source - hidden) < accepted - 0.1
