"""Usual time between images, and what longer steps mean for tracks: gaps, low rates, time lapse."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from fertrack.tracking.pace import Pace
from fertrack.tracking.tracker import SortTracker, TrackerConfig
from fertrack.types import Detections


def face(x: float, side: float = 40.0) -> Detections:
    box = np.array([[x, 100, x + side, 100 + side]], np.float32)
    return Detections(box, np.full(1, 0.9, np.float32), np.zeros((1, 5, 2), np.float32))


def ids(tracker: SortTracker, seen: Iterable[tuple[float, float]]) -> list[int]:
    """ID reported for a face at each (time, x); frames are numbered without holes."""
    start = 0 if tracker._frame_index is None else tracker._frame_index + 1
    return [int(tracker.update(face(x), start + index, time_s).track_ids[0]) for index, (time_s, x) in enumerate(seen)]


class TestPace:
    def test_steps_are_counted_in_what_is_usual(self) -> None:
        pace = Pace()
        assert [pace.advance(i, i * 0.1)[0] for i in range(10)] == [1] * 10
        assert pace.advance(10, 1.4)[0] == 5
        assert pace.advance(11, 1.42)[0] == 1, "less than usual is still a step"

    def test_jitter_of_the_times_changes_nothing(self) -> None:
        pace, rng = Pace(), np.random.default_rng(0)
        answers = [pace.advance(i, i / 25 + rng.uniform(-0.006, 0.006)) for i in range(1000)]
        assert {steps for steps, _ in answers[1:]} <= {1, 2}
        assert sum(change != 1.0 for _, change in answers) <= 2

    def test_a_new_rate_becomes_usual_and_says_by_how_much(self) -> None:
        pace = Pace()
        for i in range(30):
            pace.advance(i, i / 30)
        changes = [pace.advance(30 + i, 1 + i / 10)[1] for i in range(20)]
        assert [change for change in changes if change != 1.0] == [pytest.approx(3.0)]
        assert pace.step_s == pytest.approx(0.1)

    def test_times_that_go_back_are_one_step(self) -> None:
        pace = Pace()
        assert [pace.advance(i, t)[0] for i, t in enumerate([5.0, 5.1, 2.0, 2.1])] == [1, 1, 1, 1]


class TestGaps:
    @pytest.mark.parametrize("fps", [5.0, 25.0, 60.0])
    def test_two_people_at_one_place_minutes_apart_are_two_tracks(self, fps: float) -> None:
        tracker = SortTracker()
        assert ids(tracker, [(i / fps, 100) for i in range(40)])[-1] == 1
        assert ids(tracker, [(340 + i / fps, 100) for i in range(10)])[-1] == 2

    def test_a_second_without_images_is_no_end(self) -> None:
        tracker = SortTracker()
        assert ids(tracker, [(i / 25, 100) for i in range(40)])[-1] == 1
        assert ids(tracker, [(2.6 + i / 25, 104) for i in range(10)])[-1] == 1

    @pytest.mark.parametrize("step_s", [1.0, 10.0])
    def test_one_image_a_second_or_a_time_lapse_follows_who_stays(self, step_s: float) -> None:
        tracker = SortTracker()
        assert ids(tracker, [(step_s * i, 100 + i) for i in range(30)])[3:] == [1] * 27
        assert ids(tracker, [(step_s * 130 + step_s * i, 130) for i in range(10)])[-1] == 2, "a hundred images later"

    def test_times_that_come_when_they_like_keep_a_still_face(self) -> None:
        rng = np.random.default_rng(1)
        times = np.cumsum(rng.choice([0.033, 0.1, 0.5], 60))
        assert set(ids(SortTracker(), [(float(t), 100.0) for t in times])[3:]) == {1}


class TestRates:
    @pytest.mark.parametrize("fps", [30.0, 15.0, 7.5, 5.0])
    def test_a_walker_is_followed_at_any_rate(self, fps: float) -> None:
        """A face of 40 px that goes 100 px a second, and turns round every two seconds."""
        times = np.arange(0.0, 10.0, 1 / fps)
        there = 100 + 100 * np.abs((times % 4) - 2)
        assert set(ids(SortTracker(), list(zip(times.tolist(), there.tolist(), strict=True)))[3:]) == {1}

    def test_speed_is_kept_when_the_rate_changes(self) -> None:
        tracker = SortTracker(TrackerConfig(reach=0.0, rejoin_s=0.0))
        assert ids(tracker, [(i / 30, 100 + 2 * i) for i in range(60)])[-1] == 1
        assert set(ids(tracker, [(2 + i / 10, 220 + 6 * i) for i in range(1, 30)])) == {1}
