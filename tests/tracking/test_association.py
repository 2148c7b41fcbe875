"""Which detection continues which track: each pass and switch has a scene that comes out otherwise without it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from fertrack.build import _detection
from fertrack.config import load_settings
from fertrack.protocols import Detector
from fertrack.testing import FakeDetector, ScenePerson, SceneSource, SyntheticScene
from fertrack.tracking import association
from fertrack.tracking.association import Candidates, associate, nearness
from fertrack.tracking.tracker import PLAIN_SORT, SortTracker, TrackerConfig, TrackUpdate
from fertrack.types import Detections, Image
from tests.pipeline.test_pipeline import Collector, pipeline_for

Face = tuple[float, float]
"""Left edge of a 40 px square, and its score."""


def frame(*faces: Face, side: float = 40.0) -> Detections:
    xyxy = np.array([[x, 100, x + side, 100 + side] for x, _ in faces], np.float32).reshape(-1, 4)
    return Detections(xyxy, np.array([s for _, s in faces], np.float32), np.zeros((len(faces), 5, 2), np.float32))


def follow(tracker: SortTracker, frames: Iterable[Sequence[Face]]) -> list[TrackUpdate]:
    start = 0 if tracker._frame_index is None else tracker._frame_index + 1
    return [tracker.update(frame(*faces), start + index) for index, faces in enumerate(frames)]


def tracked(**options: Any) -> SortTracker:
    """A tracker that has given ID 1 to a face at 100."""
    tracker = SortTracker(TrackerConfig(**options))
    assert follow(tracker, [[(100, 0.9)]] * 5)[-1].track_ids.tolist() == [1]
    return tracker


@pytest.mark.parametrize("seed", range(20))
def test_undisputed_pairs_are_those_that_the_assignment_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 900, (random.integers(1, 9), 2))
    boxes = np.concatenate([corner, corner + 60], axis=1)
    candidates = Candidates(
        boxes + random.normal(0, 12, boxes.shape),
        random.random(len(boxes)) < 0.7,
        np.zeros(len(boxes), np.int64),
        np.full(len(boxes), 1 / 30),
    )
    order = random.permutation(len(boxes))
    arguments = (candidates, boxes[order], random.random(len(boxes)) < 0.8, None, TrackerConfig())
    quick = associate(*arguments)
    monkeypatch.setattr(association, "_is_undisputed", lambda allowed: False)
    for ours, hungarian in zip(quick, associate(*arguments), strict=True):
        assert np.array_equal(ours, hungarian)


class TestSecondLook:
    def test_a_face_that_turns_away_keeps_its_id(self) -> None:
        tracker = tracked()
        for update in follow(tracker, [[(100, 0.4)]] * 60):
            assert (update.track_ids.tolist(), update.kept.tolist()) == ([1], [True])
        assert tracker.tracks[0].time_since_update == 0

    def test_without_it_the_face_is_lost_and_its_rows_dropped(self) -> None:
        tracker = tracked(low_score=0.6)
        for update in follow(tracker, [[(100, 0.4)]] * 5):
            assert (update.track_ids.tolist(), update.kept.tolist()) == ([-1], [False])
        assert tracker.tracks[0].time_since_update == 5

    def test_what_no_track_bears_out_is_no_face_and_begins_none(self) -> None:
        tracker = tracked()
        for update in follow(tracker, [[(100, 0.9), (500, 0.55)]] * 10):
            assert update.kept.tolist() == [True, False]
            assert update.keys[1] >= 0
            assert tracker.track_id(int(update.keys[1])) == -1
        assert len(tracker.tracks) == 1

    def test_below_the_low_score_nothing_is_borne_out(self) -> None:
        assert follow(tracked(), [[(100, 0.29)]])[0].kept.tolist() == [False]

    def test_a_sure_detection_comes_first_even_if_it_fits_less_well(self) -> None:
        (update,) = follow(tracked(), [[(100, 0.5), (110, 0.9)]])
        assert (update.track_ids.tolist(), update.kept.tolist()) == ([-1, 1], [False, True])

    def test_a_track_without_an_id_is_not_continued(self) -> None:
        tracker = SortTracker(TrackerConfig(tentative_max_age=5))
        updates = follow(tracker, [[(100, 0.9)], [(100, 0.9)], [(100, 0.5)]])
        assert updates[-1].kept.tolist() == [False]

    def test_a_track_lost_for_a_while_is_not_continued(self) -> None:
        for gap, expected in ((1, 1), (2, -1)):
            assert follow(tracked(), [[]] * gap + [[(100, 0.5)]])[-1].track_ids.tolist() == [expected]

    def test_it_has_a_threshold_of_its_own(self) -> None:
        for threshold, expected in ((0.3, 1), (0.8, -1)):
            (update,) = follow(tracked(low_iou_threshold=threshold), [[(112, 0.5)]])  # IoU 0.54
            assert update.track_ids.tolist() == [expected]

    def test_only_sure_faces_begin_a_track_but_others_are_rows(self) -> None:
        tracker = SortTracker()
        for update in follow(tracker, [[(100, 0.69)]] * 10):
            assert (update.track_ids.tolist(), update.kept.tolist()) == ([-1], [True])
        assert tracker.tracks == ()
        assert follow(tracker, [[(100, 0.71)]] + [[(100, 0.61)]] * 3)[-1].track_ids.tolist() == [1]

    def test_plain_sort_takes_everything(self) -> None:
        tracker = SortTracker(PLAIN_SORT)
        updates = follow(tracker, [[(100, 0.0), (300, 0.05)]] * 5)
        assert (updates[-1].track_ids.tolist(), updates[-1].kept.tolist()) == ([1, 2], [True, True])


class TestReach:
    def test_a_small_box_that_jumps_is_found_beside_its_prediction(self) -> None:
        for reach, expected in ((1.0, 1), (0.0, -1)):
            assert follow(tracked(reach=reach), [[(135, 0.9)]])[0].track_ids.tolist() == [expected]  # IoU 0.07

    @pytest.mark.parametrize(("gap", "expected"), [(0, -1), (15, 1)])
    def test_it_grows_with_the_time_a_track_was_not_seen(self, gap: int, expected: int) -> None:
        """60 px are 1.5 widths; in half a second a face may go 2."""
        assert follow(tracked(rejoin_s=0.0), [[]] * gap + [[(160, 0.9)]])[-1].track_ids.tolist() == [expected]

    def test_a_track_without_an_id_is_looked_for_too(self) -> None:
        tracker = SortTracker()
        follow(tracker, [[(100, 0.9)], [(135, 0.9)]])
        assert [track.hits for track in tracker.tracks] == [2]

    def test_one_that_fits_by_overlap_is_preferred(self) -> None:
        (update,) = follow(tracked(), [[(130, 0.9), (112, 0.9)]])
        assert update.track_ids.tolist() == [-1, 1]

    def test_two_left_over_each_find_their_own(self) -> None:
        tracker = SortTracker()
        assert follow(tracker, [[(100, 0.9), (400, 0.9)]] * 5)[-1].track_ids.tolist() == [1, 2]
        assert follow(tracker, [[(435, 0.9), (65, 0.9)]])[0].track_ids.tolist() == [2, 1]

    def test_nearness_weighs_distance_in_faces_and_size(self) -> None:
        face = np.array([[100.0, 100, 140, 150]])
        beside, below = np.array([[120.0, 100, 160, 150]]), np.array([[100.0, 125, 140, 175]])
        larger = np.array([[90.0, 87.5, 150, 162.5]])
        near = nearness(face, np.concatenate([face, beside, below, larger]), np.zeros(1), TrackerConfig(reach=1.0))
        assert near[0].tolist() == pytest.approx([1.0, 0.75, 0.75, 1.0 - (np.log(1.5) / 0.4) ** 2])


class TestSwitches:
    @pytest.mark.parametrize(("ratio", "expected"), [(2.0, -1), (0.0, 1)])
    def test_a_box_of_another_size_is_somebody_else(self, ratio: float, expected: int) -> None:
        tracker = tracked(largest_size_ratio=ratio)
        big = frame((95.0, 0.9), side=85.0)  # around the face's box: IoU 0.22, twice as high and more
        assert tracker.update(big, 5).track_ids.tolist() == [expected]

    @pytest.mark.parametrize(("first", "expected"), [(True, 1), (False, -1)])
    def test_a_track_with_an_id_is_served_before_one_without(self, first: bool, expected: int) -> None:
        tracker = tracked(confirmed_first=first, reach=0.0)
        follow(tracker, [[(100, 0.9), (124, 0.9)]])
        # Left at 100 and right at 124, then one in between that overlaps the newcomer more.
        (update,) = follow(tracker, [[(118, 0.9)]])
        assert update.track_ids.tolist() == [expected]

    def test_after_a_gap_the_speed_is_that_across_the_gap(self) -> None:
        doubts = {}
        for retrace in (True, False):
            tracker = tracked(retrace=retrace)
            follow(tracker, [[]] * 9 + [[(130, 0.9)]])
            assert tracker.tracks[0].id == 1
            assert tracker.tracks[0].mean[4] == pytest.approx(3.0, abs=0.5), "30 px in 10 frames"
            doubts[retrace] = tracker.tracks[0].covariance[4, 4]
        assert doubts[True] < 0.95 * doubts[False], "the line across the gap was seen, not guessed"

    @pytest.mark.parametrize(("iou", "slowed"), [(0.0, True), (0.05, False), (0.9, True)])
    def test_a_face_that_is_being_covered_keeps_its_speed(self, iou: float, slowed: bool) -> None:
        """It goes right by 2 px a frame, behind a face that stands at 160: only its left part can be seen."""
        tracker = SortTracker(TrackerConfig(crowding_iou=iou))
        for index in range(42):
            left = 60.0 + 2 * index
            boxes = np.array([[160, 100, 210, 150], [left, 100, min(left + 40, 166), 140]], np.float32)
            update = tracker.update(
                Detections(boxes, np.full(2, 0.9, np.float32), np.zeros((2, 5, 2), np.float32)), index
            )
        assert update.track_ids.tolist() == [2, 1]
        speed = next(track.mean[4] for track in tracker.tracks if track.id == 1)
        assert speed < 1.8 if slowed else speed == pytest.approx(2.0, abs=0.1)

    def test_more_velocity_noise_follows_a_turn_sooner(self) -> None:
        speeds = []
        for noise in (1.0, 6.0):
            tracker = SortTracker(TrackerConfig(velocity_noise=noise))
            there = [[(100.0 + 4 * i, 0.9)] for i in range(30)]
            back = [[(216.0 - 4 * i, 0.9)] for i in range(1, 9)]
            assert follow(tracker, [*there, *back])[-1].track_ids.tolist() == [1]
            speeds.append(tracker.tracks[0].mean[4])
        assert speeds[1] < speeds[0] - 0.5


class FlickeringDetector:
    """A detector that also reports something it is not sure of, far from everybody."""

    fingerprint = "flickering"

    def __init__(self, inner: Detector) -> None:
        self._inner = inner

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        ghost = np.array([[250, 190, 280, 220]], np.float32)
        return [
            Detections(
                np.concatenate([found.xyxy, ghost]),
                np.append(found.score, np.float32(0.4)),
                np.concatenate([found.landmarks, np.zeros((1, 5, 2), np.float32)]),
            )
            for found in self._inner.detect(images)
        ]

    def smallest_face_px(self, width: int, height: int) -> float:
        return self._inner.smallest_face_px(width, height)


class TestInThePipeline:
    def test_what_no_track_bears_out_is_no_row(self) -> None:
        scene = SyntheticScene(
            (ScenePerson(start_xy=(50.0, 60.0), velocity_xy=(20.0, 10.0), size_px=40.0),), frame_count=12
        )
        plain, flickering = Collector(), Collector()
        pipeline_for(scene).run(SceneSource(scene), [plain])
        pipeline = pipeline_for(scene)
        pipeline.analyzer.detector = FlickeringDetector(FakeDetector(scene))
        pipeline.run(SceneSource(scene), [flickering])
        assert [len(result.faces) for result in flickering.results] == [1] * 12
        for expected, result in zip(plain.results, flickering.results, strict=True):
            np.testing.assert_array_equal(expected.faces.detections.xyxy, result.faces.detections.xyxy)
            np.testing.assert_array_equal(expected.track_ids, result.track_ids)
            np.testing.assert_array_equal(expected.smoothed, result.smoothed)

    @pytest.mark.parametrize(
        ("overrides", "expected"),
        [
            ([], TrackerConfig().low_score),
            (["tracking.low_score=0.2"], 0.2),
            (["detection.score_threshold=0.45"], 0.45),
            (["tracking.low_score=0.0"], None),
        ],
    )
    def test_the_detector_is_asked_for_all_that_the_tracker_can_use(
        self, overrides: list[str], expected: float | None
    ) -> None:
        assert _detection(load_settings([], overrides)).score_threshold == expected
