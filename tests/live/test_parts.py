"""Live: prediction, budget, persons, measurements, the newest frame."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from fertrack.live.budget import AnalysisSchedule, Budget, BudgetController, Costs, input_sizes
from fertrack.live.capture import Capture, LiveFeed
from fertrack.live.display import predicted_xyxy
from fertrack.live.latency import Measured, Meter
from fertrack.live.monitor import FollowWatch
from fertrack.live.people import PeopleSink
from fertrack.live.state import Percentiles
from fertrack.tracking.kalman import BoxKalman
from fertrack.tracking.tracker import SortTracker, TrackerConfig
from fertrack.types import EXPRESSIONS, UNCERTAIN, AnalysisRequest, Detections, Faces, Frame, FrameResult
from tests.support.live_scenes import FPS, PAIR, LiveScene

# Prediction --------------------------------------------------------------------------------------------------------


def test_prediction_is_the_filters_own() -> None:
    filters = BoxKalman()
    filters.add(np.array([[100.0, 80.0, 1600.0, 0.8], [300.0, 200.0, 900.0, 1.0]]))
    for step in range(1, 12):
        filters.predict()
        seen = [[100.0 + 3 * step, 80.0 - step, 1600.0 + 20 * step, 0.8], [300.0 - 5 * step, 200.0, 900.0, 1.0]]
        filters.update(np.arange(2), np.array(seen))
    boxes, velocities = filters.xyxy.astype(np.float32), filters.velocities.astype(np.float32)
    filters.predict(4)
    np.testing.assert_allclose(predicted_xyxy(boxes, velocities, 4), filters.xyxy, atol=1e-2)


def test_a_face_that_shrinks_does_not_vanish_and_odd_boxes_stay() -> None:
    boxes = np.array([[10, 10, 20, 20], [5, 5, 5, 9], [np.nan, 0, 1, 1]], np.float32)
    velocity = np.array([[1, 0, -60], [9, 9, 9], [1, 1, 1]], np.float32)
    moved = predicted_xyxy(boxes, velocity, 3.0)
    np.testing.assert_allclose(moved[0], [13, 10, 23, 20])
    np.testing.assert_array_equal(moved[1:], boxes[1:])
    assert predicted_xyxy(boxes, velocity, 0.0) is boxes
    assert predicted_xyxy(np.empty((0, 4), np.float32), np.empty((0, 3), np.float32), 2.0).shape == (0, 4)


# The tracker's time ------------------------------------------------------------------------------------------------


def face(x: float) -> Detections:
    box = np.array([[x, 10, x + 40, 60]], np.float32)
    return Detections(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))


def test_velocity_is_reported_per_frame_whatever_is_left_out() -> None:
    tracker = SortTracker(TrackerConfig(min_hits=2))
    for frame in range(0, 60, 3):
        update = tracker.update(face(10 + 2.0 * frame), frame)
    assert update.velocity[0, 0] == pytest.approx(2.0, abs=0.05)
    assert update.velocity[0, 1:] == pytest.approx([0.0, 0.0], abs=0.5)


@pytest.mark.parametrize(("away", "same"), [(24, True), (26, False)])
def test_max_age_is_a_time_when_frames_are_left_out(away: int, same: bool) -> None:
    """At every second frame, and across an outage in which no frame came at all."""
    tracker = SortTracker(TrackerConfig(min_hits=2, max_age_s=25 / 30, rejoin_s=0.0))
    for frame in range(0, 31, 2):
        first = tracker.update(face(100), frame)
    back = [tracker.update(face(100), 30 + away + 2 * step) for step in range(3)][-1]
    assert first.track_ids.tolist() == [1]
    assert back.track_ids.tolist() == [1 if same else 2]


def test_a_slow_run_forgets_as_fast() -> None:
    tracker = SortTracker(TrackerConfig(min_hits=2, max_age=0, max_age_s=1.0))
    for frame in range(0, 31, 3):
        tracker.update(face(100), frame)
    for frame in range(40, 51, 10):
        tracker.update(Detections.empty(), frame)
    assert [track.time_since_update for track in tracker.tracks] == [2]
    tracker.update(Detections.empty(), 60)
    assert tracker.tracks == ()


# Budget ------------------------------------------------------------------------------------------------------------


def controller() -> BudgetController:
    return BudgetController(display_fps=25, results_hz=15, sizes=(640, 480, 320))


def costs(detect_ms: float, *, faces: float = 3, classify_ms: float = 3.0, display_fps: float = 30.0) -> Costs:
    return Costs(detect_ms, classify_ms, faces, 30.0, display_fps)


def run(budget: BudgetController, at: Costs, seconds: range) -> list[Budget]:
    return [budget.update(at, float(second)) for second in seconds]


def test_a_fast_machine_gives_up_nothing() -> None:
    assert set(run(controller(), costs(20.0), range(20))) == {Budget(1, 640, 0.0)}


def test_estimates_are_given_up_before_the_detectors_size() -> None:
    many = costs(30.0, faces=10, classify_ms=6.0)  # 90 ms a look, 62 with estimates at 8 Hz
    assert run(controller(), many, range(1))[-1] == Budget(1, 640, 8.0)
    assert run(controller(), costs(90.0, faces=0), range(1))[-1] == Budget(1, 480, 5.0)
    assert run(controller(), costs(200.0), range(1))[-1] == Budget(1, 320, 5.0), "no lower than there is"


def test_what_was_given_up_is_taken_back_slowly_and_does_not_flutter() -> None:
    budget = controller()
    budget.update(costs(90.0, faces=0), 0.0)
    area = (480 / 640) ** 2
    just_enough = costs(60.0 * area, faces=0)  # at 640 it would fit, but with nothing to spare
    assert {each.long_side for each in run(budget, just_enough, range(1, 30))} == {480}
    plenty = costs(30.0 * area, faces=0)
    rungs = [(each.long_side, each.classify_hz) for each in run(budget, plenty, range(30, 50))]
    assert rungs[:3] == [(480, 5.0)] * 3
    assert rungs[-1] == (640, 0.0)
    assert len(set(rungs)) == 4, "one rung after the other"


def test_analysis_gives_way_to_the_display_and_comes_back() -> None:
    budget = controller()
    slow = run(budget, costs(33.0, faces=0, display_fps=15.0), range(6))
    every = [each.detect_every for each in slow]
    assert every == sorted(every)
    assert every[-1] == 2, "never fewer looks than promised: 30 / 15"
    back = run(budget, costs(20.0, faces=0), range(6, 60))
    assert back[-1] == Budget(1, 640, 0.0)


def test_a_source_slower_than_the_display_is_not_an_overload() -> None:
    slow_source = Costs(30.0, 3.0, 1, 12.0, 12.0)
    assert set(run(controller(), slow_source, range(10))) == {Budget(1, 640, 0.0)}


def test_every_decision_is_within_bounds_whatever_is_measured() -> None:
    rng = np.random.default_rng(1)
    budget = controller()
    for second in range(2000):
        detect_ms, classify_ms, faces, source, display = rng.exponential([60.0, 8.0, 4.0, 25.0, 20.0])
        found = budget.update(Costs(detect_ms, classify_ms, faces, source, display), float(second))
        assert found.detect_every >= 1
        assert found.detect_every == 1 or source / found.detect_every >= 15.0 * 0.99
        assert found.long_side in (640, 480, 320)
        assert found.classify_hz in (0.0, 8.0, 5.0)


def test_sizes_are_multiples_of_32_and_smaller_than_the_own() -> None:
    for own in (256, 320, 480, 640, 1280, 1920):
        sizes = input_sizes(own)
        assert sizes[0] == own
        assert list(sizes) == sorted(set(sizes), reverse=True)
        assert all(size % 32 == 0 for size in sizes)


def test_estimates_come_at_their_rate_and_at_once_for_somebody_new() -> None:
    budget = BudgetController(display_fps=25, results_hz=15)
    budget.budget = Budget(1, 0, 5.0)
    schedule = AnalysisSchedule(budget)
    assert schedule.request(0.0).classify, "the first"
    schedule.saw(unsettled=False)
    asked = [schedule.request(0.05 * i).classify for i in range(1, 21)]
    assert sum(asked) == 5
    schedule.saw(unsettled=True)
    assert [schedule.request(2.0 + 0.01 * i).classify for i in range(3)] == [True] * 3
    assert schedule.request(3.0) == AnalysisRequest(classify=True, long_side=0, detect_every=1, classify_hz=5.0)


def test_fixed_means_that_nothing_is_adapted() -> None:
    schedule = AnalysisSchedule(None)
    schedule.adapt(costs(900.0, display_fps=1.0), 5.0)
    assert schedule.fixed
    assert schedule.request(9.0) == AnalysisRequest(classify=True, long_side=0, detect_every=1, classify_hz=0.0)


# Following people ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [29, 31, 45])
def test_looks_more_than_a_second_apart_are_noticed(step: int) -> None:
    watch = FollowWatch(30.0)
    for look in range(4):
        watch.saw(look * step, late_s=step / 30.0, faces=1)
    assert bool(watch.notice) == (step > 30)


def test_a_source_that_was_away_or_one_slow_look_is_no_slow_machine() -> None:
    watch = FollowWatch(30.0)
    for frame, late_s in [(0, 2.0), (60, 1.9), (63, 0.1), (200, 0.1), (300, 0.1), (400, 0.1), (460, 2.0), (463, 0.1)]:
        watch.saw(frame, late_s=late_s, faces=1)
    assert (watch.notice, watch.notes(15.0)) == ("", [])


def test_the_notice_goes_when_people_can_be_followed_again_and_the_note_stays() -> None:
    watch = FollowWatch(30.0)
    for frame in (0, 45, 90):
        watch.saw(frame, late_s=1.5, faces=1)
    said = watch.notice
    watch.saw(190, late_s=3.3, faces=1)
    assert watch.notice == said, "not another sentence with every result"
    for frame in (193, 196):
        watch.saw(frame, late_s=0.1, faces=1)
    assert watch.notice == ""
    assert watch.notes(9.0) == [said]


def test_a_run_too_short_for_more_than_one_result_is_noted_where_there_were_faces() -> None:
    for faces in (0, 1):
        watch = FollowWatch(30.0)
        watch.saw(0, late_s=5.0, faces=faces)
        assert watch.notice == ""
        notes = watch.notes(10.0)
        assert len(notes) == faces
        assert all(note.startswith("0.1 results a second are too few") for note in notes)


# Persons -----------------------------------------------------------------------------------------------------------


def result(time_s: float, tracks: dict[int, str]) -> FrameResult:
    n = len(tracks)
    boxes = np.tile(np.array([[10, 10, 50, 60]], np.float32), (n, 1))
    labels = np.array([UNCERTAIN if name == "?" else EXPRESSIONS.index(name) for name in tracks.values()], np.int64)
    smoothed = np.full((n, 7), 0.05, np.float32)
    smoothed[np.arange(n), np.maximum(labels, 0)] = 0.7
    faces = Faces(
        Detections(boxes, np.ones(n, np.float32), np.zeros((n, 5, 2), np.float32)),
        np.zeros((n, 7), np.float32),
    )
    index = round(time_s * 30)
    return FrameResult(index, time_s, faces, np.array(list(tracks), np.int64), boxes, smoothed, smoothed, labels)


def test_persons_appear_with_their_first_result_and_stay_when_gone() -> None:
    people = PeopleSink()
    people.write(result(0.0, {-1: "?"}))
    assert people.persons(0.0) == ()
    people.write(result(0.1, {1: "anger", 2: "?"}))
    people.write(result(0.2, {2: "?"}))
    first, second = people.persons(0.2)
    assert (first.person, first.track, first.name, first.label, first.visible) == (1, 1, "P1", "anger", False)
    assert first.strip == ((0.1, "anger", pytest.approx(0.7)), (0.2, "", 0.0))
    assert (second.label, second.certain, second.visible) == ("uncertain", False, True)
    assert list(second.probabilities) == list(EXPRESSIONS)
    people.write(result(0.3, {}))
    assert people.persons(61.0) == (), "nobody for a minute"


def test_the_strip_is_the_last_minute_and_stays_small() -> None:
    people = PeopleSink()
    for step in range(2000):
        people.write(result(step / 15, {1: "fear" if step % 450 < 225 else "neutral"}))
    (person,) = people.persons(1999 / 15)
    assert len(person.strip) < 200
    assert 1999 / 15 - 61 < person.strip[0][0] <= 1999 / 15 - 59.4
    assert {label for _, label, _ in person.strip} == {"fear", "neutral"}


def test_a_return_becomes_the_person_it_is_linked_to() -> None:
    linked: dict[int, int] = {}
    people = PeopleSink(lambda: linked)
    people.write(result(0.0, {1: "anger"}))
    linked[1] = 0
    people.write(result(0.5, {1: "anger"}))
    people.write(result(5.0, {2: "fear"}))
    assert [each.person for each in people.persons(5.0)] == [1, 2]
    people.rename(2, "Ana")
    linked[2] = 0
    people.write(result(5.5, {2: "fear"}))
    (person,) = people.persons(5.5)
    assert (person.person, person.track, person.name) == (1, 2, "Ana")
    assert [mark[0] for mark in person.strip] == sorted(mark[0] for mark in person.strip)
    assert people.count == 1
    assert people.given_names() == [(1, "Ana")]
    linked[2] = 1  # both were seen in one frame after all
    people.write(result(6.0, {1: "anger", 2: "fear"}))
    assert [(each.person, each.track) for each in people.persons(6.0)] == [(1, 1), (3, 2)]
    assert people.shown_alike() == [[1, 2]], "a recording has shown both as Ana"


def test_numbers_of_earlier_runs_are_kept_and_not_given_to_others() -> None:
    linked: dict[int, int] = {}
    people = PeopleSink(lambda: linked, {1: "Ana"}, {0: 7, 1: 4})
    people.write(result(0.0, {1: "anger", 2: "fear"}))
    assert [each.name for each in people.persons(0.0)] == ["P8", "P9"]
    linked.update({1: 1, 2: 2})
    people.write(result(0.5, {1: "anger", 2: "fear"}))
    assert [(each.person, each.name) for each in people.persons(0.5)] == [(4, "Ana"), (9, "P9")]
    assert people.shown_numbers() == {8: 1, 9: 2}
    people.rename(4, "")
    people.write(result(1.0, {1: "anger"}))
    assert people.persons(1.0)[0].name == "P4", "a name that was taken away stays away"


def test_names() -> None:
    people = PeopleSink()
    people.write(result(0.0, {1: "anger", 2: "fear"}))
    people.rename(1, "  Ana   Maria ")
    assert people.shown_names([1, 2]) == {1: "Ana Maria", 2: "P2"}
    with pytest.raises(ValueError, match="called"):
        people.rename(2, "ana maria")
    with pytest.raises(ValueError, match="no person 7"):
        people.rename(7, "X")
    for reserved in ("P2", "p 17", "ID 2", " id2 "):
        with pytest.raises(ValueError, match="cannot be a name"):
            people.rename(1, reserved)
    people.rename(2, "P2D2")
    people.rename(2, "")
    assert people.shown_names([1, 2]) == {1: "Ana Maria", 2: "P2"}
    people.rename(1, "")
    assert people.shown_names([1, 2]) == {1: "P1", 2: "P2"}
    assert people.drawn_numbers([1, 2]) == {1: 1, 2: 2}
    assert people.given_names() == [(1, ""), (2, "")]


def test_a_face_drawn_before_its_card_is_there_has_the_number_of_the_card() -> None:
    people = PeopleSink()
    assert people.shown_names([5]) == {5: "P1"}
    people.write(result(0.0, {5: "anger", 3: "fear"}))
    assert {each.track: each.name for each in people.persons(0.0)} == {5: "P1", 3: "P2"}


# Measurements ------------------------------------------------------------------------------------------------------


def test_meters() -> None:
    meter = Meter()
    assert (meter.rate(1.0), meter.recent(1.0), meter.overall()) == (0.0, None, None), "nothing is not 0 ms"
    for tick in range(1, 1201):
        meter.add(tick / 10, 100.0 if tick <= 600 else 20.0)
    assert meter.rate(120.0) == pytest.approx(10.0, rel=0.02)
    assert meter.recent(120.0) == Percentiles(20.0, 20.0, 20.0)
    assert meter.recent(130.0) is None
    assert meter.overall() == Percentiles(60.0, 100.0, 100.0)
    first, second = meter.between(0.0, 60.05), meter.between(60.05, 120.05)
    assert (first.percentiles, second.percentiles) == (Percentiles(100.0, 100.0, 100.0), Percentiles(20.0, 20.0, 20.0))
    assert (first.rate, second.count) == (pytest.approx(10.0, rel=0.02), 600)
    assert meter.between(500.0, 600.0) == Measured(0, 0.0, None)


def test_a_meter_stays_small_and_keeps_an_even_sample() -> None:
    small, all_of_it = Meter(64), Meter()
    for tick in range(1, 10_001):
        for meter in (small, all_of_it):
            meter.add(tick / 10, float(tick))
    assert len(small) == 10_000
    assert 32 <= len(small.values) <= 64
    assert small.overall().p50 == pytest.approx(5000.0, rel=0.05)
    assert np.diff(np.array(small.values)).std() == 0.0, "evenly spread"
    assert (small.rate(1000.0), small.recent(1000.0)) == (all_of_it.rate(1000.0), all_of_it.recent(1000.0))
    assert small.between(0.0, 500.0).count == pytest.approx(5000, rel=0.05)


# The newest frame --------------------------------------------------------------------------------------------------


@pytest.fixture
def capture() -> Iterator[Capture]:
    capture = Capture(LiveScene())
    capture.start()
    yield capture
    capture.close()


class ByHand(LiveScene):
    """A source whose frames come when the test says so, at times the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.handed: queue.Queue[Frame | None] = queue.Queue()

    def hand(self, time_s: float) -> None:
        self.handed.put(Frame(self.given, time_s, PAIR.image(self.given)))
        self.given += 1

    def __iter__(self) -> Iterator[Frame]:
        self.started_monotonic_s = time.monotonic() - 1000.0  # all that it gives is past
        return iter(self.handed.get, None)

    def close(self) -> None:
        super().close()
        self.handed.put(None)


