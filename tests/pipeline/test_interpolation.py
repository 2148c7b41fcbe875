"""Detecting in every k-th frame: what is interpolated, what is detected after all, and that schedules do not matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from fertrack.errors import VideoReadError
from fertrack.pipeline.analyzer import FaceAnalyzer
from fertrack.pipeline.config import EngineConfig
from fertrack.pipeline.interpolation import interpolate, is_steady
from fertrack.pipeline.scheduler import analyse_in_order, analyse_spaced
from fertrack.pipeline.shots import signature
from fertrack.testing import FakeClassifier, FakeDetector, ScenePerson, SceneSource, SyntheticScene
from fertrack.types import Detections, Frame, FrameFaces, Image

SLOW = SyntheticScene(
    (
        ScenePerson((80, 80), (30, 10), script=((0.0, "happiness"), (0.4, "anger"))),
        ScenePerson((240, 160), (-30, 0), script=((0.0, "sadness"),)),
    ),
    frame_count=26,
)


class Counting(FakeDetector):
    """Remembers which frames it was shown."""

    def __init__(self, scene: SyntheticScene) -> None:
        super().__init__(scene)
        self.seen: list[int] = []

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.seen += [self._frame_index(image) for image in images]
        return super().detect(images)


def spaced(
    scene: SyntheticScene, every: int = 3, workers: int = 2, source: SceneSource | None = None
) -> tuple[list[FrameFaces], list[int]]:
    detector = Counting(scene)
    analyzer = FaceAnalyzer(detector, FakeClassifier())
    frames = analyse_spaced(
        analyzer, source or SceneSource(scene), EngineConfig(workers=workers), every, keep_images=False
    )
    return list(frames), sorted(detector.seen)


def test_faces_that_move_slowly_are_detected_in_every_third_frame_and_are_where_they_are() -> None:
    scene = SyntheticScene((ScenePerson((80, 80), (30, 10)), SLOW.persons[1]), frame_count=26)
    looked, detected = spaced(scene)
    assert detected == [*range(0, 26, 3), 25]  # the last frame has no detected one after it
    assert [each.frame_index for each in looked] == list(range(26))
    for each in looked:
        truth = scene.truth(each.frame_index)[0]
        found = each.faces.detections
        np.testing.assert_allclose(found.xyxy, truth.xyxy, atol=0.01)
        np.testing.assert_allclose(found.landmarks, truth.landmarks, atol=0.01)
        assert (each.ms.detect > 0) == (each.frame_index in detected)


def test_each_frame_is_classified_on_its_own_pixels() -> None:
    plain = list(
        analyse_in_order(
            FaceAnalyzer(FakeDetector(SLOW), FakeClassifier()), SceneSource(SLOW), EngineConfig(), keep_images=False
        )
    )
    looked, _ = spaced(SLOW, 4)
    for ours, theirs in zip(looked, plain, strict=True):
        assert np.array_equal(ours.faces.logits, theirs.faces.logits), ours.frame_index
        assert np.array_equal(ours.signature, theirs.signature)


@pytest.mark.parametrize("workers", [1, 3, 5])
def test_rows_do_not_depend_on_the_number_of_threads(workers: int) -> None:
    expected, _ = spaced(SLOW, 4, 2)
    looked, _ = spaced(SLOW, 4, workers)
    for ours, theirs in zip(looked, expected, strict=True):
        assert np.array_equal(ours.faces.logits, theirs.faces.logits)
        for column in ("xyxy", "score", "landmarks"):
            assert np.array_equal(getattr(ours.faces.detections, column), getattr(theirs.faces.detections, column))


@pytest.mark.parametrize(
    "person",
    [
        ScenePerson((40, 80), (1200, 0)),  # too fast
        ScenePerson((80, 80), (0, 0), visible_s=((0.0, 0.16), (0.56, 2.0))),  # goes and comes
    ],
)
def test_fast_faces_and_those_that_come_or_go_are_detected_in_every_frame_concerned(person: ScenePerson) -> None:
    scene = SyntheticScene((person, SLOW.persons[1]), frame_count=24)
    looked, detected = spaced(scene, 4)
    for each in looked:
        truth = scene.truth(each.frame_index)[0]
        assert len(each.faces) == len(truth), each.frame_index
        if each.frame_index in detected:
            np.testing.assert_array_equal(each.faces.detections.xyxy, truth.xyxy)
    assert len(detected) > 8


class FarApart(SceneSource):
    """A video of five frames a second."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            yield Frame(frame.index, frame.index / 5, frame.image)


