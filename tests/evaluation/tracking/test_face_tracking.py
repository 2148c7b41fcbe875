"""Composed scenes: the truth follows the script, what counts is right, and the gate's file keeps what it should."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from fertrack.cli.main import main, run
from fertrack.demo import portrait
from fertrack.errors import EvaluationError, ReportError, VideoWriteError
from fertrack.evaluation.tracking import actors, face_tracking
from fertrack.evaluation.tracking.actors import CLIPS, CROP_H, CROP_W, FACE_PX, Actor, Clip, load_actor
from fertrack.evaluation.tracking.face_scores import FaceScores, SceneScores, to_markdown, write_quality
from fertrack.evaluation.tracking.films import COMPOSITE, Filmed, castings, read_composite_truth
from fertrack.evaluation.tracking.scene_scripts import FAST, SCENES
from fertrack.evaluation.tracking.scenes import FPS, HEIGHT, WIDTH, Key, Pillar, Role, Scene, Shot, Truth, compose
from fertrack.types import Detections, Image
from tests.support.video_factory import make_video

BOX = (60.0, 72.0, 148.0, 200.0)


def disc(colour: tuple[int, int, int], frames: int = 3) -> Actor:
    """A head that is a disc of one colour, with a face of ``FACE_PX``."""
    head = np.empty((frames, CROP_H, CROP_W, 3), np.uint8)
    head[:] = colour
    alpha = np.zeros((CROP_H, CROP_W), np.float32)
    cv2.circle(alpha, (CROP_W // 2, CROP_H // 2), 100, 1.0, -1)
    return Actor(head, np.stack([alpha] * frames), np.tile(np.array(BOX, np.float32), (frames, 1)))


CAST = {"red": disc((20, 20, 230)), "blue": disc((230, 20, 20))}


def still(who: str, x: float, face_px: float = 64.0, until_s: float = 0.4) -> Role:
    return Role(who, (Key(0.0, x, 180.0, face_px), Key(until_s, x, 180.0, face_px)))


def film(tmp_path: Path, *shots: Shot) -> tuple[list[Image], Truth]:
    path = tmp_path / "scene.mp4"
    truth = compose(Scene("test", "a test", shots), CAST, path)
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)], truth


def test_a_person_is_where_the_script_says(tmp_path: Path) -> None:
    walk = Role("red", (Key(0.0, 100, 180, 64), Key(0.2, 150, 180, 64), Key(0.4, 150, 180, 128)))
    pictures, truth = film(tmp_path, Shot(0.6, (walk,)))
    assert len(pictures) == 15
    assert pictures[0].shape == (HEIGHT, WIDTH, 3)
    assert truth.frame_index.tolist() == list(range(11)), "gone after its last key"
    assert set(truth.identity.tolist()) == {1}
    heights = truth.xyxy[:, 3] - truth.xyxy[:, 1]
    np.testing.assert_allclose(heights[[0, 5, 10]], [64, 64, 128], rtol=1e-5)
    centres = (truth.xyxy[:, 0] + truth.xyxy[:, 2]) / 2
    np.testing.assert_allclose(centres[[0, 5, 10]], [100, 150, 150], atol=0.01)
    np.testing.assert_allclose(truth.visible, 1.0, atol=0.01)
    blue, _, red = pictures[5][180, 150].tolist()
    assert red > 200
    assert blue < 60


def test_the_nearer_person_covers_the_farther_one(tmp_path: Path) -> None:
    pictures, truth = film(tmp_path, Shot(0.4, (still("red", 300), still("blue", 320))))
    assert pictures[0][180, 310, 0] > 200, "blue, the last named, is in front"
    visible = {who: truth.visible[truth.identity == who] for who in (1, 2)}
    np.testing.assert_allclose(visible[2], 1.0, atol=0.01)
    assert (visible[1] < 0.2).all(), "discs of 100 px overlap by all but 20 px"
    assert len(visible[1]) > 0


def test_the_edge_of_the_picture_and_a_pillar_hide_too(tmp_path: Path) -> None:
    half_out = still("red", 0)
    behind = still("blue", 400)
    _, truth = film(tmp_path, Shot(0.2, (half_out, behind), pillars=(Pillar(400, 500),)))
    np.testing.assert_allclose(truth.visible[truth.identity == 1], 0.5, atol=0.03)
    np.testing.assert_allclose(truth.visible[truth.identity == 2], 0.5, atol=0.03)
    _, gone = film(tmp_path, Shot(0.2, (still("red", -100),)))
    assert len(gone.frame_index) == 0


def test_shots_follow_each_other_and_identities_go_on(tmp_path: Path) -> None:
    scene = Scene("two", "", (Shot(0.2, (still("red", 100),)), Shot(0.2, (still("blue", 100), still("red", 300)))))
    assert scene.cast == ("red", "blue")
    assert scene.cuts == (5,)
    assert scene.frame_count == 10
    truth = compose(scene, CAST, tmp_path / "two.mp4")
    assert truth.identity[truth.frame_index < 5].tolist() == [1] * 5
    assert truth.identity[truth.frame_index == 5].tolist() == [2, 1]


def test_a_performer_goes_to_and_fro() -> None:
    assert [CAST["red"].at(frame) for frame in range(7)] == [0, 1, 2, 1, 0, 1, 2]
    assert disc((0, 0, 0), frames=1).at(9) == 0


def test_a_scene_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(VideoWriteError, match="cannot be written"):
        compose(Scene("x", "", (Shot(0.2, (still("red", 100),)),)), CAST, tmp_path / "missing" / "x.mp4")


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_scripts_are_sound(scene: Scene) -> None:
    assert set(scene.cast) <= set(CLIPS)
    assert scene.frame_count <= 15 * FPS
    for shot in scene.shots:
        for role in shot.roles:
            times = [key.at_s for key in role.path]
            assert times == sorted(times)
            assert times[-1] <= shot.duration_s
            assert all(key.face_px >= 40 for key in role.path)
        together = [role.who for role in shot.roles if role.place(0.0)]
        assert len(together) == len(set(together)), "nobody is in two places at once"


def test_the_fast_scenes_exist() -> None:
    assert set(FAST) <= {scene.name for scene in SCENES}


class OneFace:
    """Finds a bright square as a face, and nothing else; ``extra`` adds another face."""

    fingerprint = "one-face"

    def __init__(self, *, extra: bool = False) -> None:
        self._extra = extra

    def detect(self, images: list[Image]) -> list[Detections]:
        return [self._found(image) for image in images]

    def smallest_face_px(self, width: int, height: int) -> float:
        return 1.0

    def _found(self, image: Image) -> Detections:
        rows, columns = np.nonzero(image.min(axis=2) > 180)
        if not len(rows):
            return Detections.empty()
        boxes = [(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
        if self._extra:
            boxes.append((0, 0, boxes[0][2] - boxes[0][0], boxes[0][3] - boxes[0][1]))
        n = len(boxes)
        return Detections(np.array(boxes, np.float32), np.full(n, 0.9, np.float32), np.zeros((n, 5, 2), np.float32))


def folder_of_pictures(tmp_path: Path, *, size: int, face: int, frames: int = 6) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in range(frames):
        picture = np.full((size, size, 3), 40, np.uint8)
        left = size // 2 - face // 2 + 2 * index
        picture[size // 2 - face // 2 : size // 2 + face // 2, left : left + face] = 255
        cv2.imwrite(str(folder / f"{index:03}.png"), picture)
    return folder


@pytest.mark.parametrize(("size", "face"), [(200, 60), (900, 400)])
def test_a_head_is_cut_out_at_one_size_wherever_it_moves(tmp_path: Path, size: int, face: int) -> None:
    folder_of_pictures(tmp_path, size=size, face=face)
    actor = load_actor(Clip("clip", first=1, count=4), tmp_path, OneFace())
    assert actor.heads.shape == (4, CROP_H, CROP_W, 3)
    assert actor.alpha.shape == (4, CROP_H, CROP_W)
    np.testing.assert_allclose(actor.boxes[:, 3] - actor.boxes[:, 1], FACE_PX, rtol=0.01)
    for head, alpha, box in zip(actor.heads, actor.alpha, actor.boxes, strict=True):
        x1, y1, x2, y2 = np.rint(box).astype(int)
        assert head[y1 + 3 : y2 - 3, max(0, x1 + 3) : x2 - 3].min() > 180, "the box is on the face"
        assert head[: y1 - 4].max() < 120
        assert alpha[(y1 + y2) // 2, (x1 + x2) // 2] == pytest.approx(1.0)
        assert alpha[0, 0] == 0.0


def test_a_clip_without_one_clear_face_is_refused(tmp_path: Path) -> None:
    folder_of_pictures(tmp_path, size=200, face=60)
    with pytest.raises(EvaluationError, match="more than one face"):
        load_actor(Clip("clip"), tmp_path, OneFace(extra=True))
    with pytest.raises(EvaluationError, match="has no frame 99"):
        load_actor(Clip("clip", first=99), tmp_path, OneFace())
    cv2.imwrite(str(tmp_path / "clip" / "003.png"), np.zeros((200, 200, 3), np.uint8))
    with pytest.raises(EvaluationError, match="frame 3: no face"):
        load_actor(Clip("clip"), tmp_path, OneFace())


def outcome(
    rows: list[tuple[int, int, float]], person_of: dict[int, int] | None = None, cuts: tuple[int, ...] = ()
) -> face_tracking._Outcome:
    """Rows of frame_index, track, left edge of a box of 40 x 40 px."""
    table = pd.DataFrame(
        {
            "frame_index": [row[0] for row in rows],
            "track": [row[1] for row in rows],
            "x1": [row[2] for row in rows],
            "y1": 10.0,
            "x2": [row[2] + 40 for row in rows],
            "y2": 50.0,
            "score": 0.9,
        }
    )
    return face_tracking._Outcome(table, person_of, cuts)


def filmed(visible: list[float], name: str = "one", cuts: tuple[int, ...] = ()) -> Filmed:
    """One person who stands still, as visible in each frame as said."""
    n = len(visible)
    truth = Truth(
        np.arange(n), np.ones(n, np.int64), np.tile([100.0, 10.0, 140.0, 50.0], (n, 1)), np.array(visible, np.float64)
    )
    return Filmed(name, "one person", 1, 0.0, cuts, Path("one.mp4"), truth)


def test_a_track_that_breaks_is_two_persons_until_it_is_linked() -> None:
    pytest.importorskip("trackeval")
    broken = [(0, 1, 100.0), (1, 1, 100.0), (2, 2, 100.0), (3, 2, 100.0)]
    (row,) = face_tracking._score([(filmed([1.0] * 4), outcome(broken, {1: 1, 2: 1}))])
    assert (row.tracks.found, row.tracks.switches, row.tracks.idf1) == (2, 1, pytest.approx(0.5))
    assert row.persons is not None
    assert (row.persons.found, row.persons.switches, row.persons.idf1) == (1, 0, pytest.approx(1.0))
    assert row.best == row.persons


def test_without_linking_there_are_tracks_only_and_all_scenes_are_summed() -> None:
    pytest.importorskip("trackeval")
    first = filmed([1.0, 1.0]), outcome([(0, 1, 100.0), (1, 1, 100.0)])
    second = filmed([1.0, 1.0], "two", (1,)), outcome([(0, 1, 100.0)], cuts=(1,))
    found = face_tracking._score([first, second])
    assert [row.scene for row in found] == ["one", "two", "together"]
    assert [row.persons for row in found] == [None] * 3
    assert [row.tracks.found for row in found] == [1, 1, 2]
    assert [row.people for row in found] == [1, 1, 2]
    assert found[1].tracks.missed == 1
    assert (found[1].cuts, found[1].cuts_found) == ((1,), (1,))
    assert found[0].best == found[0].tracks


def test_hardly_visible_faces_count_neither_way() -> None:
    pytest.importorskip("trackeval")
    visible = filmed([1.0, 0.4, 0.4, 1.0])
    (row,) = face_tracking._score([(visible, outcome([(0, 1, 100.0), (1, 1, 100.0), (3, 1, 100.0)]))])
    assert (row.tracks.missed, row.tracks.false) == (0, 0)
    (row,) = face_tracking._score([(visible, outcome([(0, 1, 100.0), (1, 2, 300.0), (3, 1, 100.0)]))])
    assert (row.tracks.missed, row.tracks.false, row.tracks.found) == (0, 1, 2)


def test_a_video_in_which_nobody_is_followed_is_scored() -> None:
    pytest.importorskip("trackeval")
    (row,) = face_tracking._score([(filmed([1.0, 1.0]), outcome([], {}))])
    assert (row.tracks.found, row.tracks.missed, row.tracks.idf1) == (0, 2, 0.0)


SCORES = FaceScores(0.98765432, 0.9, 0.95, 0, 1, 2, 3, 2)


def test_figures_are_written_beside_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "quality.json"
    rows = [
        SceneScores("crossing", "two cross", 2, 80, SCORES, None),
        SceneScores("together", "", 2, 0, SCORES, SCORES),
    ]
    write_quality(rows, path)
    path.write_text(json.dumps({"other": 1} | json.loads(path.read_text())))
    write_quality(rows[:1], path)
    content = json.loads(path.read_text())
    assert content["other"] == 1
    assert content["face_tracking"].keys() == {"crossing"}
    assert content["face_tracking"]["crossing"]["tracks"]["idf1"] == 0.9877
    assert "persons" not in content["face_tracking"]["crossing"]
    page = (tmp_path / "reports" / "face_tracking.md").read_text()
    assert to_markdown(rows[:1]) in page
    assert "| crossing | 2 | 2 | - | 0.988 | - |" in page
    path.write_text("no json")
    with pytest.raises(ReportError, match="cannot be written"):
        write_quality(rows, path)


def test_the_composite_truth_says_what_is_visible(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("2,1,10,20,30,40,1,1,0.25\n1,1,10,20,30,40,1,1,1.0\n")
    truth = read_composite_truth(path)
    assert truth.frame_index.tolist() == [0, 1]
    assert truth.visible.tolist() == [1.0, 0.25]
    assert truth.xyxy[0].tolist() == [10, 20, 40, 60]
    path.write_text("1,1,10,20,30,40,1\n")
    with pytest.raises(EvaluationError, match="7 columns"):
        read_composite_truth(path)
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_composite_truth(tmp_path / "missing.txt")


def test_an_unknown_scene_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["fertrack", "evaluate", "faces", str(tmp_path), "--scene", "crosing"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "no scene 'crosing'" in " ".join(capsys.readouterr().err.split())


def test_heads_move_with_the_person_not_with_every_nod() -> None:
    steady = actors._steady(np.array([[0.0], [1.0]] * 20, np.float32))
    assert np.ptp(steady[8:-8]) < 0.1
    moving = np.arange(40, dtype=np.float32)[:, None]
    np.testing.assert_allclose(actors._steady(moving)[8:-8], moving[8:-8], atol=1e-4)


def test_any_two_clips_play_the_scenes_that_they_are_enough_for(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="has 0 video clips"):
        castings(tmp_path)
    for name in ("b.mp4", "a.MOV", "notes.txt", f"{COMPOSITE}.mp4"):
        (tmp_path / name).touch()
    played = castings(tmp_path)
    assert [scene.name for scene, _ in played] == [scene.name for scene in SCENES if len(scene.cast) <= 2]
    for scene, cast in played:
        assert tuple(cast) == scene.cast
        files = [clip.file for clip in cast.values()]
        assert set(files) <= {"a.MOV", "b.mp4"}
        assert len(set(files)) == len(files), "nobody meets himself"
    (tmp_path / "c.mkv").touch()
    more = castings(tmp_path)
    assert len(more) > len(played)
    assert {clip.file for _, cast in more for clip in cast.values()} == {"a.MOV", "b.mp4", "c.mkv"}


def test_the_nine_clips_of_the_scripts_play_their_own_parts(tmp_path: Path) -> None:
    for clip in CLIPS.values():
        (tmp_path / clip.file).touch()
    played = castings(tmp_path)
    assert [scene for scene, _ in played] == list(SCENES)
    assert all(cast == {role: CLIPS[role] for role in scene.cast} for scene, cast in played)


def test_a_clip_of_which_no_frames_are_named_begins_where_one_face_is_shown(tmp_path: Path) -> None:
    folder = folder_of_pictures(tmp_path, size=300, face=60, frames=60)
    for index in (0, 10, 50):
        cv2.imwrite(str(folder / f"{index:03}.png"), np.full((300, 300, 3), 40, np.uint8))
    assert len(load_actor(Clip("clip", first=None), tmp_path, OneFace()).heads) == 39
    assert len(load_actor(Clip("clip", first=None, count=30), tmp_path, OneFace()).heads) == 30
    with pytest.raises(EvaluationError, match="in fewer than 25 frames in a row"):
        load_actor(Clip("clip", first=None), tmp_path, OneFace(extra=True))


def test_two_clips_of_anybody_are_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("trackeval")
    for name in ("astronaut", "hopper"):
        head = cv2.resize(portrait(name), (110, 140))

        def draw(index: int, size: tuple[int, int], head: Image = head) -> Image:
            canvas = np.full((size[1], size[0], 3), 120, np.uint8)
            canvas[40:180, 100 + index % 4 : 210 + index % 4] = head
            return canvas

        make_video(tmp_path / f"{name}.mp4", 30, 25, (320, 240), draw=draw)
    options = ["--scene", "crossing_small", "--json", "--set", "linking.method=off"]
    assert run(["evaluate", "faces", str(tmp_path), *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["scene"], row["people"]) == ("crossing_small", 2)
    assert row["tracks"]["mota"] > 0.5
    assert run(["evaluate", "faces", str(tmp_path), "--scene", "crossing_three"]) == 1
    assert "needs more clips" in capsys.readouterr().err