def test_a_slow_taker_gets_the_newest_frame_and_the_rest_is_counted() -> None:
    """Takes a frame, is busy while ten more come, and takes the next: it is the tenth."""
    source = ByHand()
    capture = Capture(source)
    capture.start()

    def hand(count: int) -> None:
        for _ in range(count):
            source.hand(source.given / FPS)
            assert capture.newest(source.given - 2, 30.0) is not None, "it came"

    hand(1)
    feed = LiveFeed(capture, source.info, source)
    taken = []
    for frame in feed:
        taken.append(frame.index)
        if len(taken) == 6:
            break
        hand(10)
    assert taken == [0, 10, 20, 30, 40, 50]
    assert feed.captured_at(50) - feed.captured_at(40) == pytest.approx(10 / FPS)
    assert capture.frames == 51
    assert feed.dropped == 51 - 6
    feed.close()


def test_the_budget_says_how_many_frames_on_the_next_one_is_due(capture: Capture) -> None:
    feed = LiveFeed(
        capture,
        LiveScene().info,
        LiveScene(),
        request=lambda: AnalysisRequest(detect_every=4),
        until_s=time.monotonic() + 0.8,
    )
    taken = [frame.index for frame in feed]
    assert len(taken) > 3
    assert np.diff(taken).min() >= 4


def test_frames_are_numbered_by_time_across_an_outage() -> None:
    """An index is a time: what counts frames counts time."""
    source = ByHand()
    capture = Capture(source)
    capture.start()
    seen: list[Frame] = []
    for number in range(20):
        source.hand(number / FPS + (0.5 if number >= 10 else 0.0))
        captured = capture.newest(seen[-1].index if seen else -1, 30.0)
        assert captured is not None
        seen.append(captured.frame)
    capture.close()
    assert [frame.index for frame in seen] == [*range(10), *range(35, 45)]
    np.testing.assert_allclose([frame.index / FPS for frame in seen], [frame.timestamp_s for frame in seen], atol=1e-6)


def test_closing_wakes_whoever_waits() -> None:
    scene = LiveScene(gaps_s={1: 60.0})
    capture = Capture(scene)
    capture.start()
    assert capture.newest(timeout_s=5.0) is not None
    threading.Timer(0.1, capture.ask_to_end).start()
    started = time.monotonic()
    assert capture.newest(after=0, timeout_s=30.0) is None
    assert time.monotonic() - started < 25.0, "it waited for its time to be up"
    capture.close()
    assert scene.closed.is_set()