def test_frames_far_apart_in_time_are_all_detected_in() -> None:
    _, detected = spaced(SLOW, 3, source=FarApart(SLOW))
    assert detected == list(range(26))


class Cut(SceneSource):
    """The picture behind the faces changes at frame 10."""

    def __iter__(self) -> Iterator[Frame]:
        random = np.random.default_rng(0)
        grounds = [np.repeat(np.repeat(random.integers(0, 200, (6, 8, 3)), 40, 0), 40, 1) for _ in range(2)]
        for frame in super().__iter__():
            behind = (frame.image == 60).all(axis=2, keepdims=True)
            ground = grounds[frame.index >= 10][: frame.image.shape[0], : frame.image.shape[1]]
            yield Frame(frame.index, frame.timestamp_s, np.where(behind, ground, frame.image).astype(np.uint8))


def test_frames_around_a_cut_are_all_detected_in() -> None:
    _, detected = spaced(SLOW, 4, source=Cut(SLOW))
    assert {8, 9, 10, 11, 12} <= set(detected)
    assert len(detected) < 12
    pictures = [signature(frame.image) for frame in Cut(SLOW)]
    assert is_steady(pictures[:10])
    assert not is_steady(pictures[9:11])


class Breaking(SceneSource):
    """A file that cannot be read beyond frame 7."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            if frame.index == 8:
                raise VideoReadError("the file breaks off")
            yield frame


def test_frames_before_a_fault_come_out_first() -> None:
    analyzer = FaceAnalyzer(FakeDetector(SLOW), FakeClassifier())
    frames = analyse_spaced(analyzer, Breaking(SLOW), EngineConfig(), 3, keep_images=True)
    looked = [next(frames) for _ in range(8)]
    with pytest.raises(VideoReadError, match="breaks off"):
        next(frames)
    assert [each.frame_index for each in looked] == list(range(8))
    assert all(each.image is not None for each in looked)


def faces(*boxes: tuple[float, float], turn: float = 0.0) -> Detections:
    """Faces of 40 px at left edges, with scores."""
    xyxy = np.array([[x, 0, x + 40, 40] for x, _ in boxes], np.float32).reshape(-1, 4)
    marks = np.array([[10, 14], [30, 14], [20, 22], [12, 30], [28, 30]], np.float32) + np.float32([turn, 0])
    landmarks = np.stack([marks + np.float32([x, 0]) for x, _ in boxes]) if boxes else np.empty((0, 5, 2))
    return Detections(xyxy, np.array([score for _, score in boxes], np.float32), landmarks.astype(np.float32))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (faces((0, 0.9)), faces()),
        (faces(), faces((0, 0.9))),
        (faces((0, 0.9)), faces((0, 0.9), (200, 0.5))),
        (faces((0, 0.9)), faces((15, 0.9))),
        (faces((0, 0.9)), faces((0, 0.9), turn=6)),
    ],
    ids=["gone", "come", "one more", "fast", "turned"],
)
def test_what_must_be_detected(before: Detections, after: Detections) -> None:
    assert interpolate(before, after, [0.5]) is None


def test_unsure_faces_that_are_not_in_both_are_left_out_and_the_surest_comes_first() -> None:
    (found,) = interpolate(faces((0, 0.9), (300, 0.2)), faces((100, 0.95), (4, 0.5)), [0.25]) or [None]
    assert found is None  # the face at 100 is sure, and came
    (found,) = interpolate(faces((0, 0.5), (90, 0.9), (300, 0.2)), faces((4, 0.9), (90, 0.2)), [0.75]) or [None]
    assert found is not None
    assert found.xyxy[:, 0].tolist() == [3, 90]
    assert found.score.tolist() == pytest.approx([0.8, 0.375])
    (nobody,) = interpolate(faces(), faces((0, 0.2)), [0.5]) or [None]
    assert nobody is not None
    assert len(nobody) == 0
